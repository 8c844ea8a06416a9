"""From evidence to probabilities, and to the threshold that reaches the wished precision.

Logistic regression for each group of terms, shrunk towards that of all groups together and cross-fitted: an item's score comes
from weights that have not seen it. Isotonic regression turns scores into shares (Zadrozny & Elkan, 2002); the threshold is the
lowest one above which the wished share of tags was right on the known items. Shares say nothing about an item unlike all that are
known, so where an item has at most one value it must also look like the items that have that value (`NoveltyDetector`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize, special

TYPICAL_SHARE = 0.98
"""Share of the known items that count as typical of their value; the rest is recall given up for not naming what is unknown."""
ITEMS_PER_SCORE = 3
"""Known items for each score, at least: from fewer no covariance is learned."""
MAX_SCORES = 400
COVARIANCE_SHRINKAGE = 1e-3
"""Of the covariance towards its own mean variance."""
SEED = 0
FOLDS = 5
GROUP_SHRINKAGE = 10.0
"""Strength with which the weights of a group are pulled towards those of all groups."""
POOLED_RIDGE = 1.0
MIN_PROBABILITY = 0.5
"""No tag is given that is more likely wrong than right, whatever the precision of all tags together."""
DOUBT = 1.0
"""The precision that was seen counts this many more tags that were wrong."""
NEVER = 2.0
"""A threshold that no probability reaches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoveltyDetector:
    """Mahalanobis distance of an item's scores from those of the items that have the same value.

    means     (T, D) mean scores of the items with each value, NaN for a value that none has
    inverse   (D, D) inverse of the covariance within values
    limit     the largest squared distance of a typical item
    """

    means: NDArray[np.float64]
    inverse: NDArray[np.float64]
    limit: float

    @classmethod
    def fit(cls, scores: NDArray, value: NDArray[np.int64], values: int, fold: NDArray[np.int64]) -> "NoveltyDetector | None":
        """`scores` (n, D) of known items, `value` (n,) in [0, values) that each has, `fold` (n,): measured by the other folds.

        None where there are too many scores for so few items.
        """
        n, width = scores.shape
        if width > MAX_SCORES or n < ITEMS_PER_SCORE * width:
            return None
        distance = np.full(n, np.nan)
        for part in np.unique(fold):
            left = fold == part
            means, inverse = _moments(scores[~left], value[~left], values)
            distance[left] = _squared_distance(scores[left], means[value[left]], inverse)
        seen = distance[np.isfinite(distance)]
        if not len(seen):
            return None
        means, inverse = _moments(scores, value, values)
        return cls(means=means, inverse=inverse, limit=float(np.quantile(seen, TYPICAL_SHARE)))

    def is_typical(self, scores: NDArray, value: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n,) whether items of these scores (n, D) look like those that have `value` (n,)."""
        distance = _squared_distance(scores, self.means[value], self.inverse)
        return np.where(np.isfinite(distance), distance, np.inf) <= self.limit


def _moments(scores: NDArray, value: NDArray[np.int64], values: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    counts = np.bincount(value, minlength=values).astype(np.float64)
    total = np.zeros((values, scores.shape[1]))
    np.add.at(total, value, scores)
    means = np.divide(total, counts[:, None], out=np.full_like(total, np.nan), where=counts[:, None] > 0)
    apart = scores - means[value]
    covariance = apart.T @ apart / max(1, len(scores))
    covariance += COVARIANCE_SHRINKAGE * max(np.trace(covariance) / len(covariance), 1e-12) * np.eye(len(covariance))
    return means, linalg.inv(covariance)


def _squared_distance(scores: NDArray, means: NDArray, inverse: NDArray) -> NDArray[np.float64]:
    apart = scores - means
    return np.einsum("nd,de,ne->n", apart, inverse, apart, optimize=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogisticWeights:
    """Of a logistic regression on features (F,): `scale` (F,) divides them first."""

    scale: NDArray[np.float64]
    slope: NDArray[np.float64]
    base: float

    def log_odds(self, features: NDArray) -> NDArray[np.float64]:
        """(...,) for features (..., F), in nats."""
        return features @ (self.slope / self.scale) + self.base


def fit_logistic(features: NDArray, truth: NDArray, offset: NDArray, towards: LogisticWeights | None = None) -> LogisticWeights:
    """Logistic regression on features (n, F) and truth (n,); `offset` (n,): log-odds that are given.

    `towards`: weights that the slopes are shrunk to; zero where None.
    """
    scale = towards.scale if towards else np.maximum(features.std(axis=0, dtype=np.float64), 1e-6)
    x = features / scale
    middle = towards.slope if towards else np.zeros(x.shape[1])
    strength = GROUP_SHRINKAGE if towards else POOLED_RIDGE
    signs = np.where(truth, 1.0, -1.0)

    def loss(w: NDArray) -> tuple[float, NDArray]:
        margins = signs * (x @ w[:-1] + w[-1] + offset)
        pull = -signs * special.expit(-margins)
        away = w[:-1] - middle
        value = np.logaddexp(0.0, -margins).sum() + 0.5 * strength * (away @ away)
        return float(value), np.concatenate([pull @ x + strength * away, [pull.sum()]])

    begin = np.concatenate([middle, [towards.base if towards else 0.0]])
    bounds = [(0.0, None)] * x.shape[1] + [(None, None)]  # each kind of evidence speaks for a term, never against it
    found = optimize.minimize(loss, begin, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 200})
    return LogisticWeights(scale=scale, slope=found.x[:-1], base=float(found.x[-1]))


def fit_pooled(parts: Sequence[tuple[NDArray, NDArray, NDArray]]) -> LogisticWeights:
    """One regression on (features, truth, offset) of several groups."""
    features, truth, offset = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return fit_logistic(features, truth, offset)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Of one group of terms.

    single             whether an item has at most one value of it
    score, share       borders of the isotonic steps
    threshold          the least probability of a tag that is given; `NEVER` where no threshold reaches the precision
    novelty_features   places of the features that say whether an item is like those that have its value
    novelty            None: all items count as typical
    """

    weights: LogisticWeights
    single: bool
    score: NDArray[np.float64]
    share: NDArray[np.float64]
    threshold: float
    novelty_features: tuple[int, ...] = ()
    novelty: NoveltyDetector | None = None

    def probabilities(self, features: NDArray, prior: NDArray) -> NDArray[np.float64]:
        """(n, T) for features (n, T, F); where an item has at most one value, 0 for all but its best, and for that one, too,
        where the item does not look like those that have it.
        """
        scores = _candidate_scores(self.weights, features, prior, single=self.single)
        shares = np.interp(scores, self.score, self.share, left=0.0)
        if self.novelty is not None:
            shares[~self.novelty.is_typical(_flat(features, self.novelty_features), scores.argmax(axis=1))] = 0.0
        return shares


def calibrate(
    features: NDArray,
    truth: NDArray,
    prior: NDArray,
    *,
    pooled: LogisticWeights,
    single: bool,
    precision: float,
    novelty_features: Sequence[int] = (),
) -> Calibration:
    """`features` (n, T, F) of known items, `truth` (n, T), `prior` (T,) log-odds of the terms; the rest as in `Calibration`."""
    n, width, kinds = features.shape
    fold = np.random.default_rng(SEED).permutation(n) % FOLDS
    scores = np.zeros((n, width))

    def fitted(rows: NDArray) -> LogisticWeights:
        offset = np.tile(prior, len(rows))
        return fit_logistic(features[rows].reshape(-1, kinds), truth[rows].ravel(), offset, pooled)

    for part in range(FOLDS):
        left, rest = np.flatnonzero(fold == part), np.flatnonzero(fold != part)
        if len(left) and len(rest):
            scores[left] = _candidate_scores(fitted(rest), features[left], prior, single=single)
    given = np.isfinite(scores)
    score, share = _isotonic(scores[given], truth[given])
    novelty = None
    if single and len(novelty_features):
        looks = _flat(features, novelty_features)
        novelty = NoveltyDetector.fit(looks, truth.argmax(axis=1), width, fold)
        if novelty is not None:
            given &= novelty.is_typical(looks, scores.argmax(axis=1))[:, None]
    return Calibration(
        weights=fitted(np.arange(n)),
        single=single,
        score=score,
        share=share,
        threshold=_threshold(np.interp(scores, score, share, left=0.0)[given], truth[given], precision),
        novelty_features=tuple(novelty_features),
        novelty=novelty,
    )


def _flat(features: NDArray, places: Sequence[int]) -> NDArray[np.float64]:
    """(n, T · len(places)) the features at `places` of each term, of features (n, T, F)."""
    return features[:, :, list(places)].reshape(len(features), -1).astype(np.float64)


def _candidate_scores(weights: LogisticWeights, features: NDArray, prior: NDArray, *, single: bool) -> NDArray[np.float64]:
    """(n, T) log-odds; where only one value can be true they compete, and all but the best are -inf."""
    scores = weights.log_odds(features) + prior
    if not single:
        return scores
    total = np.maximum(special.logsumexp(scores, axis=1, keepdims=True), 0.0)
    odds = scores - total
    odds = odds - np.log1p(-np.minimum(np.exp(odds), 1 - 1e-9))  # from shares that compete back to log-odds
    best = odds.argmax(axis=1, keepdims=True)
    return np.where(np.arange(odds.shape[1]) == best, odds, -np.inf)


def _isotonic(scores: NDArray, truth: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores ascending and the share that is true at each: ends of the steps of the isotonic fit."""
    order = np.argsort(scores, kind="stable")
    fit = optimize.isotonic_regression(truth[order].astype(float))
    low, high = fit.blocks[:-1], fit.blocks[1:] - 1
    size = np.diff(fit.blocks).astype(float)
    level = np.maximum.accumulate(fit.x[low] * size / (size + DOUBT))  # a step of few items is believed less
    ordered = scores[order]
    return np.stack([ordered[low], ordered[high]], 1).ravel(), np.repeat(level, 2)


def _threshold(probability: NDArray, truth: NDArray, precision: float) -> float:
    """The least probability (of n candidates) above which the precision is reached; `NEVER` where nothing reaches it."""
    order = np.argsort(-probability, kind="stable")
    chance, right = probability[order], truth[order]
    seen = np.cumsum(right) / (np.arange(1, len(right) + 1) + DOUBT)
    last = np.append(chance[:-1] != chance[1:], True) if len(chance) else np.zeros(0, bool)  # ties go together
    fits = np.flatnonzero((seen >= precision) & last & (chance >= MIN_PROBABILITY))
    return float(chance[fits[-1]]) if len(fits) else NEVER
