"""Histories as arrays: numbering, cutting, choosing people."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from genrec.errors import DataError
from genrec.retrieval.sequences import Sequences
from genrec.store.records import Interactions
from tests.training import world


def stored() -> Interactions:
    """Events as the store hands them out."""
    return Interactions(
        user_ids=["ann", "bob", "cy"],
        item_ids=["x", "gone", "y"],
        users=np.array([0, 0, 0, 1, 2, 2], np.int32),
        items=np.array([0, 1, 2, 1, 2, 2], np.int32),
        values=np.array([1, 2, 3, 4, 5, 6], np.float32),
        timestamps=np.array([10, 20, 30, 40, 50, 60], np.float64),
        kinds=np.array([0, 1, 1, 0, 1, 0], np.int16),
        kind_names=["view", "buy"],
        platforms=np.zeros(6, np.int16),
        platform_names=["web"],
    )


def test_from_the_store_with_items_that_are_gone_and_items_without_events() -> None:
    made = Sequences.of(stored(), ["new", "y", "x"])
    assert [made.history(n).tolist() for n in range(3)] == [[2, 1], [], [1, 1]]
    assert made.values.tolist() == [1, 3, 5, 6]
    assert made.timestamps.tolist() == [10, 30, 50, 60]
    assert made.kinds.tolist() == [0, 1, 1, 0]
    assert (made.kind_names, made.platform_names) == (("view", "buy"), ("web",))
    assert made.lengths.tolist() == [2, 0, 2]
    assert made.users.tolist() == [0, 0, 2, 2]
    assert made.places.tolist() == [0, 1, 0, 1]
    assert made.popularity().tolist() == [0, 2, 1]  # people, not events
    columns = ("users", "items", "values", "timestamps", "kinds", "platforms")
    none = {name: getattr(stored(), name)[:0] for name in columns}
    bare = replace(stored(), user_ids=[], item_ids=[], kind_names=[], platform_names=[], **none)
    empty = Sequences.of(bare, ["x"])
    assert (len(empty), empty.popularity().tolist()) == (0, [0])


def test_where_and_take_keep_columns_together() -> None:
    whole = world.events()
    kept = whole.where(whole.kinds == 1)
    assert len(kept.user_ids) == len(whole.user_ids)
    for user in range(len(whole.user_ids)):
        of = slice(whole.offsets[user], whole.offsets[user + 1])
        assert kept.history(user).tolist() == whole.items[of][whole.kinds[of] == 1].tolist()
    chosen = np.array([7, 2, 2])
    taken = whole.take(chosen)
    assert taken.user_ids == ("p07", "p02", "p02")
    for row, user in enumerate(chosen):
        of, there = slice(whole.offsets[user], whole.offsets[user + 1]), slice(taken.offsets[row], taken.offsets[row + 1])
        for name in ("items", "timestamps", "values", "kinds", "platforms"):
            assert np.array_equal(getattr(taken, name)[there], getattr(whole, name)[of], equal_nan=name == "values")
    assert len(whole.take(np.zeros(0, int))) == 0


def test_columns_that_do_not_fit_are_refused() -> None:
    one = world.histories([[0, 1]])
    changes: list[dict[str, Any]] = [
        {"values": np.zeros(3, np.float32)},
        {"offsets": np.array([0, 1])},
        {"offsets": np.array([0, 1, 2])},
    ]
    for change in changes:
        with pytest.raises(DataError, match="do not fit"):
            replace(one, **change)
    with pytest.raises(DataError, match="run to 99"):
        replace(one, items=np.array([0, 99], np.int32))
