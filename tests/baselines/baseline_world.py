"""A small world with an order to learn: people walk along rings of items, some rings are popular, contents agree."""

from itertools import pairwise

import numpy as np

from genrec.retrieval.item_vectors import ModalityVectors, unit_rows
from genrec.retrieval.sequences import Sequences
from genrec.retrieval.systems import Content
from genrec.types import Item

RINGS, RING = 5, 12
N_ITEMS = RINGS * RING + 2
"""The last two items have no events."""


def world(n_people: int = 150, seed: int = 0) -> Sequences:
    """Each person walks one ring from a random place (a tenth of the steps jump anywhere), after a few steps in another ring."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n_people):
        old, ring = rng.choice(RINGS, 2, p=np.arange(1, RINGS + 1) / 15)
        at, before = rng.integers(RING, size=2)
        walk = [old * RING + (before + step) % RING for step in range(rng.integers(2, 5))]
        walk += [ring * RING + (at + step) % RING for step in range(rng.integers(3, 7))]
        jumps = rng.random(len(walk)) < 0.1
        rows.append(np.where(jumps, rng.integers(0, RINGS * RING, len(walk)), walk))
    return sequences(rows, times=rng.permutation(sum(map(len, rows))))


def sequences(rows: list, times: np.ndarray | None = None, n_items: int = N_ITEMS) -> Sequences:
    """Histories given as lists of item numbers; the times of each person ascend."""
    lengths = np.array([len(row) for row in rows], np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    clock = np.arange(offsets[-1], dtype=float) if times is None else times.astype(float)
    for begin, end in pairwise(offsets):
        clock[begin:end].sort()
    n = int(offsets[-1])
    return Sequences(
        user_ids=tuple(f"u{number}" for number in range(len(rows))),
        item_ids=tuple(f"i{number}" for number in range(n_items)),
        offsets=offsets,
        items=np.concatenate([np.asarray(row, np.int32) for row in rows]) if n else np.zeros(0, np.int32),
        timestamps=clock,
        values=np.full(n, np.nan, np.float32),
        kinds=np.zeros(n, np.int16),
        platforms=np.zeros(n, np.int16),
    )


def content(n_items: int = N_ITEMS, seed: int = 0) -> Content:
    rng = np.random.default_rng(seed)
    rings = np.arange(n_items) // RING
    text = unit_rows(rng.normal(size=(RINGS + 1, 8))[rings] + 0.5 * rng.normal(size=(n_items, 8)))
    items = [
        Item(item_id=f"i{number}", attributes={"ring": f"ring {ring}", "year": 1990 + number, "tags": (f"t{number % 3}", "all")})
        for number, ring in enumerate(rings)
    ]
    ids = tuple(item.item_id for item in items)
    return Content(items=items, vectors=ModalityVectors(ids, {"text": text}, {"text": np.ones(n_items, bool)}))
