"""From what holds in a dialogue to the request that the engine, the ranker and the writer answer."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from genrec.answer.request import DialogueContext, Request, settled_request
from genrec.chat_retrieval.dialogue_features import Attitude, Mentioned, Said
from genrec.filters import Filter, Has, In, Not
from genrec.index.protocol import Lexical, Query, VectorIndex
from genrec.settings import Settings
from genrec.types import DISLIKE, LIKE, Event
from genrec.understanding.filter_text import all_of, attributes_of, parts_of, wanted_pairs
from genrec.understanding.policy import Draft
from genrec.understanding.state import State


def relaxed(parts: Sequence[Filter], fits: Callable[[Sequence[Filter]], int]) -> tuple[tuple[Filter, ...], tuple[Filter, ...]]:
    """(what is left, what was dropped), each in the order of `parts`, the oldest first; `fits` counts items.

    One part that alone stands in the way goes first, the oldest of such; where none does, the one without which most items
    fit, until something does. A refusal goes only when without refusals still nothing fits.
    """
    left, dropped = list(parts), []
    while left and not fits(left):
        wishes = [part for part in left if not isinstance(part, Not)] or left
        counts = [fits([other for other in left if other is not part]) for part in wishes]
        alone = [part for part, count in zip(wishes, counts, strict=True) if count]
        gone = alone[0] if alone else wishes[max(range(len(wishes)), key=lambda place: _found(wishes[place], fits))]
        left.remove(gone)
        dropped.append(gone)
    return tuple(left), tuple(part for part in parts if part in dropped)


def _found(part: Filter, fits: Callable[[Sequence[Filter]], int]) -> int:
    """How much a part asks for alone, the rarest first."""
    return -fits([part])


IDLE = frozenset(("about", "something", "anything"))
"""Words of a wish that are not searched: few texts have them, so that they would count for much."""


@dataclass(frozen=True, slots=True)
class Fitting:
    """`parts` hold for `count` items that may be offered; `dropped` were given up for that. `again`: shown ones come back.

    `without`: refused words that items were left out for; `everywhere`: those that all that fits would fall under; `nowhere`:
    those that no text says.
    """

    parts: tuple[Filter, ...]
    dropped: tuple[Filter, ...]
    count: int
    exclude: frozenset[str]
    again: bool = False
    without: tuple[str, ...] = ()
    everywhere: tuple[str, ...] = ()
    nowhere: tuple[str, ...] = ()


def saying(index: VectorIndex, refused: Sequence[str]) -> dict[str, frozenset[str]]:
    """The items whose text has every word of a refusal, in any form; refusals that no item falls under are left out.

    Raises IndexFault.
    """
    words = sorted({word for one in refused for word in one.split()})
    if not words:
        return {}
    most = max(1, index.count())
    found = index.search([Query(legs=[Lexical(word)], limit=most) for word in words])
    has = {word: frozenset(hit.item_id for hit in hits) for word, hits in zip(words, found, strict=True)}
    said = {one: frozenset.intersection(*(has[word] for word in one.split())) for one in refused}
    return {one: ids for one, ids in said.items() if ids}


def fitting_without(
    index: VectorIndex,
    refused: Sequence[str],
    parts: Sequence[Filter],
    standing: Sequence[Filter],
    *,
    k: int,
    gone: frozenset[str],
    again: frozenset[str] | None = None,
) -> Fitting:
    """As `fitting`, of items whose text says nothing that is `refused`, as far as there are any. Raises IndexFault."""
    said = saying(index, refused)
    everywhere: list[str] = []
    out: frozenset[str] = frozenset()
    for one in reversed(refused):  # the latest word counts most
        more = out | said.get(one, frozenset())
        if more != out and not index.count(_but(parts, gone | more)) and index.count(_but(parts, gone | out)):
            everywhere.append(one)
        else:
            out = more
    found = fitting(index, parts, standing, k=k, gone=gone | out, again=None if again is None else again | out)
    left = tuple(one for one in refused if one in said and one not in everywhere)
    nowhere = tuple(one for one in refused if one not in said)
    return replace(found, without=left, everywhere=tuple(everywhere), nowhere=nowhere)


def fitting(
    index: VectorIndex,
    parts: Sequence[Filter],
    standing: Sequence[Filter],
    *,
    k: int,
    gone: frozenset[str],
    again: frozenset[str] | None = None,
) -> Fitting:
    """What can be offered under these constraints; as few of them are dropped as can be.

    `standing`: those that held before the turn. Where fewer than `k` items have both what the turn asks of a list attribute and
    what was asked of it before (`a comedy` after `horror`), the turn's word takes the place of the older.
    `gone`: items that are not offered again; where nothing else fits, those of them that are not in `again` are, if given.
    Raises IndexFault.
    """

    def counted(exclude: frozenset[str]) -> Callable[[Sequence[Filter]], int]:
        return lambda wished: index.count(_but(wished, exclude))

    fits = counted(gone)
    if (older := _overtaken(parts, standing)) and fits(parts) < k:
        parts = [part for part in parts if part not in older]
    if count := fits(parts):
        return Fitting(tuple(parts), (), count, gone)
    if parts and again is not None and (count := counted(again)(parts)):
        return Fitting(tuple(parts), (), count, again, again=True)
    left, dropped = relaxed(parts, fits)
    return Fitting(left, dropped, fits(left), gone)


def _overtaken(parts: Sequence[Filter], standing: Sequence[Filter]) -> list[Filter]:
    """Older wishes for an attribute of which the turn wishes for something, too."""
    new = {name for part in parts if part not in standing and not isinstance(part, Not) for name in attributes_of(part)}
    return [part for part in parts if part in standing and isinstance(part, Has | In) and attributes_of(part) & new]


def _but(parts: Sequence[Filter], exclude: frozenset[str]) -> Filter | None:
    """These parts, of items that are not among `exclude`."""
    without = [Not(In("item_id", tuple(sorted(exclude))))] if exclude else []
    return all_of([*_flat(parts), *without])


def _flat(parts: Sequence[Filter]) -> list[Filter]:
    return [one for part in parts for one in parts_of(part)]


def request_of(
    draft: Draft,
    state: State,
    found: Fitting,
    settings: Settings,
    *,
    user_id: str,
    k: int,
    history: Sequence[Event],
    turns: Sequence[str] = (),
) -> Request:
    """`state`: what holds after the turn of `draft`; `history`: the person's; `turns`: what the person said in all turns,
    this one last.
    """
    now = time.time()
    liked = draft.turn.focus if draft.alone else (*state.liked, *state.accepted)
    events = [Event(user_id=user_id, item_id=item_id, timestamp=now, kind=DISLIKE) for item_id in state.disliked]
    events += [Event(user_id=user_id, item_id=item_id, timestamp=now, kind=LIKE) for item_id in liked]
    query = " ".join(word for word in " ".join(state.needs).split() if word.lower() not in IDLE)
    words = " ".join([query, *(value for part in found.parts for _, value in wanted_pairs(part))]).strip()
    context = DialogueContext(
        history=tuple(history),
        events=tuple(events),
        events_only=draft.alone,
        words=words,
        said=None if draft.alone else _said(state, found, turns),
    )
    return settled_request(
        settings, (user_id,), k, query=query, filter=all_of(found.parts), exclude=found.exclude, dialogue=context
    )


def _said(state: State, found: Fitting, turns: Sequence[str]) -> Said:
    felt: dict[str, Attitude] = {**dict.fromkeys(state.seen, "seen"), **dict.fromkeys(state.liked, "liked")}
    felt |= dict.fromkeys(state.disliked, "disliked")
    named = dict.fromkeys((*state.mentioned, *felt))
    return Said(
        turns=tuple(turns),
        mentions=tuple(Mentioned(item_id=one, attitude=felt.get(one, "neutral")) for one in named),
        wanted=tuple(pair for part in found.parts for pair in wanted_pairs(part)),
    )
