"""Stretches of histories as steps: what is a target, what is masked, what is sampled, who gets which step."""

from typing import Any

import numpy as np
import pytest
import torch

from genrec.retrieval.event_features import EventSpace
from genrec.retrieval.sequences import Sequences
from genrec.training.retriever_batches import Batch, Batches
from tests.training import world


def deal(train: Sequences, folds: list[int] | None = None, **changes: Any) -> Batches:
    options: dict[str, Any] = {"length": 50, "batch": 4, "full_softmax": 1000, "negatives": 8} | changes
    dealt = np.array(folds or [0] * len(train.user_ids))
    return Batches(train, EventSpace.fit(train), dealt, device=torch.device("cpu"), **options)


def pairs(batches: list[Batch]) -> list[tuple[tuple[int, ...], int]]:
    """(inputs up to the position, target item) of every position."""
    found = []
    for batch in batches:
        targets = batch.targets if batch.candidates is None else batch.candidates[batch.targets]
        for (row, place), target in zip(batch.wanted.nonzero().tolist(), targets.tolist(), strict=True):
            found.append((tuple(batch.events.items[row, : place + 1].tolist()), target))
    return found


def epoch(batches: Batches, seed: int = 0) -> list[Batch]:
    return list(batches.epoch(np.random.default_rng(seed)))


def test_every_event_but_the_first_is_a_target_of_those_before_it() -> None:
    train = world.histories([[3, 4, 5], [6], [], [7, 8]])
    assert sorted(pairs(epoch(deal(train)))) == [((3,), 4), ((3, 4), 5), ((7,), 8)]


def test_repeats_are_no_targets_and_what_was_chosen_is_masked() -> None:
    train = world.histories([[3, 4, 3, 5]])
    (batch,) = epoch(deal(train))
    assert pairs([batch]) == [((3,), 4), ((3, 4, 3), 5)]
    seen = [np.flatnonzero(row).tolist() for row in batch.seen.numpy()]
    assert seen == [[3], [3, 4]]


def test_a_step_without_targets_is_none() -> None:
    train = world.histories([[3, 3, 3], [4, 5]])
    for batches in (deal(train, batch=1), deal(train, folds=[0, 1])):
        made = epoch(batches)
        assert len(made) == len(batches) == 1
        assert pairs(made) == [((4,), 5)]
    assert len(deal(world.histories([[3, 3], [4]]))) == 0
    long = world.histories([[1, 2, 1, 2, 1, 2, 1, 2, 3]])
    assert {target for _, target in pairs(epoch(deal(long, length=2)))} == {2, 3}


@pytest.mark.parametrize("length", [2, 3, 4, 50])
def test_long_histories_are_cut_so_that_every_event_stays_a_target(length: int) -> None:
    train = world.histories([list(range(11)), list(range(12, 20))])
    found = pairs(epoch(deal(train, length=length)))
    assert sorted(target for _, target in found) == [*range(1, 11), *range(13, 20)]
    assert max(len(inputs) for inputs, _ in found) == min(length, 10)
    assert all(inputs == tuple(range(target - len(inputs), target)) for inputs, target in found)


def test_a_step_is_of_one_fold_and_no_larger_than_asked() -> None:
    train = world.events()
    folds = [n % 3 for n in range(len(train.user_ids))]
    batches = deal(train, folds, batch=5)
    made = epoch(batches)
    assert len(made) == len(batches)
    assert all(len(batch.events.lengths) <= 5 for batch in made)
    for batch in made:
        for row in range(len(batch.events.lengths)):
            inputs = batch.events.items[row, : batch.events.lengths[row]].tolist()
            owners = [u for u in range(len(train.user_ids)) if train.history(u)[:-1].tolist() == inputs]
            assert batch.fold in {folds[u] for u in owners}


def test_each_epoch_has_its_own_order_and_the_same_pairs() -> None:
    batches = deal(world.events())
    rng = np.random.default_rng(0)
    one, two = list(batches.epoch(rng)), list(batches.epoch(rng))
    assert sorted(pairs(one)) == sorted(pairs(two))
    assert pairs(one) != pairs(two)
    assert pairs(epoch(batches)) == pairs(one)


@pytest.mark.parametrize("shares", [2, 3, 4, 20])
def test_processes_share_an_epoch_and_do_equally_many_steps(shares: int) -> None:
    batches = deal(world.events(), full_softmax=5)
    whole = epoch(batches)
    parts = [list(batches.epoch(np.random.default_rng(0), share, shares)) for share in range(shares)]
    assert len({len(part) for part in parts}) == 1
    assert len(parts[0]) == -(-len(whole) // shares)
    together = [tuple(sorted(pairs([batch]))) for part in parts for batch in part]
    assert set(together) == {tuple(sorted(pairs([batch]))) for batch in whole}


def test_samples_hold_their_targets_and_favour_what_is_popular() -> None:
    train = world.events()
    batches = deal(train, full_softmax=5, negatives=4)
    counts = np.zeros(world.ITEMS)
    rng = np.random.default_rng(0)
    for _ in range(40):
        for batch in batches.epoch(rng):
            assert batch.candidates is not None
            assert batch.seen.shape == (len(batch.targets), len(batch.candidates))
            assert batch.candidates.diff().gt(0).all()
            assert len(batch.candidates) <= 4 + len(batch.targets)
            counts[batch.candidates.numpy()] += 1
    popular = train.popularity()
    assert counts.min() > 0
    assert counts[popular > 0].mean() > 1.5 * counts[popular == 0].mean()
    assert epoch(deal(train, full_softmax=world.ITEMS))[0].candidates is None


def test_the_correction_is_the_chance_to_be_in_a_step() -> None:
    """Against counting: draws by the square root of popularity, targets by popularity."""
    train = world.events()
    batches = deal(train, full_softmax=5, negatives=6)
    rng = np.random.default_rng(1)
    there = np.zeros(world.ITEMS)
    times = 4000
    for _ in range(times):
        drawn = rng.choice(world.ITEMS, 6, p=batches.chance)
        wanted = rng.choice(world.ITEMS, 3, p=batches.frequency)
        there[np.union1d(drawn, wanted)] += 1
    chance = np.exp(batches._log_included(torch.arange(world.ITEMS), 3).numpy())
    assert chance == pytest.approx(there / times, abs=0.03)


def test_a_sampled_softmax_agrees_with_the_full_one_in_expectation() -> None:
    """The gradient of the loss by the scores, averaged over many samples, points where the full one points; uncorrected it
    does not.
    """
    train = world.events(people=60)
    scores = torch.from_numpy(np.random.default_rng(2).normal(size=world.ITEMS)).float()

    def gradient(batches: Batches, corrected: bool, epochs: int) -> np.ndarray:
        rng = np.random.default_rng(3)
        total, positions = torch.zeros(world.ITEMS), 0
        for _ in range(epochs):
            for batch in batches.epoch(rng):
                given = scores.clone().requires_grad_(True)
                logits = given if batch.candidates is None else given[batch.candidates]
                logits = (logits - (batch.correction if corrected else 0.0)).expand(len(batch.targets), -1)
                loss = torch.nn.functional.cross_entropy(logits.masked_fill(batch.seen, -1e4), batch.targets, reduction="sum")
                total += torch.autograd.grad(loss, given)[0]
                positions += len(batch.targets)
        return (total / positions).numpy()

    full = gradient(deal(train, batch=3), corrected=True, epochs=1)
    sampled = deal(train, batch=3, full_softmax=5, negatives=15)
    close = np.abs(gradient(sampled, corrected=True, epochs=60) - full).sum()
    far = np.abs(gradient(sampled, corrected=False, epochs=60) - full).sum()
    assert close < 0.15 * np.abs(full).sum()
    assert close < 0.5 * far
