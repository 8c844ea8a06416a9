"""One pass over one table: where each row is, what is wrong with it, how far the reading is."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from genrec.data.columns import Layout
from genrec.data.ingest_report import CellFault, Counts, Fault, Report, TableKind
from genrec.data.input_file import CHUNK_ROWS, Chunk, Table
from genrec.errors import TableError
from genrec.progress import Progress


@dataclass(slots=True)
class Place:
    row: int
    line: int | None


class Reading:
    """One pass over one table: faults go to the report, progress counts bytes of the file."""

    def __init__(self, kind: TableKind, table: Table, layout: Layout, report: Report, progress: Progress) -> None:
        self.kind: TableKind = kind
        self.table = table
        self.layout = layout
        self.report = report
        self.counts: Counts = report.tables[kind]
        self._progress = progress
        self._file = str(table.source.path)
        self._found: list[tuple[Place, CellFault]] = []

    def fault(self, place: Place, fault: CellFault) -> None:
        self._found.append((place, fault))

    def leave_out(self, place: Place, fault: CellFault) -> None:
        """Note the fault of a row that makes no record."""
        self.counts.faulty += 1
        self.fault(place, fault)

    def flush(self) -> None:
        """Hand the faults found since the last time to the report, in the order of the rows. Raises RowError when strict."""
        found, self._found = sorted(self._found, key=lambda one: one[0].row), []
        for place, fault in found:
            kind, column, message = fault.kind, fault.column, fault.message
            self.report.add(Fault(file=self._file, row=place.row, line=place.line, column=column, kind=kind, message=message))

    def _bad_row(self, row: int, line: int | None, kind: str, message: str) -> None:
        self.leave_out(Place(row, line), CellFault(kind, "", message))

    def chunks(self, *, rows: int = CHUNK_ROWS, only: tuple[str, ...] | None = None) -> Iterator[Chunk]:
        """Raises TableError when there is no row at all."""
        total = 0
        for chunk in self._advancing(f"Reading {self.table.source.path.name}", self._bad_row, rows, only):
            total += chunk.read
            self.counts.read += chunk.read
            yield chunk
        if not total:
            raise TableError(f"{self._file} has columns but no rows", hint="Write rows, or leave the table out.")

    def survey(self, only: tuple[str, ...] | None) -> Iterator[Chunk]:
        """A pass that reports no fault: the next one does."""
        yield from self._advancing(f"Checking {self.table.source.path.name}", lambda *_: None, CHUNK_ROWS, only)

    def _advancing(self, task: str, fault: Any, rows: int, only: tuple[str, ...] | None) -> Iterator[Chunk]:
        self._progress.start(task, self.table.source.size)
        position = 0
        try:
            for chunk in self.table.chunks(fault, rows=rows, only=only):
                yield chunk
                if chunk.position > position:
                    self._progress.advance(chunk.position - position)
                    position = chunk.position
            self._progress.advance(self.table.source.size - position)
        finally:
            self._progress.finish()
