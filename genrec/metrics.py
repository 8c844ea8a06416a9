"""Accuracy of ranked lists, per person, so that two systems can be compared pair by pair.

Conventions, with T the target set, hits the targets among the first K places, places from 1, relevance 0 or 1:

recall@K     hits / |T|
precision@K  hits / K, also where the list is shorter than K (as trec_eval's P_K)
f1@K         2 · precision · recall / (precision + recall), 0 without hits
hit@K        1 with at least one hit, else 0
ndcg@K       sum of 1 / log2(place + 1) over hits, divided by the same sum of min(K, |T|) hits at the top (as trec_eval's
             ndcg_cut; Järvelin & Kekäläinen 2002)
mrr@K        1 / place of the first hit, 0 without
map@K        sum over hits of precision at their place, divided by min(K, |T|), so that a perfect list scores 1 (trec_eval's
             map_cut divides by |T|: the same where |T| <= K)

An empty list scores 0 everywhere. A person without targets has no figure: NaN, left out of means. With one target, recall and
hit are equal, and mrr and map.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from genrec.errors import EvaluationError

KS = (1, 5, 10, 20, 50)
Column = NDArray[np.float64]


def gain(place: ArrayLike, k: int = 10) -> NDArray[np.float64]:
    """NDCG@k of one target that stands at `place` of a list, counted from 0: 1 / log2(place + 2), 0 from place k on.

    Who counts places decides about ties: `accuracy` takes lists as they come (the harness breaks ties by item number), the LLM
    ranker by the retriever's order, and the baselines' own early stopping counts only what scores higher.
    """
    place = np.asarray(place, np.float64)
    return np.where(place < k, 1.0 / np.log2(place + 2.0), 0.0)


def accuracy(
    top: NDArray[np.int32], targets: Sequence[NDArray[np.integer]], ks: Sequence[int] = KS
) -> dict[str, NDArray[np.float64]]:
    """Each `<metric>@<K>` to its values (B,), from lists `top` (B, >= max K) padded with -1.

    Raises EvaluationError when a K is below 1 or above the length of the lists.
    """
    check_ks(ks, top.shape[1])
    hits = found(top, targets)
    sizes = np.array([len(np.unique(target)) for target in targets], np.float64)
    sizes[sizes == 0] = np.nan
    return {f"{name}@{k}": metric(hits[:, :k], sizes) for name, metric in METRICS.items() for k in ks}


def check_ks(ks: Sequence[int], longest: int) -> None:
    """Raises EvaluationError unless every K lies in 1..longest."""
    wrong = [k for k in ks if not 1 <= k <= longest]
    if wrong or not ks:
        raise EvaluationError(f"K {wrong or tuple(ks)}: must lie between 1 and {longest}", hint="For example 1, 5, 10, 20, 50.")


def found(top: NDArray[np.int32], targets: Sequence[NDArray[np.integer]]) -> NDArray[np.bool_]:
    """(B, K) True where the list's item is a target of the person."""
    width = 1 + max(int(top.max(initial=0)), max((int(target.max(initial=0)) for target in targets), default=0))
    owners = np.repeat(np.arange(len(targets)), [len(target) for target in targets])
    wanted = owners * width + np.concatenate([*targets, np.zeros(0, np.int64)]).astype(np.int64)
    shown = np.arange(len(top))[:, None] * width + top.astype(np.int64)
    return np.isin(shown, wanted) & (top >= 0)


def _recall(hits: NDArray[np.bool_], sizes: Column) -> Column:
    return hits.sum(axis=1) / sizes


def _precision(hits: NDArray[np.bool_], sizes: Column) -> Column:
    return np.where(np.isnan(sizes), np.nan, hits.mean(axis=1))


def _f1(hits: NDArray[np.bool_], sizes: Column) -> Column:
    return 2 * hits.sum(axis=1) / (hits.shape[1] + sizes)  # the harmonic mean of hits / K and hits / |T|


def _hit(hits: NDArray[np.bool_], sizes: Column) -> Column:
    return np.where(np.isnan(sizes), np.nan, hits.any(axis=1))


def _ndcg(hits: NDArray[np.bool_], sizes: Column) -> Column:
    gains = gain(np.arange(hits.shape[1]), hits.shape[1])
    ideal = np.cumsum(gains)[np.nan_to_num(np.minimum(sizes, hits.shape[1]), nan=1.0).astype(int) - 1]
    return np.where(np.isnan(sizes), np.nan, hits @ gains / ideal)


def _mrr(hits: NDArray[np.bool_], sizes: Column) -> Column:
    first = np.where(hits.any(axis=1), 1 / (hits.argmax(axis=1) + 1), 0.0)
    return np.where(np.isnan(sizes), np.nan, first)


def _map(hits: NDArray[np.bool_], sizes: Column) -> Column:
    precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    return (precision * hits).sum(axis=1) / np.minimum(sizes, hits.shape[1])


METRICS: dict[str, Callable[[NDArray[np.bool_], Column], Column]] = {
    "recall": _recall,
    "precision": _precision,
    "f1": _f1,
    "hit": _hit,
    "ndcg": _ndcg,
    "mrr": _mrr,
    "map": _map,
}
