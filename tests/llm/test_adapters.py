"""Adapters on disk: what is read is whole, fits and can be served; everything else is refused with its place."""

import asyncio
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from genrec.errors import AdapterError, PromptError
from genrec.llm import adapter_registry as registry
from genrec.llm import adapters
from genrec.llm.adapter_registry import ACTIVE, AdapterRegistry
from genrec.llm.adapters import CARD, CONFIG, PAGE, WEIGHTS, find, new_folder, read, write_card
from genrec.llm.protocol import Likelihood, WriteRequest
from genrec.models.sources import digest
from genrec.prompts import Prompts, shipped_folder
from genrec.settings import load_settings
from genrec.workspace.doctor import examine
from tests.llm import cards, engines

REQUEST = Likelihood(prefix="Films:\n", context="- Alien\n- Aliens\n-", continuations=(" Blade Runner\n", " Star Wars\n"))


@pytest.fixture(autouse=True)
def own_cache(cache: Path) -> None:
    """Digests of throw-away models stay in the test's folder."""


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def edit_weights(folder: Path, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    save_file(edit(load_file(folder / WEIGHTS)), folder / WEIGHTS)


def score(engine: Any, adapter: str = "", salt: str = "") -> np.ndarray:
    request = Likelihood(
        prefix=REQUEST.prefix, context=REQUEST.context, continuations=REQUEST.continuations, adapter=adapter, salt=salt
    )
    return asyncio.run(engine.score([request]))[0].logp


class TestCards:
    def test_what_is_written_is_read(self, tmp_path: Path, llama: Path) -> None:
        card = cards.make(tmp_path, "films-1", llama)
        adapter = read(tmp_path / "films-1")
        assert adapter.card == card
        assert adapter.task == "rerank"
        assert card.ranking is not None
        assert (card.ranking.weight, card.ranking.prior, card.ranking.history) == (0.4, 0.0, 12)
        assert json.loads((tmp_path / "films-1" / CARD).read_text())["schema"] == 1
        assert card.files.keys() == {CONFIG, WEIGHTS}

    def test_the_page_says_all_of_it(self, tmp_path: Path, llama: Path) -> None:
        cards.make(tmp_path, "films-1", llama)
        page = (tmp_path / "films-1" / PAGE).read_text()
        for text in (digest(llama), Prompts().digest("rerank"), "weight 0.4", "events 9000", "the last event", "Likelihood won"):
            assert text in page
        for text in (
            "| NDCG@10 | 0.0818 | 0.07 to 0.09 | 0.0727 |",
            "R@10 \\| films",
            "English titles only.",
            "genrec train rerank",
        ):
            assert text in page

    @pytest.mark.parametrize(
        ("values", "place"),
        [
            ({"task": "sing"}, "task"),
            ({"metrics": {"NDCG": 0.1}}, "metrics.NDCG"),
            ({"ranking": {"weight": 2}}, "ranking.weight"),
            ({"base": {"id": "x", "sha256": "abc"}}, "base.sha256"),
            ({"colour": "red"}, "colour"),
            ({"schema": 2}, "schema"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_a_card_that_does_not_fit(self, tmp_path: Path, llama: Path, values: dict[str, Any], place: str) -> None:
        cards.make(tmp_path, "films-1", llama)
        with pytest.raises(AdapterError, match=f"{place}: "):
            write_card(tmp_path / "films-1", cards.card("films-1", llama, **values))
        change(tmp_path / "films-1" / CARD, **values)
        with pytest.raises(AdapterError, match=f"card.json: {place}: "):
            read(tmp_path / "films-1")

    def test_figures_that_are_not_numbers_are_not_written(self, tmp_path: Path, llama: Path) -> None:
        with pytest.raises(AdapterError, match=r"metrics\.NDCG"):
            cards.make(tmp_path, "films-1", llama, metrics={"NDCG": {"value": float("nan")}})
        with pytest.raises(AdapterError, match="data or training"):
            cards.make(tmp_path, "films-2", llama, training={"loss": float("inf")})

    def test_names(self, tmp_path: Path, llama: Path) -> None:
        for name in ("../up", "a b", "", ".hidden", "a=b", "x" * 101):
            with pytest.raises(AdapterError, match="not an adapter's name"):
                new_folder(tmp_path, name)
        cards.make(tmp_path, "films-1", llama)
        with pytest.raises(AdapterError, match="films-1 already"):
            new_folder(tmp_path, "films-1")
        assert new_folder(tmp_path, "films-2") == tmp_path / "films-2"
        with pytest.raises(AdapterError, match="'other'"):
            write_card(tmp_path / "films-1", cards.card("other", llama))
        (tmp_path / "films-1").rename(tmp_path / "films-3")
        with pytest.raises(AdapterError, match=r"'films-1'.*'films-3'"):
            read(tmp_path / "films-3")


def _truncate(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-50])


def _nudge(folder: Path) -> None:
    edit_weights(folder, lambda weights: {name: tensor * 1.01 for name, tensor in weights.items()})


def _head(folder: Path) -> None:
    edit_weights(folder, lambda weights: weights | {"base_model.model.lm_head.weight": np.zeros((4, 4), dtype=np.float32)})


def _embedding(folder: Path) -> None:
    key = "base_model.model.model.embed_tokens.lora_A.weight"
    edit_weights(folder, lambda weights: weights | {key: np.zeros((4, 4), dtype=np.float32)})


DAMAGE: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "no card": (lambda folder: (folder / CARD).unlink(), CARD, "No such file"),
    "card cut": (lambda folder: (folder / CARD).write_text("{"), CARD, "JSON"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), WEIGHTS, ""),
    "weights cut": (_truncate, WEIGHTS, ""),
    "other weights": (_nudge, WEIGHTS, "digest"),
    "no config": (lambda folder: (folder / CONFIG).unlink(), CONFIG, "No such file"),
    "config cut": (lambda folder: (folder / CONFIG).write_text("{"), CONFIG, "damaged"),
    "other config": (lambda folder: change(folder / CONFIG, lora_alpha=99), CONFIG, "digest"),
    "other kind": (lambda folder: change(folder / CONFIG, peft_type="IA3"), CONFIG, "'IA3'"),
    "dora": (lambda folder: change(folder / CONFIG, use_dora=True), CONFIG, "use_dora"),
    "bias": (lambda folder: change(folder / CONFIG, bias="all"), CONFIG, "bias"),
    "pissa": (lambda folder: change(folder / CONFIG, init_lora_weights="pissa"), CONFIG, "init_lora_weights"),
    "trained head": (lambda folder: change(folder / CONFIG, modules_to_save=["lm_head"]), CONFIG, "modules_to_save"),
    "head in the weights": (_head, WEIGHTS, "lm_head"),
    "embeddings in the weights": (_embedding, WEIGHTS, "embed_tokens"),
}


class TestDamage:
    @pytest.mark.parametrize("kind", DAMAGE)
    def test_is_refused_with_its_place(self, tmp_path: Path, llama: Path, kind: str) -> None:
        cards.make(tmp_path, "films-1", llama)
        cards.make(tmp_path, "films-2", llama)
        do, file, says = DAMAGE[kind]
        do(tmp_path / "films-1")
        with pytest.raises(AdapterError) as caught:
            read(tmp_path / "films-1")
        assert str(tmp_path / "films-1" / file) in str(caught.value)
        assert says in str(caught.value)
        assert caught.value.hint
        found = find([tmp_path])  # one that is damaged hides none that is whole
        assert list(found.adapters) == ["films-2"]
        with pytest.raises(AdapterError, match="films-1"):
            found.get("films-1")
        with pytest.raises(AdapterError, match="'films-9'") as caught:
            found.get("films-9")
        assert "films-2" in caught.value.hint

    @pytest.mark.parametrize("kind", ["dora", "trained head", "head in the weights", "no weights"])
    def test_the_engine_refuses_it_too(self, tmp_path: Path, llama: Path, kind: str) -> None:
        cards.make(tmp_path, "films-1", llama)
        DAMAGE[kind][0](tmp_path / "films-1")
        with pytest.raises(AdapterError, match="films-1"):
            engines.load(llama, adapters={"films-1": tmp_path / "films-1"})


class TestEngine:
    def test_an_adapter_of_another_model(self, tmp_path: Path, llama: Path) -> None:
        """Other widths, more layers: refused when first asked for, and neither the base nor another adapter suffers."""
        wide = engines.save_llama(tmp_path / "wide", hidden_size=64)
        deep = engines.save_llama(tmp_path / "deep", num_hidden_layers=4)
        folders = {name: tmp_path / name for name in ("good", "from-wide", "from-deep")}
        for (name, folder), base in zip(folders.items(), (llama, wide, deep), strict=True):
            engines.save_adapter(folder, base, rank=4, targets=("q_proj", "v_proj"), seed=1)
            assert folder.name == name
        engine = engines.load(llama, adapters=folders)
        base, good = score(engine), score(engine, "good")
        for name in ("from-wide", "from-deep", "from-wide"):
            with pytest.raises(AdapterError, match=f"{name} .*does not fit the model") as caught:
                score(engine, name)
            assert caught.value.hint
            np.testing.assert_allclose(score(engine), base, atol=1e-4)
            np.testing.assert_allclose(score(engine, "good"), good, atol=1e-4)
        assert np.abs(base - good).max() > 0.1
        engine.close()

    def test_a_folder_that_went_before_its_first_use_fails_its_own_requests(self, tmp_path: Path, llama: Path) -> None:
        folders = engines.save_adapters(tmp_path, llama)
        engine = engines.load(llama, adapters=folders)
        shutil.rmtree(folders["one"])

        async def all_at_once() -> list[Any]:
            texts = [WriteRequest(prefix="", prompt="Alien", max_tokens=4, adapter=name) for name in ("", "one", "two.2")]
            calls = [engine.write([text]) for text in texts]
            return await asyncio.gather(engine.score([REQUEST]), *calls, return_exceptions=True)

        scores, base, gone, other = asyncio.run(all_at_once())
        assert isinstance(gone, AdapterError)
        assert all(isinstance(answer, list) for answer in (scores, base, other))
        score(engine, "two.2")
        shutil.rmtree(folders["two.2"])
        assert np.isfinite(score(engine, "two.2")).all()  # what is loaded stays
        engine.close()

    def test_merged_into_the_weights_it_scores_the_same(self, tmp_path: Path, llama: Path) -> None:
        """By PEFT's own reading and merging of the folder."""
        from peft import PeftModel

        folder = engines.save_adapters(tmp_path, llama)["one"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # PEFT still asks for an older name in transformers
            merged: Any = PeftModel.from_pretrained(engines.plain_model(llama, "float32"), str(folder)).merge_and_unload()
        merged.save_pretrained(tmp_path / "merged")
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(llama / name, tmp_path / "merged" / name)
        plain, tuned = engines.load(tmp_path / "merged"), engines.load(llama, adapters={"one": folder})
        np.testing.assert_allclose(score(tuned, "one"), score(plain), rtol=0, atol=1e-3)
        assert np.abs(score(tuned) - score(plain)).max() > 0.1
        plain.close()
        tuned.close()

    def test_the_model_is_left_alone_until_an_adapter_is_asked_for(self, tmp_path: Path, llama: Path) -> None:
        engine = engines.load(llama, adapters=engines.save_adapters(tmp_path, llama))
        score(engine)
        assert not any("lora" in name for name, _ in engine._forward.model.named_modules())
        score(engine, "one")
        assert any("lora" in name for name, _ in engine._forward.model.named_modules())
        engine.close()

    def test_keys_and_values_are_shared_within_one_adapter_and_salt(self, tmp_path: Path, llama: Path) -> None:
        engine = engines.load(llama, adapters=engines.save_adapters(tmp_path, llama))

        def cached(adapter: str, salt: str) -> int:
            """Tokens taken from the cache behind the constant prefix, which a call computes for itself."""
            request = Likelihood(
                prefix="", context=REQUEST.context, continuations=REQUEST.continuations, adapter=adapter, salt=salt
            )
            return asyncio.run(engine.score([request]))[0].cached_tokens

        scopes = [("", ""), ("one", ""), ("", "tenant 1"), ("one", "tenant 1"), ("two.2", "tenant 1")]
        for scope in scopes:
            assert cached(*scope) == 0
            assert cached(*scope) > 0
        engine.close()


class TestRegistry:
    @pytest.fixture(autouse=True)
    def shipped(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A place of shipped adapters that holds none."""
        for module in (adapters, registry):
            monkeypatch.setattr(module, "shipped_folder", lambda: tmp_path / "shipped")
        return tmp_path / "shipped"

    def open(self, folder: Path, llama: Path, **wanted: str) -> AdapterRegistry:
        settings = load_settings(overrides={"adapters": wanted, "models": {"llm": str(llama)}})
        return AdapterRegistry(
            folder / "adapters", wanted=settings.adapters, models=settings.models, prompts=Prompts(folder / "prompts")
        )

    def test_nothing_there(self, tmp_path: Path, llama: Path) -> None:
        opened = self.open(tmp_path, llama)
        assert opened.in_use("rerank").adapter is None
        assert opened.in_use("rerank").note == ""
        assert opened.fitting() == {}
        with pytest.raises(AdapterError, match="no adapter was activated for rerank"):
            opened.rollback("rerank")

    def test_activate_and_roll_back(self, tmp_path: Path, llama: Path) -> None:
        opened = self.open(tmp_path, llama)
        for n in (1, 2):
            cards.make(tmp_path / "adapters", f"films-{n}", llama, seed=n)
        cards.make(tmp_path / "adapters", "words-1", llama, task="write", ranking=None)
        assert opened.in_use("rerank").adapter is None  # being there is not being in use
        for name in ("films-1", "films-2", "words-1", "films-1", "films-2"):
            opened.activate(name)
        assert opened.active() == {"rerank": ["films-1", "films-2"], "write": ["words-1"], "converse": []}
        assert self.serving(opened) == ("films-2", "words-1")
        assert opened.rollback("rerank") == "films-2"
        assert self.serving(opened) == ("films-1", "words-1")
        assert opened.rollback("rerank") == "films-1"
        assert self.serving(opened) == ("", "words-1")
        assert sorted(opened.fitting()) == ["films-1", "films-2", "words-1"]

    def serving(self, opened: AdapterRegistry) -> tuple[str, str]:
        one, other = (opened.in_use(task).adapter for task in ("rerank", "write"))
        return one.name if one else "", other.name if other else ""

    def test_settings_decide(self, tmp_path: Path, llama: Path) -> None:
        for n in (1, 2):
            cards.make(tmp_path / "adapters", f"films-{n}", llama)
        self.open(tmp_path, llama).activate("films-1")
        assert self.serving(self.open(tmp_path, llama, rerank="films-2"))[0] == "films-2"
        assert self.serving(self.open(tmp_path, llama, rerank=""))[0] == ""
        with pytest.raises(AdapterError, match="'films-3'"):
            self.open(tmp_path, llama, rerank="films-3").in_use("rerank")
        with pytest.raises(AdapterError, match="to rerank, not to write"):
            self.open(tmp_path, llama, write="films-1").in_use("write")

    def test_a_shipped_one_serves_until_one_is_activated(self, tmp_path: Path, llama: Path, shipped: Path) -> None:
        cards.make(shipped, "shipped-1", llama, date="2026-01-01")
        cards.make(shipped, "shipped-2", llama, date="2026-02-01")
        cards.make(shipped, "shipped-3", llama, date="2026-03-01", base={"id": "other", "sha256": "0" * 64})
        cards.make(tmp_path / "adapters", "own", llama)
        opened = self.open(tmp_path, llama)
        assert self.serving(opened) == ("shipped-2", "")
        opened.activate("own")
        assert self.serving(opened) == ("own", "")
        assert sorted(opened.fitting()) == ["own", "shipped-1", "shipped-2"]
        cards.make(tmp_path / "adapters", "shipped-2", llama, task="write", ranking=None)  # the workspace's own wins
        assert opened.find().get("shipped-2").path.parent == tmp_path / "adapters"
        with pytest.raises(AdapterError, match="shipped-1 already"):
            new_folder(tmp_path / "adapters", "shipped-1")

    def test_other_base_weights(self, tmp_path: Path, llama: Path) -> None:
        cards.make(tmp_path / "adapters", "films-1", llama)
        self.open(tmp_path, llama).activate("films-1")
        other = engines.save_llama(tmp_path / "other", hidden_size=64)
        auto = self.open(tmp_path, other).in_use("rerank")
        assert auto.adapter is None
        for part in ("films-1", digest(llama)[:16], digest(other)[:16]):
            assert part in auto.note
        for refused in (
            lambda: self.open(tmp_path, other, rerank="films-1").in_use("rerank"),
            lambda: self.open(tmp_path, other).activate("films-1"),
        ):
            with pytest.raises(AdapterError, match=digest(other)[:16]) as caught:
                refused()
            assert "models.llm" in caught.value.hint
        assert self.open(tmp_path, other).fitting() == {}

    def test_weights_that_are_not_here_are_told_by_their_name(self, tmp_path: Path, llama: Path) -> None:
        base = {"id": "somebody/model", "sha256": "0" * 64}
        cards.make(tmp_path / "adapters", "films-1", llama, base=base)
        far = load_settings(overrides={"models": {"llm": "somebody/model", "hub": False}}).models
        near = load_settings(overrides={"models": {"llm": "somebody/else", "hub": False}}).models
        wanted, prompts = load_settings(overrides={"adapters": {"rerank": "films-1"}}).adapters, Prompts()
        found = AdapterRegistry(tmp_path / "adapters", wanted=wanted, models=far, prompts=prompts).in_use("rerank").adapter
        assert found is not None
        with pytest.raises(AdapterError, match="not on this machine"):
            AdapterRegistry(tmp_path / "adapters", wanted=wanted, models=near, prompts=prompts).in_use("rerank")

    def test_other_prompts(self, tmp_path: Path, llama: Path) -> None:
        cards.make(tmp_path / "adapters", "films-1", llama)
        self.open(tmp_path, llama).activate("films-1")
        (tmp_path / "prompts").mkdir()
        (tmp_path / "prompts/rerank.j2").write_text((shipped_folder() / "rerank.j2").read_text() + "Now.\n")
        auto = self.open(tmp_path, llama).in_use("rerank")
        assert auto.adapter is None
        digests = [Prompts().digest("rerank"), Prompts(tmp_path / "prompts").digest("rerank")]
        assert all(part in auto.note for part in ("rerank.j2", *digests))
        with pytest.raises(AdapterError, match=digests[1]) as caught:
            self.open(tmp_path, llama, rerank="films-1").in_use("rerank")
        assert "template" in caught.value.hint
        (tmp_path / "prompts/rerank.j2").write_bytes(b"\xff")
        with pytest.raises(PromptError):
            self.open(tmp_path, llama).in_use("rerank")

    @pytest.mark.parametrize("text", ["{", "[]", '{"sing": []}', '{"rerank": "films-1"}', '{"rerank": [1]}'])
    def test_a_damaged_list_of_active_ones(self, tmp_path: Path, llama: Path, text: str) -> None:
        cards.make(tmp_path / "adapters", "films-1", llama)
        (tmp_path / "adapters" / ACTIVE).write_text(text)
        for call in (lambda o: o.in_use("rerank"), lambda o: o.activate("films-1"), lambda o: o.rollback("rerank")):
            with pytest.raises(AdapterError, match=ACTIVE) as caught:
                call(self.open(tmp_path, llama))
            assert "Delete it" in caught.value.hint

    def test_the_doctor_tells(self, tmp_path: Path, llama: Path) -> None:
        cards.make(tmp_path / "adapters", "films-1", llama)
        cards.make(tmp_path / "adapters", "films-2", llama, prompts={"rerank": "abc", "none such": "def"})
        cards.make(tmp_path / "adapters", "films-3", llama)
        _truncate(tmp_path / "adapters/films-3")
        self.open(tmp_path, llama).activate("films-1")

        def look(llm: Path, **wanted: str) -> dict[str, tuple[str, str]]:
            settings = load_settings(overrides={"models": {"llm": str(llm), "text": "", "image": ""}, "adapters": wanted})
            findings = examine(settings, workspace=tmp_path)
            return {finding.name: (finding.status, finding.detail) for finding in findings if "adapter" in finding.name}

        found = look(llama)
        assert found.keys() == {"adapter films-1", "adapter films-2", "adapter films-3"}
        assert found["adapter films-1"][1].startswith("fits, to rerank")
        assert "rerank.j2 of digest abc" in found["adapter films-2"][1]
        assert found["adapter films-3"][0] == "warning"
        other = engines.save_llama(tmp_path / "other", hidden_size=64)
        assert look(other)["rerank adapter"][0] == "warning"
        assert look(other, rerank="films-1")["rerank adapter"][0] == "missing"
        assert "rerank adapter" not in look(other, rerank="")
