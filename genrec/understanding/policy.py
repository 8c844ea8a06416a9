"""From what a turn says to what is to be done: `drafted(understood, state, …)` settles whom and what the turn speaks of."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from genrec.filters import Not
from genrec.types import Item
from genrec.understanding.constraint_changes import (
    Command,
    alike,
    either,
    freed,
    merged,
    steered,
    unlike,
    without_dropped,
    without_measure,
    without_parts,
)
from genrec.understanding.filter_text import all_of, attributes_of, parts_of
from genrec.understanding.intents import Intent
from genrec.understanding.linking import Mention
from genrec.understanding.negation import standing, without_refused
from genrec.understanding.parser import Understood
from genrec.understanding.quantities import lowered
from genrec.understanding.state import NEEDS, State, Turn
from genrec.understanding.titles import year_of
from genrec.understanding.vocabulary import Vocabulary

FINDING: frozenset[Intent] = frozenset(("recommend", "refine", "more_like", "something_else", "reject"))
"""Intents that are answered with a list."""
BELIEVED = 0.5
"""A mention believed less is passed over."""
NAMESAKES = 3
"""Most items of one name that are asked back about."""
FORGOTTEN = 0.1
"""A namesake chosen by fewer people, against the first, is not what is meant."""

_SEEN = re.compile(r"\b(?:seen|saw|watched|read|own|have|know|played|bought|tried)\b")
_DISLIKED = re.compile(r"(?:n['’]?t|\bnot|\bnever)\s+(?:\w+\s+)?(?:like|enjoy|care|love)\b|\b(?:hate|hated|dislike|disliked)\b")
_LATER = re.compile(
    r"\b(?:not\s+(?:right\s+)?now|not\s+(?:today|tonight|this\s+time)|(?:maybe\s+)?(?:later|another\s+time|some\s+other\s+time))\b"
)
_LOVED = re.compile(r"\b(?:lik(?:e|ed)|lov(?:e|ed)|enjoy(?:ed)?)\s+(?:it|that|this|them|those|these|all|both)\b")
_SAME = re.compile(r"^\W*(?:and|but|only|just|also|with|in|without)\b|\bsame\b|\b(?:ones?|them|those|these)\b(?!\s+of)")
"""Words that go on from what was asked for before."""
_NOT_YET = re.compile(r"^\W*(?:no|nope|nah|hmm+|not\s+(?:quite|really|exactly|it))\b(?:\W|\s*$)|\bmake\s+(?:it|that)\b")
"""Words that find fault with the list: what was wished before still is."""
_NEVER_MIND = re.compile(r"^\W*(?:(?:no|ok(?:ay)?|actually|hmm+|oh)\W+)*(?:never\s*mind|nvm|forget\s+(?:it|that))\b")
_YES = re.compile(
    r"(?:\W|\b(?:yes|yeah|yep|yup|sure|ok|okay|fine|please|perfect|great|good|cool|nice|alright|absolutely|of|course|that|sounds|works|thanks?|you)\b)*",
    re.IGNORECASE,
)
_MANY = re.compile(r"\b(?:these|those|them|they|all|both)\b")
_YEAR = re.compile(r"\b(1[89]\d\d|20\d\d)\b")
_OLDER = re.compile(r"\b(?:original|old(?:er|est)?|earlier|first)\b")
_NEWER = re.compile(r"\b(?:remake|new(?:er|est)?|later|latest|recent)\b")


@dataclass(frozen=True, slots=True)
class Draft:
    """A turn before it is answered. `alone`: only the items that it names say what is wanted (`more like this`)."""

    turn: Turn
    alone: bool = False


def drafted(
    understood: Understood,
    state: State,
    command: Command,
    items: Mapping[str, Item],
    popularity: Callable[[str], float],
    vocabulary: Vocabulary,
) -> Draft:
    """`items` holds what is mentioned, shown last, and to choose from; `popularity`: how many people chose an item."""
    low = lowered(understood.text)
    named, choices = _resolved(understood.mentions, understood, state, items, popularity)
    chosen = _choice(low, understood, state, items)
    if chosen:  # its words say which item is meant, and nothing else
        understood = replace(understood, filter=None, steers=(), need="", without=())
    intent = _intent(understood, state, command, bool(chosen))
    turn = Turn(
        text=understood.text,
        intent=intent,
        constraints=state.constraints,
        needs=state.needs,
        without=state.without,
        reset=command.reset,
        liked=_of(understood.liked, named),
        disliked=_of(understood.disliked, named),
        seen=_of(understood.seen, named),
        mentioned=tuple(dict.fromkeys(named.values())),
    )
    if chosen:
        turn = replace(turn, mentioned=(chosen,), liked=(chosen,) if intent in FINDING else ())
    elif choices and intent in ("ask", "compare", "more_like", "recommend", "refine"):
        return Draft(replace(turn, choices=choices, mentioned=()))
    turn = _spoken_of_shown(turn, low, state)
    if intent in FINDING:
        turn = _wished(turn, understood, state, command, items, vocabulary)
    alone = intent == "more_like" and bool(turn.focus)
    return Draft(turn, alone)


def _intent(understood: Understood, state: State, command: Command, chosen: bool) -> Intent:
    if chosen:
        return state.choosing
    if command.indifferent or (command.free and understood.intent in ("accept", "reject", "small_talk", "ask")):
        return "something_else"
    if state.just_asked and understood.intent == "accept" and not understood.mentions and _YES.fullmatch(understood.text):
        return "something_else"  # `yes` says nothing about a choice
    taken = understood.intent == "accept" and not understood.mentions and bool(state.focus)
    if taken and set(state.focus) <= set(state.accepted) and not _LOVED.search(lowered(understood.text)):
        return "small_talk"  # it is taken already: `great, thanks`
    if understood.intent in ("why", "accept", "reject", "something_else") and not state.shown and not understood.mentions:
        return "recommend" if understood.need or understood.filter else "small_talk"
    return understood.intent


def _resolved(
    mentions: Sequence[Mention],
    understood: Understood,
    state: State,
    items: Mapping[str, Item],
    popularity: Callable[[str], float],
) -> tuple[dict[Mention, str], tuple[str, ...]]:
    """Which item each mention means, and the namesakes of the first that is to be asked back about."""
    known = {**dict.fromkeys(state.these), **state.mentioned, **state.shown}
    named: dict[Mention, str] = {}
    choices: tuple[str, ...] = ()
    for mention in mentions:
        if mention.score < BELIEVED:
            continue
        spoken = [item_id for item_id in mention.item_ids if item_id in known]
        named[mention] = spoken[0] if spoken else mention.item_ids[0]
        if not spoken and not choices and mention.kind == "exact" and mention not in understood.seen:
            choices = _namesakes(mention, items, popularity)
    return named, choices


def _namesakes(mention: Mention, items: Mapping[str, Item], popularity: Callable[[str], float]) -> tuple[str, ...]:
    """Items of one name that may be meant as well; none where one stands out, or where there are too many to list."""
    ids = [item_id for item_id in mention.item_ids if item_id in items]
    most = max(map(popularity, ids), default=0.0)
    ids = [item_id for item_id in ids if popularity(item_id) >= FORGOTTEN * most]
    distinct = len({(items[item_id].title, year_of(items[item_id])) for item_id in ids}) == len(ids)
    return tuple(ids) if 2 <= len(ids) <= NAMESAKES and distinct else ()


def _choice(low: str, understood: Understood, state: State, items: Mapping[str, Item]) -> str:
    """Which of the items that were asked back about is meant."""
    open_ = [item_id for item_id in state.choices if item_id in items]
    if not open_:
        return ""
    for mention in understood.mentions:
        if len(found := [item_id for item_id in mention.item_ids if item_id in open_]) == 1:
            return found[0]
    years = {year_of(items[item_id]): item_id for item_id in open_}
    for year in map(int, _YEAR.findall(low)):
        if year in years:
            return years[year]
    if len(years) == len(open_) and (_OLDER.search(low) or _NEWER.search(low)):
        return years[max(years) if _NEWER.search(low) else min(years)]
    return ""


def _spoken_of_shown(turn: Turn, low: str, state: State) -> Turn:
    """What a turn without a title says of the items that were shown last, or of the one that was last spoken of."""
    if turn.intent in ("ask", "why", "more_like", "compare", "accept"):
        focus = turn.mentioned or _it(turn.intent, low, state)
        if turn.intent == "accept" and len(focus) > 1 and not turn.mentioned and not _MANY.search(low):
            focus = ()  # which of them is taken, nobody said
        turn = replace(turn, focus=focus)
        if turn.intent == "accept":
            liked = focus if _LOVED.search(low) else ()
            return replace(turn, accepted=() if liked else focus, liked=tuple(dict.fromkeys((*turn.liked, *liked))))
        if turn.intent == "more_like":
            return replace(turn, liked=tuple(dict.fromkeys((*turn.liked, *focus))))
    if _LATER.search(low):
        return replace(turn, put_off=turn.mentioned or state.these, seen=(), disliked=())
    if turn.intent == "reject" and not turn.mentioned:
        these = state.focus if state.focus and re.search(r"\b(?:it|that|this)\b", low) else state.these
        if _DISLIKED.search(low):
            return replace(turn, disliked=these)
        if _SEEN.search(low):
            return replace(turn, seen=these)
    return turn


def _it(intent: Intent, low: str, state: State) -> tuple[str, ...]:
    """What `it` or nothing stands for: the item last spoken of, else all of the last list."""
    several = intent in ("compare", "why") or _MANY.search(low)
    last = () if len(state.focus) > 1 and set(state.focus) >= set(state.these) else state.focus[-1:]
    if last and (intent == "why" or not several):
        return last
    return state.these


def _wished(
    turn: Turn, understood: Understood, state: State, command: Command, items: Mapping[str, Item], vocabulary: Vocabulary
) -> Turn:
    """Constraints and needs after the turn."""
    low = lowered(understood.text)
    fresh = turn.intent == "recommend" and state.turns > 0 and bool(understood.filter or understood.need)
    fresh = fresh and not _SAME.search(low)
    before = freed(state.constraints, command.free)
    shown = [items[item_id] for item_id in state.these if item_id in items]
    made = [part for part in parts_of(understood.filter) if isinstance(part, Not) or not command.free & attributes_of(part)]
    before, made = without_parts(low, before, made)
    made += steered(understood.steers, shown, vocabulary)
    last = [
        items[one] for one in (*(state.these if len(state.these) == 1 else ()), *state.focus, *turn.mentioned) if one in items
    ]
    shared = (alike(low, last[-1], vocabulary) if last else None) or unlike(low, before, last[-1:] or shown, vocabulary)
    made += [shared] if shared else []
    constraints = merged(before, all_of(either(low, before, made)), understood.text, fresh=fresh)
    kept = without_dropped(low, state.needs)
    silent = command.indifferent or command.free or shared or kept != state.needs
    said = (understood.need,) if understood.need and not silent else ()
    anew = fresh and not _NOT_YET.search(low)
    earlier = (
        ()
        if anew or turn.intent == "more_like" or (said and _NEVER_MIND.search(low))
        else without_refused(without_measure(kept, understood.need), understood.without)
    )
    needs = tuple(dict.fromkeys((*earlier, *said)))[-NEEDS:]
    without = standing(without_dropped(low, state.without), understood.without, understood.need)
    return replace(turn, constraints=constraints, needs=needs, without=without)


def _of(mentions: Collection[Mention], named: Mapping[Mention, str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(named[mention] for mention in mentions if mention in named))
