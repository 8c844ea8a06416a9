"""The trace of one answer as it grows."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from genrec.errors import ModelError, PromptError
from genrec.types import Stage, Trace


@dataclass(slots=True)
class Stages:
    """The stages that an answer has gone through, and the models and prompts that it used."""

    stages: list[Stage] = field(default_factory=list)
    models: dict[str, str] = field(default_factory=dict)
    prompts: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Time a stage without which there is no answer: its errors are raised."""
        start = time.perf_counter()
        yield
        self.add(name, "ok", since=start)

    @contextmanager
    def degrading(self, name: str) -> Iterator[None]:
        """Time a stage that the answer can do without. A ModelError or PromptError ends the `with` block, not the answer: the
        stage is recorded as degraded, and what follows the block runs without what the block would have made.
        """
        start = time.perf_counter()
        try:
            yield
        except (ModelError, PromptError) as error:
            self.add(name, "degraded", f"{type(error).__name__}: {error}", since=start)
        else:
            self.add(name, "ok", since=start)

    def add(self, name: str, status: Literal["ok", "degraded", "off"], note: str = "", *, since: float | None = None) -> None:
        """`since`: when the stage began, by `time.perf_counter`; without it, it took no time."""
        milliseconds = 0.0 if since is None else round(1000 * (time.perf_counter() - since), 2)
        self.stages.append(Stage(name=name, milliseconds=milliseconds, status=status, note=note))

    def adapter(self, task: str, name: str, note: str) -> None:
        """Which adapter serves a task, if any, and what is wrong with the one that should."""
        stage = f"{task} adapter"
        if name:
            self.models[stage] = name
        if note and all(one.name != stage for one in self.stages):
            self.add(stage, "degraded", note)

    def join(self, other: "Stages") -> None:
        """Append the stages of `other`, which came later."""
        self.stages += other.stages
        self.models |= other.models
        self.prompts |= other.prompts

    def trace(self) -> Trace:
        return Trace(stages=tuple(self.stages), models=dict(self.models), prompts=dict(self.prompts))
