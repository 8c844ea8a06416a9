"""What people said about items, out of their histories: liked, disliked, seen, not now.

The four are kinds of events (`genrec.types.FEEDBACK`). The last word on an item counts: `like` and `dislike` take each other
back, whatever was rated before or after. `seen` and `not-now` say nothing about taste.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from genrec.types import DISLIKE, LIKE, NOT_NOW, NOT_TASTE, Event

DAY = 86_400.0
"""Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinions:
    """A history, sorted by what it says.

    taste     events that speak for the person, oldest first: without disliked items, and with one `like` an item, its last
    liked     items, oldest like first; disliked likewise
    """

    taste: tuple[Event, ...]
    liked: tuple[str, ...]
    disliked: tuple[str, ...]


def opinions(history: Sequence[Event]) -> Opinions:
    """`history` is ordered oldest first."""
    last: dict[str, int] = {}
    for place, event in enumerate(history):
        if event.kind in (LIKE, DISLIKE):
            last.pop(event.item_id, None)  # so that the order is that of the last words
            last[event.item_id] = place
    disliked = {item_id for item_id, place in last.items() if history[place].kind == DISLIKE}
    taste = tuple(
        event
        for place, event in enumerate(history)
        if event.kind not in NOT_TASTE and event.item_id not in disliked and (event.kind != LIKE or last[event.item_id] == place)
    )
    liked = tuple(item_id for item_id in last if item_id not in disliked)
    return Opinions(taste=taste, liked=liked, disliked=tuple(item_id for item_id in last if item_id in disliked))


def in_force(history: Sequence[Event], *, now: float, not_now_days: float) -> list[Event]:
    """Without the `not-now` events that have run out. `now`: seconds since 1970 UTC."""
    return [event for event in history if event.kind != NOT_NOW or now < event.timestamp + not_now_days * DAY]
