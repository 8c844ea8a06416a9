"""The engine that talks to a server, against one that plays vLLM and is well. The real one: test_server.py."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from genrec.errors import AdapterError, EngineError
from genrec.llm.openai_engine import UNKNOWN_TOKENS, RemoteLLM
from genrec.llm.protocol import Likelihood, ScoreRequest, Scores
from genrec.llm.tokens import Tokenizer
from tests.llm.asking import assert_same, labels, likelihood, markers, mixed, pieces_of, writing
from tests.llm.remotes import expected, says, within_limit
from tests.llm.serving import free_port
from tests.llm.vllm_double import COMPLETIONS, GENERATE, LENGTH, LISTS, NAME, Double, Handler, Json, logp


class TestScoring:
    @pytest.mark.parametrize("lists", [False, True])
    @pytest.mark.parametrize("runner", ["v1", "v2", "plain"])
    async def test_every_kind_of_server_gives_the_same_scores(
        self, runner: Any, lists: bool, remote: Callable[..., RemoteLLM]
    ) -> None:
        server = Double(runner, lists=lists)
        try:
            llm = remote(server)
            first, again = await llm.score(mixed()), await llm.score(mixed())  # the second time all of it is cached
            assert_same(again, first, 1e-5)
            np.testing.assert_allclose(first[0].logp, expected(server, likelihood()), rtol=1e-6)
            np.testing.assert_allclose(np.exp(first[2].logp).sum(), 1.0, rtol=1e-5)
            context = server.encode(markers().prefix) + server.encode(markers().context) + server.encode("- Aliens | chosen:")
            yes, no = (logp(NAME, context, server.encode(text)[0]) for text in (" yes", " no"))
            assert first[1].logp[0] == pytest.approx(yes - no, abs=1e-5)
            assert GENERATE in server.paths()
            assert ("uncached" in llm.id) == (runner == "plain")
        finally:
            server.stop()

    async def test_the_cache_is_used_and_counted(self, double: Double, llm: RemoteLLM) -> None:
        (first,), (again,) = await llm.score([likelihood()]), await llm.score([likelihood()])
        assert first.cached_tokens < again.cached_tokens
        double.seen.clear()
        await llm.score([likelihood()])
        calls = [*bodies(double, GENERATE), *(call for body in bodies(double, LISTS) for call in body["calls"])]
        assert {call["sampling_params"]["skip_reading_prefix_cache"] for call in calls} == {False}

    async def test_blocks_are_those_of_the_server(
        self, double: Double, llm: RemoteLLM, remote: Callable[..., RemoteLLM], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert await llm.block() == 1  # this tokenizer is the server's: every count would be a call
        monkeypatch.setattr(Tokenizer, "local", True)
        assert await llm.block() == double.block > 1
        plain = Double("plain")
        try:
            assert await remote(plain).block() == 1  # it scores whole prompts
        finally:
            plain.stop()
        with pytest.raises(EngineError):
            await remote(f"http://127.0.0.1:{free_port()}", retries=0).block()

    async def test_a_list_is_one_request(self, remote: Callable[..., RemoteLLM]) -> None:
        server = Double(lists=True)
        try:
            titles = tuple(f" one {n} two" for n in range(20))
            await remote(server).score([likelihood(titles)])
            *_, body = bodies(server, LISTS)
            assert server.paths()[LISTS] == 2  # the proof and the list
            assert len(body["calls"]) == 21
            shared = server.encode(likelihood().prefix) + server.encode(likelihood().context)
            assert body["shared"] == shared
            assert max(len(call["tokens"]) for call in body["calls"]) < 5
            server.seen.clear()
            await remote(server, concurrency=8).score([likelihood(titles)])
            assert sorted(len(body["calls"]) for body in bodies(server, LISTS)) == [1, 5, 8, 8]
        finally:
            server.stop()

    @pytest.mark.parametrize("runner", ["v1", "v2"])
    async def test_a_server_that_does_not_count_its_cache(self, runner: Any, remote: Callable[..., RemoteLLM]) -> None:
        server = Double(runner)
        server.details = False
        try:
            llm = remote(server)
            for _ in range(2):
                (scores,) = await llm.score([likelihood()])
                np.testing.assert_allclose(scores.logp, expected(server, likelihood()), rtol=1e-6)
                assert scores.cached_tokens == 0
            assert ("uncached" in llm.id) == (runner == "v1")  # V1 cannot be told which rows are rubbish
        finally:
            server.stop()

    async def test_rubbish_that_json_cannot_say(self, remote: Callable[..., RemoteLLM]) -> None:
        server = Double("v1")
        try:
            llm = remote(server)
            await llm.score([likelihood()])
            server.unspeakable = True
            (scores,) = await llm.score([likelihood()])
            np.testing.assert_allclose(scores.logp, expected(server, likelihood()), rtol=1e-6)
            assert "uncached" not in llm.id
        finally:
            server.stop()

    async def test_adapter_and_salt_reach_the_server(self, double: Double, llm: RemoteLLM) -> None:
        asked = Likelihood(prefix="a b", context=" c", continuations=(" d e f",), adapter="one", salt="tenant")
        (scores,) = await llm.score([asked])
        np.testing.assert_allclose(scores.logp, expected(double, asked), rtol=1e-6)
        assert bodies(double, LISTS if double.lists else GENERATE)[-1].items() >= {"model": "one", "cache_salt": "tenant"}.items()
        await llm.write([writing(3, adapter="one", salt="tenant")])
        assert bodies(double, COMPLETIONS)[-1].items() >= {"model": "one", "cache_salt": "tenant"}.items()

    async def test_no_more_than_concurrency_on_the_way(self, double: Double, remote: Callable[..., RemoteLLM]) -> None:
        llm = remote(double, concurrency=3, timeout_s=20)
        double.slow_s = 0.01
        await asyncio.gather(*(llm.score(mixed()) for _ in range(3)))
        assert 2 <= double.most_busy <= 3

    async def test_properties_ask_the_server_once_and_do_not_need_it(
        self, double: Double, llm: RemoteLLM, remote: Callable[..., RemoteLLM]
    ) -> None:
        assert llm.max_tokens == LENGTH
        assert tuple(llm.adapters) == ("one",)
        assert llm.count_tokens("one two") == 2
        assert double.paths()["/v1/models"] == 1
        absent = remote(f"http://127.0.0.1:{free_port()}", retries=0)
        assert (absent.max_tokens, tuple(absent.adapters)) == (UNKNOWN_TOKENS, ())
        with pytest.raises(EngineError):
            absent.count_tokens("one two")


def bodies(server: Double, path: str) -> list[Json]:
    return [body for asked, body, _ in server.seen if asked == path]


class TestWriting:
    async def test_sampling_is_settled_by_the_request_alone(self, double: Double, llm: RemoteLLM) -> None:
        await llm.write([writing(5, stop=("x",), temperature=0.7, seed=9)])
        sent = bodies(double, COMPLETIONS)[-1]
        asked = {"max_tokens": 5, "stop": ["x"], "temperature": 0.7, "seed": 9}
        neutral = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
        assert sent.items() >= (asked | neutral).items()

    async def test_schema(self, double: Double, llm: RemoteLLM) -> None:
        schema = '{"type": "object"}'
        assert [json.loads(text) for text in await llm.write([writing(9, schema=schema)])] == [{"a": 1}]
        assert bodies(double, COMPLETIONS)[-1]["structured_outputs"]["json"] == schema
        with pytest.raises(EngineError, match="not whole"):
            await llm.write([writing(3, schema=schema)])
        with pytest.raises(EngineError, match="not whole"):
            await pieces_of(llm, writing(3, schema=schema))
        with pytest.raises(EngineError, match="not JSON"):
            await llm.write([writing(3, schema="{")])

    async def test_stream(self, llm: RemoteLLM) -> None:
        assert await pieces_of(llm, writing(3)) == ["w0 ", "w1 ", "w2"]

    async def test_a_stream_that_breaks_off(self, double: Double, llm: RemoteLLM) -> None:
        def breaks(handler: Handler, answer: Json) -> bool:
            handler.stream(answer, upto=2, end=False)
            return True

        await llm.score([labels()])
        double.fault(breaks)
        pieces: list[str] = []

        async def read() -> None:
            async for piece in llm.stream(writing(9)):
                pieces.append(piece)

        assert (await within_limit(read())).retryable
        assert pieces == ["w0 ", "w1 "]

    async def test_an_error_in_a_stream(self, double: Double, llm: RemoteLLM) -> None:
        def reports(handler: Handler, answer: Json) -> bool:
            handler.head(None, kind="text/event-stream")
            handler.event({"error": {"message": "the engine died"}})
            return True

        await llm.score([labels()])
        double.fault(reports)
        assert "the engine died" in str(await within_limit(pieces_of(llm, writing(9))))

    @pytest.mark.parametrize("ended", ["abort", None])
    async def test_a_text_without_a_proper_end(self, double: Double, llm: RemoteLLM, ended: str | None) -> None:
        def change(handler: Handler, answer: Json) -> bool:
            answer["choices"][0]["finish_reason"] = ended
            return False

        await llm.score([labels()])
        double.fault(change)
        if ended:
            await within_limit(llm.write([writing(4)]))
        await within_limit(pieces_of(llm, writing(4)))


class TestRefusals:
    async def test_the_key(self, double: Double, remote: Callable[..., RemoteLLM]) -> None:
        llm = remote(double, api_key="secret")
        await llm.score([labels()])
        assert {headers["Authorization"] for _, _, headers in double.seen} == {"Bearer secret"}
        double.fault(says(401))
        error = await within_limit(llm.write([writing(2)]))
        assert not error.retryable
        assert "llm.api_key" in error.hint

    async def test_an_unknown_adapter_fails_alone(self, llm: RemoteLLM) -> None:
        calls = [llm.score([likelihood()]), llm.write([writing(2, adapter="nope")])]
        good, bad = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(bad, AdapterError)
        assert "one" in bad.hint
        assert isinstance(good, list)

    async def test_an_adapter_that_is_gone(self, double: Double, llm: RemoteLLM) -> None:
        asked: list[ScoreRequest] = [Likelihood(prefix="a b", context=" c", continuations=(" d e",), adapter="one")]
        await llm.score(asked)
        double.adapters = []
        for call in (
            lambda: llm.score(asked),
            lambda: llm.write([writing(3, adapter="one")]),
            lambda: pieces_of(llm, writing(3, adapter="one")),
        ):
            with pytest.raises(AdapterError, match="one") as caught:
                await call()
            assert caught.value.hint

    async def test_an_adapter_that_came_later(self, double: Double, llm: RemoteLLM) -> None:
        await llm.score([labels()])
        double.adapters = ["one", "late"]
        answers = await llm.score([Likelihood(prefix="a b", context=" c", continuations=(" d e",), adapter="late")])
        assert isinstance(answers[0], Scores)

    async def test_a_url_that_is_none(self, remote: Callable[..., RemoteLLM]) -> None:
        error = await within_limit(remote("localhost:8000").score([labels()]))
        assert "llm.url" in str(error)
