"""Candidates for a dialogue: one call of the vector engine finds a pool, features of the dialogue order it.

The pool is what the engine finds by the person (mentions and history), by the meaning and by the words of the latest turns, what
is popular, and what known dialogues name beside the items of this one. Filters and exclusions hold in the engine for all of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from genrec.errors import ConfigError
from genrec.filters import And, Filter, In
from genrec.index.protocol import Dense, Leg, Lexical, Query, VectorIndex
from genrec.retrieval.catalogue import FUSED, MOST_POPULAR, POPULAR
from genrec.retrieval.dialogues_model import DialogueModel
from genrec.retrieval.dialogues_space import DialogueSpace, Said
from genrec.retrieval.people import People
from genrec.retrieval.vectors import TEXT
from genrec.types import Candidate, Event

DIALOGUE = "dialogue"
"""Name of the score in `Candidate.sources`."""
POOL = 600
"""Fewest items that are found before they are ordered; half as many again of each other kind."""
RECENT = 3
"""Latest turns that `recent` reads."""
MOST_CHARS = 1500
"""Of the turns that `whole` reads, the latest."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DialogueAsk:
    """`history`: events, oldest first, mentions of the dialogue last; what is disliked must not be among them. `exclude`: items
    that may not be found; neither history nor mentions are left out of themselves.
    """

    said: Said
    history: Sequence[Event] = ()
    filter: Filter | None = None
    exclude: frozenset[str] = frozenset()


def texts_of(turns: Sequence[str]) -> tuple[str, str]:
    """What a text encoder is to read: the latest turns, and all of them. Both empty when nothing was said."""
    told = [turn.strip() for turn in turns if turn.strip()]
    return " ".join(told[-RECENT:]), " ".join(told)[-MOST_CHARS:]


class DialogueRetriever:
    """Finds candidates in `index`, which holds the catalogue of `space`. `people` makes vectors of histories; `model` weighs."""

    def __init__(self, index: VectorIndex, space: DialogueSpace, people: People, model: DialogueModel) -> None:
        self._index, self._space, self._people, self._model = index, space, people, model
        self._weights = model.weights_of(space.names)

    def candidates(self, asks: Sequence[DialogueAsk], k: int) -> list[list[Candidate]]:
        """At most k candidates each, best first, ties by item id. `score` is log p(item) over the pool, nats; fewer than k when
        filters and exclusions leave fewer. Raises ConfigError for k < 1, IndexFault from the engine.
        """
        if k < 1:
            raise ConfigError(f"{k} candidates were asked for", hint="Ask for at least 1.")
        users = self._people.vectors([ask.history for ask in asks])
        plans = [self._queries(ask, user, max(k, POOL)) for ask, user in zip(asks, users, strict=True)]
        found = iter(self._index.search([query for plan in plans for query in plan]))
        answers = []
        for ask, user, plan in zip(asks, users, plans, strict=True):
            pool: dict[str, dict[str, float]] = {}
            for _ in plan:
                for hit in next(found):
                    pool.setdefault(hit.item_id, {}).update(hit.sources)
            answers.append(self._ordered(ask, user, pool, k))
        return answers

    def _queries(self, ask: DialogueAsk, user: NDArray[np.float32] | None, pool: int) -> list[Query]:
        legs: list[Leg] = [] if user is None else [Dense(FUSED, user)]
        if ask.said.rows is not None:
            legs += [Dense(TEXT, row) for row in ask.said.rows if row.any()]
        recent, _ = texts_of(ask.said.turns)
        wanted = " ".join(value for _, value in ask.said.wanted)
        legs += [Lexical(f"{recent} {wanted}")] if recent or wanted else []
        # each by itself: what one way finds may be far down in all others
        queries = [Query(legs=[leg], limit=pool // 2, filter=ask.filter, exclude=ask.exclude) for leg in legs]
        popular = [Dense(POPULAR, MOST_POPULAR)]
        queries.append(Query(legs=popular, limit=pool // 2, filter=ask.filter, exclude=ask.exclude))
        beside = self._space.neighbours(ask.said, pool)
        if beside and self._model.learned:
            among = In("item_id", tuple(beside))
            both = among if ask.filter is None else And((ask.filter, among))
            queries.append(Query(legs=popular, limit=pool, filter=both, exclude=ask.exclude))
        return queries

    def _ordered(
        self, ask: DialogueAsk, user: NDArray[np.float32] | None, pool: dict[str, dict[str, float]], k: int
    ) -> list[Candidate]:
        ids = sorted(pool)
        if not ids:
            return []
        rows = np.array([self._space.catalogue.vectors.index_of(item_id) for item_id in ids], np.int64)
        score = log_softmax(self._space.features(ask.said, user, rows).astype(np.float64) @ self._weights)
        return [
            Candidate(item_id=ids[place], score=float(score[place]), sources={**pool[ids[place]], DIALOGUE: float(score[place])})
            for place in np.argsort(-score, kind="stable")[:k]
        ]
