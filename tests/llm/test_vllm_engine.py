"""The `vllm` engine: the contract of all engines, its prefix cache, its options, its processes. Run by `make test-vllm`."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from genrec.errors import AdapterError, ConfigError, EngineError, MediaError
from genrec.llm.protocol import LLM, Likelihood, WriteRequest
from genrec.models.sources import Weights
from genrec.settings.sections import LlmSettings
from tests.llm import engines, seeing
from tests.llm.asking import CONTEXT, PREFIX, assert_same, labels, likelihood, markers, mixed, writing
from tests.llm.test_engines import *  # noqa: F403 - the contract, run on the `engine` below
from tests.llm.test_seeing import TestSeen as TestSeen  # the contract of engines that see, run on the `seer` below
from tests.llm.test_seeing import blue as blue
from tests.llm.test_seeing import cut as cut
from tests.llm.test_seeing import red as red
from tests.llm.test_seeing import showing

pytest.importorskip("vllm", reason="vLLM has an environment of its own: make test-vllm")
pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("ignore")]

SMALL = {"max_num_seqs": 16, "kv_cache_gb": 0.05, "eager": True, "block_size": 32}


def open_vllm(folder: Path, adapters: dict[str, Path] | None = None, dtype: Any = "float32", **settings: Any) -> Any:
    from genrec.llm.vllm_engine import VLLMEngine

    weights = Weights(name="tiny", kind="llm", path=folder, source="path")
    with engines.own_cache(folder.parent / "cache"):
        return VLLMEngine(weights, adapters, settings=LlmSettings(**(SMALL | settings)), dtype=dtype)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with heads of the least width that vLLM's attention takes on a CPU."""
    return engines.save_llama(tmp_path_factory.mktemp("llama") / "model", head_dim=32)


@pytest.fixture(scope="module")
def adapters(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return engines.save_adapters(tmp_path_factory.mktemp("adapters"), model)


@pytest.fixture(scope="module")
def engine(model: Path, adapters: dict[str, Path]) -> Iterator[engines.Opened]:
    again: Callable[[], LLM] = partial(open_vllm, model, adapters)
    llm = again()
    yield engines.Opened("vllm", llm, again, 1e-3)
    llm.close()


@pytest.fixture(scope="module")
def idefics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return seeing.save_idefics(tmp_path_factory.mktemp("idefics") / "model")


@dataclass
class Started:
    """An engine, and the processes that came with it."""

    llm: Any
    processes: list[psutil.Process]


@pytest.fixture(scope="module")
def started(idefics: Path) -> Iterator[Started]:
    """The one that sees, with options. `TestStart` kills it in the end: starts take long."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    llm = open_vllm(idefics, max_model_len=512, options=["--max-num-batched-tokens", "512"])
    new = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    yield Started(llm, [child for child in new if "resource_tracker" not in " ".join(child.cmdline())])
    llm.close()


@pytest.fixture
def seer(started: Started) -> LLM:
    return started.llm


@pytest.fixture(scope="module")
def plain(model: Path) -> Any:
    return engines.plain_model(model, "float32")


def expected(plain: Any, llm: LLM, request: Likelihood) -> list[float]:
    """log p of each continuation by the model's own logits in transformers, nothing cached."""
    import torch

    encode = llm._tokens.encode  # pyright: ignore[reportAttributeAccessIssue]
    shared = encode(request.prefix) + encode(request.context)
    found = []
    for text in request.continuations:
        target = encode(text)
        with torch.inference_mode():
            logp = plain(input_ids=torch.tensor([shared + target])).logits[0].log_softmax(-1)
        found.append(float(logp[range(len(shared) - 1, len(shared) + len(target) - 1), target].sum()))
    return found


class TestCache:
    """Scores are those of the plain model, whether or not parts of a prompt come from vLLM's prefix cache."""

    @pytest.mark.parametrize("cut", range(0, 36, 5))
    async def test_cached_and_uncached_agree(self, engine: engines.Opened, plain: Any, cut: int) -> None:
        # `cut` moves the ends of the shared part over a block of 32 tokens; the long title crosses into the next ones
        context = (CONTEXT * 2)[cut:] + f"run {cut}\n-"
        request = likelihood((" Aliens\n", f" {CONTEXT}\n", " Blade Runner, the one of 1982\n"), context)
        (first,) = await engine.llm.score([request])
        (again,) = await engine.llm.score([request])
        assert first.logp == pytest.approx(expected(plain, engine.llm, request), abs=2e-3)
        assert_same([again], [first], 1e-3)
        assert again.cached_tokens > 0
        assert again.prompt_tokens < 3 * engine.llm.count_tokens(PREFIX + context)  # what three whole prompts would cost

    async def test_titles_alone_are_computed_behind_whole_blocks(self, engine: engines.Opened, plain: Any) -> None:
        block, count = await engine.llm.block(), engine.llm.count_tokens
        titles = (" Aliens\n", " Alien\n", f" {CONTEXT}\n", " Blade Runner, the one of 1982\n")
        for many in range(4):  # lists of their own, which nothing is cached of
            contexts = (f"fits {many}\n" + CONTEXT * 2 + "-" * n for n in range(200))
            context = next(one for one in contexts if (count(PREFIX) + count(one)) % block == 0)
            request = likelihood(titles[many:] + titles[:many], context)
            (scores,) = await engine.llm.score([request])
            assert scores.logp == pytest.approx(expected(plain, engine.llm, request), abs=2e-3)
            assert scores.prompt_tokens == count(PREFIX) + count(context) + sum(count(title) - 1 for title in titles)
            (again,) = await engine.llm.score([request])
            assert_same([again], [scores], 1e-3)

    async def test_salts_share_nothing(self, engine: engines.Opened) -> None:
        mine = Likelihood(prefix=PREFIX, context=CONTEXT + "salted\n-", continuations=(" Aliens\n",), salt="mine")
        theirs = Likelihood(prefix=PREFIX, context=CONTEXT + "salted\n-", continuations=(" Aliens\n",), salt="theirs")
        (first,), (other,), (again,) = [await engine.llm.score([one]) for one in (mine, theirs, mine)]
        assert first.cached_tokens == other.cached_tokens < again.cached_tokens
        assert_same([other, again], [first, first], 1e-3)

    async def test_a_person_is_computed_once(self, engine: engines.Opened) -> None:
        titles = tuple(f" {n} films\n" for n in range(10))
        (scores,) = await engine.llm.score([likelihood(titles, CONTEXT * 6 + "once\n-")])
        shared = engine.llm.count_tokens(PREFIX + CONTEXT * 6 + "once\n-")
        assert shared > 6 * 32
        assert scores.prompt_tokens < shared + len(titles) * (32 + 16)
        assert scores.cached_tokens > (len(titles) - 1) * (shared - 64)


class TestLimits:
    async def test_many_labels(self, engine: engines.Opened) -> None:
        names = tuple(f" {letter}" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
        (many,), (few,) = await engine.llm.score([labels(*names)]), await engine.llm.score([labels(" A", " B")])
        assert many.logp[0] - many.logp[1] == pytest.approx(float(few.logp[0] - few.logp[1]), abs=1e-3)

    async def test_the_longest_prompt(self, engine: engines.Opened) -> None:
        room = engine.llm.max_tokens - engine.llm.count_tokens(PREFIX) - 1
        (scores,) = await engine.llm.score([likelihood((" A",), " B" * room)])
        assert np.isfinite(scores.logp).all()
        with pytest.raises(EngineError, match="fit"):
            await engine.llm.score([likelihood((" A",), " B" * (room + 2))])

    async def test_temperature(self, engine: engines.Opened) -> None:
        with pytest.raises(EngineError, match="temperature"):
            await engine.llm.write([writing(temperature=2.5)])

    async def test_a_broken_schema(self, engine: engines.Opened) -> None:
        for schema in ("{", '{"type": "nothing"}'):
            with pytest.raises(EngineError) as caught:
                await engine.llm.write([writing(schema=schema)])
            assert caught.value.hint

    async def test_a_schema_holds(self, engine: engines.Opened) -> None:
        schema = {"type": "object", "properties": {"kind": {"enum": ["film", "book"]}}, "required": ["kind"]}
        request = WriteRequest(prefix=PREFIX, prompt=CONTEXT, max_tokens=40, schema=json.dumps(schema))
        (text,) = await engine.llm.write([request])
        assert json.loads(text)["kind"] in ("film", "book")

    async def test_patterns_of_strings_hold(self, engine: engines.Opened) -> None:
        """As `caption_grammar` makes them: many words, bounded repetition, the example always allowed."""
        words = "|".join(f"[{letter.upper()}{letter}]{rest}" for letter in "abcdefgh" for rest in ("at", "it", "ore", "een"))
        text = {"type": "string", "pattern": f"^(?:(?:{words})(?: (?:{words})){{0,5}}[.!]|It is\\.)$", "examples": ["It is."]}
        schema = {"type": "object", "properties": {"text": text}, "required": ["text"], "additionalProperties": False}
        asked = [writing(90, schema=json.dumps(schema), temperature=1.5 * seed, seed=seed) for seed in (0, 1)]
        for written in await engine.llm.write(asked):
            assert re.fullmatch(text["pattern"], json.loads(written)["text"])

    async def test_slow_answers_end(self, model: Path, monkeypatch: pytest.MonkeyPatch, engine: engines.Opened) -> None:
        quick = engine.llm._settings.model_copy(update={"timeout_s": 0.001})  # pyright: ignore[reportAttributeAccessIssue]
        monkeypatch.setattr(engine.llm, "_settings", quick)
        with pytest.raises(EngineError, match="no answer to a prompt") as caught:
            await engine.llm.write([writing(500)])
        assert caught.value.retryable
        monkeypatch.undo()
        assert await engine.llm.score([markers()])


class TestPictures:
    async def test_texts_are_those_of_transformers(self, seer: LLM, idefics: Path, red: Path, blue: Path) -> None:
        for request in (showing(red), showing(blue), showing(blue, red)):
            (text,) = await seer.write([request])
            assert text == seeing.plain_text(idefics, request).rstrip("\ufffd")  # vLLM holds back half of a sign

    async def test_a_picture_whose_request_was_given_up(self, seer: LLM, red: Path, cut: Path, tmp_path: Path) -> None:
        """vLLM's cache of pictures believes that its core has one as soon as it was prepared; the core died of it."""
        fresh = seeing.paint(tmp_path / "fresh.png", "yellow", "black")
        with pytest.raises(MediaError):
            await seer.write([showing(fresh), showing(cut)])
        assert await seer.write([showing(fresh)])

    async def test_a_model_of_text_refuses(self, engine: engines.Opened, red: Path) -> None:
        assert not engine.llm.sees
        with pytest.raises(EngineError, match="takes no pictures"):
            await engine.llm.write([showing(red)])


class TestStart:
    def test_options_processes_and_death(self, started: Started) -> None:
        llm, mine = started.llm, started.processes
        assert mine
        try:
            assert llm.max_tokens == 512
            assert llm._engine.vllm_config.scheduler_config.max_num_batched_tokens == 512
            assert llm.adapters == ()
            with pytest.raises(AdapterError):
                asyncio.run(llm.write([writing(adapter="one")]))
            llm._engine.engine_core.resources.engine_manager.processes[0].kill()
            for _ in range(2):
                with pytest.raises(EngineError, match="died"):
                    asyncio.run(llm.score(mixed()))
        finally:
            llm.close()
        _, alive = psutil.wait_procs(mine, timeout=30)
        assert not alive

    def test_options(self, model: Path) -> None:
        with pytest.raises(ConfigError, match="no-such-thing") as caught:
            open_vllm(model, options=["--no-such-thing"])
        assert caught.value.hint

    def test_a_model_that_does_not_load(self, tmp_path: Path) -> None:
        broken = engines.save_llama(tmp_path / "model", head_dim=32)
        (broken / "config.json").write_text(json.dumps({"model_type": "nothing", "architectures": ["Nothing"]}), encoding="utf-8")
        with pytest.raises(EngineError, match="does not start"):
            open_vllm(broken)

    def test_an_adapter_of_another_model(self, model: Path, tmp_path: Path) -> None:
        other = engines.save_llama(tmp_path / "other", head_dim=32, hidden_size=64)
        with pytest.raises(AdapterError, match="does not take adapter one"):
            open_vllm(model, {"one": engines.save_adapters(tmp_path / "adapters", other)["one"]})
