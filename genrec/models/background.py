"""An event loop of one's own on a thread of its own, for what is bound to one loop but called from many."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

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
