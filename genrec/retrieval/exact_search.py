"""Exact search by inner product for many people at once: coarse scores for all items, float32 for those that can matter.

Scores of a block of people are first computed in bfloat16, several times faster than float32 where the processor multiplies
it natively. Its error is bounded from the vectors themselves, which gives a threshold below which no item can be among the k
best; the others, little more than k, are scored again in float32. The result is exact.

    error   |u·v − ũ·ṽ| ≤ ‖u − ũ‖‖v‖ + ‖ũ‖‖v − ṽ‖ (Cauchy-Schwarz) + γ‖ũ‖‖ṽ‖ for summing (Higham 2002, 3.5) + rounding of the sum
    search  items lie in groups of 32; the k-th largest lower bound of a group's maximum is a lower bound of the k-th best
            score, so only groups whose maximum may reach it are opened (as block-max pruning of Ding & Suel, SIGIR 2011)

Importing this module loads torch.
"""

from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from queue import SimpleQueue
from time import perf_counter
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor

from genrec.errors import DataError

Precision = Literal["auto", "bfloat16", "float32"]
Result = tuple[NDArray[np.int64], NDArray[np.float32]]
"""(items (B, k), scores (B, k)), filled in block by block."""
Exclude = tuple[NDArray[np.integer], NDArray[np.integer]]
"""(offsets (B + 1,), items): person b may not get `items[offsets[b]:offsets[b + 1]]`, in any order."""

GROUP = 32
"""How many items are represented by the best of their coarse scores."""
COLUMNS = 4_096
"""Most items multiplied at once; with ROWS people their scores stay in the cache."""
ROWS = 256
"""Most people that one thread scores at once."""
FEWEST = 32
"""Fewest people worth a thread of their own."""
CHUNK = 1 << 15
"""Most items whose coarse scores a thread keeps at once: 16 MB in bfloat16."""
CROWD = 4
"""A person with more than this many times k + 128 possible items is scored in float32 from the start."""
_TINY = 2.0**-126  # smaller numbers may be flushed to zero
_GATHERED = 1 << 18  # floats of item vectors fetched at once when scoring again: 1 MB, the second-level cache


@dataclass(frozen=True, slots=True, eq=False)
class _Items:
    """Items in blocks of similar vector length, so that one error bound fits a whole block; the last is padded with zeros.

    Within a block they are dealt into its groups by length, so that those with the largest scores do not share one.
    """

    exact: Tensor  # (N, D) float32, in the caller's order
    item: Tensor  # (blocks · columns,) int64, place -> item, -1 in the padding
    place: NDArray[np.int64]  # (N,) item -> place
    coarse: Tensor  # (blocks · columns, D)
    norms: NDArray[np.float64]  # (blocks,) longest vector of each block
    faults: NDArray[np.float64]  # (blocks,) longest difference between a vector and its coarse form
    columns: int

    @property
    def blocks(self) -> int:
        return len(self.norms)


def top_k(
    users: NDArray[np.float32],
    items: NDArray[np.float32],
    k: int,
    *,
    exclude: Exclude | None = None,
    precision: Precision = "auto",
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k items with the largest inner product for each person, and these products.

    users (B, D) and items (N, D) float32; returns item numbers (B, k) and scores (B, k), best first, equal scores by item
    number. Where fewer than k items are left the row is filled with -1 and -inf. The result is that of plain float32
    arithmetic; sums are rounded in another order, so neighbours closer than this rounding may change places.
    `precision` is that of the first pass and changes only the time; `auto` measures once which is faster here.
    Memory: about 50 MB a thread, and the items in the precision of the first pass; as many threads as torch may use.
    Raises DataError for shapes that do not fit and values that are not finite.
    """
    exclude = exclude or (np.zeros(len(users) + 1, np.int64), np.zeros(0, np.int64))
    _check(users, items, k, exclude)
    out = (np.full((len(users), k), -1, np.int64), np.full((len(users), k), -np.inf, np.float32))
    if not len(users) or not len(items):
        return out
    users, items = np.ascontiguousarray(users), np.ascontiguousarray(items)
    if len(items) < 4 * GROUP * k:  # nearly every group would be opened
        _plain(users, items, k, exclude, np.arange(len(users)), out)
        return out
    crowded = _in_blocks(users, items, k, exclude, precision, out)
    _plain(users, items, k, exclude, crowded, out)
    return out


def _in_blocks(
    users: NDArray[np.float32], items: NDArray[np.float32], k: int, exclude: Exclude, precision: Precision, out: Result
) -> NDArray[np.int64]:
    """Fill in the answer; returns the people left to `_plain`."""
    threads = torch.get_num_threads()
    size = max(FEWEST, min(ROWS, -(-len(users) // threads)))
    starts = range(0, len(users), size)
    # a thread for each block of people, none inside of an operation: nobody waits for the slower half of every product
    one_thread = ThreadPoolExecutor(min(threads, len(starts)), initializer=torch.set_num_threads, initargs=(1,))
    try:
        with threadpool_limits(1, user_api="blas"), one_thread as pool:
            if precision == "auto":
                pays = len(users) >= FEWEST and pool.submit(_bfloat16_pays, users.shape[1]).result()
                precision = "bfloat16" if pays else "float32"
            prepared = _prepare(items, torch.bfloat16 if precision == "bfloat16" else torch.float32, pool)
            idle = SimpleQueue[_Search]()

            def work(start: int) -> NDArray[np.int64]:
                rows = np.arange(start, min(start + size, len(users)))
                search = _Search(prepared, k, size) if idle.empty() else idle.get()
                ids, scores, left = search.block(torch.from_numpy(users[rows]), *_pairs(exclude, rows))
                out[0][rows, : ids.shape[1]], out[1][rows, : ids.shape[1]] = ids, scores
                idle.put(search)
                return rows[left]

            return np.concatenate(list(pool.map(work, starts)))
    finally:
        torch.set_num_threads(threads)  # what the threads set is what later threads start with


def _check(users: NDArray[np.float32], items: NDArray[np.float32], k: int, exclude: Exclude) -> None:
    if users.ndim != 2 or items.ndim != 2 or users.shape[1] != items.shape[1]:
        raise DataError(f"exact search: users {users.shape} and items {items.shape} are not (B, D) and (N, D)")
    if users.dtype != np.float32 or items.dtype != np.float32:
        raise DataError(f"exact search: users are {users.dtype} and items {items.dtype}", hint="Both must be float32.")
    if k < 1:
        raise DataError(f"exact search for {k} items", hint="Ask for at least 1.")
    longest = 1.0
    for name, rows in (("user", users), ("item", items)):
        squares = np.einsum("nd,nd->n", rows, rows, dtype=np.float64) if rows.size else np.zeros(1)
        if not np.isfinite(squares).all():
            raise DataError(f"exact search: the vector of {name} {int(np.flatnonzero(~np.isfinite(squares))[0])} is not finite")
        longest *= float(np.sqrt(squares.max()))
    if longest > 1e37:
        raise DataError(f"exact search: scores up to {longest:.1g} do not fit float32", hint="Scale the vectors.")
    offsets, excluded = exclude
    if offsets.shape != (len(users) + 1,) or offsets[0] != 0 or offsets[-1] != len(excluded) or (np.diff(offsets) < 0).any():
        raise DataError(f"exact search: the offsets of `exclude` do not fit {len(users)} users and {len(excluded)} items")
    if len(excluded) and not 0 <= excluded.min() <= excluded.max() < len(items):
        raise DataError(f"exact search: `exclude` names items {excluded.min()} to {excluded.max()} of {len(items)}")


@cache
def _bfloat16_pays(dim: int) -> bool:
    """Whether bfloat16 is faster here, measured on a small block, and keeps its error bound."""
    source = torch.Generator().manual_seed(0)
    left, right = torch.randn(ROWS, dim, generator=source), torch.randn(COLUMNS // 4, dim, generator=source)
    low, high = left.bfloat16(), right.bfloat16()

    def seconds(product: Callable[[], object]) -> float:
        product()
        times = []
        for _ in range(5):
            start = perf_counter()
            product()
            times.append(perf_counter() - start)
        return min(times)

    if seconds(lambda: low @ high.T) > 0.7 * seconds(lambda: torch.from_numpy(left.numpy() @ right.numpy().T)):
        return False
    found = (low @ high.T).double()
    gap = (found - low.double() @ high.double().T).abs()
    bound = _summing(dim) * low.double().norm(dim=1)[:, None] * high.double().norm(dim=1) + 2.0**-8 * found.abs()
    return bool((gap <= bound).all())


def _summing(dim: int) -> float:
    """γ: bound of the error of a float32 sum of `dim` products, relative to the product of the vectors' lengths."""
    return 2.0 * (dim + 2) * 2.0**-24


def _lengths(rows: Tensor) -> NDArray[np.float64]:
    """(n,) Euclidean lengths, rounded up."""
    return torch.linalg.vector_norm(rows, dim=1).double().numpy() * (1 + _summing(rows.shape[1])) + _TINY


def _prepare(items: NDArray[np.float32], dtype: torch.dtype, pool: Executor) -> _Items:
    exact = torch.from_numpy(items)
    n, dim = items.shape
    lengths = _lengths(exact)
    order = np.argsort(-lengths, kind="stable")
    blocks = -(-n // COLUMNS)
    columns = -(-n // (blocks * GROUP)) * GROUP
    blocks = -(-n // columns)
    rank = np.arange(n)
    place = np.empty(n, np.int64)
    within, groups = rank % columns, columns // GROUP
    place[order] = rank - within + (within % groups) * GROUP + within // groups
    item = np.full(blocks * columns, -1)
    item[place] = rank
    coarse = torch.zeros(blocks * columns, dim, dtype=dtype)
    norms, faults = np.zeros(blocks), np.zeros(blocks)

    def fill(block: int) -> None:
        span = np.arange(block * columns, (block + 1) * columns)
        span = span[item[span] >= 0]
        rows = exact[torch.from_numpy(item[span])]
        low = rows.to(dtype)
        coarse[torch.from_numpy(span)] = low
        norms[block] = lengths[item[span]].max()
        faults[block] = _lengths(rows - low.float()).max()

    list(pool.map(fill, range(blocks)))
    return _Items(
        exact=exact, item=torch.from_numpy(item), place=place, coarse=coarse, norms=norms, faults=faults, columns=columns
    )


def _errors(users: Tensor, low: Tensor, items: _Items) -> Tensor:
    """(blocks, b) float32: how far a coarse score, before it is rounded, and a float32 score may be apart."""
    dim = users.shape[1]
    length, fault = _lengths(users), _lengths(users - low.float())
    high = items.norms + items.faults
    bound = fault * items.norms[:, None] + (length + fault) * items.faults[:, None]
    bound += 2 * _summing(dim) * (length + fault) * high[:, None] + _TINY * dim * (1 + length + high[:, None])
    return torch.from_numpy((bound * (1 + 1e-6)).astype(np.float32))


class _Search:
    """Searches all items for one block of people after another, reusing its memory."""

    def __init__(self, items: _Items, k: int, rows: int) -> None:
        self._items = items
        self._k = k
        self._most = CROWD * (k + 128)
        dtype, self._step = items.coarse.dtype, max(1, CHUNK // items.columns)
        self._rounding = 2.0**-8 if dtype == torch.bfloat16 else 2.0**-24  # of a stored coarse score; never 0, as 0 · inf is NaN
        self._scores = torch.empty(min(self._step, items.blocks) * rows * items.columns, dtype=dtype)
        self._wide = torch.empty(rows * items.columns)
        self._best = torch.empty(min(self._step, items.blocks) * rows * (items.columns // GROUP))

    def block(
        self, users: Tensor, person: NDArray[np.int64], excluded: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.bool_]]:
        """Best items of users (b, D) without the pairs (person, excluded): ids and scores (b, at most k), and which people (b,)
        are left to `_plain` because too many items lie within the error; their ids and scores mean nothing."""
        items = self._items
        low = users.to(items.coarse.dtype)
        errors = _errors(users, low, items)
        place = items.place[excluded]
        order = np.argsort(place, kind="stable")
        person, place = person[order], place[order]
        threshold = torch.full((len(users),), -torch.inf)
        crowded = torch.zeros(len(users), dtype=torch.bool)
        found: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        for start in range(0, items.blocks, self._step):
            stop = min(start + self._step, items.blocks)
            scores, best = self._coarse(low, start, stop, person, place)
            threshold = self._raised(best, errors[start:stop], threshold)
            row, place_in, lower, upper = self._open_groups(scores, best, errors[start:stop], threshold, crowded)
            found.append((row, items.item[start * items.columns + place_in], lower, upper))
        ids, values = self._rescore(users, *self._contenders(found, threshold, crowded))
        return ids, values, crowded.numpy()

    def _coarse(
        self, low: Tensor, start: int, stop: int, person: NDArray[np.int64], place: NDArray[np.int64]
    ) -> tuple[Tensor, Tensor]:
        """Coarse scores (blocks, b, columns) of some blocks and the best of each group (blocks, b, groups) in float32."""
        b, columns = len(low), self._items.columns
        shape = stop - start, b, columns
        scores = self._scores[: shape[0] * b * columns].view(shape)
        best = self._best[: shape[0] * b * (columns // GROUP)].view(shape[0], b, -1)
        bounds = np.searchsorted(place, np.arange(start, stop + 1) * columns)
        for n, block in enumerate(range(start, stop)):
            part = self._items.coarse[block * columns : (block + 1) * columns]
            if low.dtype == torch.float32:  # by NumPy: torch may be set to multiply float32 less exactly
                np.matmul(low.numpy(), part.numpy().T, out=scores[n].numpy())
            else:
                torch.mm(low, part.T, out=scores[n])
            here = slice(bounds[n], bounds[n + 1])
            scores[n][torch.from_numpy(person[here]), torch.from_numpy(place[here] - block * columns)] = -torch.inf
            if block == self._items.blocks - 1:
                scores[n][:, self._items.item[block * columns :] < 0] = -torch.inf
            wide = scores[n]
            if wide.dtype != torch.float32:  # the maximum within short groups is fast in float32 only
                wide = self._wide[: b * columns].view(b, columns).copy_(wide)
            torch.amax(wide.view(b, -1, GROUP), dim=2, out=best[n])
        return scores, best

    def _raised(self, best: Tensor, errors: Tensor, threshold: Tensor) -> Tensor:
        """(b,) lower bound of each person's k-th best score: the known one or, if higher, that of the k best groups here."""
        lower = torch.sub(best, best.abs(), alpha=self._rounding).sub_(errors[:, :, None])
        lower = lower.transpose(0, 1).reshape(len(threshold), -1)
        if lower.shape[1] < self._k:
            return threshold
        return torch.maximum(threshold, lower.topk(self._k, dim=1, sorted=False).values.amin(dim=1))

    def _open_groups(
        self, scores: Tensor, best: Tensor, errors: Tensor, threshold: Tensor, crowded: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Items that may reach the threshold: row, place from the first of these blocks, least and largest score it may have.

        Marks in `crowded` (b,) the people with too many groups to open.
        """
        # -inf + inf is NaN here, which passes no comparison: nothing is left in that group
        upper = torch.add(best, best.abs(), alpha=self._rounding).add_(errors[:, :, None])
        wanted = upper >= threshold[:, None]
        crowded |= wanted.sum(dim=(0, 2)) > self._most
        wanted &= ~crowded[:, None]
        block, row, group = wanted.nonzero(as_tuple=True)
        inside = scores.view(-1, GROUP).index_select(0, (block * best.shape[1] + row) * best.shape[2] + group).float()
        margin = inside.abs().mul_(self._rounding).add_(errors[block, row][:, None])
        at, member = (inside + margin >= threshold[row][:, None]).nonzero(as_tuple=True)
        place = (block[at] * best.shape[2] + group[at]) * GROUP + member
        score, margin = inside[at, member], margin[at, member]
        return row[at], place, score - margin, score + margin

    def _contenders(
        self, found: list[tuple[Tensor, Tensor, Tensor, Tensor]], threshold: Tensor, crowded: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(row, item) of those that may be among the k best, by row, then item, given all that was found."""
        row, item, lower, upper = (torch.cat(parts) for parts in zip(*found, strict=True))
        keys, order = (row * len(self._items.place) + item).sort()
        row, item, upper = keys // len(self._items.place), keys % len(self._items.place), upper[order]
        known = _table(row, lower[order], len(threshold), -torch.inf)
        if known.shape[1] >= self._k:
            threshold = torch.maximum(threshold, known.topk(self._k, dim=1, sorted=False).values.amin(dim=1))
        kept = upper >= threshold[row]
        crowded |= torch.bincount(row[kept], minlength=len(threshold)) > self._most
        kept &= ~crowded[row]
        return row[kept], item[kept]

    def _rescore(self, users: Tensor, row: Tensor, item: Tensor) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Score the (row, item) pairs in float32; ids and scores of the best (b, at most k)."""
        dim = users.shape[1]
        products = torch.empty(len(row))
        step = max(1, _GATHERED // max(1, dim))
        vectors = torch.empty(step, dim)
        for start in range(0, len(row), step):
            rows = row[start : start + step]
            part = torch.index_select(self._items.exact, 0, item[start : start + step], out=vectors[: len(rows)])
            # one order of summing wherever an item lies, so that equal vectors have equal scores
            torch.sum(part.mul_(users.index_select(0, rows)), dim=1, out=products[start : start + step])
        ids, scores = _table(row, item, len(users), -1), _table(row, products, len(users), -torch.inf)
        best = scores.sort(dim=1, descending=True, stable=True)
        return ids.gather(1, best.indices)[:, : self._k].numpy(), best.values[:, : self._k].numpy()


def _table(row: Tensor, values: Tensor, n: int, empty: float) -> Tensor:
    """(n, most values in a row): values in the order of their rows, `row` sorted."""
    counts = torch.bincount(row, minlength=n)
    place = torch.arange(len(row)) - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    table = torch.full((n, int(counts.max())), empty, dtype=values.dtype)
    table[row, place] = values
    return table


def _pairs(exclude: Exclude, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(person within `rows`, item) of each excluded pair."""
    offsets, items = exclude[0].astype(np.int64), exclude[1]
    counts = np.diff(offsets)[rows]
    person = np.repeat(np.arange(len(rows)), counts)
    first = np.cumsum(counts) - counts
    at = np.repeat(offsets[:-1][rows] - first, counts) + np.arange(len(person))
    return person, items[at].astype(np.int64)


def _plain(
    users: NDArray[np.float32], items: NDArray[np.float32], k: int, exclude: Exclude, rows: NDArray[np.int64], out: Result
) -> None:
    """Fill in `rows` from all scores in float32."""
    step = max(1, (1 << 24) // len(items))
    n = min(k, len(items))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        scores = users[part] @ items.T
        person, excluded = _pairs(exclude, part)
        scores[person, excluded] = -np.inf
        found = torch.from_numpy(scores).topk(min(k + 1, len(items)), dim=1)
        ids, values = found.indices.numpy(), found.values.numpy()
        if n < len(items):
            for row in np.flatnonzero((values[:, n - 1] == values[:, n]) & (values[:, n] > -np.inf)):
                above, equal = np.flatnonzero(scores[row] > values[row, n]), np.flatnonzero(scores[row] == values[row, n])
                ids[row, :n] = np.concatenate([above, equal[: n - len(above)]])
        ids = np.sort(ids[:, :n], axis=1)
        values = np.take_along_axis(scores, ids, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        ids, values = np.take_along_axis(ids, order, axis=1), np.take_along_axis(values, order, axis=1)
        out[0][part, :n], out[1][part, :n] = np.where(values > -np.inf, ids, -1), values
