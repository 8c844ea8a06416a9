import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.errors import DataError
from genrec.retrieval.item_vectors import unit_rows
from genrec.retrieval.mean_profile import event_weights, leave_one_out, user_vector
from genrec.types import Event


def events(*values: float | None) -> list[Event]:
    return [Event(user_id="u", item_id=str(place), value=value) for place, value in enumerate(values)]


def test_weights_halve_with_places_back() -> None:
    np.testing.assert_allclose(event_weights(events(None, None, None), half_life=1.0, negative_value=0.0), [0.25, 0.5, 1.0])
    np.testing.assert_allclose(event_weights(events(None, None, None), half_life=2.0, negative_value=0.0)[0], 0.5)


def test_values_are_judged_against_the_users_own_mean() -> None:
    def weigh(*values: float | None, negative: float = 0.25) -> list[float]:
        return event_weights(events(*values), half_life=1e9, negative_value=negative).round(6).tolist()

    assert weigh(5.0, 1.0, 3.0) == [1.0, 0.25, 1.0]
    assert weigh(2.0, 2.0) == [1.0, 1.0]
    assert weigh(0.1, 0.1, 0.1) == [1.0, 1.0, 1.0]
    assert weigh(5.0, None, 1.0) == [1.0, 1.0, 0.25]
    assert weigh(5.0, 1.0, negative=1.0) == [1.0, 1.0]


def test_user_vector_is_the_weighted_mean() -> None:
    rows = np.eye(3, dtype=np.float32)
    user = user_vector(["a", "b", "c"], rows, np.array([0.0, 3.0, 4.0]))
    assert user is not None
    assert user.item_ids == ("b", "c")
    np.testing.assert_allclose(user.vector, [0.0, 0.6, 0.8], atol=1e-6)
    np.testing.assert_allclose(user.weights, [3 / 7, 4 / 7], atol=1e-6)


def test_a_repeated_item_is_one_entry_at_its_latest_place() -> None:
    rows = np.eye(2, dtype=np.float32)
    user = user_vector(["a", "b", "a"], rows[[0, 1, 0]], np.array([1.0, 1.0, 2.0]))
    assert user is not None
    assert user.item_ids == ("b", "a")
    np.testing.assert_allclose(user.weights, [0.25, 0.75])


def test_no_positive_weight_gives_none_and_lengths_must_agree() -> None:
    rows = np.eye(2, dtype=np.float32)
    assert user_vector([], rows[:0], np.zeros(0)) is None
    assert user_vector(["a", "b"], rows, np.zeros(2)) is None
    with pytest.raises(DataError, match="1 items, 2 vectors"):
        user_vector(["a"], rows, np.ones(2))


def naive(ids: list[str], rows: np.ndarray, weights: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Drop each item, make the user vector anew, score again."""

    def scores(kept: list[int]) -> np.ndarray:
        total = sum((weights[i] * rows[i].astype(float) for i in kept), np.zeros(rows.shape[1]))
        length = np.linalg.norm(total)
        return shown.astype(float) @ (total / length if length > 1e-9 else total * 0)

    everything = scores(list(range(len(ids))))
    out = np.zeros((len(shown), len(ids)))
    for h in range(len(ids)):
        rest = scores([i for i in range(len(ids)) if i != h])
        out[:, h] = [np.clip((s - r) / s, -1, 1) if s > 1e-9 else 0.0 for s, r in zip(everything, rest, strict=True)]
    return out


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 6), st.floats(-0.5, 2.0))
def test_leave_one_out_equals_the_plain_loop(seed: int, history: int, shown: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    rows = unit_rows(rng.normal(size=(history, 5)) + shift)
    items = unit_rows(rng.normal(size=(shown, 5)) + shift)
    ids = [str(place) for place in range(history)]
    user = user_vector(ids, rows, 0.1 + rng.random(history))
    assert user is not None
    falls = leave_one_out(user, items)
    assert falls.shape == (shown, history)
    score = items.astype(float) @ user.vector.astype(float)
    steady = np.abs(score) > 1e-2  # nearer to zero the share is a ratio of rounding errors
    np.testing.assert_allclose(falls[steady], naive(ids, rows, user.weights.astype(float), items)[steady], atol=2e-3)


def test_the_only_item_has_share_one_and_the_nearest_item_the_largest_share() -> None:
    rows = np.eye(3, dtype=np.float32)
    alone = user_vector(["a"], rows[:1], np.ones(1))
    assert alone is not None
    assert leave_one_out(alone, rows[:1]).tolist() == [[1.0]]
    user = user_vector(["a", "b", "c"], rows, np.ones(3))
    assert user is not None
    falls = leave_one_out(user, unit_rows(np.array([[0.9, 0.3, 0.1]])))
    assert falls.argmax() == 0
    assert falls[0, 0] > falls[0, 1] > falls[0, 2]
    assert not leave_one_out(user, -rows).any()


def test_dropping_the_cited_item_lowers_the_score_by_its_share() -> None:
    rng = np.random.default_rng(1)
    rows, shown = unit_rows(rng.normal(size=(6, 8)) + 0.5), unit_rows(rng.normal(size=(4, 8)) + 0.5)
    user = user_vector(list("abcdef"), rows, np.ones(6))
    assert user is not None
    falls = leave_one_out(user, shown)
    cited = int(falls[0].argmax())
    rest = [place for place in range(6) if place != cited]
    without = user_vector([user.item_ids[place] for place in rest], rows[rest], np.ones(5))
    assert without is not None
    assert shown[0] @ without.vector == pytest.approx((1 - falls[0, cited]) * (shown[0] @ user.vector), abs=1e-5)
