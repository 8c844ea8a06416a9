"""`genrec train write`: learn from hand-written examples, count what the checkers accept, put into use what helps."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genrec.models.adapters import Adapter, new_folder
from genrec.models.llm import LLM
from genrec.progress import SILENT, Progress, track
from genrec.training.adapting import (
    CHECKPOINTS,
    Base,
    Sample,
    begun,
    checkpoint,
    finish,
    fresh_name,
    open_base,
    sample,
    save,
    tried,
)
from genrec.training.lora import Example, Plan, Tuned, run
from genrec.training.writing import Written, halves, read_examples, rows, shipped_examples, steps, summary, varied
from genrec.workspace import Workspace
from genrec.writing import captions, reasons

CAPTION_TOKENS = 200
TASK = "texts"
AT_ONCE = 16
Z = 1.96
Proof = Callable[[Progress], tuple["Accepted", ...]]


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
    learned, _ = halves(read_examples(files or shipped_examples()), workspace.settings.write.seed)
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
    """Train by `[write]` on `files` (none: the examples that ship), a tenth held out; made active when more than half of what it
    writes for those is accepted. `start`: the adapter to go on from. Of several processes (`accelerate launch`) the first one
    saves; the others get None.

    Raises TableError, RowError, TrainingError, WeightsError, WorkspaceError, AdapterError.
    """
    from accelerate import PartialState

    told = workspace.settings.write
    base = open_base(workspace.settings.models, progress)
    name = new_folder(workspace.adapters, name or fresh_name(base.weights, "write")).name
    learned, held = halves(read_examples(files or shipped_examples()), told.seed)
    passes = _passes(learned, workspace, base)
    tuned = begun(base, workspace, told, start)
    proof = _proof(tuned, base, held, workspace)
    legs = _learn(tuned, passes, workspace, progress, tell, _judge(proof, tell) if held else None)
    if not PartialState().is_main_process:
        return None
    folder = save(tuned, base, workspace.adapters, name)
    accepted = proof(progress)
    for one in accepted:
        tell(f"{one.task}s: {one.accepted} of {one.n} held-out ones accepted at the first try")
    adapter = finish(folder, base, tuned, _card(workspace, learned, held, accepted, legs, start, command), [TASK])
    tried = [one for one in accepted if one.n]
    active = bool(tried) and all(one.share > 0.5 for one in tried)
    if active:
        workspace.registry.activate(name)
    return TrainedWriter(adapter=adapter, accepted=accepted, active=active)


def _proof(tuned: Tuned, base: Base, held: Sequence[Written], workspace: Workspace) -> Proof:
    """What is accepted of what an adapter writes for the held-out examples; of the same weights it is counted once."""
    known: dict[str, tuple[Accepted, ...]] = {}

    def proof(progress: Progress) -> tuple[Accepted, ...]:
        digest = tuned.digest()
        if digest not in known:
            with tried(tuned, base, workspace) as (llm, name):
                known[digest] = tuple(_accepted(llm, task, held, workspace, name, progress) for task in ("reason", "caption"))
        return known[digest]

    return proof


def _judge(proof: Proof, tell: Callable[[str], None]) -> Callable[[], float]:
    """By how much is accepted, of both tasks alike."""

    def judge() -> float:
        accepted = proof(SILENT)
        tell("judged: " + ", ".join(f"{one.accepted} of {one.n} {one.task}s accepted" for one in accepted))
        return float(np.mean([one.share for one in accepted if one.n]))

    return judge


def _passes(learned: Sequence[Written], workspace: Workspace, base: Base) -> list[list[list[Example]]]:
    """By pass, the steps of examples."""
    told, made = workspace.settings.write, []
    for epoch in range(told.epochs):
        rng = np.random.default_rng([told.seed, epoch])
        shown = varied(learned, told.swapped, rng)
        made.append(steps(rows(shown, workspace.prompts, base.encode, base.longest), told.batch, rng))
    return made


def _learn(
    tuned: Tuned,
    passes: list[list[list[Example]]],
    workspace: Workspace,
    progress: Progress,
    tell: Callable[[str], None],
    judge: Callable[[], float] | None,
) -> list[dict[str, float]]:
    told = workspace.settings.write
    plan = Plan(
        steps=lambda epoch: passes[epoch],
        epochs=told.epochs,
        learning_rate=told.learning_rate,
        seed=told.seed,
        task=TASK,
        judge=judge,
        checkpoint=checkpoint(workspace.adapters / CHECKPOINTS, TASK, tuned, passes, told.model_dump()),
        progress=progress,
        tell=tell,
    )
    return run(tuned, plan)


def _card(
    workspace: Workspace,
    learned: Sequence[Written],
    held: Sequence[Written],
    accepted: Sequence[Accepted],
    legs: Sequence[dict[str, float]],
    start: str,
    command: str,
) -> dict[str, Any]:
    told = workspace.settings.write
    return {
        "task": "write",
        "prompts": {prompt: workspace.prompts.digest(prompt) for prompt in (reasons.PROMPT, captions.PROMPT)},
        "why": "It writes reasons and captions from computed evidence; what it writes is checked before anyone sees it.",
        "limits": "English. A text that the checker refuses is written once more, then comes from a template.",
        "data": summary(learned),
        "split": f"{len(held)} examples held out, of both tasks alike",
        "metrics": {f"{one.task}s accepted at the first try": _metric(one) for one in accepted if one.n},
        "command": command,
        "seed": told.seed,
        "training": {
            **({"start": start} if start else {}),
            **told.model_dump(exclude={"seed", "r", "alpha"}),
            "loss": round(legs[-1]["loss"], 4),
            "seconds": round(sum(leg["seconds"] for leg in legs)),
        },
    }


def _metric(one: Accepted) -> dict[str, Any]:
    low, high = one.interval()
    return {"value": one.share, "low": low, "high": high, "note": f"{one.n} held-out examples, greedy; they also chose the pass"}


def _accepted(llm: LLM, task: str, held: Sequence[Written], workspace: Workspace, name: str, progress: Progress) -> Accepted:
    mine = [one for one in held if one.task == task]
    most = workspace.settings.reasons.max_tokens if task == "reason" else CAPTION_TOKENS
    written: list[str] = []
    starts = range(0, len(mine), AT_ONCE)
    for start in track(progress, f"held-out {task}s", starts, len(starts)):
        requests = [one.request(workspace.prompts, name, most) for one in mine[start : start + AT_ONCE]]
        written += asyncio.run(_write(llm, requests))
    faults = [one.fault(text) for one, text in zip(mine, written, strict=True)]
    return Accepted(task=task, n=len(mine), accepted=sum(not fault for fault in faults), samples=tuple(written[:5]))


async def _write(llm: LLM, requests: Sequence[Any]) -> list[str]:
    return await llm.write(requests)
