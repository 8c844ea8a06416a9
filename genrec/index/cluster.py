"""Qdrant by URL: one collection on a server or cluster (1.16 or later), the same layout as in process.

What the index was made for lies in the collection's metadata under `genrec`; a collection without it is somebody
else's and is never written to.
"""

import json
import math
from collections.abc import Sequence
from types import TracebackType
from typing import Self, cast

import httpx
import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from genrec.errors import IndexFault
from genrec.filters import AttributeType, Filter
from genrec.index import bm25 as lexical
from genrec.index.filter_conditions import translate
from genrec.index.layout import GRAPH_LINKS, ITEM_ID, REBUILD, Layout, check_spec, item_id_of, point_id
from genrec.index.protocol import BM25, RRF_K, Hit, IndexSpec, Point, Query
from genrec.index.searching import Plan, Sparse, hits, plan, requests_of

WRITE_BATCH = 256
"""Points in one request; servers take 32 MB by default."""
READ_BATCH = 64
"""Queries, or 16 times as many ids, in one request."""
METADATA = "genrec"
_INDEX_TYPES: dict[AttributeType, models.PayloadSchemaType] = {
    "text": models.PayloadSchemaType.KEYWORD,
    "number": models.PayloadSchemaType.FLOAT,
    "boolean": models.PayloadSchemaType.KEYWORD,
}


class _Faults:
    """Turns the client's errors into IndexFault with what to do about them."""

    def __init__(self, doing: str, url: str) -> None:
        self._doing = doing
        self._url = url

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, UnexpectedResponse):
            raise self._answer(error) from error
        if isinstance(error, (ResponseHandlingException, httpx.HTTPError, json.JSONDecodeError)):
            cause = error.source if isinstance(error, ResponseHandlingException) else error
            reachable = not isinstance(cause, httpx.TransportError)
            raise IndexFault(
                f"{self._url}: {self._doing}: {'an answer that is not Qdrant’s' if reachable else 'no answer'} ({cause!r:.300})",
                hint="Check index.url."
                if reachable
                else "Check index.url and that the server runs; index.timeout_s is how long genrec waits.",
                retryable=not reachable,
            ) from error

    def _answer(self, error: UnexpectedResponse) -> IndexFault:
        status = error.status_code or 0
        hint = REBUILD
        if status in (401, 403):
            hint = "Check index.api_key."
        elif status == 429 or status >= 500:
            hint = "The server is overloaded or failing; see its log, then try again."
        said = error.content.decode("utf-8", "replace")[:500]
        return IndexFault(
            f"{self._url}: {self._doing}: status {status}, {said}", hint=hint, retryable=status == 429 or status >= 500
        )


class ClusterIndex:
    """A `VectorIndex` on a Qdrant server or cluster.

    `timeout_s` is rounded up to whole seconds; `exact` looks at every vector instead of the HNSW graph.
    Opening sends nothing. Safe to use from several threads and processes; an index that was open while another process
    called `recreate` finds nothing by fields that are new or of another type until it is opened again.
    """

    def __init__(
        self, url: str, api_key: str = "", collection: str = "genrec", timeout_s: float = 10.0, *, exact: bool = False
    ) -> None:
        self._url = url
        self._collection = collection
        self._exact = exact
        self._layout: Layout | None = None
        self._closed = False
        try:
            self._made = QdrantClient(
                url=url, api_key=api_key or None, timeout=max(1, math.ceil(timeout_s)), check_compatibility=False
            )
        except ValueError as error:
            raise IndexFault(f"index.url {url!r}: {error}", hint="For example http://localhost:6333.") from error

    @property
    def _client(self) -> QdrantClient:
        if self._closed:
            raise IndexFault(f"the vector index at {self._url} is closed", hint="Open it again.")
        return self._made

    def _faults(self, doing: str) -> _Faults:
        return _Faults(doing, self._url)

    def recreate(self, spec: IndexSpec) -> None:
        check_spec(spec)
        layout = Layout(spec)
        self._layout = None
        if self._metadata() is not None:
            with self._faults("deleting the old collection"):
                self._client.delete_collection(self._collection)
        with self._faults("making the collection"):
            self._client.create_collection(
                self._collection,
                vectors_config={
                    name: models.VectorParams(size=dim, distance=models.Distance.COSINE) for name, dim in spec.vectors.items()
                },
                sparse_vectors_config={BM25: models.SparseVectorParams(modifier=models.Modifier.IDF)},
                hnsw_config=models.HnswConfigDiff(m=GRAPH_LINKS),
                metadata={METADATA: layout.dump()},
            )
            info = self._client.get_collection(self._collection)
        if METADATA not in (info.config.metadata or {}):
            with self._faults("deleting the new collection"):
                self._client.delete_collection(self._collection)
            raise IndexFault(f"{self._url} keeps no collection metadata", hint="Qdrant 1.16 or later is needed.")
        with self._faults("indexing the fields"):
            for key, type_ in layout.indexed():
                self._client.create_payload_index(self._collection, key, field_schema=_INDEX_TYPES[type_], wait=True)
        self._layout = layout

    def _metadata(self) -> object | None:
        """What `recreate` wrote; None when there is no collection. Raises IndexFault on somebody else's collection."""
        with self._faults(f"looking for collection {self._collection!r}"):
            if not self._client.collection_exists(self._collection):
                return None
            metadata = self._client.get_collection(self._collection).config.metadata or {}
        if METADATA not in metadata:
            raise IndexFault(
                f"{self._url}: collection {self._collection!r} was not made by genrec",
                hint="Choose another name in index.collection.",
            )
        return metadata[METADATA]

    def spec(self) -> IndexSpec | None:
        values = self._metadata()
        if values is None:
            return None
        return Layout.load(values, f"{self._url}, collection {self._collection!r}").spec

    def _open(self) -> Layout:
        if self._layout is None:
            spec = self.spec()
            if spec is None:
                raise IndexFault(f"{self._url}: there is no collection {self._collection!r}", hint="Run `genrec build` first.")
            self._layout = Layout(spec)
        return self._layout

    def upsert(self, points: Sequence[Point]) -> None:
        layout = self._open()
        ready = [self._point(point, layout) for point in points]
        for start in range(0, len(ready), WRITE_BATCH):
            with self._faults("writing items"):
                self._client.upsert(self._collection, ready[start : start + WRITE_BATCH], wait=True)

    @staticmethod
    def _point(point: Point, layout: Layout) -> models.PointStruct:
        what = f"item {point.item_id!r}"
        vectors: dict[str, models.Vector] = {name: layout.vector(name, vector, what) for name, vector in point.vectors.items()}
        indices, values = lexical.document(point.text, layout.spec.mean_tokens)
        if indices:
            vectors[BM25] = models.SparseVector(indices=indices, values=values)
        return models.PointStruct(id=point_id(point.item_id), vector=vectors, payload=layout.payload(point))

    def delete(self, item_ids: Sequence[str]) -> None:
        self._open()
        for start in range(0, len(item_ids), READ_BATCH * 16):
            ids: list[models.ExtendedPointId] = [point_id(item_id) for item_id in item_ids[start : start + READ_BATCH * 16]]
            with self._faults("deleting items"):
                self._client.delete(self._collection, models.PointIdsList(points=ids), wait=True)

    def search(self, queries: Sequence[Query]) -> list[list[Hit]]:
        layout = self._open()
        plans = [plan(query, layout, _DIALECT, self._exact) for query in queries]
        results: list[list[Hit]] = []
        for start in range(0, len(plans), READ_BATCH):
            batch = plans[start : start + READ_BATCH]
            requests = [request for one in batch for request in _requests(one)]
            with self._faults("searching"):
                answers = iter(self._client.query_batch_points(self._collection, requests) if requests else [])
            for one in batch:
                found = [
                    [(item_id_of(point.payload), point.score) for point in next(answers).points] for _ in range(requests_of(one))
                ]
                results.append(hits(one, found))
        return results

    def count(self, filter: Filter | None = None) -> int:
        layout = self._open()
        condition = None if filter is None else _DIALECT.every([translate(filter, layout, _DIALECT)])
        with self._faults("counting"):
            return self._client.count(self._collection, count_filter=condition, exact=True).count

    def vectors(self, name: str, item_ids: Sequence[str]) -> dict[str, np.ndarray]:
        self._open().check_name(name, "a look-up")
        result: dict[str, np.ndarray] = {}
        for start in range(0, len(item_ids), READ_BATCH * 16):
            ids = [point_id(item_id) for item_id in item_ids[start : start + READ_BATCH * 16]]
            with self._faults("reading vectors"):
                records = self._client.retrieve(self._collection, ids, with_payload=[ITEM_ID], with_vectors=[name])
            for record in records:
                if isinstance(record.vector, dict) and name in record.vector:
                    result[item_id_of(record.payload)] = np.asarray(record.vector[name], dtype=np.float32)
        return result

    def finish(self) -> None:
        """The server builds its graphs by itself and answers meanwhile; raises IndexFault when it says that it failed."""
        self._open()
        with self._faults("asking for the state"):
            info = self._client.get_collection(self._collection)
        if info.status == models.CollectionStatus.RED:
            raise IndexFault(f"{self._url}: the collection is broken: {info.optimizer_status}", hint="See the server's log.")

    def close(self) -> None:
        if not self._closed:
            self._made.close()
            self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class _ClusterDialect:
    def any_of(self, key: str, values: list[str]) -> models.Condition:
        return models.FieldCondition(key=key, match=models.MatchAny(any=values))

    def range(self, key: str, *, gt: float | None, gte: float | None, lt: float | None, lte: float | None) -> models.Condition:
        return models.FieldCondition(key=key, range=models.Range(gt=gt, gte=gte, lt=lt, lte=lte))

    def ids(self, point_ids: Sequence[str]) -> models.Condition:
        return models.HasIdCondition(has_id=list(point_ids))

    def every(self, parts: list[models.Condition]) -> models.Filter:
        return models.Filter(must=parts)

    def some(self, parts: list[models.Condition]) -> models.Filter:
        return models.Filter(should=parts)

    def none(self, parts: list[models.Condition]) -> models.Filter:
        return models.Filter(must_not=parts)


_DIALECT = _ClusterDialect()


def _requests(plan: Plan[models.Condition]) -> list[models.QueryRequest]:
    condition = cast(models.Filter | None, plan.condition)  # what `every` of the dialect made
    params = models.SearchParams(hnsw_ef=plan.effort, exact=plan.exact)

    def nearest(vector: list[float] | Sparse) -> models.NearestQuery:
        sparse = isinstance(vector, tuple)
        return models.NearestQuery(nearest=models.SparseVector(indices=vector[0], values=vector[1]) if sparse else vector)

    legs = [(name, nearest(vector)) for name, vector in plan.legs]
    single = [
        models.QueryRequest(query=leg, using=name, filter=condition, limit=plan.depth, params=params, with_payload=[ITEM_ID])
        for name, leg in legs
    ]
    if not plan.fused or not legs:
        return single
    prefetch = [models.Prefetch(query=leg, using=name, filter=condition, limit=plan.depth, params=params) for name, leg in legs]
    fusion = models.RrfQuery(rrf=models.Rrf(k=RRF_K))
    return [models.QueryRequest(query=fusion, prefetch=prefetch, limit=plan.limit, with_payload=[ITEM_ID]), *single]
