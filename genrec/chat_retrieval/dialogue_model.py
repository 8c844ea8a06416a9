"""What was learned from known dialogues: which items they name together, and how much each feature counts.

A saved model is a folder: `dialogues.json` (weights, card) names a safetensors file (item ids and sessions) by the digest of its
content and is renamed into place last.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from genrec.chat_retrieval.dialogue_features import Echoes, Sessions
from genrec.errors import WorkspaceError
from genrec.files import read_tensors, write_tensors

SCHEMA = 1
MANIFEST = "dialogues.json"
RETRAIN = "Run `genrec train dialogues` again, or delete the folder."

UNTRAINED: Mapping[str, float] = {
    "people": 0.2,
    "person": 5.0,
    "recent": 6.0,
    "whole": 3.0,
    "likeness": 3.0,
    "alike": 1.0,
    "wanted": 2.0,
    "near": 0.3,
}
"""Nats a unit of each feature where no dialogues were learned from; `alike`, `wanted` and `near` stand for every attribute."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MomentVectors:
    """T moments: `rows` (T, d) of the whole texts, ids of the items recommended then, the number of each one's dialogue (T,)."""

    rows: NDArray[np.float32]
    wanted: Sequence[Sequence[str]]
    sessions: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class DialogueModel:
    """`weights`: feature to nats a unit; one that is not there takes the weight of its kind (what stands before the colon).

    sessions   ids of the items that each known dialogue named
    heard      their moments; None where texts have no vectors
    seen       digests of the moments that it learned from
    card       how it was made
    """

    weights: Mapping[str, float]
    sessions: Sequence[Sequence[str]] = ()
    heard: MomentVectors | None = None
    seen: frozenset[str] = frozenset()
    card: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""

    @classmethod
    def untrained(cls) -> "DialogueModel":
        return cls(weights=UNTRAINED)

    @property
    def learned(self) -> bool:
        return bool(self.sessions)

    def weights_of(self, names: Sequence[str]) -> NDArray[np.float64]:
        """(F,) in the order of `names`; 0 for a feature that no weight is known of."""
        return np.array([self.weights.get(name, self.weights.get(name.partition(":")[0], 0.0)) for name in names])

    def sessions_over(self, item_ids: Sequence[str]) -> Sessions:
        """The known dialogues over a catalogue; items that it has not are left out."""
        return Sessions.of(_places(self.sessions, item_ids), len(item_ids))

    def echoes_over(self, item_ids: Sequence[str]) -> Echoes | None:
        """The known moments over a catalogue."""
        if self.heard is None or not len(self.heard.rows):
            return None
        offsets, columns = _flat(_places(self.heard.wanted, item_ids))
        wanted = sparse.csr_array((np.ones(len(columns)), columns, offsets), shape=(len(offsets) - 1, len(item_ids)))
        return Echoes(self.heard.rows.astype(np.float32), wanted, self.heard.sessions)

    def save(self, folder: Path) -> str:
        """Write into `folder`, which is created; returns the digest. Raises WorkspaceError when the disk refuses."""
        from safetensors.numpy import save

        heard = self.heard
        ids = sorted({item_id for named in (*self.sessions, *(heard.wanted if heard else ())) for item_id in named})
        offsets, columns = _flat(_places(self.sessions, ids))
        tensors: dict[str, NDArray] = {"offsets": offsets, "items": columns}
        if heard is not None:
            offsets, columns = _flat(_places(heard.wanted, ids))
            tensors |= {"heard/rows": heard.rows.astype(np.float16), "heard/sessions": heard.sessions}
            tensors |= {"heard/offsets": offsets, "heard/items": columns}
        manifest = {
            "schema": SCHEMA,
            "weights": dict(self.weights),
            "item_ids": ids,
            "seen": sorted(self.seen),
            "card": dict(self.card),
        }
        try:
            return write_tensors(folder, "dialogues", MANIFEST, save(tensors), manifest)[:16]
        except OSError as error:
            raise WorkspaceError(
                f"{folder}: what was learned from dialogues could not be written: {error}",
                hint="Free some space or mend the rights.",
            ) from error

    @classmethod
    def load(cls, folder: Path) -> "DialogueModel":
        """Read a saved model. Raises WorkspaceError when it is missing, damaged or of another version."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        path = folder / MANIFEST
        try:
            manifest, data = read_tensors(folder, MANIFEST, schema=SCHEMA, hint=RETRAIN)
            tensors, ids = load(data), manifest["item_ids"]
            heard = None
            if "heard/rows" in tensors:
                wanted = _named(tensors["heard/offsets"], tensors["heard/items"], ids)
                heard = MomentVectors(
                    rows=tensors["heard/rows"].astype(np.float32), wanted=wanted, sessions=tensors["heard/sessions"]
                )
            return cls(
                weights={str(name): float(value) for name, value in manifest["weights"].items()},
                sessions=_named(tensors["offsets"], tensors["items"], ids),
                heard=heard,
                seen=frozenset(manifest["seen"]),
                card=manifest["card"],
                digest=manifest["sha256"][:16],
            )
        except FileNotFoundError as error:
            raise WorkspaceError(f"{error.filename}: missing", hint=RETRAIN) from error
        except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, SafetensorError) as error:
            raise WorkspaceError(
                f"{path}: what was learned from dialogues cannot be read: {error!r:.300}", hint=RETRAIN
            ) from error


def _places(named: Sequence[Sequence[str]], item_ids: Sequence[str]) -> list[list[int]]:
    """Ids as places in `item_ids`; those that are not there are left out."""
    row_of = {item_id: row for row, item_id in enumerate(item_ids)}
    return [[row_of[one] for one in dict.fromkeys(each) if one in row_of] for each in named]


def _flat(places: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Offsets (n + 1,) and all places in one row."""
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in places])]).astype(np.int64)
    return offsets, np.array([place for one in places for place in one], np.int64)


def _named(offsets: NDArray[np.int64], columns: NDArray[np.int64], ids: Sequence[str]) -> list[list[str]]:
    return [[ids[int(row)] for row in columns[start:end]] for start, end in pairwise(offsets.tolist())]
