"""What the last build and training made, back into memory."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from genrec.errors import DataError, WorkspaceError
from genrec.files import read_json
from genrec.filters import Field
from genrec.retrieval.catalogue import Catalogue
from genrec.retrieval.item_vectors import ModalityVectors
from genrec.retrieval.learned_retriever import LearnedItems, LearnedRetriever
from genrec.retrieval.sequences import Sequences
from genrec.retrieval.systems import Content
from genrec.retrieval.user_encoders import LearnedUserEncoder, MeanUserEncoder, UserEncoder
from genrec.retrieval.zero_shot import ZeroShot
from genrec.types import Item
from genrec.workspace.folder import Workspace
from genrec.workspace.manifest import REBUILD, BuildManifest, serving_digest

POPULARITY = "popularity.json"
BEHAVIOUR = "behaviour"


def load_catalogue(workspace: Workspace) -> Catalogue:
    """The catalogue of the last build. Raises WorkspaceError when there is none or the index does not hold it."""
    build = BuildManifest.read(workspace)
    vectors = ModalityVectors.load(workspace.vectors)
    try:
        popularity = np.asarray(read_json(workspace.vectors / POPULARITY, hint=REBUILD), dtype=np.int64)
    except (ValueError, TypeError, OverflowError) as error:
        raise WorkspaceError(f"{workspace.vectors / POPULARITY}: the file is damaged: {error}", hint=REBUILD) from error
    build.check(workspace, vectors=len(vectors.item_ids), popularity=popularity.shape)
    learned = LearnedItems.load(workspace.vectors) if build.retriever else None
    if learned is not None and len(learned.rows) != len(vectors.item_ids):
        raise WorkspaceError("the build is not whole: learned rows of other items", hint=REBUILD)
    return Catalogue(vectors, popularity, workspace.settings.retrieval, learned)


def load_user_encoder(workspace: Workspace, catalogue: Catalogue) -> UserEncoder:
    """What turns histories into vectors of this catalogue. Raises WorkspaceError when the trained retriever cannot be read."""
    if catalogue.learned is None:
        return MeanUserEncoder(catalogue, workspace.settings.retrieval, workspace.settings.feedback)
    learned = LearnedRetriever.load(workspace.retriever)
    return LearnedUserEncoder(catalogue, learned, catalogue.learned, workspace.settings.feedback)


def load_content(workspace: Workspace) -> tuple[Sequences, Content]:
    """All events and what is known of the items, with the vectors of the last build: what systems learn from.

    Raises WorkspaceError when there is no build, or items came in since.
    """
    BuildManifest.read(workspace)
    vectors = ModalityVectors.load(workspace.vectors)
    items = built_items(workspace, vectors)
    return Sequences.of(workspace.store.interactions(), vectors.item_ids), content_of(workspace, items, vectors)


def built_items(workspace: Workspace, vectors: ModalityVectors) -> list[Item]:
    """All items, in the order of the vectors. Raises WorkspaceError when some came in or went since the last build."""
    items = [item for batch in workspace.store.all_items() for item in batch]
    if tuple(item.item_id for item in items) != vectors.item_ids:
        raise WorkspaceError("items came in or went since the last build", hint=REBUILD)
    return items


def content_of(workspace: Workspace, items: Sequence[Item], vectors: ModalityVectors) -> Content:
    """Items with their content vectors: behaviour is not content."""
    matrices = {name: matrix for name, matrix in vectors.matrices.items() if name != BEHAVIOUR}
    present = {name: mask for name, mask in vectors.present.items() if name != BEHAVIOUR}
    own = ModalityVectors(vectors.item_ids, matrices, present, vectors.models, vectors.written, vectors.expected_text)
    return Content(items=items, vectors=own, triples=workspace.store.triples())


def served_retriever(workspace: Workspace) -> LearnedRetriever | None:
    """The trained retriever where it finds the candidates. Raises WorkspaceError when it is asked for and missing or damaged."""
    return LearnedRetriever.load(workspace.retriever) if serving_digest(workspace) else None


def retriever_name(learned: LearnedRetriever | None) -> str:
    """For traces and messages."""
    return f"learned@{learned.digest}" if learned else "fused"


def system_name(learned: LearnedRetriever | None) -> str:
    """What it is called among the systems that training and evaluation fit (`genrec.retrieval.systems.System.name`)."""
    return "learned" if learned else ZeroShot.name


def same_weights(one: str, other: str) -> bool:
    """Whether two `name@digest` stand for the same weights, whatever they are called."""
    return one.rpartition("@")[2] == other.rpartition("@")[2]


def encode_learned(
    workspace: Workspace,
    learned: LearnedRetriever,
    items: Sequence[Item],
    vectors: ModalityVectors,
    fused: NDArray[np.float32],
) -> LearnedItems:
    """The catalogue through the trained retriever, also saved beside the vectors. `fused` (N, E): the untrained one's rows.

    Raises DataError when the vectors are not by the models that it was trained with, WorkspaceError.
    """
    trained = learned.card.get("models", {})
    for name in sorted(learned.features.means.keys() & vectors.models.keys() & trained.keys()):
        if not same_weights(vectors.models[name], trained[name]):
            raise DataError(
                f"the {name} vectors are by {vectors.models[name]}, the retriever was trained on those of {trained[name]}",
                hint=f"Run `genrec train retriever` again, or set models.{name} back.",
            )
    bonus = workspace.settings.retrieval.new_item_bonus
    made = learned.encode(content_of(workspace, items, vectors), fused, new_item_bonus=bonus)
    made.save(workspace.vectors)
    return made


def schema_of(workspace: Workspace) -> dict[str, Field]:
    """The attributes that filters may name, with their types."""
    return {name: Field(kind, is_list) for name, (kind, is_list) in workspace.store.schema().items()}
