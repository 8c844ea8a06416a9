"""One vector for each item, from all its modalities.

Content modalities (all but `behaviour`) are centred: their mean over the items that have them, the part that all texts share, is
subtracted. Texts by a model and texts by people have separate means (`ModalityVectors.aligned`). Every modality is multiplied by
the root of its share of the weights and the results are concatenated, so that the product of two fused vectors is the weighted
mean of the modalities' cosines. When an item lacks a content modality, the others carry its share.

Behaviour counts by its evidence. With n people behind an item its part is (n · b + trust · p) / (n + trust), where b is its
behaviour vector and p the one predicted from its content, by ridge regression over all items that have both. So a new item has a
place among the old ones from its content alone, and an item seen twice does not outrank one seen a thousand times.

Such a part is shorter than its share. The missing length goes into one last column, `doubt`, which is zero in user vectors: rows
have length 1, as a search by cosine needs, and an item with little evidence still scores lower.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from genrec.errors import ConfigError
from genrec.retrieval.item_vectors import ModalityVectors, unit_rows

BEHAVIOUR = "behaviour"
RIDGE = 1.0
"""Strength of the ridge, in items whose behaviour counts in full."""


def fuse(
    vectors: ModalityVectors,
    weights: Mapping[str, float],
    popularity: NDArray[np.integer] | None = None,
    *,
    trust: float = 5.0,
) -> NDArray[np.float32]:
    """(N, sum of d_m + 1) float32: content modalities in order of name, behaviour, `doubt`. Rows have length 1; all zero
    without a modality.

    `weights[m]` ≥ 0; a modality without a weight takes no part, a weight without a modality gives no columns. `popularity`
    (N,): people behind each behaviour vector; without it, or with `trust` 0, every behaviour vector counts in full (items
    without one still get the predicted one). Raises ConfigError for weights that are negative, not finite, or leave nothing.
    """
    bad = {name: weight for name, weight in weights.items() if not 0 <= weight < np.inf}
    if bad or not 0 <= trust < np.inf:
        raise ConfigError(f"retrieval: weights {bad or dict(weights)} and trust {trust} must be finite and not negative")
    names = [name for name in sorted(vectors.matrices) if weights.get(name, 0.0) > 0 and vectors.matrices[name].shape[1] > 0]
    if not names:
        raise ConfigError(
            f"retrieval.weights: none of {sorted(weights)} is both weighted and among the vectors {sorted(vectors.matrices)}",
            hint="Give a positive weight to a modality that the catalogue has.",
        )
    total = sum(weights[name] for name in names)
    content = [name for name in names if name != BEHAVIOUR]
    joined = _content(vectors, weights, content)
    parts = [np.sqrt(sum(weights[name] for name in content) / total) * joined]
    if BEHAVIOUR in names:
        rows = vectors.matrices[BEHAVIOUR].astype(np.float64)
        counts = vectors.present[BEHAVIOUR] * (1.0 if popularity is None else popularity.astype(np.float64))
        doubt = 0.0 if popularity is None else trust
        evidence = counts + doubt
        own = np.divide(counts, evidence, out=np.zeros_like(evidence), where=evidence > 0)[:, None]
        rows = own * rows + (1.0 - own) * expected_behaviour(joined, rows, counts)
        parts.append(np.sqrt(weights[BEHAVIOUR] / total) * rows)
    fused = np.concatenate(parts, axis=1)
    length = (fused**2).sum(axis=1)
    doubt_column = np.where(length > 0, np.sqrt(np.maximum(1.0 - length, 0.0)), 0.0)
    return unit_rows(np.concatenate([fused, doubt_column[:, None]], axis=1))


def as_history(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """A copy of fused rows (n, D) as parts of a user vector: `doubt` is zero."""
    rows = rows.copy()
    rows[:, -1] = 0.0
    return rows


def centred(matrix: NDArray[np.float32], present: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(N, d) unit rows after the mean of the present rows is subtracted; rows that equal the mean are left as they are."""
    if present.sum() < 2:
        return matrix
    moved = np.where(present[:, None], matrix - matrix[present].mean(axis=0, dtype=np.float64), 0.0)
    flat = np.linalg.norm(moved, axis=1, keepdims=True) < 1e-4
    return unit_rows(np.where(flat, matrix, moved))


def expected_behaviour(content: NDArray, behaviour: NDArray, counts: NDArray) -> NDArray[np.float64]:
    """(N, d) rows of length ≤ 1: behaviour predicted from `content` (N, c), fitted where both are known, weights n / (n + 10)."""
    if content.shape[1] == 0:
        return np.zeros(behaviour.shape)
    known = (counts > 0) & content.any(axis=1)
    weight = (counts / (counts + 10.0))[known]
    weighted = content[known] * weight[:, None]
    gram = weighted.T @ content[known] + RIDGE * np.eye(content.shape[1])
    rows = content @ linalg.solve(gram, weighted.T @ behaviour[known], assume_a="pos")
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1.0)


def _content(vectors: ModalityVectors, weights: Mapping[str, float], names: list[str]) -> NDArray[np.float64]:
    """(N, c) rows of length 1, or 0 without content: the modalities concatenated, weights shared among those an item has."""
    if not names:
        return np.zeros((len(vectors.item_ids), 0))
    shares = np.stack([weights[name] * vectors.present[name] for name in names])  # (modalities, N)
    total = shares.sum(axis=0)
    shares = np.sqrt(np.divide(shares, total, out=np.zeros_like(shares), where=total > 0))
    columns = [
        share[:, None] * centred(vectors.aligned(name), vectors.present[name]) for name, share in zip(names, shares, strict=True)
    ]
    return np.concatenate(columns, axis=1)
