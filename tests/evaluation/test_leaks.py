"""Each kind of leak is planted once and must be found."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from genrec.errors import EvaluationError
from genrec.evaluation.leaks import check, refuse
from genrec.evaluation.splits import Split, cold_items, cold_users, global_time, leave_one_out
from genrec.retrieval.sequences import Sequences
from tests.evaluation.events import random_sequences

EVENTS = random_sequences(5)


def with_event(part: Sequences, user: int, item: int, time: float) -> Sequences:
    """One more event at the end of a history."""
    place = int(part.offsets[user + 1])
    offsets = part.offsets.copy()
    offsets[user + 1 :] += 1
    extra = {"items": item, "timestamps": time, "values": np.nan, "kinds": 0, "platforms": 0}
    columns = {name: np.insert(getattr(part, name), place, value) for name, value in extra.items()}
    return replace(part, offsets=offsets, **columns)


def late_in_train(split: Split) -> Split:
    user = split.train.user_ids.index(split.histories.user_ids[0])
    seen = int(split.train.history(user)[0])
    return replace(split, train=with_event(split.train, user, seen, split.times[0] + 1))


def late_in_history(split: Split) -> Split:
    seen = int(split.histories.history(0)[0])
    return replace(split, histories=with_event(split.histories, 0, seen, split.times[0] + 1))


def target_in_history(split: Split) -> Split:
    return replace(split, histories=with_event(split.histories, 0, int(split.targets[0][0]), split.times[0] - 1))


def target_in_train(split: Split) -> Split:
    user = split.train.user_ids.index(split.histories.user_ids[0])
    time = float(split.train.timestamps.min())
    return replace(split, train=with_event(split.train, user, int(split.targets[0][0]), time))


def cold_in_train(split: Split) -> Split:
    stranger = split.train.user_ids.index(split.histories.user_ids[-1])
    cold = int(next(item for item in np.flatnonzero(split.cold) if item != split.targets[-1][0]))
    return replace(split, train=with_event(split.train, stranger, cold, float(split.train.timestamps.min())))


def cold_in_history(split: Split) -> Split:
    cold = int(next(item for item in np.flatnonzero(split.cold) if item != split.targets[0][0]))
    return replace(split, histories=with_event(split.histories, 0, cold, float(split.histories.timestamps.min())))


def new_person_in_train(split: Split) -> Split:
    user = split.train.user_ids.index(split.histories.user_ids[0])
    other = int(next(item for item in range(30) if all(item not in target for target in split.targets[:4])))
    return replace(split, train=with_event(split.train, user, other, float(split.train.timestamps.min())))


def not_a_candidate(split: Split) -> Split:
    candidates = split.candidates.copy()
    candidates[split.targets[0][0]] = False
    return replace(split, candidates=candidates)


LOO, TIME, ITEMS, USERS = leave_one_out(EVENTS), global_time(EVENTS, 0.2), cold_items(EVENTS, 0.3), cold_users(EVENTS, 0.3)
PLANTED: list[tuple[Split, Callable[[Split], Split], str]] = [
    (LOO, late_in_train, "after the target"),
    (LOO, late_in_history, "after the target"),
    (TIME, late_in_train, "after the cutoff"),
    (TIME, late_in_history, "after the cutoff"),
    (LOO, target_in_history, "target in history"),
    (LOO, target_in_train, "target in train"),
    (TIME, target_in_train, "target in train"),
    (ITEMS, cold_in_train, "cold item in train"),
    (ITEMS, cold_in_history, "cold item in train"),
    (USERS, new_person_in_train, "new person in train"),
    (LOO, not_a_candidate, "not a candidate"),
]


@pytest.mark.parametrize(("split", "plant", "kind"), PLANTED, ids=[f"{s.name}: {p.__name__}" for s, p, _ in PLANTED])
def test_a_planted_leak_is_found(split: Split, plant: Callable[[Split], Split], kind: str) -> None:
    assert check(split) == ()
    refuse(split)
    planted = plant(split)
    found = check(planted)
    assert kind in {leak.kind for leak in found}
    targets = np.concatenate(split.targets)
    expected = int((targets == split.targets[0][0]).sum()) if plant is not_a_candidate else 1
    assert [leak.count for leak in found if leak.kind == kind] == [expected]
    with pytest.raises(EvaluationError, match=kind) as caught:
        refuse(planted)
    assert "splits" in caught.value.hint


@pytest.mark.parametrize("split", [LOO, TIME, ITEMS, USERS], ids=lambda split: split.name)
def test_a_tuning_split_made_from_everything_is_found(split: Split) -> None:
    assert check(split, split.validation()) == ()
    everything = leave_one_out(EVENTS)
    assert {leak.kind for leak in check(split, everything)} == {"in the tuning split"}


def test_leaks_are_counted_and_named() -> None:
    leaking = replace(LOO, train=EVENTS)
    (leak,) = check(leaking)
    assert leak.count == len(LOO.targets)
    assert str(leak) == f"target in train: 60 (person 'p0', item 'i{LOO.targets[0][0]}')"
