"""Histories as sparse matrices of people × items."""

import numpy as np
from scipy import sparse

from genrec.retrieval.sequences import Sequences


def binary(sequences: Sequences) -> sparse.csr_array:
    """(U, N) float64: 1 where the person has an event on the item."""
    matrix = decayed(sequences, None)
    matrix.data[:] = 1.0
    return matrix


def decayed(sequences: Sequences, half_life: float | None) -> sparse.csr_array:
    """(U, N) float64: 0.5^(places from the end of the history / half_life), summed over repeated events; None: 1 an event."""
    from_end = np.repeat(sequences.lengths, sequences.lengths) - 1 - sequences.places
    weights = np.ones(len(sequences)) if half_life is None else 0.5 ** (from_end / half_life)
    shape = (len(sequences.user_ids), len(sequences.item_ids))
    return sparse.csr_array(sparse.coo_array((weights, (sequences.users, sequences.items)), shape=shape))
