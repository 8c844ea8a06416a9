"""Does anything of the answer reach a system before it is asked? The harness checks every split and refuses one that leaks.

after the cutoff        an event of train or of a history at or after the global cutoff
after the target        an event of a history, or of the person's own events in train, later than the target's
target in history       the item to find is in the history
target in train         the person has an event on the item to find in train
cold item in train      an item that is called cold has an event in train or in a history of a cold-item split
new person in train     a person of a cold-user split has an event in train
not a candidate         the item to find may not be ranked
in the tuning split     an item to find occurs for its person in the train part, a history or a target of the validation twin
target in a prompt      the profile that an LLM is shown names the item to find
beyond the history      the profile that an LLM is shown says anything but items of the case's history
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genrec.errors import EvaluationError
from genrec.evaluation.splits import Split
from genrec.ranking.prompter import Profile
from genrec.retrieval.sequences import Sequences


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """`kind` is a line of the list above, `count` how often, `example` the first of them in words."""

    kind: str
    count: int
    example: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.count} ({self.example})"


def check(split: Split, tuning: Split | None = None) -> tuple[Leak, ...]:
    """All kinds of leak found in the split, and in its validation twin when that is given; empty when it is clean."""
    people = _Pairs(split)
    found = [*_times(split, people), *_targets(split, people), *_cold(split, people)]
    if tuning is not None:
        found += _tuning(tuning, people)
    return tuple(found)


def refuse(split: Split, tuning: Split | None = None) -> None:
    """Raises EvaluationError when `check` finds anything."""
    found = check(split, tuning)
    if found:
        raise EvaluationError(
            f"the split {split.name} leaks: {'; '.join(map(str, found))}",
            hint="Make splits with genrec.evaluation.splits; figures of a split that leaks mean nothing.",
        )


def check_profiles(split: Split, profiles: Sequence[Profile]) -> tuple[Leak, ...]:
    """What prompts would say of the cases (U,), one profile each: nothing but the case's own history."""
    histories = split.histories
    named: list[tuple[str, str]] = []
    beyond: list[tuple[str, str]] = []
    for row, (profile, targets) in enumerate(zip(profiles, split.targets, strict=True)):
        person = histories.user_ids[row]
        shown = {item.item_id for item in profile.history}
        asked = {histories.item_ids[item] for item in targets}
        known = {histories.item_ids[item] for item in histories.history(row)}
        named += [(person, item_id) for item_id in sorted(shown & asked)]
        beyond += [(person, item_id) for item_id in sorted(shown - known - asked)]
        beyond += [(person, text) for text in (*profile.interests, profile.query) if text]  # no split knows of any
    return tuple(
        Leak(kind=kind, count=len(found), example=f"person {found[0][0]!r}, {found[0][1]!r}")
        for kind, found in (("target in a prompt", named), ("beyond the history", beyond))
        if found
    )


def refuse_profiles(split: Split, profiles: Sequence[Profile], system: str) -> None:
    """Raises EvaluationError when `check_profiles` finds anything."""
    found = check_profiles(split, profiles)
    if found:
        raise EvaluationError(
            f"the prompts of {system} leak on the split {split.name}: {'; '.join(map(str, found))}",
            hint="Make profiles from the histories of the split, never from the store.",
        )


class _Pairs:
    """Numbers of (person, item) that are comparable between the parts of one split and of its twin."""

    def __init__(self, split: Split) -> None:
        self._number = {user_id: number for number, user_id in enumerate(split.train.user_ids)}
        for user_id in split.histories.user_ids:
            self._number.setdefault(user_id, len(self._number))
        self._n_items = len(split.candidates)
        self.rows = self.people(split.histories)
        """(U,) person of each case"""
        self.case = np.repeat(np.arange(len(split.targets)), [len(target) for target in split.targets])
        self.items = np.concatenate(split.targets)
        self.wanted = self.rows[self.case] * self._n_items + self.items
        """(targets,) pair of each item to find"""
        self.split = split

    def people(self, sequences: Sequences) -> NDArray[np.int64]:
        """(people,) of another part; -1 for someone unknown here."""
        return np.array([self._number.get(user_id, -1) for user_id in sequences.user_ids], np.int64)

    def of(self, sequences: Sequences) -> NDArray[np.int64]:
        """(events,)"""
        owners = self.people(sequences)[sequences.users]
        return np.where(owners < 0, -1, owners * self._n_items + sequences.items)

    def of_targets(self, split: Split) -> NDArray[np.int64]:
        owners = np.repeat(self.people(split.histories), [len(target) for target in split.targets])
        return np.where(owners < 0, -1, owners * self._n_items + np.concatenate(split.targets))

    def leak(self, kind: str, targets: NDArray[np.bool_]) -> Iterator[Leak]:
        """Of the items to find (targets,)."""
        if targets.any():
            first = int(np.argmax(targets))
            histories = self.split.histories
            example = f"person {histories.user_ids[self.case[first]]!r}, item {histories.item_ids[self.items[first]]!r}"
            yield Leak(kind=kind, count=int(targets.sum()), example=example)


def _event_leak(kind: str, sequences: Sequences, wrong: NDArray[np.bool_]) -> Iterator[Leak]:
    if wrong.any():
        first = int(np.argmax(wrong))
        user, item = sequences.user_ids[sequences.users[first]], sequences.item_ids[sequences.items[first]]
        example = f"person {user!r}, item {item!r}, time {sequences.timestamps[first]:.0f}"
        yield Leak(kind=kind, count=int(wrong.sum()), example=example)


def _times(split: Split, people: _Pairs) -> Iterator[Leak]:
    for part in (split.train, split.histories):
        if split.cutoff is not None:
            yield from _event_leak("after the cutoff", part, part.timestamps >= split.cutoff)
    histories = split.histories
    yield from _event_leak("after the target", histories, histories.timestamps > np.repeat(split.times, histories.lengths))
    latest = np.full(max(people.rows.max(initial=0), people.people(split.train).max(initial=0)) + 1, np.inf)
    np.minimum.at(latest, people.rows, split.times)
    yield from _event_leak(
        "after the target", split.train, split.train.timestamps > latest[people.people(split.train)][split.train.users]
    )


def _targets(split: Split, people: _Pairs) -> Iterator[Leak]:
    histories = split.histories
    n_items = len(split.candidates)
    shown = histories.users * n_items + histories.items
    yield from people.leak("target in history", np.isin(people.case * n_items + people.items, shown))
    yield from people.leak("target in train", np.isin(people.wanted, people.of(split.train)))
    yield from people.leak("not a candidate", ~split.candidates[people.items])


def _cold(split: Split, people: _Pairs) -> Iterator[Leak]:
    yield from _event_leak("cold item in train", split.train, split.cold[split.train.items])
    if split.name.startswith("cold-items") and split.warm is not None:
        yield from _event_leak("cold item in train", split.histories, split.cold[split.histories.items])
    if split.name == "cold-users":
        yield from _event_leak(
            "new person in train", split.train, np.isin(people.people(split.train), people.rows)[split.train.users]
        )


def _tuning(tuning: Split, people: _Pairs) -> Iterator[Leak]:
    seen = np.concatenate([people.of(tuning.train), people.of(tuning.histories), people.of_targets(tuning)])
    yield from people.leak("in the tuning split", np.isin(people.wanted, seen))
