"""Who is asked what: events dealt into what may be learned from, what is known of each person, and what must be found.

Shown items are new to the person, so a target is always an item that the person had no event on before. Where people come back to
items, the held-out event is therefore the last one on a new item, and the repeats after it are dropped with it.

Each split knows its `validation()` twin: the same protocol applied to the train part alone, so that choosing settings and
stopping early never see a test target.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from genrec.errors import EvaluationError
from genrec.evaluation.results import Sample
from genrec.retrieval.sequences import Sequences

SHOWN = (0, 1, 3, 5)
SAMPLE_SEED = 0
LARGEST_PLACE = 1e6
"""As seconds since 1970 this is 12 January 1970: no log of events is so old, no history so long."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """One question put to every system; U cases over N items.

    train         what systems are fitted on
    histories     U rows, what is known of each case's person when asked; a person may have several rows (cold users)
    targets       per row the item numbers to find, at least one each, none of them in the history
    times         (U,) float64 time of the first target's event
    platforms     (U,) int16 platform of the first target's event, position in `histories.platform_names`
    candidates    (N,) items that may be ranked
    cold          (N,) items without training events
    focus         (U,) rows that the headline figures are about; the others appear in slices, and in the choice of settings
    cutoff        time from which on nothing is in train; None where each person has a moment of their own
    protocol      makes the validation twin from the train part
    warm          of a cold-item split: the same rows and targets with the events of the cold items put back
    sample        whom the rows were drawn from, None when nobody was left out (`sampled`)
    """

    name: str
    train: Sequences
    histories: Sequences
    targets: tuple[NDArray[np.int32], ...]
    times: NDArray[np.float64]
    platforms: NDArray[np.int16]
    candidates: NDArray[np.bool_]
    cold: NDArray[np.bool_]
    focus: NDArray[np.bool_]
    protocol: Callable[[Sequences], "Split"] = field(repr=False)
    cutoff: float | None = None
    warm: "Split | None" = field(default=None, repr=False)
    sample: Sample | None = None

    def validation(self) -> "Split":
        """The same protocol on the train part: what settings are chosen on. Raises EvaluationError when too little is left."""
        try:
            return self.protocol(self.train)
        except EvaluationError as error:
            raise EvaluationError(
                f"{self.name}: no validation cases are left in the train part: {error}",
                hint="Bring more events, or evaluate without tuning.",
            ) from error

    def warm_twin(self) -> "Split":
        """A cold-item split's people and targets, with the cold items' events in train and histories: the comparable warm figure.

        Raises EvaluationError for other splits.
        """
        if self.warm is None:
            raise EvaluationError(f"{self.name}: only a split of cold items has a warm twin", hint="Use `cold_items(...)`.")
        return self.warm

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> "Split":
        """Only these cases, in this order; train stays. Raises EvaluationError when none is left."""
        chosen = np.arange(len(self.targets))[rows]
        if not len(chosen):
            raise EvaluationError(f"{self.name}: no cases left", hint="Choose at least one case.")
        return replace(
            self,
            histories=self.histories.take(chosen),
            targets=tuple(self.targets[row] for row in chosen),
            times=self.times[chosen],
            platforms=self.platforms[chosen],
            focus=self.focus[chosen],
            warm=None if self.warm is None else self.warm.take(chosen),
        )

    def sampled(self, people: int, seed: int = SAMPLE_SEED) -> "Split":
        """All rows of `people` persons drawn from those whom the headline is about; train, and what tunes, stay whole.

        The split itself when there are no more than that. Raises EvaluationError for fewer than one.
        """
        if people < 1:
            raise EvaluationError(f"{self.name}: a sample of {people} people", hint="Draw at least one.")
        owner = np.unique(np.array(self.histories.user_ids, dtype=object), return_inverse=True)[1]
        able = np.unique(owner[self.focus])
        if len(able) <= people:
            return self
        drawn = np.random.default_rng(seed).choice(able, people, replace=False)
        return replace(self.take(np.isin(owner, drawn)), sample=Sample(people=people, of=len(able), seed=seed))

    def digest(self) -> str:
        """64 hexadecimal digits: equal for equal train events, histories, targets and candidates."""
        made = hashlib.sha256(self.name.encode())
        for part in (self.train, self.histories):
            made.update("\0".join((*part.user_ids, "", *part.item_ids)).encode())
            for column in (part.offsets, part.items, part.timestamps):
                made.update(np.ascontiguousarray(column).tobytes())
        lengths = np.array([len(target) for target in self.targets], np.int64)
        for column in (lengths, np.concatenate(self.targets), self.candidates, self.cold, self.focus):
            made.update(np.ascontiguousarray(column).tobytes())
        return made.hexdigest()


def leave_one_out(sequences: Sequences, held_out: int = 1) -> Split:
    """Each person's last new item is the target, everything before it the history and the training data.

    held_out 1 is the test split; 2 is its validation twin, in which the test target is in neither train nor history, and so on.
    People with one item stay in train and are not asked. Raises EvaluationError when nobody can be asked.
    """
    if held_out < 1:
        raise EvaluationError(f"leave-one-out: held_out {held_out}, must be 1 or more", hint="1 is test, 2 validation.")
    for _ in range(held_out - 1):
        sequences = leave_one_out(sequences).train
    last = _last_new(sequences)
    asked = np.flatnonzero(last > sequences.offsets[:-1])  # an event before the target is needed
    if not len(asked):
        raise EvaluationError(
            "leave-one-out: nobody has two different items", hint="Ingest interactions with at least two items for some people."
        )
    kept = np.ones(len(sequences), bool)
    ends = sequences.offsets[1:][asked]
    kept[_ranges(last[asked], ends)] = False
    train = sequences.where(kept)
    return _split("leave-one-out", sequences, train, train.take(asked), last[asked], protocol=leave_one_out)


def global_time(
    sequences: Sequences,
    test_share: float = 0.1,
    *,
    cutoff: float | None = None,
    targets: Literal["first", "all"] = "first",
    newcomers: bool = False,
) -> Split:
    """Everything before one moment is train and history; each person's first new item from then on is the target, or all of them.

    test_share  share of the events at or after the moment, when no `cutoff` is given
    cutoff      the moment itself, in the unit of the timestamps
    newcomers   also ask people without any event before it

    Raises EvaluationError when the timestamps are places in each history rather than times, or when nobody can be asked.
    """
    if _places_only(sequences):
        raise EvaluationError(
            "global time: the timestamps are places in each person's history, not times",
            hint="Use leave-one-out, or ingest interactions with times.",
        )
    if cutoff is None:
        if not 0 < test_share < 1:
            raise EvaluationError(f"global time: test share {test_share}, must lie between 0 and 1", hint="Try 0.1.")
        cutoff = float(np.quantile(sequences.timestamps, 1 - test_share, method="higher"))
    train = sequences.where(sequences.timestamps < cutoff)
    late_share = 1 - len(train) / max(1, len(sequences))
    late = (sequences.timestamps >= cutoff) & _first_time(sequences)
    if not newcomers:
        late &= (train.lengths > 0)[sequences.users]
    rows = np.flatnonzero(late)
    asked, starts, counts = np.unique(sequences.users[rows], return_index=True, return_counts=True)
    if not len(asked) or not len(train):
        raise EvaluationError(
            f"global time: nobody has events on both sides of {cutoff:.0f}",
            hint="Use leave-one-out, or give another test_share or cutoff."
            if newcomers
            else "Ask newcomers, too (--newcomers; newcomers=True), or use leave-one-out.",
        )
    found = [rows[start : start + (count if targets == "all" else 1)] for start, count in zip(starts, counts, strict=True)]
    return _split(
        "global-time",
        sequences,
        train,
        train.take(asked),
        rows[starts],
        targets=tuple(sequences.items[events] for events in found),
        cutoff=cutoff,
        protocol=lambda part: global_time(part, late_share, targets=targets, newcomers=newcomers),
    )


def cold_items(sequences: Sequences, share: float = 0.1, seed: int = 0, held_out: int = 1) -> Split:
    """Leave-one-out in which a random share of the items loses all events, from train and from histories.

    The headline is about the people whose target is one of them (`focus`); the others stay as rows, for the slices. People whose
    history held cold items only are not asked. `warm_twin()` asks the same people with those events put back. Items without any
    event to begin with are cold too but never a target. Raises EvaluationError when no target is cold.
    """
    if not 0 < share < 1:
        raise EvaluationError(f"cold items: share {share}, must lie between 0 and 1", hint="Try 0.1.")
    whole = leave_one_out(sequences, held_out)
    taken = np.random.default_rng(seed).random(len(sequences.item_ids)) < share
    train = whole.train.where(~taken[whole.train.items])
    histories = whole.histories.where(~taken[whole.histories.items])
    rows = np.flatnonzero(histories.lengths > 0)
    focus = np.array([taken[target[0]] for target in whole.targets])[rows]
    if not focus.any():
        raise EvaluationError(
            f"cold items: none of {len(rows)} targets is among the {taken.sum()} items taken out", hint="Choose a larger share."
        )
    warm = replace(whole.take(rows), name="cold-items, warm twin", focus=focus)
    return replace(
        warm,
        name="cold-items",
        train=train,
        histories=histories.take(rows),
        cold=train.popularity() == 0,
        protocol=lambda part: cold_items(part, share, seed + 1),
        warm=warm,
    )


def cold_users(sequences: Sequences, share: float = 0.1, seed: int = 0, shown: Sequence[int] = SHOWN) -> Split:
    """A random share of the people is left out of training; each is asked after their first n events, for every n of `shown`.

    The target is the first new item after those n events. One row a person and n, in the order of the people, then of `shown`;
    the slices by history length tell them apart. Raises EvaluationError when nobody can be asked.
    """
    if not 0 < share < 1 or not shown or min(shown) < 0:
        raise EvaluationError(
            f"cold users: share {share}, shown {tuple(shown)}",
            hint="The share lies between 0 and 1, shown are numbers from 0 on.",
        )
    people = np.random.default_rng(seed).random(len(sequences.user_ids)) < share
    new = np.flatnonzero(_first_time(sequences))
    owner = sequences.users
    cases: list[tuple[int, int, int]] = []  # person, events shown, event of the target
    for person in np.flatnonzero(people):
        begin, end = sequences.offsets[person : person + 2]
        for n in sorted(set(shown)):
            after = np.searchsorted(new, begin + n)
            if begin + n < end and after < len(new) and new[after] < end:
                cases.append((int(person), n, int(new[after])))
    train = sequences.where(~people[owner])
    if not cases or not len(train):
        raise EvaluationError(
            f"cold users: none of {people.sum()} people left out has an event to find", hint="Choose a larger share."
        )
    asked, lengths, events = np.array(cases).T
    rows = sequences.take(asked)
    histories = rows.where(rows.places < np.repeat(lengths, rows.lengths))
    return _split(
        "cold-users",
        sequences,
        train,
        histories,
        events,
        protocol=lambda part: cold_users(_with_events(part), share, seed + 1, shown),
    )


def _split(
    name: str,
    sequences: Sequences,
    train: Sequences,
    histories: Sequences,
    events: NDArray[np.integer],
    *,
    protocol: Callable[[Sequences], Split],
    targets: tuple[NDArray[np.int32], ...] | None = None,
    cutoff: float | None = None,
) -> Split:
    """`events` (U,): place in `sequences` of each row's first target. All items are candidates, all rows in focus."""
    return Split(
        name=name,
        train=train,
        histories=histories,
        targets=tuple(sequences.items[event : event + 1] for event in events) if targets is None else targets,
        times=sequences.timestamps[events],
        platforms=sequences.platforms[events],
        candidates=np.ones(len(sequences.item_ids), bool),
        cold=train.popularity() == 0,
        focus=np.ones(len(histories.user_ids), bool),
        protocol=protocol,
        cutoff=cutoff,
    )


def _first_time(sequences: Sequences) -> NDArray[np.bool_]:
    """(n,) True where the person had no earlier event on the item."""
    pairs = sequences.users * len(sequences.item_ids) + sequences.items
    first = np.zeros(len(sequences), bool)
    first[np.unique(pairs, return_index=True)[1]] = True
    return first


def _last_new(sequences: Sequences) -> NDArray[np.int64]:
    """(U,) place of each person's last event on a new item; -1 without events."""
    last = np.full(len(sequences.user_ids), -1, np.int64)
    new = np.flatnonzero(_first_time(sequences))
    last[sequences.users[new]] = new  # ascending, so the last write wins
    return last


def _ranges(starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """All numbers of `starts[i]:ends[i]`, one range after the other."""
    lengths = ends - starts
    offsets = np.cumsum(lengths) - lengths
    return np.repeat(starts - offsets, lengths) + np.arange(lengths.sum())


def _places_only(sequences: Sequences) -> bool:
    """Whether the timestamps are places in a sequence: whole numbers too small for seconds since 1970."""
    times = sequences.timestamps
    return bool(len(times)) and bool((times < LARGEST_PLACE).all() and (times == np.floor(times)).all())


def _with_events(sequences: Sequences) -> Sequences:
    """Only the people who have any."""
    return sequences.take(np.flatnonzero(sequences.lengths > 0))
