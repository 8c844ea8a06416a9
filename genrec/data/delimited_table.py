"""CSV and its kin, read with the standard library's parser so that every faulty row has its number and line.

The delimiter (, ; tab | ::) and whether quotes mean anything are told from the beginning of the file.
"""

import csv
import io
from collections import deque
from collections.abc import Iterator
from itertools import dropwhile, islice

from genrec.data.input_file import CHUNK_ROWS, Cells, Chunk, InputFile, RowFault, in_chunks
from genrec.errors import TableError

# With each delimiter whether quotes may mean something: always in CSV, never around `::`, else as the file shows.
_QUOTED = {",": (True,), ";": (True,), "\t": (True, False), "|": (True, False), "::": (False,)}
_UNIT = "\x1f"  # stands for `::`, which the parser cannot take
_SAMPLE_LINES = 200


class DelimitedTable:
    """`names` are those of all columns, `columns` those that are not empty.

    `header=False`: the first line is data and the columns are called #1, #2, …
    """

    cells: Cells = "text"

    def __init__(self, source: InputFile, *, header: bool = True, field_chars: int = 0) -> None:
        source.refuse_binary()
        # The parser's limit is one for the whole process: it is only ever raised.
        csv.field_size_limit(max(csv.field_size_limit(), 2 * field_chars))
        self.source = source
        self._header = header
        texts = dropwhile(lambda text: not text.strip(), (text for _, text in source.lines()))
        sample = list(islice(texts, _SAMPLE_LINES)) or [""]
        if "\r" in sample[0].rstrip("\r\n"):
            hint = "Save the file with line ends LF or CR LF."
            raise TableError(f"{source.path}: lines end in a carriage return only", hint=hint)
        self._delimiter, self._quoted = _sniff(sample, source.name)
        first = next(self._records(), None)
        if first is None or isinstance(first[1], str):
            raise TableError(f"{source.path}: the header line cannot be read", hint="Write the names of the columns in line 1.")
        self._width = len(first[1])
        self.names = [name.strip() for name in first[1]] if header else [f"#{n + 1}" for n in range(self._width)]
        while self.names and not self.names[-1] and self._width > 1:  # a delimiter at the end of the header line
            self.names.pop()
            self._width -= 1
        self.columns = tuple(name for name in self.names if name)

    def chunks(self, fault: RowFault, *, rows: int = CHUNK_ROWS, only: tuple[str, ...] | None = None) -> Iterator[Chunk]:
        for numbers, lines, records, read in in_chunks(self.records(fault), rows):
            cells = [list(column) for column in zip(*records, strict=True)] if records else [[] for _ in self.names]
            columns = {name: column for name, column in zip(self.names, cells, strict=True) if name}
            yield Chunk(numbers, lines, columns, read, self.source.position)

    def records(self, fault: RowFault) -> Iterator[tuple[int, int, list[str] | None, int]]:
        """(row, line, one field for each of `names` or None where that is a fault, characters)."""
        records = self._records()
        if self._header:
            next(records)
        for row, (line, fields) in enumerate(records, 1):
            fitted = None
            if isinstance(fields, str):
                fault(row, line, "unreadable row", fields)
            elif (fitted := self._fit(fields)) is None:
                fault(row, line, "wrong number of fields", f"{len(fields)} fields where {self._width} are expected")
            yield row, line, fitted, sum(map(len, fitted or ()))

    def _records(self) -> Iterator[tuple[int, list[str] | str]]:
        """(line, fields), or (line, what is wrong with the record that starts there)."""
        for line, fields in _parse(self.source.lines(), self._delimiter, self._quoted):
            if isinstance(fields, csv.Error):
                yield line, _explain(fields)
            elif fields and (len(fields) > 1 or fields[0].strip()):
                yield line, fields

    def _fit(self, fields: list[str]) -> list[str] | None:
        if len(fields) > self._width and not any(fields[self._width :]):
            return fields[: self._width]
        return fields if len(fields) == self._width else None


class _Feed:
    """Hands lines to the parser and keeps those of the record being read."""

    def __init__(self, lines: Iterator[tuple[int, str]]) -> None:
        self._lines = lines
        self._waiting: deque[tuple[int, str]] = deque()
        self.record: list[tuple[int, str]] = []

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        line = self._waiting.popleft() if self._waiting else next(self._lines)
        self.record.append(line)
        return line[1]

    def again(self) -> None:
        self._waiting.extendleft(reversed(self.record[1:]))


def _parse(lines: Iterator[tuple[int, str]], delimiter: str, quoted: bool) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """(line, fields or fault) of each record of the numbered lines, by the line where it begins."""
    if delimiter == "::":
        lines, delimiter = ((n, text.replace("::", _UNIT)) for n, text in lines), _UNIT
    feed = _Feed(lines)

    def reader() -> Iterator[list[str]]:
        return csv.reader(feed, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE, strict=True)

    records = reader()
    while True:
        feed.record.clear()
        try:
            fields = next(records)
        except StopIteration:
            return
        except csv.Error as error:
            yield feed.record[0][0], error
            # A quote that is never closed swallows the rows after it: read those again on their own.
            feed.again()
            records = reader()
        else:
            yield feed.record[0][0], fields


def _sniff(sample: list[str], name: str) -> tuple[str, bool]:
    """The delimiter whose rows most often have as many fields as the first line; then the one with most fields."""
    best, chosen = (0.0, 0), (",", True)
    order = sorted(_QUOTED, key=lambda sign: sign != "\t") if name.lower().endswith((".tsv", ".tab")) else list(_QUOTED)
    for delimiter in order:
        if delimiter not in sample[0]:
            continue
        for quoted in _QUOTED[delimiter]:
            agreeing, width = _agreement(sample, delimiter, quoted)
            if width > 1 and (agreeing, width) > best:
                best, chosen = (agreeing, width), (delimiter, quoted)
    return chosen


def _agreement(sample: list[str], delimiter: str, quoted: bool) -> tuple[float, int]:
    """Share of the sample's records that have as many fields as the first, and that number."""
    width = agreeing = records = 0
    for _, fields in _parse(enumerate(io.StringIO("".join(sample), newline="")), delimiter, quoted):
        if fields == []:
            continue
        # a fault speaks against this reading, or is only that the sample ends inside a quoted field
        size = 0 if isinstance(fields, csv.Error) else len(fields)
        records += 1
        width = width or size
        agreeing += size == width
    return agreeing / max(records, 1), width


def _explain(error: csv.Error) -> str:
    text = str(error)
    if "end of data" in text:
        return "a quote is opened and never closed"
    if "field limit" in text:
        return "a field is too long (or a quote is opened and never closed)"
    if "expected after" in text:
        return "text follows a closing quote; a quote inside a field is written twice"
    return text
