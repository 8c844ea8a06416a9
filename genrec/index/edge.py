"""Qdrant in process: a folder on disk, one process at a time, no server.

    folder/lock         held while the index is open
    folder/spec.json    what the index was made for; written last, so a folder without it holds no index
    folder/shard/       the engine's own files (write-ahead log and segments)

Every call that returned is in the write-ahead log: it survives the death of the process.
"""

from __future__ import annotations  # the names of unions are in the engine’s stubs only

import json
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import numpy as np
import qdrant_edge as engine
from filelock import FileLock, Timeout

from genrec.errors import IndexFault
from genrec.files import write_whole
from genrec.filters import AttributeType, Filter
from genrec.index import bm25 as lexical
from genrec.index.filter_conditions import translate
from genrec.index.layout import GRAPH_LINKS, ITEM_ID, REBUILD, Layout, check_spec, item_id_of, point_id
from genrec.index.protocol import BM25, RRF_K, Hit, IndexSpec, Point, Query
from genrec.index.searching import Plan, Sparse, hits, plan, requests_of

BATCH = 1_000
"""Points in one call of the engine."""
GRAPH_KB = 20_000
"""A segment with more kilobytes of one vector than this gets an HNSW graph, and a filter that leaves less is answered without
it: looking at every vector is as fast then, 1 ms for 20,000 of 256 dimensions or 3 ms when a filter scatters them."""
_INDEX_TYPES: dict[AttributeType, engine.PayloadSchemaType] = {
    "text": engine.PayloadSchemaType.Keyword,
    "number": engine.PayloadSchemaType.Float,
    "boolean": engine.PayloadSchemaType.Keyword,
}


class _Faults:
    """Turns the engine's errors into IndexFault.

    The engine raises the bare class `Exception` (and `PanicException` when its files surprise it), so a named `except`
    cannot tell them from other errors; comparing the exact class can.
    """

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None or not (kind is Exception or kind.__name__ == "PanicException" or issubclass(kind, OSError)):
            return
        full = "No space left" in str(error) or "os error 28" in str(error)
        hint = "The disk is full: free some space, then try again." if full else REBUILD
        if isinstance(error, PermissionError):
            hint = "See who may write there."
        raise IndexFault(f"the vector index failed while {self._doing}: {error}", hint=hint, retryable=full) from error


class EdgeIndex:
    """A `VectorIndex` in this process, in the folder `path` (made when it is not there).

    `exact`: look at every vector instead of HNSW graphs; `finish` then builds none.
    Opening reads nothing, so that a damaged index can be recreated; the first use of it raises IndexFault.
    Raises IndexFault when another process, or another EdgeIndex of this one, has the folder open.
    """

    def __init__(self, path: Path | str, *, exact: bool = False) -> None:
        self._path = Path(path)
        self._exact = exact
        self._guard = threading.RLock()
        self._opened: tuple[engine.EdgeShard, Layout] | None = None
        with _Faults(f"making the folder {self._path}"):
            self._path.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self._path / "lock", blocking=False, is_singleton=False, thread_local=False)
            try:
                self._lock.acquire()
            except Timeout as error:
                raise IndexFault(
                    f"the vector index in {self._path} is in use by another process",
                    hint="Stop the other genrec, or let both use one Qdrant server (index.url).",
                    retryable=True,
                ) from error

    @property
    def _shard_path(self) -> Path:
        return self._path / "shard"

    @property
    def _spec_path(self) -> Path:
        return self._path / "spec.json"

    def recreate(self, spec: IndexSpec) -> None:
        check_spec(spec)
        layout = Layout(spec)
        with self._guard, _Faults("making a new index"):
            self._check_open()
            self._spec_path.unlink(missing_ok=True)
            self._release()
            shutil.rmtree(self._shard_path, ignore_errors=True)
            self._shard_path.mkdir()
            shard = engine.EdgeShard.create(str(self._shard_path), self._config(spec))
            for key, type_ in layout.indexed():
                shard.update(engine.UpdateOperation.create_field_index(key, _INDEX_TYPES[type_]))
            shard.flush()
            self._write_spec(layout)
            self._opened = shard, layout

    def _config(self, spec: IndexSpec) -> engine.EdgeConfig:
        """The engine's settings; a threshold of 0 builds no graphs."""
        cosine = engine.Distance.Cosine
        return engine.EdgeConfig(
            vectors={name: engine.EdgeVectorParams(size=dim, distance=cosine) for name, dim in spec.vectors.items()},
            sparse_vectors={BM25: engine.EdgeSparseVectorParams(modifier=engine.Modifier.Idf)},
            optimizers=engine.EdgeOptimizersConfig(indexing_threshold=0 if self._exact else GRAPH_KB),
            hnsw_config=engine.HnswIndexConfig(m=GRAPH_LINKS, ef_construct=100, full_scan_threshold=GRAPH_KB),
        )

    def _write_spec(self, layout: Layout) -> None:
        write_whole(self._spec_path, json.dumps(layout.dump()))

    def _read_spec(self) -> Layout | None:
        try:
            text = self._spec_path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise IndexFault(f"{self._spec_path} cannot be read: {error}", hint=REBUILD) from error
        try:
            values = json.loads(text)
        except ValueError as error:
            raise IndexFault(f"{self._spec_path} is damaged: {error}", hint=REBUILD) from error
        return Layout.load(values, str(self._spec_path))

    def spec(self) -> IndexSpec | None:
        self._check_open()
        layout = self._read_spec()
        return None if layout is None else layout.spec

    def _check_open(self) -> None:
        if not self._lock.is_locked:
            raise IndexFault(f"the vector index in {self._path} is closed", hint="Open it again.")

    def _open(self) -> tuple[engine.EdgeShard, Layout]:
        with self._guard:
            self._check_open()
            if self._opened is None:
                layout = self._read_spec()
                if layout is None:
                    raise IndexFault(f"there is no vector index in {self._path}", hint="Run `genrec build` first.")
                with _Faults(f"opening {self._shard_path}"):
                    self._opened = engine.EdgeShard.load(str(self._shard_path), self._config(layout.spec)), layout
            return self._opened

    def upsert(self, points: Sequence[Point]) -> None:
        shard, layout = self._open()
        ready = [self._point(point, layout) for point in points]
        for start in range(0, len(ready), BATCH):
            with _Faults("writing items"):
                shard.update(engine.UpdateOperation.upsert_points(ready[start : start + BATCH]))

    @staticmethod
    def _point(point: Point, layout: Layout) -> engine.Point:
        what = f"item {point.item_id!r}"
        vectors: dict[str, engine.NamedVector] = {
            name: layout.vector(name, vector, what) for name, vector in point.vectors.items()
        }
        words = lexical.document(point.text, layout.spec.mean_tokens)
        if words[0]:
            vectors[BM25] = engine.SparseVector(*words)
        return engine.Point(point_id(point.item_id), vectors, layout.payload(point))

    def delete(self, item_ids: Sequence[str]) -> None:
        shard, _ = self._open()
        for start in range(0, len(item_ids), BATCH):
            with _Faults("deleting items"):
                ids: list[engine.PointId] = [point_id(item_id) for item_id in item_ids[start : start + BATCH]]
                shard.update(engine.UpdateOperation.delete_points(ids))

    def search(self, queries: Sequence[Query]) -> list[list[Hit]]:
        shard, layout = self._open()
        plans = [plan(query, layout, _DIALECT, self._exact) for query in queries]
        requests = [request for one in plans for request in _requests(one)]
        with _Faults("searching"):
            answers = iter(shard.query_batch(engine.QueryBatchRequest(requests)) if requests else [])
        results = []
        for one in plans:
            found = [[(item_id_of(point.payload), point.score) for point in next(answers)] for _ in range(requests_of(one))]
            results.append(hits(one, found))
        return results

    def count(self, filter: Filter | None = None) -> int:
        shard, layout = self._open()
        condition = None if filter is None else _DIALECT.every([translate(filter, layout, _DIALECT)])
        with _Faults("counting"):
            return shard.count(engine.CountRequest(exact=True, filter=condition))

    def vectors(self, name: str, item_ids: Sequence[str]) -> dict[str, np.ndarray]:
        shard, layout = self._open()
        layout.check_name(name, "a look-up")
        result: dict[str, np.ndarray] = {}
        for start in range(0, len(item_ids), BATCH):
            ids: list[engine.PointId] = [point_id(item_id) for item_id in item_ids[start : start + BATCH]]
            with _Faults("reading vectors"):
                records = shard.retrieve(ids, with_payload=[ITEM_ID], with_vector=[name])
            for record in records:
                if isinstance(record.vector, dict) and name in record.vector:
                    result[item_id_of(record.payload)] = np.asarray(record.vector[name], dtype=np.float32)
        return result

    def finish(self) -> None:
        shard, _ = self._open()
        with _Faults("optimising"):
            shard.optimize()
            shard.flush()

    def _release(self) -> None:
        if self._opened is not None:
            shard, self._opened = self._opened[0], None
            with _Faults("closing"):
                shard.close()

    def close(self) -> None:
        with self._guard:
            try:
                self._release()
            finally:
                self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class _EdgeDialect:
    def any_of(self, key: str, values: list[str]) -> engine.ConditionType:
        return engine.FieldCondition(key=key, match=engine.MatchAny(values))

    def range(
        self, key: str, *, gt: float | None, gte: float | None, lt: float | None, lte: float | None
    ) -> engine.ConditionType:
        return engine.FieldCondition(key=key, range=engine.RangeFloat(gt=gt, gte=gte, lt=lt, lte=lte))

    def ids(self, point_ids: Sequence[str]) -> engine.ConditionType:
        return engine.HasIdCondition(set(point_ids))

    def every(self, parts: list[engine.ConditionType]) -> engine.Filter:
        return engine.Filter(must=parts)

    def some(self, parts: list[engine.ConditionType]) -> engine.Filter:
        return engine.Filter(should=parts)

    def none(self, parts: list[engine.ConditionType]) -> engine.Filter:
        return engine.Filter(must_not=parts)


_DIALECT = _EdgeDialect()


def _requests(plan: Plan[engine.ConditionType]) -> list[engine.QueryRequest]:
    condition = cast(engine.Filter | None, plan.condition)  # what `every` of the dialect made
    params = engine.SearchParams(hnsw_ef=plan.effort, exact=plan.exact)

    def nearest(name: str, vector: list[float] | Sparse) -> engine.Query:
        return engine.Query.Nearest(engine.SparseVector(*vector) if isinstance(vector, tuple) else vector, using=name)

    legs = [nearest(name, vector) for name, vector in plan.legs]
    single = [
        engine.QueryRequest(limit=plan.depth, query=leg, filter=condition, params=params, with_payload=[ITEM_ID]) for leg in legs
    ]
    if not plan.fused or not legs:
        return single
    prefetches = [engine.Prefetch(limit=plan.depth, query=leg, filter=condition, params=params) for leg in legs]
    fusion = cast(engine.Fusion, engine.Fusion.Rrf(k=RRF_K))  # the stubs do not say that Rrf is one
    return [engine.QueryRequest(limit=plan.limit, query=fusion, prefetches=prefetches, with_payload=[ITEM_ID]), *single]
