"""Who is asked what, and that nothing of the answer is given away."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.errors import EvaluationError
from genrec.evaluation.leaks import check
from genrec.evaluation.results import Sample
from genrec.evaluation.splits import Split, cold_items, cold_users, global_time, leave_one_out
from genrec.retrieval.sequences import Sequences
from tests.evaluation.events import DAY, YEAR_2020, random_sequences, sequences


def rows(part: Sequences) -> dict[str, list[int]]:
    return {user_id: part.history(number).tolist() for number, user_id in enumerate(part.user_ids)}


def targets(split: Split) -> list[list[int]]:
    return [target.tolist() for target in split.targets]


def test_leave_one_out() -> None:
    split = leave_one_out(sequences([[0, 1, 2], [3], [2, 0], []], 5, platforms=[[0, 0, 1], [0], [1, 0], []]))
    assert rows(split.histories) == {"p0": [0, 1], "p2": [2]}
    assert targets(split) == [[2], [0]]
    assert rows(split.train) == {"p0": [0, 1], "p1": [3], "p2": [2], "p3": []}
    assert split.cold.tolist() == [False, False, False, False, True]
    assert split.candidates.all()
    assert split.focus.all()
    assert split.times.tolist() == [YEAR_2020 + 2 * DAY, YEAR_2020 + DAY]
    assert split.platforms.tolist() == [1, 0]
    assert split.cutoff is None


def test_the_target_is_the_last_new_item_where_people_come_back() -> None:
    split = leave_one_out(sequences([[0, 1, 0, 2, 0, 2], [1, 1, 1]], 3))
    assert rows(split.histories) == {"p0": [0, 1, 0]}
    assert targets(split) == [[2]]
    assert rows(split.train) == {"p0": [0, 1, 0], "p1": [1, 1, 1]}


def test_held_out_two_is_the_validation_twin_and_never_sees_the_test_target() -> None:
    events = sequences([[0, 1, 2, 3], [4, 5], [6, 7, 8]], 9)
    test, validation = leave_one_out(events), leave_one_out(events, held_out=2)
    assert rows(validation.histories) == {"p0": [0, 1], "p2": [6]}
    assert targets(validation) == [[2], [7]]
    assert rows(validation.train) == {"p0": [0, 1], "p1": [4], "p2": [6]}
    assert test.validation().digest() == validation.digest() != test.digest()
    with pytest.raises(EvaluationError, match="held_out 0"):
        leave_one_out(events, held_out=0)


def test_nobody_to_ask() -> None:
    with pytest.raises(EvaluationError, match="nobody has two different items"):
        leave_one_out(sequences([[0], [1, 1]], 2))
    with pytest.raises(EvaluationError, match="no validation cases") as caught:
        leave_one_out(sequences([[0, 1]], 2)).validation()
    assert "without tuning" in caught.value.hint


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(st.integers(0, 6), max_size=8), min_size=1, max_size=6))
def test_every_case_is_a_new_item_after_a_prefix(histories: list[list[int]]) -> None:
    if all(len(set(history)) < 2 for history in histories):
        return
    split = leave_one_out(sequences(histories, 7))
    whole = {f"p{number}": history for number, history in enumerate(histories)}
    for user_id, history, target in zip(split.histories.user_ids, rows(split.histories).values(), targets(split), strict=True):
        assert history == whole[user_id][: len(history)]
        assert whole[user_id][len(history)] == target[0] not in history
        assert set(whole[user_id][len(history) :]) <= {*history, target[0]}
    assert check(split) == ()


def test_global_time() -> None:
    events = sequences([[0, 1, 2, 0, 3], [1, 2], [3, 0]], 4, [[0, 1, 9, 10, 11], [2, 3], [10, 11]])
    split = global_time(events, cutoff=YEAR_2020 + 5 * DAY)
    assert rows(split.train) == {"p0": [0, 1], "p1": [1, 2], "p2": []}
    assert rows(split.histories) == {"p0": [0, 1]}
    assert targets(split) == [[2]]
    assert split.cutoff == YEAR_2020 + 5 * DAY
    everything = global_time(events, cutoff=YEAR_2020 + 5 * DAY, targets="all", newcomers=True)
    assert rows(everything.histories) == {"p0": [0, 1], "p2": []}
    assert targets(everything) == [[2, 3], [3, 0]]
    by_share = global_time(events, 3 / 9, newcomers=True)
    assert len(by_share.train) == 5


def test_global_time_tunes_before_its_own_cutoff() -> None:
    split = global_time(random_sequences(0), 0.2)
    twin = split.validation()
    assert twin.cutoff is not None
    assert split.cutoff is not None
    assert twin.cutoff < split.cutoff
    assert len(twin.train) == pytest.approx(0.8 * len(split.train), rel=0.05)
    assert check(split, twin) == check(twin) == ()


def test_global_time_refuses_places_and_senseless_shares() -> None:
    events = random_sequences(0)
    with pytest.raises(EvaluationError, match="places in each person's history"):
        global_time(replace(events, timestamps=events.places.astype(np.float64)))
    with pytest.raises(EvaluationError, match="share 1"):
        global_time(events, 1.0)
    with pytest.raises(EvaluationError, match="both sides"):
        global_time(events, cutoff=0.0)


def test_cold_items_lose_all_events_and_the_warm_twin_has_them() -> None:
    events = random_sequences(1)
    split, whole = cold_items(events, 0.2, seed=3), leave_one_out(events)
    taken = np.random.default_rng(3).random(30) < 0.2
    assert split.cold[taken].all()
    assert not taken[split.train.items].any()
    assert not taken[split.histories.items].any()
    assert (split.histories.lengths > 0).all()
    assert split.focus.tolist() == [bool(taken[target[0]]) for target in split.targets]
    assert 0 < split.focus.sum() < len(split.focus)
    twin = split.warm_twin()
    assert rows(twin.train) == rows(whole.train)
    assert twin.histories.user_ids == split.histories.user_ids
    assert targets(twin) == targets(split)
    assert taken[twin.histories.items].any()
    assert check(split, split.validation()) == check(twin) == ()
    assert cold_items(events, 0.2, seed=4).digest() != split.digest() == cold_items(events, 0.2, seed=3).digest()
    assert cold_items(events, 0.4, seed=3).cold.sum() > split.cold.sum()
    assert len(cold_items(events, 0.2, seed=3, held_out=2).train) < len(split.train)
    some = split.take(split.focus)
    assert len(some.targets) == len(some.warm_twin().targets) == split.focus.sum()
    with pytest.raises(EvaluationError, match="no cases left"):
        split.take(np.zeros(len(split.focus), bool))
    with pytest.raises(EvaluationError, match="warm twin"):
        whole.warm_twin()
    with pytest.raises(EvaluationError, match="none of"):
        cold_items(sequences([[0, 1]], 2), 1e-9)
    with pytest.raises(EvaluationError, match="share 0"):
        cold_items(events, 0)


def test_cold_users_are_asked_after_their_first_events() -> None:
    events = random_sequences(2)
    split = cold_users(events, 0.3, seed=1, shown=(0, 2))
    left_out = {events.user_ids[number] for number in np.flatnonzero(np.random.default_rng(1).random(60) < 0.3)}
    assert set(split.histories.user_ids) == left_out
    assert not any(rows(split.train)[user_id] for user_id in left_out)
    whole = rows(events)
    for number, user_id in enumerate(split.histories.user_ids):
        shown = split.histories.history(number).tolist()
        assert len(shown) in (0, 2)
        assert whole[user_id][: len(shown) + 1] == [*shown, split.targets[number][0]]
    assert (
        sum(len(history) > 2 for user_id, history in whole.items() if user_id in left_out) == (split.histories.lengths == 2).sum()
    )
    twin = split.validation()
    assert not set(twin.histories.user_ids) & left_out
    assert check(split, twin) == check(twin) == ()
    with pytest.raises(EvaluationError, match="share"):
        cold_users(events, 0.3, shown=())
    with pytest.raises(EvaluationError, match="none of"):
        cold_users(events, 0.3, shown=(50,))


def test_a_sample_keeps_train_and_tuning_whole_and_all_rows_of_its_people() -> None:
    split = cold_users(random_sequences(3), 0.5, shown=(0, 1, 3))
    drawn = split.sampled(7)
    people = set(drawn.histories.user_ids)
    assert len(people) == 7
    assert drawn.sample == Sample(people=7, of=len(set(split.histories.user_ids)), seed=0)
    assert len(drawn.targets) == sum(user_id in people for user_id in split.histories.user_ids)
    assert drawn.train is split.train
    assert drawn.validation().digest() == split.validation().digest()
    assert split.sampled(7).digest() == drawn.digest() != split.sampled(7, seed=1).digest()
    assert split.sampled(10_000) is split
    with pytest.raises(EvaluationError, match="sample of 0"):
        split.sampled(0)


def test_a_sample_is_drawn_from_those_that_the_headline_is_about() -> None:
    split = cold_items(random_sequences(3), 0.3)
    drawn = split.sampled(5)
    assert drawn.focus.all()
    assert len(drawn.targets) == 5
    assert drawn.sample is not None
    assert drawn.sample.of == split.focus.sum()
    assert drawn.warm_twin().histories.user_ids == drawn.histories.user_ids
