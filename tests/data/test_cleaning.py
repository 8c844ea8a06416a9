"""Text, ids, numbers and times of one cell, and the types of attribute columns."""

import contextlib
import time
import unicodedata
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.data.cleaning import clean_text, identifier, number, text_of, timestamp
from genrec.data.ingest_report import CellFault, Report
from genrec.data.table_readers import read_items

BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("plain", "plain"),
        ("  spaces\t tab \n", "spaces  tab"),
        ("a\r\nb\rc\u2028d\x85e", "a\nb\nc\nd\ne"),
        ("nul\x00 bell\x07 esc\x1b[31m del\x7f c1\x9b", "nul bell esc[31m del c1"),
        (f"safe{BIDI}gpj.exe", "safegpj.exe"),
        ("שלום עולם", "שלום עולם"),
        ("مرحبا بالعالم", "مرحبا بالعالم"),
        ("Ame\u0301lie", "Amélie"),
        ("\ud800broken\udfff", "broken"),
        ("\ufeffmark", "mark"),
        ("👩‍👧 می‌خواهم", "👩‍👧 می‌خواهم"),
        ("Post-it&reg; Notes &amp; Flags, 3&#34;", 'Post-it® Notes & Flags, 3"'),
        ("escaped twice&amp;trade; and &amp;amp;amp; often", "escaped twice™ and & often"),
        ("AT&T; R&D &c. &notanentity; &", "AT&T; R&D &c. &notanentity; &"),
        ("hidden &#8238;gpj.exe&#x1b;", "hidden gpj.exe"),
        ("&am&#8234;p;reg;", "®"),
    ],
)
def test_clean_text(raw: str, clean: str) -> None:
    assert clean_text(raw) == clean


@settings(deadline=None)
@given(st.text(st.characters(), max_size=60))
def test_clean_text_is_stable_and_safe(text: str) -> None:
    clean = clean_text(text)
    assert clean_text(clean) == clean
    assert unicodedata.is_normalized("NFC", clean)
    assert not set(clean) & set(BIDI)
    assert all(char == "\n" or unicodedata.category(char) not in ("Cc", "Cs") for char in clean)
    clean.encode("utf-8")


@pytest.mark.parametrize(("raw", "wanted"), [(7, "7"), (7.0, "7"), (" x ", "x"), ("007", "007"), (2**70, str(2**70)), ("é", "é")])
def test_identifier(raw: Any, wanted: str) -> None:
    assert identifier(raw, "id") == wanted


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        (0, 0.0),
        (17, 17.0),
        (881250949, 881250949.0),
        (881250949000, 881250949.0),
        (881250949000000, 881250949.0),
        (881250949000000000, 881250949.0),
        ("881250949", 881250949.0),
        (" 881250949.5 ", 881250949.5),
        ("1997-12-04T15:55:49Z", 881250949.0),
        ("1997-12-04 15:55:49", 881250949.0),
        ("1997-12-04T16:55:49+01:00", 881250949.0),
        ("1997-12-04", 881193600.0),
        (datetime(1997, 12, 4, 15, 55, 49), 881250949.0),
        (datetime(1997, 12, 4, 15, 55, 49, tzinfo=UTC), 881250949.0),
        (date(1997, 12, 4), 881193600.0),
        (-86400, -86400.0),
    ],
)
def test_seconds(raw: Any, wanted: float) -> None:
    assert timestamp(raw, "t") == wanted


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [("", None), ("NaN", None), (None, None), (float("nan"), None), ("4.5", 4.5), (True, 1.0), ("false", 0.0), ("-1e2", -100.0)],
)
def test_number(raw: Any, wanted: float | None) -> None:
    assert number(raw, "n") == wanted


@settings(deadline=None)
@given(st.one_of(st.text(), st.floats(), st.integers(), st.booleans(), st.none(), st.lists(st.integers()), st.datetimes()))
def test_any_cell_is_a_value_or_a_fault(value: Any) -> None:
    for convert in (identifier, number, timestamp, lambda v, c: text_of(v, c, 100)):
        with contextlib.suppress(CellFault):
            convert(value, "column")


def attributes_of(path: Path, report: Report | None = None, **mapping: str) -> list[dict]:
    batches = read_items(path, mapping=mapping, report=report or Report(strict=True))
    return [dict(item.attributes) for batch in batches for item in batch]


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [
        (["1995", "-3", "0"], [1995, -3, 0]),
        (["1", "2.5", ".5"], [1.0, 2.5, 0.5]),
        (["1e3", "2", "3"], [1000.0, 2.0, 3.0]),
        (["true", "False", "TRUE"], [True, False, True]),
        (["01234", "98765", "10000"], ["01234", "98765", "10000"]),
        (["1", "x", "2.0"], ["1", "x", "2.0"]),
        (["true", "1", "0"], ["true", "1", "0"]),
        (["7", "", "NaN"], [7, None, None]),
        (["7", "NA", "n/a"], [7, None, None]),
        (["Namibia", "NA", "x"], ["Namibia", "NA", "x"]),
        (["None", "null", "\\N"], [None, None, None]),
        (["12345678901234567890", "1", "2"], ["12345678901234567890", "1", "2"]),
        (["inf", "1", "2"], ["inf", "1", "2"]),
        (["1,000", "2", "3"], ["1,000", "2", "3"]),
        (["a|b", "c", "d"], ["a|b", "c", "d"]),
        (["Ame\u0301lie", "a\x07b", "\u202e"], ["Amélie", "ab", None]),
    ],
)
def test_types_of_delimited_columns(cells: list[str], wanted: list[Any], write: Callable[[str, str], Path]) -> None:
    path = write("a.tsv", "item_id\tx\n" + "".join(f"{n}\t{cell}\n" for n, cell in enumerate(cells)))
    found = [row.get("x") for row in attributes_of(path)]
    assert found == wanted
    assert list(map(type, found)) == list(map(type, wanted))


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([1, 2], [1, 2]),
        ([1, 2.5], [1.0, 2.5]),
        ([1, "2"], ["1", "2"]),
        ([True, 1], ["true", "1"]),
        ([None, "", float("nan"), 3], [None, None, None, 3]),
        ([["a", "b"], ["a", "a"], []], [("a", "b"), ("a",), None]),
        ([[1, 2.5], [True], [1, "x"]], [(1.0, 2.5), (True,), ("1", "x")]),
        ([[["a"], ["b", ["c"]]], "d"], [("a", "b", "c"), "d"]),
        ([2**80, 1], [str(2**80), "1"]),
        ([float("inf"), 1.5], [None, 1.5]),
        (["NaN", "x"], ["NaN", "x"]),
    ],
)
def test_types_of_json_columns(values: list[Any], wanted: list[Any], write_rows: Callable[..., Path]) -> None:
    found = [row.get("x") for row in attributes_of(write_rows(*({"item_id": n, "x": v} for n, v in enumerate(values))))]
    assert found == wanted
    assert list(map(type, found)) == list(map(type, wanted))


def test_what_no_attribute_holds_is_noted(write_rows: Callable[..., Path], report: Report) -> None:
    path = write_rows({"item_id": 1, "reviews": [{"by": "x"}], "tags": ["a", {"b": 1}]})
    assert attributes_of(path, report) == [{"tags": ("a",)}]
    assert len(report.notes) == 2
    assert "column reviews holds object values, which are not kept" in report.notes[0]


@settings(deadline=None)
@given(st.lists(st.sampled_from(["&", "amp;", "#38;", "#x26;", "lt;", "reg;", "a", ";", "&#8234;", " "]), max_size=12))
def test_entities_are_gone_at_once(parts: list[str]) -> None:
    clean = clean_text("".join(parts))
    assert clean_text(clean) == clean


def test_entities_in_entities_take_no_time() -> None:
    start = time.process_time()
    assert clean_text("&" + "amp;" * 250_000) == "&"
    clean_text("&#38" * 250_000)
    assert time.process_time() - start < 5.0
