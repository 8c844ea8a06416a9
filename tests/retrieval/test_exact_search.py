"""Exact search against the naive computation: every path, every kind of tie, exclusion, and inputs made to defeat the bound."""

from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from genrec.errors import DataError
from genrec.retrieval import exact_search
from genrec.retrieval.exact_search import Exclude, top_k

Floats = NDArray[np.float32]
PRECISIONS: tuple[Literal["bfloat16"], Literal["float32"]] = ("bfloat16", "float32")


def naive(users: Floats, items: Floats, k: int, exclude: Exclude | None = None) -> tuple[NDArray[np.int64], Floats]:
    """Every score in float64, every row sorted whole."""
    scores = users.astype(np.float64) @ items.T.astype(np.float64)
    for row in range(len(users)):
        if exclude is not None:
            scores[row, exclude[1][exclude[0][row] : exclude[0][row + 1]]] = -np.inf
    ids = np.full((len(users), k), -1)
    values = np.full((len(users), k), -np.inf, np.float32)
    for row in range(len(users)):
        best = np.lexsort((np.arange(len(items)), -scores[row]))[:k]
        best = best[scores[row, best] > -np.inf]
        ids[row, : len(best)], values[row, : len(best)] = best, scores[row, best]
    return ids, values


def agree(
    users: Floats, items: Floats, k: int, exclude: Exclude | None = None, precision: exact_search.Precision = "bfloat16"
) -> None:
    """Scores as the naive ones to float32 rounding, and every item shown has the score that it is shown with."""
    ids, scores = top_k(users, items, k, exclude=exclude, precision=precision)
    _, expected = naive(users, items, k, exclude)
    assert ids.shape == scores.shape == (len(users), k)
    assert (ids.dtype, scores.dtype) == (np.int64, np.float32)
    rounding = 4e-7 * (np.linalg.norm(users, axis=1).max(initial=0) * np.linalg.norm(items, axis=1).max(initial=0)) + 1e-37
    assert ((ids >= 0) == (expected > -np.inf)).all()
    some = ids >= 0
    np.testing.assert_allclose(scores[some], expected[some], rtol=0, atol=rounding * np.sqrt(users.shape[1]))
    own = np.einsum("nd,nd->n", items[ids[some]].astype(np.float64), users[np.nonzero(some)[0]].astype(np.float64))
    np.testing.assert_allclose(scores[some], own, rtol=0, atol=rounding * np.sqrt(users.shape[1]))
    for row in range(len(users)):
        assert len(set(ids[row][some[row]])) == some[row].sum()
        assert exclude is None or not set(ids[row]) & set(exclude[1][exclude[0][row] : exclude[0][row + 1]])
        assert (np.diff(scores[row][some[row]]) <= 0).all()


def cloud(seed: int, *shape: int) -> Floats:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks so small that every loop runs several times."""
    for name, value in {"GROUP": 4, "COLUMNS": 64, "ROWS": 8, "FEWEST": 4, "CHUNK": 128, "_GATHERED": 64}.items():
        monkeypatch.setattr(exact_search, name, value)


@pytest.fixture
def never_plain(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each call of the float32 path was given."""
    rows: list[int] = []
    real = exact_search._plain

    def counted(*arguments: object) -> None:
        rows.append(len(arguments[4]))  # type: ignore[arg-type]
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(exact_search, "_plain", counted)
    return rows


@pytest.mark.parametrize("precision", PRECISIONS)
def test_large_enough_for_real_blocks(precision: exact_search.Precision, never_plain: list[int]) -> None:
    users, items = cloud(1, 530, 48), cloud(2, 20_011, 48)
    agree(users, items, 20, precision=precision)
    assert never_plain == [0]  # the coarse pass decided all of it


@pytest.mark.parametrize("precision", PRECISIONS)
@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_any_shape_with_exclusion(precision: exact_search.Precision, data: st.DataObject) -> None:
    n_users, n_items = data.draw(st.integers(0, 20)), data.draw(st.integers(0, 700))
    dim, k = data.draw(st.integers(1, 40)), data.draw(st.sampled_from([1, 3, 10, 200, 800]))
    seed = data.draw(st.integers(0, 1_000))
    rng = np.random.default_rng(seed)
    users, items = cloud(seed, n_users, dim), cloud(seed + 1, n_items, dim)
    items *= rng.choice([1e-3, 1.0, 50.0], (n_items, 1)).astype(np.float32)  # lengths that differ much
    counts = rng.choice([0, 1, n_items // 3, n_items], n_users) if n_items else np.zeros(n_users, int)
    excluded = [rng.permutation(n_items)[:count] for count in counts]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    exclude = offsets, np.concatenate([np.zeros(0, np.int32), *excluded]).astype(np.int32)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"GROUP": 4, "COLUMNS": 64, "ROWS": 8, "FEWEST": 4, "CHUNK": 128, "_GATHERED": 64, "CROWD": 1}.items():
            patch.setattr(exact_search, name, value)
        agree(users, items, k, exclude, precision)
        agree(users, items, k, None, precision)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize("k", [1, 5, 90])
def test_ties_go_to_the_lower_number(small: None, precision: exact_search.Precision, levels: int, k: int) -> None:
    rng = np.random.default_rng(levels)
    users = rng.integers(-levels, levels + 1, (30, 6)).astype(np.float32)  # small integers: every score is exact
    users[4] = 0.0
    items = rng.integers(-levels, levels + 1, (1_500, 6)).astype(np.float32)
    ids, scores = top_k(users, items, k, precision=precision)
    expected = naive(users, items, k)
    np.testing.assert_array_equal(ids, expected[0])
    np.testing.assert_array_equal(scores, expected[1])
    assert ids[4].tolist() == list(range(k))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_same_vector_scores_the_same_wherever_it_lies(precision: exact_search.Precision, never_plain: list[int]) -> None:
    users, items = cloud(1, 40, 100), cloud(2, 9_000, 100)
    twins = np.random.default_rng(3).choice(9_000, 60, replace=False)
    items[twins] = items[twins[0]] * 3
    users[:] = items[twins[0]] + 0.1 * users
    ids, scores = top_k(users, items, 60, precision=precision)
    assert sum(never_plain) == 0
    assert (ids == np.sort(twins)).all()
    assert (scores == scores[:, :1]).all()


def test_scores_closer_than_bfloat16_can_tell(never_plain: list[int]) -> None:
    base = cloud(5, 1, 64)
    items = (base + 1e-4 * cloud(6, 30_000, 64)).astype(np.float32)  # one bfloat16 vector, nearly, for all of them
    users = (base + 0.1 * cloud(7, 33, 64)).astype(np.float32)
    agree(users, items, 10)
    assert never_plain == [33]  # the bound says so, and float32 decides


def test_a_few_close_rivals_are_scored_again(never_plain: list[int]) -> None:
    users, items = cloud(1, 40, 64), cloud(2, 12_000, 64)
    for row in range(40):  # 60 items for each person, all within the rounding of bfloat16
        items[row * 60 : row * 60 + 60] = users[row] * 2 + 1e-3 * cloud(row, 60, 64)
    agree(users, items, 20)
    assert never_plain == [0]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_few_long_vectors_that_everybody_gets(precision: exact_search.Precision, never_plain: list[int]) -> None:
    users, items = cloud(1, 40, 32), cloud(2, 9_000, 32)
    users[:, 0], items[:, 0] = 3.0, 1.0
    items *= (1 + np.random.default_rng(3).pareto(3.0, (9_000, 1))).astype(np.float32)  # as popularity is spread
    agree(users, items, 50, precision=precision)
    assert never_plain == [0]


@pytest.mark.parametrize("scale", [1e-30, 1e-19, 1e-5, 1e17])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_very_small_and_very_large_numbers(small: None, precision: exact_search.Precision, scale: float) -> None:
    agree(cloud(1, 20, 8) * np.float32(scale), cloud(2, 900, 8) * np.float32(scale), 5, precision=precision)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_all_scores_negative(small: None, precision: exact_search.Precision) -> None:
    agree(-np.abs(cloud(1, 20, 8)), np.abs(cloud(2, 901, 8)), 7, precision=precision)


def test_wide_vectors_keep_the_bound(never_plain: list[int]) -> None:
    agree(cloud(1, 33, 3_000), cloud(2, 4_500, 3_000), 3)
    assert never_plain == [0]


def test_a_bound_that_is_too_small_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests above would fail without the error bound."""
    monkeypatch.setattr(exact_search, "_errors", lambda users, low, items: torch.full((items.blocks, len(users)), -0.5))
    with pytest.raises(AssertionError):
        agree(cloud(1, 64, 64), cloud(2, 20_000, 64), 20)


def test_k_beyond_the_catalogue_and_nothing_at_all() -> None:
    users, items = cloud(1, 3, 4), cloud(2, 5, 4)
    ids, scores = top_k(users, items, 8)
    assert (ids[:, 5:] == -1).all()
    assert np.isneginf(scores[:, 5:]).all()
    assert (np.sort(ids[:, :5], axis=1) == np.arange(5)).all()
    assert top_k(users[:0], items, 2)[0].shape == (0, 2)
    assert (top_k(users, items[:0], 2)[0] == -1).all()


def test_auto_measures_and_uses_bfloat16_only_where_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    users, items = cloud(1, 40, 16), cloud(2, 9_000, 16)
    used: list[torch.dtype] = []
    real = exact_search._prepare

    def prepare(rows: Floats, dtype: torch.dtype, pool: Executor) -> exact_search._Items:
        used.append(dtype)
        return real(rows, dtype, pool)

    monkeypatch.setattr(exact_search, "_prepare", prepare)
    for pays in (True, False):
        monkeypatch.setattr(exact_search, "_bfloat16_pays", lambda dim, pays=pays: pays)
        top_k(users, items, 5)
    top_k(users, items, 5, precision="bfloat16")
    assert used == [torch.bfloat16, torch.float32, torch.bfloat16]


def test_the_measurement_gives_an_answer() -> None:
    assert exact_search._bfloat16_pays(64) in (True, False)


def test_torch_may_be_set_to_multiply_float32_less_exactly() -> None:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        for precision in PRECISIONS:
            agree(cloud(1, 64, 256), cloud(2, 9_000, 256), 20, precision=precision)
            agree(cloud(1, 64, 256), cloud(2, 900, 256), 20, precision=precision)
    finally:
        torch.set_float32_matmul_precision(before)


def test_threads_are_given_back_and_the_answer_does_not_depend_on_them() -> None:
    users, items, before = cloud(1, 300, 16), cloud(2, 9_000, 16), torch.get_num_threads()
    answers = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            answers.append(top_k(users, items, 5, precision="bfloat16"))
            assert torch.get_num_threads() == threads
            with ThreadPoolExecutor(1) as pool:
                assert pool.submit(torch.get_num_threads).result() == threads
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(answers[0][0], answers[1][0])
    np.testing.assert_array_equal(answers[0][1], answers[1][1])


def test_inputs_are_left_as_they_were() -> None:
    users, items = cloud(1, 40, 16), cloud(2, 9_000, 16)
    copies = users.copy(), items.copy()
    top_k(users, items, 5, precision="bfloat16")
    np.testing.assert_array_equal(users, copies[0])
    np.testing.assert_array_equal(items, copies[1])


def test_rows_that_are_not_contiguous() -> None:
    users, items = cloud(1, 80, 32), cloud(2, 9_000, 32)
    halves = top_k(users[::2, ::2], items[:, ::2], 5)
    whole = top_k(users[::2, ::2].copy(), items[:, ::2].copy(), 5)
    np.testing.assert_array_equal(halves[0], whole[0])


@pytest.mark.parametrize(
    ("users", "items", "k", "exclude", "said"),
    [
        (np.zeros((2, 3)), np.zeros((4, 3), "f4"), 1, None, "float64"),
        (np.zeros((2, 3), "f4"), np.zeros((4, 2), "f4"), 1, None, r"\(2, 3\) and items \(4, 2\)"),
        (np.zeros(3, "f4"), np.zeros((4, 3), "f4"), 1, None, r"\(3,\)"),
        (np.zeros((2, 3), "f4"), np.zeros((4, 3), "f4"), 0, None, "for 0 items"),
        (np.array([[1], [np.nan]], "f4"), np.zeros((4, 1), "f4"), 1, None, "user 1 is not finite"),
        (np.zeros((2, 1), "f4"), np.array([[1], [2], [np.inf]], "f4"), 1, None, "item 2 is not finite"),
        (np.full((2, 1), 1e20, "f4"), np.full((2, 1), 1e20, "f4"), 1, None, "do not fit float32"),
        (np.zeros((2, 1), "f4"), np.zeros((4, 1), "f4"), 1, (np.array([0, 1]), np.array([0])), "offsets"),
        (np.zeros((2, 1), "f4"), np.zeros((4, 1), "f4"), 1, (np.array([0, 1, 0]), np.array([], int)), "offsets"),
        (np.zeros((2, 1), "f4"), np.zeros((4, 1), "f4"), 1, (np.array([0, 1, 1]), np.array([4])), "items 4 to 4 of 4"),
    ],
)
def test_wrong_input_is_refused(users: Floats, items: Floats, k: int, exclude: Exclude | None, said: str) -> None:
    with pytest.raises(DataError, match=said):
        top_k(users, items, k, exclude=exclude)
