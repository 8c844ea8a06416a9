"""HTTP to an LLM server: bounded concurrency, time-outs, retries, circuit breaker, and faults turned into genrec's errors."""

import asyncio
import contextlib
import email.utils
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeVar

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, stop_before_delay
from tenacity.wait import wait_random_exponential

from genrec.errors import AdapterError, EngineError
from genrec.settings.sections import LlmSettings

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


T = TypeVar("T")
Json = dict[str, Any]

SAID = 300
"""Characters of a server's own message that an error quotes."""

_START = "See that the server runs (`genrec llm serve`) and that llm.url is right."
_ALIVE = "Look at the server's log; between it and genrec may be a proxy that changes answers."


class RefusedError(EngineError):
    """The server is well and will not do this. `status`: its HTTP status."""

    def __init__(self, message: str, *, status: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


def nonsense(what: str) -> EngineError:
    """An answer that cannot be read; the attempt counts as failed and is made again."""
    return EngineError(f"the LLM server answered nonsense: {what}", hint=_ALIVE, retryable=True)


class Wire:
    """One server. To be used on one event loop."""

    def __init__(self, settings: LlmSettings) -> None:
        self.url = settings.url.rstrip("/").removesuffix("/v1")
        self.breaker = Breaker(f"the LLM server at {self.url}", settings.breaker_failures, settings.breaker_cooldown_s)
        self._settings = settings
        self._slots, self._door = asyncio.Semaphore(settings.concurrency), asyncio.Lock()
        self._client = httpx.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {settings.api_key}"} if settings.api_key else {},
            timeout=httpx.Timeout(
                min(settings.read_timeout_s, settings.timeout_s),
                connect=min(settings.connect_timeout_s, settings.timeout_s),
                pool=None,  # waiting for a slot is bounded by the call's own limit
            ),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=settings.concurrency),
        )

    async def get(self, path: str, read: Callable[[httpx.Response], T]) -> T:
        """GET `path` with retries; `read` raises EngineError for an answer that cannot be read."""
        return await self._again(lambda: self._whole(self._client.build_request("GET", path), read, ""))

    async def post(self, path: str, body: Json, read: Callable[[Json], T], *, adapter: str = "", prompts: int = 1) -> T:
        """POST `body` as JSON with retries; `read` gets the answer's JSON object and raises EngineError when it makes no sense.

        `prompts`: how many are in it. Raises AdapterError when the server does not have `adapter`, RefusedError, BusyError,
        BreakerOpenError, or EngineError.
        """

        def attempt() -> Awaitable[T]:
            request = self._client.build_request("POST", path, json=body)
            return self._whole(request, lambda response: read(parsed(response.text)), adapter, prompts)

        return await self._again(attempt)

    async def events(self, path: str, body: Json, *, adapter: str = "") -> AsyncGenerator[Json, None]:
        """POST `body` and yield the server-sent events of the answer. Attempts are made again until the answer begins."""
        async with self._room(1):
            response = await self._again(lambda: self._opened(path, body, adapter))
            began = time.monotonic()
            try:
                with faults(self.url):
                    async for line in response.aiter_lines():
                        if line.startswith("data: [DONE]"):
                            return
                        if line.startswith("data:"):
                            yield event(line[5:])
                raise nonsense("the stream ended before it was done")
            except EngineError as error:
                if error.retryable:
                    self.breaker.failed(began)
                raise
            finally:
                await response.aclose()

    async def close(self) -> None:
        await self._client.aclose()

    async def _again(self, attempt: Callable[[], Awaitable[T]]) -> T:
        return await retrying(attempt, retries=self._settings.retries, timeout_s=self._settings.timeout_s)

    async def _whole(self, request: httpx.Request, read: Callable[[httpx.Response], T], adapter: str, prompts: int = 1) -> T:
        async with self._room(prompts):
            with self.breaker.attempt():
                with faults(self.url):
                    response = await self._client.send(request)
                check(response, adapter)
                return read(response)

    @contextlib.asynccontextmanager
    async def _room(self, prompts: int) -> AsyncIterator[None]:
        """Wait until so many more prompts may be on their way, all of them at the most; who came first goes first."""
        taken = 0
        try:
            async with self._door:
                while taken < min(prompts, self._settings.concurrency):
                    await self._slots.acquire()
                    taken += 1
            yield
        finally:
            for _ in range(taken):
                self._slots.release()

    async def _opened(self, path: str, body: Json, adapter: str) -> httpx.Response:
        """A response of status 200 whose body is still to come; the caller closes it."""
        with self.breaker.attempt(), faults(self.url):
            response = await self._client.send(self._client.build_request("POST", path, json=body), stream=True)
            if response.status_code != 200:
                try:
                    await response.aread()
                finally:
                    await response.aclose()
                check(response, adapter)
            return response


@contextlib.contextmanager
def faults(url: str) -> Iterator[None]:
    """Turn what goes wrong on the way into EngineError."""
    try:
        yield
    except httpx.TimeoutException as error:
        what = "no connection" if isinstance(error, httpx.ConnectTimeout) else "silence"
        raise EngineError(f"{what} from the LLM server at {url} for too long", hint=_START, retryable=True) from error
    except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.LocalProtocolError) as error:
        raise EngineError(f"llm.url is {url!r}: {error}", hint="Set it to something like http://127.0.0.1:8000.") from error
    except httpx.ConnectError as error:
        raise EngineError(f"no connection to the LLM server at {url}: {error}", hint=_START, retryable=True) from error
    except (httpx.TransportError, httpx.DecodingError, httpx.TooManyRedirects) as error:
        message = f"the LLM server at {url} broke off its answer: {type(error).__name__} {error}"
        raise EngineError(message, hint=_START, retryable=True) from error


def check(response: httpx.Response, adapter: str) -> None:
    """Raise what the status of an answer means; nothing for 200."""
    status = response.status_code
    if status == 200:
        return
    said = message_of(response.text)
    if status in (429, 503):
        raise BusyError(
            f"the LLM server is busy ({status}): {said}", hint="Lower llm.concurrency, or wait.", after_s=retry_after(response)
        )
    if status >= 500 or status == 408:
        raise EngineError(f"the LLM server failed ({status}): {said}", hint=_ALIVE, retryable=True)
    if status in (401, 403):
        raise RefusedError(
            f"the LLM server refused ({status}): {said}", status=status, hint="Set llm.api_key to the server's key."
        )
    if status == 404 and adapter and "model" in said:
        raise AdapterError(
            f"the LLM server has no adapter {adapter!r}: {said}", hint="Start it again (`genrec llm serve`) with this adapter."
        )
    raise RefusedError(
        f"the LLM server refused ({status}): {said}", status=status, hint="See docs/serving.md for what it must allow."
    )


def message_of(text: str) -> str:
    """The message in an answer that reports an error, cut short."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        told = text
    for key in ("error", "message", "detail"):
        if isinstance(told, dict) and key in told:
            told = told[key]
    return " ".join(str(told).split())[:SAID]


def retry_after(response: httpx.Response) -> float:
    """Seconds of a Retry-After header (a number or a date), 0 without one."""
    value = response.headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0


def parsed(text: str) -> Json:
    """The JSON object in `text`. Raises EngineError."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise nonsense(f"{text[:80]!r} is not JSON ({error})") from error
    if not isinstance(told, dict):
        raise nonsense(f"{text[:80]!r} is not a JSON object")
    return told


def event(text: str) -> Json:
    """The JSON object of one event. Raises EngineError, also for an event that reports an error."""
    told = parsed(text)
    if told.get("error"):
        raise EngineError(f"the LLM server failed while writing: {message_of(text)}", hint=_ALIVE, retryable=True)
    return told
