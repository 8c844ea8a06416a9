"""What was learned from known dialogues: which items they name together, and how much each feature counts.

A saved model is a folder: `dialogues.json` (weights, card) names a safetensors file (item ids and sessions) by the digest of its
content and is renamed into place last.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec.errors import WorkspaceError
from genrec.retrieval.dialogues_space import Sessions
from genrec.retrieval.vectors import write_named

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


@dataclass(frozen=True, slots=True, kw_only=True)
class DialogueModel:
    """`weights`: feature to nats a unit; one that is not there takes the weight of its kind (what stands before the colon).

    sessions   ids of the items that each known dialogue named
    seen       digests of the moments that it learned from
    card       how it was made
    """

    weights: Mapping[str, float]
    sessions: Sequence[Sequence[str]] = ()
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
        row_of = {item_id: row for row, item_id in enumerate(item_ids)}
        return Sessions.of([[row_of[one] for one in named if one in row_of] for named in self.sessions], len(item_ids))

    def save(self, folder: Path) -> str:
        """Write into `folder`, which is created; returns the digest. Raises WorkspaceError when the disk refuses."""
        from safetensors.numpy import save

        ids = sorted({item_id for named in self.sessions for item_id in named})
        row_of = {item_id: row for row, item_id in enumerate(ids)}
        tensors = {
            "offsets": np.concatenate([[0], np.cumsum([len(named) for named in self.sessions])]).astype(np.int64),
            "items": np.array([row_of[one] for named in self.sessions for one in named], np.int64),
        }
        manifest = {
            "schema": SCHEMA,
            "weights": dict(self.weights),
            "item_ids": ids,
            "seen": sorted(self.seen),
            "card": dict(self.card),
        }
        try:
            return write_named(folder, "dialogues", MANIFEST, save(tensors), manifest)[:16]
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
            manifest = json.loads(path.read_text(encoding="utf-8"))
            if manifest["schema"] != SCHEMA:
                raise WorkspaceError(f"{path}: schema {manifest['schema']}, this version reads {SCHEMA}", hint=RETRAIN)
            data = (folder / Path(manifest["tensors"]).name).read_bytes()
            if hashlib.sha256(data).hexdigest() != manifest["sha256"]:
                raise WorkspaceError(f"{folder / manifest['tensors']}: the file is damaged (its digest differs)", hint=RETRAIN)
            tensors, ids = load(data), manifest["item_ids"]
            bounds = tensors["offsets"]
            return cls(
                weights={str(name): float(value) for name, value in manifest["weights"].items()},
                sessions=[[ids[row] for row in tensors["items"][start:end]] for start, end in pairwise(bounds)],
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
