"""What finds items for a dialogue, out of a workspace: the model learned from dialogues, its features, the encoder of texts."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from genrec.errors import WeightsError
from genrec.loading import same_weights
from genrec.progress import SILENT, Progress
from genrec.retrieval.catalogue import Catalogue
from genrec.retrieval.dialogues import DialogueRetriever
from genrec.retrieval.dialogues_model import MANIFEST, DialogueModel
from genrec.retrieval.dialogues_space import DialogueSpace
from genrec.retrieval.people import People
from genrec.retrieval.vectors import TEXT
from genrec.types import Item
from genrec.workspace import Workspace

FOLDER = "dialogues"
Encode = Callable[[list[str]], NDArray[np.float32]]


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
    space = DialogueSpace(catalogue, items, weighs.sessions_over(catalogue.vectors.item_ids))
    return DialogueRetriever(workspace.index, space, people, weighs)


def query_encoder(workspace: Workspace, catalogue: Catalogue, progress: Progress = SILENT) -> Encode | None:
    """The text encoder that made the catalogue's vectors; None where it has none. Raises WeightsError for another one."""
    if TEXT not in catalogue.dims():
        return None
    encoder, made_by = workspace.text_encoder(progress), catalogue.vectors.models.get(TEXT, "")
    if not same_weights(encoder.id, made_by):
        hint = "Run `genrec build`, or set models.text back."
        raise WeightsError(f"the text vectors were made by {made_by}, the dialogue would be by {encoder.id}", hint=hint)
    return lambda texts: encoder.encode(texts, role="query", progress=progress)
