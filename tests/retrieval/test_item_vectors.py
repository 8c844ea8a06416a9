import json
from pathlib import Path

import numpy as np
import pytest

from genrec.errors import DataError, UnknownItemError, WorkspaceError
from genrec.retrieval.item_vectors import MANIFEST, ModalityVectors, unit_rows


def make(n: int = 5, seed: int = 0) -> ModalityVectors:
    rng = np.random.default_rng(seed)
    present = np.arange(n) % 3 != 1
    text = unit_rows(rng.normal(size=(n, 4)))
    image = unit_rows(rng.normal(size=(n, 3))) * present[:, None].astype(np.float32)
    ids = tuple(f"item {row} ✓" for row in range(n))
    return ModalityVectors(ids, {"text": text, "image": image}, {"text": np.ones(n, bool), "image": present}, {"text": "mini"})


def test_saved_vectors_come_back_bit_for_bit(tmp_path: Path) -> None:
    vectors = make()
    vectors.save(tmp_path / "new" / "folder")
    again = ModalityVectors.load(tmp_path / "new" / "folder")
    assert again.item_ids == vectors.item_ids
    assert again.models == {"text": "mini"}
    for name in ("text", "image"):
        assert np.array_equal(again.matrices[name], vectors.matrices[name])
        assert np.array_equal(again.present[name], vectors.present[name])
    assert again.index_of("item 3 ✓") == 3


def test_a_second_save_leaves_one_tensor_file(tmp_path: Path) -> None:
    make(seed=0).save(tmp_path)
    make(seed=1).save(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    assert np.array_equal(ModalityVectors.load(tmp_path).matrices["text"], make(seed=1).matrices["text"])


def test_a_save_that_stops_before_the_manifest_leaves_the_old_set(tmp_path: Path) -> None:
    make(seed=0).save(tmp_path)
    old = (tmp_path / MANIFEST).read_bytes()
    first = {path.name: path.read_bytes() for path in tmp_path.glob("*.safetensors")}
    make(seed=1).save(tmp_path)
    (tmp_path / MANIFEST).write_bytes(old)  # as if killed between the two renames: both tensor files are there
    for name, data in first.items():
        (tmp_path / name).write_bytes(data)
    assert np.array_equal(ModalityVectors.load(tmp_path).matrices["text"], make(seed=0).matrices["text"])


def test_unknown_item_is_an_error_with_a_hint() -> None:
    with pytest.raises(UnknownItemError, match="'nobody'") as caught:
        make().index_of("nobody")
    assert "genrec build" in caught.value.hint


@pytest.mark.parametrize("damage", ["missing", "no json", "schema", "truncated", "flipped", "no key", "tensor gone"])
def test_damaged_files_are_workspace_errors_that_say_how_to_mend(tmp_path: Path, damage: str) -> None:
    make().save(tmp_path)
    manifest, tensors = tmp_path / MANIFEST, next(tmp_path.glob("*.safetensors"))
    record = json.loads(manifest.read_text())
    match damage:
        case "missing":
            manifest.unlink()
        case "no json":
            manifest.write_bytes(b"\x80{")
        case "schema":
            manifest.write_text(json.dumps(record | {"schema": 99}))
        case "truncated":
            tensors.write_bytes(tensors.read_bytes()[:-9])
        case "flipped":
            data = bytearray(tensors.read_bytes())
            data[-1] ^= 1
            tensors.write_bytes(data)
        case "no key":
            del record["item_ids"]
            manifest.write_text(json.dumps(record))
        case "tensor gone":
            tensors.unlink()
    with pytest.raises(WorkspaceError) as caught:
        ModalityVectors.load(tmp_path)
    assert "genrec build" in caught.value.hint


def test_a_folder_that_cannot_be_written_is_a_workspace_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match="could not be written"):
        make().save(tmp_path / "file")


def test_matrices_that_do_not_fit_are_refused() -> None:
    unit = np.eye(2, dtype=np.float32)
    both = np.ones(2, bool)
    with pytest.raises(DataError, match="twice"):
        ModalityVectors(("a", "a"), {"text": unit}, {"text": both})
    with pytest.raises(DataError, match="shape"):
        ModalityVectors(("a",), {"text": unit}, {"text": both})
    with pytest.raises(DataError, match="float64"):
        ModalityVectors(("a", "b"), {"text": unit.astype(float)}, {"text": both})  # type: ignore[dict-item]
    with pytest.raises(DataError, match="row 1 has length 2"):
        ModalityVectors(("a", "b"), {"text": unit * np.array([[1], [2]], np.float32)}, {"text": both})
    with pytest.raises(DataError, match="row 0 has length 1, not 0"):
        ModalityVectors(("a", "b"), {"text": unit}, {"text": ~both})
    with pytest.raises(DataError, match="row 0 has length nan"):
        ModalityVectors(("a", "b"), {"text": unit * np.float32("nan")}, {"text": both})
    with pytest.raises(DataError, match="presence of"):
        ModalityVectors(("a", "b"), {"text": unit}, {})


def test_what_a_model_wrote_is_moved_to_what_people_wrote() -> None:
    """A common part of all written rows goes; what tells them apart stays, and so do other modalities and the rows of people."""
    rng = np.random.default_rng(0)
    rows = unit_rows(rng.normal(size=(400, 8)))
    written = np.arange(400) % 4 == 0
    style = unit_rows(np.where(written[:, None], rows + 0.3 * rng.normal(size=8), rows))
    everywhere = np.ones(400, bool)
    matrices, present = {"text": style, "image": style}, {"text": everywhere, "image": everywhere}
    ids = tuple(map(str, range(400)))
    moved = ModalityVectors(ids, matrices, present, {}, written).aligned("text")
    np.testing.assert_array_equal(moved[~written], style[~written])
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), 1.0, atol=1e-5)

    def apart(found: np.ndarray) -> float:
        return float(np.linalg.norm(found[written].mean(axis=0) - found[~written].mean(axis=0)))

    def kept(found: np.ndarray) -> float:
        return float((found[written] * rows[written]).sum(axis=1).mean())

    assert apart(moved) < 0.35 * apart(style)
    assert kept(moved) > kept(style) + 0.02
    np.testing.assert_array_equal(ModalityVectors(ids, matrices, present, {}, written).aligned("image"), style)
    np.testing.assert_array_equal(ModalityVectors(ids, matrices, present).aligned("text"), style)


def test_a_single_written_row_hardly_moves() -> None:
    rows = unit_rows(np.random.default_rng(0).normal(size=(40, 8)))
    written = np.arange(40) == 0
    moved = ModalityVectors(tuple(map(str, range(40))), {"text": rows}, {"text": np.ones(40, bool)}, {}, written).aligned("text")
    assert 0.97 < float(rows[0] @ moved[0]) < 1.0


def test_who_wrote_is_saved_and_must_fit(tmp_path: Path) -> None:
    rows = unit_rows(np.random.default_rng(0).normal(size=(3, 4)))
    written = np.array([True, False, True])
    made = ModalityVectors(("a", "b", "c"), {"text": rows}, {"text": np.ones(3, bool)}, {"text": "-"}, written)
    made.save(tmp_path)
    loaded = ModalityVectors.load(tmp_path).written
    assert loaded is not None
    assert loaded.tolist() == [True, False, True]
    with pytest.raises(DataError, match="says whose text was written"):
        ModalityVectors(("a", "b", "c"), {"text": rows}, {"text": np.ones(3, bool)}, {}, written[:2])


def test_likely_texts_are_kept_and_checked(tmp_path: Path) -> None:
    rows = unit_rows(np.random.default_rng(0).normal(size=(4, 3)))
    present, written = {"text": np.ones(4, bool)}, np.array([True, False, True, False])
    likely = (0.5 * rows[[1, 3]]).astype(np.float32)
    made = ModalityVectors(("a", "b", "c", "d"), {"text": rows}, present, {}, written, likely)
    made.save(tmp_path)
    again = ModalityVectors.load(tmp_path)
    np.testing.assert_array_equal(again.expected_text, likely)
    np.testing.assert_array_equal(again.aligned("text"), made.aligned("text"))
    for wrong in (likely[:1], 3 * likely, np.full_like(likely, np.nan)):
        with pytest.raises(DataError, match="likely"):
            ModalityVectors(("a", "b", "c", "d"), {"text": rows}, present, {}, written, wrong)
