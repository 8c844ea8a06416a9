"""What a person says about items, into the store and out of it again."""

import time
from collections.abc import Sequence

from genrec.errors import ConfigError
from genrec.store.store import Store
from genrec.types import FEEDBACK, Event

STEP = 0.001
"""Seconds between two words of one call: their order is that of their times."""


def give(store: Store, user_id: str, item_ids: Sequence[str], kind: str, *, now: float | None = None) -> list[Event]:
    """Store one event of `kind` for each item, in the order given; returns them. `now`: seconds since 1970 UTC.

    The person need not be known before. Raises ConfigError for another kind or no item, UnknownItemError for an item that the
    store has not: nothing is stored then. Raises DataError, StoreError.
    """
    if kind not in FEEDBACK:
        raise ConfigError(f"kind is {kind!r:.80}", hint=f"It is one of {', '.join(FEEDBACK)}.")
    if not item_ids:
        raise ConfigError("no item is named", hint="Name the items that it is said of.")
    there = store.items(item_ids)
    for item_id in item_ids:
        if item_id not in there:
            store.item(item_id)  # raises, with ids that look alike
    first = time.time() if now is None else now
    if said := _said(store, user_id):
        first = max(first, said[-1].timestamp + STEP)  # the last word counts, also by a clock that was put back
    events = [
        Event(user_id=user_id, item_id=item_id, timestamp=first + n * STEP, kind=kind)
        for n, item_id in enumerate(dict.fromkeys(item_ids))
    ]
    store.add_events(events)
    return events


def take_back(store: Store, user_id: str, item_id: str = "") -> Event | None:
    """Delete the last thing that a person said, of this item or of any; returns it, None where nothing was said."""
    said = [event for event in _said(store, user_id) if item_id in ("", event.item_id)]
    if not said:
        return None
    store.delete_events(said[-1:])
    return said[-1]


def _said(store: Store, user_id: str) -> list[Event]:
    return [event for event in store.history(user_id) if event.kind in FEEDBACK]
