"""Candidate lists to learn ranking from, as serving would see them: found by a retriever that never saw the person.

A retriever ranks what it was fitted on far too well, and a ranker that learned from such lists would learn to trust it. People
are therefore dealt into folds, and each fold's candidates come from a retriever that was fitted on the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from genrec.errors import TrainingError
from genrec.llm.packing import pack
from genrec.progress import Progress, track
from genrec.ranking.prompter import Method, Profile, Prompter
from genrec.ranking.score_fusion import log_softmax, standardise
from genrec.retrieval.sequences import Sequences
from genrec.retrieval.systems import Content, System
from genrec.training.lora import Example
from genrec.training.ranking_examples import Encode
from genrec.types import Item

SHORTER = 0.25
"""Share of the profiles that are cut to a random length: people with a short history are ranked, too."""
AT_ONCE = 256
"""People whose scores on the whole catalogue are in memory at a time."""
SCALES = tuple(float(scale) for scale in np.geomspace(0.25, 8.0, 21))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lists:
    """P lists of K candidates, best first, with what was chosen.

    histories  (P rows) what came before; `targets` (P,) item numbers
    items      (P, K) int64, -1 where there are fewer; scores (P, K) the retriever's
    """

    histories: Sequences
    targets: NDArray[np.int64]
    items: NDArray[np.int64]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def places(self) -> NDArray[np.int64]:
        """(P,) place of the target among the candidates, -1 where it is not among them."""
        found = self.items == self.targets[:, None]
        return np.where(found.any(axis=1), found.argmax(axis=1), -1)

    def take(self, rows: NDArray[np.integer]) -> "Lists":
        return Lists(
            histories=self.histories.take(rows), targets=self.targets[rows], items=self.items[rows], scores=self.scores[rows]
        )


def candidates(system: System, histories: Sequences, targets: NDArray[np.int64], k: int) -> Lists:
    """The fitted system's best `k` unseen items for each history, ties by item number."""
    items, best = [], []
    for start in range(0, len(targets), AT_ONCE):
        asked = histories.take(np.arange(start, min(start + AT_ONCE, len(targets))))
        scores = np.array(system.scores(asked), np.float32)
        scores[asked.users, asked.items] = -np.inf
        items.append(np.argsort(-scores, axis=1, kind="stable")[:, :k].astype(np.int64))
        best.append(np.take_along_axis(scores, items[-1], axis=1))
    found = np.concatenate(best)
    kept = np.where(np.isfinite(found), np.concatenate(items), -1)
    return Lists(histories=histories, targets=targets, items=kept, scores=found)


def out_of_fold(
    system: System, events: Sequences, content: Content, *, n: int, k: int, folds: int, seed: int, progress: Progress
) -> Lists:
    """`n` lists for random moments of random people, by copies of `system` fitted without the person's fold.

    People count alike, however many events they have. A moment is an event on an item that is new to the person, with at least
    one event before it. Raises TrainingError when nobody has one, or when there is nobody else.
    """
    rng = np.random.default_rng(seed)
    people, places = _moments(events, n, rng)
    if len(np.unique(events.users)) < 2:
        raise TrainingError("one person alone has events", hint="Ingest those of more people.")
    fold_of = rng.permutation(len(events.user_ids)) % min(folds, len(events.user_ids))
    found: list[Lists] = []
    for fold in track(progress, "candidates by fold", range(int(fold_of.max()) + 1), int(fold_of.max()) + 1):
        mine = np.flatnonzero(fold_of[people] == fold)
        if not len(mine):
            continue
        made = system.with_settings({}, seed)
        made.fit(events.where(fold_of[events.users] != fold), content, progress)
        rows = events.take(people[mine])
        histories = rows.where(rows.places < np.repeat(places[mine], rows.lengths))
        targets = events.items[events.offsets[people[mine]] + places[mine]].astype(np.int64)
        found.append(candidates(made, histories, targets, k))
    return _joined(found)


def _moments(events: Sequences, n: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(n,) people and places of events to predict."""
    fresh = np.zeros(len(events), bool)
    fresh[np.unique(events.users * len(events.item_ids) + events.items, return_index=True)[1]] = True
    fresh &= events.places > 0
    counts = np.bincount(events.users[fresh], minlength=len(events.user_ids))
    able = np.flatnonzero(counts)
    if not len(able):
        raise TrainingError("nobody chose two different items", hint="Ingest more events.")
    per_person = np.split(events.places[fresh], np.cumsum(counts)[:-1])
    people = np.resize(rng.permutation(able), n)
    return people, np.array([rng.choice(per_person[person]) for person in people], np.int64)


def _joined(parts: list[Lists]) -> Lists:
    histories = [part.histories for part in parts]
    offsets = np.concatenate([[0], np.cumsum(np.concatenate([h.lengths for h in histories]))])

    def column(name: str) -> NDArray[np.generic]:
        return np.concatenate([getattr(h, name) for h in histories])

    return Lists(
        histories=replace(
            histories[0],
            user_ids=tuple(user for h in histories for user in h.user_ids),
            offsets=offsets,
            **{name: column(name) for name in ("items", "timestamps", "values", "kinds", "platforms")},
        ),
        targets=np.concatenate([part.targets for part in parts]),
        items=np.concatenate([part.items for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
    )


def profile_of(histories: Sequences, row: int, items: Sequence[Item]) -> Profile:
    """What a prompt may say of one person: past items oldest first, each once at its last event, as in serving."""
    latest = dict.fromkeys(reversed(histories.history(row).tolist()))
    return Profile(history=tuple(items[item] for item in reversed(latest)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ListExamples:
    """Makes training examples out of lists.

    shown           candidates of one example: the target, the rest by the retriever's order (hard negatives, three quarters) and
                    at random from the catalogue
    without_target  what becomes of a list that lacks its target: `skip` it, as serving could not show it either, or `add` the
                    target in place of the last candidate
    """

    prompter: Prompter
    encode: Encode
    method: Method
    history: int
    shown: int
    without_target: Literal["skip", "add"]
    longest: int

    def make(self, lists: Lists, items: Sequence[Item], rng: np.random.Generator) -> list[Example]:
        """One example a list that can be used, in the lists' order; candidates shuffled."""
        scale = prior_scale(lists)
        return [
            example
            for row, place in enumerate(lists.places.tolist())
            if (example := self._one(lists, row, place, items, scale, rng)) is not None
        ]

    def _one(
        self, lists: Lists, row: int, place: int, items: Sequence[Item], scale: float, rng: np.random.Generator
    ) -> Example | None:
        if place < 0 and self.without_target == "skip":
            return None
        filled = lists.items[row] >= 0
        known, scores = lists.items[row][filled], scale * standardise(lists.scores[row][filled])
        target = int(lists.targets[row])
        hard = max(1, (3 * (self.shown - 1)) // 4)
        others = np.flatnonzero(known != target)
        chance = np.linspace(2.0, 0.5, len(others))  # the retriever's best come more often
        negatives = rng.choice(others, min(hard, len(others)), replace=False, p=chance / chance.sum()) if len(others) else others
        lowest = float(scores.min()) if len(scores) else 0.0
        chosen = [(target, float(scores[place]) if place >= 0 else lowest)]
        chosen += [(int(known[n]), float(scores[n])) for n in negatives]
        free = np.ones(len(items), bool)
        free[[target, *lists.histories.history(row), *known]] = False
        pool = np.flatnonzero(free)
        drawn = rng.choice(pool, min(self.shown - len(chosen), len(pool)), replace=False)
        chosen += [(int(item), lowest) for item in drawn]
        if len(chosen) < 2:
            return None
        order = rng.permutation(len(chosen))
        profile = profile_of(lists.histories, row, items)
        if rng.random() < SHORTER:
            profile = replace(profile, history=profile.history[-int(rng.integers(1, self.history + 1)) :])
        request = self.prompter.request(self.method, profile, [items[chosen[n][0]] for n in order])
        return Example(
            row=pack(request, self.encode, self.longest),
            target=int(np.flatnonzero(order == 0)[0]),
            prior=log_softmax(np.array([chosen[n][1] for n in order])).astype(np.float32),
        )


def prior_scale(lists: Lists) -> float:
    """By how much the standardised scores of a retriever must be multiplied to be log-probabilities: maximum likelihood over the
    lists that have their target.
    """
    places = lists.places
    rows = np.flatnonzero(places >= 0)
    if not len(rows):
        return 1.0
    logits = [standardise(lists.scores[row][lists.items[row] >= 0]) for row in rows]
    value = [
        sum(float(log_softmax(scale * one)[place]) for one, place in zip(logits, places[rows], strict=True)) for scale in SCALES
    ]
    return SCALES[int(np.argmax(value))]
