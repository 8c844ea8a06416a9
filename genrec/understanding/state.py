"""A dialogue: its turns, and what holds after them.

The state is a fold over the turns. Taking a turn back is leaving it out; a long dialogue is kept short by folding its oldest
turns into one that says the same.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace

from genrec.filters import Filter
from genrec.understanding.intents import Intent

KEPT_TURNS = 40
"""Turns kept one by one; older ones are summed up in one."""
KEPT_REASONS = 50
"""Latest reasons of the turns that are summed up."""
MOST_CHARS = 500
"""Of a text and a reply that are kept."""
NEEDS = 5
"""Latest wishes in free words that a search looks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one turn said and how it was answered.

    constraints  what had to hold for the items of the answer: parts that all hold
    needs        wishes in free words that counted, the latest last
    without      words that the text of no item is to say
    liked, disliked, seen, put_off, accepted   items, as the turn spoke of them
    mentioned    all items that the turn named
    shown        items of the answer, `reasons` theirs in words
    focus        items that the answer speaks of; `it` is the last of them, until there is a new list
    asked        the attribute that the answer asks for
    choices      items of which one was meant, for the answer to ask back
    reset        the turn began anew: what was asked for and liked before no longer counts
    summed       it stands for many turns that are not kept
    noted        (item, kind of event, seconds since 1970 UTC): what was recorded of the person in this turn
    """

    text: str = ""
    reply: str = ""
    intent: Intent = "small_talk"
    constraints: tuple[Filter, ...] = ()
    needs: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    liked: tuple[str, ...] = ()
    disliked: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    put_off: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    mentioned: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    reasons: tuple[tuple[str, str], ...] = ()
    focus: tuple[str, ...] = ()
    asked: str = ""
    choices: tuple[str, ...] = ()
    reset: bool = False
    summed: bool = False
    noted: tuple[tuple[str, str, float], ...] = ()


@dataclass(slots=True)
class State:
    """What holds after some turns. Sets of items keep the order in which they came; the last word on an item counts."""

    turns: int = 0
    constraints: tuple[Filter, ...] = ()
    needs: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    liked: dict[str, None] = field(default_factory=dict)
    disliked: dict[str, None] = field(default_factory=dict)
    seen: dict[str, None] = field(default_factory=dict)
    put_off: dict[str, None] = field(default_factory=dict)
    accepted: dict[str, None] = field(default_factory=dict)
    mentioned: dict[str, None] = field(default_factory=dict)
    shown: dict[str, None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    these: tuple[str, ...] = ()
    focus: tuple[str, ...] = ()
    asked: dict[str, None] = field(default_factory=dict)
    just_asked: str = ""
    choices: tuple[str, ...] = ()
    choosing: Intent = "recommend"

    @property
    def gone(self) -> frozenset[str]:
        """Items that are not offered again."""
        return frozenset((*self.mentioned, *self.shown, *self.disliked, *self.seen, *self.put_off, *self.accepted))

    def clear(self) -> None:
        """Begin anew: what was shown, seen and disliked still is not offered again."""
        self.constraints, self.needs, self.without, self.focus, self.choices, self.just_asked = (), (), (), (), (), ""
        self.liked, self.accepted, self.asked = {}, {}, {}

    def copy(self) -> "State":
        """One that can go on by itself."""
        own = {one.name: dict(value) for one in fields(self) if isinstance(value := getattr(self, one.name), dict)}
        return replace(self, **own)

    def take(self, turn: Turn) -> None:
        """Go on by one turn."""
        if turn.reset:
            self.clear()
        self.turns += 1
        self.constraints, self.needs, self.without = turn.constraints, turn.needs, turn.without
        for ids, own in ((turn.liked, self.liked), (turn.disliked, self.disliked), (turn.seen, self.seen)):
            for item_id in ids:
                for other in (self.liked, self.disliked):
                    if own is not self.seen:  # whoever has seen an item may like it or not
                        other.pop(item_id, None)
                own[item_id] = None
        self.put_off |= dict.fromkeys(turn.put_off)
        self.accepted |= dict.fromkeys(turn.accepted)
        self.mentioned |= dict.fromkeys(turn.mentioned)
        self.shown |= dict.fromkeys(turn.shown)
        self.reasons |= dict(turn.reasons)
        self.these = turn.shown or self.these
        self.focus = turn.focus if turn.shown else turn.focus or self.focus
        if turn.asked:
            self.asked[turn.asked] = None
        self.just_asked = turn.asked
        self.choices, self.choosing = turn.choices, turn.intent


def state_of(turns: Iterable[Turn]) -> State:
    """What holds after these turns."""
    state = State()
    for turn in turns:
        state.take(turn)
    return state


def kept(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """The turns as they are stored: texts cut, and all but the latest `KEPT_TURNS` in one. What holds after them stays."""
    short = [replace(turn, text=turn.text[:MOST_CHARS], reply=turn.reply[:MOST_CHARS]) for turn in turns]
    if len(short) <= KEPT_TURNS:
        return tuple(short)
    old = state_of(short[: len(short) - KEPT_TURNS + 1])
    summed = Turn(
        intent=old.choosing,
        constraints=old.constraints,
        needs=old.needs,
        without=old.without,
        liked=tuple(old.liked),
        disliked=tuple(old.disliked),
        seen=tuple(old.seen),
        put_off=tuple(old.put_off),
        accepted=tuple(old.accepted),
        mentioned=tuple(old.mentioned),
        shown=(*(one for one in old.shown if one not in old.these), *old.these),
        reasons=tuple(old.reasons.items())[-KEPT_REASONS:],
        focus=old.focus,
        asked=old.just_asked,
        choices=old.choices,
        summed=True,
    )
    return (summed, *short[len(short) - KEPT_TURNS + 1 :])
