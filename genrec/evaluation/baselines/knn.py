"""Item neighbourhoods: items that share people with the items of a history."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse

from genrec.evaluation.baselines.base import Baseline, Config, combinations
from genrec.evaluation.baselines.matrices import binary, decayed
from genrec.progress import Progress, track
from genrec.retrieval.sequences import Sequences
from genrec.retrieval.systems import Content

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
