"""The trained retriever as serving sees it: rows of length 1, order by the network, files."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genrec.errors import GenrecError, WorkspaceError
from genrec.retrieval.item_vectors import ModalityVectors
from genrec.retrieval.learned_retriever import ITEMS, MANIFEST, LearnedItems, LearnedRetriever
from genrec.retrieval.systems import Content
from genrec.types import Item
from tests.training import world

ASKED = world.histories([[0, 1], [], [12, 11, 13, 14, 12], [25]])


@pytest.fixture(scope="module")
def made() -> LearnedRetriever:
    trained = world.trainer(epochs=5, fusion="graph", length=6).train(world.events(people=60), world.content(triples=True))
    trained.retriever.anchor = 2.0
    trained.retriever.card = {"serves": True, "note": "café"}
    return trained.retriever


def scores(learned: LearnedRetriever, content: Content | None = None, bonus: float = 0.0) -> np.ndarray:
    return world.found(learned, world.encoded(learned, content or world.content(triples=True), bonus=bonus), ASKED)


def test_rows_have_length_one_and_nobody_is_nobody(made: LearnedRetriever) -> None:
    items = world.encoded(made, world.content(triples=True))
    people = made.people(ASKED, items)
    assert np.linalg.norm(items.rows, axis=1) == pytest.approx(np.ones(world.ITEMS), abs=1e-5)
    assert np.linalg.norm(people, axis=1) == pytest.approx([1, 0, 1, 1], abs=1e-5)
    assert people.shape[1] == items.rows.shape[1]
    assert not people[:, -1].any()
    assert sum(items.gates.values()) == pytest.approx(1.0, abs=1e-5)
    assert set(items.gates) == {"text", "image", "attributes", "id", "graph"}


def test_a_batch_is_as_one_by_one(made: LearnedRetriever) -> None:
    items = world.encoded(made, world.content(triples=True))
    asked = world.events(people=40, seed=8)
    together = made.people(asked, items)
    for user in range(40):
        assert made.people(asked.take(np.array([user])), items)[0] == pytest.approx(together[user], abs=1e-5)


def test_only_the_latest_events_are_read_and_they_are_read_as_in_training(made: LearnedRetriever) -> None:
    items = world.encoded(made, world.content(triples=True))
    alone = replace(made, anchor=0.0)
    bare = world.encoded(alone, world.content(triples=True))
    long = [1, 2, 3, 4, 5, 11, 12, 13, 14]
    one, other = ([[0, 6, *long[3:]]], [[20, 21, *long[3:]]])  # six in common, of which all are read
    assert alone.people(world.histories(one), bare) == pytest.approx(alone.people(world.histories(other), bare), abs=1e-6)
    assert not np.allclose(alone.people(world.histories([long[3:]]), bare), alone.people(world.histories([long[4:]]), bare))
    assert not np.allclose(
        made.people(world.histories(one), items), made.people(world.histories(other), items)
    )  # the anchor's profile
    # the value of an event is told against the person's whole past, also against what is no longer read
    valued = world.histories([long])
    values = np.full(9, 3.0, np.float32)
    low, high = values.copy(), values.copy()
    low[:3], high[:3] = 1.0, 5.0
    rows = [alone.people(replace(valued, values=column), bare) for column in (low, high)]
    assert not np.allclose(rows[0], rows[1])


def test_an_event_more_changes_the_person(made: LearnedRetriever) -> None:
    items = world.encoded(made, world.content(triples=True))
    before, after = (made.people(world.histories([history]), items) for history in ([0, 1], [0, 1, 15]))
    assert not np.allclose(before, after, atol=1e-3)


def test_a_new_item_finds_its_place_by_what_is_known_of_it(made: LearnedRetriever) -> None:
    """Its text and its genre are of the second kind: it is found by people of that kind."""
    content = world.content(triples=True)
    vectors = content.vectors
    fresh = Item(item_id="fresh", attributes={"genres": ("kind 1",)})
    blank = Item(item_id="blank")
    text = np.concatenate([vectors.matrices["text"], vectors.matrices["text"][10:11], np.zeros((1, 8), np.float32)])
    image = np.concatenate([vectors.matrices["image"], np.zeros((2, 6), np.float32)])
    present = {
        "text": np.append(vectors.present["text"], [True, False]),
        "image": np.append(vectors.present["image"], [False, False]),
    }
    grown = Content(
        items=[*content.items, fresh, blank],
        vectors=ModalityVectors((*vectors.item_ids, "fresh", "blank"), {"text": text, "image": image}, present),
        triples=content.triples,
    )
    alone = replace(made, anchor=0.0)
    items = alone.encode(grown)
    found = world.found(alone, items, world.histories([[0, 1, 2], [11, 12, 13]], n_items=world.ITEMS + 2))
    assert found[1, -2] > np.median(found[1])
    assert found[1, -2] > found[0, -2]
    assert not items.rows[-1].any()
    assert not items.vectors[-1].any()
    assert items.rows[:-2] == pytest.approx(world.encoded(alone, content).rows, abs=1e-2)  # the old ones stay where they were
    heard = replace(grown, triples=(*content.triples, ("blank", "made by", "studio 1")))
    assert alone.encode(heard).rows[-1].any()


def test_saved_and_read_it_scores_the_same_to_the_last_bit(made: LearnedRetriever, tmp_path: Path) -> None:
    made.save(tmp_path / "a")
    again = LearnedRetriever.load(tmp_path / "a")
    assert scores(again).tobytes() == scores(made).tobytes()
    assert scores(again, bonus=1.0).tobytes() == scores(made, bonus=1.0).tobytes()
    assert (again.digest, again.card, again.length, again.anchor) == (made.digest, made.card, made.length, made.anchor)
    assert len(made.digest) == 16
    again.save(tmp_path / "a")
    assert len(list((tmp_path / "a").iterdir())) == 2
    items = world.encoded(made, world.content(triples=True))
    items.save(tmp_path / "b")
    back = LearnedItems.load(tmp_path / "b")
    assert all(getattr(back, name).tobytes() == getattr(items, name).tobytes() for name in ("vectors", "history", "rows"))
    assert back.gates == items.gates
    plain = world.encoded(replace(made, anchor=0.0), world.content(triples=True))
    plain.save(tmp_path / "c")
    assert LearnedItems.load(tmp_path / "c").history.shape == (world.ITEMS, 0)


def test_another_training_takes_the_place_of_the_last(made: LearnedRetriever, tmp_path: Path) -> None:
    made.save(tmp_path)
    first = made.digest
    other = world.trainer(seed=8).train(world.events(), world.content()).retriever
    other.save(tmp_path)
    assert other.digest != first
    assert LearnedRetriever.load(tmp_path).digest == other.digest
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    assert len(list(tmp_path.iterdir())) == 2


def change(**values: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        manifest = json.loads((folder / MANIFEST).read_text())
        (folder / MANIFEST).write_text(json.dumps(manifest | values))

    return damage


def cut(folder: Path) -> None:
    (path,) = folder.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-5])


def turn(folder: Path) -> None:
    (path,) = folder.glob("*.safetensors")
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "newer": change(schema=99),
    "cut": cut,
    "a bit": turn,
    "no tensors": lambda folder: next(folder.glob("*.safetensors")).unlink(),
    "no manifest": lambda folder: (folder / MANIFEST).unlink(),
    "half a manifest": lambda folder: (folder / MANIFEST).write_text((folder / MANIFEST).read_text()[:100]),
    "a list": lambda folder: (folder / MANIFEST).write_text("[]"),
    "no text": lambda folder: (folder / MANIFEST).write_bytes(b"\xff\xfe"),
    "another width": lambda folder: change(network=json.loads((folder / MANIFEST).read_text())["network"] | {"width": 32})(
        folder
    ),
    "an unknown size": change(network={"size": 3}),
    "no sizes": change(network=None),
    "features": change(features={"edges": []}),
    "edges": lambda folder: change(features=json.loads((folder / MANIFEST).read_text())["features"] | {"edges": []})(folder),
    "events": change(events=[]),
    "length": change(length="long"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files_are_told_and_kept(made: LearnedRetriever, tmp_path: Path, damage: str) -> None:
    made.save(tmp_path)
    DAMAGE[damage](tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(WorkspaceError) as error:
        LearnedRetriever.load(tmp_path)
    assert "genrec train retriever" in error.value.hint
    assert str(tmp_path) in str(error.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    made.save(tmp_path)  # training again mends it
    assert LearnedRetriever.load(tmp_path).digest == made.digest


@pytest.mark.parametrize("damage", ["missing", "cut", "other"])
def test_damaged_rows_are_told(made: LearnedRetriever, tmp_path: Path, damage: str) -> None:
    from safetensors.numpy import save_file

    world.encoded(made, world.content(triples=True)).save(tmp_path)
    match damage:
        case "missing":
            (tmp_path / ITEMS).unlink()
        case "cut":
            (tmp_path / ITEMS).write_bytes((tmp_path / ITEMS).read_bytes()[:-7])
        case _:
            save_file({"rows": np.zeros((3, 3), np.float32)}, tmp_path / ITEMS)
    with pytest.raises(WorkspaceError) as error:
        LearnedItems.load(tmp_path)
    assert "genrec build" in error.value.hint


def test_a_disk_that_refuses_keeps_what_was_there(made: LearnedRetriever, tmp_path: Path) -> None:
    made.save(tmp_path / "r")
    (tmp_path / "r" / MANIFEST).rename(tmp_path / "kept")
    (tmp_path / "r" / MANIFEST).mkdir()  # a folder cannot be replaced by a file
    for refuse in (lambda: made.save(tmp_path / "r"), lambda: made.save(tmp_path / "kept")):
        with pytest.raises(WorkspaceError) as error:
            refuse()
        assert error.value.hint
    (tmp_path / "r" / MANIFEST).rmdir()
    (tmp_path / "kept").rename(tmp_path / "r" / MANIFEST)
    assert LearnedRetriever.load(tmp_path / "r").digest == made.digest
    assert not list((tmp_path / "r").glob(".*"))
    (tmp_path / "file").touch()
    with pytest.raises(GenrecError, match="file"):
        world.encoded(made, world.content(triples=True)).save(tmp_path / "file")
