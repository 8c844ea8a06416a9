"""Where weights come from: local path, local cache, model hub, then a Python package that carries them.

Only safetensors are read, never pickles. Nothing is fetched when `hub` is off or `HF_HUB_OFFLINE` is set.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from genrec.errors import WeightsError
from genrec.files import write_whole
from genrec.models.packages import CARRIERS, Carrier, installed, sha256, unpack
from genrec.progress import SILENT, Progress

Kind = Literal["text", "image", "llm"]
Source = Literal["path", "cache", "hub", "package"]

HUB_TIMEOUT_S = 4.0
"""Seconds after which an unreachable hub counts as such."""

_COMMON = ["*.json", "*.txt", "*.model", "*.jinja"]
_WANTED: dict[str, list[str]] = {
    "text": [*_COMMON, "*.safetensors"],
    "image": [*_COMMON, "open_clip*.safetensors"],
    "llm": [*_COMMON, "*.safetensors"],
}
_UNWANTED = ["onnx/*", "openvino/*", "original/*", "consolidated*", "*.msgpack", "*.h5"]
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A model folder that is there and whole. `detail` says more about the source, for people."""

    name: str
    kind: Kind
    path: Path
    source: Source
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Weights that are not on this machine. `tried`: a line for each place; `fetchable`: where they could come from."""

    name: str
    kind: Kind
    tried: tuple[str, ...]
    fetchable: tuple[str, ...]


def default_cache() -> Path:
    """`$GENREC_CACHE`, else `~/.cache/genrec`."""
    return Path(os.environ.get("GENREC_CACHE") or Path.home() / ".cache" / "genrec").expanduser()


def resolve(name: str, kind: Kind, *, hub: bool = True, cache: Path | None = None, progress: Progress = SILENT) -> Weights:
    """The weights called `name`, fetched if need be (and if `hub` allows it).

    `name` is a local folder, a hub id, or for images also open_clip's `architecture/pretrained tag`. A path that starts with
    `/`, `.` or `~` is looked for nowhere else. Raises WeightsError with a line for each place that was tried.
    """
    search = _Search(name, kind, hub, cache or default_cache())
    found = search.path() or search.cached() or search.from_hub() or search.from_package(progress)
    if found is None:
        raise search.error()
    return found


def inspect(name: str, kind: Kind, *, hub: bool = True, cache: Path | None = None) -> Weights | Missing:
    """Like `resolve`, without fetching or converting anything; an installed carrier package counts as there."""
    search = _Search(name, kind, hub, cache or default_cache())
    try:
        found = search.path() or search.cached()
    except WeightsError as error:
        return Missing(name=name, kind=kind, tried=(str(error),), fetchable=())
    if found is None and search.carrier is not None and (file := installed(search.carrier)) is not None:
        found = Weights(name=name, kind=kind, path=file.parent, source="package", detail=f"{search.carrier.package}, installed")
    return found or Missing(name=name, kind=kind, tried=tuple(search.tried), fetchable=search.fetchable())


def tokenizer_folder(name: str, *, cache: Path | None = None) -> Path | None:
    """A folder on this machine with the tokenizer of the LLM called `name`; weights need not be in it. Nothing is fetched."""
    folder = Path(name.removeprefix("local-dir:")).expanduser()
    if not folder.is_dir():
        found = inspect(name, "llm", hub=False, cache=cache)
        if not isinstance(found, Weights):
            return None
        folder = found.path
    return folder if any((folder / file).is_file() for file in _TOKENIZERS) else None


def digest(folder: Path, cache: Path | None = None) -> str:
    """SHA-256 over the folder's safetensors files (names and contents); remembered in the cache while sizes and times stay."""
    files = sorted(folder.rglob("*.safetensors"))
    if not files:
        raise WeightsError(f"{folder}: no safetensors", hint="Only safetensors are read.")
    stamp = [[str(file.relative_to(folder)), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    key = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:24]
    note = (cache or default_cache()) / "digests" / f"{key}.json"
    try:
        known = json.loads(note.read_text(encoding="utf-8"))
        if known["stamp"] == stamp:
            return str(known["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not noted yet, or not readable: computed below
    whole = hashlib.sha256()
    for file in files:
        whole.update(f"{file.relative_to(folder)}\0{sha256(file)}\n".encode())
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        write_whole(note, json.dumps({"stamp": stamp, "digest": whole.hexdigest()}))
    except OSError:
        pass  # a cache that cannot be written costs time, not correctness
    return whole.hexdigest()


def fault(folder: Path, kind: Kind) -> str:
    """What keeps `folder` from being a whole model of this kind; empty when nothing does. Reads headers, not weights."""
    from safetensors import SafetensorError, safe_open

    needed = {"text": ("modules.json", "config.json"), "llm": ("config.json",), "image": ("open_clip_config.json",)}[kind]
    if not any((folder / file).is_file() for file in needed):
        return f"no {' or '.join(needed)}"
    if kind == "llm" and not any((folder / file).is_file() for file in _TOKENIZERS):
        return "no tokenizer"
    files = sorted(folder.glob("*.safetensors") if kind != "text" else folder.rglob("*.safetensors"))
    if not files:
        pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
        return "only pickled weights, which are not read" if pickled else "no safetensors"
    for shards in folder.glob("*.safetensors.index.json"):
        names = set(json.loads(shards.read_text(encoding="utf-8"))["weight_map"].values())
        if absent := sorted(part for part in names if not (folder / part).is_file()):
            return f"no {absent[0]}"
    for file in files:
        try:
            with safe_open(file, framework="np"):
                pass
        except (SafetensorError, OSError) as error:
            return f"{file.name} is damaged ({error})"
    return ""


class _Search:
    """One search, place by place; `tried` keeps a line for each place that had nothing."""

    def __init__(self, name: str, kind: Kind, hub: bool, cache: Path) -> None:
        self.name = name
        self.kind: Kind = kind
        self.cache = cache
        self.tried: list[str] = []
        self.retryable = False
        self.fetch = hub and not _offline()
        self.why_not = "switched off (models.hub)" if not hub else "switched off (HF_HUB_OFFLINE)"
        self._repo: str | None = None
        # a text model without an organisation is one of the sentence-transformers, as in that library
        self.id = f"sentence-transformers/{name}" if kind == "text" and "/" not in name else name

    @property
    def carrier(self) -> Carrier | None:
        return CARRIERS.get((self.kind, self.id))

    @property
    def target(self) -> Path:
        return self.cache / "models" / self.id.replace("/", "--")

    @property
    def repo(self) -> str:
        """The hub id; for `architecture/tag` the one in open_clip's registry. Raises WeightsError for an unknown tag."""
        if self._repo is None:
            self._repo = _open_clip_repo(self.id) if self.kind == "image" else self.id
        return self._repo

    def path(self) -> Weights | None:
        if not self.name:
            raise WeightsError(f"no {self.kind} model is named (models.{self.kind} is empty)", hint=_shape_of(self.kind))
        folder = Path(self.name.removeprefix("local-dir:")).expanduser()
        if folder.is_dir():
            if wrong := fault(folder, self.kind):
                raise WeightsError(f"{folder} is not a whole {self.kind} model: {wrong}", hint=_shape_of(self.kind))
            return Weights(name=self.name, kind=self.kind, path=folder.resolve(), source="path")
        if self.name.startswith(("/", ".", "~", "local-dir:")):
            raise WeightsError(f"no folder {str(folder)!r} for the {self.kind} model", hint=_shape_of(self.kind))
        self.tried.append(f"path: no folder {self.name!r}")
        return None

    def cached(self) -> Weights | None:
        if self.target.is_dir():
            if not (wrong := fault(self.target, self.kind)):
                return self._found(self.target, "cache", _origin(self.target))
            self.tried.append(f"cache: {self.target}: {wrong}")
        return self._hub_cache()

    def _hub_cache(self) -> Weights | None:
        from huggingface_hub import snapshot_download
        from huggingface_hub.constants import HF_HUB_CACHE
        from huggingface_hub.errors import HFValidationError

        try:
            folder = snapshot_download(
                self.repo, local_files_only=True, allow_patterns=_WANTED[self.kind], ignore_patterns=_UNWANTED
            )
        except OSError:  # LocalEntryNotFoundError is one
            self.tried.append(f"cache: nothing in {self.target.parent} and {HF_HUB_CACHE}")
            return None
        except HFValidationError as error:
            raise WeightsError(f"{self.name!r} is neither a folder nor a hub id", hint=str(error).splitlines()[0]) from error
        if wrong := fault(Path(folder), self.kind):
            self.tried.append(f"cache: {folder}: {wrong}")
            return None
        return self._found(Path(folder), "cache", f"hub cache of {self.repo}")

    def from_hub(self) -> Weights | None:
        if not self.fetch:
            self.tried.append(f"hub: {self.why_not}")
            return None
        from httpx2 import TransportError
        from huggingface_hub import HfApi, snapshot_download
        from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

        try:
            # asked first with a short time-out: `snapshot_download` itself waits long for a hub that does not answer
            HfApi().model_info(self.repo, timeout=HUB_TIMEOUT_S)
            folder = Path(
                snapshot_download(
                    self.repo,
                    allow_patterns=_WANTED[self.kind],
                    ignore_patterns=_UNWANTED,
                    etag_timeout=HUB_TIMEOUT_S,
                    library_name="genrec",
                )
            )
        except GatedRepoError:
            self.tried.append(f"hub: {self.repo} asks for an accepted licence and a token (HF_TOKEN)")
        except RepositoryNotFoundError:
            self.tried.append(f"hub: no model {self.repo!r} (or it is private: HF_TOKEN)")
        except (HfHubHTTPError, TransportError, OSError, ValueError) as error:
            self.retryable = True
            self.tried.append(f"hub: {type(error).__name__}: {(str(error).splitlines() or ['no answer'])[0]}")
        else:
            if not (wrong := fault(folder, self.kind)):
                return self._found(folder, "hub", self.repo)
            self.tried.append(f"hub: {self.repo}: {wrong}")
        return None

    def from_package(self, progress: Progress) -> Weights | None:
        from filelock import FileLock

        carrier = self.carrier
        if carrier is None:
            self.tried.append("package: none carries this model")
            return None
        file = installed(carrier)
        if file is not None and not carrier.is_gguf and not fault(file.parent, self.kind) and sha256(file) == carrier.sha256:
            return self._found(file.parent, "package", f"{carrier.package}, installed")
        if file is None and not self.fetch:
            self.tried.append(f"package: {carrier.package} is not installed; downloading {self.why_not}")
            return None
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self.target}.lock"):
                if not fault(self.target, self.kind):  # another process made it while this one waited
                    return self._found(self.target, "cache", _origin(self.target))
                unpack(carrier, self.target, download=self.fetch, progress=progress)
            if not (wrong := fault(self.target, self.kind)):
                return self._found(self.target, "package", carrier.requirement)
            self.tried.append(f"package: {carrier.requirement}: {wrong}")
        except WeightsError as error:
            self.retryable = self.retryable or error.retryable
            self.tried.append(f"package: {error}")
        except OSError as error:
            self.tried.append(f"package: {self.target.parent}: {error.strerror or error}")
        return None

    def _found(self, path: Path, source: Source, detail: str) -> Weights:
        return Weights(name=self.name, kind=self.kind, path=path, source=source, detail=detail)

    def fetchable(self) -> tuple[str, ...]:
        places = [f"hub: {self.repo}"] if self.fetch else []
        if self.carrier is not None and self.fetch:
            places.append(f"package: {self.carrier.requirement}")
        return tuple(places)

    def error(self) -> WeightsError:
        hint = f"Name a local folder in models.{self.kind}"
        if not self.fetch:
            hint += f", or allow fetching ({self.why_not})"
        elif self.carrier is not None:
            hint += f", or put {self.carrier.requirement} where pip finds it"
        else:
            hint += ", or fetch the model where the hub is reachable and copy its folder here"
        if self.kind == "image":
            hint += ", or leave models.image empty to go without pictures"
        lines = "\n".join(f"  {line}" for line in self.tried)
        return WeightsError(
            f"no weights for the {self.kind} model {self.name!r}:\n{lines}", hint=f"{hint}.", retryable=self.retryable
        )


def _open_clip_repo(name: str) -> str:
    """The hub id behind `architecture/tag`; a name whose first part is no architecture is taken as a hub id."""
    from open_clip import get_pretrained_cfg, list_models, list_pretrained_tags_by_model

    architecture, _, tag = name.removeprefix("hf-hub:").rpartition("/")
    if architecture not in list_models():
        return name.removeprefix("hf-hub:")
    card = get_pretrained_cfg(architecture, tag)
    if not card or not card.get("hf_hub"):
        tags = ", ".join(list_pretrained_tags_by_model(architecture))
        raise WeightsError(f"open_clip knows no weights {tag!r} for {architecture}", hint=f"There are: {tags or 'none'}.")
    return "/".join(str(card["hf_hub"]).split("/")[:2])


def _shape_of(kind: Kind) -> str:
    return {
        "text": "A folder saved by sentence-transformers: modules.json and safetensors.",
        "image": "A folder saved by open_clip: open_clip_config.json and open_clip_model.safetensors.",
        "llm": "A folder saved by transformers: config.json, tokenizer and safetensors.",
    }[kind]


def _origin(folder: Path) -> str:
    try:
        origin = json.loads((folder / "origin.json").read_text(encoding="utf-8"))
        return f"from {origin['package']} {origin['version']}"
    except (OSError, ValueError, KeyError):
        return "placed by hand"


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


@contextmanager
def quiet() -> Iterator[None]:
    """Switch off the bars of transformers while weights are loaded, and leave them as they were."""
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
