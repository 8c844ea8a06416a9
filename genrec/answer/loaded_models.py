"""The models of a workspace, each loaded once, when first needed."""

import asyncio
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from genrec.answer.trace import Stages
from genrec.errors import ModelError
from genrec.llm.protocol import LLM
from genrec.progress import Progress
from genrec.workspace.folder import Workspace


class LoadedModels:
    """`text`, `image` and `llm` of a workspace. Safe to share among threads and event loops."""

    def __init__(self, workspace: Workspace, progress: Progress) -> None:
        self._progress = progress
        self._loading = threading.Lock()
        self._loaders = {"llm": workspace.llm, "text": workspace.text_encoder, "image": workspace.image_encoder}
        self._loaded: dict[str, Any] = {}  # models, or the ModelError that loading one ended with

    def get(self, name: str) -> Any:
        """The model of that name. A ModelError of its first loading is raised at every call; nothing is tried again."""
        with self._loading:
            if name not in self._loaded:
                try:
                    self._loaded[name] = self._loaders[name](self._progress)
                except ModelError as error:
                    self._loaded[name] = error
            model = self._loaded[name]
        if isinstance(model, ModelError):
            raise model.with_traceback(None)
        return model

    def llm(self, stages: Stages) -> LLM:
        """The engine, named in the trace. Raises ModelError."""
        llm = self.get("llm")
        stages.models["llm"] = llm.id
        return llm

    async def load(self, name: str, stages: Stages) -> None:
        """Load a model when it is first needed, as a stage of its own: loading does not count as the time of its work."""
        if name not in self._loaded:
            with stages.degrading(f"loading {name}"):
                await asyncio.to_thread(self.get, name)

    async def load_all(self, names: Iterable[str]) -> None:
        """Load these now, except those that cannot be loaded: the trace of each answer says so."""
        for name in names:
            with suppress(ModelError):
                await asyncio.to_thread(self.get, name)

    def close(self) -> None:
        llm = self._loaded.get("llm")
        if llm is not None and not isinstance(llm, ModelError):
            llm.close()
