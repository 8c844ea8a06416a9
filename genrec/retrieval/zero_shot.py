"""The untrained retriever as a system under comparison, and its vectors for any set of events."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec.errors import DataError
from genrec.progress import Progress
from genrec.retrieval.behaviour import Behaviour, behaviour_vectors
from genrec.retrieval.item_vectors import ModalityVectors
from genrec.retrieval.mean_profile import recency_means
from genrec.retrieval.modality_fusion import as_history, fuse
from genrec.retrieval.sequences import Sequences
from genrec.retrieval.systems import Content, SystemDefaults
from genrec.settings.sections import RetrievalSettings


def behaviour_of(train: Sequences, settings: RetrievalSettings) -> Behaviour:
    """The closed-form item vectors of these events."""
    return behaviour_vectors(
        train.users,
        train.items,
        train.timestamps,
        n_items=len(train.item_ids),
        dim=settings.behaviour_dim,
        half_life=settings.behaviour_half_life,
    )


def fused_rows(
    train: Sequences, content: Content, settings: RetrievalSettings
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(N, D) rows as parts of a user vector, and (N, D) rows to find, from these events alone."""
    made = behaviour_of(train, settings)
    matrices, present = dict(content.vectors.matrices), dict(content.vectors.present)
    if made.vectors.shape[1]:
        matrices["behaviour"], present["behaviour"] = made.vectors, made.present
    vectors = ModalityVectors(content.vectors.item_ids, matrices, present, written=content.vectors.written)
    fused = fuse(vectors, settings.weights, made.popularity, trust=settings.trust)
    return as_history(fused), fused


class ZeroShot(SystemDefaults):
    """The fusion that `genrec build` makes when nothing is trained."""

    name = "zero-shot"

    def __init__(self, retrieval: RetrievalSettings, settings: Mapping[str, Any] | None = None) -> None:
        self._retrieval = retrieval.model_copy(update=dict(settings or {}))
        self.settings: Mapping[str, Any] = {"half_life": self._retrieval.half_life, "trust": self._retrieval.trust}
        self._popularity = np.zeros(0, np.float32)
        self._rows: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None

    def grid(self) -> Sequence[Mapping[str, Any]]:
        """Recency of the profile and trust in behaviour, around the defaults."""
        return [{"half_life": h, "trust": t} for h in (2.0, 1.0, 4.0, 8.0) for t in (5.0, 2.0)]

    def with_settings(self, settings: Mapping[str, Any], seed: int) -> "ZeroShot":
        return ZeroShot(self._retrieval, settings)

    def fit(self, train: Sequences, content: Content, progress: Progress) -> None:
        self._popularity = train.popularity().astype(np.float32)
        self._rows = fused_rows(train, content, self._retrieval)

    def scores(self, histories: Sequences) -> NDArray[np.float32]:
        if self._rows is None:
            raise DataError("zero-shot: asked for scores before it was fitted")
        history, rows = self._rows
        scores = recency_means(history, histories, self._retrieval.half_life, self._retrieval.history) @ rows.T
        scores[histories.lengths == 0] = self._popularity  # as in serving, apart from its diversity
        return scores
