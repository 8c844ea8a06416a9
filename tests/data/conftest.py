"""Small real files, and a loopback web server that answers as a test tells it to."""

import io
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from genrec.data.ingest_report import Report

Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def report() -> Report:
    return Report()


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    """Write a file below the test's folder and return its path."""

    def _write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return _write


@pytest.fixture
def write_rows(write: Callable[[str, str], Path]) -> Callable[..., Path]:
    """Write objects as JSON lines."""

    def _write(*rows: object, name: str = "rows.jsonl") -> Path:
        return write(name, "".join(json.dumps(row) + "\n" for row in rows))

    return _write


def picture(form: str = "PNG", size: tuple[int, int] = (8, 6), mode: str = "RGB", color: object = 90) -> bytes:
    """An encoded picture of one colour."""
    out = io.BytesIO()
    Image.new(mode, size, color).save(out, format=form)  # type: ignore[arg-type]
    return out.getvalue()


@pytest.fixture
def png() -> bytes:
    return picture()


class Web:
    """A web server on a loopback port; `answers[path]` writes the answer, `requests` are the paths asked for."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.answers: dict[str, Answer] = {}
        self.requests: list[str] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.requests.append(self.path)
                try:
                    web.answers.get(self.path, not_found)(self)
                except (BrokenPipeError, ConnectionResetError):
                    return  # the reader gave up, as some tests want

            def log_message(self, format: str, *args: object) -> None:
                return

        class Server(ThreadingHTTPServer):
            request_queue_size = 64  # many connections at once; one that is dropped comes again only after a second

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def serve(self, path: str, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> str:
        def answer(request: BaseHTTPRequestHandler) -> None:
            request.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
                request.send_header(name, value)
            request.end_headers()
            request.wfile.write(body)

        self.answers[path] = answer
        return self.url(path)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def not_found(request: BaseHTTPRequestHandler) -> None:
    request.send_response(404)
    request.send_header("Content-Length", "0")
    request.end_headers()


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    yield server
    server.close()
