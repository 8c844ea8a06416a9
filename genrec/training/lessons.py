"""Learning from written examples: what the trainings of adapters that write have in common."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from genrec.llm.adapters import Adapter
from genrec.llm.packing import pack
from genrec.llm.protocol import LLM, Likelihood, WriteRequest
from genrec.llm.transformers_engine import TransformersLLM
from genrec.progress import SILENT, Progress, track
from genrec.prompts import Prompts
from genrec.settings.train_sections import LessonSettings
from genrec.training.adapter_training import CHECKPOINTS, Base, begun, checkpoint, finish, save, tried
from genrec.training.lora import Example, Plan, Tuned, run
from genrec.training.ranking_examples import Encode
from genrec.workspace.folder import Workspace

Figures = TypeVar("Figures")
LORA = frozenset(("seed", "r", "alpha"))
"""Settings of a lesson that stand elsewhere on the card."""
AT_ONCE = 16
"""Texts that are written together."""


class Shown(Protocol):
    """An example: (prefix, rest) as serving asks an adapter, and what is to be written after it."""

    def prompt(self, prompts: Prompts) -> tuple[str, str]: ...

    def target(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Lesson(Generic[Figures]):
    """task: names the state to go on from. `shown(rng)`: the examples of one pass; `measured`: figures of an adapter (by name)
    on what is held out; `score`: by which of them a pass is chosen, `said` tells them. None: the last pass is kept.
    """

    task: str
    told: LessonSettings
    shown: Callable[[np.random.Generator], list[Example]]
    measured: Callable[[TransformersLLM, str, Progress], Figures]
    score: Callable[[Figures], float] | None
    said: Callable[[Figures], str]


@dataclass(frozen=True, kw_only=True)
class Learned(Generic[Figures]):
    """`folder`: the adapter's files without a card; `loss` and `seconds` as the training ended."""

    tuned: Tuned
    folder: Path
    figures: Figures
    loss: float
    seconds: int


def learn(
    workspace: Workspace,
    base: Base,
    lesson: Lesson[Figures],
    name: str,
    start: str,
    progress: Progress,
    tell: Callable[[str], None],
) -> Learned[Figures] | None:
    """Learn, keep the best pass, measure it. None for all but the first of several processes (`accelerate launch`).

    Raises TrainingError, WeightsError, WorkspaceError, AdapterError.
    """
    from accelerate import PartialState

    told = lesson.told
    passes = [_steps(lesson, told, epoch) for epoch in range(told.epochs)]
    tuned = begun(base, workspace, told, start)
    figures = _figures(tuned, base, lesson, workspace)
    plan = Plan(
        steps=lambda epoch: passes[epoch],
        epochs=told.epochs,
        learning_rate=told.learning_rate,
        seed=told.seed,
        task=lesson.task,
        judge=_judge(tuned, figures, lesson, tell, "" if start else tuned.digest()) if lesson.score else None,
        checkpoint=checkpoint(workspace.adapters / CHECKPOINTS, lesson.task, tuned, passes, told.model_dump()),
        progress=progress,
        tell=tell,
    )
    legs = run(tuned, plan)
    if not PartialState().is_main_process:
        return None
    folder = save(tuned, base, workspace.adapters, name)
    seconds = round(sum(leg["seconds"] for leg in legs))
    return Learned(tuned=tuned, folder=folder, figures=figures(progress), loss=round(legs[-1]["loss"], 4), seconds=seconds)


def kept(
    workspace: Workspace,
    base: Base,
    lesson: Lesson[Figures],
    made: Learned[Figures],
    card: dict[str, Any],
    *,
    start: str,
    command: str,
    active: bool,
) -> Adapter:
    """Put what was learned among the adapters, with its card, and if `active` into use. `card`: what only the lesson knows.

    Raises AdapterError, WorkspaceError.
    """
    training = {**({"start": start} if start else {}), **lesson.told.model_dump(exclude=set(LORA))}
    training |= {"loss": made.loss, "seconds": made.seconds}
    whole = card | {"command": command, "seed": lesson.told.seed, "training": training}
    adapter = finish(made.folder, base, made.tuned, whole, [lesson.task])
    if active:
        workspace.registry.activate(adapter.name)
    return adapter


def rows(examples: Iterable[Shown], prompts: Prompts, encode: Encode, longest: int) -> list[Example]:
    """One row an example; only what is to be written counts in the loss. Raises EngineError when one is longer than the model."""
    made = []
    for one in examples:
        prefix, rest = one.prompt(prompts)
        made.append(Example(row=pack(Likelihood(prefix=prefix, context=rest, continuations=(one.target(),)), encode, longest)))
    return made


def _steps(lesson: Lesson[Figures], told: LessonSettings, epoch: int) -> list[list[Example]]:
    rng = np.random.default_rng([told.seed, epoch])
    return steps(lesson.shown(rng), told.batch, rng)


def steps(examples: Sequence[Example], batch: int, rng: np.random.Generator) -> list[list[Example]]:
    """One pass: examples of like length together, so that little is padding, steps in random order."""
    noise = rng.normal(scale=8.0, size=len(examples))
    order = np.argsort([len(example.row.tokens) + jitter for example, jitter in zip(examples, noise, strict=True)])
    dealt = [[examples[n] for n in order[start : start + batch]] for start in range(0, len(order), batch)]
    return [dealt[n] for n in rng.permutation(len(dealt))]


def _figures(tuned: Tuned, base: Base, lesson: Lesson[Figures], workspace: Workspace) -> Callable[[Progress], Figures]:
    """What is measured of the weights as they are; of the same weights once."""
    known: dict[str, Figures] = {}

    def figures(progress: Progress) -> Figures:
        digest = tuned.digest()
        if digest not in known:
            with tried(tuned, base, workspace) as (llm, name):
                known[digest] = lesson.measured(llm, name, progress)
        return known[digest]

    return figures


def _judge(
    tuned: Tuned, figures: Callable[[Progress], Figures], lesson: Lesson[Figures], tell: Callable[[str], None], untaught: str
) -> Callable[[], float]:
    """`untaught`: the digest of weights that need no look, since they have learned nothing."""

    def judge() -> float:
        if lesson.score is None or tuned.digest() == untaught:
            return 0.0
        measured = figures(SILENT)
        tell(f"judged: {lesson.said(measured)}")
        return lesson.score(measured)

    return judge


async def written(llm: LLM, requests: Iterable[WriteRequest], progress: Progress, what: str) -> list[str]:
    """What the engine writes, some requests at a time. Raises EngineError."""
    asked = list(requests)
    texts: list[str] = []
    starts = range(0, len(asked), AT_ONCE)
    for start in track(progress, what, starts, len(starts)):
        texts += await llm.write(asked[start : start + AT_ONCE])
    return texts
