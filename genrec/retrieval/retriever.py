"""Candidates for a batch of people in one call of the vector engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from genrec.errors import ConfigError
from genrec.filters import Filter
from genrec.index.protocol import Dense, Hit, Leg, Lexical, Query, VectorIndex
from genrec.retrieval.catalogue import FUSED, MOST_POPULAR, POPULAR, Catalogue
from genrec.retrieval.exploration import POOL, Exploration, thompson_sample
from genrec.retrieval.feedback import preferences_of
from genrec.retrieval.item_vectors import unit_rows
from genrec.retrieval.user_encoders import MeanUserEncoder, UserEncoder
from genrec.settings.sections import RetrievalSettings
from genrec.types import NOT_NOW, SEEN, Candidate, Event

EXACT_FROM = 64
"""From so many histories in one call on, those without words and filters are searched exactly, all together."""
COLD_POOL = 4
"""A list of k for a user without history is chosen for diversity among the 4·k most popular."""


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CandidateRequest:
    """What candidates are looked for, for one person.

    history           all events of the person, oldest first, likes and dislikes among them; these items are not found again
                      unless `repeats`, and then only those that are disliked, seen or not wanted now are left out
    query             words to look for (BM25), may be empty
    query_vectors     the query as vectors: modality → (d,) float32, say {"text": …, "image": …}
    interests         stated interests as text; used, like `interest_vectors`, when history and query say nothing
    exclude           more items that may not be found
    explore           draw the list of a person with history or a query from the scores' uncertainty
    """

    history: Sequence[Event] = ()
    query: str = ""
    query_vectors: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    interests: str = ""
    interest_vectors: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    exclude: frozenset[str] = frozenset()
    filter: Filter | None = None
    repeats: bool = False
    explore: Exploration | None = None

    @property
    def searches(self) -> bool:
        """Whether there is a query, in words or as vectors."""
        return bool(self.query.strip() or self.query_vectors)

    def excluded(self) -> frozenset[str]:
        """All items that may not be found."""
        if not self.repeats:
            return self.exclude | {event.item_id for event in self.history}
        passed = {event.item_id for event in self.history if event.kind in (SEEN, NOT_NOW)}
        return self.exclude | passed | set(preferences_of(self.history).disliked)


@dataclass(frozen=True, slots=True)
class _Plan:
    """The searches for one request: the main one, and the one for popular items that complete the list."""

    user: NDArray[np.float32] | None
    main: Query | None
    popular: Query | None
    popular_places: int


class Retriever:
    """Finds candidates in `index`, which holds the vectors of `catalogue`. `user_encoder` makes vectors of histories; by default
    that of the untrained retriever.
    """

    def __init__(
        self, index: VectorIndex, catalogue: Catalogue, settings: RetrievalSettings, user_encoder: UserEncoder | None = None
    ) -> None:
        self._index = index
        self._catalogue = catalogue
        self._settings = settings
        self.user_encoder = user_encoder or MeanUserEncoder(catalogue, settings)

    def candidates(self, requests: Sequence[CandidateRequest], k: int) -> list[list[Candidate]]:
        """At most k candidates each, best first, ties by item id; fewer when filters and exclusions leave fewer.

        A person with history: the fused vector. With a query: its vectors and words, fused with the history by reciprocal rank
        in the engine. Without both: stated interests, then popular items chosen for diversity. Raises ConfigError for k < 1,
        IndexFault from the engine.
        """
        if k < 1:
            raise ConfigError(f"{k} candidates were asked for", hint="Ask for at least 1.")
        users = self.user_encoder.vectors([request.history for request in requests])
        plans = [self._plan(request, user, k) for request, user in zip(requests, users, strict=True)]
        exact = self._exact([plan.main for plan in plans])
        searches = [(None if n in exact else plan.main, plan.popular) for n, plan in enumerate(plans)]
        queries = [query for pair in searches for query in pair if query is not None]
        found = iter(self._index.search(queries) if queries else [])
        answers = []
        for n, (request, plan) in enumerate(zip(requests, plans, strict=True)):
            main = exact[n] if n in exact else next(found) if plan.main is not None else []
            popular = next(found) if plan.popular is not None else []
            answers.append(self._merge(request, plan, main, popular, k))
        return answers

    def _exact(self, queries: Sequence[Query | None]) -> dict[int, list[Hit]]:
        """By position, exact answers to the queries of a history alone, where there are many: one pass over the catalogue's
        vectors is quicker than a walk through the engine's graph for each of them.
        """
        alone = {n: query for n, query in enumerate(queries) if query is not None and _history_alone(query)}
        if len(alone) < EXACT_FROM:
            return {}
        from genrec.retrieval.exact_search import top_k

        catalogue = self._catalogue
        indexed = np.flatnonzero(np.any(catalogue.fused != 0, axis=1))  # the index holds no vector of the others
        place = np.full(len(catalogue.fused), -1)
        place[indexed] = np.arange(len(indexed))
        known = [[place[catalogue.vectors.index_of(i)] for i in q.exclude if i in catalogue.vectors] for q in alone.values()]
        left_out = [[row for row in rows if row >= 0] for rows in known]
        offsets = np.concatenate([[0], np.cumsum([len(rows) for rows in left_out])]).astype(np.int64)
        excluded = np.array([row for rows in left_out for row in rows], np.int64)
        users = np.stack([leg.vector for query in alone.values() for leg in query.legs if isinstance(leg, Dense)])
        most = max(query.limit for query in alone.values())
        found = top_k(users, catalogue.fused[indexed], most, exclude=(offsets, excluded))
        ids = catalogue.vectors.item_ids
        return {
            n: [
                Hit(item_id=ids[indexed[row]], score=float(score), sources={FUSED: float(score)})
                for row, score in zip(rows, scores, strict=True)
                if row >= 0
            ]
            for n, rows, scores in zip(alone, *found, strict=True)
        }

    def _plan(self, request: CandidateRequest, user: NDArray[np.float32] | None, k: int) -> _Plan:
        legs: list[Leg] = [] if user is None else [Dense(FUSED, user)]
        legs += _legs(request.query_vectors, request.query)
        legs = legs or _legs(request.interest_vectors, request.interests)
        if not legs:
            places, pool = k, k if self._settings.diversity == 0 else COLD_POOL * k
        else:
            places = 0 if request.searches or user is None else round(self._settings.popular_share * k)
            pool = k if places else 0
        exclude, most = request.excluded(), k if request.explore is None else POOL * k
        popular = Query(legs=[Dense(POPULAR, MOST_POPULAR)], limit=pool, filter=request.filter, exclude=exclude) if pool else None
        main = Query(legs=legs, limit=most, filter=request.filter, exclude=exclude) if legs else None
        return _Plan(user, main, popular, places)

    def _merge(
        self, request: CandidateRequest, plan: _Plan, main: Sequence[Hit], popular: Sequence[Hit], k: int
    ) -> list[Candidate]:
        if plan.main is None:
            return self._diverse(popular, k)
        stated = plan.user is None and not request.searches
        first = self._explored(request, [_candidate(hit, stated) for hit in main], k - plan.popular_places)
        there = {candidate.item_id for candidate in first}
        fresh = [hit for hit in popular if hit.item_id not in there]
        return first + self._beside(plan.user, fresh[: k - len(first)])

    def _explored(self, request: CandidateRequest, candidates: list[Candidate], k: int) -> list[Candidate]:
        if request.explore is None:
            return candidates[:k]
        vectors = self._catalogue.vectors
        people = self._catalogue.popularity[[vectors.index_of(candidate.item_id) for candidate in candidates]]
        return thompson_sample(candidates, people, k, request.explore, trust=self._settings.trust)

    def _diverse(self, hits: Sequence[Hit], k: int) -> list[Candidate]:
        """Popular items chosen by MMR. The score falls along the list: the popularity of the item or of a later one, whichever
        is larger.
        """
        if not hits:
            return []
        rows = unit_rows(self._catalogue.history_rows([hit.item_id for hit in hits]))  # without `doubt`, which is no likeness
        relevance = np.array([hit.score for hit in hits])
        order = mmr(relevance, rows, k, self._settings.diversity)
        return _popular([hits[place] for place in order], np.maximum.accumulate(relevance[order][::-1])[::-1])

    def _beside(self, user: NDArray[np.float32] | None, hits: Sequence[Hit]) -> list[Candidate]:
        """Popular items beside a history: scored like the others, listed after them."""
        if user is None or not hits:
            return []
        scores = self._catalogue.rows([hit.item_id for hit in hits]) @ user
        order = np.argsort(-scores, kind="stable")
        return _popular([hits[place] for place in order], scores[order])


def _legs(vectors: Mapping[str, NDArray[np.float32]], words: str) -> list[Leg]:
    return [*(Dense(name, vector) for name, vector in vectors.items()), *([Lexical(words)] if words.strip() else [])]


def _history_alone(query: Query) -> bool:
    leg = query.legs[0]
    return len(query.legs) == 1 and query.filter is None and isinstance(leg, Dense) and leg.name == FUSED


def _candidate(hit: Hit, stated: bool) -> Candidate:
    """With `stated` the one source is the interests, whichever of their vectors or words found the item."""
    sources = {"interests": max(hit.sources.values(), default=hit.score)} if stated else dict(hit.sources)
    return Candidate(item_id=hit.item_id, score=hit.score, sources=sources)


def _popular(hits: Sequence[Hit], scores: NDArray[np.floating]) -> list[Candidate]:
    return [
        Candidate(item_id=hit.item_id, score=float(score), sources={POPULAR: hit.score})
        for hit, score in zip(hits, scores, strict=True)
    ]
