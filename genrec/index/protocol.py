"""What a vector engine does for genrec: one contract, met by `EdgeIndex` (in process) and `ClusterIndex` (by URL).

An index holds one point per item: named dense vectors (cosine), the words of its text (BM25), and the fields that
filters name. Dense vectors come back as unit rows; scores of one dense leg are cosines in [-1, 1].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from genrec.filters import Field, Filter
from genrec.types import AttributeValue

BM25 = "bm25"
"""Name of the lexical leg in `Hit.sources`; no dense vector may have it."""
RRF_K = 60
"""Constant of reciprocal rank fusion (Cormack et al., SIGIR 2009): a leg adds 1 / (RRF_K + rank), ranks from 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSpec:
    """What an index is made for. Any change of it needs `recreate`.

    `vectors`      name of each dense vector -> dimension
    `fields`       every attribute that points may carry (the built-in fields need not be named)
    `mean_tokens`  expected words in an item's text: BM25's length normalisation
    """

    vectors: Mapping[str, int]
    fields: Mapping[str, Field] = field(default_factory=dict)
    mean_tokens: float = 64.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Point:
    """One item. A vector that the item lacks is left out of `vectors`; `text` may be empty.

    `payload` is what filters see: `filters.fields_of(item)`.
    """

    item_id: str
    vectors: Mapping[str, np.ndarray]  # name -> (dim,) float32
    text: str = ""
    payload: Mapping[str, AttributeValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """Nearest by cosine among the items that have vector `name`."""

    name: str
    vector: np.ndarray  # (dim,) float32


@dataclass(frozen=True, slots=True)
class Lexical:
    """Items whose text shares words with `text`, by BM25. Text without a word finds nothing."""

    text: str


Leg = Dense | Lexical


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Query:
    """One search. One leg: its plain scores. Several: reciprocal rank fusion in the engine.

    `exclude` are item ids that may not be found; `exact` overrides the index's own setting.
    """

    legs: Sequence[Leg]
    limit: int
    filter: Filter | None = None
    exclude: frozenset[str] = frozenset()
    exact: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """An item found. `sources`: each leg that found it (vector name, or `bm25`) to its score in that leg."""

    item_id: str
    score: float
    sources: Mapping[str, float] = field(default_factory=dict)


class VectorIndex(Protocol):
    """Every method raises IndexFault: engine unreachable or damaged, not built yet, or input that does not fit the spec."""

    def recreate(self, spec: IndexSpec) -> None:
        """Delete everything and start an empty index; also mends a damaged one."""
        ...

    def spec(self) -> IndexSpec | None:
        """What the index was made for; None when there is no index yet."""
        ...

    def upsert(self, points: Sequence[Point]) -> None:
        """Insert or wholly replace; all points are checked before the first is written, and are searchable on return."""
        ...

    def delete(self, item_ids: Sequence[str]) -> None:
        """Remove items; ids that are not there are passed over."""
        ...

    def search(self, queries: Sequence[Query]) -> list[list[Hit]]:
        """Answer all queries in one batch of the engine; each answer best first, ties by item id, at most `limit`."""
        ...

    def count(self, filter: Filter | None = None) -> int:
        """How many items pass the filter, exactly."""
        ...

    def vectors(self, name: str, item_ids: Sequence[str]) -> dict[str, np.ndarray]:
        """Unit vectors (dim,) float32 of the items that are there and have one."""
        ...

    def finish(self) -> None:
        """After a load: build the search graphs and flush to disk."""
        ...

    def close(self) -> None:
        """Release the engine; calling it again does nothing."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...
