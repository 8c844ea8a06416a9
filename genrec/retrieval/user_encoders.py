"""A person's history as a vector of the index, and what each past item contributes: untrained and learned.

Likes and dislikes move the vector as in Rocchio's relevance feedback (1971): a liked item counts more in the mean of past items,
and the mean of the disliked ones is subtracted. What all histories have in common is added back: it is no fault of those items.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from genrec.retrieval.catalogue import Catalogue
from genrec.retrieval.event_features import sequences_of
from genrec.retrieval.feedback import Preferences, preferences_of
from genrec.retrieval.learned_retriever import LearnedItems, LearnedRetriever
from genrec.retrieval.mean_profile import UserVector, event_weights, leave_one_out, user_vector
from genrec.retrieval.modality_fusion import as_history
from genrec.settings.sections import FeedbackSettings, RetrievalSettings
from genrec.types import LIKE, Event

EXPLAINED = 16
"""How many of the latest past items the learned retriever is run without, one at a time; older ones hardly move it."""
DISLIKED = 50
"""How many of the latest dislikes push the vector away."""
TYPICAL = 256
"""How many of the most popular items stand for what histories have in common, in the learned retriever."""


class UserEncoder(Protocol):
    """Makes vectors of histories, which are ordered oldest first, with likes and dislikes as events among them.

    `learned` is the trained retriever where that makes the vectors.
    """

    @property
    def learned(self) -> LearnedRetriever | None: ...

    def known(self, history: Sequence[Event]) -> bool:
        """Whether the history says anything: one of its items has a vector and counts."""
        ...

    def vectors(self, histories: Sequence[Sequence[Event]]) -> list[NDArray[np.float32] | None]:
        """(D,) of length 1 for each, None for a history that says nothing."""
        ...

    def shares(self, history: Sequence[Event], item_ids: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        """Past items, and (n, H) in [-1, 1]: the share of each shown item's score that falls when a past item is left out."""
        ...


class MeanUserEncoder:
    """The recency-weighted mean of the latest items' fused vectors."""

    learned = None

    def __init__(
        self,
        catalogue: Catalogue,
        settings: RetrievalSettings,
        feedback: FeedbackSettings = FeedbackSettings(),  # noqa: B008 - frozen
    ) -> None:
        self._catalogue, self._settings, self._feedback = catalogue, settings, feedback
        people = catalogue.popularity.astype(np.float64)
        share = people / people.sum() if people.any() else np.full(len(people), 1.0 / max(1, len(people)))
        self._common = as_history((share @ catalogue.fused)[None].astype(np.float32))[0]  # what histories have in common

    def user(self, history: Sequence[Event]) -> UserVector | None:
        """None when none of the latest events has a vector and counts."""
        preferences, settings = preferences_of(history), self._settings
        known = self._catalogue.known([event.item_id for event in preferences.positive])
        latest = [event for event, there in zip(preferences.positive, known, strict=True) if there][-settings.history :]
        ids = [event.item_id for event in latest]
        if not ids:
            return None
        weights = event_weights(
            latest, half_life=settings.half_life, negative_value=settings.negative_value, like=self._feedback.like
        )
        return user_vector(ids, self._catalogue.history_rows(ids), weights, self._push(preferences))

    def _push(self, preferences: Preferences) -> NDArray[np.float32] | None:
        known = self._catalogue.known(preferences.disliked)
        disliked = [item_id for item_id, there in zip(preferences.disliked, known, strict=True) if there][-DISLIKED:]
        if not disliked or not self._feedback.dislike:
            return None
        return self._feedback.dislike * (self._common - self._catalogue.history_rows(disliked).mean(axis=0))

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


class LearnedUserEncoder:
    """The sequence encoder of a trained retriever."""

    def __init__(
        self,
        catalogue: Catalogue,
        learned: LearnedRetriever,
        items: LearnedItems,
        feedback: FeedbackSettings = FeedbackSettings(),  # noqa: B008 - frozen
    ) -> None:
        self.learned, self._items, self._feedback = learned, items, feedback
        self._item_ids = catalogue.vectors.item_ids
        there = np.any(items.rows != 0, axis=1)
        self._row_of = {item_id: row for row, item_id in enumerate(self._item_ids) if there[row]}
        self._mean = items.rows[there].mean(axis=0) if there.any() else items.rows.sum(axis=0)
        popular = np.argsort(-catalogue.popularity, kind="stable")
        self._typical = [self._item_ids[row] for row in popular if there[row]][:TYPICAL]

    def known(self, history: Sequence[Event]) -> bool:
        return any(event.item_id in self._row_of for event in preferences_of(history).positive)

    def vectors(self, histories: Sequence[Sequence[Event]]) -> list[NDArray[np.float32] | None]:
        rows = self._encode(histories)
        return [row if row.any() else None for row in rows]

    def shares(self, history: Sequence[Event], item_ids: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        """Of the network's score above that of the catalogue's average item, so that there is a zero to fall to.

        An item that scores no better than the average, or of which nothing is known, has share 0. Only the latest `EXPLAINED`
        items are left out.
        """
        taste = preferences_of(history).positive
        latest = dict.fromkeys(event.item_id for event in reversed(taste) if event.item_id in self._row_of)
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
        """(n, D) rows of length 1, zero for a history that says nothing."""
        preferences = [preferences_of(history) for history in histories]
        rows = self._rows([one.positive for one in preferences])
        for n, shift in self._shifts(preferences).items():
            if rows[n].any():
                row = rows[n] / rows[n, -2] + shift  # on the network's own scale
                rows[n] = row / np.linalg.norm(row)
        return rows

    def _rows(self, histories: Sequence[Sequence[Event]]) -> NDArray[np.float32]:
        return self.learned.people(sequences_of(histories, self._item_ids, self._row_of), self._items)

    def _shifts(self, preferences: Sequence[Preferences]) -> dict[int, NDArray[np.float32]]:
        """By position, what likes and dislikes add to a row (D,): a weighted sum of the rows of people who chose one item each.

        The weights of a history sum to 0: the bias of items is moved neither way.
        """
        wanted = [self._likes(one) | self._dislikes(one) for one in preferences]
        place = {item_id: n for n, item_id in enumerate(dict.fromkeys(item_id for one in wanted for item_id in one))}
        if not place:
            return {}
        rows = self._single_item_rows(list(place))
        if any(self._dislikes(one) for one in preferences):
            rows = np.concatenate([rows, self._common[None]])
        shifts = {}
        for n, one in enumerate(wanted):
            if one:
                weights = np.zeros(len(rows), np.float32)
                weights[[place[item_id] for item_id in one]] = list(one.values())
                if len(rows) > len(place):
                    weights[-1] = -weights.sum()  # adds back what the dislikes subtract
                shifts[n] = weights @ rows
        return shifts

    def _single_item_rows(self, item_ids: Sequence[str]) -> NDArray[np.float32]:
        """(n, D) rows, on the network's scale, of people who chose nothing but that item."""
        rows = self._rows([[Event(user_id="", item_id=item_id)] for item_id in item_ids])
        return rows / rows[:, -2:-1]

    @cached_property
    def _common(self) -> NDArray[np.float32]:
        """What histories have in common (D,), needed from the first dislike on."""
        return self._single_item_rows(self._typical).mean(axis=0)

    def _likes(self, preferences: Preferences) -> dict[str, float]:
        """Weight of each of the latest items with likes counting more, less its weight without; sums to 0."""
        latest = [event for event in preferences.positive if event.item_id in self._row_of][-EXPLAINED:]
        liked = [event.kind == LIKE for event in latest]
        if not any(liked) or all(liked) or self._feedback.like == 1:
            return {}
        plain, more = (
            event_weights(latest, half_life=self.learned.half_life, negative_value=1.0, like=like)
            for like in (1.0, self._feedback.like)
        )
        shift: dict[str, float] = {}
        for event, weight in zip(latest, more / more.sum() - plain / plain.sum(), strict=True):
            shift[event.item_id] = shift.get(event.item_id, 0.0) + float(weight)
        return shift

    def _dislikes(self, preferences: Preferences) -> dict[str, float]:
        known = [item_id for item_id in preferences.disliked if item_id in self._row_of][-DISLIKED:]
        return dict.fromkeys(known, -self._feedback.dislike / len(known)) if known and self._feedback.dislike else {}
