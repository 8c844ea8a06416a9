"""Item vectors from interactions, in closed form.

PureSVD (Cremonesi, Koren and Turrin, 2010) factorises the user × item matrix, which ignores the order of events. Here two events
of one user that lie d places apart count 0.5^(d / half_life) instead of 1. With A the one-hot events × items matrix and F that
kernel, block-diagonal over users, the item × item matrix is

    G = Aᵀ F A,    K = D^-½ G D^-½,    D = diag(G · 1 + smoothing)

and the item vectors are the leading eigenvectors of K times the root of their eigenvalues, rows of unit length. D^-½ G D^-½ is
the symmetric normalisation of graph filters such as GF-CF (Shen et al., 2021).

F is the covariance of a first-order autoregressive process, so it is positive definite and its inverse is tridiagonal. A
product with G costs one banded solve over the events, whatever the half-life: no item × item matrix is ever formed for a large
catalogue.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from genrec.errors import ConfigError, DataError

DENSE_ITEMS = 1024
"""Up to this many items the whole matrix is decomposed."""
PASSES = 3
"""Passes of subspace iteration for a large catalogue; more do not help (eval/LOG.md)."""
SHORTEST = 1e-4
"""An item whose row of eigenvector entries is shorter than this lies outside the leading dimensions and has no vector."""
BLOCK_NUMBERS = 8_000_000
"""Most numbers of an intermediate result."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """`vectors` (N, d) float32, unit rows, zero where `present` (N,) is False; `popularity` (N,) int64: distinct users of each
    item.
    """

    vectors: NDArray[np.float32]
    present: NDArray[np.bool_]
    popularity: NDArray[np.int64]


def behaviour_vectors(
    users: NDArray[np.integer],
    items: NDArray[np.integer],
    timestamps: NDArray[np.floating],
    *,
    n_items: int,
    dim: int,
    half_life: float,
    smoothing: float = 10.0,
    seed: int = 0,
) -> Behaviour:
    """Vectors of the items 0 … n_items-1 from n events, given as three columns of shape (n,) in any order.

    Each user's events are put in order of time; ties keep the order given. `half_life` counts places in that order. The vectors
    have min(`dim`, number of items with events) columns, none when there are no events. An item that shares no people with
    others may lie outside the leading dimensions and then has no vector either. `smoothing` ≥ 0 is added to every item's degree
    D: single events of an item with few weigh less. The same input and seed give the same bytes.
    Raises DataError for columns that do not fit each other, ConfigError for a half-life or dimension that is not positive.
    """
    _check(users, items, timestamps, n_items, dim, half_life, smoothing)
    popularity = _distinct_users(users, items, n_items)
    present = popularity > 0
    if not len(items):
        return Behaviour(np.zeros((n_items, 0), np.float32), present, popularity)
    order = np.lexsort((timestamps, users))
    column = np.cumsum(present) - 1  # position among the items that have events
    graph = _Graph(users[order], column[items[order]], int(present.sum()), half_life, smoothing)
    rows = _leading(graph, min(dim, graph.shape[0]), seed)
    vectors = np.zeros((n_items, rows.shape[1]), np.float32)
    vectors[present] = rows
    present = np.any(vectors != 0, axis=1)
    return Behaviour(vectors, present, popularity)


def _check(
    users: NDArray, items: NDArray, timestamps: NDArray, n_items: int, dim: int, half_life: float, smoothing: float
) -> None:
    if not users.shape == items.shape == timestamps.shape == (len(items),):
        raise DataError(
            f"events: users {users.shape}, items {items.shape} and timestamps {timestamps.shape} are not one column each"
        )
    if len(items) and not (items.min() >= 0 and items.max() < n_items):
        raise DataError(f"events: item numbers run from {items.min()} to {items.max()}, the catalogue has {n_items} items")
    if not np.isfinite(timestamps).all():
        raise DataError(
            f"events: timestamp {int(np.argmin(np.isfinite(timestamps)))} is not a number",
            hint="Every event needs a time or position.",
        )
    if dim < 1 or not 0 < half_life < np.inf or not 0 <= smoothing < np.inf:
        raise ConfigError(f"behaviour vectors: dimension {dim}, half-life {half_life} or smoothing {smoothing} is out of range")


def _distinct_users(users: NDArray, items: NDArray, n_items: int) -> NDArray[np.int64]:
    pairs = np.unique(np.stack([items, users]), axis=1) if len(items) else np.zeros((2, 0), int)
    return np.bincount(pairs[0], minlength=n_items).astype(np.int64)


class _Graph:
    """K (n_items, n_items) in float64. The events come ordered by user, then time, and every item has one."""

    def __init__(self, users: NDArray, items: NDArray, n_items: int, half_life: float, smoothing: float) -> None:
        self.shape = (n_items, n_items)
        n = self._events = len(items)
        decay = 0.5 ** (1.0 / half_life)
        follows = users[1:] == users[:-1]  # (n-1,) the next event belongs to the same user
        before, after = np.concatenate([[False], follows]), np.concatenate([follows, [False]])
        bands = np.zeros((2, n))  # lower form of the tridiagonal inverse of F
        bands[0] = np.where(before | after, (1.0 + decay**2 * (before & after)) / (1.0 - decay**2), 1.0)
        bands[1, :-1] = np.where(follows, -decay / (1.0 - decay**2), 0.0)
        self._factor = linalg.cholesky_banded(bands, lower=True, overwrite_ab=True)
        self._one_hot = sparse.csr_array((np.ones(n), items, np.arange(n + 1)), shape=(n, n_items))
        self._back = self._one_hot.T.tocsr()
        self._root = 1.0 / np.sqrt(self._product(np.ones((n_items, 1))) + smoothing)  # (n_items, 1)

    def _product(self, x: NDArray) -> NDArray:
        """G · x for x (n_items, m), some columns at a time: the intermediate has a row for every event."""
        width = max(1, BLOCK_NUMBERS // self._events)
        blocks = [x[:, first : first + width] for first in range(0, x.shape[1], width)]
        return np.concatenate(
            [self._back @ linalg.cho_solve_banded((self._factor, True), self._one_hot @ block) for block in blocks], axis=1
        )

    def matmat(self, x: NDArray) -> NDArray:
        """K · x for x (n_items, m)."""
        return self._root * self._product(self._root * x)


def _leading(graph: _Graph, dim: int, seed: int) -> NDArray[np.float32]:
    """(n, dim) leading eigenvectors times the root of their eigenvalues, signs fixed; rows of length 1, or 0 when outside."""
    n = graph.shape[0]
    wide = dim + max(10, dim // 5)
    if n <= DENSE_ITEMS or wide >= n:
        values, vectors = linalg.eigh(graph.matmat(np.eye(n)), subset_by_index=(n - dim, n - 1))
    else:
        values, vectors = _subspace(graph, wide, seed)
        values, vectors = values[-dim:], vectors[:, -dim:]
    vectors = vectors[:, ::-1] * np.sqrt(np.maximum(values[::-1], 0.0))
    largest = np.argmax(np.abs(vectors), axis=0)
    vectors *= np.where(vectors[largest, np.arange(dim)] < 0, -1.0, 1.0)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > SHORTEST).astype(np.float32)


def _subspace(graph: _Graph, width: int, seed: int) -> tuple[NDArray, NDArray]:
    """Eigenvalues (width,) ascending and vectors (n, width) by randomised subspace iteration (Halko et al., 2011)."""
    basis = np.random.default_rng(seed).normal(size=(graph.shape[0], width))
    for _ in range(PASSES):
        basis = np.linalg.qr(graph.matmat(basis)).Q
    values, turn = linalg.eigh(basis.T @ graph.matmat(basis))
    return values, basis @ turn
