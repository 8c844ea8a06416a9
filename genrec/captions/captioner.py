"""Captions of a workspace from beginning to end: what `genrec caption` and `Recommender.caption` call."""

from dataclasses import dataclass
from typing import Any

from genrec.captions.caption_evidence import EvidenceCollector
from genrec.captions.caption_languages import load_language
from genrec.captions.caption_run import Captioned, CaptionOptions, CaptionPlan, CaptionRun, make_plan
from genrec.captions.caption_writer import MINUTE, CaptionWriter
from genrec.llm.protocol import LLM
from genrec.progress import SILENT, Progress
from genrec.workspace.folder import Workspace

SPEED = "caption.speed"
"""Key of the store: tokens of an answer, tries of a caption and captions a second, by who wrote."""
TOKENS_OUT, TRIES = 60.0, 1.1
"""Of one answer, and of one caption, while nothing was measured."""
MIN_MEASURED = 8
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


class Captioner:
    """Plans and writes the captions of a built workspace. `notes`: what could not be used, and why."""

    def __init__(self, workspace: Workspace, llm: LLM | None, progress: Progress = SILENT) -> None:
        """`llm` None: the template writes. Raises WorkspaceError without a build, ConfigError, AdapterError, PromptError."""
        self._workspace = workspace
        self._llm = llm
        self._progress = progress
        self.notes: list[str] = []
        self._evidence = EvidenceCollector(workspace, progress)
        self._writer = self._make_writer()

    def plan(self, options: CaptionOptions) -> CaptionPlan:
        """What is to be written, and from which evidence. Raises UnknownItemError, StoreError."""
        plan = make_plan(self._workspace, self._evidence, self._writer, options)
        self.notes += [note for note in plan.notes if note not in self.notes]
        return plan

    def estimate(self, plan: CaptionPlan) -> Estimate:
        """What `write` would cost. Raises PromptError, EngineError where a server is asked for tokens and does not answer."""
        settings, count, measured = self._workspace.settings.caption, len(plan.targets), self._measured()
        seconds = count / measured["per_second"] if measured.get("per_second") else None
        if self._llm is None:
            return Estimate(captions=count, by_llm=False, requests=0, tokens_in=0, tokens_out=0, seconds=seconds, cost=0.0)
        once = self._writer.prompt_tokens(target.evidence.facts for target in plan.targets)
        tries = measured.get("tries", TRIES)
        tokens_in, tokens_out = round(once * tries), round(count * tries * measured.get("tokens_out", TOKENS_OUT))
        for limit, amount in (
            (settings.requests_per_minute, count * tries),
            (settings.tokens_per_minute, once * tries + count * tries * settings.max_tokens),
        ):
            if limit:
                seconds = max(seconds or 0.0, amount / limit * MINUTE)
        priced = settings.price_in or settings.price_out
        return Estimate(
            captions=count,
            by_llm=True,
            requests=round(count * tries),
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            seconds=seconds,
            cost=(tokens_in * settings.price_in + tokens_out * settings.price_out) / 1e6 if priced else None,
        )

    async def write(self, plan: CaptionPlan) -> Captioned:
        """Write and keep. Raises EngineError when the engine answers no more, StoreError; what was written before is kept."""
        outcome = await CaptionRun(self._workspace, self._writer, plan, self._progress).write()
        self._remember_speed(outcome)
        return outcome

    def _make_writer(self) -> CaptionWriter:
        settings, prompts = self._workspace.settings.caption, self._workspace.prompts
        language = load_language(settings.language, prompts)
        if self._llm is None:
            return CaptionWriter(None, prompts, settings, language)
        used = self._workspace.registry.in_use("write")
        if used.note:
            self.notes.append(used.note)
        adapter = used.adapter.name if used.adapter else ""
        supports = self._evidence.tagger.picture_supports if self._llm.sees else None
        return CaptionWriter(self._llm, prompts, settings, language, adapter, supports)

    def _measured(self) -> dict[str, float]:
        """What the last run of this writer measured, empty without one."""
        found = self._speeds().get(self._speed_key)
        return found if isinstance(found, dict) else {}

    def _remember_speed(self, outcome: Captioned) -> None:
        """For the next estimate."""
        written, usage = outcome.sources.total(), outcome.usage
        if written < MIN_MEASURED or not outcome.seconds:
            return
        figures = {"per_second": written / outcome.seconds, "tries": max(1.0, usage.requests / written)}
        if usage.requests:
            figures["tokens_out"] = usage.tokens_out / usage.requests
        self._workspace.store.set_meta(SPEED, self._speeds() | {self._speed_key: figures})

    def _speeds(self) -> dict[str, Any]:
        stored = self._workspace.store.get_meta(SPEED)
        return stored if isinstance(stored, dict) else {}

    @property
    def _speed_key(self) -> str:
        return f"{self._writer.model}/{self._writer.adapter}"


def load_llm(workspace: Workspace, progress: Progress = SILENT) -> LLM | None:
    """The LLM that writes, None where `caption.write` is `template`. Raises WeightsError, AdapterError or EngineError."""
    return None if workspace.settings.caption.write == "template" else workspace.llm(progress)
