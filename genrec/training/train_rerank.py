"""`genrec train rerank` in a workspace: learn, prove on held-out events, write the card, put into use what helps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from genrec.errors import AdapterError, TrainingError
from genrec.llm.adapters import Adapter, RankingChoice, new_folder
from genrec.llm.protocol import LLM
from genrec.progress import SILENT, Progress
from genrec.ranking.prompter import Prompter
from genrec.retrieval.systems import System
from genrec.retrieval.zero_shot import ZeroShot
from genrec.settings import Settings
from genrec.settings.train_sections import RankTrainSettings
from genrec.training.adapter_training import (
    CHECKPOINTS,
    Base,
    Sample,
    begun,
    finish,
    fresh_name,
    open_base,
    sample,
    save,
    served,
    tried,
)
from genrec.training.candidate_lists import Lists, candidates
from genrec.training.learned_system import Learned
from genrec.training.lora import Tuned
from genrec.training.ranker_training import TASKS, Course, Source, fitted, serving_prompter, source
from genrec.training.retriever_training import Trainer
from genrec.training.train_retriever import device_of
from genrec.workspace.adapters_in_use import read_choices, write_choice
from genrec.workspace.folder import Workspace
from genrec.workspace.load import load_content, served_retriever

Tell = Callable[[str], None]
WHY = {
    "likelihood": "log p(title | profile), which a small model learns from every title of a history",
    "labels": "the probability of a candidate's label as the next token",
    "markers": "yes against no behind every candidate",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """NDCG@10 on the held-out events of one workspace. `fused` is cross-fitted; `gain` is the mean difference with its 95%
    interval; `ceiling` the share of the lists that hold what was chosen.
    """

    workspace: str
    retriever: str
    people: int
    alone: float
    fused: float
    gain: tuple[float, float, float]
    ceiling: float
    candidates: int
    choice: RankingChoice

    @property
    def helps(self) -> bool:
        return self.choice.weight > 0 and self.fused > self.alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """`proofs` are in the order of the workspaces; `active`: the names of those that the adapter now serves."""

    adapter: Adapter
    proofs: list[Proof]
    active: list[str]


def dry_run(workspaces: Sequence[Workspace], progress: Progress = SILENT) -> list[Sample]:
    """What would be learned from. Raises as `train_rerank` does."""
    course = _course(workspaces, open_base(workspaces[0].settings.models, progress), progress)
    histories = course.histories(0) if course.settings.epochs else []
    found = [sample("histories", histories, course.base), sample("lists", course.lists()[0], course.base)]
    return [one for one in found if one.examples]


def train_rerank(
    workspaces: Sequence[Workspace],
    name: str = "",
    progress: Progress = SILENT,
    tell: Tell = lambda _: None,
    *,
    start: str = "",
    command: str = "",
) -> Ranked | None:
    """Train one adapter by `[rank.train]` of the first workspace on the events of all; it is saved there.

    `start`: the adapter to go on from. In every workspace the weights of the fusion are fitted on held-out events; in the first
    one the adapter is made active when it helps. A run that was killed goes on when data and settings are the same. Of several
    processes (`accelerate launch`) the first one saves; the others get None.

    Raises WorkspaceError, TrainingError, ConfigError, WeightsError, AdapterError.
    """
    from accelerate import PartialState

    first = workspaces[0]
    told = first.settings.rank.train
    base = open_base(first.settings.models, progress)
    name = new_folder(first.adapters, name or fresh_name(base.weights, "rerank")).name
    for workspace in workspaces:
        read_choices(workspace)  # a damaged file shows now, not after hours
    course = _course(workspaces, base, progress)
    tuned = begun(base, first, told, start)
    # by all processes, which train a retriever together
    lists = [handed(workspace, one, told, progress, tell) for workspace, one in zip(workspaces, course.sources, strict=True)]
    judge = _judge(course, lists, tuned, first, tell)
    figures = course.learn(tuned, first.adapters / CHECKPOINTS, tell, judge, partial(tried, tuned, base, first), lists)
    if not PartialState().is_main_process:
        return None
    folder = save(tuned, base, first.adapters, name)
    with served(folder, base, first.settings.models) as llm:
        proofs = [
            prove(workspace, one, known, llm, name, told, progress, tell)
            for workspace, one, known in zip(workspaces, course.sources, lists, strict=True)
        ]
    adapter = finish(folder, base, tuned, _card(course, proofs, figures, start, command), TASKS)
    for workspace, proof in zip(workspaces, proofs, strict=True):
        write_choice(workspace, adapter, proof.choice)
    if proofs[0].helps:
        first.registry.activate(name)
    return Ranked(adapter=adapter, proofs=proofs, active=[first.folder.name] if proofs[0].helps else [])


def _judge(course: Course, lists: Sequence[Lists], tuned: Tuned, first: Workspace, tell: Tell) -> Callable[[], float] | None:
    """By what an adapter, served as it will be, adds to NDCG@10 on some of the held-out lists."""
    told = course.settings
    if not told.judged:
        return None
    shown = [one.take(np.arange(min(told.judged, len(one)))) for one in lists]
    known: dict[str, float] = {}  # the weights that one phase ends with begin the next

    def judge() -> float:
        digest = tuned.digest()
        if digest not in known:
            with tried(tuned, course.base, first) as (llm, name):
                found = [
                    fitted(llm, serving_prompter(course.prompts, told, one), told.method, some, one.content.items, name, SILENT)
                    for some, one in zip(shown, course.sources, strict=True)
                ]
            known[digest] = float(np.mean([one.gain()[0] for one in found]))
            tell(f"judged on {sum(map(len, shown))} lists: {known[digest]:+.4f} NDCG@10 beside the retriever alone")
        return known[digest]

    return judge


def fit_rerank(workspace: Workspace, name: str, progress: Progress = SILENT, tell: Tell = lambda _: None) -> Proof:
    """Fit how much an adapter, say a shipped one, counts on this workspace's own catalogue. Nothing is trained.

    Raises AdapterError when it is not there, does not fit or does not rank; TrainingError when the events do not suffice.
    """
    adapter = workspace.registry.find().get(name)
    card = adapter.card
    if adapter.task != "rerank" or not card.method or card.ranking is None:
        raise AdapterError(f"adapter {name} was trained to {adapter.task}", hint="Only adapters that rank have weights to fit.")
    if fault := workspace.registry.fault(adapter):
        raise AdapterError(fault, hint="Train an adapter for this model and these prompts: `genrec train rerank`.")
    changed = {"method": card.method, "history": card.ranking.history, "title_chars": card.ranking.title_chars}
    told = workspace.settings.rank.train.model_copy(update=changed)
    read_choices(workspace)
    one = _source(workspace, told)
    lists = handed(workspace, one, told, progress, tell)
    llm = workspace.llm(progress)
    try:
        proof = prove(workspace, one, lists, llm, name, told, progress, tell)
    finally:
        llm.close()
    write_choice(workspace, adapter, proof.choice)
    return proof


def handed(workspace: Workspace, one: Source, told: RankTrainSettings, progress: Progress, tell: Tell) -> Lists:
    """The held-out events' candidates, by a retriever that has not seen these events either."""
    tell(f"validation in {workspace.folder.name}: fitting the {one.serving.name} retriever without the held-out events")
    system = one.serving.with_settings({}, told.seed)
    system.fit(one.known, one.content, progress)
    return candidates(system, one.asked, one.targets, _window(workspace))


def _window(workspace: Workspace) -> int:
    return min(workspace.settings.retrieval.candidates, workspace.settings.rank.window)


def prove(
    workspace: Workspace, one: Source, lists: Lists, llm: LLM, name: str, told: RankTrainSettings, progress: Progress, tell: Tell
) -> Proof:
    """Fit the fusion's weights on the lists of `handed`; the adapter's is 0 where what was fitted on one half of the people does
    not help the other.
    """
    prompter = serving_prompter(workspace.prompts, told, one)
    found = fitted(llm, prompter, told.method, lists, one.content.items, name, progress)
    proof = Proof(
        workspace=workspace.folder.name,
        retriever=one.serving.name,
        people=len(lists),
        candidates=_window(workspace),
        alone=float(found.alone.mean()),
        fused=float(found.fused.mean()),
        gain=found.gain(),
        ceiling=float((lists.places >= 0).mean()),
        choice=RankingChoice(
            weight=found.choice.weight if found.fused.mean() > found.alone.mean() else 0.0,
            prior=found.choice.prior,
            per_token=found.choice.per_token,
            history=told.history,
            title_chars=told.title_chars,
            unique_prefix=told.unique_prefix,
            spread=found.choice.spread,
            retriever=one.serving.name,
        ),
    )
    tell(f"validation in {proof.workspace}: NDCG@10 {proof.alone:.4f} by the retriever, {proof.fused:.4f} with the adapter")
    return proof


def _course(workspaces: Sequence[Workspace], base: Base, progress: Progress) -> Course:
    first = workspaces[0]
    told = first.settings.rank.train
    digests = Prompter(first.prompts, history=1, title_chars=1).digests()
    names = [workspace.folder.resolve().name for workspace in workspaces]
    if len(set(names)) < len(names):
        raise TrainingError(
            f"two workspaces are called {max(names, key=names.count)}", hint="The card tells them by their names."
        )
    for other in workspaces[1:]:
        model, mine = other.settings.models.llm, first.settings.models.llm
        if model != mine:
            raise TrainingError(
                f"{other.folder}: models.llm is {model}, in {first.folder} it is {mine}", hint="One adapter has one base model."
            )
        if any(other.prompts.digest(name) != digest for name, digest in digests.items()):
            raise TrainingError(
                f"{other.folder}: its prompts are not those of {first.folder}", hint="One adapter knows one wording of a prompt."
            )
    sources = [_source(workspace, told) for workspace in workspaces]
    return Course(sources=sources, base=base, prompts=first.prompts, settings=told, progress=progress)


def _source(workspace: Workspace, told: RankTrainSettings) -> Source:
    events, content = load_content(workspace)
    return source(
        events,
        content,
        serving=_retriever(workspace.settings, served_retriever(workspace) is not None),
        training=_retriever(workspace.settings, told.source == "learned"),
        settings=told,
    )


def _retriever(settings: Settings, learned: bool) -> System:
    if not learned:
        return ZeroShot(settings.retrieval)
    return Learned(
        Trainer(retrieval=settings.retrieval, settings=settings.retrieval.train, device=device_of(settings.models.device))
    )


def _card(
    course: Course, proofs: Sequence[Proof], figures: dict[str, list[dict[str, float]]], start: str, command: str
) -> dict[str, Any]:
    told = course.settings
    helping = [proof.choice for proof in proofs if proof.helps]
    best = min(helping, key=lambda choice: choice.weight) if helping else proofs[0].choice
    return {
        "task": "rerank",
        "prompts": course.prompter.digests(),
        "method": told.method,
        # of several catalogues the most careful choice: a new one may be like neither
        "ranking": best.elsewhere().model_dump(),
        "why": f"It ranks by {told.method}: {WHY[told.method]}.",
        "limits": "It knows the titles and the tastes of the catalogues named here. On another one, fit its weight first: "
        "`genrec train rerank -w DIR --fit NAME`; a weight of 0 means that it does not help there.",
        "data": {
            proof.workspace: f"{len(one.known)} events of {len(one.known.user_ids)} people on {len(one.content.items)} items"
            for proof, one in zip(proofs, course.sources, strict=True)
        },
        "split": f"of each person's events number {told.held_out} from the last is validation; that and later ones are unseen",
        "metrics": {f"NDCG@10 on {proof.workspace}": _metric(proof) for proof in proofs},
        "command": command,
        "seed": told.seed,
        "training": {
            **({"start": start} if start else {}),
            **told.model_dump(exclude={"seed", "method", "r", "alpha"}),
            **{f"loss of {task}": round(legs[-1]["loss"], 4) for task, legs in figures.items()},
            **{f"seconds of {task}": round(sum(leg["seconds"] for leg in legs)) for task, legs in figures.items()},
        },
    }


def _metric(proof: Proof) -> dict[str, Any]:
    choice = proof.choice
    return {
        "value": proof.fused,
        "low": proof.alone + proof.gain[1],
        "high": proof.alone + proof.gain[2],
        "without": proof.alone,
        "note": f"validation, {proof.people} people, {proof.candidates} candidates of the {proof.retriever} retriever, "
        f"recall {proof.ceiling:.3f}; weight {choice.weight:g}, prior {choice.prior:g}; the interval is of the paired gain",
    }
