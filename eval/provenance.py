"""Where and when a figure was measured."""

import datetime
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS_FOLDER = Path(__file__).parent / "results"


def provenance(*, seed: int | None = None) -> dict[str, Any]:
    """Date, commit (with `+` when the tree has changes), machine, versions and seed, for a result file."""
    root = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False).stdout.strip()

    changed = "+" if git("status", "--porcelain", "--", "../genrec", "../prompts") else ""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": git("rev-parse", "--short", "HEAD") + changed,
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "python": platform.python_version()},
        "versions": {name: version(name) for name in ("torch", "transformers", "sentence-transformers", "qdrant-edge-py")},
        "seed": seed,
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    flags = next((line for line in lines if line.startswith("flags")), "")
    extra = [flag for flag in ("amx_bf16", "avx512_bf16") if flag in flags]
    name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    return " ".join([name, *extra])
