"""What the readers count, merge, limit and report."""

import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genrec.data.images import MediaFolder
from genrec.data.ingest_report import Report
from genrec.data.table_readers import read_events, read_items, read_users
from genrec.errors import RowError, WorkspaceError
from genrec.settings.sections import IngestSettings
from genrec.types import Item

from .conftest import picture

Write = Callable[[str, str], Path]
WriteRows = Callable[..., Path]


def items_of(path: Path, report: Report, **options: object) -> list[Item]:
    return [item for batch in read_items(path, report=report, **options) for item in batch]  # type: ignore[arg-type]


def test_the_last_row_of_an_id_wins_and_earlier_ones_fill_what_it_lacks(write_rows: WriteRows, report: Report) -> None:
    path = write_rows(
        {"item_id": "1", "title": "old", "plot": "the plot", "year": 1990, "country": "FR"},
        {"item_id": "2", "title": "two"},
        {"item_id": 1, "title": "", "year": 1991},
        {"item_id": "1", "title": "new", "rated": "G"},
    )
    two, one = items_of(path, report)
    assert (two.item_id, one.item_id) == ("2", "1")
    assert (one.title, one.text) == ("new", "the plot")
    assert dict(one.attributes) == {"year": 1991, "country": "FR", "rated": "G"}
    counts = report.tables["items"]
    assert (counts.read, counts.kept, counts.merged, counts.faulty) == (4, 2, 2, 0)


def test_a_faulty_last_row_does_not_lose_the_earlier_ones(write_rows: WriteRows, report: Report) -> None:
    long = "x" * 200
    path = write_rows({"item_id": "1", "title": "a"}, {"item_id": "1", "year": 3}, {"item_id": "1", "title": long})
    (item,) = items_of(path, report, limits=IngestSettings(max_text_chars=100))
    assert (item.title, dict(item.attributes)) == ("a", {"year": 3})
    assert report.totals == {"text too long": 1}


def test_merged_rows_keep_the_latest_picture(tmp_path: Path, write_rows: WriteRows, report: Report) -> None:
    for name, color in (("a.png", 10), ("b.png", 20)):
        (tmp_path / name).write_bytes(picture(color=color))
    path = write_rows({"item_id": 1, "image": "a.png"}, {"item_id": 1, "image": "b.png"}, {"item_id": 1, "title": "x"})
    media = MediaFolder(tmp_path / "w")
    (item,) = items_of(path, report, media=media)
    assert (media.root / str(item.image)).read_bytes() == picture(color=20)
    assert len(list((tmp_path / "w").rglob("*.png"))) == 1


def test_pictures_without_a_media_folder_are_noted(write_rows: WriteRows, report: Report) -> None:
    (item,) = items_of(write_rows({"item_id": "1", "image": "a.png"}), report)
    assert item.image is None
    assert not item.attributes
    assert "pictures in column image are not taken" in report.notes[0]


def test_picture_as_bytes_as_the_first_of_a_list_and_absent(tmp_path: Path, write_rows: WriteRows, report: Report) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "a.png").write_bytes(picture())
    pictures = [{"bytes": picture(), "path": "x.png"}, {"bytes": None, "path": None}, {"bytes": None, "path": "a.png"}]
    table = pa.table({"item_id": ["1", "2", "3"], "image": pictures})
    pq.write_table(table, tmp_path / "items.parquet")
    media = MediaFolder(tmp_path / "w")
    first, second, third = items_of(tmp_path / "items.parquet", report, media=media)
    assert (media.root / str(first.image)).read_bytes() == picture()
    assert (second.image, third.image) == (None, first.image)
    listed, none = items_of(write_rows({"item_id": 1, "img": [None, "a.png"]}, {"item_id": 2, "img": []}), report, media=media)
    assert listed.image == first.image
    assert none.image is None
    assert not report.faults


def test_a_full_disk_stops_the_reading(tmp_path: Path, write_rows: WriteRows, report: Report) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    (tmp_path / "w").write_text("a file where the folder should be")
    with pytest.raises(WorkspaceError):
        items_of(write_rows({"item_id": "1", "image": "a.png"}), report, media=MediaFolder(tmp_path / "w"))


def test_text_limit_is_the_setting(write_rows: WriteRows) -> None:
    path = write_rows({"item_id": "1", "title": "x" * 50})
    assert items_of(path, Report(strict=True), limits=IngestSettings(max_text_chars=50))
    with pytest.raises(RowError, match="50 characters; the limit is 49"):
        items_of(path, Report(strict=True), limits=IngestSettings(max_text_chars=49))


def test_a_raised_text_limit_reaches_the_parser(write: Write) -> None:
    path = write("a.csv", f"item_id,title\n1,{'x' * 300_000}\n")
    (item,) = items_of(path, Report(strict=True), limits=IngestSettings(max_text_chars=400_000))
    assert len(item.title) == 300_000


def test_users_merge_like_items(write_rows: WriteRows, report: Report) -> None:
    path = write_rows({"user_id": "u", "interests": ["a"], "age": 3}, {"user_id": "u", "age": 4})
    ((user,),) = read_users(path, report=report)
    assert (user.interests, dict(user.attributes)) == (("a",), {"age": 4})
    assert report.tables["users"].merged == 1


def test_events_of_unknown_items_only_when_the_items_are_known(write_rows: WriteRows, report: Report) -> None:
    path = write_rows({"user_id": "u", "item_id": "1"}, {"user_id": "u", "item_id": "2"})
    assert len([e for batch in read_events(path, report=report) for e in batch]) == 2
    (batch,) = read_events(path, known_items={"2"}, report=report)
    assert [event.item_id for event in batch] == ["2"]
    assert report.totals == {"unknown item": 1}


def test_strict_stops_at_the_first_fault_in_the_order_of_rows(write: Write) -> None:
    path = write("a.jsonl", '{"item_id": "1"}\n{"title": "no id"}\n{broken\n')
    with pytest.raises(RowError, match="row 2, column item_id: the id is missing"):
        items_of(path, Report(strict=True))


def test_faults_are_capped_and_counted(write_rows: WriteRows) -> None:
    report = Report(max_faults=3)
    path = write_rows({"item_id": "1"}, *({"title": "x"} for _ in range(10)), {"item_id": True})
    items_of(path, report)
    assert len(report.faults) == 3
    assert report.totals == {"missing id": 10, "bad id": 1}
    text = "\n".join(report.summary())
    assert "items: 12 rows read, 1 kept, 0 merged, 11 left out" in text
    assert "10 × missing id" in text
    assert f"{path}, row 2, column item_id: the id is missing" in text
    assert text.endswith("… and 8 more")


def test_a_report_names_some_faults_of_each_kind(write_rows: WriteRows, report: Report) -> None:
    items_of(write_rows(*({"title": "x"} for _ in range(30)), {"item_id": True}), report)
    lines = report.summary()
    assert sum("the id is missing" in line for line in lines) == 10
    assert sum("row 31, column item_id" in line for line in lines) == 1
    assert lines[-1] == "… and 20 more"


class Recorder:
    """Keeps what a progress bar would be told."""

    def __init__(self) -> None:
        self.tasks: list[list] = []
        self.open = False

    def start(self, task: str, total: int | None) -> None:
        assert not self.open
        self.open = True
        self.tasks.append([task, total, 0])

    def advance(self, n: int = 1) -> None:
        assert n >= 0
        self.tasks[-1][2] += n

    def finish(self) -> None:
        self.open = False


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_progress_counts_the_bytes_of_the_file(name: str, write: Write, report: Report) -> None:
    rows = [f'{{"item_id": {n}}}' if name.endswith("l") else str(n) for n in range(20_000)]
    path = write(name, "\n".join(rows if name.endswith("l") else ["item_id", *rows]))
    progress, size = Recorder(), path.stat().st_size
    items_of(path, report, progress=progress)
    assert progress.tasks == [[f"Checking {name}", size, size], [f"Reading {name}", size, size]]
    assert not progress.open


def test_progress_is_finished_when_reading_stops(write: Write) -> None:
    progress = Recorder()
    with pytest.raises(RowError):
        items_of(write("a.csv", "item_id\n\n1\n' '\n\x01\n"), Report(strict=True), progress=progress)
    assert not progress.open
    reading = read_items(
        write("b.csv", "item_id\n" + "".join(f"{n}\n" for n in range(20_000))), report=Report(), progress=progress
    )
    assert isinstance(reading, Generator)
    next(reading)
    reading.close()
    assert not progress.open


CELL = st.one_of(st.none(), st.sampled_from(["1", "2", "3", ""]), st.integers(0, 3), st.booleans(), st.text(max_size=3))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.fixed_dictionaries({"item_id": CELL, "title": CELL, "x": CELL}), min_size=1, max_size=12))
def test_every_row_is_kept_merged_or_faulty(rows: list[dict], write_rows: WriteRows) -> None:
    report = Report()
    items = items_of(write_rows(*rows), report)
    counts = report.tables["items"]
    assert counts.read == len(rows) == counts.kept + counts.merged + counts.faulty
    assert counts.kept == len(items) == len({item.item_id for item in items})
    assert report.totals.total() == counts.faulty
    assert len({type(value) for item in items for value in item.attributes.values()}) <= 1


def test_importing_the_package_is_cheap() -> None:
    code = "import sys, genrec.data; print([m for m in ('polars', 'pyarrow', 'PIL', 'httpx', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
