"""The most popular items, the same for everybody."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genrec.evaluation.baselines.base import Baseline, Config, combinations
from genrec.progress import Progress
from genrec.retrieval.sequences import Sequences
from genrec.retrieval.systems import Content


class PopularityConfig(Config):
    window: float = Field(default=1.0, gt=0, le=1)
    """Share of the events, the latest by timestamp, that are counted."""


class Popularity(Baseline[PopularityConfig]):
    """Events of each item in the latest part of the train events; items that are equal there by all their events."""

    name = "popularity"
    config_class: ClassVar[type[Config]] = PopularityConfig

    def grid(self) -> Sequence[Mapping[str, Any]]:
        return combinations(window=(1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01))

    def _fit(self, train: Sequences, content: Content, progress: Progress) -> None:
        counted = max(1, round(self.config.window * len(train)))
        latest = np.argsort(train.timestamps, kind="stable")[-counted:]
        n_items = len(train.item_ids)
        recent = np.bincount(train.items[latest], minlength=n_items)
        ever = np.bincount(train.items, minlength=n_items)
        # Places instead of counts: a float32 cannot hold a count and its tie-breaker for a large table.
        self._ranked = np.unique(np.stack([recent, ever], axis=1), axis=0, return_inverse=True)[1].reshape(-1)

    def _scores(self, histories: Sequences) -> NDArray[np.floating]:
        return np.tile(self._ranked.astype(np.float32), (len(histories.user_ids), 1))
