"""A person's history as a vector of the index, and what each past item contributes: untrained and learned."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from genrec.retrieval.catalogue import Catalogue
from genrec.retrieval.histories import sequences_of
from genrec.retrieval.learned import LearnedItems, LearnedRetriever
from genrec.retrieval.profile import UserVector, event_weights, leave_one_out, user_vector
from genrec.settings import RetrievalSettings
from genrec.types import Event

EXPLAINED = 16
"""The learned retriever is asked again without each of so many of the latest past items; older ones hardly move it."""


class People(Protocol):
    """Histories are ordered oldest first. `learned`: the trained retriever, where that makes the vectors."""

    @property
    def learned(self) -> LearnedRetriever | None: ...

    def known(self, history: Sequence[Event]) -> bool:
        """Whether the history says anything: one of its items has a vector and counts."""
        ...

    def vectors(self, histories: Sequence[Sequence[Event]]) -> list[NDArray[np.float32] | None]:
        """(D,) of length 1 each, None for a history that says nothing."""
        ...

    def shares(self, history: Sequence[Event], item_ids: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        """Past items, and (n, H) in [-1, 1]: the share of each shown item's score that falls when a past item is left out."""
        ...


class MeanPeople:
    """The recency-weighted mean of the latest items' fused vectors."""

    learned = None

    def __init__(self, catalogue: Catalogue, settings: RetrievalSettings) -> None:
        self._catalogue, self._settings = catalogue, settings

    def user(self, history: Sequence[Event]) -> UserVector | None:
        """None when none of the latest events has a vector and counts."""
        known = self._catalogue.known([event.item_id for event in history])
        latest = [event for event, there in zip(history, known, strict=True) if there][-self._settings.history :]
        ids = [event.item_id for event in latest]
        weights = event_weights(latest, half_life=self._settings.half_life, negative_value=self._settings.negative_value)
        return user_vector(ids, self._catalogue.history_rows(ids), weights) if ids else None

    def known(self, history: Sequence[Event]) -> bool:
        return self.user(history) is not None

    def vectors(self, histories: Sequence[Sequence[Event]]) -> list[NDArray[np.float32] | None]:
        found = [self.user(history) for history in histories]
        return [None if user is None else user.vector for user in found]

    def shares(self, history: Sequence[Event], item_ids: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        user = self.user(history)
        if user is None:
            return (), np.zeros((len(item_ids), 0), np.float32)
        return user.item_ids, leave_one_out(user, self._catalogue.rows(item_ids))


class LearnedPeople:
    """The sequence encoder of a trained retriever."""

    def __init__(self, catalogue: Catalogue, learned: LearnedRetriever, items: LearnedItems) -> None:
        self.learned, self._items = learned, items
        self._item_ids = catalogue.vectors.item_ids
        there = np.any(items.rows != 0, axis=1)
        self._row_of = {item_id: row for row, item_id in enumerate(self._item_ids) if there[row]}
        self._mean = items.rows[there].mean(axis=0) if there.any() else items.rows.sum(axis=0)

    def known(self, history: Sequence[Event]) -> bool:
        return any(event.item_id in self._row_of for event in history)

    def vectors(self, histories: Sequence[Sequence[Event]]) -> list[NDArray[np.float32] | None]:
        rows = self._encode(histories)
        return [row if row.any() else None for row in rows]

    def shares(self, history: Sequence[Event], item_ids: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        """The score is the network's, over that of the catalogue's average item: it so has a zero to fall to.

        An item that scores no better than the average, or of which nothing is known, has nothing to fall, share 0. Left out are
        the latest `EXPLAINED` items.
        """
        latest = dict.fromkeys(event.item_id for event in reversed(history) if event.item_id in self._row_of)
        past = tuple(list(latest)[:EXPLAINED][::-1])
        if not past or not item_ids:
            return past, np.zeros((len(item_ids), len(past)), np.float32)
        rows = self._encode([history, *[[event for event in history if event.item_id != left] for left in past]])
        alone = ~np.any(rows[1:] != 0, axis=1)  # a history of this one item: without it there is no score
        rows = np.divide(rows, rows[:, -2:-1], out=np.zeros_like(rows), where=rows[:, -2:-1] > 0)  # the network's own scale
        wanted = np.zeros((len(item_ids), rows.shape[1]), np.float32)
        there = np.array([item_id in self._row_of for item_id in item_ids])
        wanted[there] = self._items.rows[[self._row_of[item_id] for item_id in item_ids if item_id in self._row_of]] - self._mean
        scores = wanted @ rows.T  # (n, 1 + H)
        whole = scores[:, :1]
        fall = np.divide(whole - scores[:, 1:], whole, out=np.zeros_like(scores[:, 1:]), where=whole > 1e-9)
        fall[:, alone] = whole > 1e-9
        return past, np.clip(fall, -1.0, 1.0).astype(np.float32)

    def _encode(self, histories: Sequence[Sequence[Event]]) -> NDArray[np.float32]:
        return self.learned.people(sequences_of(histories, self._item_ids, self._row_of), self._items)
