"""The store into vectors and the index: what `genrec build` calls."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from genrec.errors import DataError, ModelError, WorkspaceError
from genrec.files import read_json, write_json
from genrec.filters import Field, fields_of
from genrec.index.protocol import IndexSpec, Point, VectorIndex
from genrec.progress import SILENT, Progress, track
from genrec.retrieval.behaviour import behaviour_vectors
from genrec.retrieval.catalogue import Catalogue
from genrec.retrieval.expected_text import expected_text
from genrec.retrieval.item_vectors import ModalityVectors
from genrec.types import Item
from genrec.workspace.folder import Workspace
from genrec.workspace.item_text import item_text, worded_all
from genrec.workspace.load import (
    POPULARITY,
    encode_learned,
    retriever_name,
    same_weights,
    schema_of,
    served_retriever,
)
from genrec.workspace.manifest import BuildManifest, fusion_settings, vectors_digest

POINTS = 512
DIGESTS = "digests.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a build made. `encoded`: items encoded anew by modality; `missing`: modalities left out, and why;
    `retriever`: whose vectors find candidates.
    """

    items: int
    vectors: Mapping[str, int]
    encoded: Mapping[str, int]
    missing: Mapping[str, str]
    retriever: str
    seconds: float


def build(workspace: Workspace, progress: Progress = SILENT) -> Built:
    """Encode what is new or changed, make the behaviour vectors, fill the index. Safe to run again after any interruption.

    A modality whose weights cannot be had keeps the vectors it has, for items that are as they were, and is named in
    `missing`. Raises DataError when there are no items or nothing to encode, StoreError, IndexFault, WorkspaceError; up to
    the filling of the index the last build stays in force.
    """
    start = time.perf_counter()
    items = [item for batch in workspace.store.all_items() for item in batch]
    if not items:
        raise DataError("there are no items to build from", hint="Run `genrec ingest` with --items first.")
    captions = (caption for batch in workspace.store.all_captions() for caption in batch)
    worded = worded_all(items, captions)
    texts = {item.item_id: item_text(item) for item in worded}
    work = _Build(workspace, items, texts, progress)
    work.modality("text", lambda item: _text_digest(texts[item.item_id]), work.encode_texts)
    work.modality("image", lambda item: item.image or "", work.encode_images)
    popularity = work.behaviour()
    if not work.present or not any(mask.any() for mask in work.present.values()):
        reasons = "; ".join(f"{name}: {why}" for name, why in work.missing.items())
        raise DataError(f"no item got a vector ({reasons or 'no text and no events'})", hint="Run `genrec doctor`.")
    written = np.array([bool({"title", "text"} & set(item.generated)) for item in items])
    ids, likely = tuple(item.item_id for item in items), work.likely(worded, written)
    vectors = ModalityVectors(ids, work.matrices, work.present, work.models, written, likely)
    vectors.save(workspace.vectors)
    write_json(workspace.vectors / DIGESTS, work.digests)
    write_json(workspace.vectors / POPULARITY, popularity.tolist())
    learned = served_retriever(workspace)
    catalogue = Catalogue(vectors, popularity, workspace.settings.retrieval)
    if learned:
        rows = encode_learned(workspace, learned, items, vectors, catalogue.fused)
        catalogue = Catalogue(vectors, popularity, workspace.settings.retrieval, rows)
    workspace.build_file.unlink(missing_ok=True)  # until the end the index is neither the old one nor the new
    fill(workspace.index, items, texts, catalogue, schema_of(workspace), progress)
    BuildManifest(
        items=len(items),
        vectors=vectors_digest(workspace),
        fusion=fusion_settings(workspace),
        retriever=learned.digest if learned else "",
        models=work.models,
        missing=work.missing,
    ).write(workspace)
    return Built(
        items=len(items),
        vectors=catalogue.dims(),
        encoded=work.encoded,
        missing=work.missing,
        retriever=retriever_name(learned),
        seconds=time.perf_counter() - start,
    )


def fill(
    index: VectorIndex,
    items: Sequence[Item],
    texts: Mapping[str, str],
    catalogue: Catalogue,
    fields: Mapping[str, Field],
    progress: Progress,
) -> None:
    """Make the index anew from the catalogue's vectors; `texts`: by item id, what is searched. Raises IndexFault."""
    words = sum(len(texts[item.item_id].split()) for item in items) / len(items)
    index.recreate(IndexSpec(vectors=catalogue.dims(), fields=fields, mean_tokens=max(1.0, words)))
    starts = range(0, len(items), POINTS)
    for start in track(progress, "indexing", starts, len(starts)):
        index.upsert(
            [
                Point(
                    item_id=item.item_id,
                    vectors=catalogue.point(item.item_id),
                    text=texts[item.item_id],
                    payload=fields_of(item),
                )
                for item in items[start : start + POINTS]
            ]
        )
    index.finish()


def _text_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16] if text else ""


@dataclass(slots=True)
class _Build:
    """The state of one build."""

    workspace: Workspace
    items: list[Item]
    texts: Mapping[str, str]
    progress: Progress
    matrices: dict[str, np.ndarray] = field(default_factory=dict)
    present: dict[str, np.ndarray] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    digests: dict[str, dict[str, str]] = field(default_factory=dict)
    encoded: dict[str, int] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def modality(
        self,
        name: Literal["text", "image"],
        digest: Callable[[Item], str],
        encode: Callable[[list[Item]], tuple[str, np.ndarray, np.ndarray]],
    ) -> None:
        """Add the vectors of one modality; rows whose content and model are those of the last build are taken over."""
        wanted = {item.item_id: mark for item in self.items if (mark := digest(item))}
        if not wanted:
            return
        if not getattr(self.workspace.settings.models, name):
            self.missing[name] = f"models.{name} is empty"
            return
        old = self._last(name, wanted)
        todo = [item for item in self.items if item.item_id in wanted and item.item_id not in old]
        fresh: dict[str, np.ndarray] = {}
        if todo:
            try:
                self.models[name], rows, ok = encode(todo)
                fresh = {item.item_id: row for item, row, good in zip(todo, rows, ok, strict=True) if good}
            except ModelError as error:
                self.missing[name] = f"{f'{len(todo)} new or changed items: ' if old else ''}{error} {error.hint}".strip()
                if not old:
                    return
        found = old | fresh
        self.encoded[name] = len(fresh)
        self.digests[name] = {item_id: wanted[item_id] for item_id in found}
        if not found:
            return
        matrix = np.zeros((len(self.items), len(next(iter(found.values())))), dtype=np.float32)
        mask = np.zeros(len(self.items), dtype=bool)
        for row, item in enumerate(self.items):
            if item.item_id in found:
                matrix[row], mask[row] = found[item.item_id], True
        self.matrices[name], self.present[name] = matrix, mask

    def likely(self, worded: Sequence[Item], written: np.ndarray) -> np.ndarray | None:
        """Where people's texts about the `written` (N,) items would lie; None without a text of either kind."""
        present = self.present.get("text")
        if present is None or not (present & written).any() or not (present & ~written).any():
            return None
        return expected_text(worded, self.matrices["text"], present & ~written, written)

    def _last(self, name: Literal["text", "image"], wanted: Mapping[str, str]) -> dict[str, np.ndarray]:
        """Rows of the last build that still hold; none when the model changed or the files are damaged."""
        try:
            vectors = ModalityVectors.load(self.workspace.vectors)
            digests = read_json(self.workspace.vectors / DIGESTS, hint="")
        except WorkspaceError:
            return {}  # nothing there yet, or damaged: encode everything
        marks = digests.get(name) if isinstance(digests, dict) else None
        made_by = vectors.models.get(name, "")
        if name not in vectors.matrices or not isinstance(marks, dict) or not self._same_model(name, made_by):
            return {}
        matrix, mask = vectors.matrices[name], vectors.present[name]
        old = {
            item_id: matrix[row]
            for row, item_id in enumerate(vectors.item_ids)
            if mask[row] and item_id in wanted and wanted[item_id] == marks.get(item_id)
        }
        if old:
            self.models[name] = made_by
        return old

    def _same_model(self, name: Literal["text", "image"], made_by: str) -> bool:
        """Whether these weights made the old vectors; weights that cannot be had now are known by their name alone."""
        try:
            return same_weights(self.workspace.model_id(name, self.progress), made_by)
        except ModelError:
            return made_by.rpartition("@")[0] == getattr(self.workspace.settings.models, name)

    def encode_texts(self, items: list[Item]) -> tuple[str, np.ndarray, np.ndarray]:
        encoder = self.workspace.text_encoder(self.progress)
        rows = encoder.encode([self.texts[item.item_id] for item in items], progress=self.progress)
        return encoder.id, rows, np.ones(len(items), dtype=bool)

    def encode_images(self, items: list[Item]) -> tuple[str, np.ndarray, np.ndarray]:
        encoder = self.workspace.image_encoder(self.progress)
        paths = [self.workspace.folder / str(item.image) for item in items]
        rows, ok = encoder.encode_images(paths, progress=self.progress)
        return encoder.id, rows, ok

    def behaviour(self) -> np.ndarray:
        """Add the behaviour vectors; returns how many people chose each item, (N,) int64."""
        settings = self.workspace.settings.retrieval
        events = self.workspace.store.interactions()
        row_of = {item.item_id: row for row, item in enumerate(self.items)}
        places = np.array([row_of.get(item_id, -1) for item_id in events.item_ids], dtype=np.int64)
        rows = places[events.items] if len(events.item_ids) else np.zeros(0, dtype=np.int64)
        known = rows >= 0
        behaviour = behaviour_vectors(
            events.users[known],
            rows[known],
            events.timestamps[known],
            n_items=len(self.items),
            dim=settings.behaviour_dim,
            half_life=settings.behaviour_half_life,
        )
        if behaviour.vectors.shape[1]:
            self.matrices["behaviour"], self.present["behaviour"] = behaviour.vectors, behaviour.present
            self.models["behaviour"] = f"spectral-{behaviour.vectors.shape[1]}"
        return behaviour.popularity
