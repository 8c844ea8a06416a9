"""The workspace: one folder with the settings, the store, pictures, vectors and the index of one catalogue.

genrec.toml          settings (genrec/settings/)
workspace.json       schema version of the folder
store.sqlite         items, people, events, captions, dialogues (unless store.url names a database)
media/               pictures, by the digest of their content
vectors/             vectors by modality, popularity, digests of what was encoded
index/               the vector engine (unless index.url names a cluster)
build.json           what the last build made (genrec/workspace/manifest.py); written last
retriever/           the trained retriever, the plot of its training, checkpoints while it trains
adapters/            LoRA adapters, a folder each, active.json (which are in use) and choices.json (how much they count here)
dialogues/           what `genrec train dialogues` learned
reports/             pages and figures of `genrec eval`
prompts/             templates that override the shipped ones
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from genrec.errors import StoreError, WorkspaceError
from genrec.files import read_json, write_json
from genrec.prompts import Prompts
from genrec.settings import SETTINGS_FILE, Settings, load_settings

if TYPE_CHECKING:
    from genrec.index.protocol import VectorIndex
    from genrec.llm.adapter_registry import AdapterRegistry
    from genrec.llm.protocol import LLM
    from genrec.models.encoders import ImageEncoder, TextEncoder
    from genrec.progress import Progress
    from genrec.store.store import Store

SCHEMA = 1
MARK = "workspace.json"
BUILD = "build.json"
_TOML = """\
# Settings of this genrec workspace; every key and its default: docs/settings.md.
# Environment variables win: GENREC_RANK__METHOD=labels

# [rank]
# weight = {weight}
"""


class Workspace:
    """Paths and lazily opened parts of one folder. `close` it, or use it as a context manager."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder = folder
        self.settings = settings

    @classmethod
    def create(cls, folder: Path | str) -> "Workspace":
        """Make a workspace; one that is there is left as it is. Raises WorkspaceError when the folder cannot be made."""
        path = Path(folder).expanduser().resolve()
        if not (path / MARK).exists():
            try:
                path.mkdir(parents=True, exist_ok=True)
                if not (path / SETTINGS_FILE).exists():
                    (path / SETTINGS_FILE).write_text(_TOML.format(weight=Settings().rank.weight), encoding="utf-8")
                write_json(path / MARK, {"schema": SCHEMA})
            except OSError as error:
                raise WorkspaceError(
                    f"{path}: {error.strerror or error}", hint="Choose a folder that can be written to."
                ) from error
        return cls.open(path)

    @classmethod
    def open(cls, folder: Path | str, *, settings: Mapping[str, Mapping[str, Any]] | None = None) -> "Workspace":
        """Open a workspace. `settings`: section → key → value, instead of what its file says.

        Raises WorkspaceError, or ConfigError for its settings.
        """
        path = Path(folder).expanduser().resolve()
        make = f"Make one with `genrec init {folder}`."
        mark = read_json(path / MARK, hint=make, damaged=f"Delete this file, then `genrec init {folder}`: the rest is kept.")
        if not isinstance(mark, dict) or mark.get("schema") != SCHEMA:
            found = mark.get("schema") if isinstance(mark, dict) else mark
            raise WorkspaceError(
                f"{path / MARK}: schema {found!r:.80}, this version reads {SCHEMA}",
                hint="A newer genrec made it: upgrade (pip install -U genrec). Nothing was changed.",
            )
        return cls(path, load_settings(path, settings))

    @property
    def vectors(self) -> Path:
        return self.folder / "vectors"

    @property
    def retriever(self) -> Path:
        return self.folder / "retriever"

    @property
    def adapters(self) -> Path:
        return self.folder / "adapters"

    @property
    def registry(self) -> "AdapterRegistry":
        """The LoRA adapters here and those that ship, and which serves what."""
        from genrec.llm.adapter_registry import AdapterRegistry

        settings = self.settings
        return AdapterRegistry(self.adapters, wanted=settings.adapters, models=settings.models, prompts=self.prompts)

    @property
    def build_file(self) -> Path:
        return self.folder / BUILD

    @cached_property
    def store(self) -> "Store":
        from genrec.store.store import Store

        built, file = self.build_file.exists(), self.folder / "store.sqlite"
        if built and not self.settings.store.url and not file.exists():  # an empty one in its place would hide the loss
            raise StoreError(
                f"{file}: the store of this built workspace is missing",
                hint=f"Put it back from a backup; to begin anew, delete {self.build_file} and ingest again.",
            )
        return Store.open(self.settings.store.url or f"sqlite:///{file}", create=not built)

    @cached_property
    def index(self) -> "VectorIndex":
        from genrec.index import open_index

        return open_index(self.settings.index, self.folder / "index")

    @cached_property
    def prompts(self) -> Prompts:
        return Prompts(self.folder / "prompts")

    def text_encoder(self, progress: "Progress") -> "TextEncoder":
        """Raises WeightsError when the weights cannot be had."""
        from genrec.models.encoders import TextEncoder
        from genrec.models.sources import resolve

        models = self.settings.models
        return TextEncoder(resolve(models.text, "text", hub=models.hub, progress=progress), device=models.device)

    def image_encoder(self, progress: "Progress") -> "ImageEncoder":
        """Raises WeightsError when the weights cannot be had."""
        from genrec.models.encoders import ImageEncoder
        from genrec.models.sources import resolve

        models = self.settings.models
        return ImageEncoder(resolve(models.image, "image", hub=models.hub, progress=progress), device=models.device)

    def model_id(self, kind: Literal["text", "image"], progress: "Progress") -> str:
        """Name and digest of the weights an encoder would load, without loading it. Raises WeightsError."""
        from genrec.models.encoders import model_id
        from genrec.models.sources import resolve

        models = self.settings.models
        return model_id(resolve(getattr(models, kind), kind, hub=models.hub, progress=progress))

    def llm(self, progress: "Progress") -> "LLM":
        """The engine that ranks and writes, with all adapters that fit its model.

        Raises WeightsError, AdapterError or EngineError. A server (`llm.engine = "openai"`) is not asked before the first call.
        """
        models, settings = self.settings.models, self.settings.llm
        if models.llm == "fake":
            from genrec.llm.fake import FakeLLM

            return FakeLLM()
        if settings.engine == "openai":
            from genrec.llm.openai_engine import RemoteLLM
            from genrec.models.sources import tokenizer_folder

            return RemoteLLM(models.llm, settings, tokenizer=tokenizer_folder(models.llm))
        from genrec.models.sources import resolve

        weights, adapters = resolve(models.llm, "llm", hub=models.hub, progress=progress), self.registry.fitting()
        if settings.engine == "vllm":
            from genrec.llm.vllm_engine import VLLMEngine

            return VLLMEngine(weights, adapters, settings=settings, dtype=models.dtype)
        from genrec.llm.transformers_engine import TransformersLLM

        return TransformersLLM(
            weights,
            adapters,
            device=models.device,
            dtype=models.dtype,
            batch_tokens=models.batch_tokens,
            image_pixels=settings.image_pixels,
        )

    def close(self) -> None:
        for part in ("store", "index"):
            if part in self.__dict__:
                self.__dict__.pop(part).close()

    def __enter__(self) -> "Workspace":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
