"""What lists are like besides being right: coverage, popularity, novelty, diversity, calibration.

Of all lists together
coverage@K     share of the candidates that are in at least one list
gini@K         Gini coefficient of how often each candidate is shown: 0 all equally often, near 1 a few always

Per person, mean over the items shown; NaN for an empty list
arp@K          average recommendation popularity: people of train with an event on the item (Yin et al., VLDB 2012)
novelty@K      self-information -log2(people of the item / people of train), bits; an item of nobody counts as one of one person
               (Zhou et al., PNAS 2010)
diversity@K    1 - mean cosine over the pairs of the list, on the content vectors of all modalities an item has; NaN with fewer
               than two items that have any (Ziegler et al., WWW 2005)
calibration@K  Kullback-Leibler divergence, nats, of the history's distribution over the values of one attribute from the list's,
               the latter mixed with 0.01 of the former so that it is finite (Steck, RecSys 2018); an item's share is dealt
               evenly over its values; 0 is calibrated; NaN where history or list has no value
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from genrec.errors import EvaluationError
from genrec.evaluation.splits import Split
from genrec.retrieval.item_vectors import unit_rows
from genrec.retrieval.systems import Content
from genrec.types import Item, scalars

MIX = 0.01
ITEMS_A_VALUE = 10
"""An attribute whose values occur in fewer items than this on average says nothing about taste (names, tags of one item)."""
CURVE = 50


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Background:
    """What the figures of every system on one split need.

    popularity    (N,) people of train with an event on the item; `people` with any event
    candidates    (N,) items that may be ranked
    content       (N, D) float32 unit rows, zero without vectors
    values        (N, V) shares of the items over the values of `attribute`, rows sum to 1 or are empty; None without an attribute
    taste         (U, V) distribution of each history, zero rows without values
    """

    popularity: NDArray[np.int64]
    people: int
    candidates: NDArray[np.bool_]
    content: NDArray[np.float32]
    attribute: str
    values: sparse.csr_array | None
    taste: NDArray[np.float64]

    @classmethod
    def of(cls, split: Split, content: Content, attribute: str | None = None) -> "Background":
        """`attribute` names the one of calibration; by default the list attribute with the highest entropy over its values among
        those with at least ITEMS_A_VALUE items a value. Raises EvaluationError when no item has the named one.
        """
        chosen = attribute if attribute is not None else list_attribute(content.items)
        values = value_shares(content.items, chosen) if chosen else None
        return cls(
            popularity=split.train.popularity(),
            people=int((split.train.lengths > 0).sum()),
            candidates=split.candidates,
            content=unit_rows(np.concatenate([*content.vectors.matrices.values(), np.zeros((len(content.items), 1))], axis=1)),
            attribute=chosen,
            values=values,
            taste=np.zeros((len(split.targets), 0)) if values is None else _tastes(split, values),
        )


def per_person(top: NDArray[np.int32], ks: Sequence[int], known: Background) -> dict[str, NDArray[np.float64]]:
    """Each `<metric>@<K>` to its values (U,); diversity only for K > 1, calibration only with an attribute."""
    made = {}
    surprise = -np.log2(np.maximum(known.popularity, 1) / max(1, known.people))
    for k in ks:
        lists = top[:, :k]
        made[f"arp@{k}"] = _mean_over(lists, known.popularity.astype(np.float64))
        made[f"novelty@{k}"] = _mean_over(lists, surprise)
        if k > 1 and known.content.any():
            made[f"diversity@{k}"] = _diversity(lists, known.content)
        if known.values is not None:
            made[f"calibration@{k}"] = _calibration(lists, known.values, known.taste, len(known.popularity))
    return made


def of_all(top: NDArray[np.int32], ks: Sequence[int], known: Background) -> dict[str, float]:
    """coverage@K and gini@K."""
    made = {}
    for k in ks:
        shown = exposure(top[:, :k], known.candidates)
        made[f"coverage@{k}"] = float((shown > 0).mean())
        made[f"gini@{k}"] = gini(shown)
    return made


def exposure(top: NDArray[np.int32], candidates: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(candidates,) how often each is shown."""
    return np.bincount(top[top >= 0], minlength=len(candidates))[candidates]


def exposure_curve(top: NDArray[np.int32], known: Background) -> tuple[tuple[float, float], ...]:
    """Points (share of the candidates, most popular in train first; cumulative share of the shown places), from (0, 0) to (1, 1).

    The diagonal is exposure that does not care for popularity. Empty when nothing is shown.
    """
    shown = exposure(top, known.candidates)
    if not shown.sum():
        return ()
    order = np.argsort(-known.popularity[known.candidates], kind="stable")
    total = np.concatenate([[0.0], np.cumsum(shown[order]) / shown.sum()])
    places = np.unique(np.linspace(0, len(shown), min(CURVE, len(shown)) + 1).astype(int))
    return tuple((round(float(place / len(shown)), 5), round(float(total[place]), 5)) for place in places)


def gini(counts: NDArray[np.integer]) -> float:
    """Gini coefficient of non-negative counts; 0 for none or all zero."""
    n = len(counts)
    if not n or not counts.sum():
        return 0.0
    order = np.sort(counts).astype(np.float64)
    return float(((2 * np.arange(1, n + 1) - n - 1) * order).sum() / (n * order.sum()))


def list_attribute(items: Sequence[Item]) -> str:
    """The list attribute with the highest entropy over its values, of those frequent enough; empty when there is none."""
    counts: dict[str, dict[str, int]] = {}
    for item in items:
        for name, value in item.attributes.items():
            if isinstance(value, tuple):
                seen = counts.setdefault(name, {})
                for part in set(map(str, value)):
                    seen[part] = seen.get(part, 0) + 1
    entropies = {}
    for name, seen in counts.items():
        shares = np.array(list(seen.values()), np.float64)
        if len(shares) > 1 and shares.mean() >= ITEMS_A_VALUE:
            shares /= shares.sum()
            entropies[name] = float(-(shares * np.log(shares)).sum())
    return max(sorted(entropies), key=entropies.__getitem__, default="")


def value_shares(items: Sequence[Item], attribute: str) -> sparse.csr_array:
    """(N, V) each item's share on each value of the attribute. Raises EvaluationError when no item has it."""
    rows, columns, shares, numbers = [], [], [], dict[str, int]()
    for row, item in enumerate(items):
        value = item.attributes.get(attribute, ())
        parts = sorted(set(map(str, scalars(value))))
        for part in parts:
            rows.append(row)
            columns.append(numbers.setdefault(part, len(numbers)))
            shares.append(1 / len(parts))
    if not numbers:
        names = sorted({name for item in items for name in item.attributes})
        raise EvaluationError(
            f"calibration: no item has the attribute {attribute!r}", hint=f"There are: {', '.join(names) or 'no attributes'}."
        )
    return sparse.csr_array((shares, (rows, columns)), shape=(len(items), len(numbers)))


def _tastes(split: Split, values: sparse.csr_array) -> NDArray[np.float64]:
    histories = split.histories
    shape = (len(histories.user_ids), len(histories.item_ids))
    counts = sparse.csr_array((np.ones(len(histories)), histories.items, histories.offsets), shape=shape)
    return _distribution(sparse.csr_array(counts @ values).toarray())


def _distribution(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows scaled to sum 1, zero rows kept."""
    sums = weights.sum(axis=1, keepdims=True)
    return np.divide(weights, sums, out=np.zeros_like(weights), where=sums > 0)


def _mean_over(lists: NDArray[np.int32], of_item: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B,) mean of the items' figures, NaN for empty lists."""
    there = lists >= 0
    total = np.where(there, of_item[lists], 0.0).sum(axis=1)
    count = there.sum(axis=1)
    return np.divide(total, count, out=np.full(len(lists), np.nan), where=count > 0)


def _diversity(lists: NDArray[np.int32], content: NDArray[np.float32]) -> NDArray[np.float64]:
    made = np.full(len(lists), np.nan)
    for row, shown in enumerate(lists):
        vectors = content[shown[shown >= 0]].astype(np.float64)
        norms = (vectors * vectors).sum(axis=1)
        n = int((norms > 0).sum())
        if n > 1:
            whole = vectors.sum(axis=0)
            made[row] = 1 - (whole @ whole - norms.sum()) / (n * (n - 1))
    return made


def _calibration(
    lists: NDArray[np.int32], values: sparse.csr_array, taste: NDArray[np.float64], n_items: int
) -> NDArray[np.float64]:
    rows, columns = np.nonzero(lists >= 0)
    shown = sparse.csr_array((np.ones(len(rows)), (rows, lists[rows, columns])), shape=(len(lists), n_items))
    given = _distribution(sparse.csr_array(shown @ values).toarray())
    mixed = (1 - MIX) * given + MIX * taste
    ratio = np.divide(taste, mixed, out=np.ones_like(taste), where=taste > 0)
    divergence = (taste * np.log(ratio)).sum(axis=1)
    return np.where((taste.sum(axis=1) > 0) & (given.sum(axis=1) > 0), divergence, np.nan)
