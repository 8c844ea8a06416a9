"""The same rows come out of every format, delimiter and shape of JSON; large tables are read a piece at a time."""

import csv
import gzip
import io
import json
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genrec.data.ingest_report import Report
from genrec.data.input_file import CHUNK_ROWS
from genrec.data.table_readers import read_events, read_items, read_users
from genrec.types import Item

Write = Callable[[str, str | bytes], Path]

ROWS = [
    {"item_id": "1", "title": 'A "quoted", title', "year": 1995, "score": 4.5, "seen": True},
    {"item_id": "2", "title": "Two\nlines", "year": 2001, "score": 3.0, "seen": False},
    {"item_id": "3", "title": "Étude; naïve | 東京", "year": 1960, "score": 1.25, "seen": True},
]
WANTED = [(r["item_id"], r["title"], {"year": r["year"], "score": r["score"], "seen": r["seen"]}) for r in ROWS]


def items_of(path: Path, **options: Any) -> list[Item]:
    report = options.pop("report", None) or Report(strict=True)
    return [item for batch in read_items(path, report=report, **options) for item in batch]


def delimited(rows: list[dict], delimiter: str, *, end: str = "\n") -> str:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter, lineterminator=end)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def parquet(rows: list[dict]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


FORMATS: dict[str, tuple[str, bytes]] = {
    "comma": ("a.csv", delimited(ROWS, ",").encode()),
    "semicolon": ("a.csv", delimited(ROWS, ";").encode()),
    "tab": ("a.tsv", delimited(ROWS, "\t").encode()),
    "tab named csv": ("a.csv", delimited(ROWS, "\t").encode()),
    "bar": ("a.txt", delimited(ROWS, "|").encode()),
    "CR LF": ("a.csv", delimited(ROWS, ",", end="\r\n").encode()),
    "BOM": ("a.csv", b"\xef\xbb\xbf" + delimited(ROWS, ",").encode()),
    "no ending": ("table", delimited(ROWS, ",").encode()),
    "JSON lines": ("a.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS).encode()),
    "JSON lines named json": ("a.json", "".join(json.dumps(row) + "\n" for row in ROWS).encode()),
    "JSON array": ("a.json", json.dumps(ROWS).encode()),
    "indented JSON array": ("a.json", json.dumps(ROWS, indent=2, ensure_ascii=False).encode()),
    "JSON with BOM": ("a.json", b"\xef\xbb\xbf" + json.dumps(ROWS).encode()),
    "JSON without ending": ("table", json.dumps(ROWS).encode()),
    "JSON by id": ("a.json", json.dumps({r["item_id"]: {k: v for k, v in r.items() if k != "item_id"} for r in ROWS}).encode()),
    "indented JSON by id": ("a.json", json.dumps({r["item_id"]: r for r in ROWS}, indent=1).encode()),
    "Parquet": ("a.parquet", parquet(ROWS)),
    "Parquet without ending": ("table", parquet(ROWS)),
}


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_same_items(form: str, zipped: bool, write: Write) -> None:
    name, content = FORMATS[form]
    path = write(f"{name}.gz", gzip.compress(content)) if zipped else write(name, content)
    assert [(item.item_id, item.title, dict(item.attributes)) for item in items_of(path)] == WANTED


def test_gzip_is_told_by_content(write: Write) -> None:
    assert len(items_of(write("a.csv", gzip.compress(b"item_id\n1\n")))) == 1


def test_double_colon_without_header(write: Write) -> None:
    path = write("movies.dat", "1::City of Lost Children, The (1995)::Adventure|Sci-Fi\n2::Heat::Action\n")
    items = items_of(path, mapping={"item_id": "#1", "title": "#2", "genres[|]": "#3"})
    assert items[0].title == "City of Lost Children, The (1995)"
    assert items[0].attributes == {"genres": ("Adventure", "Sci-Fi")}
    assert items[1].attributes == {"genres": ("Action",)}


def test_quotes_mean_nothing_in_a_tab_separated_file_that_does_not_use_them(write: Write) -> None:
    path = write("a.tsv", 'item_id\ttitle\n1\t"Weird" Al\n2\t5" nails\n3\t"Open\n')
    assert [item.title for item in items_of(path)] == ['"Weird" Al', '5" nails', '"Open']


def test_delimiter_at_the_end_of_each_line_and_decimal_commas(write: Write) -> None:
    assert items_of(write("a.csv", "item_id,title,\n1,a,\n2,b,\n"))[1].title == "b"
    assert items_of(write("b.csv", "item_id;price\n1;3,5\n2;4,5\n"))[0].attributes == {"price": "3,5"}


def test_rows_after_an_unclosed_quote_are_not_lost(write: Write) -> None:
    report = Report()
    path = write("a.csv", 'item_id,title\n1,a\n2,"b\n' + "".join(f"{n},t{n}\n" for n in range(3, 300)))
    assert len(items_of(path, report=report)) == 298
    assert [(fault.row, fault.line) for fault in report.faults] == [(2, 3)]


def test_row_and_line_of_a_fault_after_fields_of_several_lines(write: Write) -> None:
    report = Report()
    items_of(write("a.csv", 'item_id,title\n1,"a\nb\nc"\n\n,d\n'), report=report)
    (fault,) = report.faults
    assert (fault.row, fault.line) == (2, 6)
    assert "row 2 (line 6), column item_id" in str(fault)


def test_nested_objects_become_columns(write_rows: Callable[..., Path]) -> None:
    path = write_rows({"item_id": "1", "stats": {"views": 3, "by": {"country": "FR"}}}, {"item_id": "2", "stats": {}})
    assert [dict(item.attributes) for item in items_of(path)] == [{"stats.views": 3, "stats.by.country": "FR"}, {}]


def test_nested_columns_of_parquet(write: Write) -> None:
    path = write("a.parquet", parquet([{"item_id": "1", "stats": {"views": 3, "more": {"x": "y"}}}]))
    assert dict(items_of(path)[0].attributes) == {"stats.views": 3, "stats.more.x": "y"}


def test_types_of_parquet(write: Write) -> None:
    when = datetime(2024, 5, 31, 18, 0, tzinfo=UTC)
    table = pa.table(
        {
            "item_id": pa.array([7], pa.uint16()),
            "made": pa.array([when.date()]),
            "seen": pa.array([when], pa.timestamp("ns", "Europe/Paris")),
            "price": pa.array(["1.50"]).cast(pa.decimal128(5, 2)),
            "kind": pa.array(["x"]).dictionary_encode(),
            "tags": pa.array([["a", None, "b"]]),
            "ratio": pa.array([float("nan")]),
            "blob": pa.array([b"raw"]),
            "none": pa.nulls(1),
            "long": pa.array([90_000_000], pa.duration("us")),
        }
    )
    out = io.BytesIO()
    pq.write_table(table, out)
    report = Report(strict=True)
    (item,) = items_of(write("a.parquet", out.getvalue()), report=report)
    assert item.item_id == "7"
    assert dict(item.attributes) == {
        "made": "2024-05-31",
        "seen": "2024-05-31T18:00:00",
        "price": 1.5,
        "kind": "x",
        "tags": ("a", "b"),
        "long": 90.0,
    }
    assert [note for note in report.notes if "column blob holds bytes" in note]


def test_a_column_that_begins_with_nulls_keeps_its_type(write: Write) -> None:
    rows = [{"item_id": str(n), "year": None if n < CHUNK_ROWS + 5 else 1990} for n in range(CHUNK_ROWS + 10)]
    for path in (write("a.parquet", parquet(rows)), write("a.csv", delimited(rows, ",")), write("a.json", json.dumps(rows))):
        assert items_of(path)[-1].attributes == {"year": 1990}


def test_users_keep_their_own_fields(write: Write, report: Report) -> None:
    path = write("u.csv", "userId,age,likes,zip\nu1,24,jazz;film noir,01234\nu2,NA,,98765\n")
    first, second = [u for batch in read_users(path, mapping={"interests[;]": "likes"}, report=report) for u in batch]
    assert (first.interests, dict(first.attributes)) == (("jazz", "film noir"), {"age": 24, "zip": "01234"})
    assert (second.interests, dict(second.attributes)) == ((), {"zip": "98765"})
    unsplit = [u for batch in read_users(path, report=report) for u in batch]
    assert unsplit[0].interests == ("jazz;film noir",)


TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs", "Cf", "Zl", "Zp"]), max_size=12).map(str.strip)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(titles=st.lists(TEXT, min_size=1, max_size=8), delimiter=st.sampled_from([",", ";", "\t", "|"]))
def test_any_titles_survive_any_delimiter(titles: list[str], delimiter: str, tmp_path: Path) -> None:
    rows = [{"item_id": str(n), "title": title, "last": "x"} for n, title in enumerate(titles)]
    path = tmp_path / "a.csv"
    path.write_bytes(delimited(rows, delimiter).encode())
    jsonl = tmp_path / "a.jsonl"
    jsonl.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert [item.title for item in items_of(path)] == [item.title for item in items_of(jsonl)]
    assert [item.item_id for item in items_of(path)] == [row["item_id"] for row in rows]


def many_events(name: str) -> bytes:
    rows = [{"user_id": f"u{n % 97}", "item_id": f"i{n}", "timestamp": n, "rating": n % 5} for n in range(30_000)]
    if name == "e.parquet":
        return parquet(rows)
    if name == "e.json":
        return json.dumps(rows).encode()
    if name == "e.jsonl":
        return "".join(json.dumps(row) + "\n" for row in rows).encode()
    content = delimited(rows, ",").encode()
    return gzip.compress(content) if name.endswith(".gz") else content


@pytest.mark.parametrize("name", ["e.csv", "e.csv.gz", "e.jsonl", "e.json", "e.parquet"])
def test_events_are_read_a_batch_at_a_time(name: str, write: Write, report: Report) -> None:
    path = write(name, many_events(name))
    tracemalloc.start()
    sizes, last = [], None
    for batch in read_events(path, report=report):
        sizes.append(len(batch))
        last = batch[-1]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(sizes) == report.tables["events"].kept == 30_000
    assert max(sizes) <= CHUNK_ROWS
    assert last is not None
    assert (last.item_id, last.timestamp, last.value) == ("i29999", 29_999.0, 4.0)
    assert peak < 12_000_000  # the whole table as objects is about 18 MB
