"""Whether an item looks like those that are known to have a value, or like nothing that the catalogue knows.

A classifier shares its certainty among the values it was taught, also for an item that is none of them: shares fitted on known
items say nothing of it. Such an item lies far from the items of every value, measured in the scores that tell values apart, with
their common covariance within a value (Mahalanobis distance; Lee et al., "A simple unified framework for detecting
out-of-distribution samples", 2018). The limit lets through `TYPICAL` of the known items, each measured by the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

TYPICAL = 0.98
"""Share of the known items that count as typical of their value: so much recall is given for not naming what is unknown."""
ITEMS_A_SCORE = 3
"""Known items for each score, at least: from fewer no covariance is learned."""
MOST_SCORES = 400
SHRINKAGE = 1e-3
"""Of the covariance towards its own mean variance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Typical:
    """`means` (T, D): of the scores of the items that have a value, NaN for one that none has; `inverse` (D, D) of the covariance
    within values; `limit`: the largest squared distance of a typical item."""

    means: NDArray[np.float64]
    inverse: NDArray[np.float64]
    limit: float

    @classmethod
    def fit(cls, looks: NDArray, value: NDArray[np.int64], values: int, fold: NDArray[np.int64]) -> "Typical | None":
        """`looks` (n, D) scores of known items, `value` (n,) the one that each has, `fold` (n,): who is measured by the others.

        None where there are too many scores for so few items.
        """
        n, width = looks.shape
        if width > MOST_SCORES or n < ITEMS_A_SCORE * width:
            return None
        distance = np.full(n, np.nan)
        for part in np.unique(fold):
            left = fold == part
            means, inverse = _moments(looks[~left], value[~left], values)
            distance[left] = _distance(looks[left], means[value[left]], inverse)
        seen = distance[np.isfinite(distance)]
        if not len(seen):
            return None
        means, inverse = _moments(looks, value, values)
        return cls(means=means, inverse=inverse, limit=float(np.quantile(seen, TYPICAL)))

    def holds(self, looks: NDArray, value: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n,) whether items of these scores (n, D) look like those that have `value` (n,)."""
        distance = _distance(looks, self.means[value], self.inverse)
        return np.where(np.isfinite(distance), distance, np.inf) <= self.limit


def scores_of(features: NDArray, places: Sequence[int]) -> NDArray[np.float64]:
    """(n, T · len(places)) the features at `places` of each term, of features (n, T, F)."""
    return features[:, :, list(places)].reshape(len(features), -1).astype(np.float64)


def _moments(looks: NDArray, value: NDArray[np.int64], values: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    counts = np.bincount(value, minlength=values).astype(np.float64)
    total = np.zeros((values, looks.shape[1]))
    np.add.at(total, value, looks)
    means = np.divide(total, counts[:, None], out=np.full_like(total, np.nan), where=counts[:, None] > 0)
    apart = looks - means[value]
    covariance = apart.T @ apart / max(1, len(looks))
    covariance += SHRINKAGE * max(np.trace(covariance) / len(covariance), 1e-12) * np.eye(len(covariance))
    return means, linalg.inv(covariance)


def _distance(looks: NDArray, means: NDArray, inverse: NDArray) -> NDArray[np.float64]:
    apart = looks - means
    return np.einsum("nd,de,ne->n", apart, inverse, apart, optimize=True)
