"""Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998)."""

import numpy as np
from numpy.typing import NDArray


def mmr(relevance: NDArray[np.floating], rows: NDArray[np.float32], k: int, diversity: float) -> list[int]:
    """Positions of at most k of the n candidates, best first.

    Each step takes the largest (1 - diversity) · relevance − diversity · (largest cosine with those taken); ties by position.
    `relevance` (n,) in [0, 1], `rows` (n, D) unit rows. With `diversity` 0 this is the order of relevance.
    """
    n = len(relevance)
    nearest = np.zeros(n)
    free = np.ones(n, bool)
    taken: list[int] = []
    while len(taken) < min(k, n):
        gain = np.where(free, (1.0 - diversity) * relevance - diversity * nearest, -np.inf)
        best = int(np.argmax(gain))
        taken.append(best)
        free[best] = False
        similar = rows @ rows[best]
        nearest = similar if len(taken) == 1 else np.maximum(nearest, similar)
    return taken
