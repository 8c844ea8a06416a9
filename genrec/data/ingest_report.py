"""What an ingest read, kept, merged and left out, and why."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, get_args

from genrec.errors import RowError

FAULTS_SHOWN = 10
"""How many faults of one kind the summary names."""

TableKind = Literal["items", "users", "events", "triples", "captions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault of one row. `row` counts data rows from 1, 0 where it is not known (`message` names the record then);
    `line` is the line of the file where that differs."""

    file: str
    row: int
    line: int | None = None
    column: str = ""
    kind: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}, row {self.row}" if self.row else self.file
        if self.line is not None and self.line != self.row:
            place += f" (line {self.line})"
        if self.column:
            place += f", column {self.column}"
        return f"{place}: {self.message}"


class CellFault(Exception):  # noqa: N818 - a fault of the table, as in `Fault`
    """A cell or row is wrong. Raised while one row is converted, caught by the reader, which knows the file and row."""

    def __init__(self, kind: str, column: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.column = column
        self.message = message

    def at(self, file: str, row: int, line: int | None) -> Fault:
        return Fault(file=file, row=row, line=line, column=self.column, kind=self.kind, message=self.message)


@dataclass(slots=True)
class Counts:
    """Rows of one kind of table: `read = kept + merged + faulty`.

    `merged` rows repeat an id and went into another row's record; `faulty` rows were left out. A row that is kept without
    its picture is not faulty, though the picture counts as a fault.
    """

    read: int = 0
    kept: int = 0
    merged: int = 0
    faulty: int = 0


@dataclass(slots=True)
class Report:
    """Collects counts and faults over any number of tables.

    `strict`      the first fault raises RowError
    `max_faults`  at most so many faults are kept in `faults`; `totals` counts all of them by kind
    `notes`       what was not kept of a whole table (ignored columns, pictures without a media folder) and what to do about
                  faults, once each
    """

    strict: bool = False
    max_faults: int = 100
    tables: dict[TableKind, Counts] = field(default_factory=lambda: {kind: Counts() for kind in get_args(TableKind)})
    faults: list[Fault] = field(default_factory=list)
    totals: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def add(self, fault: Fault) -> None:
        """Record a fault. Raises RowError when strict."""
        self.totals[fault.kind] += 1
        if len(self.faults) < self.max_faults:
            self.faults.append(fault)
        if self.strict:
            raise RowError(str(fault), hint="Mend the row, or read without the strict switch to leave such rows out.")

    def refuse(self, kind: TableKind, file: str, message: str) -> None:
        """Record that the store refused a record that counts as kept. Raises RowError when strict."""
        self.tables[kind].kept -= 1
        self.tables[kind].faulty += 1
        self.add(Fault(file=file, row=0, kind="refused by the store", message=message))

    def note(self, message: str) -> None:
        if message not in self.notes:
            self.notes.append(message)

    def summary(self) -> list[str]:
        """The report as lines of text: counts, notes, faults by kind, then the first few faults of each kind."""
        lines = [
            f"{name}: {c.read} rows read, {c.kept} kept, {c.merged} merged, {c.faulty} left out"
            for name, c in self.tables.items()
            if c.read
        ]
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"{count} × {kind}" for kind, count in self.totals.most_common()]
        seen: Counter[str] = Counter()
        for fault in self.faults:
            seen[fault.kind] += 1
            if seen[fault.kind] <= FAULTS_SHOWN:
                lines.append(str(fault))
        if (more := self.totals.total() - sum(min(count, FAULTS_SHOWN) for count in seen.values())) > 0:
            lines.append(f"… and {more} more")
        return lines
