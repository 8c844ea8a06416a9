"""What the last build and training made, back into memory."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec.errors import DataError, WorkspaceError
from genrec.files import read_json
from genrec.filters import Field
from genrec.retrieval.catalogue import Catalogue
from genrec.retrieval.learned_retriever import MANIFEST as RETRIEVER
from genrec.retrieval.learned_retriever import LearnedItems, LearnedRetriever
from genrec.retrieval.sequences import Sequences
from genrec.retrieval.systems import Content
from genrec.retrieval.user_vectors import LearnedPeople, MeanPeople, People
from genrec.retrieval.vectors import MANIFEST, ModalityVectors
from genrec.retrieval.zero_shot import ZeroShot
from genrec.types import Item
from genrec.workspace.folder import Workspace

POPULARITY = "popularity.json"
REBUILD = "Run `genrec build`."
RETRAIN = 'Run `genrec train retriever`; for a build without it, set retrieval.retriever = "fused".'
BEHAVIOUR = "behaviour"


def load_catalogue(workspace: Workspace) -> Catalogue:
    """The catalogue of the last build. Raises WorkspaceError when there is none or the index does not hold it."""
    made = read_json(workspace.build_file, hint=REBUILD)
    if not isinstance(made, dict) or not isinstance(made.get("items"), int):
        raise WorkspaceError(f"{workspace.build_file}: the file is damaged", hint=REBUILD)
    vectors = ModalityVectors.load(workspace.vectors)
    try:
        popularity = np.asarray(read_json(workspace.vectors / POPULARITY, hint=REBUILD), dtype=np.int64)
    except (ValueError, TypeError, OverflowError) as error:
        raise WorkspaceError(f"{workspace.vectors / POPULARITY}: the file is damaged: {error}", hint=REBUILD) from error
    count = workspace.index.count() if workspace.index.spec() is not None else 0
    if not (len(vectors.item_ids),) == popularity.shape == (made["items"],) == (count,):
        raise WorkspaceError(
            f"the build is not whole: {made['items']} items, {len(vectors.item_ids)} vectors, {count} indexed",
            hint=REBUILD,
        )
    if made.get("vectors") != manifest(workspace):
        raise WorkspaceError("the build is not whole: the index was made from other vectors", hint=REBUILD)
    digest = made.get("retriever", "")
    if digest != _served_digest(workspace):
        raise WorkspaceError("the index was built with another retriever than the one that is to serve now", hint=REBUILD)
    if made.get("fusion") != fusion(workspace):
        raise WorkspaceError(
            f"the index was built with retrieval settings {made.get('fusion')}, the settings say {fusion(workspace)}",
            hint=f"{REBUILD} Nothing is encoded anew.",
        )
    learned = LearnedItems.load(workspace.vectors) if digest else None
    if learned is not None and len(learned.rows) != len(vectors.item_ids):
        raise WorkspaceError("the build is not whole: learned rows of other items", hint=REBUILD)
    return Catalogue(vectors, popularity, workspace.settings.retrieval, learned)


def load_people(workspace: Workspace, catalogue: Catalogue) -> People:
    """What turns histories into vectors of this catalogue. Raises WorkspaceError when the trained retriever cannot be read."""
    if catalogue.learned is None:
        return MeanPeople(catalogue, workspace.settings.retrieval, workspace.settings.feedback)
    learned = LearnedRetriever.load(workspace.retriever)
    return LearnedPeople(catalogue, learned, catalogue.learned, workspace.settings.feedback)


def load_content(workspace: Workspace) -> tuple[Sequences, Content]:
    """All events and what is known of the items, with the vectors of the last build: what systems learn from.

    Raises WorkspaceError when there is no build, or items came in since.
    """
    read_json(workspace.build_file, hint=REBUILD)
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
    own = ModalityVectors(vectors.item_ids, matrices, present, vectors.models, vectors.written, vectors.likely)
    return Content(items=items, vectors=own, triples=workspace.store.triples())


def served_retriever(workspace: Workspace) -> LearnedRetriever | None:
    """The trained retriever where it finds the candidates. Raises WorkspaceError when it is asked for and missing or damaged."""
    return LearnedRetriever.load(workspace.retriever) if _served_digest(workspace) else None


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


def manifest(workspace: Workspace) -> str:
    """Stands for the exact vectors that are saved."""
    return hashlib.sha256((workspace.vectors / MANIFEST).read_bytes()).hexdigest()[:16]


def fusion(workspace: Workspace) -> dict[str, Any]:
    """The settings that the fused vectors in the index depend on."""
    untrained = {"weights": dict(workspace.settings.retrieval.weights), "trust": workspace.settings.retrieval.trust}
    if _served_digest(workspace):
        return untrained | {"new_item_bonus": workspace.settings.retrieval.new_item_bonus}
    return untrained


def _served_digest(workspace: Workspace) -> str:
    """Digest of the trained retriever that serves, empty for the untrained one."""
    wanted, path = workspace.settings.retrieval.retriever, workspace.retriever / RETRIEVER
    if wanted == "fused" or (wanted == "auto" and not path.exists()):
        return ""
    made = read_json(path, hint=RETRAIN)
    card = made.get("card") if isinstance(made, dict) else None
    if not isinstance(card, dict) or not made.get("sha256"):
        raise WorkspaceError(f"{path}: the file is damaged", hint=RETRAIN)
    if wanted == "auto" and not card.get("serves", True):
        return ""
    return str(made["sha256"])[:16]
