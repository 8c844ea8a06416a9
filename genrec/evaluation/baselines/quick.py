"""The figure that baselines steer by while they are fitted, on events of their own train part."""

import numpy as np
from numpy.typing import NDArray

from genrec.retrieval.sequences import Sequences


def ndcg(scores: NDArray[np.floating], histories: Sequences, targets: NDArray[np.int32], k: int = 10) -> float:
    """Mean NDCG@k of one target a person, the history left out; targets that tie with others are placed before them."""
    rows = np.arange(len(targets))
    wanted = scores[rows, targets]
    scores = scores.copy()
    scores[histories.users, histories.items] = -np.inf
    place = (scores > wanted[:, None]).sum(axis=1)
    return float(np.where(place < k, 1.0 / np.log2(place + 2.0), 0.0).mean())
