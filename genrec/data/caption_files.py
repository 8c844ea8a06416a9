"""Captions from a file: JSON lines or a delimited table, every fault with its row."""

import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from genrec.data.cleaning import clean_text, identifier
from genrec.data.delimited_table import DelimitedTable
from genrec.data.ingest_report import CellFault, Report
from genrec.data.input_file import CHUNK_ROWS, InputFile
from genrec.data.json_table import json_lines
from genrec.errors import TableError
from genrec.types import HUMAN, CaptionSource, StoredCaption

COLUMNS = "item_id title text tags language source model adapter prompt evidence evidence_digest doubt note made_at".split()
"""Of a file of captions; `item_id` is needed, and one of title, text and tags."""
PARTS = ("title", "text", "tags")
LINES = (".jsonl", ".ndjson", ".json")
_EXAMPLE = '{"item_id": "1", "title": "Red Mug"}'

Row = tuple[int, StoredCaption]


def read_captions(path: Path, report: Report) -> Iterator[list[Row]]:
    """Batches of (row, caption), `imported`. A row that does not say who wrote it was written by a person, now.

    Faulty rows are left out and reported. Raises TableError, RowError (strict).
    """
    source = InputFile.examine(path)
    rows = _lines(source, report) if source.name.lower().endswith(LINES) else _table(source, report)
    counts, batch, now = report.tables["captions"], [], time.time()
    for number, line, cells in rows:
        counts.read += 1
        try:
            if isinstance(cells, str):
                raise CellFault("unreadable row", "", cells)
            batch.append((number, _caption(cells, now)))
        except CellFault as fault:
            counts.faulty += 1
            report.add(fault.at(str(path), number, line))
            continue
        counts.kept += 1
        if len(batch) >= CHUNK_ROWS:
            yield batch
            batch = []
    yield batch


def _lines(source: InputFile, report: Report) -> Iterator[tuple[int, int, Mapping[str, Any] | str]]:
    """(row, line, object or what is wrong with it)."""
    source.refuse_binary()
    for row, (line, value, wrong, _) in enumerate(json_lines(source), 1):
        if isinstance(value, dict):
            _note_unused(value, source, report)
            yield row, line, value
        else:
            yield row, line, wrong or f"a row is an object such as {_EXAMPLE}, not {type(value).__name__}"


def _table(source: InputFile, report: Report) -> Iterator[tuple[int, int, Mapping[str, Any] | str]]:
    table = DelimitedTable(source)
    if "item_id" not in table.columns or not set(PARTS).intersection(table.columns):
        raise TableError(
            f"{source.path}: the columns are {', '.join(table.columns)}", hint="item_id is needed, and title, text or tags."
        )
    _note_unused(table.columns, source, report)
    wrong: dict[int, str] = {}
    for row, line, fields, _ in table.records(lambda row, line, kind, message: wrong.update({row: message})):
        cells = {name: cell for name, cell in zip(table.names, fields or (), strict=False) if cell}
        yield row, line, wrong.pop(row, cells)


def _note_unused(names: Iterable[str], source: InputFile, report: Report) -> None:
    if other := [name for name in names if name not in COLUMNS]:
        report.note(f"{source.path}: columns without a meaning are ignored: {', '.join(other)}")


def _caption(cells: Mapping[str, Any], now: float) -> StoredCaption:
    """Raises CellFault."""
    given = {name: cells[name] for name in COLUMNS if cells.get(name) is not None}
    fields: dict[str, Any] = {"item_id": identifier(given.get("item_id"), "item_id")}
    fields |= {name: _text(name, given[name]) for name in _TEXTS if name in given}
    source = fields.setdefault("source", HUMAN)
    if source not in get_args(CaptionSource):
        raise CellFault(
            "bad value", "source", f"source is {source!r:.40}, it must be one of {', '.join(get_args(CaptionSource))}"
        )
    if not set(PARTS).intersection(given):
        raise CellFault("bad value", "", "it has no title, no text and no tags")
    fields |= {"doubt": _number(given, "doubt", 0.0), "made_at": _number(given, "made_at", now)}
    if not 0 <= fields["doubt"] <= 1:
        raise CellFault("bad value", "doubt", f"doubt is {fields['doubt']:g}, it must be from 0 to 1")
    fields["evidence"] = _json("evidence", given.get("evidence", {}))
    if not isinstance(fields["evidence"], dict):
        raise CellFault("bad value", "evidence", "evidence must be a JSON object")
    fields["tags"] = _tags(given["tags"]) if "tags" in given else None
    return StoredCaption(imported=True, **fields)


_TEXTS = tuple(name for name in COLUMNS if name not in ("item_id", "tags", "evidence", "doubt", "made_at"))


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise CellFault("bad value", name, f"{name} is {value!r:.40}, it must be text")
    return clean_text(value)


def _number(given: Mapping[str, Any], name: str, default: float) -> float:
    value = given.get(name, default)
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise CellFault("bad value", name, f"{name} is {value!r:.40}, it must be a number")
    return number


def _json(name: str, value: Any) -> Any:
    """What JSON as text stands for; other values as they are."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError) as error:
        raise CellFault("bad value", name, f"{name} is not JSON: {error}") from error


def _tags(value: Any) -> tuple[str, ...]:
    """From a list, a JSON list as text, or words between commas."""
    if isinstance(value, str):
        value = _json("tags", value) if value.lstrip().startswith("[") else value.split(",")
    if not isinstance(value, list) or not all(isinstance(tag, str) for tag in value):
        raise CellFault("bad value", "tags", "tags must be a list of texts, or texts between commas")
    return tuple(dict.fromkeys(tag.strip() for tag in value if tag.strip()))
