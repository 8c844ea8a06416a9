"""Choosing settings and fitting, for the harness: each base once, however many systems stand on it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec.evaluation.ranks import Ranking, rank_split
from genrec.evaluation.reranked import PEOPLE_AT_ONCE, Reranked
from genrec.evaluation.results import MAIN, OrderFlips, Trial
from genrec.evaluation.splits import Split
from genrec.metrics import accuracy
from genrec.progress import Progress
from genrec.retrieval.systems import Content, System

MAIN_K = 10


@dataclass(slots=True, kw_only=True)
class Prefixed:
    """Says whose task it is."""

    progress: Progress
    prefix: str

    def start(self, task: str, total: int | None) -> None:
        self.progress.start(f"{self.prefix}: {task}", total)

    def advance(self, n: int = 1) -> None:
        self.progress.advance(n)

    def finish(self) -> None:
        self.progress.finish()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """Trials in the order of the grid, and the settings with the highest main metric, the first of equals."""

    trials: tuple[Trial, ...]
    settings: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    system: System
    seconds: float


@dataclass(slots=True, kw_only=True)
class Fits:
    """Fits of one evaluation. `shared`: `id` of every system that a reranked one stands on, whose fits and choice are kept.

    A reranked system is tuned and fitted by its base: its settings, trials and seconds are the base's.
    """

    content: Content
    progress: Progress
    tuning: Split | None
    rows: NDArray[np.bool_] | None
    """(U,) cases of `tuning` that settings are chosen by."""
    batch_bytes: int
    shared: frozenset[int]
    _tuned: dict[int, Tuned] = field(default_factory=dict)
    _fitted: dict[tuple[int, int, int], Fitted] = field(default_factory=dict)

    def tuned(self, system: System, seed: int) -> Tuned:
        if isinstance(system, Reranked):
            system.ready(self._for(system.name))  # before hours of fitting: its weights may be missing
            return self.tuned(system.base, seed)
        found = self._tuned.get(id(system)) or self._chosen(system, seed)
        if id(system) in self.shared:
            self._tuned[id(system)] = found
        return found

    def fitted(self, system: System, settings: Mapping[str, Any], seed: int, split: Split, label: str = "") -> Fitted:
        """`label`: what besides name and seed the progress shall say."""
        if isinstance(system, Reranked):
            below = self.fitted(system.base, settings, seed, split, label)
            return Fitted(system=system.over(below.system, self.content, seed), seconds=below.seconds)
        key = id(system), seed, id(split)
        if key in self._fitted:
            return self._fitted[key]
        made = system.with_settings(settings, seed)
        started = time.perf_counter()
        made.fit(split.train, self.content, self._for(f"{system.name}, {label}seed {seed}"))
        found = Fitted(system=made, seconds=time.perf_counter() - started)
        if id(system) in self.shared:
            self._fitted[key] = found
        return found

    def ranked(self, system: System, split: Split, k: int, label: str) -> Ranking:
        """The lists of a fitted system; the LLM gets few people at a time."""
        few = 4 * len(split.candidates) * PEOPLE_AT_ONCE
        size = min(self.batch_bytes, few) if isinstance(system, Reranked) else self.batch_bytes
        return rank_split(system.scores, split, k, batch_bytes=size, progress=self._for(label))

    def order_flips(self, system: System, split: Split) -> OrderFlips | None:
        """None for a system that does not rank again."""
        if not isinstance(system, Reranked):
            return None
        return system.order_flips(split.histories.take(np.flatnonzero(split.focus)), self._for(system.name))

    def _for(self, prefix: str) -> Prefixed:
        return Prefixed(progress=self.progress, prefix=prefix)

    def _chosen(self, system: System, seed: int) -> Tuned:
        grid = list(system.grid())
        if self.tuning is None or not grid:
            return Tuned(trials=(), settings=system.settings, seconds=0.0)
        begun = time.perf_counter()
        rows = np.ones(len(self.tuning.focus), bool) if self.rows is None else self.rows
        trials, best, highest = [], grid[0], -1.0
        for number, settings in enumerate(grid, 1):
            started = time.perf_counter()
            label = f"{system.name}, setting {number} of {len(grid)}"
            made = system.with_settings(settings, seed)
            made.fit(self.tuning.train, self.content, self._for(label))
            top = self.ranked(made, self.tuning, MAIN_K, label).top
            score = float(accuracy(top, self.tuning.targets, (MAIN_K,))[MAIN][rows].mean())
            trials.append(Trial(settings=dict(settings), score=score, seconds=time.perf_counter() - started))
            if score > highest:
                best, highest = settings, score
        return Tuned(trials=tuple(trials), settings=best, seconds=time.perf_counter() - begun)
