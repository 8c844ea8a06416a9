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
    """The trace as it grows."""

    stages: list[Stage] = field(default_factory=list)
    models: dict[str, str] = field(default_factory=dict)
    prompts: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Time a stage; one that a model or prompt fault ends is recorded as degraded and the answer goes on without it."""
        start = time.perf_counter()
        try:
            yield
        except (ModelError, PromptError) as error:
            self._add(name, start, "degraded", f"{type(error).__name__}: {error}")
        else:
            self._add(name, start, "ok", "")

    def off(self, name: str, note: str) -> None:
        self.stages.append(Stage(name=name, milliseconds=0.0, status="off", note=note))

    def told(self, name: str, note: str) -> None:
        self.stages.append(Stage(name=name, milliseconds=0.0, status="ok", note=note))

    def degraded(self, name: str, note: str) -> None:
        self.stages.append(Stage(name=name, milliseconds=0.0, status="degraded", note=note))

    def adapter(self, task: str, name: str, note: str) -> None:
        """Which adapter works, if any, and what is amiss with the one that was to."""
        stage = f"{task} adapter"
        if name:
            self.models[stage] = name
        if note and all(one.name != stage for one in self.stages):
            self.degraded(stage, note)

    def join(self, other: "Stages") -> None:
        """Go on after what `other` went through."""
        self.stages += other.stages
        self.models |= other.models
        self.prompts |= other.prompts

    def _add(self, name: str, start: float, status: Literal["ok", "degraded"], note: str) -> None:
        self.stages.append(
            Stage(name=name, milliseconds=round(1000 * (time.perf_counter() - start), 2), status=status, note=note)
        )

    def trace(self) -> Trace:
        return Trace(stages=tuple(self.stages), models=dict(self.models), prompts=dict(self.prompts))
