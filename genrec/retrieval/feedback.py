"""What people said about items, taken from their histories: liked, disliked, seen, not now.

The four are kinds of events (`genrec.types.FEEDBACK`). The last word on an item counts: `like` and `dislike` take each other
back, whatever was rated before or after. `seen` and `not-now` say nothing about preferences.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from genrec.types import DISLIKE, LIKE, NOT_NOW, NOT_TASTE, Event

DAY = 86_400.0
"""Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """What a history says about a person's preferences.

    positive  events in favour of an item, oldest first: none of a disliked item, and of several likes of an item the last
    liked     items, oldest like first; disliked likewise
    """

    positive: tuple[Event, ...]
    liked: tuple[str, ...]
    disliked: tuple[str, ...]


def preferences_of(history: Sequence[Event]) -> Preferences:
    """`history` is ordered oldest first."""
    last: dict[str, int] = {}
    for place, event in enumerate(history):
        if event.kind in (LIKE, DISLIKE):
            last.pop(event.item_id, None)  # so that the order is that of the last words
            last[event.item_id] = place
    disliked = tuple(item_id for item_id, place in last.items() if history[place].kind == DISLIKE)
    excluded = set(disliked)
    positive = tuple(
        event
        for place, event in enumerate(history)
        if event.kind not in NOT_TASTE and event.item_id not in excluded and (event.kind != LIKE or last[event.item_id] == place)
    )
    return Preferences(positive=positive, liked=tuple(item for item in last if item not in excluded), disliked=disliked)


def in_force(history: Sequence[Event], *, now: float, not_now_days: float) -> list[Event]:
    """The history without `not-now` events that have expired. `now`: seconds since 1970 UTC."""
    return [event for event in history if event.kind != NOT_NOW or now < event.timestamp + not_now_days * DAY]
