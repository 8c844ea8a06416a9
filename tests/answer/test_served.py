"""Who ranks and who writes: settings before what was fitted here before the card; what is amiss is told; traces name adapters."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from genrec.baselines.closed_form import Popularity
from genrec.cli import eval_command as evaluating
from genrec.errors import AdapterError, WorkspaceError
from genrec.llm.adapter_registry import ACTIVE
from genrec.llm.adapters import RankingChoice, read
from genrec.prompts import Prompts
from genrec.reasons.facts import Facts
from genrec.reasons.reason_writer import reason_prompt
from genrec.recommender import Recommender
from genrec.retrieval.zero_shot import ZeroShot
from genrec.settings.sections import RankSettings, RetrievalSettings
from genrec.types import Recommendation, Stage
from genrec.workspace.adapters_in_use import CHOICES, read_choices, served_ranking, write_choice
from genrec.workspace.folder import Workspace
from tests.llm import cards
from tests.training import alphabet

pytestmark = pytest.mark.usefixtures("own_digests")

CARD = {"weight": 0.4, "prior": 0.25, "per_token": False, "history": 5, "title_chars": 30}
SYSTEM = ZeroShot(RetrievalSettings())
HERE = {"weight": 0.7, "prior": 0.5, "per_token": True, "history": 4, "title_chars": 20}


@pytest.fixture(scope="module")
def made(llama: Path, tmp_path_factory: pytest.TempPathFactory, own_digests: None) -> Path:
    """Two adapters, `ranker` and `writer`, both active; nobody may change it."""
    folder = alphabet.make(tmp_path_factory.mktemp("served") / "shop", llama, people=12)
    cards.make(folder / "adapters", "ranker", llama, ranking=CARD)
    digests = {name: Prompts().digest(name) for name in ("reason", "caption")}
    cards.make(folder / "adapters", "writer", llama, seed=2, task="write", method="", ranking=None, prompts=digests)
    with Workspace.open(folder) as workspace:
        workspace.registry.activate("ranker")
        workspace.registry.activate("writer")
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "shop")
    return tmp_path / "shop"


def served(folder: Path, method: Any = None, **settings: Any) -> tuple[str, dict[str, Any], str]:
    """(adapter, what is known of the ranking, note)"""
    with Workspace.open(folder, settings=settings) as workspace:
        one = served_ranking(workspace, method)
    return one.adapter, one.settings.model_dump(include={*CARD, "method"}), one.note


def choose(folder: Path, **choice: Any) -> None:
    with Workspace.open(folder) as workspace:
        write_choice(workspace, read(folder / "adapters/ranker"), RankingChoice.model_validate(choice))


def ask(folder: Path, /, **options: Any) -> list[Recommendation]:
    settings = {name: options.pop(name) for name in ("adapters", "retrieval", "reasons") if name in options}
    settings |= {"rank": options.pop("ranking")} if "ranking" in options else {}  # `rank` is an option of the call as well
    with Recommender.open(folder, settings=settings) as opened:
        return list(opened.recommend("p00", k=3, **options))


def stage(rows: list[Recommendation], name: str) -> Stage | None:
    return next((one for one in rows[0].trace.stages if one.name == name), None)


class TestPrecedence:
    def test_the_card_before_the_defaults(self, made: Path) -> None:
        assert served(made) == ("ranker", CARD | {"method": "likelihood"}, "")

    def test_what_was_fitted_here_before_the_card(self, folder: Path) -> None:
        choose(folder, **HERE)
        assert served(folder) == ("ranker", HERE | {"method": "likelihood"}, "")

    @pytest.mark.parametrize("key", sorted(CARD))
    def test_what_was_given_before_all(self, folder: Path, key: str) -> None:
        choose(folder, **HERE)
        given = {key: getattr(RankSettings(), key)}  # also when it is the default's value
        assert served(folder, rank=given) == ("ranker", HERE | given | {"method": "likelihood"}, "")

    def test_none_in_use(self, made: Path) -> None:
        adapter, settings, note = served(made, adapters={"rerank": ""})
        assert (adapter, note) == ("", "")
        assert settings == RankSettings().model_dump(include={*CARD, "method"})

    def test_choices_of_other_adapters_stay(self, folder: Path) -> None:
        choose(folder, **CARD)
        path = folder / "adapters" / CHOICES
        path.write_text(json.dumps(json.loads(path.read_text()) | {"other": HERE}))
        choose(folder, **HERE)
        with Workspace.open(folder) as workspace:
            assert read_choices(workspace) == {name: RankingChoice.model_validate(HERE) for name in ("ranker", "other")}


class TestSpread:
    """The usual spread of a retriever's scores goes with the weights that were fitted behind it."""

    def scores(self, folder: Path, *choice: float | str, **options: Any) -> dict[str, float]:
        choose(folder, **HERE, **dict(zip(("spread", "retriever"), choice, strict=False)))
        return {row.item.item_id: row.score for row in ask(folder, explain="off", **options)}

    def test_scores_of_that_retriever_are_measured_by_it(self, folder: Path) -> None:
        own = self.scores(folder)
        assert self.scores(folder, 0.001, "zero-shot") != own
        assert self.scores(folder, 0.001, "zero-shot") != self.scores(folder, 0.1, "zero-shot")
        assert self.scores(folder, 0.001, "learned") == own

    @pytest.mark.parametrize("options", [{"query": "Bravo"}, {"explore": 2.0, "seed": 1}], ids=str)
    def test_ranks_of_a_query_and_drawn_scores_are_not(self, folder: Path, options: dict[str, Any]) -> None:
        assert self.scores(folder, 0.001, "zero-shot", **options) == self.scores(folder, **options)

    def test_evaluation_measures_by_it_too(self, folder: Path) -> None:
        choose(folder, **HERE, spread=0.25, retriever="zero-shot")
        with Workspace.open(folder) as workspace:
            told = [
                evaluating._reranker(workspace, evaluating.Engine(workspace.llm), None)(base).settings
                for base in (SYSTEM, Popularity())
            ]
        assert [settings["rerank"]["spread"] for settings in told] == [0.25, 0.0]


class TestMethod:
    def test_the_adapters_own_method_serves(self, folder: Path, llama: Path) -> None:
        cards.make(folder / "adapters", "labeller", llama, method="labels", ranking=CARD)
        with Workspace.open(folder) as workspace:
            workspace.registry.activate("labeller")
        adapter, settings, note = served(folder)
        assert (adapter, settings["method"], note) == ("labeller", "labels", "")
        assert served(folder, "labels")[0] == "labeller"
        for adapter, settings, note in (served(folder, "likelihood"), served(folder, rank={"method": "likelihood"})):
            assert (adapter, settings["method"]) == ("", "likelihood")
            assert settings["weight"] == RankSettings().weight  # the card's was for its own method
            assert note == "adapter labeller ranks by labels, not by likelihood: the base model ranks"

    def test_one_asked_for_wins_over_the_settings(self, made: Path) -> None:
        assert served(made, "likelihood", rank={"method": "labels"})[0] == "ranker"
        assert served(made, "markers", rank={"method": "likelihood"})[:2] == (
            "",
            RankSettings(method="markers").model_dump(include={*CARD, "method"}),
        )


class TestDamage:
    @pytest.mark.parametrize("text", ["{", "[1]", '{"ranker": {"weight": 2}}', '{"ranker": 3}'])
    def test_choices_that_cannot_be_read(self, folder: Path, text: str) -> None:
        (folder / "adapters" / CHOICES).write_text(text)
        with pytest.raises(WorkspaceError, match=r"choices\.json") as caught:
            served(folder)
        assert "--fit" in str(caught.value.hint)
        with pytest.raises(WorkspaceError, match=r"choices\.json"):
            ask(folder, explain="template")

    def test_a_named_adapter_that_is_not_there(self, made: Path) -> None:
        with pytest.raises(AdapterError, match="no adapter 'none'"):
            served(made, adapters={"rerank": "none"})
        rows = ask(made, adapters={"rerank": "none"}, explain="template")
        ranking = stage(rows, "ranking")
        assert ranking is not None
        assert ranking.status == "degraded"
        assert "no adapter 'none'" in ranking.note
        assert [row.item for row in rows] == [row.item for row in ask(made, rank="off", explain="template")]


class TestTrace:
    def test_it_names_the_adapters(self, made: Path) -> None:
        rows = ask(made)
        models = rows[0].trace.models
        assert (models["rerank adapter"], models["write adapter"]) == ("ranker", "writer")
        assert stage(rows, "rerank adapter") is stage(rows, "write adapter") is None
        models = ask(made, adapters={"rerank": "", "write": ""})[0].trace.models
        assert not {"rerank adapter", "write adapter"} & set(models)

    def test_the_adapter_and_its_weight_rank(self, made: Path) -> None:
        full = {"ranking": {"weight": 1.0}, "explain": "template"}
        tuned = [row.score for row in ask(made, **full)]
        assert tuned != [row.score for row in ask(made, adapters={"rerank": ""}, **full)]
        assert tuned != [row.score for row in ask(made, explain="template")]

    @pytest.mark.parametrize("task", ["rerank", "write"])
    def test_an_active_one_that_is_gone_is_a_degraded_stage(self, folder: Path, task: str) -> None:
        active = json.loads((folder / "adapters" / ACTIVE).read_text())
        shutil.rmtree(folder / "adapters" / active[task][-1])
        rows = ask(folder)
        told = stage(rows, f"{task} adapter")
        assert told is not None
        assert told.status == "degraded"
        assert active[task][-1] in told.note
        assert f"{task} adapter" not in rows[0].trace.models
        ranking = stage(rows, "ranking")
        assert ranking is not None
        assert ranking.status == "ok"  # the base model ranks

    def test_a_method_that_it_was_not_trained_for_is_a_degraded_stage(self, made: Path) -> None:
        with Recommender.open(made) as opened:
            rows = list(opened.recommend("p00", k=2, method="markers", explain="template", evidence="ranker"))
            told = [one for one in rows[0].trace.stages if one.name == "rerank adapter"]
            assert [one.status for one in told] == ["degraded"]
            again = list(opened.recommend("p00", k=2, explain="template"))
        assert again[0].trace.models["rerank adapter"] == "ranker"
        assert stage(again, "rerank adapter") is None  # what was amiss with another method is none of this one's

    def test_a_history_as_long_as_the_adapter_learned(self, folder: Path) -> None:
        """Longer than the retriever reads."""
        choose(folder, **CARD | {"history": 5, "weight": 1.0})
        longer = ask(folder, retrieval={"history": 1}, explain="template")
        choose(folder, **CARD | {"history": 1, "weight": 1.0})
        shorter = ask(folder, retrieval={"history": 1}, explain="template")
        assert {row.item.item_id: row.score for row in longer} != {row.item.item_id: row.score for row in shorter}


def test_an_adapter_writes_without_examples_in_the_prompt(made: Path) -> None:
    facts = Facts(past=("Alien",), liked=True, shared=(), words=(), interests=())
    plain, tuned = (reason_prompt(Prompts(), facts, tuned=one) for one in (False, True))
    assert "The Night Manager" in plain[0]
    assert "The Night Manager" not in tuned[0]
    assert plain[1] == tuned[1]
    with Recommender.open(made) as opened:
        (first, *_) = opened.recommend("p00", k=1)
    assert first.trace.models["write adapter"] == "writer"
    assert first.reason.text
