"""`genrec llm serve` as a process, for tests."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

PYTHON = os.environ.get("GENREC_VLLM_PYTHON", "")
needs_vllm = pytest.mark.skipif(not PYTHON, reason="GENREC_VLLM_PYTHON names no interpreter that has vLLM (see make test-vllm)")
SETTINGS = """
[models]
llm = "{model}"
dtype = "float32"
[llm]
kv_cache_gb = 0.05
max_num_seqs = 16
block_size = 32
eager = true
"""
"""`{model}`: a tiny one."""
READY_S = 600.0
"""A machine that is busy with other things needs minutes to start vLLM."""


@dataclass
class Served:
    """The process; its URL once it is ready."""

    process: subprocess.Popen[str]
    port: int
    log: IO[str]
    url: str = ""

    def errors(self) -> str:
        """What it has said on stderr so far."""
        return Path(self.log.name).read_text(encoding="utf-8")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Have it end; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(READY_S)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextmanager
def serve(
    workspace: Path, *, python: str, options: Sequence[str] = (), ready: bool = True, environment: dict[str, str] | None = None
) -> Iterator[Served]:
    """Start it; with `ready`, once it answers. It is ended when the block is left."""
    port = free_port()
    line = [sys.executable, "-c", "from genrec.cli import main; main()", "llm", "serve", "-w", str(workspace)]
    line += ["--port", str(port), "--python", python, *(["--", *options] if options else [])]
    with tempfile.NamedTemporaryFile("w+", encoding="utf-8") as log:
        process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ | (environment or {}))
        served = Served(process, port, log)
        killer = threading.Timer(READY_S, process.kill)
        killer.start()
        try:
            if ready:
                assert process.stdout is not None
                served.url = process.stdout.readline().strip()
                assert served.url, served.errors()
            yield served
        finally:
            killer.cancel()
            served.stop()
            if process.stdout is not None:
                process.stdout.close()
