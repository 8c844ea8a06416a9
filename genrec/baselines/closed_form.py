"""The most popular items, the same for everybody."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse

from genrec.baselines.base import Baseline, Config, binary, combinations, decayed
from genrec.errors import EvaluationError
from genrec.progress import Progress, track
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


BLOCK = 1024
"""Items whose dense similarities to all others are held at a time."""


class ItemKNNConfig(Config):
    neighbours: int = Field(default=1000, ge=1)
    """Similar items kept for each item."""
    shrinkage: float = Field(default=50.0, ge=0)
    """Added to the denominator: few common people count less."""
    power: float = Field(default=0.6, ge=0, le=1)
    """Exponent of the degrees in the denominator; 0.5 on each side is the cosine, less favours popular items."""
    half_life: float | None = Field(default=2.0, gt=0)
    """Of an event's weight in the history, in places; None: all events count alike."""


class ItemKNN(Baseline[ItemKNNConfig]):
    """Sarwar et al. (WWW 2001), with shrinkage and a degree exponent as in Ferrari Dacrema et al. (TOIS 2021).

    sim(i, j) = common(i, j) / (n_i^power · n_j^power + shrinkage), the `neighbours` largest of each item j of the history kept.
    """

    name = "item-knn"
    config_class: ClassVar[type[Config]] = ItemKNNConfig

    def grid(self) -> Sequence[Mapping[str, Any]]:
        return combinations(half_life=(2.0, 4.0, None), neighbours=(1000, 200), shrinkage=(50.0, 10.0), power=(0.6, 0.5, 0.7))

    def _fit(self, train: Sequences, content: Content, progress: Progress) -> None:
        matrix = binary(train)
        columns = sparse.csc_array(matrix)
        degrees = np.asarray(matrix.sum(axis=0)).reshape(-1)
        scale = np.maximum(degrees, 1.0) ** self.config.power
        n_items = len(degrees)
        kept = min(self.config.neighbours, n_items)
        blocks = []
        for start in track(progress, "item-knn", range(0, n_items, BLOCK), -(-n_items // BLOCK)):
            rows = np.arange(start, min(start + BLOCK, n_items))
            common = (columns[:, rows].T @ matrix).toarray()  # (block, N)
            common[np.arange(len(rows)), rows] = 0.0
            common /= scale[rows, None] * scale[None] + self.config.shrinkage
            if kept < n_items:
                bound = np.partition(common, n_items - kept, axis=1)[:, n_items - kept]
                common[common < bound[:, None]] = 0.0
            blocks.append(sparse.csr_array(common))
        self._similar = sparse.csr_array(sparse.vstack(blocks))

    def _scores(self, histories: Sequences) -> NDArray[np.floating]:
        scores: Any = decayed(histories, self.config.half_life) @ self._similar
        return scores.toarray()


MOST_ITEMS = 30_000
"""The inverse of a square matrix of this side takes 7 GB."""


class EaseConfig(Config):
    strength: float = Field(default=500.0, gt=0)
    """Ridge penalty (λ of the paper)."""
    half_life: float | None = Field(default=4.0, gt=0)
    """Of an event's weight in the history, in places; None: all events count alike, as in the paper."""


class Ease(Baseline[EaseConfig]):
    """Steck (WWW 2019): B = I - P · diag(1 / diag P), P = (XᵀX + λI)⁻¹; scores = decayed history · B.

    Items without train events have no column in P and score 0.
    """

    name = "ease"
    config_class: ClassVar[type[Config]] = EaseConfig

    def grid(self) -> Sequence[Mapping[str, Any]]:
        return combinations(strength=(500.0, 20.0, 50.0, 200.0, 1000.0), half_life=(4.0, 2.0, 8.0, None))

    def _fit(self, train: Sequences, content: Content, progress: Progress) -> None:
        self._known = np.flatnonzero(train.popularity())
        if len(self._known) > MOST_ITEMS:
            raise EvaluationError(
                f"ease: {len(self._known)} items have events, it inverts a matrix of at most {MOST_ITEMS} × {MOST_ITEMS}",
                hint="Leave ease and boosted out for a catalogue of this size.",
            )
        matrix = binary(train)[:, self._known]
        gram = (matrix.T @ matrix).toarray()
        gram[np.diag_indices_from(gram)] += self.config.strength
        inverse = np.linalg.inv(gram)
        weights = -inverse / np.diag(inverse)
        np.fill_diagonal(weights, 0.0)
        self._weights = weights.astype(np.float32)

    def _scores(self, histories: Sequences) -> NDArray[np.floating]:
        made = np.zeros((len(histories.user_ids), len(histories.item_ids)), np.float32)
        history = decayed(histories, self.config.half_life)[:, self._known].astype(np.float32)
        made[:, self._known] = history @ self._weights
        return made
