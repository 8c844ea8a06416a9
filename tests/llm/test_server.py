"""The `openai` engine and `genrec llm serve` with a real vLLM: the contract of all engines, parity, the cache, the end.

Needs an interpreter that has vLLM, named by GENREC_VLLM_PYTHON; `make test-vllm` makes one for a CPU.
"""

import asyncio
import dataclasses
import re
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from genrec.errors import EngineError
from genrec.llm import vllm_http
from genrec.llm.adapters import write_card
from genrec.llm.openai_engine import RemoteLLM
from genrec.llm.protocol import LLM, Likelihood
from genrec.prompts import Prompts
from genrec.ranking.ranker import Ranker
from genrec.settings.sections import LlmSettings, RankSettings
from genrec.workspace.folder import Workspace
from tests.llm import cards, engines, seeing
from tests.llm.asking import CONTEXT, PREFIX, assert_same, labels, likelihood, markers, mixed, writing
from tests.llm.serving import PYTHON, READY_S, SETTINGS, Served, needs_vllm, serve
from tests.llm.test_engines import *  # noqa: F403 - the contract, run on the `engine` below
from tests.ranking.lists import a_list

pytestmark = needs_vllm


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with heads of the least width that vLLM's attention takes on a CPU."""
    return engines.save_llama(tmp_path_factory.mktemp("llama") / "model", head_dim=32)


@pytest.fixture(scope="module")
def served(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("serve")
    with engines.own_cache(folder / "cache"):
        Workspace.create(folder / "shop").close()
        (folder / "shop" / "genrec.toml").write_text(SETTINGS.format(model=model), encoding="utf-8")
        for name, path in engines.save_adapters(folder / "shop" / "adapters", model).items():
            write_card(path, cards.card(name, model))
        with serve(folder / "shop", python=PYTHON) as server:
            yield server


def open_remote(model: Path, url: str, tokenizer: Path | None) -> RemoteLLM:
    return RemoteLLM(str(model), LlmSettings(url=url, timeout_s=120, read_timeout_s=60), tokenizer=tokenizer)


@pytest.fixture(scope="module")
def engine(model: Path, served: Served) -> Iterator[engines.Opened]:
    again = partial(open_remote, model, served.url, model)
    llm = again()
    yield engines.Opened("openai", llm, again, 1e-3)
    llm.close()


@pytest.fixture(scope="module")
def local(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLM]:
    llm = engines.load(model, "float32", adapters=engines.save_adapters(tmp_path_factory.mktemp("adapters"), model))
    yield llm
    llm.close()


class TestServer:
    async def test_scores_are_those_of_the_transformers_engine(self, engine: engines.Opened, local: LLM) -> None:
        requests = [*mixed(), likelihood(tuple(f" Film {n} of {n}\n" for n in range(20)), CONTEXT * 8)]
        for adapter in ("", *engines.ADAPTERS):
            asked = [dataclasses.replace(request, adapter=adapter) for request in requests]
            assert_same(await engine.llm.score(asked), await local.score(asked), 5e-3)

    async def test_scores_come_out_of_the_cache(self, engine: engines.Opened) -> None:
        assert "uncached" not in engine.llm.id
        asked = [likelihood(tuple(f" Film {n}\n" for n in range(10)), CONTEXT * 6)]
        (first,), (again,) = await engine.llm.score(asked), await engine.llm.score(asked)
        shared = engine.llm.count_tokens(PREFIX) + engine.llm.count_tokens(CONTEXT * 6)
        assert first.prompt_tokens < 4 * shared  # not the shared part for each of ten
        assert again.cached_tokens > 0
        assert_same([again], [first], 1e-3)

    async def test_a_ranked_list_computes_a_history_once_and_titles_alone(self, engine: engines.Opened) -> None:
        count, person = engine.llm.count_tokens, [f"Film {n} of {n * n}" for n in range(40)]
        asked = a_list(titles=[f"The {n} others" for n in range(12)], past=person)
        of = Ranker(engine.llm, Prompts(), RankSettings(method="likelihood", history=16, prior=0.0))
        (ranking,) = await of.rank([asked])
        shown = of.prompter.shown(asked.profile, count, await engine.llm.block())
        request = of.prompter.request("likelihood", asked.profile, asked.candidates, shown=shown)
        assert isinstance(request, Likelihood)
        shared = count(request.prefix) + count(request.context)
        assert shared % 32 == 0
        fed = sum(count(title) - 1 for title in request.continuations)
        assert 0 <= ranking.prompt_tokens - shared - fed <= 32  # a block more where a title overtakes the prompt of beginnings

    async def test_a_list_is_one_request(self, engine: engines.Opened, served: Served) -> None:
        def requests() -> list[tuple[str, str]]:
            told = httpx.get(f"{served.url}/metrics", timeout=60).text
            return re.findall(
                r'^http_requests_total\{handler="(?:/inference|/v1/comp)[^"]*/(\w+)".*\} (\S+)$', told, re.MULTILINE
            )

        before = dict(requests())
        await engine.llm.score([likelihood(tuple(f" Film {n} of 2026\n" for n in range(20)))])
        assert {path: float(n) - float(before[path]) for path, n in dict(requests()).items() if n != before[path]} == {
            "scores": 1
        }

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({}, 400),
            ({"model": "", "shared": [1], "calls": [7]}, 400),
            ({"model": "nobody", "shared": [1], "calls": []}, 404),
            ({"model": "", "shared": [1], "calls": [{"tokens": [2]}]}, 400),
            ({"model": "", "shared": [1], "calls": [{"tokens": [2], "start": 1, "sampling_params": {"nonsense": 1}}]}, 400),
            ({"model": "", "shared": [1] * 5000, "calls": [{"tokens": [2], "start": 1, "sampling_params": {}}]}, 400),
        ],
    )
    def test_a_request_that_is_no_list(self, body: dict[str, Any], status: int, model: Path, served: Served) -> None:
        named = body | {"model": body["model"] or str(model)} if body else body
        answer = httpx.post(f"{served.url}{vllm_http.LIST_SCORES}", json=named, timeout=60)
        assert answer.status_code == status
        assert "message" in answer.json()["error"]

    async def test_salts_share_no_cache(self, engine: engines.Opened) -> None:
        def asked(salt: str) -> Likelihood:
            return Likelihood(prefix=PREFIX, context=CONTEXT * 7, continuations=(" Alien\n",), salt=salt)

        (mine,), (again,), (other,) = [await engine.llm.score([asked(salt)]) for salt in ("mine", "mine", "other")]
        assert mine.cached_tokens == other.cached_tokens <= again.cached_tokens - 32

    async def test_a_model_of_text_takes_no_pictures(self, engine: engines.Opened, tmp_path: Path) -> None:
        assert not engine.llm.sees
        picture = seeing.paint(tmp_path / "red.png", "red")
        with pytest.raises(EngineError, match="takes no pictures"):
            await engine.llm.write([writing(4), writing(4, images=(picture,))])
        assert await engine.llm.write([writing(4)])

    async def test_the_server_tokenises_for_those_who_cannot(self, engine: engines.Opened, model: Path, served: Served) -> None:
        llm = open_remote(model, served.url, None)
        try:
            assert_same(await llm.score(mixed()), await engine.llm.score(mixed()), 1e-3)
            assert llm.count_tokens("one two, three") == engine.llm.count_tokens("one two, three")
        finally:
            llm.close()

    def test_says_what_it_serves(self, engine: engines.Opened, served: Served) -> None:
        assert set(engine.llm.adapters) == set(engines.ADAPTERS)
        assert engine.llm.max_tokens == engines.POSITIONS
        assert "two.2" in served.errors()


class TestTheEnd:
    """Last of all: the server is killed."""

    async def test_killed_in_mid_batch(self, engine: engines.Opened, model: Path, served: Served) -> None:
        llm = RemoteLLM(str(model), LlmSettings(url=served.url, timeout_s=20, concurrency=4), tokenizer=model)
        try:
            await llm.score([labels()])
            asked = [likelihood(tuple(f" Film {n} {k}\n" for n in range(30)), CONTEXT * 9) for k in range(40)]
            batch = asyncio.ensure_future(llm.score([*asked, markers()]))
            await asyncio.sleep(0.5)
            assert not batch.done()
            start = time.monotonic()
            (server,) = psutil.Process(served.process.pid).children()
            family = [server, *server.children(recursive=True)]
            server.send_signal(signal.SIGKILL)
            with pytest.raises(EngineError) as caught:
                await batch
            assert caught.value.retryable
            with pytest.raises(EngineError):
                await llm.write([writing(3)])
            assert time.monotonic() - start < 45
        finally:
            await asyncio.to_thread(llm.close)
        assert await asyncio.to_thread(served.process.wait, READY_S) == EngineError.exit_code
        assert "ended with status" in served.errors()
        _, left = await asyncio.to_thread(psutil.wait_procs, family, 30)
        assert not left
