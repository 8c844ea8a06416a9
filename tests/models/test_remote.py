"""The engine that talks to a server, against a server that plays vLLM, well and ill. The real one: test_engines.py."""

import asyncio
import base64
import contextlib
import io
import json
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import numpy as np
import pytest

from genrec.errors import AdapterError, EngineError, LabelError
from genrec.models.llm import Likelihood, ScoreRequest, Scores
from genrec.models.remote import UNKNOWN_TOKENS, RemoteLLM
from genrec.settings import LlmSettings
from tests.models.asking import assert_same, labels, likelihood, markers, mixed, pieces_of, writing
from tests.models.vllm_double import COMPLETIONS, GENERATE, LENGTH, NAME, Double, Fault, Handler, Json, logp, npy

LIMIT_S = 20.0
SLACK_S = 2.0  # a busy machine


def settings(url: str, **changes: Any) -> LlmSettings:
    return LlmSettings(url=url, **({"timeout_s": LIMIT_S, "read_timeout_s": 10.0, "breaker_cooldown_s": 0.3} | changes))


@pytest.fixture
def double() -> Iterator[Double]:
    server = Double()
    yield server
    server.stop()


@pytest.fixture
def remote() -> Iterator[Callable[..., RemoteLLM]]:
    """Opens engines and closes them."""
    opened: list[RemoteLLM] = []

    def open_one(server: Double | str, **changes: Any) -> RemoteLLM:
        url = server if isinstance(server, str) else server.url
        opened.append(RemoteLLM(NAME, settings(url, **changes)))
        return opened[-1]

    yield open_one
    for llm in opened:
        llm.close()


@pytest.fixture
def llm(double: Double, remote: Callable[..., RemoteLLM]) -> RemoteLLM:
    return remote(double)


def expected(server: Double, request: Likelihood) -> list[float]:
    """What the double's model says, computed here."""
    shared = server.encode(request.prefix) + server.encode(request.context)
    model = request.adapter or NAME
    out = []
    for text in request.continuations:
        tokens = server.encode(text)
        out.append(sum(logp(model, shared + tokens[:n], token) for n, token in enumerate(tokens)))
    return out


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


async def within_limit(call: Coroutine[Any, Any, object] | asyncio.Future[Any], limit: float = LIMIT_S) -> EngineError:
    """The error that the call ends with, in time."""
    start = time.monotonic()
    with pytest.raises(EngineError) as caught:
        await asyncio.wait_for(call, 60)
    assert time.monotonic() - start < limit + SLACK_S
    assert caught.value.hint
    return caught.value


class TestScoring:
    @pytest.mark.parametrize("runner", ["v1", "v2", "plain"])
    async def test_every_kind_of_server_gives_the_same_scores(self, runner: Any, remote: Callable[..., RemoteLLM]) -> None:
        server = Double(runner)
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
        assert all(body["sampling_params"]["skip_reading_prefix_cache"] is False for body in bodies(double, GENERATE))

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

    async def test_adapter_and_salt_reach_the_server(self, double: Double, llm: RemoteLLM) -> None:
        asked = Likelihood(prefix="a b", context=" c", continuations=(" d e",), adapter="one", salt="tenant")
        (scores,) = await llm.score([asked])
        np.testing.assert_allclose(scores.logp, expected(double, asked), rtol=1e-6)
        assert bodies(double, GENERATE)[-1]["cache_salt"] == "tenant"
        assert bodies(double, GENERATE)[-1]["model"] == "one"
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


def says(status: int, **headers: str) -> Fault:
    def fault(handler: Handler, answer: Json) -> bool:
        handler.reply({"error": {"message": "no luck today"}}, status, **headers)
        return True

    return fault


def garbage(handler: Handler, answer: Json) -> bool:
    handler.reply('{"choices": [', 200)
    return True


def html(handler: Handler, answer: Json) -> bool:
    handler.reply("<html>502</html>", 200, kind="text/html")
    return True


def truncated(handler: Handler, answer: Json) -> bool:
    text = json.dumps(answer).encode()
    handler.head(len(text))
    handler.wfile.write(text[: len(text) // 2])
    handler.hang_up()
    return True


def hangs_up(handler: Handler, answer: Json) -> bool:
    handler.hang_up()
    return True


def stalls(handler: Handler, answer: Json) -> bool:
    time.sleep(5)
    return False


def drips(handler: Handler, answer: Json) -> bool:
    """A byte now and then, each soon enough not to be silence."""
    handler.head(100_000)
    for _ in range(50):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.2)
    return True


def every_call(llm: RemoteLLM) -> list[Callable[[], Coroutine[Any, Any, object]]]:
    return [
        lambda: llm.score([likelihood(), labels()]),
        lambda: llm.write([writing(3)]),
        lambda: pieces_of(llm, writing(3)),
    ]


TRANSPORT: dict[str, Fault] = {
    "garbage": garbage,
    "html": html,
    "truncated": truncated,
    "hangs up": hangs_up,
    "500": says(500),
    "503": says(503),
    "429": says(429),
}


class TestFaults:
    @pytest.mark.parametrize("name", TRANSPORT)
    async def test_passes_when_it_is_over(self, double: Double, llm: RemoteLLM, name: str) -> None:
        await llm.score([labels()])
        double.fault(TRANSPORT[name], times=2)
        (scores,) = await llm.score([likelihood((" one two",))])
        np.testing.assert_allclose(scores.logp, expected(double, likelihood((" one two",))), rtol=1e-6)
        double.fault(TRANSPORT[name], times=2)
        assert await llm.write([writing(2)]) == ["w0 w1"]

    @pytest.mark.parametrize("name", TRANSPORT)
    async def test_is_an_error_when_it_stays(self, double: Double, llm: RemoteLLM, name: str) -> None:
        await llm.score([labels()])
        double.fault(TRANSPORT[name])
        for call in every_call(llm):
            assert (await within_limit(call())).retryable

    @pytest.mark.parametrize(("fault", "limits"), [(stalls, (0.5, 4.0)), (stalls, (9.0, 2.0)), (drips, (1.0, 2.0))])
    async def test_ends_in_time(
        self, double: Double, remote: Callable[..., RemoteLLM], fault: Fault, limits: tuple[float, float]
    ) -> None:
        read, whole = limits
        llm = remote(double, read_timeout_s=read, timeout_s=whole, breaker_failures=100)
        while double.paths()[COMPLETIONS] < 2:  # the limit is short for a machine that is busy with other things
            with contextlib.suppress(EngineError):
                await llm.score([labels()])
        double.fault(fault)
        for call in every_call(llm):
            error = await within_limit(call(), whole)
            assert error.retryable
            assert "silence" in str(error) or "no answer" in str(error)

    async def test_as_many_attempts_as_settings_say(self, double: Double, remote: Callable[..., RemoteLLM]) -> None:
        for retries in (0, 2):
            llm = remote(double, retries=retries, breaker_failures=100)
            await llm.score([labels()])
            double.seen.clear()
            double.fault(says(500))
            await within_limit(llm.write([writing(3)]))
            assert double.paths()[COMPLETIONS] == retries + 1
            double.fault(None)

    async def test_waits_as_long_as_the_server_asks(self, double: Double, llm: RemoteLLM) -> None:
        await llm.score([labels()])
        double.fault(says(429, Retry_After="1"), times=1)
        start = time.monotonic()
        await llm.write([writing(2)])
        assert time.monotonic() - start >= 1
        double.fault(says(429, Retry_After="60"))
        start = time.monotonic()
        error = await within_limit(llm.write([writing(2)]))
        assert "busy" in str(error)
        assert time.monotonic() - start < 1  # nothing is gained by waiting

    async def test_nobody_there(self, remote: Callable[..., RemoteLLM]) -> None:
        llm = remote(f"http://127.0.0.1:{free_port()}")
        assert "no connection" in str(await within_limit(llm.score(mixed())))
        start = time.monotonic()
        error = await within_limit(llm.score(mixed()))
        assert "not asked again" in str(error)  # the breaker
        assert time.monotonic() - start < 1

    async def test_dies_in_mid_batch_and_comes_back(self, remote: Callable[..., RemoteLLM]) -> None:
        server = Double()
        port = server.port
        llm = remote(server, concurrency=2)
        (before,) = await llm.score([likelihood()])
        server.slow_s = 0.05
        batch = asyncio.ensure_future(llm.score([likelihood()] * 20))
        await asyncio.sleep(0.3)
        assert not batch.done()
        server.fault(hangs_up)
        await asyncio.to_thread(server.stop)
        assert (await within_limit(batch)).retryable
        await within_limit(llm.write([writing(2)]))
        fresh = Double(port=port)
        fresh._vocabulary = server._vocabulary
        try:
            await asyncio.sleep(0.4)  # the breaker's cool-down
            assert_same(await llm.score([likelihood()]), [before], 1e-6)
        finally:
            fresh.stop()

    async def test_a_server_that_comes_back_different_is_looked_at_anew(self, remote: Callable[..., RemoteLLM]) -> None:
        server = Double()
        port = server.port
        llm = remote(server)
        await llm.score([likelihood()])
        server.stop()
        await within_limit(llm.score([likelihood()]))
        other = Double("plain", port=port)
        other.adapters = ["two"]
        try:
            await asyncio.sleep(0.4)
            (scores,) = await llm.score([likelihood()])
            np.testing.assert_allclose(scores.logp, expected(other, likelihood()), rtol=1e-6)
            assert tuple(llm.adapters) == ("two",)
        finally:
            other.stop()

    async def test_a_caller_who_gives_up_waits_no_longer(self, double: Double, llm: RemoteLLM) -> None:
        await llm.score([labels()])
        double.fault(stalls)
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(llm.score([likelihood()]), 0.2)
        assert time.monotonic() - start < 0.2 + SLACK_S

    async def test_close_does_not_wait_for_a_server_that_stalls(self, double: Double) -> None:
        llm = RemoteLLM(NAME, settings(double.url))
        await llm.score([labels()])
        double.fault(stalls)
        call = asyncio.ensure_future(llm.score([likelihood()]))
        await asyncio.sleep(0.1)
        start = time.monotonic()
        await asyncio.to_thread(llm.close)
        with pytest.raises(EngineError, match="closed"):
            await call
        assert time.monotonic() - start < 2


def top_of(answer: Json) -> list[Json]:
    return answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]


def no_choice(answer: Json) -> None:
    answer["choices"] = []


def two_choices(answer: Json) -> None:
    answer["choices"] *= 2


def no_usage(answer: Json) -> None:
    del answer["usage"]


def other_prompt(answer: Json) -> None:
    answer["usage"]["prompt_tokens"] += 1


def bad_cache(answer: Json) -> None:
    answer["usage"]["prompt_tokens_details"]["cached_tokens"] = 10**6


def nan_rows(answer: Json) -> None:
    answer["prompt_token_id_logprobs"] = npy(np.full((3, 1), np.nan, np.float32))


def wrong_rows(answer: Json) -> None:
    answer["prompt_token_id_logprobs"] = npy(np.full((9, 1), -1.0, np.float32))


def broken_rows(answer: Json) -> None:
    answer["prompt_token_id_logprobs"] = "AAAA"


def null_value(answer: Json) -> None:
    for top in top_of(answer):
        top["logprob"] = None


def no_number(answer: Json) -> None:
    for top in top_of(answer):
        top["logprob"] = -9999.0


def positive(answer: Json) -> None:
    for top in top_of(answer):
        top["logprob"] = 1.5


NONSENSE = (
    no_choice,
    two_choices,
    no_usage,
    other_prompt,
    bad_cache,
    nan_rows,
    wrong_rows,
    broken_rows,
    null_value,
    no_number,
    positive,
)


class TestNonsense:
    """JSON that says something else than what was asked: an error, and never a score."""

    @pytest.mark.parametrize("change", NONSENSE)
    async def test_is_refused(self, double: Double, llm: RemoteLLM, change: Callable[[Json], None]) -> None:
        def fault(handler: Handler, answer: Json) -> bool:
            change(answer)
            return False

        await llm.score([labels()])
        double.fault(fault)
        error = await within_limit(llm.score([likelihood((" one two three four",))]))
        assert error.retryable

    async def test_a_missing_label(self, double: Double, llm: RemoteLLM) -> None:
        def fault(handler: Handler, answer: Json) -> bool:
            answer["choices"][0]["logprobs"]["top_logprobs"][0].popitem()
            return False

        await llm.score([labels()])
        double.fault(fault)
        with pytest.raises(LabelError, match="left out") as caught:
            await llm.score([labels()])
        assert caught.value.hint

    async def test_a_missing_prompt_token(self, remote: Callable[..., RemoteLLM]) -> None:
        def fault(handler: Handler, answer: Json) -> bool:
            answer["prompt_logprobs"] = [None] * 3
            return False

        server = Double("v1")
        try:
            llm = remote(server)
            await llm.score([labels()])
            server.fault(fault)
            await within_limit(llm.score([likelihood()]))
        finally:
            server.stop()

    async def test_routes_that_disagree(self, double: Double, llm: RemoteLLM) -> None:
        def shifted(handler: Handler, answer: Json) -> bool:
            if handler.path == GENERATE:
                rows = np.load(io.BytesIO(base64.b64decode(answer["prompt_token_id_logprobs"])))
                answer["prompt_token_id_logprobs"] = npy(np.roll(rows, 1, axis=0))
            return False

        double.fault(shifted)
        assert "scores" in str(await within_limit(llm.score([likelihood()])))

    async def test_another_model(self, double: Double, llm: RemoteLLM) -> None:
        double.name = "other"
        error = await within_limit(llm.score([likelihood()]))
        assert "serves other, not double" in str(error)

    async def test_another_tokenizer(self, double: Double, llama: Any) -> None:
        llm = RemoteLLM(NAME, settings(double.url), tokenizer=llama)
        try:
            assert "tokenises" in str(await within_limit(llm.score([likelihood()])))
        finally:
            llm.close()


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
