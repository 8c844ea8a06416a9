"""Histories as buckets: gaps, values, names that a model knows."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.retrieval.event_features import GAPS, VALUES, EventSpace, sequences_of
from genrec.types import Event
from tests.training import world

NAN = float("nan")


def test_gaps_grow_by_factors_of_four_and_begin_anew_with_each_person() -> None:
    times = [0.0, 0.0, 1.0, 5.0, 21.0, 1e30, 100.0, 100.5]
    made = world.histories([[0, 1, 2, 3, 4, 5], [6, 7]], times=times)
    assert EventSpace.fit(made).columns(made)["gaps"].tolist() == [0, 0, 1, 2, 3, GAPS - 1, 0, 1]


def test_kinds_and_platforms_keep_their_numbers_whatever_is_asked() -> None:
    space = EventSpace.fit(replace(world.events(), kind_names=("view", "buy"), platform_names=("web", "app")))
    assert (space.kinds, space.platforms) == (("view", "buy"), ("web", "app"))
    asked = replace(
        world.histories([[0, 1, 2]]), kind_names=("rent", "buy"), kinds=np.array([1, 0, 1], np.int16), platform_names=("app",)
    )
    columns = space.columns(asked)
    assert columns["kinds"].tolist() == [2, 0, 2]  # 0: never met
    assert columns["platforms"].tolist() == [2, 2, 2]


def test_values_are_told_against_the_mean_so_far() -> None:
    made = replace(world.histories([[0, 1, 2, 3], [4, 5]]), values=np.array([3, 5, NAN, 1, 2, 2], np.float32))
    space = EventSpace.fit(made)
    assert space.spread == pytest.approx(float(np.std([0, 2, -2, 0, 0])))
    values = space.columns(made)["values"]
    middle = 1 + (VALUES - 1) // 2
    assert values[[0, 4, 5]].tolist() == [middle] * 3
    assert values[1] > middle > values[3] > 0 == values[2]
    assert values.max() < VALUES
    flat = replace(made, values=np.full(6, 4, np.float32))
    assert not EventSpace.fit(flat).columns(flat)["values"].any()
    assert not EventSpace.fit(replace(made, values=np.full(6, NAN, np.float32))).columns(made)["values"].any()


@given(st.integers(0, 5), st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_a_later_event_never_changes_an_earlier_number(place: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    space = EventSpace.fit(world.events())
    plain = replace(
        world.histories([list(range(6))], times=np.sort(rng.uniform(0, 1e6, 6)).tolist()),
        values=rng.choice([NAN, 1.0, 3.0, 5.0], 6).astype(np.float32),
    )
    values, times = plain.values.copy(), plain.timestamps.copy()
    values[place:] = rng.choice([NAN, 2.0, 4.0], 6 - place)
    times[place:] += np.cumsum(rng.exponential(1e5, 6 - place))
    one, other = space.columns(plain), space.columns(replace(plain, values=values, timestamps=times))
    for name in one:
        assert np.array_equal(one[name][:place], other[name][:place])


def test_saved_and_read_it_is_the_same() -> None:
    space = EventSpace.fit(world.events())
    assert EventSpace.from_json(json.loads(json.dumps(space.to_json()))) == space
    assert EventSpace.fit(world.histories([[], []])) == EventSpace(kinds=(), platforms=(), spread=0.0)


def test_events_of_the_store() -> None:
    history = [
        Event(user_id="u", item_id="b", timestamp=1.0, kind="buy", value=4.0, platform="app"),
        Event(user_id="u", item_id="unknown", timestamp=2.0, kind="other"),
        Event(user_id="u", item_id="a", timestamp=3.0, kind="view"),
    ]
    made = sequences_of([history, [], history[2:]], ("a", "b"), {"a": 0, "b": 1})
    assert [made.history(n).tolist() for n in range(3)] == [[1, 0], [], [0]]
    assert [made.kind_names[n] for n in made.kinds] == ["buy", "view", "view"]
    assert [made.platform_names[n] for n in made.platforms] == ["app", "", ""]
    assert np.array_equal(made.values, np.array([4, NAN, NAN], np.float32), equal_nan=True)
    assert made.timestamps.tolist() == [1.0, 3.0, 3.0]
