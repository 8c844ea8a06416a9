"""What trainings of adapters share: the base model in this process, checkpoints, saving with a card."""

import datetime
import hashlib
import platform
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from genrec.errors import AdapterError, ConfigError, WeightsError, WorkspaceError
from genrec.llm.adapters import Adapter, Card, new_folder, read, write_card
from genrec.llm.transformers_engine import TransformersLLM, longest_prompt
from genrec.models.encoders import pick_device
from genrec.models.sources import Weights, digest, quiet, resolve
from genrec.progress import Progress
from genrec.settings.sections import ModelSettings
from genrec.settings.train_sections import LessonSettings, RankTrainSettings
from genrec.training.checkpoint import Checkpoint
from genrec.training.lora import Example, Tuned
from genrec.workspace.folder import Workspace

CHECKPOINTS = ".training"
"""Folder beside the adapters for the state of trainings that are under way."""
MAKING = ".making"
"""Folder beside the adapters for one that has no card yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A causal LM that learns. `encode` gives the tokens of a text, without special ones; `longest` is its context in tokens."""

    weights: Weights
    sha256: str
    encode: Callable[[str], list[int]]
    decode: Callable[[list[int]], str]
    longest: int


def open_base(models: ModelSettings, progress: Progress) -> Base:
    """The tokenizer and digest of the model that the settings name. Raises WeightsError, or ConfigError for the fake."""
    from transformers import AutoConfig, AutoTokenizer

    if models.llm == "fake":
        raise ConfigError("models.llm is `fake`, which learns nothing", hint="Set models.llm to a causal LM.")
    weights = resolve(models.llm, "llm", hub=models.hub, progress=progress)
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(str(weights.path), local_files_only=True)
            config = AutoConfig.from_pretrained(str(weights.path), local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(f"{weights.path}: {error}", hint="The folder must hold a transformers causal LM.") from error
    known: dict[str, list[int]] = {}

    def encode(text: str) -> list[int]:
        if text not in known:
            known[text] = list(tokenizer(text, add_special_tokens=False)["input_ids"])
        return known[text]

    return Base(
        weights=weights,
        sha256=digest(weights.path),
        encode=encode,
        decode=lambda tokens: str(tokenizer.decode(tokens)),
        longest=longest_prompt(config.get_text_config()),
    )


def tunable(base: Base, models: ModelSettings, *, rank: int, alpha: int, seed: int) -> Tuned:
    """The model with a fresh adapter, on this process's device. Raises WeightsError, TrainingError."""
    from accelerate import PartialState
    from transformers import AutoModelForCausalLM

    where: Any = pick_device(models.device)
    if where == "cuda":
        where = PartialState().device  # each process of `accelerate launch` has its own
    try:
        with quiet():
            model = AutoModelForCausalLM.from_pretrained(
                str(base.weights.path), dtype=getattr(torch, models.dtype), device_map=where, local_files_only=True
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise WeightsError(f"{base.weights.path}: {error}", hint="The folder must hold a transformers causal LM.") from error
    return Tuned(model, rank=rank, alpha=alpha, seed=seed)


def begun(base: Base, workspace: Workspace, told: RankTrainSettings | LessonSettings, start: str) -> Tuned:
    """The model with a fresh adapter, or with the one called `start`. Raises as `tunable` does; AdapterError when `start` is not
    there or is of another model, TrainingError when its shape is another.
    """
    tuned = tunable(base, workspace.settings.models, rank=told.r, alpha=told.alpha, seed=told.seed)
    if start:
        known = workspace.registry.find().get(start)
        name, sha256 = workspace.registry.base()
        if fault := known.base_fault(base=name, sha256=sha256):  # its prompts may be others: then it learns these
            raise AdapterError(fault, hint="Start from an adapter of this model.")
        tuned.load(known.path)
    return tuned


def checkpoint(folder: Path, task: str, tuned: Tuned, passes: Iterable[Iterable[Sequence[Example]]], told: object) -> Checkpoint:
    """The state of one training. Its course depends on the weights that it starts from, the steps of each pass and the settings
    `told`; a state of another course is not taken up.
    """
    from accelerate import PartialState

    processes = PartialState(cpu=tuned.head.device.type == "cpu").num_processes
    mark = hashlib.sha256(f"{version('genrec')} {told!r} {processes} {tuned.head.dtype} {tuned.digest()}".encode())
    for step in (step for one in passes for step in one):
        mark.update(b"step")
        for one in step:
            row = one.row
            for column in (row.tokens, row.positions, row.branches, row.read_at, row.read_for, row.targets, row.choices):
                mark.update(np.asarray([len(column), *column], np.int64).tobytes())
            mark.update(np.int64(one.target).tobytes() + (b"" if one.prior is None else one.prior.tobytes()))
            mark.update(np.float64(one.scale).tobytes())
    return Checkpoint(folder / task, mark.hexdigest())


def fresh_name(weights: Weights, task: str) -> str:
    """`smollm2-135m-instruct-rerank-20261122-101500`."""
    stem = weights.name.rstrip("/").rpartition("/")[2].lower()
    safe = "".join(letter if letter.isascii() and (letter.isalnum() or letter in ".-_") else "-" for letter in stem).strip("-._")
    return f"{safe[:50] or 'base'}-{task}-{datetime.datetime.now(datetime.UTC):%Y%m%d-%H%M%S}"


def save(tuned: Tuned, base: Base, adapters: Path, name: str) -> Path:
    """The adapter's files in a folder where no engine looks, until `finish` puts it in place. Raises WorkspaceError."""
    folder = adapters / MAKING / name
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        tuned.save(folder, base.weights.name)
    except OSError as error:
        raise WorkspaceError(f"{folder}: {error}", hint="Free some space or mend the rights.") from error
    return folder


@contextmanager
def served(folder: Path, base: Base, models: ModelSettings) -> Iterator[TransformersLLM]:
    """The engine with a saved adapter, under its folder's name. Raises AdapterError, WeightsError."""
    llm = TransformersLLM(base.weights, {folder.name: folder}, device=models.device, dtype=models.dtype)
    try:
        yield llm
    finally:
        llm.close()


@contextmanager
def tried(tuned: Tuned, base: Base, workspace: Workspace) -> Iterator[tuple[TransformersLLM, str]]:
    """The engine with the adapter as it is by now, and the adapter's name; its files are gone afterwards.

    Raises as `save` and `served` do.
    """
    folder = save(tuned, base, workspace.adapters, "judged")
    try:
        with served(folder, base, workspace.settings.models) as llm:
            yield llm, folder.name
    finally:
        shutil.rmtree(folder)


def finish(folder: Path, base: Base, tuned: Tuned, card: dict[str, Any], tasks: Sequence[str]) -> Adapter:
    """Write the cards of a saved adapter and put it among the others; `card` has what only its training knows. What its `tasks`
    kept to go on from is deleted. Raises AdapterError, WorkspaceError.
    """
    whole = {
        "name": folder.name,
        "base": {"id": base.weights.name, "sha256": base.sha256},
        "lora": {"r": tuned.config.r, "alpha": tuned.config.lora_alpha, "targets": tuned.targets},
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, {tuned.head.device.type}",
        "genrec": version("genrec"),
    }
    write_card(folder, Card.model_validate(whole | card))
    adapters = folder.parent.parent
    place = new_folder(adapters, folder.name)
    try:
        folder.rename(place)
    except OSError as error:
        raise WorkspaceError(f"{place}: {error}", hint="Free some space or mend the rights.") from error
    for task in tasks:
        Checkpoint(adapters / CHECKPOINTS / task, fingerprint="").clear()
    return read(place)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What `--dry-run` shows. `kind` is what is learned from; tokens are of whole rows, `targets` those that the loss reads."""

    kind: Literal["histories", "lists", "texts", "turns"]
    examples: int
    tokens: int
    targets: int
    longest: int
    text: str


def sample(kind: Literal["histories", "lists", "texts", "turns"], examples: Sequence[Example], base: Base) -> Sample:
    """Counts, and the first example as the model reads it."""
    rows = [example.row for example in examples]
    return Sample(
        kind=kind,
        examples=len(rows),
        tokens=sum(len(row.tokens) for row in rows),
        targets=sum(len(row.read_at) for row in rows),
        longest=max((len(row.tokens) for row in rows), default=0),
        text=base.decode(rows[0].tokens) if rows else "",
    )
