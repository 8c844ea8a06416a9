"""Evidence that an item deserves a term, from vectors alone: what its picture looks like, and which items are near it.

For an item and the terms of one group there are up to three kinds a modality:

    terms   cosine with the term's own vector (only where an encoder has texts and items in one space), centred over the group,
            in standard deviations over the catalogue, and its lead over the group's next term
    near    share of the term among the nearest known items, as a log-odds lift over the term's share of all
    probe   ridge regression from the modality's vectors to the group's terms, and its lead over the next term

A known item is looked at as if it were unknown: it is not among its own neighbours, and its probe is the exact leave-one-out one
(Golub, Heath & Wahba, 1979). So what is seen of known items says how far to believe it of unknown ones.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

Floats = NDArray[np.float32]
Neighbours = tuple[NDArray[np.int64], Floats]
"""Neighbours (n, k), nearest first, -1 where there is none, and their cosines (n, k)."""
Pattern = tuple[str, ...]
"""Names of the modalities that an item has."""
MIN_KNOWN = 30
"""From fewer known items nothing is learned."""
NEIGHBOURS = 32
MAX_BLOCK_NUMBERS = 32_000_000
"""Most numbers in a block of similarities (128 MB)."""
RIDGES = (0.3, 3.0, 30.0)
"""Strengths of the ridge, in items; the one of the smallest leave-one-out error is taken."""
VOTE_WEIGHT = 1.0
"""The share of all items counts as much as this many neighbours."""
MAX_PROBE_ITEMS = 20_000
"""Known items that a probe learns from, at most."""


@dataclass(frozen=True, kw_only=True)
class Modality:
    """Vectors of one kind.

    rows      (N, d) unit rows, zero where `present` (N,) is False
    terms     (T, d) unit rows of the vocabulary in the same space; None without an encoder
    trust     (N,) in [0, 1]: how much is behind each row (how many people chose the item); shrinks what its neighbours say
    """

    name: str
    rows: Floats
    present: NDArray[np.bool_]
    terms: Floats | None = None
    trust: Floats | None = None

    @cached_property
    def _moments(self) -> tuple[Floats, Floats]:
        """Mean (d,) and covariance (d, d) of the present rows."""
        rows = self.rows[self.present]
        mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
        apart = rows - mean
        return mean, (apart.T @ apart / max(1, len(rows))).astype(np.float32)

    def z_scores(self, which: NDArray[np.int64], terms: Floats) -> Floats:
        """(n, len(terms)) how far each term stands out for each item: standard deviations over the catalogue."""
        mean, covariance = self._moments
        spread = np.sqrt(np.maximum(((terms @ covariance) * terms).sum(axis=1), 1e-12))
        return ((self.rows[which] - mean) @ terms.T / spread).astype(np.float32)


def centred(terms: Floats) -> Floats:
    """Terms of one group without what they have in common."""
    return terms - terms.mean(axis=0) if len(terms) > 1 else terms


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What is known of one group: `truth` (N, T) whether an item has a term; `known` (N,) whether the item says."""

    truth: sparse.csr_array
    known: NDArray[np.bool_]

    @cached_property
    def share(self) -> Floats:
        """(T,) of the known items that have each term."""
        total = np.asarray(self.truth[np.flatnonzero(self.known)].sum(axis=0)).ravel()
        return ((total + 0.5) / (self.known.sum() + 1.0)).astype(np.float32)

    def rows(self, which: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n, T) the truth of these items."""
        return cast(Any, self.truth)[which].toarray() > 0  # SciPy's stubs take rows of a sparse array for a dense one


def neighbours(
    rows: Floats, which: NDArray[np.int64], allowed: NDArray[np.int64], count: int = NEIGHBOURS
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], Floats]]:
    """Blocks of (which, their nearest `allowed` items (n, k), cosines (n, k)), nearest first, without the item itself.

    `rows` (N, d) unit rows; k is `count`, or as many others as there are. A place without an item holds -1 and a cosine of -1.
    """
    k = min(count, len(allowed))
    if not k:
        return
    pool = np.ascontiguousarray(rows[allowed])
    size = max(1, MAX_BLOCK_NUMBERS // len(allowed))
    place = np.full(len(rows), -1)
    place[allowed] = np.arange(len(allowed))
    for start in range(0, len(which), size):
        block = which[start : start + size]
        cosines = rows[block] @ pool.T
        own = np.flatnonzero(place[block] >= 0)
        cosines[own, place[block[own]]] = -np.inf
        best = np.argpartition(-cosines, k - 1, axis=1)[:, :k] if k < len(allowed) else np.tile(np.arange(k), (len(block), 1))
        found = np.take_along_axis(cosines, best, axis=1)
        order = np.argsort(-found, axis=1, kind="stable")
        best, found = np.take_along_axis(best, order, axis=1), np.take_along_axis(found, order, axis=1)
        gone = np.isneginf(found)
        yield block, np.where(gone, -1, allowed[best]), np.where(gone, -1.0, found).astype(np.float32)


def votes(near: NDArray[np.int64], cosines: Floats, labels: Labels) -> Floats:
    """(n, T) log-odds lift of each term among the known neighbours over its share of all items.

    `near`, `cosines` (n, k) as from `neighbours`. A neighbour weighs by how much nearer it is than the farthest one.
    """
    n, k = near.shape
    floor = cosines.min(axis=1, keepdims=True)
    span = np.maximum(cosines.max(axis=1, keepdims=True) - floor, 1e-6)
    weight = (0.1 + (cosines - floor) / span) * (near >= 0) * labels.known[near]
    matrix = sparse.csr_array(
        (weight.ravel(), np.maximum(near, 0).ravel(), np.arange(0, n * k + 1, k)), shape=(n, len(labels.known))
    )
    mass = weight.sum(axis=1, keepdims=True) + VOTE_WEIGHT
    counted: Any = matrix @ labels.truth
    given = (counted.toarray() + VOTE_WEIGHT * labels.share) / mass
    return (_logit(given) - _logit(labels.share)).astype(np.float32)


class Probe:
    """Ridge regression from rows (N, d) to the terms of a group, learned from at most `MAX_PROBE_ITEMS` known items."""

    def __init__(self, modality: Modality, labels: Labels) -> None:
        pool = np.flatnonzero(labels.known & modality.present)
        if len(pool) > MAX_PROBE_ITEMS:
            pool = np.sort(np.random.default_rng(0).choice(pool, MAX_PROBE_ITEMS, replace=False))
        self._rows = modality.rows
        self._pool = pool
        x = modality.rows[pool].astype(np.float64)
        truth = labels.rows(pool).astype(np.float64)
        self._mean, self._base = x.mean(axis=0), truth.mean(axis=0)
        x -= self._mean
        truth -= self._base
        values, turn = linalg.eigh(x.T @ x)
        turned, target = x @ turn, turn.T @ (x.T @ truth)
        errors = []
        for ridge in RIDGES:
            scale = 1.0 / (np.maximum(values, 0.0) + ridge)
            lever = np.minimum((turned**2) @ scale + 1.0 / len(pool), 0.99)
            left = (truth - turned @ (scale[:, None] * target)) / (1.0 - lever)[:, None]
            errors.append((float((left**2).mean()), ridge, left.astype(np.float32)))
        _, ridge, self._left = min(errors, key=lambda row: row[0])
        self._weights = (turn * (1.0 / (np.maximum(values, 0.0) + ridge))) @ target  # (d, T)
        self._spread = np.sqrt(np.maximum(truth.var(axis=0), 1e-6))
        self._truth = truth.astype(np.float32)

    def scores(self, which: NDArray[np.int64]) -> Floats:
        """(n, T) in standard deviations of the term; leave-one-out for the items it learned from."""
        out = (self._rows[which] - self._mean) @ self._weights
        place = np.searchsorted(self._pool, which)
        place = np.minimum(place, len(self._pool) - 1)
        own = np.flatnonzero(self._pool[place] == which)
        out[own] = self._truth[place[own]] - self._left[place[own]]
        return (out / self._spread).astype(np.float32)


def margin(scores: Floats) -> Floats:
    """(n, T) by how much each term is ahead of the best other one; 0 where there is no other."""
    if scores.shape[1] < 2:
        return np.zeros_like(scores)
    top = np.partition(scores, -2, axis=1)[:, -2:]
    best, second = top[:, 1:], top[:, :1]
    return scores - np.where(scores >= best, second, best)


class GroupEvidence:
    """Features of the terms of one group, from any of the modalities that say something of it; the probes are made once."""

    def __init__(self, modalities: Sequence[Modality], labels: Labels, terms: range) -> None:
        self.labels, self.terms = labels, terms
        self._modalities = {m.name: m for m in modalities if (labels.known & m.present).sum() >= MIN_KNOWN}
        self._probes = {name: Probe(m, labels) for name, m in self._modalities.items()}
        self.prior = _logit(labels.share).astype(np.float64)  # (T,) log-odds

    @property
    def names(self) -> frozenset[str]:
        """The modalities that it can use."""
        return frozenset(self._modalities)

    def kinds(self, pattern: Pattern) -> tuple[str, ...]:
        """What each feature is: `image:terms`, `behaviour:near`…; several features may be of one kind."""
        found: list[str] = []
        for name in pattern:
            found += [f"{name}:near"] * 3 + [f"{name}:terms"] * 2 * (self._modalities[name].terms is not None)
        return tuple(found)

    def probe_features(self, pattern: Pattern) -> tuple[int, ...]:
        """Places of the probes' scores among the features."""
        kinds = self.kinds(pattern)
        return tuple(kinds.index(f"{name}:near") + 1 for name in pattern)

    def features(self, which: NDArray[np.int64], pattern: Pattern, near: Mapping[str, Neighbours]) -> Floats:
        """(n, T, F) float32 for items that have all modalities of `pattern`. `near`: by modality, their neighbours."""
        parts: list[Floats] = []
        for name in pattern:
            m = self._modalities[name]
            trust = np.ones((len(which), 1), np.float32) if m.trust is None else m.trust[which, None]
            probe = self._probes[name].scores(which) * trust
            parts += [votes(*near[name], self.labels) * trust, probe, margin(probe)]
            if m.terms is not None:
                z = m.z_scores(which, centred(m.terms[self.terms.start : self.terms.stop]))
                parts += [z, margin(z)]
        return np.stack(parts, axis=2)


def _logit(share: NDArray) -> NDArray:
    safe = np.clip(share, 1e-6, 1 - 1e-6)
    return np.log(safe) - np.log1p(-safe)
