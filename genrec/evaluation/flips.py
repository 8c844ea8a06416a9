"""Does a ranker's order depend on the order in which it is handed the candidates?"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from genrec.evaluation.results import OrderFlips
from genrec.ranking.ranker import Ranking

Compared = tuple[Ranking, Ranking, NDArray[np.int64]]
"""The same candidates in the usual order, and in another: candidate `order[i]` of the first is candidate i of the second."""


def flips(compared: Sequence[Compared], *, people: int, shuffles: int) -> OrderFlips:
    """Means over the lists, every list weighing the same. Raises ValueError for a list of fewer than two."""
    own = [(usual.llm, _back(other.llm, order)) for usual, other, order in compared]
    served = [(usual.score, _back(other.score, order)) for usual, other, order in compared]
    return OrderFlips(
        people=people,
        shuffles=shuffles,
        pairs=float(np.mean([flipped_pairs(*both) for both in own])),
        first=float(np.mean([flipped_first(*both) for both in own])),
        served_pairs=float(np.mean([flipped_pairs(*both) for both in served])),
        served_first=float(np.mean([flipped_first(*both) for both in served])),
    )


def flipped_pairs(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Share of the pairs of candidates that one scoring (n,) puts one way round and the other the other; ties do not flip."""
    n = len(one)
    if n < 2:
        raise ValueError("a list of fewer than two candidates has no pairs")
    turned = np.sign(one[:, None] - one) * np.sign(other[:, None] - other) < 0
    return float(turned.sum() / (n * (n - 1)))


def flipped_first(one: NDArray[np.floating], other: NDArray[np.floating]) -> bool:
    """Whether the first by one scoring is beaten in the other."""
    return bool(other[np.argmax(one)] < other.max())


def _back(scores: NDArray[np.floating], order: NDArray[np.int64]) -> NDArray[np.floating]:
    """Scores of the shuffled candidates at their usual places."""
    usual = np.empty_like(scores)
    usual[order] = scores
    return usual
