"""Where people's texts about an item would lie in the text space, predicted from its attributes alone.

A model's text about an item differs from what people write, and leaves out or misplaces some of what is known. The attributes of
an item say where texts about such items lie: ridge regression from attribute values to the text vectors of the items that people
wrote about. How reliable that is, is measured on those items, each left out in turn (Golub, Heath & Wahba, 1979).
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from genrec.retrieval.item_features import attribute_links, deciles
from genrec.retrieval.item_vectors import unit_rows
from genrec.types import Item

SHARED = 3
"""An attribute value is used when at least this many of the items that people wrote about have it."""
MOST_VALUES = 2000
"""How many of the most frequent values are used."""
MOST_LEARNED = 10_000
"""Most items to learn from."""
LEAST_LEARNED = 30
"""Fewest items to learn from."""
RIDGES = (1.0, 10.0, 100.0)
"""Strengths in items; that with the smallest leave-one-out error is chosen."""


def expected_text(
    items: Sequence[Item], rows: NDArray[np.float32], known: NDArray[np.bool_], which: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """(which.sum(), d) rows for the items of `which`; their length is the share of texts' variance that attributes explain.

    `rows` (N, d) are unit rows of texts, of which those of `known` (N,) were written by people. All zero where attributes explain
    nothing, or fewer than 30 items are known.
    """
    nothing = np.zeros((int(which.sum()), rows.shape[1]), np.float32)
    learned = np.flatnonzero(known)
    if len(learned) > MOST_LEARNED:
        learned = np.sort(np.random.default_rng(0).choice(learned, MOST_LEARNED, replace=False))
    wanted = np.flatnonzero(which)
    if len(learned) < LEAST_LEARNED or not len(wanted):
        return nothing
    table = _values([items[row] for row in [*learned.tolist(), *wanted.tolist()]], len(learned))
    if not table.shape[1]:
        return nothing
    x, y = table[: len(learned)].toarray().astype(np.float64), rows[learned].astype(np.float64)
    centre, mean = x.mean(axis=0), y.mean(axis=0)
    x -= centre
    y -= mean
    weights, share = _fitted(x, y)
    expected = table[len(learned) :].astype(np.float64) @ weights + (mean - centre @ weights)
    return (max(0.0, share) * unit_rows(expected)).astype(np.float32)


def _values(items: Sequence[Item], learned: int) -> Any:
    """(N, V) sparse: which value each item has, of those that enough of the first `learned` items share."""
    edges = deciles(items)
    links = [{*attribute_links(item, edges)} for item in items]
    counts = Counter(link for own in links[:learned] for link in own)
    kept = [link for link, count in counts.most_common(MOST_VALUES) if count >= SHARED]
    place = {link: column for column, link in enumerate(kept)}
    columns = [sorted(place[link] for link in own if link in place) for own in links]
    offsets = np.concatenate([[0], np.cumsum([len(own) for own in columns])])
    flat = np.array([column for own in columns for column in own], np.int64)
    return sparse.csr_array((np.ones(len(flat), bool), flat, offsets), shape=(len(items), len(kept)))


def _fitted(x: NDArray, y: NDArray) -> tuple[NDArray[np.float64], float]:
    """Weights (V, d) from centred values (n, V) to centred rows (n, d), and the share of variance explained, leave-one-out."""
    n = len(x)
    strengths, turn = linalg.eigh(x.T @ x)
    turned, target = x @ turn, turn.T @ (x.T @ y)
    found = []
    for ridge in RIDGES:
        scale = 1.0 / (np.maximum(strengths, 0.0) + ridge)
        lever = np.minimum((turned**2) @ scale + 1.0 / n, 0.99)
        left = (y - turned @ (scale[:, None] * target)) / (1.0 - lever)[:, None]
        found.append((float((left**2).sum()), ridge))
    error, ridge = min(found)
    whole = float((y**2).sum()) * (n / (n - 1)) ** 2
    weights = turn @ (target / (np.maximum(strengths, 0.0) + ridge)[:, None])
    return weights, 1.0 - error / max(whole, 1e-12)
