"""The trained retriever as serving sees it: items and people as unit rows whose cosines rank items as the network's scores do.

A saved retriever is a folder: `retriever.json` (sizes, feature space, event space, how it was trained) names a safetensors file
by the digest of its content, and is renamed into place last.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genrec.errors import DataError, WorkspaceError
from genrec.files import read_tensors, write_tensors, write_whole
from genrec.retrieval.event_features import EventSpace
from genrec.retrieval.item_features import FeatureSpace, ItemFeatures
from genrec.retrieval.mean_profile import recency_means
from genrec.retrieval.modality_fusion import as_history
from genrec.retrieval.sequences import Sequences
from genrec.retrieval.systems import Content

if TYPE_CHECKING:
    from genrec.models.two_tower import EventTensors, ItemTensors, TwoTower

SCHEMA = 1
MANIFEST = "retriever.json"
ITEMS = "learned.safetensors"
REBUILD = "Run `genrec build`."
RETRAIN = "Run `genrec train retriever` again."
PEOPLE = 256
"""How many people are encoded at a time."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LearnedItems:
    """N items as the network sees them.

    vectors  (N, D) float32, as parts of a history
    history  (N, E) float32, the untrained retriever's, as parts of a history; E = 0 where that retriever is not used
    rows     (N, D + E + 2) float32, length 1: the vector to find, the untrained one times `anchor` and the bias, divided by the
             largest length of any item, then the rest that makes the length 1
    gates    mean gate weight of each part over the items
    """

    vectors: NDArray[np.float32]
    history: NDArray[np.float32]
    rows: NDArray[np.float32]
    gates: Mapping[str, float]

    def save(self, folder: Path) -> None:
        """One file in `folder`, which is created. Raises WorkspaceError when the disk refuses."""
        from safetensors.numpy import save

        tensors = {"vectors": self.vectors, "history": self.history, "rows": self.rows}
        data = save(tensors, metadata={"gates": json.dumps(dict(self.gates))})
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / ITEMS, data)
        except OSError as error:
            raise WorkspaceError(f"{folder / ITEMS}: {error}", hint="Free some space or mend the rights.") from error

    @classmethod
    def load(cls, folder: Path) -> "LearnedItems":
        """Raises WorkspaceError when the file is missing or damaged."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(folder / ITEMS, "numpy") as file:
                gates = json.loads((file.metadata() or {}).get("gates", "{}"))
                return cls(**{name: file.get_tensor(name) for name in ("vectors", "history", "rows")}, gates=gates)
        except (OSError, ValueError, SafetensorError) as error:
            raise WorkspaceError(f"{folder / ITEMS}: the learned rows cannot be read: {error}", hint=REBUILD) from error


@dataclass(slots=True, kw_only=True, eq=False)
class LearnedRetriever:
    """A trained network, the feature spaces that make its inputs, and the untrained retriever that it is anchored to.

    length     how many of the latest events the network reads
    anchor     score = network's + anchor · cosine in the untrained retriever's space; chosen on validation
    half_life  recency of the untrained retriever's profile, in events, over the `latest` ones
    """

    network: "TwoTower"
    features: FeatureSpace
    events: EventSpace
    length: int
    anchor: float = 0.0
    half_life: float = 2.0
    latest: int = 50
    card: dict[str, Any] = field(default_factory=dict)
    digest: str = ""

    def encode(self, content: Content, fused: NDArray[np.float32] | None = None, *, new_item_bonus: float = 0.0) -> LearnedItems:
        """All items of the catalogue. `fused` (N, E): the untrained retriever's rows, needed unless `anchor` is 0.

        `new_item_bonus`, in nats, goes to the bias of an item without a row in the id table. Raises DataError without `fused`.
        """
        import torch

        found = self.features.encode(content)
        self.network.eval()
        with torch.inference_mode():
            vectors, shown, bias, gates = self.network.items(item_tensors(found, self.device))
        parts = self.network.item_encoder.parts
        score = bias.cpu().numpy().astype(np.float64) + new_item_bonus * (found.numbers < 0)
        if self.anchor and fused is None:
            raise DataError("the retriever is anchored to the untrained one, whose rows are not given")
        anchored = fused if fused is not None and self.anchor else np.zeros((len(found), 0), np.float32)
        wide = np.concatenate([shown.cpu().numpy().astype(np.float64), self.anchor * anchored, score[:, None]], axis=1)
        known = (gates > 0).any(dim=1).cpu().numpy()  # an item without any feature is not found
        wide = wide / max(float(np.linalg.norm(wide, axis=1).max(initial=0.0)), 1e-12)
        rest = np.sqrt(np.maximum(1.0 - (wide**2).sum(axis=1), 0.0))
        rows = np.concatenate([wide, rest[:, None]], axis=1) * known[:, None]
        return LearnedItems(
            vectors=(vectors.cpu().numpy() * known[:, None]).astype(np.float32),
            history=as_history(anchored) if self.anchor else anchored,
            rows=rows.astype(np.float32),
            gates={name: float(weight) for name, weight in zip(parts, gates[known].mean(0).tolist(), strict=True)},
        )

    def people(self, histories: Sequences, items: LearnedItems) -> NDArray[np.float32]:
        """(U, D + E + 2) rows of length 1, zero for people without events."""
        import torch

        width = items.vectors.shape[1]
        rows = np.zeros((len(histories.user_ids), items.rows.shape[1]), np.float32)
        columns = self.events.columns(histories)  # of all events, as in training, though only the latest are read
        lengths = np.minimum(histories.lengths, self.length)
        there = np.flatnonzero(lengths)
        there = there[np.argsort(lengths[there], kind="stable")]  # similar lengths together: little padding
        vectors = torch.from_numpy(items.vectors).to(self.device)
        self.network.eval()
        with torch.inference_mode():
            for start in range(0, len(there), PEOPLE):
                users = there[start : start + PEOPLE]
                events = event_tensors(columns, histories.offsets[users + 1] - lengths[users], lengths[users], self.device)
                states = self.network.people(vectors, events)
                last = states[torch.arange(len(users)), events.lengths - 1]
                rows[users, :width] = last.float().cpu().numpy()
        if self.anchor:
            rows[:, width:-2] = recency_means(items.history, histories, self.half_life, self.latest)
        rows[there, -2] = 1.0
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)

    @property
    def device(self) -> Any:
        return next(self.network.parameters()).device

    def save(self, folder: Path) -> None:
        """Write into `folder`, which is created; sets `digest`. Raises WorkspaceError when the disk refuses."""
        import torch
        from safetensors.torch import save

        tensors = {f"network/{name}": tensor.detach().cpu().contiguous() for name, tensor in self.network.state_dict().items()}
        tensors |= {f"means/{name}": torch.from_numpy(mean.copy()) for name, mean in self.features.means.items()}
        data = save(tensors)
        manifest = {
            "schema": SCHEMA,
            "network": self.network.config.to_json(),
            "features": self.features.to_json(),
            "events": self.events.to_json(),
            "length": self.length,
            "anchor": self.anchor,
            "half_life": self.half_life,
            "latest": self.latest,
            "card": self.card,
        }
        try:
            digest = write_tensors(folder, "retriever", MANIFEST, data, manifest)
        except OSError as error:
            raise WorkspaceError(
                f"{folder}: the retriever could not be written: {error}", hint="Free some space or mend the rights."
            ) from error
        self.digest = digest[:16]

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> "LearnedRetriever":
        """Read a saved retriever. Raises WorkspaceError when it is missing, damaged or of another version."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        from genrec.models.two_tower import NetworkConfig, TwoTower

        path = folder / MANIFEST
        try:
            manifest, data = read_tensors(folder, MANIFEST, schema=SCHEMA, hint=RETRAIN)
            tensors = load(data)
            means = {name.removeprefix("means/"): t.numpy() for name, t in tensors.items() if name.startswith("means/")}
            weights = {name.removeprefix("network/"): t for name, t in tensors.items() if name.startswith("network/")}
            network = TwoTower(NetworkConfig(**manifest["network"]))
            network.load_state_dict(weights)
            return cls(
                network=network.to(device).eval(),
                features=FeatureSpace.from_json(manifest["features"], means),
                events=EventSpace.from_json(manifest["events"]),
                length=int(manifest["length"]),
                anchor=float(manifest["anchor"]),
                half_life=float(manifest["half_life"]),
                latest=int(manifest["latest"]),
                card=manifest["card"],
                digest=manifest["sha256"][:16],
            )
        except FileNotFoundError as error:
            raise WorkspaceError(f"{error.filename}: missing", hint=RETRAIN) from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
            raise WorkspaceError(f"{path}: the retriever cannot be read: {error!r:.300}", hint=RETRAIN) from error


def item_tensors(features: ItemFeatures, device: Any) -> "ItemTensors":
    """Features on a device."""
    import torch

    from genrec.models.two_tower import ItemTensors

    counts = np.diff(features.offsets)
    return ItemTensors(
        dense={name: torch.from_numpy(matrix).to(device) for name, matrix in features.dense.items()},
        present={name: torch.from_numpy(mask).to(device) for name, mask in features.present.items()},
        numbers=torch.from_numpy(features.numbers).to(device),
        owners=torch.from_numpy(np.repeat(np.arange(len(counts)), counts)).to(device),
        entities=torch.from_numpy(features.entities).to(device),
        relations=torch.from_numpy(features.relations).to(device),
    )


def event_tensors(
    columns: Mapping[str, NDArray[np.int64]], starts: Sequence[int] | NDArray, lengths: NDArray, device: Any
) -> "EventTensors":
    """Spans of events, `starts[b] : starts[b] + lengths[b]` of the columns, as (B, longest) tensors padded with zeros."""
    import torch

    from genrec.models.two_tower import EventTensors

    place = np.arange(int(max(lengths)))
    inside = place[None] < np.asarray(lengths)[:, None]
    index = np.where(inside, np.asarray(starts)[:, None] + place[None], 0)
    padded = {name: torch.from_numpy(np.where(inside, column[index], 0)).to(device) for name, column in columns.items()}
    return EventTensors(**padded, lengths=torch.from_numpy(np.asarray(lengths, np.int64)).to(device))
