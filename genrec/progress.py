"""How long steps report their progress: each takes a `Progress`; the command line passes a bar, a library call `SILENT`."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """Told of one task at a time: its start, with the number of steps if that is known, each advance, its end."""

    def start(self, task: str, total: int | None) -> None: ...

    def advance(self, n: int = 1) -> None: ...

    def finish(self) -> None: ...


class Silent:
    """Shows nothing."""

    def start(self, task: str, total: int | None) -> None:
        return

    def advance(self, n: int = 1) -> None:
        return

    def finish(self) -> None:
        return


SILENT = Silent()


def track(progress: Progress, task: str, things: Iterable[T], total: int | None = None) -> Iterator[T]:
    """Yield `things`, reporting each to `progress`; the task is finished also when the consumer stops early."""
    progress.start(task, total)
    try:
        for thing in things:
            yield thing
            progress.advance()
    finally:
        progress.finish()
