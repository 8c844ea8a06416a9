"""A model hub on loopback: the three routes that a snapshot needs, over real HTTP."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class _Server(ThreadingHTTPServer):
    def __init__(self, models: dict[str, Path], gated: frozenset[str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models, self.gated = models, gated
        self.asked: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: object) -> None:
        return

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        self.server.asked.append(path)
        for name, folder in self.server.models.items():
            if path in (f"/api/models/{name}", f"/api/models/{name}/revision/main"):
                return self._json({"id": name, "sha": COMMIT, "siblings": []})
            if path.startswith(f"/api/models/{name}/tree/"):
                return self._json([_entry(folder, file) for file in sorted(folder.rglob("*")) if file.is_file()])
            if path.startswith(f"/{name}/resolve/{COMMIT}/"):
                return self._send((folder / path.split(COMMIT + "/")[1]).read_bytes(), "application/octet-stream")
        restricted = any(path.startswith(f"/api/models/{name}") for name in self.server.gated)
        self.send_response(403 if restricted else 404)
        self.send_header("X-Error-Code", "GatedRepo" if restricted else "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None

    def _json(self, value: object) -> None:
        self._send(json.dumps(value).encode(), "application/json")

    def _send(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _entry(folder: Path, file: Path) -> dict[str, object]:
    body = file.read_bytes()
    return {"type": "file", "path": str(file.relative_to(folder)), "size": len(body), "oid": hashlib.sha1(body).hexdigest()}


@contextmanager
def serve(models: dict[str, Path], *, gated: frozenset[str] = frozenset()) -> Iterator[tuple[str, list[str]]]:
    """Serve folders as models; yields the address and the list of paths asked for (it grows)."""
    server = _Server(models, gated)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
