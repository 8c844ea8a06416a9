"""Captions by hand, the doubtful ones, and captions to a file and back."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from genrec.captions.editing import doubtful, edit, export, load, revert
from genrec.data.ingest_report import Report
from genrec.errors import ConfigError, DataError, RowError, TableError, UnknownItemError
from genrec.types import Item, StoredCaption
from genrec.workspace.folder import Workspace

MADE = StoredCaption(
    item_id="a",
    title="Red Mug",
    text='Close to "Blue, Mug".\nTwo lines.',
    tags=("mug", "red, dark"),
    language="en",
    source="llm",
    model="m@1",
    adapter="write-1",
    prompt="abc",
    evidence={"tags": [{"text": "mug", "probability": 0.9}], "facts": {"title": ""}},
    evidence_digest="d1",
    doubt=0.7,
    note="thin",
    made_at=5.0,
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace.create(tmp_path / "w")
    made.store.put_items([Item(item_id="a"), Item(item_id="b", title="Own"), Item(item_id="c")])
    made.store.put_captions([MADE, replace(MADE, item_id="c", doubt=0.6, note="")])
    return made


def test_by_hand_part_by_part(workspace: Workspace) -> None:
    edit(workspace, "a", title=" My Mug ")
    edit(workspace, "a", tags=["mine", " mine", ""])
    item = workspace.store.item("a")
    assert (item.title, item.text, item.attributes["tags"]) == ("My Mug", MADE.text, ("mine",))
    assert item.generated == ("text",)
    edit(workspace, "b", title="Better", text="")
    assert workspace.store.item("b").title == "Better"
    with pytest.raises(ConfigError, match="nothing is said"):
        edit(workspace, "a")
    with pytest.raises(UnknownItemError):
        edit(workspace, "x", title="X")


def test_taken_back_the_persons_words_first(workspace: Workspace) -> None:
    edit(workspace, "a", title="My Mug")
    gone = revert(workspace, "a")
    assert gone is not None
    assert gone.source == "human"
    assert workspace.store.item("a").title == MADE.title
    assert revert(workspace, "a") == MADE
    assert workspace.store.item("a").title == ""
    assert revert(workspace, "a") is None
    with pytest.raises(UnknownItemError):
        revert(workspace, "x")


def test_doubtful_ones_worst_first_without_those_a_person_saw_to(workspace: Workspace) -> None:
    assert [one.item_id for one in doubtful(workspace)] == ["a", "c"]
    assert [one.item_id for one in doubtful(workspace, 0.65)] == ["a"]
    edit(workspace, "a", title="My Mug")
    assert [one.item_id for one in doubtful(workspace)] == ["a", "c"]  # its text still shows
    edit(workspace, "a", text="Mine.", tags=[])
    assert [one.item_id for one in doubtful(workspace)] == ["c"]
    with Workspace.open(workspace.folder, settings={"caption": {"doubtful": 0.95}}) as strict:
        assert doubtful(strict) == []


@pytest.mark.parametrize("name", ["c.jsonl", "c.csv"])
def test_to_a_file_and_back_with_their_provenance(workspace: Workspace, tmp_path: Path, name: str) -> None:
    edit(workspace, "b", title="Better")
    assert export(workspace, tmp_path / name) == 3
    other = Workspace.create(tmp_path / "other")
    other.store.put_items([Item(item_id=one) for one in "abc"])
    report = load(other, tmp_path / name)
    assert (report.tables["captions"].kept, report.faults) == (3, [])
    (human,) = workspace.store.captions(["b"])
    assert other.store.captions(["a", "b"]) == [replace(MADE, imported=True), replace(human, imported=True)]


def test_a_persons_words_win_over_a_file_unless_it_has_later_ones(workspace: Workspace, tmp_path: Path) -> None:
    edit(workspace, "a", title="Mine")
    rows = [{"item_id": "a", "title": "By a model", "source": "llm"}, {"item_id": "a", "title": "Old", "made_at": 1.0}]
    path = tmp_path / "c.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    load(workspace, path)
    assert workspace.store.item("a").title == "Mine"
    path.write_text(json.dumps({"item_id": "a", "title": "Later", "tags": ["x"]}))
    load(workspace, path)
    item = workspace.store.item("a")
    assert (item.title, item.attributes["tags"], item.generated) == ("Later", ("x",), ())


def test_faulty_rows_are_named_and_the_others_taken(workspace: Workspace, tmp_path: Path) -> None:
    rows = [
        '{"item_id": "a", "title": "Good"}',
        "{broken",
        '{"item_id": "nobody", "title": "X"}',
        '{"title": "X"}',
        "[1]",
        '{"item_id": "a", "source": "rumour", "title": "X"}',
        '{"item_id": "a", "doubt": 7, "title": "X"}',
        '{"item_id": "a", "tags": 3}',
        '{"item_id": "a"}',
        '{"item_id": "a", "title": 3}',
        '{"item_id": "a", "title": "X", "evidence": []}',
        '{"item_id": "a", "title": "X", "made_at": "soon"}',
        '{"item_id": "c", "text": "Good.", "extra": 1}',
    ]
    path = tmp_path / "c.jsonl"
    path.write_text("\n".join(rows))
    report = load(workspace, path)
    counts = report.tables["captions"]
    assert (counts.read, counts.kept, counts.faulty) == (13, 2, 11)
    said = [str(fault) for fault in report.faults]
    for row, words in ((2, "not JSON"), (3, "no item 'nobody'"), (5, "not list"), (6, "rumour"), (7, "from 0 to 1"), (8, "tags")):
        assert any(f"row {row}" in one and words in one for one in said), (row, words, said)
    assert any("extra" in note for note in report.notes)
    assert workspace.store.item("c").text == "Good."
    with pytest.raises(RowError, match="row 2"):
        load(workspace, path, Report(strict=True))


def test_a_table_made_by_hand(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerows([["item_id", "title", "tags"], ["a", "Cup", "cup, blue"], ["c", "", "x"], ["a", "too", "many", "fields"]])
    report = load(workspace, path)
    assert report.tables["captions"].kept == 2
    assert "row 3" in str(report.faults[0])
    item = workspace.store.item("a")
    assert (item.title, item.attributes["tags"], item.generated) == ("Cup", ("cup", "blue"), ("text",))
    assert workspace.store.item("c").title == MADE.title  # an empty cell says nothing


def test_files_that_are_none(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("id,name\n1,x\n")
    with pytest.raises(TableError, match="id, name") as caught:
        load(workspace, tmp_path / "c.csv")
    assert "item_id" in caught.value.hint
    with pytest.raises(TableError):
        load(workspace, tmp_path / "absent.jsonl")
    with pytest.raises(DataError):
        export(workspace, tmp_path / "no" / "such" / "folder.csv")
