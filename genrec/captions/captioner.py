"""Captions of a workspace from beginning to end: what `genrec caption` and `Recommender.caption` call."""

from dataclasses import dataclass
from typing import Any

from genrec.captions.caption_evidence import EvidenceCollector
from genrec.captions.caption_languages import load_language
from genrec.captions.caption_run import Captioned, CaptionOptions, CaptionPlan, CaptionRun, make_plan
from genrec.captions.caption_writer import MINUTE, CaptionRequest, TemplateWriter, TextWriter, Writer
from genrec.llm.protocol import LLM
from genrec.progress import SILENT, Progress
from genrec.settings.sections import CaptionSettings
from genrec.store.store import Store
from genrec.workspace.folder import Workspace

SPEED = "caption.speed"
"""Key of the store: tokens of an answer, tries of a caption and captions a second, by who wrote."""
TOKENS_OUT, TRIES = 60.0, 1.1
"""Of one answer, and of one caption, while nothing was measured."""
LEAST_MEASURED = 8
"""A run of fewer captions measures nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a run would cost.

    by_llm      whether an LLM is asked; the template costs nothing
    seconds     None: nothing was measured yet with this model
    cost        in the currency of `caption.price_in`; None where no price is set
    """

    captions: int
    by_llm: bool
    requests: int
    tokens_in: int
    tokens_out: int
    seconds: float | None
    cost: float | None


def estimate(
    planned: CaptionPlan, writer: Writer, model: str, llm: LLM | None, settings: CaptionSettings, store: Store
) -> Estimate:
    """Count the prompts of `planned`. Raises PromptError, EngineError where a server is asked for tokens and does not answer."""
    count = len(planned.targets)
    told = measured(store, model, writer)
    if llm is None:
        seconds = _seconds(count, told)
        return Estimate(captions=count, by_llm=False, requests=0, tokens_in=0, tokens_out=0, seconds=seconds, cost=0.0)
    prompts = [writer.rest(CaptionRequest(facts=target.known.facts)) for target in planned.targets]
    once = llm.count_tokens(writer.prefix()) * count + sum(map(llm.count_tokens, prompts))
    tries = told.get("tries", TRIES)
    tokens_in, tokens_out = round(once * tries), round(count * tries * told.get("tokens_out", TOKENS_OUT))
    seconds = _seconds(count, told)
    for limit, amount in (
        (settings.requests_per_minute, count * tries),
        (settings.tokens_per_minute, once * tries + count * tries * settings.max_tokens),
    ):
        if limit:
            seconds = max(seconds or 0.0, amount / limit * MINUTE)
    priced = settings.price_in or settings.price_out
    cost = (tokens_in * settings.price_in + tokens_out * settings.price_out) / 1e6 if priced else None
    return Estimate(
        captions=count,
        by_llm=True,
        requests=round(count * tries),
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        seconds=seconds,
        cost=cost,
    )


def _seconds(count: int, told: dict[str, float]) -> float | None:
    return count / told["per_second"] if told.get("per_second") else None


def measured(store: Store, model: str, writer: Writer) -> dict[str, float]:
    """What the last run of this writer measured, empty without one."""
    kept = store.get_meta(SPEED)
    found = kept.get(_name(model, writer)) if isinstance(kept, dict) else None
    return found if isinstance(found, dict) else {}


def remember(store: Store, model: str, writer: Writer, outcome: Captioned) -> None:
    """Keep how fast `outcome` was, for the next estimate."""
    written = sum(outcome.sources.values())
    if written < LEAST_MEASURED or not outcome.seconds:
        return
    kept: Any = store.get_meta(SPEED)
    spent = outcome.spent
    figures = {"per_second": written / outcome.seconds, "tries": max(1.0, spent.requests / written)}
    if spent.requests:
        figures["tokens_out"] = spent.tokens_out / spent.requests
    store.set_meta(SPEED, (kept if isinstance(kept, dict) else {}) | {_name(model, writer): figures})


def _name(model: str, writer: Writer) -> str:
    return f"{model}/{writer.adapter}"


class Captioner:
    """Plans and writes the captions of a built workspace. `notes`: what could not be used, and why."""

    def __init__(self, workspace: Workspace, llm: LLM | None, progress: Progress = SILENT) -> None:
        """`llm` None: the template writes. Raises WorkspaceError without a build, ConfigError, AdapterError, PromptError."""
        self._workspace = workspace
        self._llm = llm
        self._progress = progress
        self.notes: list[str] = []
        self._evidence = EvidenceCollector(workspace, progress)
        self.writer = self._writer()
        self.model = llm.id if llm is not None else ""

    def plan(self, options: CaptionOptions) -> CaptionPlan:
        """What is to be written, and from which evidence. Raises UnknownItemError, StoreError."""
        made = make_plan(self._workspace, self._evidence, self.writer, self.model, options)
        self.notes += [note for note in made.notes if note not in self.notes]
        return made

    def estimate(self, planned: CaptionPlan) -> Estimate:
        """What `write` would cost. Raises PromptError, EngineError."""
        return estimate(planned, self.writer, self.model, self._llm, self._workspace.settings.caption, self._workspace.store)

    async def write(self, planned: CaptionPlan) -> Captioned:
        """Write and keep. Raises EngineError when the engine answers no more, StoreError; what was written before is kept."""
        outcome = await CaptionRun(self._workspace, self.writer, self.model, planned, self._progress).write()
        remember(self._workspace.store, self.model, self.writer, outcome)
        return outcome

    def _writer(self) -> Writer:
        settings = self._workspace.settings.caption
        words = load_language(settings.language, self._workspace.prompts)
        if self._llm is None:
            return TemplateWriter(words)
        used = self._workspace.registry.in_use("write")
        if used.note:
            self.notes.append(used.note)
        adapter = used.adapter.name if used.adapter else ""
        bears_out = self._evidence.tagger.picture_supports if self._llm.sees else None
        return TextWriter(self._llm, self._workspace.prompts, settings, words, adapter, bears_out)


def load_llm(workspace: Workspace, progress: Progress = SILENT) -> LLM | None:
    """The LLM that writes, None where `caption.write` is `template`. Raises WeightsError, AdapterError or EngineError."""
    return None if workspace.settings.caption.write == "template" else workspace.llm(progress)
