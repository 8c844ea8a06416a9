"""Stretches of histories as training steps. A position's input is the events before it, its target the event itself."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genrec.models.two_tower import EventTensors
from genrec.retrieval.event_features import EventSpace
from genrec.retrieval.learned_retriever import event_tensors
from genrec.retrieval.sequences import Sequences


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One step: B stretches of at most L events, all of people of one fold.

    events  (B, L); wanted (B, L) bool: positions whose next event is a target
    targets (T,) int64, in the order of `wanted`; `seen` (T, C) bool: candidates the person had chosen before that position
    candidates (C,) int64, or None for all N items
    correction (C,) log of the chance that each candidate is in the step, to be taken off its score; () zero for all items
    """

    fold: int
    events: EventTensors
    wanted: Tensor
    targets: Tensor
    seen: Tensor
    candidates: Tensor | None
    correction: Tensor


class Batches:
    """Deals the events of `train` into steps, each epoch in another order.

    `folds` (U,) int64. With more than `full_softmax` items, a step scores its own targets and `negatives` sampled items.
    Repeats of an item by the same person are no targets: what was chosen before is not recommended.
    """

    def __init__(
        self,
        train: Sequences,
        space: EventSpace,
        folds: NDArray[np.int64],
        *,
        length: int,
        batch: int,
        full_softmax: int,
        negatives: int,
        device: torch.device,
    ) -> None:
        self.train, self.folds, self.batch, self.device = train, folds, batch, device
        self.columns = space.columns(train)
        self.stretches = _stretches(train, length)  # (S, 3): person, first event, one past the last input
        n_items = len(train.item_ids)
        self.negatives = 0 if n_items <= full_softmax else negatives
        popularity = np.bincount(train.items, minlength=n_items).astype(np.float64)
        self.chance = (np.sqrt(popularity) + 1.0) / (np.sqrt(popularity) + 1.0).sum()
        self.frequency = popularity / max(1.0, popularity.sum())

    def __len__(self) -> int:
        """Steps an epoch."""
        people = self.stretches[:, 0]
        return sum(-(-int(n) // self.batch) for n in np.bincount(self.folds[people]) if n)

    def epoch(self, rng: np.random.Generator, share: int = 0, shares: int = 1) -> Iterator[Batch]:
        """The steps of one pass; of `shares` processes each takes every `shares`-th, all of them equally many."""
        steps = []
        fold_of = self.folds[self.stretches[:, 0]]
        for fold in np.unique(fold_of):
            order = rng.permutation(np.flatnonzero(fold_of == fold))
            steps += [(int(fold), order[start : start + self.batch]) for start in range(0, len(order), self.batch)]
        sampled = [self._sample(rng) for _ in steps]  # drawn by all processes alike, so that their order stays the same
        order = rng.permutation(len(steps))
        order = np.resize(order, -(-len(order) // shares) * shares)  # the last ones do some again: each waits for the others
        for step in order[share::shares]:
            fold, rows = steps[step]
            yield self._step(fold, self.stretches[rows], sampled[step])

    def _log_included(self, candidates: Tensor, targets: int) -> Tensor:
        """(C,) log of the chance that each candidate is in a step of so many targets: what sampling is corrected by."""
        chance = torch.from_numpy(self.chance).to(self.device)[candidates]
        frequency = torch.from_numpy(self.frequency).to(self.device)[candidates]
        out = self.negatives * torch.log1p(-chance) + targets * torch.log1p(-frequency.clamp(max=0.999))
        return torch.log(-torch.expm1(out)).float()

    def _sample(self, rng: np.random.Generator) -> NDArray[np.int64] | None:
        return rng.choice(len(self.chance), self.negatives, p=self.chance) if self.negatives else None

    def _step(self, fold: int, stretches: NDArray[np.int64], sampled: NDArray[np.int64] | None) -> Batch:
        train = self.train
        starts, lengths = stretches[:, 1], stretches[:, 2] - stretches[:, 1]
        place = np.arange(int(lengths.max()))
        inside = place[None] < lengths[:, None]
        following = np.where(inside, starts[:, None] + place[None] + 1, 0)  # event number of the target
        first = self._first_places(stretches[:, 0])  # (B, N)
        target = train.items[following].astype(np.int64)
        at = following - train.offsets[stretches[:, 0]][:, None]  # place of the target in the whole history
        fresh = np.take_along_axis(first, target, axis=1) >= at
        wanted = inside & fresh
        targets = target[wanted]
        rows = np.nonzero(wanted)[0]
        candidates = None if sampled is None else np.unique(np.concatenate([sampled, targets]))
        known = first if candidates is None else first[:, candidates]
        drawn = None if candidates is None else torch.from_numpy(candidates).to(self.device)
        return Batch(
            fold=fold,
            events=event_tensors(self.columns, starts, lengths, self.device),
            wanted=torch.from_numpy(wanted).to(self.device),
            targets=torch.from_numpy(targets if candidates is None else np.searchsorted(candidates, targets)).to(self.device),
            seen=torch.from_numpy(known[rows] < at[wanted][:, None]).to(self.device),
            candidates=drawn,
            correction=torch.zeros((), device=self.device) if drawn is None else self._log_included(drawn, len(targets)),
        )

    def _first_places(self, people: NDArray[np.int64]) -> NDArray[np.int64]:
        """(B, N) place of the first event of each person on each item; beyond all places where there is none."""
        first = np.full((len(people), len(self.train.item_ids)), np.iinfo(np.int64).max)
        for row, person in enumerate(people):
            history = self.train.history(person)
            first[row, history[::-1]] = np.arange(len(history))[::-1]  # the earliest is written last
        return first


def _stretches(train: Sequences, length: int) -> NDArray[np.int64]:
    """(S, 3) person, number of the first input event, one past the last input event. All events but the first are targets, and
    repeats of an item by the same person; a stretch without targets is left out.
    """
    found = []
    fresh = np.zeros(len(train), bool)
    fresh[np.unique(train.users * len(train.item_ids) + train.items, return_index=True)[1]] = True
    targets = np.concatenate([[0], np.cumsum(fresh)])
    for person in np.flatnonzero(train.lengths > 1):
        start, stop = int(train.offsets[person]), int(train.offsets[person + 1])
        last = stop - 1  # the last target
        while last > start:
            begin = max(start, last - length)
            if targets[last + 1] > targets[begin + 1]:
                found.append((int(person), begin, last))
            last = begin
    return np.array(found, np.int64).reshape(-1, 3)
