"""Which items follow which, in closed form: a decayed count of ordered pairs of events, normalised on both sides.

    T[i, j] = Σ over pairs of one person, i before j at distance d, of 0.5^((d-1) / half_life)
    K = D_row^-½ (T + backward · Tᵀ) D_col^-½,  degrees smoothed as in `behaviour`

A history scores item j by Σ_h recency(h) · K[h, j]. The logarithm of that score is a logit over items: it teaches the retriever
during training. Neighbour models of this kind are hard to beat on short sessions (Ludewig and Jannach, 2018).
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from genrec.retrieval.sequences import Sequences

REACH = 8
"""Pairs are counted up to this many half-lives apart: those further apart weigh less than 1/200."""


def transitions(train: Sequences, *, half_life: float = 8.0, backward: float = 0.4, smoothing: float = 10.0) -> sparse.csr_array:
    """K as (N, N) float32; row: item of the history, column: item to find. `backward` weighs pairs in the reverse order."""
    n_items = len(train.item_ids)
    users, items = train.users, train.items
    rows: list[NDArray] = []
    columns: list[NDArray] = []
    values: list[NDArray] = []
    for distance in range(1, min(int(REACH * half_life), int(train.lengths.max(initial=0)) - 1) + 1):
        same = users[distance:] == users[:-distance]
        before, after = items[:-distance][same], items[distance:][same]
        weight = 0.5 ** ((distance - 1) / half_life)
        rows += [before, after]
        columns += [after, before]
        values += [np.full(len(before), weight, np.float32), np.full(len(before), backward * weight, np.float32)]
    if not rows:
        return sparse.csr_array((n_items, n_items), dtype=np.float32)
    counted = sparse.csr_array(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(n_items, n_items), dtype=np.float32
    )
    left = 1.0 / np.sqrt(np.asarray(counted.sum(axis=1)).ravel() + smoothing)
    right = 1.0 / np.sqrt(np.asarray(counted.sum(axis=0)).ravel() + smoothing)
    return (sparse.diags_array(left) @ counted @ sparse.diags_array(right)).tocsr().astype(np.float32)
