"""NDCG of one target, against the formula."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from genrec.metrics import accuracy, gain


@given(st.lists(st.integers(0, 60), min_size=1, max_size=30), st.integers(1, 50))
def test_gain_is_the_ndcg_of_one_target(places: list[int], k: int) -> None:
    expected = [1 / math.log2(place + 2) if place < k else 0.0 for place in places]
    assert gain(places, k).tolist() == expected
    lists = np.tile(np.arange(50, dtype=np.int32), (len(places), 1))
    targets = [np.array([place]) for place in places]
    assert accuracy(lists, targets, [k])[f"ndcg@{k}"].tolist() == [
        one if place < 50 else 0.0 for one, place in zip(expected, places, strict=True)
    ]
