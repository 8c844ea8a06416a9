"""When, where and with what an evaluation ran."""

import datetime
import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from genrec.evaluation.results import Environment

PACKAGES = {  # module: distribution
    "numpy": "numpy",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "torch": "torch",
    "implicit": "implicit",
    "lightgbm": "lightgbm",
    "transformers": "transformers",
    "sentence_transformers": "sentence-transformers",
    "open_clip": "open_clip_torch",
}
CPU = Path("/proc/cpuinfo")


def environment(seeds: Sequence[int]) -> Environment:
    """Versions are of the packages that were loaded."""
    return Environment(
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        genrec=version("genrec"),
        machine=_processor(),
        cores=os.cpu_count() or 1,
        python=platform.python_version(),
        seeds=tuple(seeds),
        versions={name: found for module, name in PACKAGES.items() if module in sys.modules and (found := _version(name))},
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # a module on the path that no package installed
        return ""


def _processor() -> str:
    lines = CPU.read_text(encoding="utf-8").splitlines() if CPU.exists() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
