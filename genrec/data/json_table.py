"""JSON lines, a JSON array of objects, or one JSON object of objects by id (then the id is the column `key`).

Nested objects become columns with dotted names. None of the three is ever held in memory as a whole.
"""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from genrec.data.input_file import CHUNK_ROWS, MAX_LINE, Cells, Chunk, InputFile, RowFault, in_chunks
from genrec.errors import TableError

KEY = "key"
_SAMPLE_ROWS = 1000
_MAX_DEPTH = 8
_DECODER = json.JSONDecoder()
_SPACE = " \t\r\n"
_EXAMPLE = '{"item_id": "1"}'

Found = tuple[int, Any, str, int]
"""Line, value (or None), what is wrong with it (or ""), length in characters."""


def json_lines(source: InputFile) -> Iterator[Found]:
    """The value of each line that is not blank."""
    for line, text in source.lines():
        if not text.strip():
            continue
        try:
            yield line, json.loads(text), "", len(text)
        except json.JSONDecodeError as error:
            yield line, None, f"not JSON: {error.msg} at character {error.colno}", len(text)
        except RecursionError:
            yield line, None, "not JSON that can be read: nested too deeply", len(text)
        except ValueError as error:  # a whole number of thousands of digits
            yield line, None, f"not JSON that can be read: {error}", len(text)


class JsonTable:
    """`columns` are those of the first 1,000 rows; later rows may bring more."""

    cells: Cells = "json"

    def __init__(self, source: InputFile) -> None:
        source.refuse_binary()
        self.source = source
        self._by_line = _is_lines(source)
        names: dict[str, None] = {}
        for _, value, wrong, _ in islice(self._values(), _SAMPLE_ROWS):
            if not wrong and isinstance(value, dict):
                names.update(dict.fromkeys(flatten(value)))
        self.columns = tuple(names)

    def _values(self) -> Iterator[Found]:
        return json_lines(self.source) if self._by_line else _Document(self.source).values()

    def chunks(self, fault: RowFault, *, rows: int = CHUNK_ROWS, only: tuple[str, ...] | None = None) -> Iterator[Chunk]:
        for numbers, lines, records, read in in_chunks(self._objects(fault), rows):
            names = dict.fromkeys(only if only is not None else self.columns)
            if only is None:
                for record in records:
                    names.update(dict.fromkeys(record))
            columns = {name: [record.get(name) for record in records] for name in names}
            yield Chunk(numbers, lines, columns, read, self.source.position)

    def _objects(self, fault: RowFault) -> Iterator[tuple[int, int, dict[str, Any] | None, int]]:
        """(row, line, flattened object or None where the row is none, characters)."""
        for row, (line, value, wrong, length) in enumerate(self._values(), 1):
            record = flatten(value) if isinstance(value, dict) else None
            if record is None:
                reason = wrong or f"a row is an object such as {_EXAMPLE}, not {type(value).__name__}"
                fault(row, line, "unreadable row", reason)
            yield row, line, record, length


def flatten(record: dict[str, Any]) -> dict[str, Any]:
    """{"a": {"b": 1}} becomes {"a.b": 1}; deeper than eight levels stays an object, which no field takes."""
    if not any(isinstance(value, dict) for value in record.values()):
        return record
    flat: dict[str, Any] = {}
    waiting = [(name, value, 1) for name, value in reversed(record.items())]
    while waiting:
        name, value, depth = waiting.pop()
        if isinstance(value, dict) and depth < _MAX_DEPTH:
            waiting += [(f"{name}.{inner}", below, depth + 1) for inner, below in reversed(value.items())]
        else:
            flat[name] = value
    return flat


def _is_lines(source: InputFile) -> bool:
    """Whether each line is a row of its own."""
    if source.name.lower().endswith((".jsonl", ".ndjson")):
        return True
    if source.head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"[":
        return False
    first = next((text for _, text in source.lines() if text.strip()), "")
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        return False
    return not (isinstance(value, dict) and value and all(isinstance(inner, dict) for inner in value.values()))


class _Document:
    """One JSON document, whose elements are decoded one at a time from a buffer that is refilled as needed."""

    def __init__(self, source: InputFile) -> None:
        self._source = source
        self._pieces = source.pieces()
        self._text, self._at, self._line, self._ended = "", 0, 1, False

    def values(self) -> Iterator[Found]:
        opening = self._next()
        close = {"[": "]", "{": "}"}.get(opening)
        if close is None:
            raise self._broken("neither an array nor an object")
        self._move(self._at + 1)
        if self._next() == close:
            return
        while True:
            key = self._key() if opening == "{" else None
            self._next()
            line = self._line
            value, length = self._decode()
            if key is not None and isinstance(value, dict):
                value = {KEY: key, **value}
            yield line, value, "", length
            sign = self._next()
            if sign == close:
                return
            if sign != ",":
                raise self._broken("a comma is missing between two rows" if sign else "the file ends too early")
            self._move(self._at + 1)

    def _key(self) -> str:
        if self._next() != '"':
            raise self._broken("the name of a row is missing")
        key, _ = self._decode()
        if self._next() != ":":
            raise self._broken("a colon is missing after the name of a row")
        self._move(self._at + 1)
        return key

    def _fill(self) -> bool:
        """Read on; False at the end of the file."""
        piece = next(self._pieces, None)
        self._ended = piece is None
        self._text, self._at = self._text[self._at :] + (piece or ""), 0
        return not self._ended

    def _move(self, to: int) -> None:
        self._line += self._text.count("\n", self._at, to)
        self._at = to

    def _next(self) -> str:
        """The next character that is not white space, "" at the end."""
        while True:
            at = self._at
            while at < len(self._text) and self._text[at] in _SPACE:
                at += 1
            self._move(at)
            if at < len(self._text):
                return self._text[at]
            if not self._fill():
                return ""

    def _decode(self) -> tuple[Any, int]:
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                # Near the end of the buffer the value may merely be incomplete.
                cut = error.pos > len(self._text) - 32 or error.msg.startswith("Unterminated string")
                if not cut or self._ended or len(self._text) - self._at > MAX_LINE:
                    self._move(min(error.pos, len(self._text)))
                    raise self._broken("the file ends too early" if cut else error.msg) from error
            except (ValueError, RecursionError) as error:
                raise self._broken(str(error)) from error
            else:
                if end < len(self._text) or self._ended:
                    length = end - self._at
                    self._move(end)
                    return value, length
            self._fill()

    def _broken(self, reason: str) -> TableError:
        hint = "Mend the file, or write one object a line (.jsonl): then only broken rows are left out."
        return TableError(f"{self._source.path}, line {self._line}: not JSON ({reason})", hint=hint)
