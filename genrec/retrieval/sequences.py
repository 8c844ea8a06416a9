"""Histories of many people as arrays: what retrievers and baselines are fitted on and score items for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from genrec.errors import DataError
from genrec.store.records import Interactions


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sequences:
    """n events of U people over N items; person u has the events `offsets[u]:offsets[u + 1]`, oldest first.

    item_ids    the whole catalogue, including items without events; `items` are positions in it
    values      (n,) float32, NaN where an event has none
    timestamps  (n,) float64, seconds or positions
    kinds       (n,) int16, positions in `kind_names`; platforms likewise
    """

    user_ids: tuple[str, ...]
    item_ids: tuple[str, ...]
    offsets: NDArray[np.int64]  # (U + 1,)
    items: NDArray[np.int32]
    timestamps: NDArray[np.float64]
    values: NDArray[np.float32]
    kinds: NDArray[np.int16]
    platforms: NDArray[np.int16]
    kind_names: tuple[str, ...] = ("",)
    platform_names: tuple[str, ...] = ("",)

    def __post_init__(self) -> None:
        n = len(self.items)
        columns = (self.timestamps, self.values, self.kinds, self.platforms)
        if (
            any(len(column) != n for column in columns)
            or self.offsets.shape != (len(self.user_ids) + 1,)
            or self.offsets[-1] != n
        ):
            raise DataError(f"sequences: columns or offsets do not fit {n} events of {len(self.user_ids)} people")
        if n and not 0 <= self.items.min() <= self.items.max() < len(self.item_ids):
            raise DataError(f"sequences: item numbers run to {self.items.max()}, the catalogue has {len(self.item_ids)} items")

    @classmethod
    def of(cls, events: Interactions, item_ids: Sequence[str]) -> "Sequences":
        """From the store. Events on items outside `item_ids` are left out; people stay, perhaps without events."""
        place = {item_id: n for n, item_id in enumerate(item_ids)}
        number = np.array([place.get(item_id, -1) for item_id in events.item_ids], dtype=np.int32)
        items = number[events.items] if len(number) else np.zeros(0, np.int32)
        known = items >= 0
        return cls(
            user_ids=tuple(events.user_ids),
            item_ids=tuple(item_ids),
            offsets=_offsets(events.users[known], len(events.user_ids)),
            items=items[known],
            timestamps=events.timestamps[known],
            values=events.values[known],
            kinds=events.kinds[known],
            platforms=events.platforms[known],
            kind_names=tuple(events.kind_names),
            platform_names=tuple(events.platform_names),
        )

    def __len__(self) -> int:
        """Number of events."""
        return len(self.items)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(U,) events of each person."""
        return np.diff(self.offsets)

    @property
    def users(self) -> NDArray[np.int64]:
        """(n,) position of each event's person."""
        return np.repeat(np.arange(len(self.user_ids)), self.lengths)

    @property
    def places(self) -> NDArray[np.int64]:
        """(n,) place of each event in its person's history, from 0."""
        return np.arange(len(self)) - np.repeat(self.offsets[:-1], self.lengths)

    def history(self, user: int) -> NDArray[np.int32]:
        """Items of one person, oldest first."""
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    def popularity(self) -> NDArray[np.int64]:
        """(N,) distinct people of each item."""
        pairs = np.unique(self.users * len(self.item_ids) + self.items)
        return np.bincount(pairs % max(1, len(self.item_ids)), minlength=len(self.item_ids)).astype(np.int64)

    def where(self, kept: NDArray[np.bool_]) -> "Sequences":
        """Only these events (n,); all people stay, perhaps without events."""
        return self._select(kept, self.user_ids, _offsets(self.users[kept], len(self.user_ids)))

    def take(self, users: NDArray[np.integer]) -> "Sequences":
        """Only these people, in this order."""
        lengths = self.lengths[users]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        events = np.repeat(self.offsets[:-1][users] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return self._select(events, tuple(self.user_ids[user] for user in users), offsets)

    def _select(self, events: NDArray, user_ids: tuple[str, ...], offsets: NDArray[np.int64]) -> "Sequences":
        columns = {name: getattr(self, name)[events] for name in ("items", "timestamps", "values", "kinds", "platforms")}
        return replace(self, user_ids=user_ids, offsets=offsets, **columns)


def _offsets(users: NDArray[np.integer], n_users: int) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(np.bincount(users, minlength=n_users))]).astype(np.int64)
