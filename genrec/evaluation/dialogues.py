"""How well what was recommended in dialogues is found: recall at each moment, over the whole catalogue.

A case is one item recommended at one moment. `recall@K`: the share of cases whose item is among the first K, when items that the
dialogue named before are left out of the list, and cases whose item was named before are left out of the count. `repeats` counts
those, too, with nothing left out: dialogues come back to what was just named, which flatters a system that repeats it (He et al.,
CIKM 2023). Intervals by bootstrap over dialogues.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from genrec.errors import EvaluationError
from genrec.evaluation.significance import Bootstrap, Interval
from genrec.filters import Filter, matches
from genrec.transcripts import Transcript
from genrec.types import Item

KS = (1, 10, 50)
SHOWN = 10
"""Items of a list that constraints are checked on."""

Ranker = Callable[[Sequence[Transcript], int], list[list[str]]]
"""(transcripts, k) → at most k item ids each, best first, items named before included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalls:
    """`at[K]` with its interval; `repeats[K]` likewise, over all cases."""

    at: Mapping[int, Interval]
    repeats: Mapping[int, Interval]


@dataclass(frozen=True, slots=True, kw_only=True)
class Linking:
    """Items found in each dialogue against those that the file names, each once a dialogue (`distinct`) or as often as it is
    named.
    """

    precision: float
    recall: float
    f1: float
    distinct_precision: float
    distinct_recall: float
    distinct_f1: float


@dataclass(slots=True, kw_only=True)
class DialogueResults:
    """`cases` of `moments` in `dialogues`; `unresolved`: recommended titles that the catalogue has not, which are not counted."""

    dialogues: int
    moments: int
    cases: int
    repeated: int
    unresolved: int
    systems: dict[str, Recalls] = field(default_factory=dict)
    linking: Linking | None = None
    constraints: Mapping[str, float] | None = None
    effort: Mapping[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Plain values: recalls as [mean, low, high]."""
        return {
            "dialogues": self.dialogues,
            "moments": self.moments,
            "cases": self.cases,
            "repeated": self.repeated,
            "unresolved": self.unresolved,
            "systems": {
                name: {
                    **{f"recall@{k}": _triple(one) for k, one in recalls.at.items()},
                    **{f"repeats@{k}": _triple(one) for k, one in recalls.repeats.items()},
                }
                for name, recalls in self.systems.items()
            },
            "linking": None
            if self.linking is None
            else {name: round(getattr(self.linking, name), 4) for name in self.linking.__dataclass_fields__},
            "constraints": None if self.constraints is None else dict(self.constraints),
            "effort": dict(self.effort),
            "notes": list(self.notes),
        }


def _triple(one: Interval) -> list[float]:
    return [round(one.mean, 4), round(one.low, 4), round(one.high, 4)]


def started(transcripts: Sequence[Transcript]) -> DialogueResults:
    """The counts. Raises EvaluationError without a case."""
    fresh = sum(len(_fresh(one)) for one in transcripts)
    every = sum(len(one.wanted) for one in transcripts)
    unresolved = sum(len(one.unresolved) for one in transcripts)
    if not fresh:
        raise EvaluationError(
            f"no moment recommends an item that was not named before ({unresolved} titles are not in the catalogue)",
            hint="`rec` holds item ids or titles of this catalogue.",
        )
    dialogues = len({one.moment.dialogue_id for one in transcripts})
    return DialogueResults(
        dialogues=dialogues, moments=len(transcripts), cases=fresh, repeated=every - fresh, unresolved=unresolved
    )


def recalls(transcripts: Sequence[Transcript], rank: Ranker, *, ks: Sequence[int] = KS, seed: int = 0) -> Recalls:
    """Of one system."""
    most = max(ks)
    lists = rank(transcripts, most + max((len(_before(one)) for one in transcripts), default=0))
    number = {one: n for n, one in enumerate(dict.fromkeys(one.moment.dialogue_id for one in transcripts))}
    found: tuple[list[list[float]], list[list[float]]] = [], []
    owners: tuple[list[int], list[int]] = [], []
    for one, ids in zip(transcripts, lists, strict=True):
        before = _before(one)
        left = [item_id for item_id in ids if item_id not in before]
        for kind, names, listed in ((0, _fresh(one), left), (1, one.wanted, ids)):
            place = {item_id: n for n, item_id in enumerate(listed[:most])}
            for item_id in names:
                found[kind].append([float(place.get(item_id, most) < k) for k in ks])
                owners[kind].append(number[one.moment.dialogue_id])
    at, repeats = (
        Bootstrap(people=np.array(owners[kind], np.int64), seed=seed).intervals(np.array(found[kind])) for kind in (0, 1)
    )
    return Recalls(at=_named(ks, at), repeats=_named(ks, repeats))


def _named(ks: Sequence[int], found: Sequence[Interval | None]) -> dict[int, Interval]:
    return {k: one for k, one in zip(ks, found, strict=True) if one is not None}


def _before(one: Transcript) -> set[str]:
    """What the dialogue named up to the moment: as the file says, where it does, and as it was found."""
    return set(one.found if one.named is None else one.named)


def _fresh(one: Transcript) -> list[str]:
    before = _before(one)
    return [item_id for item_id in one.wanted if item_id not in before]


def linking(transcripts: Sequence[Transcript]) -> Linking | None:
    """None where the file names no items. Each dialogue once, at its longest."""
    longest: dict[str, Transcript] = {}
    for one in transcripts:
        if one.named is not None:
            held = longest.get(one.moment.dialogue_id)
            if held is None or len(one.moment.context) >= len(held.moment.context):
                longest[one.moment.dialogue_id] = one
    if not longest:
        return None
    tally, distinct = [0, 0, 0], [0, 0, 0]
    for one in longest.values():
        gold, found = Counter(one.named or ()), Counter(one.found)
        for counts, (wanted, got) in ((tally, (gold, found)), (distinct, (Counter(set(gold)), Counter(set(found))))):
            right = (wanted & got).total()
            counts[0] += right
            counts[1] += got.total() - right
            counts[2] += wanted.total() - right
    return Linking(
        **dict(zip(("precision", "recall", "f1"), _scores(*tally), strict=True)),
        **dict(zip(("distinct_precision", "distinct_recall", "distinct_f1"), _scores(*distinct), strict=True)),
    )


def _scores(true: int, false: int, missed: int) -> tuple[float, float, float]:
    return true / max(1, true + false), true / max(1, true + missed), 2 * true / max(1, 2 * true + false + missed)


def satisfied(made: Filter, ids: Sequence[str], items: Mapping[str, Item]) -> float:
    """The share of the first `SHOWN` items for which the filter holds; 1 for an empty list: nothing wrong was shown."""
    shown = ids[:SHOWN]
    return sum(matches(made, items[item_id]) for item_id in shown) / len(shown) if shown else 1.0
