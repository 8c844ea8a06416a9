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


class Parts:
    """`text`, `image` and `llm` of a workspace. Safe to share among threads and event loops."""

    def __init__(self, workspace: Workspace, progress: Progress) -> None:
        self._progress = progress
        self._loading = threading.Lock()
        self._loaders = {"llm": workspace.llm, "text": workspace.text_encoder, "image": workspace.image_encoder}
        self._loaded: dict[str, Any] = {}  # models, or the ModelError that loading one ended with

    def get(self, name: str) -> Any:
        """The model of that name. Its ModelError is raised at every call: missing weights are not sought again."""
        with self._loading:
            if name not in self._loaded:
                try:
                    self._loaded[name] = self._loaders[name](self._progress)
                except ModelError as error:
                    self._loaded[name] = error
            part = self._loaded[name]
        if isinstance(part, ModelError):
            raise part.with_traceback(None)
        return part

    def llm(self, stages: Stages) -> LLM:
        """The engine, named in the trace. Raises ModelError."""
        llm = self.get("llm")
        stages.models["llm"] = llm.id
        return llm

    async def load(self, name: str, stages: Stages) -> None:
        """Load a model that is needed for the first time, as a stage of its own: not to be taken for the time of its work."""
        if name not in self._loaded:
            with stages.timed(f"loading {name}"):
                await asyncio.to_thread(self.get, name)

    async def load_all(self, names: Iterable[str]) -> None:
        """Load these now; one that cannot be had is left out, as answers will tell."""
        for name in names:
            with suppress(ModelError):
                await asyncio.to_thread(self.get, name)

    def close(self) -> None:
        llm = self._loaded.get("llm")
        if llm is not None and not isinstance(llm, ModelError):
            llm.close()
