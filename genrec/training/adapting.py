"""What trainings of adapters share: the base model in this process, checkpoints, saving with a card."""

import datetime
import hashlib
import platform
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch

from genrec.errors import ConfigError, WeightsError, WorkspaceError
from genrec.models.adapters import Adapter, Card, new_folder, read, write_card
from genrec.models.encoders import pick_device
from genrec.models.loading import quiet
from genrec.models.local import longest_prompt
from genrec.models.sources import Weights, digest, resolve
from genrec.progress import Progress
from genrec.settings import ModelSettings
from genrec.training.checkpoint import Checkpoint
from genrec.training.lora import Example, Tuned


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


def checkpoint(folder: Path, task: str, parts: Iterable[object]) -> Checkpoint:
    """The state of one training; `parts` are all that its course depends on."""
    mark = hashlib.sha256(version("genrec").encode())
    for part in parts:
        mark.update(repr(part).encode())
    return Checkpoint(folder / task, mark.hexdigest())


def fresh_name(weights: Weights, task: str) -> str:
    """`smollm2-135m-instruct-rerank-20261122-101500`."""
    stem = weights.name.rstrip("/").rpartition("/")[2].lower()
    safe = "".join(letter if letter.isascii() and (letter.isalnum() or letter in ".-_") else "-" for letter in stem).strip("-._")
    return f"{safe[:50] or 'base'}-{task}-{datetime.datetime.now(datetime.UTC):%Y%m%d-%H%M%S}"


def save(tuned: Tuned, base: Base, adapters: Path, name: str) -> Path:
    """Save the adapter's weights under a name that is free. Raises AdapterError, WorkspaceError."""
    folder = new_folder(adapters, name)
    hidden = adapters / f".{name}.making"
    try:
        shutil.rmtree(hidden, ignore_errors=True)
        hidden.mkdir(parents=True)
        tuned.save(hidden, base.weights.name)
        hidden.rename(folder)
    except OSError as error:
        raise WorkspaceError(f"{folder}: {error}", hint="Free some space or mend the rights.") from error
    return folder


def finish(folder: Path, base: Base, tuned: Tuned, card: dict[str, Any]) -> Adapter:
    """Write the cards of a saved adapter; `card` has what only its training knows. Raises AdapterError."""
    whole = {
        "name": folder.name,
        "base": {"id": base.weights.name, "sha256": base.sha256},
        "lora": {"r": tuned.config.r, "alpha": tuned.config.lora_alpha, "targets": tuned.targets},
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, {tuned.head.device.type}",
        "genrec": version("genrec"),
    }
    write_card(folder, Card.model_validate(whole | card))
    return read(folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What `--dry-run` shows. `kind` is what is learned from; tokens are of whole rows, `targets` those that the loss reads."""

    kind: Literal["histories", "lists", "texts"]
    examples: int
    tokens: int
    targets: int
    longest: int
    text: str


def sample(kind: Literal["histories", "lists", "texts"], examples: Sequence[Example], base: Base) -> Sample:
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
