"""What the store answers with, besides the records of `genrec.types`."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What one write did; the three add up to the number of records given."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0

    def __add__(self, other: "Changes") -> "Changes":
        return Changes(
            added=self.added + other.added,
            updated=self.updated + other.updated,
            unchanged=self.unchanged + other.unchanged,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Size of the store. `users` have a row or an event; `platforms` are the distinct non-empty ones of items and events."""

    items: int
    users: int
    events: int
    platforms: int
    triples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionCounts:
    """`no_title`, `no_text`: items that have none, not even a human's; `captioned`: items with a caption by a model;
    `human`: items that a person wrote about.
    """

    no_title: int
    no_text: int
    captioned: int
    human: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What was deleted: `events`, whether there was a `profile` (a row of the user table), and dialogues."""

    events: int
    profile: bool
    sessions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A dialogue as it is stored. `user_id` is empty for somebody unknown; `version` counts the writes, from 1; `turns` is JSON;
    `updated_at` is seconds since 1970 UTC.
    """

    session_id: str
    user_id: str
    version: int
    turns: list[Any]
    updated_at: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Interactions:
    """The n events that say what people chose (see `genrec.types.NOT_TASTE`) as arrays, ordered by user, then timestamp, then
    insertion.

    user_ids, item_ids   sorted; every one has an event
    users, items         (n,) int32, positions in `user_ids` and `item_ids`
    values               (n,) float32, NaN where the event has no value
    timestamps           (n,) float64, seconds since 1970 UTC or positions
    kinds, platforms     (n,) int16, positions in `kind_names` and `platform_names`
    kind_names           sorted; every one occurs; `platform_names` likewise, "" among them if an event has no platform
    """

    user_ids: list[str]
    item_ids: list[str]
    users: npt.NDArray[np.int32]
    items: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]
    timestamps: npt.NDArray[np.float64]
    kinds: npt.NDArray[np.int16]
    kind_names: list[str]
    platforms: npt.NDArray[np.int16]
    platform_names: list[str]

    def __len__(self) -> int:
        return len(self.users)
