"""How well what was recommended in dialogues is found: recall at each moment, over the whole catalogue.

A case is one item recommended at one moment. `recall@K`: the share of cases whose item is among the first K, when items that the
dialogue named before are left out of the list, and cases whose item was named before are left out of the count. `repeats` counts
those, too, with nothing left out: dialogues come back to what was just named, which flatters a system that repeats it (He et al.,
CIKM 2023). Intervals by bootstrap over dialogues.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec.chat_retrieval.dialogue_model import DialogueModel
from genrec.chat_retrieval.dialogue_retriever import (
    DialogueAsk,
    DialogueRetriever,
    QueryEncoder,
    dialogue_retriever,
    load_dialogue_model,
    query_encoder_of,
    texts_of,
)
from genrec.chat_retrieval.feature_weights import history_of
from genrec.chat_retrieval.transcripts import Transcript, TranscriptReader, encoded, folds_of, learned, session_items
from genrec.data.dialogue_files import Moment, read_moments
from genrec.errors import EvaluationError, TrainingError
from genrec.evaluation.significance import Bootstrap, Interval
from genrec.filters import Filter, matches
from genrec.index.protocol import Dense, Leg, Lexical, Query
from genrec.progress import SILENT, Progress, track
from genrec.retrieval.catalogue import Catalogue
from genrec.retrieval.item_vectors import TEXT
from genrec.retrieval.user_encoders import UserEncoder
from genrec.types import Item
from genrec.workspace.folder import Workspace
from genrec.workspace.load import built_items, load_catalogue, load_user_encoder, schema_of

KS = (1, 10, 50)
SHOWN = 10
"""Items of a list that constraints are checked on."""

Ranker = Callable[[Sequence[Transcript], int], list[list[str]]]
"""(transcripts, k) → at most k item ids each, best first, items named before included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalls:
    """`at[K]` with its interval; `repeats[K]` likewise, over all cases."""

    at: Mapping[int, Interval]
    repeats: Mapping[int, Interval]


@dataclass(frozen=True, slots=True, kw_only=True)
class Linking:
    """Items found in each dialogue against those that the file names, each once a dialogue (`distinct`) or as often as it is
    named.
    """

    precision: float
    recall: float
    f1: float
    distinct_precision: float
    distinct_recall: float
    distinct_f1: float


@dataclass(slots=True, kw_only=True)
class DialogueResults:
    """`cases` of `moments` in `dialogues`; `unresolved`: recommended titles that the catalogue has not, which are not counted."""

    dialogues: int
    moments: int
    cases: int
    repeated: int
    unresolved: int
    systems: dict[str, Recalls] = field(default_factory=dict)
    linking: Linking | None = None
    constraints: Mapping[str, float] | None = None
    effort: Mapping[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Plain values: recalls as [mean, low, high]."""
        return {
            "dialogues": self.dialogues,
            "moments": self.moments,
            "cases": self.cases,
            "repeated": self.repeated,
            "unresolved": self.unresolved,
            "systems": {
                name: {
                    **{f"recall@{k}": _triple(one) for k, one in recalls.at.items()},
                    **{f"repeats@{k}": _triple(one) for k, one in recalls.repeats.items()},
                }
                for name, recalls in self.systems.items()
            },
            "linking": None
            if self.linking is None
            else {name: round(getattr(self.linking, name), 4) for name in self.linking.__dataclass_fields__},
            "constraints": None if self.constraints is None else dict(self.constraints),
            "effort": dict(self.effort),
            "notes": list(self.notes),
        }


def _triple(one: Interval) -> list[float]:
    return [round(one.mean, 4), round(one.low, 4), round(one.high, 4)]


def started(transcripts: Sequence[Transcript]) -> DialogueResults:
    """The counts. Raises EvaluationError without a case."""
    fresh = sum(len(_fresh(one)) for one in transcripts)
    every = sum(len(one.wanted) for one in transcripts)
    unresolved = sum(len(one.unresolved) for one in transcripts)
    if not fresh:
        raise EvaluationError(
            f"no moment recommends an item that was not named before ({unresolved} titles are not in the catalogue)",
            hint="`rec` holds item ids or titles of this catalogue.",
        )
    dialogues = len({one.moment.dialogue_id for one in transcripts})
    return DialogueResults(
        dialogues=dialogues, moments=len(transcripts), cases=fresh, repeated=every - fresh, unresolved=unresolved
    )


def recalls(transcripts: Sequence[Transcript], rank: Ranker, *, ks: Sequence[int] = KS, seed: int = 0) -> Recalls:
    """Of one system."""
    most = max(ks)
    lists = rank(transcripts, most + max((len(_before(one)) for one in transcripts), default=0))
    number = {one: n for n, one in enumerate(dict.fromkeys(one.moment.dialogue_id for one in transcripts))}
    found: tuple[list[list[float]], list[list[float]]] = [], []
    owners: tuple[list[int], list[int]] = [], []
    for one, ids in zip(transcripts, lists, strict=True):
        before = _before(one)
        left = [item_id for item_id in ids if item_id not in before]
        for kind, names, listed in ((0, _fresh(one), left), (1, one.wanted, ids)):
            place = {item_id: n for n, item_id in enumerate(listed[:most])}
            for item_id in names:
                found[kind].append([float(place.get(item_id, most) < k) for k in ks])
                owners[kind].append(number[one.moment.dialogue_id])
    at, repeats = (
        Bootstrap(people=np.array(owners[kind], np.int64), seed=seed).intervals(np.array(found[kind])) for kind in (0, 1)
    )
    return Recalls(at=_named(ks, at), repeats=_named(ks, repeats))


def _named(ks: Sequence[int], found: Sequence[Interval | None]) -> dict[int, Interval]:
    return {k: one for k, one in zip(ks, found, strict=True) if one is not None}


def _before(one: Transcript) -> set[str]:
    """What the dialogue named up to the moment: as the file says, where it does, and as it was found."""
    return set(one.found if one.named is None else one.named)


def _fresh(one: Transcript) -> list[str]:
    before = _before(one)
    return [item_id for item_id in one.wanted if item_id not in before]


def linking(transcripts: Sequence[Transcript]) -> Linking | None:
    """None where the file names no items. Each dialogue once, at its longest."""
    longest: dict[str, Transcript] = {}
    for one in transcripts:
        if one.named is not None:
            held = longest.get(one.moment.dialogue_id)
            if held is None or len(one.moment.context) >= len(held.moment.context):
                longest[one.moment.dialogue_id] = one
    if not longest:
        return None
    tally, distinct = [0, 0, 0], [0, 0, 0]
    for one in longest.values():
        gold, found = Counter(one.named or ()), Counter(one.found)
        for counts, (wanted, got) in ((tally, (gold, found)), (distinct, (Counter(set(gold)), Counter(set(found))))):
            right = (wanted & got).total()
            counts[0] += right
            counts[1] += got.total() - right
            counts[2] += wanted.total() - right
    return Linking(
        **dict(zip(("precision", "recall", "f1"), _scores(*tally), strict=True)),
        **dict(zip(("distinct_precision", "distinct_recall", "distinct_f1"), _scores(*distinct), strict=True)),
    )


def _scores(true: int, false: int, missed: int) -> tuple[float, float, float]:
    return true / max(1, true + false), true / max(1, true + missed), 2 * true / max(1, 2 * true + false + missed)


def satisfied(made: Filter, ids: Sequence[str], items: Mapping[str, Item]) -> float:
    """The share of the first `SHOWN` items for which the filter holds; 1 for an empty list: nothing wrong was shown."""
    shown = ids[:SHOWN]
    return sum(matches(made, items[item_id]) for item_id in shown) / len(shown) if shown else 1.0


BATCH = 64
FOLDS = 5
TIMED = 100
"""Moments answered one by one, for the time of a turn."""


@dataclass(slots=True, kw_only=True)
class Bench:
    """A workspace's parts, and the systems that can be made of them."""

    workspace: Workspace
    catalogue: Catalogue
    user_encoder: UserEncoder
    items: list[Item]
    query_encoder: QueryEncoder | None
    progress: Progress = SILENT

    @classmethod
    def of(cls, workspace: Workspace, progress: Progress = SILENT) -> "Bench":
        """Raises WorkspaceError when the workspace is not built, or items came in since; WeightsError."""
        catalogue = load_catalogue(workspace)
        items = built_items(workspace, catalogue.vectors)
        user_encoder, query_encoder = load_user_encoder(workspace, catalogue), query_encoder_of(workspace, catalogue, progress)
        return cls(
            workspace=workspace,
            catalogue=catalogue,
            user_encoder=user_encoder,
            items=items,
            query_encoder=query_encoder,
            progress=progress,
        )

    def transcript_reader(self) -> TranscriptReader:
        return TranscriptReader(self.items, schema_of(self.workspace))

    def rows(self, transcripts: Sequence[Transcript]) -> list[Transcript]:
        """With the vectors of what was said, where the catalogue has text."""
        return list(transcripts) if self.query_encoder is None else encoded(transcripts, self.query_encoder.rows)

    def retriever(self, model: DialogueModel) -> DialogueRetriever:
        return dialogue_retriever(self.workspace, self.catalogue, self.user_encoder, self.items, model)

    def ranker(self, model: DialogueModel) -> Ranker:
        """By a model that is given."""
        retriever = self.retriever(model)

        def rank(transcripts: Sequence[Transcript], k: int) -> list[list[str]]:
            lists: list[list[str]] = []
            starts = range(0, len(transcripts), BATCH)
            for start in track(self.progress, "dialogues", starts, len(starts)):
                asks = [ask_of(one) for one in transcripts[start : start + BATCH]]
                lists += [[found.item_id for found in listed] for listed in retriever.candidates(asks, k)]
            return lists

        return rank

    def cross_fitted(self, folds: int, seed: int) -> Ranker:
        """Each dialogue by a model that learned from the dialogues of the other folds."""

        def rank(transcripts: Sequence[Transcript], k: int) -> list[list[str]]:
            lists: list[list[str]] = [[] for _ in transcripts]
            for known, asked in folds_of(transcripts, folds, seed):
                model = learned(known, self.catalogue, self.items, self.user_encoder, seed=seed, progress=self.progress)
                for place, listed in zip(asked, self.ranker(model)([transcripts[n] for n in asked], k), strict=True):
                    lists[place] = listed
            return lists

        return rank

    def popularity(self, folds: int, seed: int) -> Ranker:
        """What the dialogues of the other folds name most, ties by the number of people."""

        def rank(transcripts: Sequence[Transcript], k: int) -> list[list[str]]:
            lists: list[list[str]] = [[] for _ in transcripts]
            for known, asked in folds_of(transcripts, folds, seed):
                for place, listed in zip(asked, self.named_most(known)([transcripts[n] for n in asked], k), strict=True):
                    lists[place] = listed
            return lists

        return rank

    def named_most(self, known: Sequence[Transcript]) -> Ranker:
        """What these dialogues name most, ties by the number of people."""
        model = DialogueModel(weights={}, sessions=list(session_items(known).values()))
        counts = model.sessions_over(self.catalogue.vectors.item_ids).counts
        return lambda transcripts, k: [self._most(counts, k)] * len(transcripts)

    def chosen(self) -> Ranker:
        """What most people of the workspace chose."""
        return self.named_most([])

    def _most(self, counts: NDArray[np.float64], k: int) -> list[str]:
        order = np.lexsort((np.arange(len(counts)), -self.catalogue.popularity, -counts))[:k]
        return [self.catalogue.vectors.item_ids[row] for row in order]

    def search(self) -> Ranker:
        """Text search with what was said: meaning and words of the whole dialogue, by reciprocal rank."""

        def rank(transcripts: Sequence[Transcript], k: int) -> list[list[str]]:
            lists: list[list[str]] = []
            for start in range(0, len(transcripts), BATCH):
                part = transcripts[start : start + BATCH]
                queries = {n: query for n, one in enumerate(part) if (query := _words(one, k)) is not None}
                found = dict(zip(queries, self.workspace.index.search(list(queries.values())), strict=True)) if queries else {}
                lists += [[hit.item_id for hit in found.get(n, [])] for n in range(len(part))]
            return lists

        return rank


def evaluate(
    workspace: Workspace,
    path: Path,
    *,
    folds: int = FOLDS,
    sample: int | None = None,
    ks: Sequence[int] = KS,
    seed: int = 0,
    progress: Progress = SILENT,
) -> DialogueResults:
    """All systems on the dialogues of a file. `sample`: only so many dialogues, drawn at random.

    Raises TableError, RowError, EvaluationError, WorkspaceError, IndexFault.
    """
    moments = read_moments(path)
    bench = Bench.of(workspace, progress)
    transcripts = bench.rows(bench.transcript_reader().read(_sampled(moments, sample, seed)))
    results = started(transcripts)
    results.linking = linking(transcripts)
    systems: dict[str, Ranker] = {"popularity": bench.chosen(), "text search": bench.search()}
    systems["untrained"] = bench.ranker(DialogueModel.untrained())
    serving = load_dialogue_model(workspace)
    if serving is not None and serving.seen.isdisjoint(one.moment.digest for one in transcripts):
        systems["serving"] = bench.ranker(serving)
    elif serving is not None:
        results.notes.append("the workspace's model learned from these dialogues: it is not measured on them")
    if folds > 1 and results.dialogues >= 2 * folds:
        systems["popularity, cross-fitted"] = bench.popularity(folds, seed)
        systems["cross-fitted"] = bench.cross_fitted(folds, seed)
    for name, rank in systems.items():
        try:
            results.systems[name] = recalls(transcripts, rank, ks=ks, seed=seed)
        except TrainingError as error:
            results.notes.append(f"{name}: {error} {error.hint}".strip())
    best = serving if "serving" in systems and serving is not None else DialogueModel.untrained()
    results.constraints = constraints(bench, transcripts, best)
    results.effort = effort(bench, transcripts, best)
    return results


def constraints(bench: Bench, transcripts: Sequence[Transcript], model: DialogueModel) -> dict[str, float] | None:
    """How many of the first items satisfy the latest constraint that the dialogue sets: without it in the engine, and with it.

    None where no moment has one. `found`: the share of these moments for which at least one item is shown with it.
    """
    asked = [one for one in transcripts if one.filter is not None]
    if not asked:
        return None
    retriever, items = bench.retriever(model), {item.item_id: item for item in bench.items}
    free: list[float] = []
    held: list[float] = []
    found = 0
    for start in range(0, len(asked), BATCH):
        part = asked[start : start + BATCH]
        without = retriever.candidates([replace(ask_of(one), filter=None) for one in part], SHOWN)
        filtered = retriever.candidates([replace(ask_of(one), filter=one.filter) for one in part], SHOWN)
        for one, first, second in zip(part, without, filtered, strict=True):
            if one.filter is not None:
                free.append(satisfied(one.filter, [each.item_id for each in first], items))
                held.append(satisfied(one.filter, [each.item_id for each in second], items))
                found += bool(second)
    return {
        "moments": float(len(asked)),
        "without filter": round(float(np.mean(free)), 4),
        "with filter": round(float(np.mean(held)), 4),
        "found": round(found / len(asked), 4),
    }


def effort(bench: Bench, transcripts: Sequence[Transcript], model: DialogueModel) -> dict[str, float]:
    """Milliseconds of a turn that is understood, encoded and answered alone, and the tokens that its encoder reads."""
    transcript_reader = bench.transcript_reader()
    retriever = bench.retriever(model)
    times: list[float] = []
    tokens: list[int] = []
    for one in islice(transcripts, TIMED):
        start = time.perf_counter()
        heard = transcript_reader.read([replace(one.moment, context=one.moment.context[-1:])])[
            0
        ]  # earlier turns were understood before
        asked = bench.rows([replace(heard, said=replace(one.said, rows=None))])[0]
        retriever.candidates([ask_of(asked)], SHOWN)
        times.append(1000 * (time.perf_counter() - start))
        tokens.append(
            0 if bench.query_encoder is None else bench.query_encoder.tokens([text for text in texts_of(one.said.turns) if text])
        )
    return {
        "median ms": round(float(np.median(times)), 1),
        "p95 ms": round(float(np.quantile(times, 0.95)), 1),
        "tokens": round(float(np.mean(tokens)), 1),
    }


def ask_of(one: Transcript) -> DialogueAsk:
    """As the chat asks, but for its filter."""
    return DialogueAsk(said=one.said, history=history_of(one.said))


def _words(one: Transcript, k: int) -> Query | None:
    _, whole = texts_of(one.said.turns)
    legs: list[Leg] = [] if one.said.rows is None else [Dense(TEXT, row) for row in one.said.rows[1:] if row.any()]
    legs += [Lexical(whole)] if whole else []
    return Query(legs=legs, limit=k) if legs else None


def _sampled(moments: list[Moment], sample: int | None, seed: int) -> list[Moment]:
    dialogues = sorted({one.dialogue_id for one in moments})
    if sample is None or sample >= len(dialogues):
        return moments
    drawn = {dialogues[n] for n in np.random.default_rng(seed).choice(len(dialogues), sample, replace=False)}
    return [one for one in moments if one.dialogue_id in drawn]
