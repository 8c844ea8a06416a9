"""What retrieval knows of the whole catalogue, and what the index must hold for it. Building and serving use the same object."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from genrec.errors import DataError
from genrec.retrieval.item_vectors import ModalityVectors
from genrec.retrieval.learned_retriever import LearnedItems
from genrec.retrieval.modality_fusion import as_history, fuse
from genrec.settings.sections import RetrievalSettings

FUSED = "fused"
POPULAR = "popular"
MOST_POPULAR = np.array([1.0, 0.0], np.float32)
"""A search for this among the `popular` vectors ranks by popularity, within the engine's filters and exclusions."""


class Catalogue:
    """Vectors by modality, fused vectors and popularity of N items.

    With `learned` the fused vectors are the trained retriever's rows. `popularity` (N,) int: distinct people with an event on
    each item, in the order of `vectors.item_ids`. Raises ConfigError for weights that leave nothing, DataError when the lengths
    differ.
    """

    def __init__(
        self,
        vectors: ModalityVectors,
        popularity: NDArray[np.integer],
        settings: RetrievalSettings,
        learned: LearnedItems | None = None,
    ) -> None:
        if popularity.shape != (len(vectors.item_ids),):
            raise DataError(f"catalogue: popularity has shape {popularity.shape} for {len(vectors.item_ids)} items")
        self.vectors = vectors
        self.popularity = popularity
        self.learned = learned
        self.fused = learned.rows if learned else fuse(vectors, settings.weights, popularity, trust=settings.trust)  # (N, D)
        if len(self.fused) != len(vectors.item_ids):
            raise DataError(f"catalogue: {len(self.fused)} learned rows for {len(vectors.item_ids)} items")
        top = math.log1p(int(popularity.max())) if len(popularity) else 0.0
        self._share = np.log1p(popularity) / top if top > 0 else np.zeros(len(popularity))  # (N,) in [0, 1]

    def dims(self) -> dict[str, int]:
        """Name and dimension of every vector that a point of the index may have."""
        content = {name: matrix.shape[1] for name, matrix in self.vectors.matrices.items() if self._searchable(name)}
        return {**content, FUSED: self.fused.shape[1], POPULAR: 2}

    def point(self, item_id: str) -> dict[str, NDArray[np.float32]]:
        """The vectors of one item as the index holds them; those it lacks are left out. Raises UnknownItemError."""
        row = self.vectors.index_of(item_id)
        point = {
            name: self.vectors.matrices[name][row]
            for name in self.dims()
            if name in self.vectors.matrices and self.vectors.present[name][row]
        }
        if self.fused[row].any():
            point[FUSED] = self.fused[row]
        share = self._share[row]
        point[POPULAR] = np.array([share, math.sqrt(max(0.0, 1.0 - share**2))], np.float32)
        return point

    def known(self, item_ids: Sequence[str]) -> NDArray[np.bool_]:
        """(n,) whether each item has a fused vector."""
        return np.array(
            [item_id in self.vectors and self.fused[self.vectors.index_of(item_id)].any() for item_id in item_ids], bool
        )

    def rows(self, item_ids: Sequence[str]) -> NDArray[np.float32]:
        """(n, D) fused rows as the index holds them. Raises UnknownItemError."""
        return self.fused[[self.vectors.index_of(item_id) for item_id in item_ids]]

    def history_rows(self, item_ids: Sequence[str]) -> NDArray[np.float32]:
        """(n, D) rows as parts of a user vector. Raises UnknownItemError."""
        if self.learned is None:
            return as_history(self.rows(item_ids))
        return self.learned.vectors[[self.vectors.index_of(item_id) for item_id in item_ids]]

    def _searchable(self, name: str) -> bool:
        return self.vectors.matrices[name].shape[1] > 0 and name != "behaviour"
