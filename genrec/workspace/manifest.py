"""`build.json`: what the last build made, and whether that still belongs to the vectors, the retriever and the settings of now.

It is written last, so that a build that was killed has none.
"""

import hashlib
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genrec.errors import WorkspaceError
from genrec.files import read_json, write_json
from genrec.retrieval.item_vectors import MANIFEST as VECTORS
from genrec.retrieval.learned_retriever import MANIFEST as RETRIEVER
from genrec.workspace.folder import Workspace

SCHEMA = 1
REBUILD = "Run `genrec build`."
RETRAIN = 'Run `genrec train retriever`; for a build without it, set retrieval.retriever = "fused".'


class BuildManifest(BaseModel):
    """What `build.json` holds. Files of version 0.1.0 have no `schema` and are of the first."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    version: Literal[1] = Field(default=SCHEMA, alias="schema")
    items: int
    vectors: str = ""
    """Digest of the manifest of the vectors that the index was made from."""
    fusion: dict[str, Any] = {}
    """The settings that the vectors in the index depend on."""
    retriever: str = ""
    """Digest of the trained retriever whose vectors are in the index; empty: the untrained one's."""
    models: dict[str, str] = {}
    """Modality to the model that made its vectors."""
    missing: dict[str, str] = {}
    """Modality that was left out, and why."""

    @classmethod
    def read(cls, workspace: Workspace) -> "BuildManifest":
        """Raises WorkspaceError when there is no build, or its file is damaged or newer than this version."""
        path = workspace.build_file
        value = read_json(path, hint=REBUILD)
        schema = value.get("schema", SCHEMA) if isinstance(value, dict) else SCHEMA
        if isinstance(schema, int) and schema > SCHEMA:
            hint = "A newer genrec made it: upgrade (pip install -U genrec), or build again."
            raise WorkspaceError(f"{path}: schema {schema}, this version reads {SCHEMA}", hint=hint)
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise WorkspaceError(f"{path}: the file is damaged: {error.errors()[0]['msg']}", hint=REBUILD) from error

    def write(self, workspace: Workspace) -> None:
        """Raises WorkspaceError."""
        write_json(workspace.build_file, self.model_dump(by_alias=True))

    def check(self, workspace: Workspace, *, vectors: int, popularity: tuple[int, ...]) -> None:
        """Whether index, vectors, retriever and settings are those of this build.

        `vectors`: how many items have rows; `popularity`: shape of the array saved beside them. Raises WorkspaceError.
        """
        indexed = workspace.index.count() if workspace.index.spec() is not None else 0
        if not (vectors,) == popularity == (self.items,) == (indexed,):
            message = f"the build is not whole: {self.items} items, {vectors} vectors, {indexed} indexed"
            raise WorkspaceError(message, hint=REBUILD)
        if self.vectors != vectors_digest(workspace):
            raise WorkspaceError("the build is not whole: the index was made from other vectors", hint=REBUILD)
        if self.retriever != serving_digest(workspace):
            message = "the index was built with another retriever than the one that is to serve now"
            raise WorkspaceError(message, hint=REBUILD)
        if self.fusion != fusion_settings(workspace):
            raise WorkspaceError(
                f"the index was built with retrieval settings {self.fusion}, the settings say {fusion_settings(workspace)}",
                hint=f"{REBUILD} Nothing is encoded anew.",
            )


def vectors_digest(workspace: Workspace) -> str:
    """Stands for the exact vectors that are saved."""
    return hashlib.sha256((workspace.vectors / VECTORS).read_bytes()).hexdigest()[:16]


def fusion_settings(workspace: Workspace) -> dict[str, Any]:
    """The settings that the vectors in the index depend on."""
    retrieval = workspace.settings.retrieval
    untrained = {"weights": dict(retrieval.weights), "trust": retrieval.trust}
    return untrained | ({"new_item_bonus": retrieval.new_item_bonus} if serving_digest(workspace) else {})


def serving_digest(workspace: Workspace) -> str:
    """Digest of the trained retriever that is to serve, empty for the untrained one.

    Raises WorkspaceError when the settings ask for the trained one and it is missing or damaged.
    """
    wanted, path = workspace.settings.retrieval.retriever, workspace.retriever / RETRIEVER
    if wanted == "fused" or (wanted == "auto" and not path.exists()):
        return ""
    made = read_json(path, hint=RETRAIN)
    card = made.get("card") if isinstance(made, dict) else None
    if not isinstance(card, dict) or not made.get("sha256"):
        raise WorkspaceError(f"{path}: the file is damaged", hint=RETRAIN)
    return "" if wanted == "auto" and not card.get("serves", True) else str(made["sha256"])[:16]
