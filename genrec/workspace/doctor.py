"""What is here, what is missing, and what to do about it. Looks only: nothing is fetched and no weights are loaded."""

import importlib.metadata
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from genrec.errors import GenrecError
from genrec.models.sources import Kind, Weights, default_cache, inspect
from genrec.settings import Settings
from genrec.settings.sections import ModelSettings

Status = Literal["ok", "missing", "warning"]
GIB = 1024**3
LITTLE_MEMORY = 2 * GIB
LITTLE_DISK = 2 * GIB
_TOLD = ("torch", "transformers", "sentence-transformers", "open-clip-torch", "peft", "qdrant-client", "qdrant-edge-py")
_BF16_FLAGS = ("amx_bf16", "avx512_bf16", "bf16")
_FLAGS = ("avx2", "avx512f", *_BF16_FLAGS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report. `missing` stops something from working, `warning` makes it slow or may stop it soon."""

    name: str
    status: Status
    detail: str
    hint: str = ""


def examine(settings: Settings, *, workspace: Path | None = None, cache: Path | None = None) -> list[Finding]:
    """Look at everything that `settings` need; `cache` is where weights are kept (default: `default_cache()`)."""
    cache = cache or default_cache()
    return [
        Finding(name="python", status="ok", detail=f"{platform.python_version()} at {sys.executable}"),
        *_packages(settings),
        _cpu(settings.models),
        _gpu(settings.models),
        _memory(),
        *_folders(cache, workspace),
        *(_weights(settings.models, kind, cache) for kind in ("text", "image", "llm")),
        *([_store(settings, workspace), *_adapters(settings, workspace)] if workspace is not None else []),
        *(_captions(settings, workspace) if workspace is not None else []),
    ]


def _packages(settings: Settings) -> Iterator[Finding]:
    """The package's own requirements against what is installed, then the optional packages."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    present: dict[str, str] = {}
    for line in importlib.metadata.requires("genrec") or []:
        needed = Requirement(line)
        if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
            continue
        version = _version(needed.name)
        install = f'pip install "{needed.name}{needed.specifier}"'
        if version is None:
            yield Finding(name=needed.name, status="missing", detail="not installed", hint=install)
        elif not needed.specifier.contains(version, prereleases=True):
            yield Finding(name=needed.name, status="warning", detail=f"{version}, wanted {needed.specifier}", hint=install)
        else:
            present[canonicalize_name(needed.name)] = version
    told = ", ".join(f"{name} {version}" for name, version in present.items() if name in _TOLD)
    yield Finding(name="packages", status="ok", detail=f"{len(present)} in order: {told}")
    yield _optional("vllm", "only for serving large models on a GPU", needed=False)
    yield _optional(
        "psycopg", "only for a PostgreSQL store", needed=settings.store.url.startswith("postgresql"), extra="postgres"
    )


def _optional(package: str, purpose: str, *, needed: bool, extra: str = "") -> Finding:
    version = _version(package)
    if version is not None:
        return Finding(name=package, status="ok", detail=version)
    install = f'pip install "genrec[{extra or package}]"'
    return Finding(name=package, status="missing" if needed else "ok", detail=f"not installed; {purpose}", hint=install)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def cpu_flags(text: str) -> list[str]:
    """The instruction sets that matter here, from the text of /proc/cpuinfo."""
    line = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    words = set(line[1].split()) if line else set()
    return [flag for flag in _FLAGS if flag in words]


def _cpu(models: ModelSettings) -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        flags = cpu_flags(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:  # not Linux
        return Finding(name="cpu", status="ok", detail=f"{cores} cores, {platform.machine()}")
    detail = f"{cores} cores, {platform.machine()}, {' '.join(flags) or 'no vector extensions known'}"
    if models.device == "cpu" and models.dtype == "bfloat16" and not set(flags) & set(_BF16_FLAGS):
        return Finding(
            name="cpu",
            status="warning",
            detail=f"{detail}; bfloat16 is emulated here, which is slow",
            hint='Set models.dtype = "float32".',
        )
    return Finding(name="cpu", status="ok", detail=detail)


def _gpu(models: ModelSettings) -> Finding:
    if _version("torch") is None:
        return Finding(name="gpu", status="warning", detail="torch is not installed: cannot look", hint="pip install torch")
    import torch

    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
        return Finding(
            name="gpu", status="ok", detail=", ".join(f"{card.name} ({card.total_memory / GIB:.0f} GiB)" for card in cards)
        )
    if models.device == "cuda":
        return Finding(name="gpu", status="missing", detail="models.device is cuda", hint='Set models.device = "auto" or "cpu".')
    if Path("/dev/nvidiactl").exists():
        return Finding(
            name="gpu",
            status="warning",
            detail=f"a card is there, but torch {_version('torch')} cannot use it",
            hint="Install a torch build that fits the driver.",
        )
    return Finding(name="gpu", status="ok", detail="none; models run on the CPU")


def _memory() -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    little = memory.available < LITTLE_MEMORY
    return Finding(
        name="memory",
        status="warning" if little else "ok",
        detail=f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB available",
        hint="The default models want about 2 GiB." if little else "",
    )


def _folders(cache: Path, workspace: Path | None) -> Iterator[Finding]:
    for name, folder in (("cache", cache), ("workspace", workspace)):
        if folder is None:
            continue
        there = folder
        while not there.exists():  # the first folder on the way up tells the disk
            there = there.parent
        free = shutil.disk_usage(there).free
        detail = f"{folder}, {free / GIB:.1f} GiB free"
        if not _writable(there):
            hint = "Point GENREC_CACHE to a folder you may write." if name == "cache" else "Check the owner of the folder."
            yield Finding(name=name, status="missing", detail=f"{detail}, not writable", hint=hint)
        elif free < LITTLE_DISK:
            yield Finding(name=name, status="warning", detail=detail, hint="Make room: weights and the index may not fit.")
        else:
            yield Finding(name=name, status="ok", detail=detail)


def _writable(folder: Path) -> bool:
    """By trying: permission bits do not tell about read-only and full disks."""
    try:
        with tempfile.TemporaryFile(dir=folder) as scratch:
            scratch.write(b"x")
            scratch.flush()
    except OSError:
        return False
    return True


def _weights(models: ModelSettings, kind: Kind, cache: Path) -> Finding:
    name = {"text": models.text, "image": models.image, "llm": models.llm}[kind]
    label = f"{kind} model"
    if not name:
        return Finding(name=label, status="ok", detail=f"none (models.{kind} is empty)")
    if kind == "llm" and name == "fake":
        return Finding(
            name=label, status="warning", detail="the deterministic fake", hint="For tests; name a model in models.llm."
        )
    try:
        found = inspect(name, kind, hub=models.hub, cache=cache)
    except GenrecError as error:
        return Finding(name=label, status="missing", detail=f"{name}: {error}", hint=error.hint)
    if isinstance(found, Weights):
        origin = f"{found.source}, {found.detail}" if found.detail else found.source
        return Finding(name=label, status="ok", detail=f"{name} ({origin}): {found.path}")
    tried = "; ".join(found.tried)
    hint = f"Fetched on first use, from {' or '.join(found.fetchable)}." if found.fetchable else _without(kind)
    return Finding(name=label, status="missing", detail=f"{name}: {tried}", hint=hint)


def _without(kind: Kind) -> str:
    hint = f"Name a local folder in models.{kind}, or allow fetching (models.hub, HF_HUB_OFFLINE)"
    return f"{hint}, or leave models.image empty to go without pictures." if kind == "image" else f"{hint}."


def _store(settings: Settings, workspace: Path) -> Finding:
    from genrec.store.store import Store

    if not settings.store.url and not workspace.is_dir():
        return Finding(
            name="store", status="missing", detail=f"no folder {workspace}", hint="`genrec ingest` makes the workspace."
        )
    url = settings.store.url or f"sqlite:///{workspace / 'store.sqlite'}"
    try:
        with Store.open(url, create=False) as store:
            counts = store.counts()
    except GenrecError as error:
        return Finding(name="store", status="missing", detail=str(error), hint=error.hint)
    return Finding(name="store", status="ok", detail=f"{counts.items} items, {counts.users} users, {counts.events} events")


def _captions(settings: Settings, workspace: Path) -> Iterator[Finding]:
    """How many items lack text, and whether those who would write now have written what there is; nothing without a store."""
    from genrec.llm.adapter_registry import AdapterRegistry
    from genrec.prompts import Prompts
    from genrec.store.store import Store

    prompts, language = Prompts(workspace / "prompts"), settings.caption.language
    registry = AdapterRegistry(workspace / "adapters", wanted=settings.adapters, models=settings.models, prompts=prompts)
    try:
        with Store.open(settings.store.url or f"sqlite:///{workspace / 'store.sqlite'}", create=False) as store:
            counts, writers = store.caption_counts(), store.caption_writers()
        used = registry.in_use("write").adapter
        name = "caption" if language == "en" else "caption_language"
        prompts.digest(name)
    except GenrecError:
        return  # told of the store, the adapter or the prompt itself
    adapter = used.name if used and language == "en" else ""
    template = settings.caption.write == "template"
    stale = sum(
        count
        for (tongue, _, by, prompt), count in writers.items()
        if tongue != language
        or (bool(prompt) if template else by != adapter or not prompts.agree(prompt.rpartition("+")[2], name))
    )
    written = f"{counts.captioned} captions, {counts.human} by hand"
    detail = f"{counts.no_title} items without title, {counts.no_text} without text; {written}"
    if stale:
        detail += f"; {stale} by another adapter, prompt or language than would write now"
    waiting = max(counts.no_title, counts.no_text) > counts.captioned
    hint = f"`genrec caption -w {workspace}`, with --dry-run first." if waiting or stale else ""
    yield Finding(name="captions", status="ok", detail=detail, hint=hint)


def _adapters(settings: Settings, workspace: Path) -> Iterator[Finding]:
    """Each adapter on its own, then each task whose adapter cannot serve."""
    from genrec.llm.adapter_registry import TASKS, AdapterRegistry, problem
    from genrec.prompts import Prompts

    prompts = Prompts(workspace / "prompts")
    registry = AdapterRegistry(workspace / "adapters", wanted=settings.adapters, models=settings.models, prompts=prompts)
    found = registry.find()
    for name, adapter in found.adapters.items():
        try:
            fault = registry.fault(adapter)
        except GenrecError as error:  # a template that cannot be read
            fault = str(error)
        detail = f"cannot serve: {fault}" if fault else f"fits, to {adapter.task}: {adapter.path}"
        yield Finding(name=f"adapter {name}", status="ok", detail=detail)
    for name, fault in found.faults.items():
        yield Finding(name=f"adapter {name}", status="warning", detail=str(fault), hint=fault.hint)
    for task in TASKS:
        if error := problem(registry, task):
            named = getattr(settings.adapters, task) != "auto"  # a command that needs it fails; `auto` goes on without
            yield Finding(name=f"{task} adapter", status="missing" if named else "warning", detail=str(error), hint=error.hint)
