"""A table of any format, opened, its columns found, and read in one pass: which rows were kept, and where the faults are."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from genrec.data.columns import resolve
from genrec.data.delimited_table import DelimitedTable
from genrec.data.ingest_report import CellFault, Report, TableKind
from genrec.data.input_file import CHUNK_ROWS, Chunk, InputFile, RowFault, Table
from genrec.data.json_table import JsonTable
from genrec.data.parquet_table import ParquetTable
from genrec.errors import TableError
from genrec.progress import Progress
from genrec.settings.sections import IngestSettings

T = TypeVar("T")
_PARQUET = b"PAR1"
_JSON_ENDINGS = (".json", ".jsonl", ".ndjson")


def open_table(path: Path, *, mapping: Mapping[str, str] | None, limits: IngestSettings) -> Table:
    """Open Parquet, delimited text or JSON, each also gzipped: told by the content, then by the file's ending.

    A mapping that names columns by place (`#1`) says that a delimited file has no header line. Raises TableError if the file as
    a whole cannot be read.
    """
    source = InputFile.examine(path)
    ending = Path(source.name).suffix.lower()
    if source.head.startswith(_PARQUET):
        table: Table = ParquetTable(source)
    elif ending in (".parquet", ".pq"):
        begins = source.head[:4]
        hint = "Write it as Parquet, or give it the ending of what it is (.csv, .jsonl)."
        raise TableError(f"{path} is not a Parquet file: it begins with {begins!r}", hint=hint)
    elif ending in _JSON_ENDINGS or source.head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        table = JsonTable(source)
    else:
        header = not any(re.fullmatch(r"#\d+", column) for column in (mapping or {}).values())
        table = DelimitedTable(source, header=header, field_chars=limits.max_text_chars)
    if repeated := sorted(name for name, times in Counter(table.columns).items() if times > 1):
        raise TableError(f"{path}: several columns are called {', '.join(repeated)}", hint="Give every column a name of its own.")
    if not table.columns:
        raise TableError(f"{path} has no readable row", hint="One JSON object a line, or an array of objects, is expected.")
    return table


@dataclass(slots=True)
class RowPlace:
    """Where a row is: its number, and its line in the file where it has one."""

    row: int
    line: int | None


class TablePass:
    """A table of one kind with its layout, whose faults go to the report, in the order of the rows.

    Raises TableError and ConfigError as `open_table` and `resolve` do.
    """

    def __init__(
        self,
        kind: TableKind,
        path: Path,
        *,
        mapping: Mapping[str, str] | None,
        limits: IngestSettings,
        report: Report,
        progress: Progress,
    ) -> None:
        self.kind: TableKind = kind
        self.table = open_table(path, mapping=mapping, limits=limits)
        self.layout = resolve(kind, self.table.columns, mapping, Path(path))
        self.report = report
        self.counts = report.tables[kind]
        self._progress = progress
        self._faults: list[tuple[RowPlace, CellFault]] = []

    def fault(self, place: RowPlace, fault: CellFault) -> None:
        self._faults.append((place, fault))

    def leave_out(self, place: RowPlace, fault: CellFault) -> None:
        """Note the fault of a row that makes no record."""
        self.counts.faulty += 1
        self.fault(place, fault)

    def keep(self, records: list[T]) -> list[T]:
        """Count a batch, after the faults that were found on the way to it are reported. Raises RowError when strict."""
        file, found, self._faults = str(self.table.source.path), self._faults, []
        for place, fault in sorted(found, key=lambda one: one[0].row):
            self.report.add(fault.at(file, place.row, place.line))
        self.counts.kept += len(records)
        return records

    def chunks(self, *, rows: int = CHUNK_ROWS, only: tuple[str, ...] | None = None) -> Iterator[Chunk]:
        """The rows that could be read; the others are left out. Raises TableError when there is no row at all."""
        total = 0

        def unreadable(row: int, line: int | None, kind: str, message: str) -> None:
            self.leave_out(RowPlace(row, line), CellFault(kind, "", message))

        for chunk in self._read("Reading", unreadable, rows, only):
            total += chunk.read
            self.counts.read += chunk.read
            yield chunk
        if not total:
            raise TableError(f"{self.table.source.path} has columns but no rows", hint="Write rows, or leave the table out.")

    def survey(self, only: tuple[str, ...] | None) -> Iterator[Chunk]:
        """The same rows once more, before `chunks`: nothing is counted or reported."""
        return self._read("Checking", lambda *_: None, CHUNK_ROWS, only)

    def _read(self, task: str, fault: RowFault, rows: int, only: tuple[str, ...] | None) -> Iterator[Chunk]:
        """Chunks, while progress counts bytes of the file."""
        source, position = self.table.source, 0
        self._progress.start(f"{task} {source.path.name}", source.size)
        try:
            for chunk in self.table.chunks(fault, rows=rows, only=only):
                yield chunk
                if chunk.position > position:
                    self._progress.advance(chunk.position - position)
                    position = chunk.position
            self._progress.advance(source.size - position)
        finally:
            self._progress.finish()
