"""`genrec train rerank` and `write` in a workspace: what is saved, what it takes, what is put into use, what is refused."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from genrec.errors import AdapterError, ConfigError, TrainingError, WeightsError, WorkspaceError
from genrec.llm.adapters import CARD, read
from genrec.progress import SILENT
from genrec.settings.sections import ModelSettings
from genrec.settings.train_sections import WriteTrainSettings
from genrec.training import adapter_training as adapting
from genrec.training import lessons
from genrec.training import train_rerank as rerank_workspace
from genrec.training import train_write as write_workspace
from genrec.training.adapter_training import CHECKPOINTS, MAKING, fresh_name, open_base
from genrec.training.train_rerank import dry_run, fit_rerank, train_rerank
from genrec.training.train_write import Accepted, train_write
from genrec.workspace.adapters_in_use import CHOICES, read_choices
from genrec.workspace.folder import Workspace
from tests.training import alphabet

LEARNS: dict[str, Any] = {"epochs": 12, "batch": 1, "lists": 0}
REASONS = [
    {"past": [f"Film {n}"], "liked": bool(n % 2), "shared": [], "words": [], "interests": [], "text": text.format(n)}
    for n in range(12)
    for text in (
        ('You liked "Film {}", so you may enjoy it too.' if n % 2 else 'You chose "Film {}", and it goes well with that.'),
    )
]


@pytest.fixture(scope="module")
def made(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that nobody may change."""
    return alphabet.make(tmp_path_factory.mktemp("alphabet") / "shop", llama)


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "shop")
    return tmp_path / "shop"


@pytest.fixture(scope="module")
def trained(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with an adapter `habit` that has learned well."""
    folder = tmp_path_factory.mktemp("trained") / "shop"
    shutil.copytree(made, folder)
    told: list[str] = []
    with Workspace.open(folder, settings={"rank": {"train": LEARNS}}) as workspace:
        outcome = train_rerank([workspace], "habit", tell=told.append, command="genrec train rerank")
    assert outcome is not None
    assert outcome.active == ["shop"]
    (proof,) = outcome.proofs
    assert proof.helps
    assert proof.gain[1] > 0
    assert (proof.candidates, proof.people) == (8, 40)
    assert any("NDCG@10" in line for line in told)
    return folder


@pytest.fixture
def own(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "shop")
    return tmp_path / "shop"


@pytest.fixture
def workspace(folder: Path) -> Iterator[Workspace]:
    with Workspace.open(folder) as opened:
        yield opened


def examples(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def weights_of(folder: Path, **rerank: Any) -> dict[str, str]:
    """Digests of the files that a training in a copy of the workspace makes."""
    with Workspace.open(folder, settings={"rank": {"train": rerank}}) as workspace:
        outcome = train_rerank([workspace])
    assert outcome is not None
    return dict(outcome.adapter.card.files)


class TestRanking:
    def test_the_adapter_has_a_card_and_is_in_use(self, trained: Path, llama: Path) -> None:
        adapter = read(trained / "adapters/habit")
        card = adapter.card
        assert (adapter.task, card.method, card.command, card.seed) == ("rerank", "likelihood", "genrec train rerank", 0)
        assert card.base.id == str(llama)
        assert card.lora.model_dump() == {
            "r": 4,
            "alpha": 8,
            "targets": ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"],
        }
        assert card.ranking is not None
        assert card.ranking.weight > 0
        assert (card.ranking.history, card.ranking.title_chars) == (3, 48)
        assert card.data == {"shop": "200 events of 40 people on 12 items"}
        figure = card.metrics["NDCG@10 on shop"]
        assert figure.low is not None
        assert figure.without is not None
        assert figure.without < figure.low < figure.value
        assert card.training["epochs"] == 12
        assert card.training["loss of histories"] < 3
        with Workspace.open(trained) as workspace:
            assert workspace.registry.in_use("rerank").adapter == adapter
            chosen = read_choices(workspace)["habit"]
        assert chosen.elsewhere() == card.ranking
        assert (card.ranking.spread, card.ranking.retriever) == (0.0, "")
        assert chosen.spread > 0
        assert chosen.retriever == "zero-shot"
        left = {path.name for path in (trained / "adapters").iterdir()}
        assert left - {CHECKPOINTS, MAKING} == {"habit", "active.json", CHOICES}
        assert not list((trained / "adapters" / CHECKPOINTS).rglob("checkpoint*"))
        assert not list((trained / "adapters" / MAKING).glob("*"))

    def test_what_does_not_help_is_not_put_into_use(self, folder: Path) -> None:
        with Workspace.open(
            folder, settings={"rank": {"train": {"learning_rate": 1e-9, "lists": 0}}, "retrieval": {"candidates": 2}}
        ) as workspace:
            outcome = train_rerank([workspace], "idle")
            assert outcome is not None
            if outcome.proofs[0].choice.weight:  # what chance gives the base model
                assert outcome.active == (["shop"] if outcome.proofs[0].helps else [])
            else:
                assert outcome.active == []
                assert workspace.registry.in_use("rerank").adapter is None
            assert read(folder / "adapters/idle").card.ranking == outcome.proofs[0].choice.elsewhere()

    def test_names_are_never_used_twice_which_shows_before_training(self, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rerank_workspace, "begun", None)
        monkeypatch.setattr(lessons, "begun", None)
        before = (own / "adapters/habit" / CARD).read_bytes()
        with Workspace.open(own) as workspace:
            with pytest.raises(AdapterError, match="adapter habit already"):
                train_rerank([workspace], "habit")
            with pytest.raises(AdapterError, match="adapter habit already"):
                train_write(workspace, name="habit")
            with pytest.raises(AdapterError, match="is not an adapter's name"):
                train_rerank([workspace], "../habit")
        assert (own / "adapters/habit" / CARD).read_bytes() == before

    def test_without_a_name_it_gets_one(self, workspace: Workspace) -> None:
        base = open_base(workspace.settings.models, SILENT)
        assert fresh_name(base.weights, "rerank").startswith("model-rerank-2")
        outcome = train_rerank([workspace])
        assert outcome is not None
        assert outcome.adapter.name.startswith("model-rerank-2")

    def test_rank_alpha_and_source_are_read(self, made: Path, tmp_path: Path) -> None:
        files = []
        for number, change in enumerate(({}, {"r": 2}, {"alpha": 32}, {"source": "learned"})):
            shutil.copytree(made, tmp_path / str(number))
            if "source" in change:
                alphabet_settings = {"width": 8, "layers": 1, "epochs": 1, "precision": "no"}
                with Workspace.open(
                    tmp_path / str(number),
                    settings={"rank": {"train": change | {"judged": 0}}, "retrieval": {"train": alphabet_settings}},
                ) as workspace:
                    outcome = train_rerank([workspace])
                assert outcome is not None
                files.append(dict(outcome.adapter.card.files))
            else:
                files.append(weights_of(tmp_path / str(number), judged=0, **change))
        assert len({one["adapter_model.safetensors"] for one in files}) == 4

    def test_the_pass_that_does_best_on_held_out_lists_is_kept(self, made: Path, tmp_path: Path) -> None:
        """The habit is learned in the first phase; lists at a learning rate of 1 ruin it."""
        told: list[str] = []
        fused: list[float] = []
        for judged in (0, 30):
            shutil.copytree(made, tmp_path / str(judged))
            changes = LEARNS | {"judged": judged, "lists": 12, "list_learning_rate": 1.0}
            with Workspace.open(tmp_path / str(judged), settings={"rank": {"train": changes}}) as workspace:
                outcome = train_rerank([workspace], "habit", tell=told.append)
            assert outcome is not None
            fused.append(outcome.proofs[0].fused)
        assert fused[1] > fused[0] + 0.02
        gains = [float(line.split(": ")[1].split()[0]) for line in told if line.startswith("judged on 30 lists")]
        assert len(gains) == 12 + 1 + 1  # before the first pass, after each, and what follows the lists
        assert gains[-1] < max(gains)
        assert not list(tmp_path.rglob("judged"))

    def test_damage_shows_before_training(self, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rerank_workspace, "begun", None)
        (own / "adapters" / CHOICES).write_text('{"habit": {"weight": 7}}')
        with Workspace.open(own) as workspace:
            with pytest.raises(WorkspaceError, match=r"choices\.json.*damaged"):
                train_rerank([workspace], "other")
            with pytest.raises(WorkspaceError, match=r"choices\.json.*damaged"):
                fit_rerank(workspace, "habit")

    def test_the_fake_learns_nothing(self, folder: Path) -> None:
        with Workspace.open(folder, settings={"models": {"llm": "fake"}}) as workspace, pytest.raises(ConfigError, match="fake"):
            train_rerank([workspace])


class TestGoingOn:
    def test_from_an_adapter(self, own: Path) -> None:
        with Workspace.open(
            own, settings={"rank": {"train": {"epochs": 0, "lists": 4, "list_learning_rate": 1e-9}}}
        ) as workspace:
            outcome = train_rerank([workspace], "more", start="habit")
        assert outcome is not None
        assert outcome.adapter.card.training["start"] == "habit"
        assert outcome.proofs[0].gain[1] > 0  # what it knew it still knows
        with (
            Workspace.open(own, settings={"rank": {"train": {"r": 2}}}) as workspace,
            pytest.raises(TrainingError, match="rank 4"),
        ):
            train_rerank([workspace], "most", start="habit")
        with Workspace.open(own) as workspace, pytest.raises(AdapterError, match="no adapter 'none'"):
            train_rerank([workspace], "most", start="none")

    def test_after_a_prompt_changed(self, own: Path, tmp_path: Path) -> None:
        texts = [examples(tmp_path / "some.jsonl", REASONS)]
        with Workspace.open(own, settings={"write": {"train": {"epochs": 1}}}) as workspace:
            train_write(workspace, texts, "old")
        (own / "prompts").mkdir()
        (own / "prompts/reason.j2").write_text((Path(__file__).parents[2] / "prompts/reason.j2").read_text() + "{# own #}")
        with Workspace.open(own, settings={"write": {"train": {"epochs": 1}}}) as workspace:
            outcome = train_write(workspace, texts, "new", start="old")
            assert outcome is not None
            assert workspace.registry.fault(workspace.registry.find().get("old"))
            assert not workspace.registry.fault(outcome.adapter)


class TestSeveralWorkspaces:
    def test_one_adapter_for_two(self, folder: Path, llama: Path, tmp_path: Path) -> None:
        other = alphabet.make(tmp_path / "other", llama, people=9, planted=False)
        with Workspace.open(folder) as first, Workspace.open(other) as second:
            outcome = train_rerank([first, second], "both")
            assert outcome is not None
            assert set(outcome.adapter.card.data) == {"shop", "other"} == {proof.workspace for proof in outcome.proofs}
            assert len(outcome.adapter.card.metrics) == 2
            assert read_choices(second) == {"both": outcome.proofs[1].choice}
            assert outcome.adapter.card.ranking in [proof.choice.elsewhere() for proof in outcome.proofs]
        assert not (other / "adapters/both").exists()

    def test_which_are_refused(self, folder: Path, made: Path, llama: Path, tmp_path: Path) -> None:
        other = tmp_path / "other"
        shutil.copytree(made, other)
        with Workspace.open(folder) as first:
            with Workspace.open(made) as second, pytest.raises(TrainingError, match="two workspaces are called shop"):
                train_rerank([first, second])
            shutil.copytree(llama, tmp_path / "llama2")
            with (
                Workspace.open(other, settings={"models": {"llm": str(tmp_path / "llama2")}}) as second,
                pytest.raises(TrainingError, match=r"models\.llm is .*llama2"),
            ):
                train_rerank([first, second])
            (other / "prompts").mkdir()
            text = (Path(__file__).parents[2] / "prompts/profile.j2").read_text()
            (other / "prompts/profile.j2").write_text(text.replace("Wish", "Want"))
            with Workspace.open(other) as second, pytest.raises(TrainingError, match="its prompts are not those"):
                train_rerank([first, second])


class TestFitting:
    def test_how_much_an_adapter_counts_here(self, own: Path) -> None:
        with Workspace.open(own) as workspace:
            before = read_choices(workspace)["habit"]
            (own / "adapters" / CHOICES).unlink()
            proof = fit_rerank(workspace, "habit")
            assert read_choices(workspace) == {"habit": proof.choice}
            assert proof.choice == before  # the same events, the same answer

    def test_a_weight_must_hold_for_other_people(self, own: Path, llama: Path, tmp_path: Path) -> None:
        """In noise some weight always helps those that it was fitted on."""
        for people in (12, 20, 28, 36):
            other = alphabet.make(tmp_path / str(people), llama, planted=False, people=people)
            shutil.copytree(own / "adapters/habit", other / "adapters/habit")
            with Workspace.open(other) as workspace:
                proof = fit_rerank(workspace, "habit")
            assert (proof.choice.weight > 0) == (proof.fused > proof.alone)

    def test_where_it_does_not_help(self, own: Path, llama: Path, tmp_path: Path) -> None:
        other = alphabet.make(tmp_path / "other", llama, planted=False)
        shutil.copytree(own / "adapters/habit", other / "adapters/habit")
        with Workspace.open(other) as workspace:
            proof = fit_rerank(workspace, "habit")
            assert read_choices(workspace)["habit"].weight == proof.choice.weight < 0.5
            assert proof.gain[1] < 0.02

    def test_only_one_that_ranks_and_fits(self, own: Path, tmp_path: Path) -> None:
        with Workspace.open(own) as workspace:
            with pytest.raises(AdapterError, match="no adapter 'none'"):
                fit_rerank(workspace, "none")
            train_write(workspace, [examples(tmp_path / "some.jsonl", REASONS)], "writer")
            with pytest.raises(AdapterError, match="trained to write"):
                fit_rerank(workspace, "writer")
        (own / "prompts").mkdir()
        (own / "prompts/rerank.j2").write_text((Path(__file__).parents[2] / "prompts/rerank.j2").read_text() + "{# own #}")
        with Workspace.open(own) as workspace, pytest.raises(AdapterError, match=r"rerank\.j2"):
            fit_rerank(workspace, "habit")


class TestDryRun:
    def test_it_shows_and_writes_nothing(self, folder: Path) -> None:
        def files() -> dict[Path, int]:
            return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and "index" not in path.parts}

        before = files()
        with Workspace.open(folder) as workspace:
            histories, lists = dry_run([workspace])
            (texts,) = write_workspace.dry_run(workspace, ())
        assert files() == before
        assert not (folder / "adapters").exists()
        assert (histories.kind, lists.kind, texts.kind) == ("histories", "lists", "texts")
        assert "chooses next" in histories.text
        assert lists.examples <= 8
        assert 0 < histories.targets < histories.tokens
        assert histories.longest <= 96
        assert texts.examples > 1000

    def test_it_shows_what_would_be_learned_from(self, folder: Path) -> None:
        with Workspace.open(folder, settings={"rank": {"train": {"epochs": 0}}}) as workspace:
            assert [one.kind for one in dry_run([workspace])] == ["lists"]
        with Workspace.open(folder, settings={"rank": {"train": {"lists": 0}}}) as workspace:
            assert [one.kind for one in dry_run([workspace])] == ["histories"]


class TestWriting:
    def test_from_examples_to_a_card(self, own: Path, tmp_path: Path) -> None:
        told: list[str] = []
        with Workspace.open(own) as workspace:
            outcome = train_write(
                workspace, [examples(tmp_path / "some.jsonl", REASONS)], "writer", tell=told.append, command="c"
            )
            assert outcome is not None
            card = outcome.adapter.card
            assert card.data == {"reasons": 11, "captions": 0, "domains": 0}
            assert card.split == "1 examples held out, of both tasks alike"
            assert [one.n for one in outcome.accepted] == [1, 0]
            assert list(card.metrics) == ["reasons accepted at the first try"]
            assert not outcome.active  # a model of two random layers writes nothing that is accepted
            assert workspace.registry.in_use("write").adapter is None
            assert set(card.prompts) == {"reason", "caption"}
            assert (card.command, card.method) == ("c", "")
        assert any(line.startswith("reasons: 0 of 1") for line in told)
        assert not list((own / "adapters" / CHECKPOINTS).rglob("checkpoint*"))

    def test_weights_that_were_judged_are_not_proved_again(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        served: list[str] = []
        serve = adapting.served
        monkeypatch.setattr(adapting, "served", lambda at, base, models: served.append(at.name) or serve(at, base, models))
        told: list[str] = []
        with Workspace.open(folder, settings={"write": {"train": {"epochs": 2}}}) as workspace:
            assert train_write(workspace, [examples(tmp_path / "some.jsonl", REASONS)], "writer", tell=told.append)
        assert served == ["judged"] * 2  # after each pass; before the first one nothing was learned
        assert sum(line.startswith("judged: ") for line in told) == 2

    def test_without_held_out_examples_nothing_is_put_into_use(self, folder: Path, tmp_path: Path) -> None:
        with Workspace.open(folder) as workspace:
            outcome = train_write(workspace, [examples(tmp_path / "few.jsonl", REASONS[:5])], "few")
            assert outcome is not None
            assert not outcome.active
            assert outcome.adapter.card.metrics == {}

    @pytest.mark.parametrize(
        "change",
        [{"r": 2}, {"alpha": 32}, {"epochs": 2}, {"learning_rate": 1e-4}, {"batch": 2}, {"swapped": 0.0}, {"seed": 3}],
        ids=str,
    )
    def test_no_setting_is_inert(self, folder: Path, tmp_path: Path, change: dict[str, Any]) -> None:
        assert WriteTrainSettings.model_fields.keys() == {"r", "alpha", "epochs", "learning_rate", "batch", "swapped", "seed"}
        genres = ("Crime", "Drama", "Western", "Noir")
        shared = [
            REASONS[1] | {"shared": [["genre", [one]]], "text": f'You liked "Film 1", and it is another {one}.'} for one in genres
        ]
        some = examples(tmp_path / "some.jsonl", [*REASONS[:4], *shared])
        made = []
        for name, told in (("plain", {}), ("changed", change)):
            with Workspace.open(folder, settings={"write": {"train": told}}) as opened:
                outcome = train_write(opened, [some], name)
            assert outcome is not None
            made.append(outcome.adapter.card.files)
        assert made[0] != made[1]

    def test_the_interval_of_a_share(self) -> None:
        low, high = Accepted(task="reason", n=100, accepted=95, samples=()).interval()
        assert (low, high) == pytest.approx((0.888, 0.978), abs=0.001)
        assert Accepted(task="reason", n=0, accepted=0, samples=()).share == 0.0


def test_a_model_that_is_not_there_or_no_model(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for llm in (str(tmp_path / "none"), str(tmp_path / "empty")):
        with pytest.raises(WeightsError):
            open_base(ModelSettings(llm=llm, hub=False), SILENT)
