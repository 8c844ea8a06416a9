"""From evidence to probabilities that can be believed, and to the threshold that gives a wished precision.

Logistic regression a group, drawn towards that of all groups together, cross-fitted: what an item is given comes from weights
that have not seen it. Isotonic regression makes shares of the scores (Zadrozny & Elkan, 2002); the threshold is the lowest one
above which the wished share of tags was right on the known items. Shares say nothing of an item unlike all that are known, so
where an item has one value at most it must also look like the items that have it (`tag_novelty`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize, special

TYPICAL = 0.98
"""Share of the known items that count as typical of their value: so much recall is given for not naming what is unknown."""
ITEMS_A_SCORE = 3
"""Known items for each score, at least: from fewer no covariance is learned."""
MOST_SCORES = 400
COVARIANCE_SHRINKAGE = 1e-3
"""Of the covariance towards its own mean variance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoveltyDetector:
    """`means` (T, D): of the scores of the items that have a value, NaN for one that none has; `inverse` (D, D) of the covariance
    within values; `limit`: the largest squared distance of a typical item."""

    means: NDArray[np.float64]
    inverse: NDArray[np.float64]
    limit: float

    @classmethod
    def fit(cls, looks: NDArray, value: NDArray[np.int64], values: int, fold: NDArray[np.int64]) -> "NoveltyDetector | None":
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
    covariance += COVARIANCE_SHRINKAGE * max(np.trace(covariance) / len(covariance), 1e-12) * np.eye(len(covariance))
    return means, linalg.inv(covariance)


def _distance(looks: NDArray, means: NDArray, inverse: NDArray) -> NDArray[np.float64]:
    apart = looks - means
    return np.einsum("nd,de,ne->n", apart, inverse, apart, optimize=True)


FOLDS = 5
GROUP_SHRINKAGE = 10.0
"""Strength by which the weights of a group are drawn to those of all groups."""
POOLED_RIDGE = 1.0
LEAST_PROBABILITY = 0.5
"""No tag is given that is more likely wrong than right, whatever the precision of all tags together."""
DOUBT = 1.0
"""The precision that was seen counts one more tag that was wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogisticWeights:
    """Of a logistic regression on features (F,): `scale` (F,) divides them first."""

    scale: NDArray[np.float64]
    slope: NDArray[np.float64]
    base: float

    def log_odds(self, features: NDArray) -> NDArray[np.float64]:
        """(...,) for features (..., F), in nats."""
        return features @ (self.slope / self.scale) + self.base


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Of one group. `score`, `share`: borders of the isotonic steps; `threshold`: the least probability of a tag that is given,
    above 1 where no threshold gives the precision; `precision`: seen above it; `recall`: share of the true terms above it;
    `typical`: of items with one value at most, by the features at `looks`; None: all count as typical."""

    weights: LogisticWeights
    single: bool
    score: NDArray[np.float64]
    share: NDArray[np.float64]
    threshold: float
    precision: float
    recall: float
    looks: tuple[int, ...] = ()
    typical: NoveltyDetector | None = None

    def probabilities(self, features: NDArray, prior: NDArray) -> NDArray[np.float64]:
        """(n, T) for features (n, T, F); where an item has one value at most, 0 for all but its best, and for that one, too,
        where the item does not look like those that have it.
        """
        scores = candidate_scores(self.weights, features, prior, single=self.single)
        shares = np.interp(scores, self.score, self.share, left=0.0)
        if self.typical is not None:
            shares[~self.typical.holds(scores_of(features, self.looks), scores.argmax(axis=1))] = 0.0
        return shares


def fit_logistic(features: NDArray, truth: NDArray, offset: NDArray, towards: LogisticWeights | None = None) -> LogisticWeights:
    """Logistic regression with the log-odds `offset` (n,) as given, on features (n, F) and truth (n,).

    `towards`: weights that the slopes are drawn to; zero where None.
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


def concatenated(parts: Sequence[tuple[NDArray, NDArray, NDArray]]) -> tuple[NDArray, NDArray, NDArray]:
    """Features, truth and offset of several groups as one."""
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]), np.concatenate([p[2] for p in parts])


def candidate_scores(weights: LogisticWeights, features: NDArray, prior: NDArray, *, single: bool) -> NDArray[np.float64]:
    """(n, T) log-odds; where only one value can be true they compete, and all but the best are -inf."""
    scores = weights.log_odds(features) + prior
    if not single:
        return scores
    total = np.maximum(special.logsumexp(scores, axis=1, keepdims=True), 0.0)
    odds = scores - total
    odds = odds - np.log1p(-np.minimum(np.exp(odds), 1 - 1e-9))  # from shares that compete back to log-odds
    best = odds.argmax(axis=1)
    out = np.full_like(odds, -np.inf)
    out[np.arange(len(out)), best] = odds[np.arange(len(out)), best]
    return out


def calibrate(
    features: NDArray,
    truth: NDArray,
    prior: NDArray,
    *,
    pooled: LogisticWeights,
    single: bool,
    precision: float,
    looks: Sequence[int] = (),
    seed: int = 0,
) -> Calibration:
    """`features` (n, T, F) of known items, `truth` (n, T), `prior` (T,) log-odds of the terms. `looks`: places of the features
    that say whether an item is like those that have its value; empty: nothing says so.
    """
    n, width, kinds = features.shape
    fold = np.random.default_rng(seed).permutation(n) % FOLDS
    scores = np.zeros((n, width))

    def fitted(rows: NDArray) -> LogisticWeights:
        offset = np.tile(prior, len(rows))
        return fit_logistic(features[rows].reshape(-1, kinds), truth[rows].ravel(), offset, pooled)

    for part in range(FOLDS):
        left, rest = np.flatnonzero(fold == part), np.flatnonzero(fold != part)
        if len(left) and len(rest):
            scores[left] = candidate_scores(fitted(rest), features[left], prior, single=single)
    given = np.isfinite(scores)
    score, share = _isotonic(scores[given], truth[given])
    typical = (
        NoveltyDetector.fit(scores_of(features, looks), truth.argmax(axis=1), width, fold) if single and len(looks) else None
    )
    if typical is not None:
        given = given & typical.holds(scores_of(features, looks), scores.argmax(axis=1))[:, None]
    threshold, reached, recall = _threshold(np.interp(scores, score, share, left=0.0), truth, given, precision)
    return Calibration(
        weights=fitted(np.arange(n)),
        single=single,
        score=score,
        share=share,
        threshold=threshold,
        precision=reached,
        recall=recall,
        looks=tuple(looks),
        typical=typical,
    )


def _isotonic(scores: NDArray, truth: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores ascending and the share that is true at each: ends of the steps of the isotonic fit."""
    order = np.argsort(scores, kind="stable")
    fit = optimize.isotonic_regression(truth[order].astype(float))
    blocks = fit.blocks
    low, high = blocks[:-1], blocks[1:] - 1
    size = (blocks[1:] - blocks[:-1]).astype(float)
    level = fit.x[low] * size / (size + DOUBT)  # a step of few items is believed less
    level = np.maximum.accumulate(level)
    ordered = scores[order]
    return np.stack([ordered[low], ordered[high]], 1).ravel(), np.repeat(level, 2)


def _threshold(probability: NDArray, truth: NDArray, given: NDArray, precision: float) -> tuple[float, float, float]:
    """(least probability, precision above it, recall); above 1 where nothing reaches the precision."""
    order = np.argsort(-probability[given], kind="stable")
    chance, right = probability[given][order], truth[given][order]
    hits = np.cumsum(right)
    seen = hits / (np.arange(1, len(right) + 1) + DOUBT)
    last = np.append(chance[:-1] != chance[1:], True) if len(chance) else np.zeros(0, bool)  # ties go together
    fits = np.flatnonzero((seen >= precision) & last & (chance >= LEAST_PROBABILITY))
    if not len(fits):
        return 2.0, 0.0, 0.0
    end = int(fits[-1])
    return float(chance[end]), float(hits[end] / (end + 1)), float(hits[end] / max(1, truth.sum()))
