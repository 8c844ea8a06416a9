"""Metrics equal those of trec_eval (pytrec_eval) and of scikit-learn on random runs with ties and empty lists."""

import numpy as np
import pytest
import pytrec_eval
from sklearn.metrics import average_precision_score, coverage_error, f1_score, ndcg_score, precision_score, recall_score

from genrec.errors import EvaluationError
from genrec.evaluation.ranks import rank
from genrec.metrics import KS, accuracy
from tests.evaluation.events import sequences

ITEMS, PEOPLE = 80, 120
NAMES = ("recall", "precision", "f1", "hit", "ndcg", "mrr", "map")


def run(seed: int) -> tuple[np.ndarray, list[list[int]], tuple[np.ndarray, ...]]:
    """Scores with many ties and some -inf (one list empty), histories, one to eight targets (one set larger than most K)."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 12, (PEOPLE, ITEMS)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.15] = -np.inf
    scores[0] = -np.inf
    histories = [rng.choice(ITEMS, rng.integers(0, 10), replace=False).tolist() for _ in range(PEOPLE)]
    open_items = [np.setdiff1d(np.arange(ITEMS), history) for history in histories]
    targets = [rng.choice(items, rng.integers(1, 9), replace=False).astype(np.int32) for items in open_items]
    targets[1] = open_items[1][:60].astype(np.int32)
    return scores, histories, tuple(targets)


def ours(seed: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    scores, histories, targets = run(seed)
    top = rank(scores, sequences(histories, ITEMS), targets, np.ones(ITEMS, bool), max(KS)).top
    return top, accuracy(top, targets)


def document(item: int) -> str:
    """trec_eval puts the larger name first among equal scores; we put the smaller number first."""
    return f"{ITEMS - item:04d}"


def relative(targets: tuple[np.ndarray, ...], k: int) -> np.ndarray:
    """Others divide average precision by |T|, we by min(K, |T|)."""
    sizes = np.array([len(target) for target in targets])
    return np.minimum(sizes, k) / sizes


@pytest.mark.parametrize("seed", range(3))
def test_equal_to_trec_eval_with_ties(seed: int) -> None:
    scores, histories, targets = run(seed)
    _, made = ours(seed)
    wanted = {f"q{row}": {document(item): 1 for item in target.tolist()} for row, target in enumerate(targets)}
    given = {}
    for row in range(PEOPLE):
        shown = [item for item in range(ITEMS) if item not in histories[row] and scores[row, item] > -np.inf]
        given[f"q{row}"] = {document(item): float(scores[row, item]) for item in shown}
    cuts = ",".join(map(str, KS))
    asked = {f"{measure}.{cuts}" for measure in ("recall", "P", "ndcg_cut", "map_cut", "success")}
    theirs = pytrec_eval.RelevanceEvaluator(wanted, asked).evaluate(given)
    empty = {f"q{row}" for row in range(PEOPLE) if not given[f"q{row}"]}
    assert empty == {"q0"}
    names = {"recall": "recall", "precision": "P", "ndcg": "ndcg_cut", "map": "map_cut", "hit": "success"}
    for k in KS:
        for name, other in names.items():
            expected = np.array([theirs[f"q{row}"][f"{other}_{k}"] if f"q{row}" not in empty else 0.0 for row in range(PEOPLE)])
            mine = made[f"{name}@{k}"] * (relative(targets, k) if name == "map" else 1)
            assert np.abs(mine - expected).max() < 1e-9, (name, k)
        cut = {query: dict(sorted(found.items(), key=lambda pair: (pair[1], pair[0]))[-k:]) for query, found in given.items()}
        first = pytrec_eval.RelevanceEvaluator(wanted, {"recip_rank"}).evaluate(cut)
        expected = np.array([first[f"q{row}"]["recip_rank"] if f"q{row}" not in empty else 0.0 for row in range(PEOPLE)])
        assert np.abs(made[f"mrr@{k}"] - expected).max() < 1e-9


@pytest.mark.parametrize("k", KS)
def test_equal_to_scikit_learn(k: int) -> None:
    _, _, targets = run(7)
    top, made = ours(7)
    columns = np.arange(ITEMS)
    for row in np.flatnonzero((top >= 0).sum(axis=1) >= k):  # scikit-learn's precision divides by the list's own length
        shown = top[row, :k]
        wanted, given = np.isin(columns, targets[row]), np.isin(columns, shown)
        order = np.zeros(ITEMS)
        order[shown] = np.arange(k, 0, -1)
        within = wanted & given
        expected = {
            "recall": recall_score(wanted, given),
            "precision": precision_score(wanted, given),
            "f1": f1_score(wanted, given),
            "ndcg": ndcg_score([wanted], [order], k=k),
            "map": average_precision_score(within, order) * within.sum() / min(k, wanted.sum()) if within.any() else 0.0,
        }
        first = columns == next((item for item in shown if wanted[item]), -1)
        depth = coverage_error([first], [order]) if first.any() else np.inf
        expected |= {"hit": float(depth <= k), "mrr": 1 / depth}
        for name in NAMES:
            assert abs(made[f"{name}@{k}"][row] - expected[name]) < 1e-9, (name, row)


def test_by_hand() -> None:
    top = np.array([[4, 1, 2, -1]], np.int32)
    made = accuracy(top, [np.array([1, 2, 9], np.int32)], (1, 2, 3, 4))
    found = {name: [round(float(made[f"{name}@{k}"][0]), 6) for k in (1, 2, 3, 4)] for name in NAMES}
    assert found == {
        "recall": [0, 0.333333, 0.666667, 0.666667],
        "precision": [0, 0.5, 0.666667, 0.5],
        "f1": [0, 0.4, 0.666667, 0.571429],
        "hit": [0, 1, 1, 1],
        "ndcg": [0, 0.386853, 0.530721, 0.530721],
        "mrr": [0, 0.5, 0.5, 0.5],
        "map": [0, 0.25, 0.388889, 0.388889],
    }


def test_nothing_to_find_and_nothing_shown() -> None:
    top = np.array([[1, 2], [-1, -1], [-1, -1]], np.int32)
    none, some = np.zeros(0, np.int32), np.array([1], np.int32)
    made = accuracy(top, [none, some, none], (1, 2))
    for values in made.values():
        assert np.isnan(values[[0, 2]]).all()
        assert values[1] == 0


@pytest.mark.parametrize("ks", [(0,), (3,), (1, 7), ()])
def test_senseless_ks(ks: tuple[int, ...]) -> None:
    with pytest.raises(EvaluationError, match="must lie between 1 and 2"):
        accuracy(np.zeros((1, 2), np.int32), [np.array([1], np.int32)], ks)
