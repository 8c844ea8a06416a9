"""What keeps a remote engine from hanging and from being hammered: retries with back-off, and a circuit breaker."""

import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, stop_before_delay
from tenacity.wait import wait_random_exponential

from genrec.errors import EngineError

T = TypeVar("T")

FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 8.0


class BusyError(EngineError):
    """The server is there and asks for patience. `after_s`: how long, 0 when it did not say."""

    def __init__(self, message: str, *, hint: str = "", after_s: float = 0.0) -> None:
        super().__init__(message, hint=hint, retryable=True)
        self.after_s = after_s


class BreakerOpenError(EngineError):
    """No attempt was made: the last ones failed, and the time until the next one is not over."""


class Breaker:
    """A circuit breaker (Nygard, Release It!, 2007): closed, open after failures in a row, half-open after the cool-down.

    A failure counts when its attempt began after the last failure that counted: a burst of concurrent attempts that one
    fault ends is one failure. While half-open a single attempt is let through; it closes the breaker or opens it again.
    One event loop only.
    """

    def __init__(self, name: str, failures: int, cooldown_s: float) -> None:
        self._name = name
        self._limit = failures
        self._cooldown_s = cooldown_s
        self._failures = 0
        self._failed_at = float("-inf")
        self._answered_at = float("-inf")
        self._probing = False

    @property
    def open(self) -> bool:
        return self._failures >= self._limit

    @contextlib.contextmanager
    def attempt(self) -> Iterator[None]:
        """One attempt: a retryable EngineError in it is a failure, except BusyError. Raises BreakerOpenError while open.

        An attempt that is given up (cancelled) or that the server refused for good says nothing about the server's health.
        """
        probe = self.open
        began = time.monotonic()
        if probe:
            left = self._failed_at + self._cooldown_s - began
            if left > 0 or self._probing:
                raise BreakerOpenError(
                    f"{self._name} failed {self._limit} times in a row: not asked again for {max(left, 0):.1f} s",
                    hint="See that the server runs (`genrec llm serve`) and that llm.url is right.",
                    retryable=True,
                )
            self._probing = True
        try:
            yield
        except BusyError:
            raise
        except EngineError as error:
            if error.retryable:
                self.failed(began)
            else:
                self._answered()
            raise
        else:
            self._answered()
        finally:
            if probe:
                self._probing = False

    def failed(self, began: float) -> None:
        """Count a failure of an attempt that began then (`time.monotonic`)."""
        if began > self._failed_at:
            self._failures += 1
            self._failed_at = time.monotonic()

    def timed_out(self, began: float) -> None:
        """Count a call that began then and ran out of time, unless the server answered something meanwhile."""
        if self._answered_at < began:
            self.failed(began)

    def _answered(self) -> None:
        self._failures = 0
        self._answered_at = time.monotonic()


async def retrying(attempt: Callable[[], Awaitable[T]], *, retries: int, timeout_s: float) -> T:
    """Make attempts until one succeeds, `retries` are used up, or the next would begin after `timeout_s`.

    Only a retryable EngineError leads to another; between them is a random, exponentially growing wait, or as long as a BusyError
    server asks for. Raises the last error.
    """
    spread = wait_random_exponential(multiplier=FIRST_WAIT_S, max=LONGEST_WAIT_S)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return max(spread(state), error.after_s if isinstance(error, BusyError) else 0.0)

    again = AsyncRetrying(
        stop=stop_after_attempt(retries + 1) | stop_before_delay(timeout_s),
        wait=wait,
        retry=retry_if_exception(lambda e: isinstance(e, EngineError) and e.retryable and not isinstance(e, BreakerOpenError)),
        reraise=True,
    )

    async def once() -> T:  # tenacity awaits what it can see to be a coroutine function
        return await attempt()

    return await again(once)
