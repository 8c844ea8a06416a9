"""Transitions against a naive double loop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.retrieval.item_transitions import REACH, transitions
from genrec.retrieval.sequences import Sequences
from tests.training import world


def naive(train: Sequences, half_life: float, backward: float, smoothing: float) -> np.ndarray:
    n = len(train.item_ids)
    forth = np.zeros((n, n))
    for user in range(len(train.user_ids)):
        history = train.history(user)
        for a, before in enumerate(history):
            for b in range(a + 1, len(history)):
                if b - a <= int(REACH * half_life):
                    forth[before, history[b]] += 0.5 ** ((b - a - 1) / half_life)
    both = forth + backward * forth.T
    return both / np.sqrt(both.sum(1, keepdims=True) + smoothing) / np.sqrt(both.sum(0, keepdims=True) + smoothing)


@given(
    st.lists(st.lists(st.integers(0, 6), max_size=9), max_size=6),
    st.sampled_from([0.25, 1.0, 8.0]),
    st.sampled_from([0.0, 0.4, 1.0]),
    st.sampled_from([1.0, 10.0]),
)
@settings(max_examples=40, deadline=None)
def test_equals_the_double_loop(lists: list[list[int]], half_life: float, backward: float, smoothing: float) -> None:
    train = world.histories(lists, n_items=7)
    made = transitions(train, half_life=half_life, backward=backward, smoothing=smoothing)
    assert made.shape == (7, 7)
    assert made.dtype == np.float32
    assert made.toarray() == pytest.approx(naive(train, half_life, backward, smoothing), abs=1e-5)


def test_time_has_a_direction() -> None:
    kernel = transitions(world.histories([[0, 1], [0, 1]], n_items=2)).toarray()
    assert kernel[0, 1] > kernel[1, 0] > 0
    assert transitions(world.histories([[0], [1]], n_items=2)).nnz == 0
