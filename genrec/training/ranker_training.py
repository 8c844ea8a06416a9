"""What an adapter that ranks learns from, and how it is put to the test: next-item language modelling, then candidate lists."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genrec.errors import ConfigError, TrainingError
from genrec.llm.protocol import LLM
from genrec.progress import SILENT, Progress
from genrec.prompts import Prompts
from genrec.ranking.fusion_weights import LACKING, Fitted, fit, measure
from genrec.ranking.prompter import Method, Prompter
from genrec.ranking.ranker import RankRequest
from genrec.retrieval.sequences import Sequences
from genrec.retrieval.systems import Content, System
from genrec.settings.train_sections import RankTrainSettings
from genrec.training import score_scales as scaling
from genrec.training.adapter_training import Base, checkpoint
from genrec.training.candidate_lists import ListExamples, Lists, out_of_fold, profile_of
from genrec.training.lora import Example, Plan, Tuned, run
from genrec.training.ranking_examples import Histories, dealt
from genrec.training.retriever_training import held_out
from genrec.training.score_scales import Scales
from genrec.types import Item

TASKS = ("histories", "lists")
Served = Callable[[], AbstractContextManager[tuple[LLM, str]]]
"""Opens the engine with the adapter as it is, under the name it gives."""
TRAINING_LISTS_FROM = 50
"""Candidates that the retriever hands over for a training list, of which an example shows some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A catalogue to learn from. `known` are the events before everything held out; validation asks for `targets` (U,) after
    `asked` (U rows). `serving` and `training` are unfitted copies of what finds candidates here and for training lists.
    """

    known: Sequences
    asked: Sequences
    targets: NDArray[np.int64]
    content: Content
    serving: System
    training: System


def source(events: Sequences, content: Content, *, serving: System, training: System, settings: RankTrainSettings) -> Source:
    """Hold out the latest events. Raises TrainingError when nobody has enough."""
    known, asked, targets = held_out(events)
    for _ in range(settings.held_out - 1):
        known, asked, targets = held_out(known)
    if not len(targets):
        raise TrainingError(
            f"nobody has {settings.held_out + 2} events on different items",
            hint="Ingest more events, or lower rank.train.held_out.",
        )
    if len(targets) > settings.validated:
        rows = np.sort(np.random.default_rng(settings.seed).permutation(len(targets))[: settings.validated])
        asked, targets = asked.take(rows), targets[rows]
    return Source(known=known, asked=asked, targets=targets, content=content, serving=serving, training=training)


def serving_prompter(prompts: Prompts, told: RankTrainSettings, one: Source) -> Prompter:
    """Scores the titles of this catalogue as serving does."""
    catalogue = one.content.items if told.unique_prefix else ()
    return Prompter(prompts, history=told.history, title_chars=told.title_chars, catalogue=catalogue)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Everything that one adapter learns, from one catalogue or several."""

    sources: Sequence[Source]
    base: Base
    prompts: Prompts
    settings: RankTrainSettings
    progress: Progress = SILENT

    @property
    def prompter(self) -> Prompter:
        return Prompter(self.prompts, history=self.settings.history, title_chars=self.settings.title_chars)

    def histories(self, epoch: int) -> list[Example]:
        """Rows of language modelling, of all catalogues, shuffled; none for the methods that it does not serve.

        Raises ConfigError when the model does not read rows of `length` tokens.
        """
        told = self.settings
        if told.method != "likelihood":
            return []
        if told.length > self.base.longest:
            raise ConfigError(
                f"rank.train.length is {told.length}, {self.base.weights.name} reads {self.base.longest} tokens",
                hint="Lower rank.train.length.",
            )
        rng = np.random.default_rng([told.seed, epoch])
        made: list[Example] = []
        for one in self.sources:
            rows = Histories(one.known, one.content.items, self.prompter, self.base.encode, length=told.length)
            made += rows.rows(rng)
        return [made[place] for place in rng.permutation(len(made))]

    def lists(self) -> tuple[list[Example], float]:
        """Examples out of out-of-fold candidate lists, shuffled, and the share of the lists that lacked their target."""
        told = self.settings
        if not told.lists:
            return [], 0.0
        rng = np.random.default_rng([told.seed, 1_000_003])
        made: list[Example] = []
        lacking = total = 0
        for one in self.sources:
            found = out_of_fold(
                one.training,
                one.known,
                one.content,
                n=-(-told.lists // len(self.sources)),
                k=TRAINING_LISTS_FROM,
                folds=told.folds,
                seed=told.seed,
                progress=self.progress,
            )
            lacking, total = lacking + int((found.places < 0).sum()), total + len(found)
            made += self._shown(one, found, rng)
        return [made[place] for place in rng.permutation(len(made))], lacking / max(1, total)

    def _shown(self, one: Source, found: Lists, rng: np.random.Generator) -> list[Example]:
        told = self.settings
        maker = ListExamples(
            prompter=serving_prompter(self.prompts, told, one),
            encode=self.base.encode,
            method=told.method,
            history=told.history,
            shown=told.candidates,
            without_target=told.without_target,
            longest=self.base.longest,
        )
        return maker.make(found, one.content.items, rng)

    def learn(
        self,
        tuned: Tuned,
        folder: Path,
        tell: Callable[[str], None],
        judge: Callable[[], float] | None = None,
        served: Served | None = None,
        handed: Sequence[Lists] = (),
    ) -> dict[str, list[dict[str, float]]]:
        """Train; `folder` keeps checkpoints, `judge` says which pass is kept (see `Plan`), `served` opens the engine with the
        adapter as it is by then, for the scales of the listwise loss (None: as they are), which are fitted on the lists that were
        `handed` over for each source's held-out events. Returns the figures of each leg.

        Raises TrainingError, WorkspaceError, and what `judge` and `served` raise.
        """
        told = self.settings
        passes = [self.histories(epoch) for epoch in range(told.epochs)]
        lists, lacking = self.lists()
        if not any(passes) and not lists:
            raise ConfigError("there is nothing to learn from", hint="Raise rank.train.epochs or rank.train.lists.")
        figures: dict[str, list[dict[str, float]]] = {}
        if any(passes):
            steps = [dealt(rows, told.batch) for rows in passes]
            figures["histories"] = self._run(tuned, steps, told.learning_rate, "histories", folder, tell, judge)
        if lists:
            tell(f"lists: {len(lists)} examples; {lacking:.0%} of the lists found lacked what was chosen ({told.without_target})")
            if served:
                scales = self._scales(tuned, lists, handed, served)
                tell(f"scales of the loss: LLM {scales.llm:.3f}, retriever {scales.retriever:.3f}, titles {scales.own:.3f}")
                lists = scales.of(lists)
            by_length = sorted(lists, key=lambda example: len(example.row.tokens))  # little padding in a step
            steps = dealt(by_length, told.batch)
            order = np.random.default_rng(told.seed).permutation(len(steps))
            figures["lists"] = self._run(
                tuned, [[steps[n] for n in order]], told.list_learning_rate, "lists", folder, tell, judge
            )
        return figures

    def _scales(self, tuned: Tuned, lists: Sequence[Example], handed: Sequence[Lists], served: Served) -> Scales:
        """Of the listwise loss, as the first process finds them."""
        from accelerate import PartialState

        state = PartialState(cpu=tuned.head.device.type == "cpu")
        found: list[Any] = [None]
        if state.is_main_process:
            rng = np.random.default_rng([self.settings.seed, 1_000_007])
            pairs = zip(self.sources, handed, strict=True) if handed else ()
            unseen = [example for one, known in pairs for example in self._shown(one, known, rng)]
            with served() as (llm, name):
                found = [scaling.fitted(lists, [unseen[n] for n in rng.permutation(len(unseen))], llm, name, self.prompter)]
        if state.num_processes > 1:
            torch.distributed.broadcast_object_list(found)
        return found[0]

    def _run(
        self,
        tuned: Tuned,
        passes: list[list[list[Example]]],
        learning_rate: float,
        task: str,
        folder: Path,
        tell: Callable[[str], None],
        judge: Callable[[], float] | None,
    ) -> list[dict[str, float]]:
        return run(
            tuned,
            Plan(
                steps=lambda epoch: passes[epoch],
                epochs=len(passes),
                learning_rate=learning_rate,
                seed=self.settings.seed,
                task=task,
                prior_weight=self.settings.prior_weight,
                judge=judge,
                checkpoint=checkpoint(folder, task, tuned, passes, self.settings.model_dump()),
                progress=self.progress,
                tell=tell,
            ),
        )


def asked_lists(lists: Lists, items: Sequence[Item]) -> list[tuple[RankRequest, int]]:
    """Lists as the ranker is asked for them, each with the place of its target or -1."""
    made = []
    for row, place in enumerate(lists.places.tolist()):
        filled = lists.items[row] >= 0
        request = RankRequest(
            profile=profile_of(lists.histories, row, items),
            candidates=tuple(items[item] for item in lists.items[row][filled]),
            scores=tuple(lists.scores[row][filled].tolist()),
        )
        made.append((request, place))
    return made


def fitted(
    llm: LLM, prompter: Prompter, method: Method, lists: Lists, items: Sequence[Item], adapter: str, progress: Progress
) -> Fitted:
    """The weights of the fusion that held-out lists ask for. Lists without their target gain nothing by any order: they count,
    but the LLM does not read them. Raises LabelError, AdapterError, EngineError or PromptError.
    """
    asked = asked_lists(lists, items)
    found = [number for number, (_, place) in enumerate(asked) if place >= 0]
    measured = asyncio.run(measure(llm, prompter, method, [asked[number] for number in found], progress, adapter))
    by_number = dict(zip(found, measured, strict=True))
    return fit([by_number.get(number, LACKING) for number in range(len(asked))], likelihood=method == "likelihood")
