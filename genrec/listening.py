"""What finds items for a dialogue, out of a workspace: the model learned from dialogues, its features, the encoder of texts."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genrec.errors import WeightsError, WorkspaceError
from genrec.loading import same_weights
from genrec.progress import SILENT, Progress
from genrec.retrieval.catalogue import Catalogue
from genrec.retrieval.dialogues import DialogueRetriever
from genrec.retrieval.dialogues_model import MANIFEST, RETRAIN, DialogueModel
from genrec.retrieval.dialogues_space import DialogueSpace
from genrec.retrieval.people import People
from genrec.retrieval.vectors import TEXT
from genrec.types import Item
from genrec.workspace import Workspace

if TYPE_CHECKING:
    from genrec.models.encoders import TextEncoder

FOLDER = "dialogues"


def load_dialogue_model(workspace: Workspace) -> DialogueModel | None:
    """What was learned from dialogues; None where nothing was. Raises WorkspaceError when it is damaged."""
    folder = workspace.folder / FOLDER
    return DialogueModel.load(folder) if (folder / MANIFEST).exists() else None


def serving_model(workspace: Workspace) -> DialogueModel:
    """The learned one where it won on its own dialogues, cross-fitted; else the untrained one. Raises WorkspaceError."""
    model = load_dialogue_model(workspace)
    return model if model is not None and model.card.get("serves", True) else DialogueModel.untrained()


def dialogue_retriever(
    workspace: Workspace, catalogue: Catalogue, people: People, items: Sequence[Item], model: DialogueModel | None = None
) -> DialogueRetriever:
    """`items` in the order of the catalogue; without `model` the serving one. Raises WorkspaceError."""
    weighs = serving_model(workspace) if model is None else model
    return DialogueRetriever(workspace.index, space_of(catalogue, items, weighs), people, weighs)


def space_of(catalogue: Catalogue, items: Sequence[Item], model: DialogueModel) -> DialogueSpace:
    """The features of the catalogue with what the model knows. Raises WorkspaceError when it learned from another encoder."""
    trained, served = dict(model.card.get("models", {})).get(TEXT, ""), catalogue.vectors.models.get(TEXT, "")
    if trained and not same_weights(trained, served):
        raise WorkspaceError(f"what dialogues taught was read by {trained}, the catalogue's texts are by {served}", hint=RETRAIN)
    ids = catalogue.vectors.item_ids
    return DialogueSpace(catalogue, items, model.sessions_over(ids), model.echoes_over(ids))


@dataclass(frozen=True, slots=True)
class Speech:
    """The text encoder that made the catalogue's vectors, for what people say."""

    encoder: "TextEncoder"
    progress: Progress = SILENT

    def rows(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, d) unit rows."""
        return self.encoder.encode(texts, role="query", progress=self.progress)

    def tokens(self, texts: Sequence[str]) -> int:
        """How many the encoder reads."""
        return self.encoder.tokens(texts)


def speech_of(workspace: Workspace, catalogue: Catalogue, progress: Progress = SILENT) -> Speech | None:
    """None where the catalogue has no text vectors. Raises WeightsError when they were made by another encoder."""
    if TEXT not in catalogue.dims():
        return None
    encoder, made_by = workspace.text_encoder(progress), catalogue.vectors.models.get(TEXT, "")
    if not same_weights(encoder.id, made_by):
        hint = "Run `genrec build`, or set models.text back."
        raise WeightsError(f"the text vectors were made by {made_by}, the dialogue would be by {encoder.id}", hint=hint)
    return Speech(encoder, progress)


class Ears:
    """The dialogue retriever that serves a workspace, loaded when first needed. Safe to share among threads."""

    def __init__(self, workspace: Workspace, catalogue: Catalogue, people: People) -> None:
        self._workspace, self._catalogue, self._people = workspace, catalogue, people
        self._loading = threading.Lock()
        self._loaded: DialogueRetriever | None = None
        self._looked = False
        self.digest = ""
        """Of what was learned; empty before it is loaded, and where nothing serves."""

    def retriever(self) -> DialogueRetriever | None:
        """None where nothing was learned from dialogues, or what was lost to its baseline. Raises WorkspaceError, StoreError."""
        with self._loading:
            if not self._looked:
                model = load_dialogue_model(self._workspace)
                if model is not None and model.card.get("serves", True):
                    items = [item for batch in self._workspace.store.all_items() for item in batch]
                    known = {item.item_id: item for item in items}
                    ordered = [known.get(one, Item(item_id=one)) for one in self._catalogue.vectors.item_ids]
                    self._loaded = dialogue_retriever(self._workspace, self._catalogue, self._people, ordered, model)
                    self.digest = model.digest
                self._looked = True
            return self._loaded
