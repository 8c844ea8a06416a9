"""Parts of the cases: every case is in the part it belongs to."""

import numpy as np

from genrec.evaluation.slices import Lengths, parts
from genrec.evaluation.splits import Split, cold_items, cold_users, leave_one_out
from tests.evaluation.events import content, random_sequences, sequences


def by(split: Split, name: str, lengths: Lengths = "fixed") -> dict[str, list[int]]:
    n_items = len(split.candidates)
    return {part.value: np.flatnonzero(part.rows).tolist() for part in parts(split, content(n_items), lengths) if part.by == name}


def test_history_length() -> None:
    histories = [list(range(n + 1)) for n in (1, 5, 6, 20, 21, 50, 51)]
    split = leave_one_out(sequences(histories, 60))
    assert by(split, "history length") == {"1-5": [0, 1], "6-20": [2, 3], "21-50": [4, 5], ">50": [6]}
    assert by(split, "history length", "quarters") == {"1-5": [0, 1], "6-20": [2, 3], "21-50": [4, 5], "51-51": [6]}
    assert by(leave_one_out(sequences(histories[:4], 60)), "history length") == {"1": [0], "5": [1], "6": [2], "20": [3]}


def test_cold_users_by_the_events_shown() -> None:
    split = cold_users(random_sequences(2), 0.5, shown=(0, 1, 3))
    found = by(split, "history length")
    assert list(found) == ["0", "1", "3"]
    assert sum(map(len, found.values())) == len(split.targets)


def test_target_popularity_by_thirds_of_the_events() -> None:
    # people of train: i0 six, i1 three, i2 two, i3 one; the targets are i3, i2, i1, i0, i0, i0 (and i4, which nobody had)
    histories = [[0, 3], [0, 2], [0, 1], [1, 0], [2, 0], [1, 2, 3, 0], [0, 1, 4], [0, 5], [0, 5]]
    split = leave_one_out(sequences(histories, 6))
    assert split.train.popularity().tolist() == [6, 3, 2, 1, 0, 0]
    assert by(split, "target popularity") == {"head": [3, 4, 5], "mid": [2], "tail": [0, 1]}
    assert by(split, "target") == {"cold": [6, 7, 8], "warm": [0, 1, 2, 3, 4, 5]}


def test_cold_targets_of_a_cold_item_split() -> None:
    split = cold_items(random_sequences(1), 0.2, seed=3)
    assert set(np.flatnonzero(split.focus)) <= set(by(split, "target")["cold"])


def test_platforms_only_where_there_are_several() -> None:
    split = leave_one_out(sequences([[0, 1], [1, 2], [2, 4]], 5, platforms=[[0, 1], [0, 0], [0, 1]]))
    assert by(split, "event platform") == {"app": [0, 2], "web": [1]}
    assert by(split, "item platform") == {"shop": [0], "library": [1, 2]}
    assert by(leave_one_out(sequences([[0, 1], [1, 2]], 5)), "event platform") == {}
