"""Run jobs on one thread, all that arrived while it was busy as one batch."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from genrec.errors import EngineError

T = TypeVar("T")
Send = Callable[[str], None]


class Background:
    """Runs coroutines; callers may be on any thread, with or without a loop."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Start `work`. Raises EngineError after `close`; what is under way then is cancelled."""
        with self._lock:
            if self._closed:
                work.close()
                raise closed()
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, awaited on the caller's loop; a caller that gives up cancels it."""
        future = self.submit(work)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if self._closed and future.cancelled():
                raise closed() from None
            raise

    async def pieces(self, work: Callable[[Send], Coroutine[Any, Any, None]]) -> AsyncIterator[str]:
        """What `work` sends, as it comes; a caller that gives up cancels it."""
        loop = asyncio.get_running_loop()
        sent: asyncio.Queue[str | None] = asyncio.Queue()

        def send(piece: str | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for this text any more
                loop.call_soon_threadsafe(sent.put_nowait, piece)

        future = self.submit(work(send))
        future.add_done_callback(lambda _: send(None))
        try:
            while (piece := await sent.get()) is not None:
                yield piece
            if future.cancelled():
                raise closed()
            future.result()
        finally:
            future.cancel()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work` for a caller that is no coroutine."""
        try:
            return self.submit(work).result()
        except CancelledError:
            raise closed() from None

    def close(self, last: Coroutine[Any, Any, object]) -> None:
        """Cancel what is under way, run `last`, end the thread. A second call does nothing."""
        with self._lock:
            again, self._closed = self._closed, True
        if again:
            last.close()
            return
        asyncio.run_coroutine_threadsafe(self._end(last), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @staticmethod
    async def _end(last: Coroutine[Any, Any, object]) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await last


def closed() -> EngineError:
    return EngineError("the engine is closed", hint="Open the recommender again.")


J = TypeVar("J")

LINGER_S = 0.002
"""Calls made at the same moment from several tasks reach the queue within this time and become one batch."""


@dataclass(slots=True)
class Job(Generic[J]):
    """One request on its way; `done` is resolved as soon as its own result is there."""

    request: J
    done: "Future[Any]" = field(default_factory=Future)


class Batcher(Generic[J]):
    """Hands all waiting jobs to `run` at once. `run` resolves each job's future; what it raises reaches the others."""

    def __init__(self, run: Callable[[list[Job[J]]], None], name: str) -> None:
        self._run = run
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._waiting: list[Job[J]] = []
        self._closed = False

    def submit(self, requests: Sequence[J]) -> "list[Future[Any]]":
        """Queue requests; returns one future each. Raises EngineError after `close`."""
        jobs = [Job(request) for request in requests]
        with self._lock:
            if self._closed:
                raise closed()
            first = bool(jobs) and not self._waiting
            self._waiting.extend(jobs)
            if first:
                self._pool.submit(self._drain)
        return [job.done for job in jobs]

    def _drain(self) -> None:
        time.sleep(LINGER_S)
        with self._lock:
            jobs, self._waiting = self._waiting, []
        batch: list[Job[J]] = [job for job in jobs if job.done.set_running_or_notify_cancel()]
        if not batch:
            return
        # The outermost edge of the thread: whatever goes wrong must reach the callers instead of leaving them waiting.
        outcome: Future[None] = Future()
        outcome.add_done_callback(lambda future: _spread(future, batch))
        _settle(outcome, self._run, batch)

    def close(self) -> None:
        """Refuse new jobs, finish those under way, end the thread."""
        with self._lock:
            self._closed = True
        self._pool.shutdown(wait=True)


def _settle(outcome: "Future[None]", run: Callable[[Any], None], batch: list[Any]) -> None:
    try:
        run(batch)
    except EngineError as error:
        outcome.set_exception(error)
    except Exception as error:  # noqa: BLE001
        failure = EngineError(
            f"the engine failed: {type(error).__name__}: {error}", hint="Lower models.batch_tokens if memory ran out."
        )
        failure.__cause__ = error
        outcome.set_exception(failure)
    else:
        outcome.set_result(None)


def _spread(outcome: "Future[None]", batch: list[Any]) -> None:
    failure = outcome.exception()
    for job in batch:
        if not job.done.done():
            job.done.set_exception(
                failure or EngineError("the engine gave no answer", hint="This is a defect: please report it.")
            )
