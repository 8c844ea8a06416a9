"""A file that is read: opened, un-gzipped, decoded, each failure as one clear error; and the table that every format becomes."""

import codecs
import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import IO, Any, Literal, Protocol, TypeVar

from genrec.errors import TableError

T = TypeVar("T")

MAX_LINE = 64 * 2**20
"""Bytes of the longest line read: room for a row that carries a picture as text."""
CHUNK_ROWS = 5000
CHUNK_CHARS = 32 * 2**20
_PIECE = 2**20
_GZIP = b"\x1f\x8b"

RowFault = Callable[[int, int | None, str, str], None]
"""Called with row, line, kind of fault and message for a row that cannot be read."""

Cells = Literal["text", "json", "typed"]
"""What cells hold: text (delimited files), values of any type (JSON, where later rows may bring more columns), or values of one
type in each column (Parquet)."""


@dataclass(slots=True)
class Chunk:
    """Some rows of a table, by column: `columns[name][i]` belongs to row `rows[i]`. Rows with faults are not in it."""

    rows: list[int]
    lines: list[int] | None
    columns: dict[str, list[Any]]
    read: int
    """Rows read, including those with faults."""
    position: int
    """Bytes of the file on disk read so far."""


class Table(Protocol):
    """A table that can be read any number of times from its beginning."""

    source: "InputFile"
    columns: tuple[str, ...]
    cells: Cells

    def chunks(self, fault: RowFault, *, rows: int = CHUNK_ROWS, only: tuple[str, ...] | None = None) -> Iterator[Chunk]:
        """Read from the beginning, at most `rows` rows at a time; `only` these columns where that saves work."""
        ...


def in_chunks(
    records: Iterable[tuple[int, int, T | None, int]], rows: int
) -> Iterator[tuple[list[int], list[int], list[T], int]]:
    """Group (row, line, content, length in characters) into chunks of at most `rows` rows, or of little more than CHUNK_CHARS.

    Yields row numbers, lines, contents, and how many rows were read: those without content are only counted.
    """
    numbers, lines, contents, read, chars = [], [], [], 0, 0
    for row, line, content, length in records:
        read += 1
        chars += length
        if content is not None:
            numbers.append(row)
            lines.append(line)
            contents.append(content)
        if read >= rows or chars > CHUNK_CHARS:
            yield numbers, lines, contents, read
            numbers, lines, contents, read, chars = [], [], [], 0, 0
    if read:
        yield numbers, lines, contents, read


@dataclass(slots=True)
class InputFile:
    """A file on disk. `head` is the beginning of its content after un-gzipping; `name` is its name without `.gz`."""

    path: Path
    size: int = 0
    zipped: bool = False
    head: bytes = b""
    name: str = ""
    _raw: IO[bytes] | None = field(default=None, repr=False)

    @classmethod
    def examine(cls, path: Path) -> "InputFile":
        """Raises TableError if the file is missing, is not a file, cannot be read, or is empty."""
        path = Path(path)
        source = cls(path)
        if path.is_dir():
            raise TableError(f"{path} is a folder", hint="Name the table's file inside it.")
        if not path.exists():
            raise TableError(f"{path} does not exist", hint="Check the path; it is taken from the current folder.")
        if not path.is_file():
            raise TableError(f"{path} is not a regular file", hint="Write the table to a file first: it is read twice.")
        with source.guard():
            source.size = path.stat().st_size
            with path.open("rb") as file:
                source.zipped = file.read(2) == _GZIP
            source.name = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
            with source.open() as file:
                source.head = file.read(_PIECE)
        if not source.head.strip():
            raise TableError(f"{path} is empty", hint="Write a header line and rows, or leave the table out.")
        return source

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Raises TableError for what goes wrong while reading."""
        try:
            yield
        except EOFError as error:
            raise TableError(f"{self.path}: the gzip data ends too early", hint="The file is cut off: fetch it again.") from error
        except (zlib.error, gzip.BadGzipFile) as error:
            raise TableError(f"{self.path}: damaged gzip data ({error})", hint="Fetch or write the file again.") from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise TableError(f"{self.path} cannot be read: {reason}", hint="Check the path and its permissions.") from error

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The content, un-gzipped."""
        with self.path.open("rb") as raw:
            self._raw = raw
            if self.zipped:
                with gzip.GzipFile(fileobj=raw) as file:
                    yield file  # type: ignore[misc] - a GzipFile reads like any binary file
            else:
                yield raw

    @property
    def position(self) -> int:
        """Bytes of the file on disk read so far by the latest `open`."""
        return self.size if self._raw is None or self._raw.closed else self._raw.tell()

    def lines(self) -> Iterator[tuple[int, str]]:
        """(line number from 1, text with its newline). Raises TableError for bytes that are not UTF-8 and for endless lines."""
        with self.guard(), self.open() as file:
            offset, count = 0, 0
            while data := file.readline(MAX_LINE):
                count += 1
                if len(data) == MAX_LINE:
                    hint = "Check that the file is a table with one row a line."
                    raise TableError(f"{self.path}: line {count} is longer than {MAX_LINE // 2**20} MiB", hint=hint)
                if count == 1 and data.startswith(codecs.BOM_UTF8):
                    offset, data = len(codecs.BOM_UTF8), data.removeprefix(codecs.BOM_UTF8)
                try:
                    yield count, data.decode("utf-8")
                except UnicodeDecodeError as error:
                    raise self._not_utf8(offset + error.start, data[error.start], f" (line {count})") from error
                offset += len(data)

    def pieces(self) -> Iterator[str]:
        """The text in pieces of any length."""
        decoder = codecs.getincrementaldecoder("utf-8")()
        offset = 0
        for data in chain(self.unzipped(), (b"",)):
            pending = len(decoder.getstate()[0])
            try:
                text = decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                raise self._not_utf8(offset - pending + error.start, error.object[error.start]) from error
            yield text if offset else text.removeprefix("\ufeff")
            offset += len(data)

    def _not_utf8(self, offset: int, byte: int, place: str = "") -> TableError:
        hint = "Save the file as UTF-8, for instance: iconv -f WINDOWS-1252 -t UTF-8 old.csv > new.csv"
        return TableError(f"{self.path}: byte {offset}{place} is 0x{byte:02x}, which is not UTF-8", hint=hint)

    def refuse_binary(self) -> None:
        """Raises TableError for content that is plainly not UTF-8 text."""
        head = self.head
        known = {b"PK\x03\x04": "a zip archive or spreadsheet", b"%PDF": "a PDF", b"SQLite format 3": "a SQLite database"}
        known |= {b"\x89PNG": "a picture", b"\xff\xd8\xff": "a picture", b"ARROW1": "an Arrow file", b"\x28\xb5\x2f\xfd": "zstd"}
        for magic, what in known.items():
            if head.startswith(magic):
                raise TableError(f"{self.path} is {what}, not a table", hint="Export it as Parquet, CSV or JSON lines.")
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or head[:2000].count(0) > len(head[:2000]) // 4:
            hint = "Save the file as UTF-8, for instance: iconv -f UTF-16 -t UTF-8 old.csv > new.csv"
            raise TableError(f"{self.path}: the text is UTF-16 or binary from byte 0, not UTF-8", hint=hint)

    def unzipped(self) -> Iterator[bytes]:
        """The content in pieces of bytes."""
        with self.guard(), self.open() as file:
            while data := file.read(_PIECE):
                yield data
