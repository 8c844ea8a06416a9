"""Retries and the circuit breaker, without a server."""

import asyncio
import time

import pytest

from genrec.errors import EngineError
from genrec.llm.http_client import Breaker, BreakerOpenError, BusyError, retrying


class Attempts:
    """Fails with the errors given, then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.made = 0

    async def __call__(self) -> str:
        self.made += 1
        if self._errors:
            raise self._errors.pop(0)
        return "fine"


def passing() -> EngineError:
    return EngineError("it may pass", retryable=True)


class TestRetrying:
    async def test_a_fault_that_may_pass_is_tried_again(self) -> None:
        attempts = Attempts(passing(), passing())
        assert await retrying(attempts, retries=2, timeout_s=10) == "fine"
        assert attempts.made == 3

    async def test_the_last_error_is_raised_when_retries_are_used_up(self) -> None:
        attempts = Attempts(passing(), passing())
        with pytest.raises(EngineError, match="it may pass"):
            await retrying(attempts, retries=1, timeout_s=10)
        assert attempts.made == 2

    @pytest.mark.parametrize("error", [EngineError("for good"), BreakerOpenError("open", retryable=True), ValueError("a bug")])
    async def test_other_errors_are_raised_at_once(self, error: Exception) -> None:
        attempts = Attempts(error)
        with pytest.raises(type(error)):
            await retrying(attempts, retries=5, timeout_s=10)
        assert attempts.made == 1

    async def test_waits_as_long_as_a_busy_server_asks(self) -> None:
        start = time.monotonic()
        assert await retrying(Attempts(BusyError("busy", after_s=0.3)), retries=1, timeout_s=10) == "fine"
        assert 0.3 <= time.monotonic() - start < 3

    async def test_gives_up_at_once_when_the_wait_would_be_too_long(self) -> None:
        start = time.monotonic()
        with pytest.raises(BusyError):
            await retrying(Attempts(BusyError("busy", after_s=60)), retries=1, timeout_s=5)
        assert time.monotonic() - start < 4


def attempt(breaker: Breaker, error: EngineError | None = None) -> None:
    with breaker.attempt():
        if error is not None:
            raise error


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        with pytest.raises(EngineError):
            attempt(breaker, passing())


class TestBreaker:
    def test_opens_after_failures_in_a_row(self) -> None:
        breaker = Breaker("it", 3, 60)
        fail(breaker, 2)
        attempt(breaker)
        fail(breaker, 2)
        attempt(breaker)  # still closed: a success lay between
        fail(breaker, 3)
        with pytest.raises(BreakerOpenError, match=r"failed 3 times in a row") as caught:
            attempt(breaker)
        assert caught.value.retryable
        assert caught.value.hint

    def test_a_single_attempt_finds_out_whether_it_is_over(self) -> None:
        breaker = Breaker("it", 1, 0.05)
        fail(breaker, 1)
        with pytest.raises(BreakerOpenError):
            attempt(breaker)
        time.sleep(0.06)
        with breaker.attempt(), pytest.raises(BreakerOpenError):
            attempt(breaker)  # one probe at a time
        attempt(breaker)
        assert not breaker.open

    def test_a_failed_probe_opens_it_again(self) -> None:
        breaker = Breaker("it", 1, 0.05)
        fail(breaker, 1)
        time.sleep(0.06)
        fail(breaker, 1)
        with pytest.raises(BreakerOpenError):
            attempt(breaker)

    async def test_a_burst_that_one_fault_ends_is_one_failure(self) -> None:
        breaker = Breaker("it", 2, 60)
        down = asyncio.Event()

        async def one() -> None:
            with breaker.attempt():
                await down.wait()
                raise passing()

        burst = asyncio.gather(*(one() for _ in range(20)), return_exceptions=True)
        await asyncio.sleep(0.01)
        down.set()
        await burst
        assert not breaker.open
        fail(breaker, 1)
        assert breaker.open

    @pytest.mark.parametrize("error", [EngineError("refused for good"), BusyError("busy")])
    def test_an_answer_is_no_failure_whatever_it_says(self, error: EngineError) -> None:
        breaker = Breaker("it", 1, 60)
        with pytest.raises(EngineError):
            attempt(breaker, error)
        assert not breaker.open

    async def test_a_cancelled_probe_lets_the_next_one_through(self) -> None:
        breaker = Breaker("it", 1, 0.05)
        fail(breaker, 1)
        await asyncio.sleep(0.06)

        async def hang() -> None:
            with breaker.attempt():
                await asyncio.sleep(60)

        task = asyncio.create_task(hang())
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        attempt(breaker)
        assert not breaker.open

    def test_a_time_out_counts_unless_something_was_answered(self) -> None:
        breaker = Breaker("it", 1, 60)
        began = time.monotonic()
        attempt(breaker)
        breaker.timed_out(began)
        assert not breaker.open
        breaker.timed_out(time.monotonic())
        assert breaker.open
