"""One answer, stage by stage: people → candidates → ranking → evidence → reasons, with a trace."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from genrec.answer.loaded_models import LoadedModels
from genrec.answer.request import DialogueContext, Request
from genrec.answer.trace import Stages
from genrec.chat_retrieval.dialogue_retriever import DialogueAsk, DialogueRetrieverLoader, texts_of
from genrec.errors import ModelError, UnknownUserError, WeightsError, WorkspaceError
from genrec.filters import Field
from genrec.llm.adapter_registry import InUse
from genrec.llm.protocol import LLM
from genrec.progress import Progress
from genrec.ranking.prompter import Profile
from genrec.ranking.ranker import Ranker, RankRequest
from genrec.reasons.evidence import CatalogueCounts, PastItem, gather_evidence, past_items, text_values
from genrec.reasons.facts import Facts, facts_of
from genrec.reasons.reason_writer import ReasonWriter, template_reason
from genrec.retrieval.catalogue import FUSED, Catalogue
from genrec.retrieval.exploration import count_explored, exploration_for
from genrec.retrieval.feedback import in_force, preferences_of
from genrec.retrieval.retriever import CandidateRequest, Retriever
from genrec.types import Candidate, Event, Item, Reason, Recommendation, Trace, User
from genrec.workspace.adapters_in_use import ServedRanking, served_ranking
from genrec.workspace.folder import Workspace
from genrec.workspace.load import load_user_encoder, retriever_name, same_weights, schema_of, system_name
from genrec.workspace.manifest import REBUILD

NO_REASON = Reason(text="", source="off")


@dataclass(slots=True)
class Person:
    """One person on the way through the stages."""

    user: User
    events: list[Event]
    positive: tuple[Event, ...] = ()  # of `events`, those that speak for the person
    hidden: frozenset[str] = frozenset()  # items outside `events` that may not come back
    candidates: list[Candidate] = field(default_factory=list)
    past: list[PastItem] = field(default_factory=list)  # oldest first
    stated_interests: str = ""  # where the history says nothing
    order: list[int] = field(default_factory=list)  # places in `candidates`, best first
    scores: list[float] = field(default_factory=list)  # of `candidates`

    def shown(self, k: int) -> list[Candidate]:
        return [self.candidates[place] for place in self.order[:k]]


@dataclass(slots=True)
class Answer:
    """A ranked list whose reasons are still to come. `rows` are in the order of people and ranks; `ranked` are all candidates of
    each person, best first.
    """

    rows: list[Recommendation]
    ranked: list[list[Item]]
    facts: list[Facts]
    writer: ReasonWriter
    stages: Stages
    explains: bool

    def trace(self) -> Trace:
        return self.stages.trace()

    async def reasons(self) -> AsyncIterator[tuple[int, Reason]]:
        """(row, reason) as each is written; from the template, visibly, when the LLM fails on the way."""
        if not self.explains:
            return
        done: set[int] = set()
        with self.stages.degrading("reasons"):
            self.stages.prompts |= self.writer.digests()
            async for number, reason in self.writer.stream(self.facts):
                done.add(number)
                yield number, reason
        for number, facts in enumerate(self.facts):
            if number not in done:
                yield number, template_reason(facts)


class AnswerPipeline:
    """Answers requests over one workspace. Models are loaded when first needed."""

    def __init__(self, workspace: Workspace, catalogue: Catalogue, progress: Progress) -> None:
        self._workspace = workspace
        self._models = LoadedModels(workspace, progress)
        self._served: dict[str | None, ServedRanking] = {}  # by the method asked for
        self._write_adapter: InUse | None = None
        self.catalogue_changed(catalogue)

    def catalogue_changed(self, catalogue: Catalogue) -> None:
        """Take the catalogue of a new build."""
        self._catalogue = catalogue
        user_encoder = load_user_encoder(self._workspace, catalogue)
        self._dialogue_retriever = DialogueRetrieverLoader(self._workspace, catalogue, user_encoder)
        self._retriever = Retriever(self._workspace.index, catalogue, self._workspace.settings.retrieval, user_encoder)
        self._rankers: dict[str | None, Ranker] = {}  # by the method asked for; they know the catalogue's titles
        self._facts: CatalogueCounts | None = None
        self._schema: dict[str, Field] | None = None

    def schema(self) -> Mapping[str, Field]:
        """The attributes that filters may name."""
        if self._schema is None:
            self._schema = schema_of(self._workspace)
        return self._schema

    async def llm(self) -> LLM:
        """The engine, loaded when first needed. Raises ModelError."""
        return await asyncio.to_thread(self._models.get, "llm")

    async def load(self) -> None:
        """Load every model that answers may need, except those that cannot be loaded: the trace of each answer says so."""
        settings = self._workspace.settings
        names = [name for name in ("text", "image") if name in self._catalogue.dims()]
        if settings.rank.mode == "llm" or settings.reasons.explain == "llm":
            names.append("llm")
        await self._models.load_all(names)

    def close(self) -> None:
        self._models.close()

    async def answer(self, request: Request) -> Answer:
        """The list, ranked and with its evidence. Raises UnknownUserError, StoreError, IndexFault."""
        stages = Stages(models={"retriever": retriever_name(self._retriever.user_encoder.learned)})
        with stages.timed("people"):
            people = await asyncio.to_thread(self._people, request)
        wanted = max(request.k, self._workspace.settings.retrieval.candidates)
        found = await self._dialogue_candidates(request, people, stages, wanted)
        if found is None:
            asks = await self._asks(request, people, stages)
            with stages.timed("candidates"):
                found = await asyncio.to_thread(self._retriever.candidates, asks, wanted)
        if request.explore:
            stages.add("exploration", "ok", f"seed {request.seed}: {count_explored(found)} of {sum(map(len, found))} candidates")
        items = await asyncio.to_thread(self._items, request, people, found)
        for person, candidates in zip(people, found, strict=True):
            person.candidates = candidates
            person.order, person.scores = list(range(len(candidates))), [c.score for c in candidates]
            person.past = past_items(person.positive, items)
        await self._rank(request, people, items, stages)
        facts = await self._evidence(request, people, items, stages)
        rows = [
            Recommendation(
                user_id=person.user.user_id,
                rank=rank,
                item=items[candidate.item_id],
                score=person.scores[place],
                reason=NO_REASON,
                trace=Trace(),
                sources=candidate.sources,
            )
            for person in people
            for rank, place in enumerate(person.order[: request.k], 1)
            for candidate in [person.candidates[place]]
        ]
        writer = await self._writer(stages, by_llm=request.explain == "llm" and bool(rows))
        if request.explain == "off":
            stages.add("reasons", "off", "asked for")
        ranked = [[items[candidate.item_id] for candidate in person.shown(len(person.order))] for person in people]
        return Answer(rows, ranked, facts, writer, stages, explains=request.explain != "off")

    def _people(self, request: Request) -> list[Person]:
        store, dialogue = self._workspace.store, request.dialogue or DialogueContext()
        past = dialogue.history
        histories = store.histories(request.user_ids) if past is None else dict.fromkeys(request.user_ids, past)
        try:
            users = store.users(request.user_ids)
        except UnknownUserError:
            if request.dialogue is None:
                raise
            users = {one: User(user_id=one) for one in request.user_ids}
        now, days = time.time(), self._workspace.settings.feedback.not_now_days
        people = []
        for user_id in request.user_ids:
            history = in_force(histories[user_id], now=now, not_now_days=days)
            person = Person(users[user_id], [*(() if dialogue.events_only else history), *dialogue.events])
            person.positive = preferences_of(person.events).positive
            person.hidden = frozenset(event.item_id for event in history) if dialogue.events_only else frozenset()
            people.append(person)
        return people

    def _items(self, request: Request, people: Sequence[Person], found: Sequence[Sequence[Candidate]]) -> dict[str, Item]:
        shown = self._workspace.settings.retrieval.history
        if request.rank != "off" or request.evidence == "ranker":
            with suppress(ModelError):  # the ranking stage records it
                shown = max(shown, self._served_ranking(request).settings.history)
        wanted = {event.item_id for person in people for event in person.positive[-shown:]}
        candidates = {candidate.item_id for of_person in found for candidate in of_person}
        items = self._workspace.store.items(sorted(wanted | candidates))
        if lost := sorted(candidates - items.keys()):
            raise WorkspaceError(f"the index holds {len(lost)} items that the store has not, {lost[0]!r} first", hint=REBUILD)
        return items

    async def _dialogue_candidates(
        self, request: Request, people: Sequence[Person], stages: Stages, wanted: int
    ) -> list[list[Candidate]] | None:
        """Candidates by the retriever that learned from dialogues; None where there is no dialogue, or no such retriever."""
        said = request.dialogue.said if request.dialogue else None
        retriever = None if said is None else await asyncio.to_thread(self._dialogue_retriever.retriever)
        if said is None or retriever is None:
            return None
        stages.models["dialogues"] = self._dialogue_retriever.digest
        texts = [text for text in texts_of(said.turns) if text]
        if texts and "text" in self._catalogue.dims():
            await self._models.load("text", stages)
            with stages.degrading("query text"):
                said = replace(said, rows=await self._encode("text", list(texts_of(said.turns)), stages))
        asks = [
            DialogueAsk(
                said=said,
                history=person.positive,
                filter=request.filter,
                exclude=request.exclude | person.hidden | {event.item_id for event in person.events},
            )
            for person in people
        ]
        with stages.timed("candidates"):
            return await asyncio.to_thread(retriever.candidates, asks, wanted)

    async def _asks(self, request: Request, people: Sequence[Person], stages: Stages) -> list[CandidateRequest]:
        """What the engine is asked for each person; the query is encoded once, stated interests where there is no history."""
        for person in people:  # stated interests count until the history says something
            if person.user.interests and not self._retriever.user_encoder.known(person.events):
                person.stated_interests = ", ".join(person.user.interests)
        texts = [request.query] if request.query else []
        texts += sorted({person.stated_interests for person in people if person.stated_interests})
        rows: dict[str, dict[str, np.ndarray]] = {text: {} for text in texts}  # text → modality → vector
        for name in ("text", "image"):
            if texts and name in self._catalogue.dims():
                await self._models.load(name, stages)
                with stages.degrading(f"query {name}"):
                    for text, row in zip(texts, await self._encode(name, texts, stages), strict=True):
                        rows[text][name] = row
        return [
            CandidateRequest(
                history=person.events,
                query=request.query,
                query_vectors=rows.get(request.query, {}),
                interests=person.stated_interests,
                interest_vectors=rows.get(person.stated_interests, {}),
                exclude=request.exclude | person.hidden,
                filter=request.filter,
                explore=exploration_for(person.user.user_id, request.explore, request.seed),
            )
            for person in people
        ]

    async def _encode(self, name: str, texts: list[str], stages: Stages) -> np.ndarray:
        """(n, d) rows. Raises WeightsError when the query would be encoded by another model than the items were."""
        encoder = self._models.get(name)
        made_by = self._catalogue.vectors.models.get(name, "")
        if not same_weights(encoder.id, made_by):
            hint = f"Run `genrec build`, or set models.{name} back."
            raise WeightsError(f"the {name} vectors were made by {made_by}, the query would be by {encoder.id}", hint=hint)
        stages.models[name] = encoder.id
        encode = partial(encoder.encode, role="query") if name == "text" else encoder.encode_texts
        return await asyncio.to_thread(encode, texts)

    async def _rank(self, request: Request, people: Sequence[Person], items: Mapping[str, Item], stages: Stages) -> None:
        if request.rank == "off":
            return stages.add("ranking", "off", "asked for")
        ranked = [p for p in people if p.candidates and (p.positive or p.user.interests or request.words)]
        if not ranked:
            return stages.add("ranking", "off", "nothing is known of the person" if people else "nobody was asked for")
        await self._models.load("llm", stages)
        with stages.degrading("ranking"):
            ranker = self._loaded_ranker(request, stages)
            rankings = await ranker.rank([self._rank_request(request, p, p.candidates, items) for p in ranked])
            for person, ranking in zip(ranked, rankings, strict=True):
                person.order, person.scores = ranking.order.tolist(), ranking.score.tolist()
            stages.prompts |= ranker.prompter.digests()
        return None

    def _rank_request(
        self, request: Request, person: Person, candidates: Sequence[Candidate], items: Mapping[str, Item]
    ) -> RankRequest:
        profile = Profile(history=tuple(past.item for past in person.past), interests=person.user.interests, query=request.words)
        by_history = all(c.sources.get(FUSED) == c.score for c in candidates)  # not by a query's ranks, nor drawn
        usual = self._served_ranking(request).spread_of(system_name(self._retriever.user_encoder.learned))
        return RankRequest(
            profile=profile,
            candidates=tuple(items[c.item_id] for c in candidates),
            scores=tuple(c.score for c in candidates),
            spread=usual if by_history else 0.0,
        )

    async def _evidence(
        self, request: Request, people: Sequence[Person], items: Mapping[str, Item], stages: Stages
    ) -> list[Facts]:
        if request.explain == "off":
            return []
        exact: list[np.ndarray] = []
        if request.evidence == "ranker":
            await self._models.load("llm", stages)
            with stages.degrading("evidence by ranker"):
                ranker = self._loaded_ranker(request, stages)
                for person in people:
                    asked = self._rank_request(request, person, person.shown(request.k), items)
                    exact.append(await ranker.leave_one_out(asked))
        facts: list[Facts] = []
        with stages.timed("evidence"):
            catalogue = await asyncio.to_thread(self._catalogue_facts)
            for number, person in enumerate(people):
                shown = person.shown(request.k)
                shares = exact[number] if len(exact) == len(people) else self._shares(person, shown)
                past = person.past[len(person.past) - shares.shape[1] :]  # the ranker sees the latest only
                for place, candidate in enumerate(shown):
                    evidence = gather_evidence(
                        items[candidate.item_id],
                        past,
                        shares[place],
                        catalogue=catalogue,
                        cited=self._workspace.settings.reasons.cited,
                        query=request.words,
                        interests=person.user.interests if person.stated_interests else (),
                        describe=self._workspace.settings.reasons.describe,
                    )
                    facts.append(facts_of(evidence, items, items[candidate.item_id]))
        return facts

    def _shares(self, person: Person, shown: Sequence[Candidate]) -> np.ndarray:
        """How much of each shown item's retrieval score each past item carries, (n_shown, n_past) float32."""
        shares = np.zeros((len(shown), len(person.past)), dtype=np.float32)
        ids, falls = self._retriever.user_encoder.shares(person.events, [c.item_id for c in shown])
        column = {item_id: n for n, item_id in enumerate(ids)}
        for n, one in enumerate(person.past):
            if one.item.item_id in column:
                shares[:, n] = falls[:, column[one.item.item_id]]
        return shares

    def _catalogue_facts(self) -> CatalogueCounts:
        if self._facts is None:
            counts: Counter[tuple[str, str]] = Counter()
            total = 0
            for item in self._all_items():
                total += 1
                counts.update((name, text) for name, value in item.attributes.items() for text in set(text_values(value)))
            people = dict(zip(self._catalogue.vectors.item_ids, self._catalogue.popularity.tolist(), strict=True))
            self._facts = CatalogueCounts(values=counts, items=total, people=people)
        return self._facts

    def _all_items(self) -> Iterator[Item]:
        return (item for batch in self._workspace.store.all_items() for item in batch)

    def _loaded_ranker(self, request: Request, stages: Stages) -> Ranker:
        llm = self._models.llm(stages)
        served = self._served_ranking(request)
        if request.method not in self._rankers:
            self._rankers[request.method] = Ranker(llm, self._workspace.prompts, served.settings, served.adapter, self._all_items)
        stages.adapter("rerank", served.adapter, served.note)
        return self._rankers[request.method]

    def _served_ranking(self, request: Request) -> ServedRanking:
        """Raises AdapterError, WorkspaceError."""
        if request.method not in self._served:
            self._served[request.method] = served_ranking(self._workspace, request.method)
        return self._served[request.method]

    async def _writer(self, stages: Stages, *, by_llm: bool) -> ReasonWriter:
        """Writes with the LLM and the adapter in use if `by_llm` and the LLM can be loaded, else by template."""
        llm, adapter = None, ""
        if by_llm:
            await self._models.load("llm", stages)
            with stages.degrading("reasons model"):
                loaded = self._models.llm(stages)
                if self._write_adapter is None:  # looked for once: the engine's adapters are those of its opening too
                    self._write_adapter = self._workspace.registry.in_use("write")
                name = self._write_adapter.adapter.name if self._write_adapter.adapter else ""
                stages.adapter("write", name, self._write_adapter.note)
                llm, adapter = loaded, name
        return ReasonWriter(llm, self._workspace.prompts, self._workspace.settings.reasons, adapter)
