"""Words on items in the store: kept, taken back, and left out of what people are learned from."""

import pytest

from genrec.errors import ConfigError, UnknownItemError
from genrec.store.feedback_events import give, take_back
from genrec.store.store import Store
from genrec.types import DISLIKE, FEEDBACK, LIKE, NOT_NOW, SEEN, Event, Item


@pytest.fixture
def full(store: Store) -> Store:
    store.put_items([Item(item_id=name) for name in ("alien", "brazil", "casablanca")])
    store.add_events([Event(user_id="ann", item_id="alien", timestamp=5.0, value=3.0)])
    return store


@pytest.mark.parametrize("kind", FEEDBACK)
def test_it_is_kept_as_events_in_the_order_given(full: Store, kind: str) -> None:
    events = give(full, "ann", ["casablanca", "brazil", "casablanca"], kind, now=100.0)
    assert [(e.item_id, e.kind, e.value) for e in events] == [("casablanca", kind, None), ("brazil", kind, None)]
    assert full.history("ann")[1:] == events
    assert events[0].timestamp < events[1].timestamp


def test_a_clock_put_back_does_not_turn_the_last_word(full: Store) -> None:
    give(full, "ann", ["alien"], LIKE, now=100.0)
    give(full, "ann", ["alien"], DISLIKE, now=50.0)
    assert [e.kind for e in full.history("ann")][-1] == DISLIKE


def test_what_is_wrong_is_refused_and_nothing_kept(full: Store) -> None:
    with pytest.raises(ConfigError, match="love"):
        give(full, "ann", ["alien"], "love")
    with pytest.raises(ConfigError, match="no item"):
        give(full, "ann", [], LIKE)
    with pytest.raises(UnknownItemError, match="brasil") as fault:
        give(full, "ann", ["alien", "brasil"], LIKE)
    assert "brazil" in fault.value.hint
    assert len(full.history("ann")) == 1


def test_the_last_word_is_taken_back_first(full: Store) -> None:
    give(full, "ann", ["alien", "brazil"], DISLIKE, now=100.0)
    give(full, "ann", ["alien"], LIKE, now=200.0)
    give(full, "bob", ["alien"], SEEN, now=300.0)
    gone = take_back(full, "ann")
    assert gone is not None
    assert (gone.item_id, gone.kind) == ("alien", LIKE)
    gone = take_back(full, "ann", "alien")
    assert gone is not None
    assert (gone.item_id, gone.kind) == ("alien", DISLIKE)
    assert take_back(full, "ann", "alien") is None  # the event that is no word on it stays
    assert [(e.item_id, e.kind) for e in full.history("ann")] == [("alien", "interaction"), ("brazil", DISLIKE)]
    assert len(full.history("bob")) == 1
    assert take_back(full, "nobody") is None


def test_nobody_learns_from_what_was_not_chosen(full: Store) -> None:
    for kind in (DISLIKE, SEEN, NOT_NOW):
        give(full, "bob", ["brazil"], kind)
    give(full, "bob", ["casablanca"], LIKE)
    assert full.popularity() == [("alien", 1), ("casablanca", 1)]
    events = full.interactions()
    assert list(events.item_ids) == ["alien", "casablanca"]
    assert full.counts().events == 5
