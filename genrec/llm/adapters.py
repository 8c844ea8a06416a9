"""LoRA adapters on disk: one folder each, in PEFT's layout, with a card that says what it was made for and how good it is.

adapter_config.json, adapter_model.safetensors    as peft saves them
card.json                                         what `Card` holds, with the digests of the two files above
card.md                                           the same for people, made from card.json by `page`

Every engine serves every adapter, so one is refused here that vLLM or packed scoring could not serve: anything but plain LoRA
on linear layers (no trained head or embeddings, no biases, no DoRA).
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genrec.errors import AdapterError
from genrec.files import write_whole
from genrec.models.packages import sha256
from genrec.prompts import Prompts

SCHEMA = 1
CARD = "card.json"
PAGE = "card.md"
CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
Task = Literal["rerank", "write", "converse"]

_PACKAGE = Path(__file__).parent.parent
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LORA = re.compile(r"\.lora_[AB]\.weight$")
_OUTER = re.compile(r"(?:^|\.)(?:lm_head|embed_tokens|embed_out|wte|output_embeddings)\.")
# keys of adapter_config.json that may have any value: the adapter is plain LoRA all the same
_PLAIN_KEYS = frozenset(
    "peft_type task_type auto_mapping peft_version base_model_name_or_path revision inference_mode r target_modules "
    "exclude_modules lora_alpha lora_dropout fan_in_fan_out use_rslora init_lora_weights layers_to_transform layers_pattern "
    "rank_pattern alpha_pattern megatron_core qalora_group_size ensure_weight_tying".split()
)
_AGAIN = "Copy the whole folder again, or train the adapter anew."


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class Base(_Part):
    """The model that the adapter was trained on."""

    id: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """`genrec.models.sources.digest` of its folder."""


class RankingChoice(_Part):
    """How a rerank adapter is to be used: settings of `[rank]` as validation chose them.

    `spread`: the usual standard deviation of a list's scores by the `retriever` behind which they were chosen; 0: not known.
    """

    weight: float = Field(ge=0.0, le=1.0)
    prior: float = Field(default=0.0, ge=0.0, le=2.0)
    per_token: bool = True
    history: int = Field(default=16, ge=1)
    title_chars: int = Field(default=80, ge=1)
    unique_prefix: bool = False
    spread: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    retriever: str = ""

    def elsewhere(self) -> "RankingChoice":
        """For other catalogues, whose scores spread in other ways."""
        return self.model_copy(update={"spread": 0.0, "retriever": ""})


class ReadingChoice(_Part):
    """How a converse adapter is to be believed beside the parser, as chosen on turns that it had not seen."""

    serves: bool
    """Whether parser and adapter together read more turns right than the parser alone."""
    intent: Literal["parser", "llm"]
    filter: Literal["parser", "fill", "add", "llm"]
    feelings: Literal["parser", "fill", "add", "llm"]
    titles: bool
    need: Literal["parser", "llm"]


class Metric(_Part):
    """One figure; `low` and `high` are its 95% interval, `without` is the same figure without the adapter."""

    value: float
    low: float | None = None
    high: float | None = None
    without: float | None = None
    note: str = ""


class Lora(_Part):
    r: int = Field(ge=1)
    alpha: float
    targets: list[str]


class Card(_Part):
    """What card.json holds. `prompts`: template name → its digest. The first of `metrics` is the headline."""

    version: Literal[1] = Field(default=SCHEMA, alias="schema")
    name: str
    task: Task
    base: Base
    prompts: dict[str, str]
    method: Literal["likelihood", "labels", "markers", ""] = ""
    ranking: RankingChoice | None = None
    reading: ReadingChoice | None = None
    why: str = ""
    limits: str = ""
    data: dict[str, Any] = {}
    split: str = ""
    metrics: dict[str, Metric] = {}
    command: str = ""
    date: str = ""
    machine: str = ""
    seed: int = 0
    lora: Lora
    training: dict[str, Any] = {}
    genrec: str = ""
    files: dict[str, str] = {}
    """SHA-256 of each file of the adapter; `write_card` fills it in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """An adapter whose folder is whole: files there, digests right, weights that every engine can serve."""

    name: str
    path: Path
    card: Card

    @property
    def task(self) -> Task:
        return self.card.task

    def require(self, *, base: str, sha256: str, prompts: Prompts) -> None:
        """Raises AdapterError unless the adapter was made for these base weights and these prompts.

        `base`: the model's name, `sha256`: the digest of its weights, empty where they are not on this machine (a server has
        them): the names must then agree.
        """
        if fault := self.base_fault(base=base, sha256=sha256):
            raise AdapterError(fault, hint=f"Set models.llm to {self.card.base.id} with these weights, or train an adapter anew.")
        if fault := self.prompt_fault(prompts):
            raise AdapterError(
                fault, hint="Put the template back as it was (see prompts/ in the workspace), or train an adapter anew."
            )

    def base_fault(self, *, base: str, sha256: str) -> str:
        """Why the adapter does not fit these base weights, with both digests; empty when it does."""
        mine = self.card.base
        if (mine.sha256 == sha256) if sha256 else (mine.id == base):
            return ""
        return (
            f"adapter {self.name} was trained on {mine.id} ({mine.sha256[:16]}), "
            f"the model here is {base} ({sha256[:16] or 'its weights are not on this machine'})"
        )

    def prompt_fault(self, prompts: Prompts) -> str:
        """Which template is another than in training, with both digests; empty when none is. Raises PromptError (damaged)."""
        for name, trained in self.card.prompts.items():
            here = prompts.digest(name) if name in prompts.names() else "there is none"
            if name not in prompts.names() or not prompts.agree(trained, name):
                return f"adapter {self.name} was trained with the prompt {name}.j2 of digest {trained}, here it is {here}"
        return ""


@dataclass(frozen=True, slots=True)
class Found:
    """The adapters of some folders by name. `faults`: folders that hold none that could be used, and why."""

    adapters: Mapping[str, Adapter]
    faults: Mapping[str, AdapterError]

    def get(self, name: str) -> Adapter:
        """Raises AdapterError: the fault of the one called `name`, or that there is none."""
        if name in self.adapters:
            return self.adapters[name]
        if name in self.faults:
            raise self.faults[name]
        raise unknown(name, self.adapters)

    def paths(self) -> dict[str, Path]:
        """What engines take: name → folder."""
        return {name: adapter.path for name, adapter in self.adapters.items()}


def shipped_folder() -> Path:
    """Where the shipped adapters are: `genrec/_adapters` in an installed wheel, `adapters/` in a source tree."""
    installed = _PACKAGE / "_adapters"
    return installed if installed.is_dir() else _PACKAGE.parent / "adapters"


def find(folders: Sequence[Path]) -> Found:
    """Every adapter below `folders`; of two with one name the first folder's wins. Folders need not exist."""
    adapters: dict[str, Adapter] = {}
    faults: dict[str, AdapterError] = {}
    for folder in folders:
        inside = sorted(folder.iterdir()) if folder.is_dir() else []
        for path in (path for path in inside if path.is_dir() and not path.name.startswith((".", "_"))):
            if path.name in adapters or path.name in faults:
                continue
            try:
                adapters[path.name] = read(path)
            except AdapterError as error:
                faults[path.name] = error
    return Found(adapters, faults)


def read(folder: Path) -> Adapter:
    """The adapter in `folder`. Raises AdapterError, with the place, when a file is missing, damaged or not to be served."""
    check_name(folder.name)
    card = read_card(folder)
    if card.name != folder.name:
        raise AdapterError(
            f"{folder / CARD}: name is {card.name!r}, the folder is {folder.name!r}", hint="Give the folder its name back."
        )
    check_weights(folder)
    for name in (CONFIG, WEIGHTS):
        if (digest := sha256(folder / name)) != card.files.get(name):
            noted = card.files.get(name, "")
            raise AdapterError(
                f"{folder / name}: digest {digest[:16]}, the card says {noted[:16] or 'nothing'}: it is not the file "
                "that was trained",
                hint=_AGAIN,
            )
    return Adapter(name=folder.name, path=folder, card=card)


def read_card(folder: Path) -> Card:
    """Raises AdapterError when the card is missing or damaged, with the key at fault."""
    path = folder / CARD
    try:
        return Card.model_validate_json(path.read_bytes())
    except OSError as error:
        raise AdapterError(f"{path}: {error.strerror or error}", hint=_AGAIN) from error
    except ValidationError as error:
        raise AdapterError(f"{path}: {_faults(error)}", hint=_AGAIN) from error


def _faults(error: ValidationError) -> str:
    """The first of them, with their keys."""
    return "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']}" for fault in error.errors()[:3])


def check_weights(folder: Path) -> dict[str, Any]:
    """The PEFT configuration of a folder whose weights every engine can serve. Reads headers only. Raises AdapterError."""
    from safetensors import SafetensorError, safe_open

    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AdapterError(f"{path}: {error.strerror or error}", hint=_AGAIN) from error
    except (ValueError, RecursionError) as error:
        raise AdapterError(f"{path}: the file is damaged: {error}", hint=_AGAIN) from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        kind = config.get("peft_type") if isinstance(config, dict) else config
        raise AdapterError(f"{path}: peft_type is {kind!r:.60}, it must be 'LORA'", hint="Only LoRA adapters are served.")
    _check_plain(path, config)
    path = folder / WEIGHTS
    try:
        with safe_open(path, framework="np") as file:
            names = list(file.keys())
    except (SafetensorError, OSError) as error:
        raise AdapterError(f"{path}: {error}", hint=_AGAIN) from error
    if not names:
        raise AdapterError(f"{path}: there are no weights in it", hint=_AGAIN)
    for name in names:
        if _OUTER.search(name) or not _LORA.search(name):
            raise AdapterError(f"{path}: {name} is not the LoRA of a linear layer inside the model", hint=_plain())
    return config


def _check_plain(path: Path, config: Mapping[str, Any]) -> None:
    """Whatever PEFT can do beyond plain LoRA is a key of its own that is set to something."""
    for key, value in config.items():
        if key not in _PLAIN_KEYS and value not in (None, False, "none", "", 0, [], {}):
            raise AdapterError(f"{path}: {key} is {value!r:.80}", hint=_plain())
    start = config.get("init_lora_weights", True)
    if isinstance(start, str) and start not in ("gaussian", "eva", "orthogonal"):  # these leave the base weights alone
        raise AdapterError(f"{path}: init_lora_weights is {start!r:.80}, which changes the base weights too", hint=_plain())


def _plain() -> str:
    return "Train plain LoRA on linear layers: no head, no embeddings, no biases, no DoRA; not every engine could serve more."


def write_card(folder: Path, card: Card | Mapping[str, Any]) -> Card:
    """Write card.json and card.md beside the adapter's files, with their digests. Raises AdapterError.

    The name must be the folder's; a Mapping that does not fit `Card` is refused with the key at fault.
    """
    check_name(folder.name)
    check_weights(folder)
    try:
        card = card if isinstance(card, Card) else Card.model_validate(dict(card))
    except ValidationError as error:
        raise AdapterError(f"{folder / CARD}: {_faults(error)}", hint="See genrec.llm.adapters.Card.") from error
    if card.name != folder.name:
        raise AdapterError(f"{folder}: the card's name is {card.name!r}", hint="The name must be the folder's.")
    card = card.model_copy(update={"files": {name: sha256(folder / name) for name in (CONFIG, WEIGHTS)}})
    try:
        text = json.dumps(card.model_dump(by_alias=True), ensure_ascii=False, indent=1, allow_nan=False)
    except (ValueError, TypeError) as error:
        raise AdapterError(f"{folder / CARD}: data or training: {error}", hint="Give texts and finite numbers.") from error
    write_file(folder / PAGE, page(card))
    write_file(folder / CARD, text + "\n")  # last: with it the folder is an adapter
    return card


def write_file(path: Path, text: str) -> None:
    """Raises AdapterError when the disk refuses; the old file is then still there."""
    try:
        write_whole(path, text)
    except OSError as error:
        raise AdapterError(f"{path}: {error.strerror or error}", hint="Choose a folder that can be written to.") from error


def check_name(name: str) -> None:
    """Raises AdapterError unless `name` can be a folder's and a served model's name."""
    if not _NAME.fullmatch(name):
        raise AdapterError(
            f"{name!r:.120} is not an adapter's name", hint="Letters, digits, `.`, `_` and `-`; at most 100; first no sign."
        )


def new_folder(parent: Path, name: str) -> Path:
    """Where a new adapter goes; makes no folder. Raises AdapterError when the name is taken: versions are never overwritten,
    because engines keep keys and values by name.
    """
    check_name(name)
    if (parent / name).exists() or (shipped_folder() / name).exists():
        raise AdapterError(f"there is an adapter {name} already", hint="Give the new one a name of its own.")
    return parent / name


def unknown(name: str, names: Sequence[str] | Mapping[str, Any]) -> AdapterError:
    """That no adapter has this name, with those there are."""
    return AdapterError(f"no adapter {name!r}", hint=f"There are: {', '.join(sorted(names)) or 'none'}.")


_DOES = {"rerank": "ranks candidates", "write": "writes reasons and captions", "converse": "reads turns of a dialogue"}


def page(card: Card) -> str:
    """card.md: what the adapter is, for people."""
    lines = [f"# {card.name}", "", f"A LoRA adapter that {_DOES[card.task]} with {card.base.id}.", ""]
    lines += [card.why, ""] if card.why else []
    facts = {
        "base model": f"{card.base.id}, weights {card.base.sha256}",
        "prompts": ", ".join(f"{name}.j2 {digest}" for name, digest in card.prompts.items()),
        "scoring method": card.method,
        "ranking": _flat(card.ranking.model_dump()) if card.ranking else "",
        "believed": _flat(card.reading.model_dump()) if card.reading else "",
        "data": _flat(card.data),
        "split": card.split,
        "LoRA": f"r {card.lora.r}, alpha {card.lora.alpha:g}, on {', '.join(card.lora.targets)}",
        "training": _flat(card.training),
        "seed": str(card.seed),
        "made": ", ".join(part for part in (card.date, card.machine, card.genrec and f"genrec {card.genrec}") if part),
    }
    lines += ["| | |", "|---|---|", *(f"| {name} | {_cell(text)} |" for name, text in facts.items() if text), ""]
    if card.metrics:
        lines += ["## Figures", "", "| | with the adapter | 95% interval | without it | |", "|---|---|---|---|---|"]
        lines += [_row(name, metric) for name, metric in card.metrics.items()] + [""]
    lines += ["## Limits", "", card.limits, ""] if card.limits else []
    lines += ["## How to make it again", "", "```", card.command, "```", ""] if card.command else []
    return "\n".join(lines)


def _row(name: str, metric: Metric) -> str:
    interval = f"{metric.low:.4g} to {metric.high:.4g}" if metric.low is not None and metric.high is not None else ""
    without = f"{metric.without:.4g}" if metric.without is not None else ""
    return f"| {_cell(name)} | {metric.value:.4g} | {interval} | {without} | {_cell(metric.note)} |"


def _flat(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value if not isinstance(value, dict) else _flat(value)}" for key, value in values.items())


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
