"""EASE: each item predicted from all others by ridge regression, in closed form."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genrec.errors import EvaluationError
from genrec.evaluation.baselines.base import Baseline, Config, combinations
from genrec.evaluation.baselines.matrices import binary, decayed
from genrec.progress import Progress
from genrec.retrieval.sequences import Sequences
from genrec.retrieval.systems import Content

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
