"""`genrec train converse`: learn to read turns from hand-written examples, decide whom to believe, put into use what helps."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from genrec.errors import EngineError
from genrec.llm.adapters import Adapter, new_folder
from genrec.llm.protocol import LLM
from genrec.progress import SILENT, Progress, track
from genrec.training.adapter_training import Base, Sample, fresh_name, open_base, sample, served
from genrec.training.lessons import AT_ONCE, Lesson, kept, learn, rows
from genrec.training.turn_agreement import Right, alone, fitted, joined, right
from genrec.training.turn_examples import Turn, parted, read_turns, shipped_turns, summary
from genrec.training.turn_variety import varied
from genrec.understanding.llm_reader import PROMPT, Trust
from genrec.understanding.turn_schema import TurnReading, reading_of
from genrec.workspace.folder import Workspace

TASK = "turns"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """On the same turns: the parser alone, the model alone, both together by `trust`."""

    trust: Trust
    parser: Right
    model: Right
    both: Right

    @property
    def helps(self) -> bool:
        """Whether both together read more right, part by part, than the parser alone."""
        return score(self.both) > score(self.parser)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedReader:
    """`chosen`: on the turns that the pass and the trust were chosen by; `measured`: on those that chose nothing."""

    adapter: Adapter
    chosen: Comparison
    measured: Comparison
    active: bool


def score(figures: Right) -> float:
    """One figure of a reading: the mean over its parts."""
    return float(np.mean([figures.intent, figures.filter, figures.feelings, figures.need, figures.whole]))


def dry_run(
    workspace: Workspace, files: Sequence[Path], progress: Progress = SILENT, *, also: Sequence[Path] = ()
) -> list[Sample]:
    """What would be learned from. Raises as `train_converse` does."""
    base = open_base(workspace.settings.models, progress)
    learned, _, _ = _parts(files, also)
    return [sample("turns", rows(learned, workspace.prompts, base.encode, base.longest), base)]


def train_converse(
    workspace: Workspace,
    files: Sequence[Path] = (),
    name: str = "",
    progress: Progress = SILENT,
    tell: Callable[[str], None] = lambda _: None,
    *,
    also: Sequence[Path] = (),
    start: str = "",
    command: str = "",
) -> TrainedReader | None:
    """Train by `[chat.train]` on `files` (none: the examples that ship); a fifth of the catalogues is held out, half of them to
    choose the best pass and whom to believe where. Made active when parser and model together read more right than the parser
    alone. `also`: files that are only learned from, say of weak labels. `start`: the adapter to go on from. Of several processes
    (`accelerate launch`) the first saves, the others get None.

    Raises TableError, RowError, DataError, TrainingError, WeightsError, WorkspaceError, AdapterError.
    """
    base = open_base(workspace.settings.models, progress)
    name = new_folder(workspace.adapters, name or fresh_name(base.weights, "converse")).name
    learned, choosing, measuring = _parts(files, also)
    lesson = _lesson(workspace, base, learned, choosing)
    made = learn(workspace, base, lesson, name, start, progress, tell)
    if made is None:
        return None
    chosen = made.figures
    with served(made.folder, base, workspace.settings.models) as llm:
        heard = asyncio.run(listen(llm, name, measuring, workspace, progress))
    measured = compared(measuring, heard, chosen.trust)
    active = bool(choosing) and chosen.helps
    card = _card(workspace, learned, chosen, measured)
    adapter = kept(workspace, base, lesson, made, card, start=start, command=command, active=active)
    return TrainedReader(adapter=adapter, chosen=chosen, measured=measured, active=active)


def _parts(files: Sequence[Path], also: Sequence[Path]) -> tuple[list[Turn], list[Turn], list[Turn]]:
    """(learned from, chosen by, only measured)"""
    learned, choosing, measuring = parted(read_turns(files or shipped_turns()))
    return learned + (read_turns(also) if also else []), choosing, measuring


def compared(turns: Sequence[Turn], heard: Sequence[TurnReading | None], trust: Trust | None = None) -> Comparison:
    """`trust`: whom to believe; None: by what is right most often on these turns."""
    trust = trust or fitted(turns, heard)
    return Comparison(
        trust=trust,
        parser=right(turns, [one.parsed for one in turns]),
        model=right(turns, alone(turns, heard)),
        both=right(turns, joined(turns, heard, trust)),
    )


async def listen(
    llm: LLM, adapter: str, turns: Sequence[Turn], workspace: Workspace, progress: Progress
) -> list[TurnReading | None]:
    """What the model reads in each turn; None where it wrote nothing that can be read."""
    heard: list[TurnReading | None] = []
    starts = range(0, len(turns), AT_ONCE)
    for start in track(progress, "held-out turns", starts, len(starts)):
        part = turns[start : start + AT_ONCE]
        heard += await asyncio.gather(*(_listened(llm, adapter, turn, workspace) for turn in part))
    return heard


async def _listened(llm: LLM, adapter: str, turn: Turn, workspace: Workspace) -> TurnReading | None:
    try:
        (written,) = await llm.write([turn.request(workspace.prompts, adapter)])
        return reading_of(written, turn.view, turn.shop.vocabulary, turn.text)
    except (EngineError, ValueError):  # an unfinished line, as in serving
        return None


def _lesson(workspace: Workspace, base: Base, learned: Sequence[Turn], choosing: Sequence[Turn]) -> Lesson[Comparison]:
    told = workspace.settings.chat.train

    def measured(llm: LLM, name: str, progress: Progress) -> Comparison:
        return compared(choosing, asyncio.run(listen(llm, name, choosing, workspace, progress)))

    return Lesson(
        task=TASK,
        told=told,
        shown=lambda rng: rows(varied(learned, told.varied, rng), workspace.prompts, base.encode, base.longest),
        measured=measured,
        score=(lambda figures: score(figures.both)) if choosing else None,
        said=lambda figures: f"alone {figures.model.said()}; with the parser {figures.both.said()}",
    )


def _card(workspace: Workspace, learned: Sequence[Turn], chosen: Comparison, measured: Comparison) -> dict[str, Any]:
    return {
        "task": "converse",
        "prompts": {PROMPT: workspace.prompts.digest(PROMPT)},
        "why": "It reads what a turn says beside the parser; only conditions on the catalogue's own values can be written.",
        "limits": "English. Of an attribute with many values it sees those that words of the turn may stand for.",
        "reading": {"serves": chosen.helps and chosen.parser.n > 0, **asdict(chosen.trust)},
        "data": summary(learned),
        "split": f"{measured.both.n} turns of catalogues that were not seen; {chosen.both.n} of others chose pass and trust",
        "metrics": _metrics(measured) if measured.both.n else {},
    }


def _metrics(measured: Comparison) -> dict[str, Any]:
    """`without`: the parser alone."""
    figures = {}
    for one in reversed(fields(Right)):
        if one.name != "n":
            value, model, without = (getattr(part, one.name) for part in (measured.both, measured.model, measured.parser))
            figures[f"{one.name} right"] = {
                "value": round(value, 4),
                "without": round(without, 4),
                "note": f"{measured.both.n} turns; without: the parser alone; the model alone {model:.3f}",
            }
    return figures
