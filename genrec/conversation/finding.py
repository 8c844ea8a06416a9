"""From what holds in a dialogue to the request that the engine, the ranker and the writer answer."""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from genrec.dialogue.filter_text import all_of, attributes_of, parts_of, wanted_pairs
from genrec.dialogue.policy import Draft
from genrec.dialogue.relaxing import relaxed
from genrec.dialogue.state import State
from genrec.filters import Filter, Has, In, Not
from genrec.index.protocol import VectorIndex
from genrec.requests import Moment, Request
from genrec.retrieval.dialogues_space import Attitude, Mentioned, Said
from genrec.settings import Settings
from genrec.types import DISLIKE, LIKE, Event

IDLE = frozenset(("about", "something", "anything"))
"""Words of a wish that are not searched: few texts have them, so that they would count for much."""


@dataclass(frozen=True, slots=True)
class Fitting:
    """`parts` hold for `count` items that may be offered; `dropped` were given up for that. `again`: shown ones come back."""

    parts: tuple[Filter, ...]
    dropped: tuple[Filter, ...]
    count: int
    exclude: frozenset[str]
    again: bool = False


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
        without = [Not(In("item_id", tuple(sorted(exclude))))] if exclude else []
        return lambda wished: index.count(all_of([*_flat(wished), *without]))

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
    past: Sequence[Event],
    turns: Sequence[str] = (),
) -> Request:
    """`state`: what holds after the turn of `draft`; `past`: the person's history; `turns`: what the person said in all turns,
    this one last.
    """
    now = time.time()
    liked = draft.turn.focus if draft.alone else (*state.liked, *state.accepted)
    events = [Event(user_id=user_id, item_id=item_id, timestamp=now, kind=DISLIKE) for item_id in state.disliked]
    events += [Event(user_id=user_id, item_id=item_id, timestamp=now, kind=LIKE) for item_id in liked]
    query = " ".join(word for word in " ".join(state.needs).split() if word.lower() not in IDLE)
    words = " ".join([query, *(value for part in found.parts for _, value in wanted_pairs(part))]).strip()
    return Request(
        user_ids=(user_id,),
        k=k,
        query=query,
        filter=all_of(found.parts),
        exclude=found.exclude,
        rank=settings.ranking.mode,
        explain=settings.reasons.explain,
        evidence=settings.reasons.evidence,
        method=None,
        explore=settings.retrieval.explore,
        seed=secrets.randbits(32),
        moment=Moment(
            past=tuple(past),
            events=tuple(events),
            alone=draft.alone,
            new=True,
            words=words,
            said=None if draft.alone else _said(state, found, turns),
        ),
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
