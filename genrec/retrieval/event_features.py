"""Events as the numbers that the sequence encoder reads. Training and serving use the same functions."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec.retrieval.sequences import Sequences
from genrec.types import LIKE, Event

GAPS = 16
"""Buckets of the time between two events: 0 for none or the first event, then one for each factor of 4 in seconds (or places)."""
GAP_BASE = 4.0
VALUES = 12
"""Buckets of the value: 0 for none, then its difference from the person's mean so far, from -2 to 2 times `spread`."""
LIKED = 9
"""The bucket of one `spread` above the mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSpace:
    """What a model knows of events: names of kinds and platforms (0 stands for any other), and how values vary.

    `spread` is the standard deviation of all values around their person's mean; 0 when there are none or they never differ.
    `liked` is the bucket that stands for a `like`, which has no value of its own: the 90th percentile of all values' buckets.
    """

    kinds: tuple[str, ...]
    platforms: tuple[str, ...]
    spread: float
    liked: int = LIKED

    @classmethod
    def fit(cls, train: Sequences) -> "EventSpace":
        known = np.isfinite(train.values)
        users, values = train.users[known], train.values[known].astype(np.float64)
        count = np.maximum(np.bincount(users, minlength=len(train.user_ids)), 1)
        mean = np.bincount(users, values, minlength=len(train.user_ids)) / count
        spread = float(np.std(values - mean[users])) if len(values) else 0.0
        kinds = [train.kind_names[n] for n in np.unique(train.kinds)]
        platforms = [train.platform_names[n] for n in np.unique(train.platforms)]
        space = cls(kinds=tuple(kinds), platforms=tuple(platforms), spread=spread if spread > 1e-6 else 0.0)
        buckets = space._values(train)
        return replace(space, liked=int(np.quantile(buckets[buckets > 0], 0.9))) if buckets.any() else space

    def columns(self, sequences: Sequences) -> dict[str, NDArray[np.int64]]:
        """`items`, `gaps`, `kinds`, `values`, `platforms`, each (n,) int64, of all events."""
        kinds = _numbers([self._known_kind(name) for name in sequences.kind_names], self.kinds)
        platforms = _numbers(sequences.platform_names, self.platforms)
        return {
            "items": sequences.items.astype(np.int64),
            "gaps": _gaps(sequences),
            "kinds": kinds[sequences.kinds],
            "values": self._values(sequences),
            "platforms": platforms[sequences.platforms],
        }

    def _known_kind(self, name: str) -> str:
        """A like, where training saw none, counts as an event of the one kind that training saw, if there was only one."""
        return self.kinds[0] if name == LIKE and name not in self.kinds and len(self.kinds) == 1 else name

    def _values(self, sequences: Sequences) -> NDArray[np.int64]:
        """0 without a value, else the bucket of its difference from the person's mean up to that event; `liked` for a like."""
        known = np.isfinite(sequences.values)
        if not self.spread:
            return np.zeros(len(sequences), np.int64)
        filled = np.where(known, sequences.values, 0.0).astype(np.float64)
        mean = _running(filled, sequences) / np.maximum(_running(known.astype(np.float64), sequences), 1.0)
        place = np.clip((filled - mean) / self.spread, -2.0, 2.0) / 4.0 + 0.5  # [0, 1]
        likes = np.array([name == LIKE for name in sequences.kind_names] or [False])[sequences.kinds]
        buckets = 1 + np.minimum((place * (VALUES - 1)).astype(np.int64), VALUES - 2)
        return np.where(known, buckets, np.where(likes, self.liked, 0))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "EventSpace":
        liked = int(data.get("liked", LIKED))  # absent in retrievers that were trained before likes existed
        return cls(kinds=tuple(data["kinds"]), platforms=tuple(data["platforms"]), spread=float(data["spread"]), liked=liked)


def sequences_of(histories: Sequence[Sequence[Event]], item_ids: Sequence[str], row_of: dict[str, int]) -> Sequences:
    """Events of the store as `Sequences`; events on items outside `row_of` are left out."""
    known = [[event for event in history if event.item_id in row_of] for history in histories]
    flat = [event for history in known for event in history]
    kinds, platforms = sorted({event.kind for event in flat}), sorted({event.platform for event in flat})
    kind_of, platform_of = {k: n for n, k in enumerate(kinds)}, {p: n for n, p in enumerate(platforms)}
    return Sequences(
        user_ids=tuple(map(str, range(len(known)))),
        item_ids=tuple(item_ids),
        offsets=np.concatenate([[0], np.cumsum([len(history) for history in known])]).astype(np.int64),
        items=np.array([row_of[event.item_id] for event in flat], np.int32),
        timestamps=np.array([event.timestamp for event in flat], np.float64),
        values=np.array([np.nan if event.value is None else event.value for event in flat], np.float32),
        kinds=np.array([kind_of[event.kind] for event in flat], np.int16),
        platforms=np.array([platform_of[event.platform] for event in flat], np.int16),
        kind_names=tuple(kinds),
        platform_names=tuple(platforms),
    )


def _numbers(names: Sequence[str], known: Sequence[str]) -> NDArray[np.int64]:
    number = {name: n for n, name in enumerate(known, 1)}
    return np.array([number.get(name, 0) for name in names] or [0], np.int64)


def _gaps(sequences: Sequences) -> NDArray[np.int64]:
    gap = np.diff(sequences.timestamps, prepend=0.0)
    gap[sequences.places == 0] = 0.0
    bucket = np.zeros(len(gap), np.int64)
    after = gap > 0
    bucket[after] = 1 + np.clip(np.floor(np.log(gap[after]) / np.log(GAP_BASE)), 0, GAPS - 2).astype(np.int64)
    return bucket


def _running(values: NDArray[np.float64], sequences: Sequences) -> NDArray[np.float64]:
    """Sum over the person's events up to each one, itself included."""
    total = np.cumsum(values)
    start = sequences.offsets[:-1]
    before = np.concatenate([[0.0], total])[start]
    return total - np.repeat(before, sequences.lengths)
