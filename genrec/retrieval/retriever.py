"""Candidates for a batch of people in one call of the vector engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from genrec.errors import ConfigError
from genrec.filters import Filter
from genrec.index.protocol import Dense, Hit, Leg, Lexical, Query, VectorIndex
from genrec.retrieval.catalogue import FUSED, MOST_POPULAR, POPULAR, Catalogue
from genrec.retrieval.exploration import POOL, Exploration, explored
from genrec.retrieval.feedback import opinions
from genrec.retrieval.user_vectors import MeanPeople, People
from genrec.retrieval.vectors import unit_rows
from genrec.settings import RetrievalSettings
from genrec.types import NOT_NOW, SEEN, Candidate, Event


def mmr(relevance: NDArray[np.floating], rows: NDArray[np.float32], k: int, diversity: float) -> list[int]:
    """Positions of at most k of the n candidates, best first.

    Each step takes the largest (1 - diversity) · relevance − diversity · (largest cosine with those taken); ties by position.
    `relevance` (n,) in [0, 1], `rows` (n, D) unit rows. With `diversity` 0 this is the order of relevance.
    """
    n = len(relevance)
    nearest = np.zeros(n)
    free = np.ones(n, bool)
    taken: list[int] = []
    while len(taken) < min(k, n):
        gain = np.where(free, (1.0 - diversity) * relevance - diversity * nearest, -np.inf)
        best = int(np.argmax(gain))
        taken.append(best)
        free[best] = False
        similar = rows @ rows[best]
        nearest = similar if len(taken) == 1 else np.maximum(nearest, similar)
    return taken


BATCH = 64
"""So many histories asked for at once are scored exactly, all together."""
COLD_POOL = 4
"""A list of k for a user without history is chosen for diversity among the 4·k most popular."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ask:
    """What one person asks for.

    `history`    all events of the person, oldest first, their likes and dislikes among them; these items are not found again
                 unless `repeats`, and then those not that are disliked, seen or not wanted now
    `query`      words to look for (BM25), may be empty
    `legs`       the query as vectors: modality → (d,) float32, say {"text": …, "image": …}
    `interests`  stated interests as text and vector, used when the history says nothing
    `exclude`    more items that may not be found
    `explore`    draw the list of a person with history or a query from the scores' uncertainty
    """

    history: Sequence[Event] = ()
    query: str = ""
    legs: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    interests: str = ""
    interest_legs: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    exclude: frozenset[str] = frozenset()
    filter: Filter | None = None
    repeats: bool = False
    explore: Exploration | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    """The searches of one Ask: the main one, and the popular ones that fill the list up."""

    user: NDArray[np.float32] | None
    main: Query | None
    popular: Query | None
    popular_places: int


class Retriever:
    """Finds candidates in `index`, which holds the vectors of `catalogue`, by the vectors that `people` makes of histories; those
    of the untrained retriever by default.
    """

    def __init__(
        self, index: VectorIndex, catalogue: Catalogue, settings: RetrievalSettings, people: People | None = None
    ) -> None:
        self._index = index
        self._catalogue = catalogue
        self._settings = settings
        self.people = people or MeanPeople(catalogue, settings)

    def candidates(self, asks: Sequence[Ask], k: int) -> list[list[Candidate]]:
        """At most k candidates each, best first, ties by item id; fewer when filters and exclusions leave fewer.

        A person with history: the fused vector. With a query: its legs, fused with the history by reciprocal rank in the
        engine. Without both: stated interests, then popular items chosen for diversity. Raises ConfigError for k < 1,
        IndexFault from the engine.
        """
        if k < 1:
            raise ConfigError(f"{k} candidates were asked for", hint="Ask for at least 1.")
        users = self.people.vectors([ask.history for ask in asks])
        plans = [self._plan(ask, user, k) for ask, user in zip(asks, users, strict=True)]
        exact = self._together([plan.main for plan in plans])
        queries = [
            query
            for n, plan in enumerate(plans)
            for query in (None if n in exact else plan.main, plan.popular)
            if query is not None
        ]
        found = iter(self._index.search(queries) if queries else [])
        answers = []
        for n, (ask, plan) in enumerate(zip(asks, plans, strict=True)):
            main = exact[n] if n in exact else next(found) if plan.main is not None else []
            popular = next(found) if plan.popular is not None else []
            answers.append(self._merge(ask, plan, main, popular, k))
        return answers

    def _together(self, queries: Sequence[Query | None]) -> dict[int, list[Hit]]:
        """Exact answers to the queries that are a history alone, where there are many: one pass over the catalogue's vectors is
        quicker than a walk through the engine's graph for each of them.
        """
        alone = [n for n, query in enumerate(queries) if query is not None and _history_alone(query)]
        if len(alone) < BATCH:
            return {}
        from genrec.retrieval.exact import top_k

        catalogue = self._catalogue
        there = np.flatnonzero(np.any(catalogue.fused != 0, axis=1))  # the index holds no vector of the others
        place = np.full(len(catalogue.fused), -1)
        place[there] = np.arange(len(there))
        asked = [query for n in alone if (query := queries[n]) is not None]
        known = [[place[catalogue.vectors.index_of(i)] for i in query.exclude if i in catalogue.vectors] for query in asked]
        left_out = [[row for row in rows if row >= 0] for rows in known]
        offsets = np.concatenate([[0], np.cumsum([len(rows) for rows in left_out])]).astype(np.int64)
        excluded = np.array([row for rows in left_out for row in rows], np.int64)
        people = np.stack([leg.vector for query in asked for leg in query.legs if isinstance(leg, Dense)])
        most = max(query.limit for query in asked)
        rows, scores = top_k(people, catalogue.fused[there], most, exclude=(offsets, excluded))
        ids = catalogue.vectors.item_ids
        return {
            n: [
                Hit(item_id=ids[there[row]], score=float(score), sources={FUSED: float(score)})
                for row, score in zip(rows[place_], scores[place_], strict=True)
                if row >= 0
            ]
            for place_, n in enumerate(alone)
        }

    def _plan(self, ask: Ask, user: NDArray[np.float32] | None, k: int) -> _Plan:
        exclude = ask.exclude | _kept_away(ask)
        legs: list[Leg] = [] if user is None else [Dense(FUSED, user)]
        legs += [Dense(name, vector) for name, vector in ask.legs.items()]
        legs += [Lexical(ask.query)] if ask.query.strip() else []
        if not legs:
            legs += [Dense(name, vector) for name, vector in ask.interest_legs.items()]
            legs += [Lexical(ask.interests)] if ask.interests.strip() else []
        if not legs:
            places, pool = k, k if self._settings.diversity == 0 else COLD_POOL * k
        else:
            searched = bool(ask.query.strip() or ask.legs)
            places = 0 if searched or user is None else round(self._settings.popular_share * k)
            pool = k if places else 0
        popular = Query(legs=[Dense(POPULAR, MOST_POPULAR)], limit=pool, filter=ask.filter, exclude=exclude) if pool else None
        most = k if ask.explore is None else POOL * k
        main = Query(legs=legs, limit=most, filter=ask.filter, exclude=exclude) if legs else None
        return _Plan(user, main, popular, places)

    def _merge(self, ask: Ask, plan: _Plan, main: Sequence[Hit], popular: Sequence[Hit], k: int) -> list[Candidate]:
        if plan.main is None:
            return self._diverse(popular, k)
        searched = bool(ask.query.strip() or ask.legs)
        stated = plan.user is None and not searched
        first = [_candidate(hit, "interests" if stated else "") for hit in main]
        first = self._explored(ask, first, k - plan.popular_places)
        there = {candidate.item_id for candidate in first}
        fresh = [hit for hit in popular if hit.item_id not in there]
        return first + self._scored(plan.user, fresh[: k - len(first)])

    def _explored(self, ask: Ask, candidates: list[Candidate], k: int) -> list[Candidate]:
        if ask.explore is None:
            return candidates[:k]
        vectors = self._catalogue.vectors
        people = self._catalogue.popularity[[vectors.index_of(candidate.item_id) for candidate in candidates]]
        return explored(candidates, people, k, ask.explore, trust=self._settings.trust)

    def _diverse(self, hits: Sequence[Hit], k: int) -> list[Candidate]:
        """Popular items chosen by MMR. The score falls along the list: the popularity of the item or of a later one, whichever
        is larger.
        """
        if not hits:
            return []
        rows = unit_rows(self._catalogue.history_rows([hit.item_id for hit in hits]))  # two doubtful items are not alike for it
        relevance = np.array([hit.score for hit in hits])
        order = mmr(relevance, rows, k, self._settings.diversity)
        scores = np.maximum.accumulate(relevance[order][::-1])[::-1]
        return [
            Candidate(item_id=hits[place].item_id, score=float(score), sources={POPULAR: hits[place].score})
            for place, score in zip(order, scores, strict=True)
        ]

    def _scored(self, user: NDArray[np.float32] | None, hits: Sequence[Hit]) -> list[Candidate]:
        """Popular items beside a history: scored like the others, listed after them."""
        if user is None or not hits:
            return []
        scores = self._catalogue.rows([hit.item_id for hit in hits]) @ user
        order = np.argsort(-scores, kind="stable")
        return [
            Candidate(item_id=hits[place].item_id, score=float(scores[place]), sources={POPULAR: hits[place].score})
            for place in order
        ]


def _kept_away(ask: Ask) -> set[str]:
    if not ask.repeats:
        return {event.item_id for event in ask.history}
    passed = {event.item_id for event in ask.history if event.kind in (SEEN, NOT_NOW)}
    return passed | set(opinions(ask.history).disliked)


def _history_alone(query: Query) -> bool:
    leg = query.legs[0]
    return len(query.legs) == 1 and query.filter is None and isinstance(leg, Dense) and leg.name == FUSED


def _candidate(hit: Hit, source: str) -> Candidate:
    """`source` names the leg when the hit comes from something other than the vectors' own names."""
    sources = {source: max(hit.sources.values(), default=hit.score)} if source else dict(hit.sources)
    return Candidate(item_id=hit.item_id, score=hit.score, sources=sources)
