"""Bad tables, rows and pictures: each kind gives one clear error or one fault with its place, and no good row is lost."""

import contextlib
import gzip
import io
import json
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genrec.data.images import MediaFolder
from genrec.data.ingest_report import Report
from genrec.data.table_readers import read_events, read_items, read_users
from genrec.errors import ConfigError, DataError, GenrecError, RowError, TableError
from genrec.settings.sections import IngestSettings

from .conftest import picture

LIMITS = IngestSettings(max_text_chars=2000, max_image_bytes=200_000, max_image_pixels=1_000_000, image_timeout_s=2)
READERS: dict[str, Callable[..., Any]] = {"items": read_items, "users": read_users, "events": read_events}


def parquet(**columns: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, write_page_checksum=True)
    return out.getvalue()


def parquet_of(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


GOOD = parquet(item_id=[str(n) for n in range(5000)], title=[f"title {n} {n * 7919}" for n in range(5000)])


def damaged(content: bytes, at: float) -> bytes:
    place = int(len(content) * at)
    return content[:place] + bytes(255 - byte for byte in content[place : place + 200]) + content[place + 200 :]


@dataclass(frozen=True)
class BadTable:
    kind: str
    name: str
    content: bytes | str | None
    says: str
    """In the error's message."""
    table: str = "items"
    mapping: tuple[tuple[str, str], ...] = ()
    error: type[GenrecError] = TableError


TABLES = [
    BadTable("missing file", "none.csv", None, "does not exist"),
    BadTable("empty file", "a.csv", "", "is empty"),
    BadTable("empty gzip", "a.csv.gz", gzip.compress(b""), "is empty"),
    BadTable("blank lines only", "a.csv", "\n \n\n", "is empty"),
    BadTable("header without rows", "a.csv", "item_id,title\n", "no rows"),
    BadTable("empty Parquet", "a.parquet", parquet(item_id=pa.array([], "string")), "no rows"),
    BadTable("empty JSON array", "a.json", "[]", "no readable row"),
    BadTable("JSON lines without one object", "a.jsonl", "1\n2\n", "no readable row"),
    BadTable("truncated Parquet", "a.parquet", GOOD[:-40], "not a Parquet file that can be read"),
    BadTable("Parquet cut to its first bytes", "a.parquet", GOOD[:4], "not a Parquet file that can be read"),
    BadTable("damaged Parquet pages", "a.parquet", damaged(GOOD, 0.3), "not a Parquet file that can be read"),
    BadTable("text named .parquet", "a.parquet", "item_id\n1\n", "not a Parquet file: it begins with"),
    BadTable(
        "truncated gzip", "a.csv.gz", gzip.compress(b"item_id,title\n" + os.urandom(9).hex().encode() * 9)[:-12], "too early"
    ),
    BadTable("damaged gzip", "a.csv.gz", b"\x1f\x8b\x08\x00" + bytes(6) + b"\xff" * 40, "damaged gzip"),
    BadTable("not gzip behind the magic", "a.csv.gz", b"\x1f\x8bitem_id,title\n1,a\n", "damaged gzip"),
    BadTable("Latin-1", "a.csv", "item_id,title\n1,Amélie\n".encode("latin-1"), "byte 18 (line 2) is 0xe9, which is not UTF-8"),
    BadTable("Latin-1 after a BOM", "a.csv", b"\xef\xbb\xbfitem_id\n\xe9\n", "byte 11 (line 2) is 0xe9"),
    BadTable("Latin-1 in a JSON array", "a.json", b'[{"item_id":"\xe9"}]', "byte 13 is 0xe9"),
    BadTable("UTF-16", "a.csv", "item_id,title\n1,a\n".encode("utf-16"), "UTF-16 or binary"),
    BadTable("UTF-16 without BOM", "a.csv", "item_id,title\n1,a\n".encode("utf-16-le"), "UTF-16 or binary"),
    BadTable("spreadsheet named .csv", "a.csv", b"PK\x03\x04 something", "a zip archive or spreadsheet"),
    BadTable("picture named .csv", "a.csv", picture(), "is a picture"),
    BadTable("lines ending in CR", "a.csv", "item_id,title\r1,a\r", "carriage return"),
    BadTable("unclosed quote in the header", "a.csv", 'item_id,"title\n1,a\n', "header line cannot be read"),
    BadTable("column twice", "a.csv", "item_id,title,title\n1,a,b\n", "several columns are called title"),
    BadTable("no id column", "a.csv", "title,year\na,1990\n", "no column for item_id; there is title, year"),
    BadTable("no user column", "a.csv", "item_id,rating\n1,5\n", "no column for user_id", "events"),
    BadTable("no header", "a.csv", "1,10,5\n1,11,4\n", "no column for user_id and item_id; there is 1, 10, 5", "events"),
    BadTable("two candidates for a field", "a.csv", "asin,sku\n1,2\n", "asin and sku could each be the item_id"),
    BadTable(
        "unknown column in the mapping", "a.csv", "item_id\n1\n", "no column 'Name' for title", mapping=(("title", "Name"),)
    ),
    BadTable(
        "unknown field in the mapping",
        "a.csv",
        "item_id,n\n1,2\n",
        "items have no field 'titel'",
        mapping=(("titel", "n"),),
        error=ConfigError,
    ),
    BadTable("place beyond the last", "a.csv", "1,a\n", "no column '#3'", mapping=(("item_id", "#1"), ("title", "#3"))),
    BadTable(
        "JSON array broken off", "a.json", '[{"item_id":"1"},\n{"item_id":"2"', "line 2: not JSON (the file ends too early)"
    ),
    BadTable(
        "JSON array without a comma", "a.json", '[{"item_id":"1"}\n{"item_id":"2"}]', "line 2: not JSON (a comma is missing"
    ),
    BadTable("JSON array with a bad value", "a.json", '[{"item_id":"1"},\n{"item_id":' + "x" * 90 + "}]", "line 2: not JSON"),
    BadTable("JSON that is a number", "a.json", "17", "no readable row"),
    BadTable("JSON nested too deeply", "a.json", '[{"item_id":' + "[" * 200_000 + "]", "not JSON"),
    BadTable(
        "mapping two columns to one attribute", "a.csv", "item_id,a,b\n1,2,3\n", "two columns", mapping=(("attributes.b", "a"),)
    ),
    BadTable(
        "time out of range in Parquet",
        "a.parquet",
        parquet_of(pa.table({"item_id": ["1"], "user_id": ["u"], "time": pa.array([2**60], pa.timestamp("us"))})),
        "column time",
        "events",
    ),
    BadTable(
        "text in Parquet that is not UTF-8",
        "a.parquet",
        parquet_of(pa.table({"item_id": pa.array([b"\xff\xfe"]).view(pa.string())})),
        "column item_id",
    ),
]


@pytest.mark.parametrize("case", TABLES, ids=lambda case: case.kind)
def test_bad_table_is_one_clear_error(case: BadTable, tmp_path: Path) -> None:
    path = tmp_path / case.name
    if case.content is not None:
        path.write_bytes(case.content if isinstance(case.content, bytes) else case.content.encode())
    with pytest.raises(case.error) as caught:
        list(READERS[case.table](path, mapping=dict(case.mapping), limits=LIMITS, report=Report()))
    assert case.says in str(caught.value)
    assert caught.value.hint
    if case.error is TableError:
        assert str(path) in str(caught.value)


def test_folder_and_pipe_are_refused(tmp_path: Path, report: Report) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    for path, says in ((tmp_path, "is a folder"), (tmp_path / "pipe.csv", "not a regular file")):
        with pytest.raises(TableError, match=says):
            list(read_items(path, report=report))


@dataclass(frozen=True)
class BadRow:
    kind: str
    """The kind of fault in the report."""
    name: str
    content: bytes | str
    column: str
    says: str
    table: str = "items"
    row: int = 2
    line: int | None = None
    mapping: tuple[tuple[str, str], ...] = ()


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def items(second: dict[str, Any]) -> str:
    return lines({"item_id": "1", "title": "one"}, second, {"item_id": "3", "title": "three"})


def events(second: dict[str, Any]) -> str:
    base = {"user_id": "u", "item_id": "1", "timestamp": 5, "rating": 4}
    return lines(base, base | second, base | {"timestamp": 7})


ROWS = [
    BadRow("missing id", "a.jsonl", items({"title": "x"}), "item_id", "the id is missing"),
    BadRow("missing id", "a.csv", "item_id,title\n1,a\n ,b\n3,c\n", "item_id", "the id is missing", line=3),
    BadRow("missing id", "a.parquet", parquet(item_id=pa.array([1.0, float("nan"), 3.0]), t=[1, 2, 3]), "item_id", "missing"),
    BadRow("bad id", "a.jsonl", items({"item_id": True}), "item_id", "not bool"),
    BadRow("bad id", "a.jsonl", items({"item_id": 1.5}), "item_id", "not float"),
    BadRow("bad id", "a.jsonl", items({"item_id": ["1"]}), "item_id", "not list"),
    BadRow("bad id", "a.jsonl", items({"item_id": "a\x00b"}), "item_id", "U+0000 at position 1"),
    BadRow("bad id", "a.jsonl", items({"item_id": "a\u202eb"}), "item_id", "U+202E at position 1"),
    BadRow("bad id", "a.jsonl", items({"item_id": "\ud800"}), "item_id", "U+D800 at position 0"),
    BadRow("long id", "a.jsonl", items({"item_id": "x" * 257}), "item_id", "257 characters; the limit is 256"),
    BadRow("text too long", "a.jsonl", items({"item_id": "2", "title": "x" * 2001}), "title", "2,001 characters"),
    BadRow("text too long", "a.jsonl", items({"item_id": "2", "plot": "x" * 2001}), "plot", "the limit is 2,000"),
    BadRow("text too long", "a.jsonl", items({"item_id": "2", "note": "x" * 2001}), "note", "2,001 characters"),
    BadRow("text too long", "a.jsonl", items({"item_id": "2", "tags": ["x" * 900] * 2 + ["y" * 1200]}), "tags", "list has"),
    BadRow("wrong type", "a.jsonl", items({"item_id": "2", "title": [{"a": 1}]}), "title", "text is expected"),
    BadRow("bad list", "a.csv", "item_id,g\n1,[]\n2,[oops\n3,[]\n", "g", "not a JSON list", line=3, mapping=(("g[json]", "g"),)),
    BadRow(
        "bad list", "a.csv", "item_id,g\n1,[]\n2,7\n3,[]\n", "g", "not a JSON list but int", line=3, mapping=(("g[json]", "g"),)
    ),
    BadRow("wrong number of fields", "a.csv", "item_id,title\n1,a\n2\n3,c\n", "", "1 fields where 2 are expected", line=3),
    BadRow("wrong number of fields", "a.csv", "item_id,title\n1,a\n2,b,c\n3,c\n", "", "3 fields where 2", line=3),
    BadRow("unreadable row", "a.csv", 'item_id,title\n1,a\n2,"b" c\n3,c\n', "", "text follows a closing quote", line=3),
    BadRow("unreadable row", "a.csv", 'item_id,title\n1,a\n2,"b\n3,c\n', "", "never closed", line=3),
    BadRow("unreadable row", "a.csv", f"item_id,title\n1,a\n2,{'x' * 5_000_000}\n3,c\n", "", "a field is too long", line=3),
    BadRow("unreadable row", "a.jsonl", '{"item_id": "1"}\n{"item_id": \n{"item_id": "3"}\n', "", "not JSON"),
    BadRow("unreadable row", "a.jsonl", '{"item_id": "1"}\n["2"]\n{"item_id": "3"}\n', "", "not list"),
    BadRow("unreadable row", "a.json", '[{"item_id": "1"}, null, {"item_id": "3"}]', "", "not NoneType", line=1),
    BadRow("unreadable row", "a.jsonl", '{"item_id":"1"}\n' + "[" * 200_000 + '\n{"item_id":"3"}\n', "", "nested too deeply"),
    BadRow(
        "unreadable row",
        "a.jsonl",
        '{"item_id":"1"}\n{"n":' + "9" * 5000 + '}\n{"item_id":"3"}\n',
        "",
        "not JSON that can be read",
    ),
    BadRow("unreadable row", "b.jsonl", '{"item_id":"1"}\n\n{broken\n{"item_id":"3"}\n', "", "not JSON", line=3),
    BadRow("unknown item", "a.jsonl", events({"item_id": "99"}), "item_id", "there is no item '99'", "events"),
    BadRow("missing id", "a.jsonl", events({"user_id": None}), "user_id", "missing", "events"),
    BadRow("bad time", "a.jsonl", events({"timestamp": "yesterday"}), "timestamp", "'yesterday' is not a time", "events"),
    BadRow("bad time", "a.jsonl", events({"timestamp": "2024-13-01"}), "timestamp", "is not a time", "events"),
    BadRow("bad time", "a.jsonl", events({"timestamp": None}), "timestamp", "the time is missing", "events"),
    BadRow("bad time", "a.jsonl", events({"timestamp": True}), "timestamp", "is not a time", "events"),
    BadRow("bad time", "a.jsonl", events({"timestamp": 1e21}), "timestamp", "between the years", "events"),
    BadRow("not a number", "a.jsonl", events({"timestamp": [1]}), "timestamp", "is not a number", "events"),
    BadRow("not a number", "a.jsonl", events({"rating": "five"}), "rating", "'five' is not a number", "events"),
    BadRow("not a number", "a.jsonl", events({"rating": float("inf")}), "rating", "not finite", "events"),
    BadRow("not a number", "a.jsonl", events({"rating": "1e999"}), "rating", "not finite", "events"),
    BadRow("text too long", "a.jsonl", events({"kind": "k" * 257}), "kind", "257 characters", "events"),
    BadRow("missing id", "a.jsonl", lines({"user_id": "1"}, {"age": 3}, {"user_id": "3"}), "user_id", "missing", "users"),
    BadRow(
        "text too long",
        "a.jsonl",
        lines({"user_id": "1"}, {"user_id": "2", "interests": "x" * 2001}, {"user_id": "3"}),
        "interests",
        "2,001",
        "users",
    ),
]


@pytest.mark.parametrize("case", ROWS, ids=lambda case: f"{case.kind}: {case.says}")
def test_bad_row_is_a_fault_and_the_others_are_kept(case: BadRow, tmp_path: Path, report: Report) -> None:
    path = tmp_path / case.name
    path.write_bytes(case.content if isinstance(case.content, bytes) else case.content.encode("utf-8", "surrogatepass"))
    options: dict[str, Any] = {"mapping": dict(case.mapping), "limits": LIMITS}
    if case.table == "events":
        options["known_items"] = {"1"}
    kept = [record for batch in READERS[case.table](path, report=report, **options) for record in batch]
    assert len(kept) == 2
    (fault,) = report.faults
    assert (fault.file, fault.row, fault.column, fault.kind) == (str(path), case.row, case.column, case.kind)
    assert case.says in fault.message
    if case.line is not None:
        assert fault.line == case.line
    counts = report.tables[case.table]  # type: ignore[index]
    assert (counts.read, counts.kept, counts.merged, counts.faulty) == (3, 2, 0, 1)
    with pytest.raises(RowError) as caught:
        list(READERS[case.table](path, report=Report(strict=True), **options))
    assert str(caught.value) == str(fault)
    assert caught.value.hint


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is huge."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


PICTURES: list[tuple[str, str, bytes | None, str]] = [
    ("30-megapixel bomb", "a.png", bomb(6000, 5000), "too many pixels (6000 × 5000 pixels)"),
    ("gigapixel bomb", "a.png", bomb(60000, 50000), "too many pixels"),
    ("text file named .jpg", "a.jpg", b"this is no picture", "not a JPEG, PNG"),
    ("SVG", "a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a JPEG, PNG"),
    ("format not taken", "a.ico", picture("ICO", (16, 16)), "not a JPEG, PNG"),
    ("empty file", "a.png", b"", "the picture is empty"),
    ("truncated JPEG", "a.jpg", picture("JPEG", (400, 300))[:-700], "damaged"),
    ("damaged PNG", "a.png", picture("PNG", (300, 300))[:60] + b"\x00" * 300, "damaged"),
    ("too many bytes", "a.bmp", picture("BMP", (300, 300)), "larger than 200,000 bytes"),
    ("missing file", "none.png", None, "no such file"),
    ("absolute path", "/etc/passwd", None, "absolute path"),
    ("Windows path", "C:\\pictures\\a.png", None, "absolute path"),
    ("home folder", "~/a.png", None, "absolute path"),
    ("path upwards", "../a.png", None, ".. is not allowed"),
    ("path upwards with backslashes", "x\\..\\..\\a.png", None, ".. is not allowed"),
    ("folder", ".", None, "Is a directory"),
    ("NUL in the path", "a\x00.png", None, "null byte"),
    ("endless name", "a" * 5000, None, "too long"),
    ("file URL", "file:///etc/passwd", None, "only http and https"),
    ("ftp URL", "ftp://example.org/a.png", None, "only http and https"),
    ("javascript URL", "javascript:alert(1)", None, "only http and https"),
    ("URL without host", "http:///a.png", None, "names no host"),
    ("broken URL", "http://[::1/a.png", None, "not a URL"),
    ("loopback", "http://127.0.0.1:9/a.png", None, "private or reserved"),
    ("loopback as a number", "http://2130706433/a.png", None, "private or reserved"),
    ("loopback in IPv6", "http://[::ffff:127.0.0.1]/a.png", None, "private or reserved"),
    ("cloud metadata", "http://169.254.169.254/latest/meta-data", None, "private or reserved"),
    ("private network", "http://10.0.0.1/a.png", None, "private or reserved"),
    ("data URL that is not base64", "data:image/png;base64,@@@", None, "not base64"),
    ("data URL of text", "data:image/png;base64,aGVsbG8=", None, "not a JPEG, PNG"),
]


@pytest.mark.parametrize(("kind", "value", "content", "says"), PICTURES, ids=[case[0] for case in PICTURES])
def test_bad_picture_is_a_fault_and_its_item_is_kept(
    kind: str, value: str, content: bytes | None, says: str, tmp_path: Path, report: Report
) -> None:
    folder = tmp_path / "tables"
    folder.mkdir()
    (folder / "good.png").write_bytes(picture())
    (tmp_path / "a.png").write_bytes(picture())
    if content is not None:
        (folder / value).write_bytes(content)
    path = folder / "items.jsonl"
    path.write_text(lines({"item_id": "1", "image": "good.png"}, {"item_id": "2", "title": "kept", "image": value}))
    media = MediaFolder(tmp_path / "workspace", limits=LIMITS)
    first, second = [item for batch in read_items(path, limits=LIMITS, media=media, report=report) for item in batch]
    assert first.image
    assert (second.title, second.image) == ("kept", None)
    (fault,) = report.faults
    assert (fault.row, fault.column, fault.kind) == (2, "image", "bad picture")
    assert says in fault.message, kind
    assert report.tables["items"].kept == 2
    assert report.tables["items"].faulty == 0
    assert any("--media-root" in note for note in report.notes) is (
        says in ("no such file", "absolute path", ".. is not allowed")
    )
    assert [p.name for p in (tmp_path / "workspace").rglob("*") if p.is_file()] == [Path(first.image).name]


def test_every_kind_of_damage_to_bytes_is_a_data_error(tmp_path: Path) -> None:
    """Random damage to real files never ends in another exception."""
    import random

    chance = random.Random(7)
    table = parquet(item_id=["1", "2", "3"] * 50, title=["a", None, "ü"] * 50)
    sources = [
        ("a.parquet", table),
        ("a.csv.gz", gzip.compress(b"item_id,title\n1,a\n2,b\n" * 30)),
        ("a.json", b'[{"item_id":"1"}]'),
    ]
    for name, content in sources:
        for _ in range(60):
            data = bytearray(content)
            for _ in range(chance.randint(1, 6)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            path = tmp_path / name
            path.write_bytes(bytes(data[: chance.randint(1, len(data))] if chance.random() < 0.3 else data))
            with contextlib.suppress(DataError):
                list(read_items(path, report=Report()))
