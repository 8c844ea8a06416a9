"""Figures of people into estimates, and systems against one another."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from genrec.evaluation.results import MAIN, Difference, Estimate
from genrec.evaluation.significance import Bootstrap, holm

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
