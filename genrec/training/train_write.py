"""`genrec train write`: learn from hand-written examples, count what the checkers accept, put into use what helps."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genrec.captions import caption_prompt as captions
from genrec.llm.adapters import Adapter, new_folder
from genrec.llm.protocol import LLM
from genrec.progress import SILENT, Progress
from genrec.reasons import reason_writer as reasons
from genrec.training.adapter_training import Base, Sample, fresh_name, open_base, sample
from genrec.training.lessons import Lesson, kept, learn, rows, written
from genrec.training.lora import Example
from genrec.training.writing_examples import Written, halves, read_examples, shipped_examples, summary, varied
from genrec.workspace.folder import Workspace

CAPTION_TOKENS = 200
TASK = "texts"
Z = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """Of `n` held-out examples of one task, how many the checker accepts at the first, greedy try; `samples` are some of them."""

    task: str
    n: int
    accepted: int
    samples: tuple[str, ...]

    @property
    def share(self) -> float:
        return self.accepted / max(1, self.n)

    def interval(self) -> tuple[float, float]:
        """95%, Wilson (1927)."""
        n, p = max(1, self.n), self.share
        middle, width = p + Z * Z / (2 * n), Z * float(np.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n)))
        return (middle - width) / (1 + Z * Z / n), (middle + width) / (1 + Z * Z / n)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedWriter:
    adapter: Adapter
    accepted: tuple[Accepted, ...]
    active: bool


def dry_run(workspace: Workspace, files: Sequence[Path], progress: Progress = SILENT) -> list[Sample]:
    """What would be learned from. Raises as `train_write` does."""
    base = open_base(workspace.settings.models, progress)
    learned, _ = halves(read_examples(files or shipped_examples()), workspace.settings.write.train.seed)
    return [sample("texts", rows(learned, workspace.prompts, base.encode, base.longest), base)]


def train_write(
    workspace: Workspace,
    files: Sequence[Path] = (),
    name: str = "",
    progress: Progress = SILENT,
    tell: Callable[[str], None] = lambda _: None,
    *,
    start: str = "",
    command: str = "",
) -> TrainedWriter | None:
    """Train by `[write.train]` on `files` (none: the examples that ship), a tenth of them held out; the adapter is put into use
    when more than half of what it writes for those is accepted. `start`: the adapter to go on from. Of several processes
    (`accelerate launch`) the first one saves; the others get None.

    Raises TableError, RowError, TrainingError, WeightsError, WorkspaceError, AdapterError.
    """
    told = workspace.settings.write.train
    base = open_base(workspace.settings.models, progress)
    name = new_folder(workspace.adapters, name or fresh_name(base.weights, "write")).name
    learned, held = halves(read_examples(files or shipped_examples()), told.seed)
    lesson = _lesson(workspace, base, learned, held)
    made = learn(workspace, base, lesson, name, start, progress, tell)
    if made is None:
        return None
    accepted = made.figures
    for one in accepted:
        tell(f"{one.task}s: {one.accepted} of {one.n} held-out ones accepted at the first try")
    tried = [one for one in accepted if one.n]
    active = bool(tried) and all(one.share > 0.5 for one in tried)
    card = _card(workspace, learned, held, accepted)
    adapter = kept(workspace, base, lesson, made, card, start=start, command=command, active=active)
    return TrainedWriter(adapter=adapter, accepted=accepted, active=active)


def _lesson(
    workspace: Workspace, base: Base, learned: Sequence[Written], held: Sequence[Written]
) -> Lesson[tuple[Accepted, ...]]:
    told = workspace.settings.write.train

    def shown(rng: np.random.Generator) -> list[Example]:
        return rows(varied(learned, told.swapped, rng), workspace.prompts, base.encode, base.longest)

    def measured(llm: LLM, name: str, progress: Progress) -> tuple[Accepted, ...]:
        return tuple(_accepted(llm, task, held, workspace, name, progress) for task in ("reason", "caption"))

    return Lesson(
        task=TASK,
        told=told,
        shown=shown,
        measured=measured,
        score=_share if held else None,
        said=lambda accepted: ", ".join(f"{one.accepted} of {one.n} {one.task}s accepted" for one in accepted),
    )


def _share(accepted: Sequence[Accepted]) -> float:
    """How much is accepted, of both tasks alike."""
    return float(np.mean([one.share for one in accepted if one.n]))


def _card(
    workspace: Workspace, learned: Sequence[Written], held: Sequence[Written], accepted: Sequence[Accepted]
) -> dict[str, Any]:
    return {
        "task": "write",
        "prompts": {prompt: workspace.prompts.digest(prompt) for prompt in (reasons.PROMPT, captions.PROMPT)},
        "why": "It writes reasons and captions from computed evidence; what it writes is checked before anyone sees it.",
        "limits": "English. A text that the checker refuses is written once more, then comes from a template.",
        "data": summary(learned),
        "split": f"{len(held)} examples held out, of both tasks alike",
        "metrics": {f"{one.task}s accepted at the first try": _metric(one) for one in accepted if one.n},
    }


def _metric(one: Accepted) -> dict[str, Any]:
    low, high = one.interval()
    return {"value": one.share, "low": low, "high": high, "note": f"{one.n} held-out examples, greedy; they also chose the pass"}


def _accepted(llm: LLM, task: str, held: Sequence[Written], workspace: Workspace, name: str, progress: Progress) -> Accepted:
    mine = [one for one in held if one.task == task]
    most = workspace.settings.reasons.max_tokens if task == "reason" else CAPTION_TOKENS
    requests = [one.request(workspace.prompts, name, most) for one in mine]
    texts = asyncio.run(written(llm, requests, progress, f"held-out {task}s"))
    faults = [one.fault(text) for one, text in zip(mine, texts, strict=True)]
    return Accepted(task=task, n=len(mine), accepted=sum(not fault for fault in faults), samples=tuple(texts[:5]))
