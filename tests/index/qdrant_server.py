"""A loopback HTTP server that speaks the part of Qdrant's REST interface that genrec uses.

No Qdrant server can be installed by pip, so the routes are mapped onto the client's own in-memory engine: requests and
answers pass through the published models of the interface in both directions, over real sockets.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pydantic import BaseModel, TypeAdapter
from qdrant_client import QdrantClient, models

Answer = Callable[["Backend", str, dict[str, Any]], Any]


class Backend:
    """The engine, and what the tests look at or set."""

    def __init__(self) -> None:
        self.client = QdrantClient(":memory:")
        self.guard = threading.Lock()
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        self.indexed: dict[str, str] = {}
        self.keys: list[str | None] = []
        self.fail: tuple[int, str] | None = None
        self.keep_metadata = True


def create(backend: Backend, name: str, body: dict[str, Any]) -> bool:
    asked = models.CreateCollection.model_validate(body)
    return backend.client.create_collection(
        name,
        vectors_config=asked.vectors,
        sparse_vectors_config=asked.sparse_vectors,
        metadata=asked.metadata if backend.keep_metadata else None,
    )


def index(backend: Backend, name: str, body: dict[str, Any]) -> dict[str, str]:
    asked = models.CreateFieldIndex.model_validate(body)
    assert isinstance(asked.field_schema, models.PayloadSchemaType)
    backend.indexed[asked.field_name] = asked.field_schema.value
    return {"status": "completed"}


def upsert(backend: Backend, name: str, body: dict[str, Any]) -> Any:
    return backend.client.upsert(name, models.PointsList.model_validate(body).points)


def delete(backend: Backend, name: str, body: dict[str, Any]) -> Any:
    return backend.client.delete(name, models.PointIdsList.model_validate(body))


def query(backend: Backend, name: str, body: dict[str, Any]) -> Any:
    searches = models.QueryRequestBatch.model_validate(body).searches
    for search in searches:  # the engine in memory is always exact, and warns when told so
        prefetch = search.prefetch if isinstance(search.prefetch, list) else []
        for part in (search, *prefetch):
            part.params = None
    return backend.client.query_batch_points(name, searches)


def count(backend: Backend, name: str, body: dict[str, Any]) -> Any:
    return backend.client.count(name, models.CountRequest.model_validate(body).filter)


def retrieve(backend: Backend, name: str, body: dict[str, Any]) -> Any:
    asked = models.PointRequest.model_validate(body)
    return backend.client.retrieve(
        name, asked.ids, with_payload=asked.with_payload or False, with_vectors=asked.with_vector or False
    )


ROUTES: dict[tuple[str, str], Answer] = {
    ("GET", "/exists"): lambda backend, name, _: {"exists": backend.client.collection_exists(name)},
    ("GET", ""): lambda backend, name, _: backend.client.get_collection(name),
    ("PUT", ""): create,
    ("DELETE", ""): lambda backend, name, _: backend.client.delete_collection(name),
    ("PUT", "/index"): index,
    ("PUT", "/points"): upsert,
    ("POST", "/points/delete"): delete,
    ("POST", "/points/query/batch"): query,
    ("POST", "/points/count"): count,
    ("POST", "/points"): retrieve,
}


def handler(backend: Backend) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
            name, _, rest = self.path.partition("?")[0].removeprefix("/collections/").partition("/")
            route = (self.command, f"/{rest}" if rest else "")
            with backend.guard:
                backend.requests.append((*route, body))
                backend.keys.append(self.headers.get("api-key"))
                if backend.fail is not None:
                    self.send(*backend.fail)
                    return
                try:
                    result = ROUTES[route](backend, name, body)
                except ValueError as error:
                    self.send(400, json.dumps({"status": {"error": str(error)}}))
                    return
            plain = (
                TypeAdapter(Any).dump_python(result, mode="json", exclude_none=True)
                if not isinstance(result, BaseModel)
                else result
            )
            if isinstance(plain, BaseModel):
                plain = plain.model_dump(mode="json", exclude_none=True)
            self.send(200, json.dumps({"result": plain, "status": "ok", "time": 0.0}))

        def send(self, status: int, text: str) -> None:
            data = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815 - names that the base class looks for

        def log_message(self, format: str, *args: object) -> None:
            return

    return Handler


@contextmanager
def serve() -> Iterator[tuple[str, Backend]]:
    backend = Backend()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(backend))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", backend
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        backend.client.close()
