"""Two rankers on one scale."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.ranking.score_fusion import fuse, log_softmax, standardise

FAST = settings(deadline=None, max_examples=60)
SCORES = st.lists(st.floats(-50, 50, width=32), max_size=12).map(lambda row: np.array(row, dtype=np.float64))
PAIRS = st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=1, max_size=12).map(
    lambda rows: np.array(rows, dtype=np.float64)
)


@FAST
@given(SCORES)
def test_standardise(scores: np.ndarray) -> None:
    out = standardise(scores)
    assert out.shape == scores.shape
    if len(scores) and np.std(scores) > 1e-6:
        assert out.mean() == pytest.approx(0, abs=1e-6)
        assert out.std() == pytest.approx(1)
    assert standardise(np.full(5, 3.3)).tolist() == [0.0] * 5


@FAST
@given(SCORES)
def test_log_softmax(scores: np.ndarray) -> None:
    out = log_softmax(scores)
    assert len(out) == len(scores)
    if len(scores):
        assert np.exp(out).sum() == pytest.approx(1)
        np.testing.assert_allclose(out - out[0], scores - scores[0], atol=1e-9)


@FAST
@given(PAIRS, st.floats(0, 1), st.floats(0.1, 100), st.floats(-10, 10))
def test_the_scale_of_either_ranker_does_not_matter(pairs: np.ndarray, weight: float, scale: float, shift: float) -> None:
    llm, retriever = pairs[:, 0], pairs[:, 1]
    expected = fuse(llm, retriever, weight)
    np.testing.assert_allclose(fuse(llm * scale + shift, retriever, weight), expected, atol=1e-8)
    np.testing.assert_allclose(fuse(llm, retriever * scale + shift, weight), expected, atol=1e-8)


@FAST
@given(PAIRS, st.floats(0, 1))
def test_who_is_first_for_both_is_first(pairs: np.ndarray, weight: float) -> None:
    fused = fuse(pairs[:, 0], pairs[:, 1], weight)
    best = np.flatnonzero((pairs == pairs.max(axis=0)).all(axis=1))
    if len(best):
        assert fused[best[0]] == pytest.approx(fused.max())


def test_weights_at_the_ends() -> None:
    llm, retriever = np.array([3.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0])
    assert np.argsort(-fuse(llm, retriever, 1.0)).tolist() == [0, 2, 1]
    assert np.argsort(-fuse(llm, retriever, 0.0)).tolist() == [2, 1, 0]
