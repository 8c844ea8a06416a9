"""The adapters of a workspace and those that ship: which there are, which fit, which one serves a task."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from genrec.errors import AdapterError, GenrecError
from genrec.llm.adapters import Adapter, Found, Task, find, shipped_folder, write_file
from genrec.models.sources import Weights, digest, inspect
from genrec.prompts import Prompts
from genrec.settings.sections import AdapterSettings, ModelSettings

ACTIVE = "active.json"
TASKS: tuple[Task, ...] = get_args(Task)


@dataclass(frozen=True, slots=True, kw_only=True)
class InUse:
    """What serves a task. `note`: why the adapter that was made active does not, empty when nothing is amiss."""

    adapter: Adapter | None
    note: str = ""


class AdapterRegistry:
    """Looks at the folders each time it is asked: a training in another process may have added one."""

    def __init__(self, folder: Path, *, wanted: AdapterSettings, models: ModelSettings, prompts: Prompts) -> None:
        """`folder`: the workspace's own adapters; it need not exist. Of two with one name it is theirs that counts."""
        self.folder = folder
        self._wanted = wanted
        self._models = models
        self._prompts = prompts

    def find(self) -> Found:
        """All adapters, the shipped ones too, with what is wrong with those that cannot be used."""
        return find([self.folder, shipped_folder()])

    def fitting(self) -> dict[str, Path]:
        """name → folder of every adapter of this base model: what its engine is opened with."""
        base, sha256 = self.base()
        found = self.find().adapters.items()
        return {name: adapter.path for name, adapter in found if not adapter.base_fault(base=base, sha256=sha256)}

    def base(self) -> tuple[str, str]:
        """Name and digest of the base model; the digest is empty when its weights are not on this machine."""
        models = self._models
        if not models.llm or models.llm == "fake":
            return models.llm, ""
        found = inspect(models.llm, "llm", hub=models.hub)
        if not isinstance(found, Weights) or not any(found.path.glob("*.safetensors")):
            return models.llm, ""
        return models.llm, digest(found.path)

    def prompt_fault(self, adapter: Adapter) -> str:
        """Which template is another than the adapter was trained with; empty when none is."""
        return adapter.prompt_fault(self._prompts)

    def fault(self, adapter: Adapter) -> str:
        """Why `adapter` does not fit the base model or the prompts here; empty when it does."""
        base, sha256 = self.base()
        return adapter.base_fault(base=base, sha256=sha256) or adapter.prompt_fault(self._prompts)

    def in_use(self, task: Task) -> InUse:
        """The adapter that serves `task`.

        Named in the settings: that one; raises AdapterError when it is not there or does not fit. `auto`: the one activated
        last, else the newest shipped one that fits; an activated one that does not fit is left out, and `note` says so.
        """
        wanted = getattr(self._wanted, task)
        if not wanted:
            return InUse(adapter=None)
        found = self.find()
        if wanted != "auto":
            return InUse(adapter=self._fit(found.get(wanted), task))
        note = ""
        if active := self.active()[task]:
            try:
                return InUse(adapter=self._fit(found.get(active[-1]), task))
            except AdapterError as error:
                note = f"the active adapter is left out: {error}"
        shipped = [adapter for adapter in found.adapters.values() if adapter.path.parent == shipped_folder()]
        for adapter in sorted(shipped, key=lambda one: (one.card.date, one.name), reverse=True):
            if adapter.task == task and not self.fault(adapter):
                return InUse(adapter=adapter, note=note)
        return InUse(adapter=None, note=note)

    def active(self) -> dict[Task, list[str]]:
        """The names that were made active, by task, the latest last. Raises AdapterError when the file is damaged."""
        path = self.folder / ACTIVE
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            value = {}
        except (OSError, ValueError, RecursionError) as error:
            raise self._damaged(str(error)) from error
        if not isinstance(value, dict) or value.keys() - set(TASKS):
            raise self._damaged(f"it must hold {' and '.join(TASKS)}")
        for names in value.values():
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise self._damaged("names must be lists of text")
        return {task: value.get(task, []) for task in TASKS}

    def activate(self, name: str) -> Adapter:
        """Put an adapter in use for its task. Raises AdapterError when it is not there or does not fit."""
        adapter = self.find().get(name)
        self._fit(adapter, adapter.task)
        active = self.active()
        active[adapter.task] = [*(other for other in active[adapter.task] if other != name), name]
        self._write(active)
        return adapter

    def rollback(self, task: Task) -> str:
        """Take the adapter that was activated last out of use; returns its name. Raises AdapterError when there is none."""
        active = self.active()
        if not active[task]:
            raise AdapterError(
                f"no adapter was activated for {task}", hint=f'Set adapters.{task} = "" to go without the shipped one too.'
            )
        gone = active[task].pop()
        self._write(active)
        return gone

    def _fit(self, adapter: Adapter, task: Task) -> Adapter:
        if adapter.task != task:
            raise AdapterError(
                f"adapter {adapter.name} was trained to {adapter.task}, not to {task}",
                hint="`genrec adapters list` shows which is for what.",
            )
        base, sha256 = self.base()
        adapter.require(base=base, sha256=sha256, prompts=self._prompts)
        return adapter

    def _write(self, active: dict[Task, list[str]]) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AdapterError(f"{self.folder}: {error.strerror or error}", hint="Check the owner of the workspace.") from error
        write_file(self.folder / ACTIVE, json.dumps(active, indent=1) + "\n")

    def _damaged(self, fault: str) -> AdapterError:
        return AdapterError(
            f"{self.folder / ACTIVE}: the file is damaged: {fault}", hint="Delete it, then `genrec adapters activate` again."
        )


def problem(registry: AdapterRegistry, task: Task) -> GenrecError | None:
    """What keeps the adapter that is to serve `task` from serving; None when nothing does."""
    try:
        note = registry.in_use(task).note
    except GenrecError as error:
        return error
    return AdapterError(note, hint=f"`genrec adapters activate` another, or `genrec adapters rollback {task}`.") if note else None
