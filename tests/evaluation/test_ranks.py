"""From scores to lists: exclusion, ties, short lists, batches, AUC against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from genrec.errors import EvaluationError
from genrec.evaluation.ranks import NOTHING, rank, rank_split
from genrec.evaluation.splits import leave_one_out
from genrec.retrieval.sequences import Sequences
from tests.evaluation.events import random_sequences, sequences


def targets(*rows: list[int]) -> tuple[np.ndarray, ...]:
    return tuple(np.array(row, np.int32) for row in rows)


def test_history_is_left_out_and_ties_go_by_item_number() -> None:
    histories = sequences([[2], [], [0, 1]], 5)
    scores = np.array([[1, 3, 9, 3, 3], [0, 0, 0, 0, 0], [5, 5, -np.inf, 1, 2]], np.float32)
    made = rank(scores, histories, targets([3], [4], [1]), np.ones(5, bool), 3)
    assert made.top.tolist() == [[1, 3, 4], [0, 1, 2], [4, 3, NOTHING]]
    assert 1 not in made.top[2]  # a target in the history is never found
    assert made.auc.tolist() == [2 / 3, 0.5, 0.0]
    assert rank(scores, histories, targets([3], [4], [1]), np.ones(5, bool), 9).top[0].tolist() == [1, 3, 4, 0] + 5 * [NOTHING]


def test_only_candidates_are_ranked() -> None:
    candidates = np.array([True, False, True, True])
    made = rank(np.array([[1, 9, 2, 3]], np.float32), sequences([[]], 4), targets([2]), candidates, 4)
    assert made.top.tolist() == [[3, 2, 0, NOTHING]]
    assert made.auc.tolist() == [0.5]


def test_lists_equal_a_full_stable_sort() -> None:
    rng = np.random.default_rng(0)
    histories = random_sequences(0)
    scores = rng.integers(0, 6, (60, 30)).astype(np.float32)
    scores[rng.random((60, 30)) < 0.2] = -np.inf
    made = rank(scores, histories, targets(*[[0]] * 60), np.ones(30, bool), 7)
    for row, shown in enumerate(made.top):
        seen = set(histories.history(row).tolist())
        allowed = [item for item in range(30) if item not in seen and scores[row, item] > -np.inf]
        best = sorted(allowed, key=lambda item: (-scores[row, item], item))[:7]
        assert shown.tolist() == best + [NOTHING] * (7 - len(best))


def test_auc_equals_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    wanted = targets(*(rng.choice(40, rng.integers(1, 6), replace=False).tolist() for _ in range(50)))
    scores = rng.integers(0, 8, (50, 40)).astype(np.float32)
    made = rank(scores, sequences([[]] * 50, 40), wanted, np.ones(40, bool), 5)
    for row, target in enumerate(wanted):
        assert made.auc[row] == pytest.approx(roc_auc_score(np.isin(np.arange(40), target), scores[row]), abs=1e-9)
    none = rank(scores[:2], sequences([[], list(range(39))], 40), targets([], [39]), np.ones(40, bool), 5)
    assert np.isnan(none.auc).all()


def test_batches_change_nothing_and_bound_what_is_asked_for() -> None:
    split = leave_one_out(random_sequences(3))
    asked = []

    def score(histories: Sequences) -> np.ndarray:
        asked.append(len(histories.user_ids))
        seeds = [int(user_id[1:]) for user_id in histories.user_ids]
        return np.stack([np.random.default_rng(seed).integers(0, 9, 30) for seed in seeds]).astype(np.float32)

    whole = rank_split(score, split, 10)
    parts = rank_split(score, split, 10, batch_bytes=7 * 30 * 4)
    assert asked == [60] + [7] * 8 + [4]
    assert np.array_equal(whole.top, parts.top)
    assert np.array_equal(whole.auc, parts.auc)


def test_scores_that_are_no_scores() -> None:
    histories = sequences([[0]], 3)
    with pytest.raises(EvaluationError, match=r"shape \(3, 1\), not \(1, 3\)"):
        rank(np.zeros((3, 1), np.float32), histories, targets([1]), np.ones(3, bool))
    with pytest.raises(EvaluationError, match="item 'i2' for person 'p0' is NaN") as caught:
        rank(np.array([[0, 1, np.nan]], np.float32), histories, targets([1]), np.ones(3, bool))
    assert "-inf" in caught.value.hint
