"""From scores to ranked lists: history and other items left out, the best K kept, ties broken by item number.

A list holds the items of the catalogue that are candidates, are not in the person's history and have a score above -inf, best
first; among equal scores the smaller item number comes first. A target in the history is therefore never found.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genrec.errors import EvaluationError
from genrec.evaluation.splits import Split
from genrec.progress import SILENT, Progress, track
from genrec.retrieval.sequences import Sequences

BATCH_BYTES = 128 << 20
"""Of float32 scores held at a time; ranking takes about twice as much besides."""
TOP = 50
NOTHING = -1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranking:
    """`top` (B, K) int32 item numbers, best first, NOTHING behind the end of a short list; `auc` (B,) float64.

    auc  share of the pairs (target, other candidate outside the history) in which the target has the higher score, equal scores
         count half (the Mann-Whitney statistic); a target that is not a candidate or in the history wins no pair; NaN where
         there is no target or no other candidate.
    """

    top: NDArray[np.int32]
    auc: NDArray[np.float64]


def rank(
    scores: NDArray[np.float32],
    histories: Sequences,
    targets: tuple[NDArray[np.int32], ...],
    candidates: NDArray[np.bool_],
    k: int = TOP,
) -> Ranking:
    """Lists and AUC of B people from their `scores` (B, N). Raises EvaluationError for a wrong shape or NaN."""
    expected = (len(histories.user_ids), len(histories.item_ids))
    if scores.shape != expected:
        raise EvaluationError(f"scores have shape {scores.shape}, not {expected}", hint="One row a person, one column an item.")
    bad = np.isnan(scores)
    if bad.any():
        row, item = np.argwhere(bad)[0]
        raise EvaluationError(
            f"the score of item {histories.item_ids[item]!r} for person {histories.user_ids[row]!r} is NaN",
            hint="Give -inf to what must never be shown.",
        )
    open_items = np.repeat(candidates[None], len(scores), axis=0)
    open_items[histories.users, histories.items] = False
    auc = np.array([_auc(row, target, free) for row, target, free in zip(scores, targets, open_items, strict=True)], np.float64)
    return Ranking(top=best(np.where(open_items, scores, -np.inf), k), auc=auc)


def rank_split(
    score: Callable[[Sequences], NDArray[np.float32]],
    split: Split,
    k: int = TOP,
    *,
    batch_bytes: int = BATCH_BYTES,
    progress: Progress = SILENT,
) -> Ranking:
    """Lists and AUC of all cases, `score` asked for as many people at a time as fit in `batch_bytes` of scores."""
    cases, items = len(split.targets), len(split.candidates)
    size = max(1, batch_bytes // (4 * max(1, items)))
    parts = []
    for start in track(progress, "ranking", range(0, cases, size), -(-cases // size)):
        rows = np.arange(start, min(start + size, cases))
        histories = split.histories.take(rows)
        parts.append(rank(score(histories), histories, split.targets[start : start + size], split.candidates, k))
    return Ranking(top=np.concatenate([part.top for part in parts]), auc=np.concatenate([part.auc for part in parts]))


def best(scores: NDArray[np.floating], k: int) -> NDArray[np.int32]:
    """(B, k) item numbers by score, then by number; -inf is not shown, NOTHING stands behind the end of a short list."""
    n = scores.shape[1]
    top = np.full((len(scores), k), NOTHING, np.int32)
    limits = np.partition(scores, n - k, axis=1)[:, n - k] if k < n else np.full(len(scores), -np.inf)
    for place, (row, limit) in enumerate(zip(scores, limits, strict=True)):
        chosen = np.flatnonzero((row >= limit) & (row > -np.inf))  # ascending numbers; more than k where the limit is tied
        order = np.argsort(-row[chosen], kind="stable")[:k]
        top[place, : len(order)] = chosen[order]
    return top


def _auc(scores: NDArray[np.float32], targets: NDArray[np.int32], free: NDArray[np.bool_]) -> float:
    others = free.copy()
    others[targets] = False
    rivals = scores[others]
    if not len(targets) or not len(rivals):
        return float("nan")
    won = [
        ((rivals < scores[target]).sum() + 0.5 * (rivals == scores[target]).sum()) / len(rivals) if free[target] else 0.0
        for target in targets
    ]
    return float(np.mean(won))
