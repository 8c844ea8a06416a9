"""What the second stage is told of a person and a candidate."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from genrec.baselines.base import decayed
from genrec.retrieval.item_vectors import unit_rows
from genrec.retrieval.sequences import Sequences
from genrec.retrieval.systems import Content
from genrec.types import Item, scalars

RECENT_SHARE = 0.1
"""Of the train events, the latest: what is popular now."""
HALF_LIFE = 4.0
"""Of the profile that attributes and contents are compared with, in places."""
MOST_ATTRIBUTES = 12
LEAST_COVERED = 0.2
"""Share of the items that must have an attribute for it to become a feature."""


class Features:
    """Facts of the items, from `train` and `content`; `table` joins them with people."""

    def __init__(self, train: Sequences, content: Content) -> None:
        n_items = len(train.item_ids)
        by_time = np.argsort(train.timestamps, kind="stable")
        latest = by_time[-max(1, round(RECENT_SHARE * len(train))) :]
        ever = np.bincount(train.items, minlength=n_items)
        recent = np.bincount(train.items[latest], minlength=n_items)
        expected = ever * len(latest) / len(train)
        self._popularity = np.log1p(ever)
        self._trend = np.log((recent + 1.0) / (expected + 1.0))
        self._first = np.full(n_items, np.inf)
        np.minimum.at(self._first, train.items, train.timestamps)
        self._vectors = dict(content.vectors.matrices)
        self._words, self._numbers = attributes(content.items)
        self._now = float(train.timestamps.max())
        self.names: tuple[str, ...] = ()

    def table(
        self,
        histories: Sequences,
        users: NDArray[np.integer],
        items: NDArray[np.integer],
        stages: dict[str, NDArray[np.floating]],
    ) -> NDArray[np.float32]:
        """(n, F): a row for each pair of `users` (n,), rows of `histories`, and `items` (n,); `stages` (n,) are taken along."""
        profile = decayed(histories, HALF_LIFE)
        profile = sparse.diags_array(1.0 / np.maximum(np.asarray(profile.sum(axis=1)).reshape(-1), 1e-12)) @ profile
        asked = np.full(len(histories.user_ids), self._now)
        known = histories.lengths > 0
        last = histories.offsets[1:][known] - 1
        asked[known] = histories.timestamps[last]
        columns = dict(stages)
        columns["length"] = np.log1p(histories.lengths)[users]
        columns["popularity"] = self._popularity[items]
        columns["trend"] = self._trend[items]
        columns["age"] = np.maximum(asked[users] - self._first[items], 0.0)  # -inf, an item without events, becomes 0
        latest = np.zeros(len(known), np.int64)
        latest[known] = histories.items[last]
        for name, matrix in self._vectors.items():
            mean = unit_rows(profile @ matrix)
            columns[f"{name} like the profile"] = np.einsum("nd,nd->n", mean[users], matrix[items])
            columns[f"{name} like the last"] = np.einsum("nd,nd->n", matrix[latest[users]], matrix[items]) * known[users]
        for name, words in self._words.items():
            shared = sparse.csr_array(profile @ words)[users].multiply(words[items])
            count = np.maximum(np.diff(words.indptr)[items], 1)
            columns[f"{name} shared"] = np.asarray(shared.sum(axis=1)).reshape(-1) / count
        for name, (numbers, present) in self._numbers.items():
            weight = profile @ present.astype(float)
            mean = np.divide(profile @ numbers, weight, out=np.full(len(weight), np.nan), where=weight > 0)
            columns[f"{name} above the profile"] = np.where(present, numbers, np.nan)[items] - mean[users]
        self.names = tuple(columns)
        return np.stack([np.asarray(column, np.float32) for column in columns.values()], axis=1)


Words = dict[str, sparse.csr_array]
Numbers = dict[str, tuple[NDArray[np.float64], NDArray[np.bool_]]]


def attributes(items: Sequence[Item]) -> tuple[Words, Numbers]:
    """Attributes of words as (N, values) zeros and ones, and numeric ones as (N,) values (0 where missing) with presence.

    The `MOST_ATTRIBUTES` that most items have, at least a `LEAST_COVERED` share.
    """
    counts: dict[str, int] = {}
    for item in items:
        for name in item.attributes:
            counts[name] = counts.get(name, 0) + 1
    least = max(1.0, LEAST_COVERED * len(items))
    chosen = sorted((name for name, count in counts.items() if count >= least), key=lambda name: (-counts[name], name))
    words: Words = {}
    numbers: Numbers = {}
    for name in chosen[:MOST_ATTRIBUTES]:
        values = [item.attributes.get(name) for item in items]
        if all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values):
            present = np.array([value is not None for value in values])
            numbers[name] = np.array([float(value) if isinstance(value, int | float) else 0.0 for value in values]), present
        else:
            words[name] = _one_hot([scalars(value) for value in values])
    return words, numbers


def _one_hot(values: Sequence[tuple[object, ...]]) -> sparse.csr_array:
    place: dict[object, int] = {}
    pairs = sorted({(row, place.setdefault(value, len(place))) for row, several in enumerate(values) for value in several})
    rows, columns = np.array(pairs, np.int64).reshape(-1, 2).T
    return sparse.csr_array(sparse.coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(values), len(place))))
