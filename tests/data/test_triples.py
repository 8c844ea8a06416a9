"""Knowledge graphs: columns by name and by mapping, faults of rows, tables that are none."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genrec.data.columns import parse_map, resolve
from genrec.data.ingest_report import Report
from genrec.data.table_readers import read_triples
from genrec.errors import ConfigError, RowError, TableError
from genrec.settings.sections import IngestSettings
from genrec.types import Triple

Write = Callable[[str, str | bytes], Path]
WriteRows = Callable[..., Path]
FACT = Triple(head="m1", relation="starring", tail="Tom")


def triples(path: Path, report: Report | None = None, *pairs: str) -> list[Triple]:
    report = report or Report(strict=True)
    return [one for batch in read_triples(path, mapping=parse_map(pairs), report=report) for one in batch]


@pytest.mark.parametrize(
    "header",
    [
        ("head", "relation", "tail"),
        ("subject", "predicate", "object"),
        ("source", "relation", "target"),
        ("h", "r", "t"),
        ("s", "p", "o"),
        ("Head ID", "relation_id", "tailId"),
        ("item_id", "relation", "entity"),
        ("movieId", "property", "object"),
    ],
)
def test_names_of_the_columns(header: tuple[str, str, str], write: Write) -> None:
    assert triples(write("kg.csv", ",".join(header) + "\nm1,starring,Tom\n")) == [FACT]


def test_every_format(write: Write, write_rows: WriteRows, tmp_path: Path) -> None:
    pq.write_table(pa.table({"tail": ["Tom"], "head": ["m1"], "relation": ["starring"]}), tmp_path / "kg.parquet")
    assert triples(tmp_path / "kg.parquet") == [FACT]
    assert triples(write_rows({"head": "m1", "relation": "starring", "tail": "Tom"})) == [FACT]
    assert triples(write("kg.tsv.gz", gzip.compress(b"h\tr\tt\nm1\tstarring\tTom\n"))) == [FACT]
    numbers = pa.table({"h": [1, 2], "r": [3, 3], "t": [4.0, 5.0]})
    pq.write_table(numbers, tmp_path / "n.parquet")
    assert triples(tmp_path / "n.parquet")[1] == Triple(head="2", relation="3", tail="5")


def test_mapping_by_name_by_place_and_constant(write: Write) -> None:
    path = write("a.csv", "film,what,who,head\nm1,starring,Tom,wrong\n")
    assert triples(path, None, "head=film", "relation=what", "tail=who") == [FACT]
    path = write("fb.txt", "m1\tstarring\tTom\nm2\tstarring\tTom\n")
    assert triples(path, None, "head=#1", "relation=#2", "tail=#3") == [FACT, Triple(head="m2", relation="starring", tail="Tom")]
    path = write("pairs.csv", "item_id,target,relation\nm1,m2,ignored\n")
    assert triples(path, Report(), "relation== also bought ") == [Triple(head="m1", relation="also bought", tail="m2")]


def test_heads_and_tails_are_cleaned_like_ids(write_rows: WriteRows) -> None:
    (fact,) = triples(write_rows({"head": 7.0, "relation": " by ", "tail": " Ame\u0301lie\n"}))
    assert fact == Triple(head="7", relation="by", tail="Amélie")


def test_repeats_and_order_are_the_tables(write: Write, report: Report) -> None:
    path = write("kg.csv", "h,r,t,source_url,weight\nb,r,t,x,1\na,r,t,x,2\nb,r,t,x,3\n")
    assert [one.head for one in triples(path, report)] == ["b", "a", "b"]
    assert report.notes == [f"{path}: columns of triples that are not kept: source_url, weight"]
    counts = report.tables["triples"]
    assert (counts.read, counts.kept, counts.merged, counts.faulty) == (3, 3, 0, 0)
    assert "triples: 3 rows read, 3 kept, 0 merged, 0 left out" in report.summary()


@pytest.mark.parametrize(
    ("row", "column", "kind", "says"),
    [
        ({"relation": "r", "tail": "t"}, "head", "missing entity", "the entity is missing"),
        ({"head": "h", "tail": "t"}, "relation", "missing relation", "the relation is missing"),
        ({"head": "h", "relation": "r", "tail": " "}, "tail", "missing entity", "the entity is missing"),
        ({"head": "h", "relation": "r", "tail": ["a", "b"]}, "tail", "bad entity", "text or a whole number, not list"),
        ({"head": "h", "relation": "r", "tail": 2.5}, "tail", "bad entity", "not float"),
        ({"head": True, "relation": "r", "tail": "t"}, "head", "bad entity", "not bool"),
        ({"head": "h", "relation": "r\x07", "tail": "t"}, "relation", "bad relation", "U+0007 at position 1"),
        ({"head": "h", "relation": "r" * 129, "tail": "t"}, "relation", "long relation", "129 characters; the limit is 128"),
        ({"head": "h", "relation": "r", "tail": "t" * 257}, "tail", "long entity", "257 characters; the limit is 256"),
    ],
)
def test_a_faulty_row_costs_no_other(row: dict, column: str, kind: str, says: str, write_rows: WriteRows, report: Report) -> None:
    good = {"head": "m1", "relation": "starring", "tail": "Tom"}
    path = write_rows(good, row, good)
    assert triples(path, report) == [FACT, FACT]
    assert report.totals == {kind: 1}
    (fault,) = report.faults
    assert (fault.row, fault.column) == (2, column)
    assert says in fault.message
    assert report.tables["triples"].faulty == 1
    with pytest.raises(RowError, match=f"row 2, column {column}: "):
        triples(path)


def test_longest_names_are_kept(write_rows: WriteRows) -> None:
    (fact,) = triples(write_rows({"head": "h" * 256, "relation": "r" * 128, "tail": "t" * 256}))
    assert (len(fact.head), len(fact.relation), len(fact.tail)) == (256, 128, 256)


@pytest.mark.parametrize(
    ("content", "pairs", "error", "says"),
    [
        ("head,tail\na,b\n", (), TableError, "no column for relation; there is head, tail"),
        ("x,y\na,b\n", (), TableError, "no column for head and relation and tail"),
        ("subject,source,r,t\na,b,c,d\n", (), TableError, "subject and source could each be the head"),
        ("h,r,t\n", (), TableError, "no rows"),
        ("h,r,t\na,b,c\n", ("head=none",), TableError, "no column 'none' for head"),
        ("h,r,t\na,b,c\n", ("title=h",), ConfigError, "triples have no field 'title'"),
        ("h,r,t\na,b,c\n", ("tail[|]=t",), ConfigError, r"triples have no field 'tail'"),
        ("h,r,t\na,b,c\n", ("attributes.x=t",), ConfigError, "triples have no field"),
        ("h,r,t\na,b,c\n", ("head==m1",), TableError, "no column '=m1' for head"),
        ("h,t\na,b\n", ("relation== ",), ConfigError, "the relation is missing"),
        ("h,t\na,b\n", ("relation==" + "r" * 129,), ConfigError, "the limit is 128"),
    ],
)
def test_tables_and_mappings_that_are_none(
    content: str, pairs: tuple[str, ...], error: type[Exception], says: str, write: Write
) -> None:
    with pytest.raises(error, match=says) as caught:
        triples(write("kg.csv", content), None, *pairs)
    assert getattr(caught.value, "hint", "")


def test_other_tables_do_not_take_their_columns_as_fields() -> None:
    """An item table with a column called `head` or `relation` keeps it as an attribute."""
    assert set(resolve("items", ["item_id", "head", "relation", "tail"], None, Path("t.csv")).fields) == {"item_id"}


def test_a_raised_limit_reaches_the_parser(write: Write) -> None:
    """The parser's own limit is one for the process and only ever raised: no other test raises it as far as this."""
    path = write("kg.csv", "h,r,t,notes\na,b,c," + "x" * 900_000 + "\n")
    limits = IngestSettings(max_text_chars=500_000)
    assert len([one for batch in read_triples(path, limits=limits, report=Report(strict=True)) for one in batch]) == 1
