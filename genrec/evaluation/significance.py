"""How sure a figure is: the paired bootstrap over people, and Holm's correction for many comparisons.

People are drawn with replacement, as many as there are (Efron 1979; paired over systems: Koehn, EMNLP 2004; Sakai, SIGIR 2006).
Every column of a call meets the same draws, so differences between systems are paired. A person with several rows is drawn as a
whole. A draw is kept as its multinomial counts, so that all draws of all columns are one matrix product.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from genrec.errors import EvaluationError
from genrec.evaluation.results import MAIN, Difference, Estimate

RESAMPLES = 10_000
LEVEL = 0.95
CHUNK_CELLS = 8_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Interval:
    """Mean with its percentile interval; `p` two-sided against a mean of 0, the smallest being 2 / (resamples + 1); `n` rows."""

    mean: float
    low: float
    high: float
    p: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bootstrap:
    """`people` (U,) number of each row's person. Raises EvaluationError for fewer than 100 resamples."""

    people: NDArray[np.integer]
    resamples: int = RESAMPLES
    seed: int = 0
    level: float = LEVEL

    def __post_init__(self) -> None:
        if self.resamples < 100 or not 0 < self.level < 1:
            raise EvaluationError(
                f"bootstrap: {self.resamples} resamples at level {self.level}",
                hint="At least 100 resamples, a level such as 0.95.",
            )

    def means(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(R, M) mean of each column of `values` (U, M) in each draw; NaN cells are left out, a draw without any is NaN."""
        _, owner = np.unique(self.people, return_inverse=True)
        there = ~np.isnan(values)
        patterns, pattern_of = np.unique(there, axis=1, return_inverse=True)  # few: most columns lack the same rows
        totals = _summed(owner, np.where(there, values, 0.0))
        counts = _summed(owner, patterns.astype(np.float64))
        columns = np.concatenate([totals, counts], axis=1)
        drawn = self._drawn(columns)
        upper, lower = drawn[:, : values.shape[1]], drawn[:, values.shape[1] :][:, pattern_of.ravel()]
        return np.divide(upper, lower, out=np.full(upper.shape, np.nan), where=lower > 0)

    def intervals(self, values: NDArray[np.float64]) -> list[Interval | None]:
        """One for each column of `values` (U, M); None for a column that is NaN throughout."""
        if not values.shape[1]:
            return []
        draws = self.means(values)
        return [self._interval(values[:, column], draws[:, column]) for column in range(values.shape[1])]

    def _drawn(self, columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """(R, M) sum of the columns (P, M) over the people of each draw."""
        n = len(columns)
        rng = np.random.default_rng(self.seed)
        chunk = max(1, CHUNK_CELLS // max(1, n))
        parts = []
        for start in range(0, self.resamples, chunk):
            size = min(chunk, self.resamples - start)
            drawn = rng.integers(n, size=(size, n)) + np.arange(size)[:, None] * n
            parts.append(np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(np.float64) @ columns)
        return np.concatenate(parts)

    def _interval(self, values: NDArray[np.float64], draws: NDArray[np.float64]) -> Interval | None:
        there = values[~np.isnan(values)]
        draws = draws[~np.isnan(draws)]
        if not len(there) or not len(draws):
            return None
        tail = (1 - self.level) / 2
        low, high = np.quantile(draws, [tail, 1 - tail])
        fewer = min((draws <= 0).sum(), (draws >= 0).sum())
        p = min(1.0, 2 * (fewer + 1) / (len(draws) + 1))
        return Interval(float(there.mean()), float(low), float(high), float(p), len(there))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values in the order given (Holm 1979), which bound the chance of any false finding among all of them."""
    order = np.argsort(p_values, kind="stable")
    adjusted, highest = [0.0] * len(p_values), 0.0
    for place, number in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[number]))
        adjusted[number] = highest
    return adjusted


def over_seeds(runs: Sequence[NDArray[np.float64]]) -> tuple[NDArray[np.float64], float | None]:
    """(U,) each person's mean over the seeds, and the standard deviation of the seeds' means (None with fewer than two)."""
    stacked = np.stack(runs)
    if len(runs) < 2:
        return stacked[0], None
    known = ~np.isnan(stacked)
    counts = known.sum(axis=0)
    total = np.where(known, stacked, 0.0).sum(axis=0)
    mean = np.divide(total, counts, out=np.full(counts.shape, np.nan), where=counts > 0)
    means = [row[here].mean() for row, here in zip(stacked, known, strict=True) if here.any()]
    return mean, float(np.std(means, ddof=1)) if len(means) > 1 else None


def _summed(owner: NDArray[np.integer], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(P, M) sums over the rows of each person."""
    n = int(owner.max(initial=-1)) + 1
    if n == len(owner):
        made = np.empty_like(values)
        made[owner] = values
        return made
    made = np.zeros((n, values.shape[1]))
    np.add.at(made, owner, values)
    return made


KEPT = (MAIN, "recall@10", "recall@50", "mrr@10")
"""The metrics that systems are compared on and that slices show, of those measured."""

Columns = Mapping[str, NDArray[np.float64]]


def estimates(columns: Columns, bootstrap: Bootstrap, spreads: Mapping[str, float | None]) -> dict[str, Estimate]:
    """Each column (U,), NaN where a case does not count, to its mean and interval; columns without any value are left out.

    `spreads` has the standard deviation over seeds of those columns that have one.
    """
    if not columns:
        return {}
    found = bootstrap.intervals(np.stack(list(columns.values()), axis=1))
    return {
        name: Estimate(mean=one.mean, low=one.low, high=one.high, n=one.n, sd_over_seeds=spreads.get(name))
        for name, one in zip(columns, found, strict=True)
        if one is not None
    }


def compare(
    people: Mapping[str, Columns], bootstrap: Bootstrap, reference: str
) -> tuple[tuple[Difference, ...], tuple[Difference, ...]]:
    """Every system minus the reference on each kept metric, and every pair of systems on the main one.

    p values are corrected by Holm's method within a metric, over the systems or over the pairs.
    """
    names = list(people)
    others = [(name, reference) for name in names if name != reference]
    metrics = [metric for metric in KEPT if names and metric in people[names[0]]]
    against = [difference for metric in metrics for difference in _family(people, others, metric, bootstrap)]
    return tuple(against), tuple(_family(people, list(combinations(names, 2)), MAIN, bootstrap))


def _family(
    people: Mapping[str, Columns], wanted: Sequence[tuple[str, str]], metric: str, bootstrap: Bootstrap
) -> list[Difference]:
    if not wanted:
        return []
    columns = np.stack([people[one][metric] - people[other][metric] for one, other in wanted], axis=1)
    found = [(pair, one) for pair, one in zip(wanted, bootstrap.intervals(columns), strict=True) if one is not None]
    adjusted = holm([one.p for _, one in found])
    return [
        Difference(system=name, other=other, metric=metric, mean=one.mean, low=one.low, high=one.high, p=one.p, p_holm=p_holm)
        for ((name, other), one), p_holm in zip(found, adjusted, strict=True)
    ]
