import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.errors import ConfigError, DataError
from genrec.retrieval import behaviour
from genrec.retrieval.behaviour import Behaviour, behaviour_vectors


def events(seed: int = 0, users: int = 40, items: int = 30, per_user: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two tastes: even users like the first half of the items."""
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(users), per_user)
    item = rng.integers(0, items // 2, size=len(user)) + (user % 2) * (items // 2)
    return user, item, rng.permutation(len(user)).astype(float)


def make(columns: tuple[np.ndarray, np.ndarray, np.ndarray], **changes: float) -> Behaviour:
    options = {"n_items": 32, "dim": 8, "half_life": 4.0} | changes
    return behaviour_vectors(*columns, **options)  # type: ignore[arg-type]


def plain(columns: tuple[np.ndarray, np.ndarray, np.ndarray], n_items: int, half_life: float, smoothing: float) -> np.ndarray:
    """K by the definition: a loop over the pairs of events of each user."""
    users, items, times = columns
    graph = np.zeros((n_items, n_items))
    for user in np.unique(users):
        mine = np.flatnonzero(users == user)
        mine = mine[np.argsort(times[mine], kind="stable")]
        for p, first in enumerate(mine):
            for q, second in enumerate(mine):
                graph[items[first], items[second]] += 0.5 ** (abs(p - q) / half_life)
    degree = graph.sum(axis=1) + smoothing
    return graph / np.sqrt(np.maximum(degree[:, None] * degree[None], 1e-300))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.2, 200.0), st.floats(0.0, 50.0))
def test_operator_equals_the_definition(seed: int, half_life: float, smoothing: float) -> None:
    users, items, times = events(seed, users=6, items=10, per_user=5)
    users, items, times = np.append(users, 99), np.append(items, 3), np.append(times, 0.0)  # a user with one event
    expected = plain((users, items, times), 10, half_life, smoothing)
    order = np.lexsort((times, users))
    present = np.bincount(items, minlength=10) > 0
    column = np.cumsum(present) - 1
    graph = behaviour._Graph(users[order], column[items[order]], int(present.sum()), half_life, smoothing)
    np.testing.assert_allclose(graph.matmat(np.eye(graph.shape[0])), expected[np.ix_(present, present)], atol=1e-9)


def test_items_of_one_taste_lie_together() -> None:
    made = make(events())
    cosine = made.vectors[:30] @ made.vectors[:30].T
    assert cosine[:15, :15].mean() > 0.3 > 0.1 > abs(cosine[:15, 15:30].mean())


def test_rows_are_unit_and_items_without_events_are_missing() -> None:
    made = make(events())
    assert made.vectors.dtype == np.float32
    assert made.vectors.shape == (32, 8)
    assert not made.present[30:].any()
    assert not made.vectors[30:].any()
    np.testing.assert_allclose(np.linalg.norm(made.vectors[:30], axis=1), made.present[:30], atol=1e-5)


def test_same_events_and_seed_give_the_same_bytes_in_any_order_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(behaviour, "DENSE_ITEMS", 4)  # the path of large catalogues
    users, items, times = events()
    shuffle = np.random.default_rng(1).permutation(len(users))
    first = make((users, items, times))
    assert first.vectors.tobytes() == make((users, items, times)).vectors.tobytes()
    np.testing.assert_allclose(first.vectors, make((users[shuffle], items[shuffle], times[shuffle])).vectors, atol=1e-4)


def test_subspace_iteration_and_the_whole_decomposition_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make(events(), dim=3).vectors
    monkeypatch.setattr(behaviour, "DENSE_ITEMS", 4)
    monkeypatch.setattr(behaviour, "PASSES", 60)
    near = make(events(), dim=3).vectors
    np.testing.assert_allclose(near @ near.T, whole @ whole.T, atol=0.02)
    monkeypatch.setattr(behaviour, "PASSES", 0)
    random = make(events(), dim=3).vectors
    assert np.abs(random @ random.T - whole @ whole.T).max() > 0.1


def test_an_item_outside_the_leading_dimensions_is_missing() -> None:
    users, items, times = events()
    made = make((np.append(users, 99), np.append(items, 31), np.append(times, 0.0)), dim=2)
    assert made.popularity[31] == 1
    assert not made.present[31]
    assert not made.vectors[31].any()


def test_blocks_of_columns_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make(events()).vectors
    monkeypatch.setattr(behaviour, "BLOCK_NUMBERS", 1500)  # three columns at a time
    np.testing.assert_allclose(make(events()).vectors, whole, atol=1e-5)


def test_half_life_smoothing_and_order_matter() -> None:
    users, items, times = events()
    base = make((users, items, times)).vectors
    assert np.abs(make((users, items, times), half_life=400.0).vectors - base).max() > 0.05
    assert np.abs(make((users, items, times), smoothing=500.0).vectors - base).max() > 0.05
    assert np.abs(make((users, items, -np.sort(times))).vectors - base).max() > 0.05


def test_neighbours_in_time_are_nearer_than_strangers_in_time() -> None:
    users = np.repeat(np.arange(50), 20)
    items = np.tile(np.arange(20), 50)
    made = behaviour_vectors(users, items, np.tile(np.arange(20.0), 50), n_items=20, dim=20, half_life=2.0)
    assert made.vectors[5] @ made.vectors[6] > made.vectors[5] @ made.vectors[8] > made.vectors[5] @ made.vectors[18]


def test_popularity_counts_people_not_events() -> None:
    made = behaviour_vectors(np.array([0, 0, 1]), np.array([2, 2, 2]), np.zeros(3), n_items=4, dim=2, half_life=1.0)
    assert made.popularity.tolist() == [0, 0, 2, 0]
    assert made.vectors.shape == (4, 1)


def test_no_events_give_no_columns() -> None:
    none = np.zeros(0, int)
    made = behaviour_vectors(none, none, none.astype(float), n_items=3, dim=8, half_life=1.0)
    assert made.vectors.shape == (3, 0)
    assert not made.present.any()


def test_faulty_columns_are_refused() -> None:
    users, items, times = events()
    with pytest.raises(DataError, match="catalogue has 5 items"):
        make((users, items, times), n_items=5)
    with pytest.raises(DataError, match="one column each"):
        make((users[1:], items, times))
    with pytest.raises(DataError, match="timestamp 3"):
        make((users, items, np.where(np.arange(len(times)) == 3, np.nan, times)))
    for changes in ({"dim": 0}, {"half_life": 0.0}, {"half_life": np.inf}, {"smoothing": -1.0}):
        with pytest.raises(ConfigError):
            make((users, items, times), **changes)
