"""The engine that talks to a server, against one that plays vLLM and misbehaves: calls end in time, never with a wrong score."""

import asyncio
import base64
import contextlib
import io
import json
import time
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from genrec.errors import EngineError, LabelError
from genrec.llm.openai_engine import RemoteLLM
from tests.llm.asking import assert_same, labels, likelihood, mixed, pieces_of, writing
from tests.llm.remotes import SLACK_S, expected, says, settings, within_limit
from tests.llm.serving import free_port
from tests.llm.vllm_double import COMPLETIONS, GENERATE, LISTS, NAME, Double, Fault, Handler, Json, npy


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
        while (
            double.paths()[LISTS if double.lists else COMPLETIONS] < 2
        ):  # the limit is short for a machine that is busy with other things
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
        assert time.monotonic() - start < 10  # nothing is gained by waiting

    async def test_nobody_there(self, remote: Callable[..., RemoteLLM]) -> None:
        llm = remote(f"http://127.0.0.1:{free_port()}")
        assert "no connection" in str(await within_limit(llm.score(mixed())))
        start = time.monotonic()
        error = await within_limit(llm.score(mixed()))
        assert "not asked again" in str(error)  # the breaker
        assert time.monotonic() - start < 5

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
        assert time.monotonic() - start < 5


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


def drop_a_call(answer: Json) -> None:
    answer["calls"].pop()


def no_calls(answer: Json) -> None:
    del answer["calls"]


def calls_of_text(answer: Json) -> None:
    answer["calls"] = "none"


def in_every_call(**said: Any) -> Callable[[Json], None]:
    def change(answer: Json) -> None:
        for call in answer["calls"]:
            call.update({name: value(call[name]) if callable(value) else value for name, value in said.items()})

    return change


NONSENSE_OF_LISTS = {
    "fewer calls": drop_a_call,
    "no calls": no_calls,
    "calls of text": calls_of_text,
    "more cached than there is": in_every_call(cached=10**6),
    "cached is no number": in_every_call(cached=None),
    "nothing next": in_every_call(next=[]),
    "next is null": in_every_call(next=lambda told: [None for _ in told]),
    "next is positive": in_every_call(next=lambda told: [1.5 for _ in told]),
    "a row too many": in_every_call(rows=[[-1.0]] * 9),
    "rows that are null": in_every_call(rows=[[None]] * 3),
    "rows of different lengths": in_every_call(rows=[[-1.0], [-1.0, -2.0], [-1.0]]),
    "rows of text": in_every_call(rows="-1.0"),
}
EVERY_NONSENSE = {change.__name__: (False, change) for change in NONSENSE}
EVERY_NONSENSE |= {f"list: {name}": (True, change) for name, change in NONSENSE_OF_LISTS.items()}
"""Whether genrec's plugin is there, and what is changed in the answers."""


vllm_alone = pytest.mark.parametrize("double", [False], indirect=True, ids=["vLLM"])
plugin_alone = pytest.mark.parametrize("double", [True], indirect=True, ids=["genrec's plugin"])


class TestNonsense:
    """JSON that says something else than what was asked: an error, and never a score."""

    @pytest.mark.parametrize(("double", "change"), EVERY_NONSENSE.values(), indirect=["double"], ids=EVERY_NONSENSE)
    async def test_is_refused(self, double: Double, llm: RemoteLLM, change: Callable[[Json], None]) -> None:
        def fault(handler: Handler, answer: Json) -> bool:
            if not double.lists or handler.path == LISTS:
                change(answer)
            return False

        await llm.score([labels()])
        double.fault(fault)
        error = await within_limit(llm.score([likelihood((" one two three four",))]))
        assert error.retryable

    @vllm_alone
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

    @vllm_alone
    async def test_routes_that_disagree(self, double: Double, llm: RemoteLLM) -> None:
        def shifted(handler: Handler, answer: Json) -> bool:
            if handler.path == GENERATE:
                rows = np.load(io.BytesIO(base64.b64decode(answer["prompt_token_id_logprobs"])))
                answer["prompt_token_id_logprobs"] = npy(np.roll(rows, 1, axis=0))
            return False

        double.fault(shifted)
        assert "scores" in str(await within_limit(llm.score([likelihood()])))

    @plugin_alone
    async def test_lists_that_disagree(self, double: Double, llm: RemoteLLM) -> None:
        def lower(handler: Handler, answer: Json) -> bool:
            if handler.path == LISTS:
                in_every_call(next=lambda told: [value - 1 for value in told])(answer)
            return False

        double.fault(lower)
        assert LISTS in str(await within_limit(llm.score([likelihood()])))

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
