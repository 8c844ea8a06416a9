"""The vectors of the catalogue, one matrix for each modality, and their files.

A saved set is a JSON manifest that names a safetensors file by the digest of its content. The manifest is renamed into place
last, so a process killed at any moment leaves the old set or the new one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genrec.errors import DataError, UnknownItemError, WorkspaceError
from genrec.files import read_tensors, write_tensors

SCHEMA = 1
MANIFEST = "vectors.json"
REBUILD = "Run `genrec build` again."
TEXT, WRITTEN = "text", "written"
EXPECTED_TEXT = "likely"
"""Name of `ModalityVectors.expected_text` in a saved file."""
FEW_WRITTEN = 20
"""The mean of this many rows of texts counts by half."""


@dataclass(frozen=True, slots=True)
class ModalityVectors:
    """`matrices[m]` (N, d_m) float32 with unit rows, zero where `present[m]` (N,) is False; row i belongs to `item_ids[i]`.

    `models[m]` says what made the matrix (a model id, a digest). `written` (N,): items whose title or text a model wrote; None:
    no item's. `expected_text` (written.sum(), d_text): where people's texts about those items would lie, each row as long
    (0 to 1) as `expected_text.expected_text` is sure of it. Raises DataError when shapes, ids or lengths do not fit.
    """

    item_ids: tuple[str, ...]
    matrices: Mapping[str, NDArray[np.float32]]
    present: Mapping[str, NDArray[np.bool_]]
    models: Mapping[str, str] = field(default_factory=dict)
    written: NDArray[np.bool_] | None = None
    expected_text: NDArray[np.float32] | None = None
    _rows: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_rows", {item_id: row for row, item_id in enumerate(self.item_ids)})
        if len(self._rows) != len(self.item_ids):
            raise DataError("vectors: an item id occurs twice")
        if self.matrices.keys() != self.present.keys():
            raise DataError(f"vectors: matrices of {sorted(self.matrices)} but presence of {sorted(self.present)}")
        for name, matrix in self.matrices.items():
            _check_matrix(name, matrix, self.present[name], len(self.item_ids))
        if self.written is not None and (self.written.shape != (len(self.item_ids),) or self.written.dtype != np.bool_):
            raise DataError(f"vectors: {self.written.dtype} {self.written.shape} says whose text was written")
        if self.expected_text is not None:
            _check_expected_text(self.expected_text, self.written, self.matrices)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._rows

    def index_of(self, item_id: str) -> int:
        """Row of the item. Raises UnknownItemError."""
        try:
            return self._rows[item_id]
        except KeyError:
            raise UnknownItemError(f"item {item_id!r} has no vectors", hint="Run `genrec build` after an ingest.") from None

    def aligned(self, name: str) -> NDArray[np.float32]:
        """The matrix of a modality; in that of texts, rows of `written` ones are moved to where people's texts would lie.

        A model words all items alike, so its texts lie together and apart from people's, whatever the items are: near one
        another and far from everybody's history. Their mean is moved to the mean of the others; the move shrinks where either
        kind has few rows. Then each row is blended with its row of `expected_text`, by that row's length, which restores what a
        small model leaves out or misplaces as far as the attributes tell it. Rows keep length 1.
        """
        matrix = self.matrices[name]
        if name != TEXT or self.written is None:
            return matrix
        written, others = self.present[name] & self.written, self.present[name] & ~self.written
        if not written.any() or not others.any():
            return matrix
        sure = np.prod([mask.sum() / (mask.sum() + FEW_WRITTEN) for mask in (written, others)])
        apart = matrix[others].mean(axis=0, dtype=np.float64) - matrix[written].mean(axis=0, dtype=np.float64)
        moved = matrix.copy()
        moved[written] = unit_rows(matrix[written] + sure * apart)
        if self.expected_text is not None:
            expected = self.expected_text[self.present[name][self.written]]
            own = 1.0 - np.linalg.norm(expected, axis=1, keepdims=True)
            moved[written] = unit_rows(own * moved[written] + expected)
        return moved

    def save(self, folder: Path) -> None:
        """Write the set into `folder`, which is created. Raises WorkspaceError when the disk refuses."""
        from safetensors.numpy import save

        tensors = {f"matrix/{name}": np.ascontiguousarray(matrix) for name, matrix in self.matrices.items()}
        tensors |= {f"present/{name}": np.ascontiguousarray(mask) for name, mask in self.present.items()}
        if self.written is not None:
            tensors[WRITTEN] = np.ascontiguousarray(self.written)
        if self.expected_text is not None:
            tensors[EXPECTED_TEXT] = np.ascontiguousarray(self.expected_text)
        data = save(tensors)
        manifest = {"schema": SCHEMA, "models": dict(self.models), "item_ids": self.item_ids}
        try:
            write_tensors(folder, "vectors", MANIFEST, data, manifest)
        except OSError as error:
            raise WorkspaceError(
                f"{folder}: vectors could not be written: {error}", hint="Free some space or mend the rights."
            ) from error

    @classmethod
    def load(cls, folder: Path) -> "ModalityVectors":
        """Read a saved set. Raises WorkspaceError when it is missing, damaged or of another version."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        path = folder / MANIFEST
        try:
            manifest, data = read_tensors(folder, MANIFEST, schema=SCHEMA, hint=REBUILD)
            tensors = load(data)
            names = [name.removeprefix("matrix/") for name in tensors if name.startswith("matrix/")]
            matrices = {name: tensors[f"matrix/{name}"] for name in names}
            present = {name: tensors[f"present/{name}"] for name in names}
            own = tensors.get(WRITTEN), tensors.get(EXPECTED_TEXT)
            return cls(tuple(manifest["item_ids"]), matrices, present, manifest["models"], *own)
        except FileNotFoundError as error:
            raise WorkspaceError(
                f"{error.filename}: missing, the catalogue has no vectors yet", hint="Run `genrec build`."
            ) from error
        except (OSError, ValueError, KeyError, TypeError, SafetensorError, DataError) as error:
            raise WorkspaceError(f"{path}: the vectors cannot be read: {error!r}", hint=REBUILD) from error


def unit_rows(matrix: NDArray) -> NDArray[np.float32]:
    """(N, d) float32: rows scaled to length 1, zero rows kept."""
    wide = np.asarray(matrix, np.float64)
    norms = np.linalg.norm(wide, axis=-1, keepdims=True)
    return np.divide(wide, norms, out=np.zeros_like(wide), where=norms > 1e-12).astype(np.float32)


def _check_matrix(name: str, matrix: NDArray, mask: NDArray, n: int) -> None:
    if matrix.ndim != 2 or len(matrix) != n or mask.shape != (n,):
        raise DataError(f"vectors: {name!r} has shape {matrix.shape} and presence {mask.shape} for {n} items")
    if matrix.dtype != np.float32 or mask.dtype != np.bool_:
        raise DataError(f"vectors: {name!r} is {matrix.dtype} with presence {mask.dtype}, not float32 with bool")
    norms = np.linalg.norm(matrix, axis=1)
    wrong = ~(np.abs(norms - mask) < 1e-3)  # also true for NaN
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(f"vectors: {name!r} row {row} has length {norms[row]:.4g}, not {int(mask[row])}")


def _check_expected_text(rows: NDArray, written: NDArray[np.bool_] | None, matrices: Mapping[str, NDArray]) -> None:
    shape = (0 if written is None else int(written.sum()), matrices[TEXT].shape[1] if TEXT in matrices else 0)
    if rows.shape != shape or rows.dtype != np.float32:
        raise DataError(f"vectors: likely texts are {rows.dtype} {rows.shape}, not float32 {shape}")
    if rows.size and not np.linalg.norm(rows, axis=1).max() < 1.0 + 1e-3:  # also true for NaN
        raise DataError("vectors: a likely text is longer than 1")
