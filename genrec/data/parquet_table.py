"""Parquet, read in batches of rows."""

import tempfile
import weakref
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from genrec.data.input_file import CHUNK_ROWS, Cells, Chunk, InputFile, RowFault
from genrec.errors import TableError

_MAX_DEPTH = 8
# What pyarrow raises on damaged files, found by damaging files at random.
_DAMAGED = (pa.ArrowException, OSError, UnicodeDecodeError)


class ParquetTable:
    """Structs become columns with dotted names; times are made naive UTC in microseconds."""

    cells: Cells = "typed"

    def __init__(self, source: InputFile) -> None:
        self.source = source
        self._copy: IO[bytes] | None = None
        if source.zipped:  # a Parquet file is read from its end, which gzip cannot do
            self._copy = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the table
            weakref.finalize(self, self._copy.close)
            for piece in source.unzipped():
                self._copy.write(piece)
        try:
            with self._open() as file:
                self._rows = file.metadata.num_rows
                self._top = file.schema_arrow.names
                self.columns = tuple(_flat(file.schema_arrow.empty_table()).column_names)
        except _DAMAGED as error:
            raise self._damaged(error) from error

    def _open(self) -> pq.ParquetFile:
        file = self._copy if self._copy is not None else self.source.path
        return pq.ParquetFile(file, page_checksum_verification=True)

    def _damaged(self, error: Exception, place: str = "") -> TableError:
        reason = str(error).splitlines()[0][:200]
        hint = "The file is cut off or damaged: write or fetch it again."
        return TableError(f"{self.source.path}{place}: not a Parquet file that can be read ({reason})", hint=hint)

    def chunks(self, fault: RowFault, *, rows: int = CHUNK_ROWS, only: tuple[str, ...] | None = None) -> Iterator[Chunk]:
        wanted = (
            None if only is None else [name for name in self._top if any(c == name or c.startswith(f"{name}.") for c in only)]
        )
        done = 0
        try:
            with self._open() as file:
                for batch in file.iter_batches(batch_size=rows, columns=wanted):
                    table = _flat(pa.Table.from_batches([batch]))
                    columns = {n: self._cells(n, table[n]) for n in table.column_names if only is None or n in only}
                    numbers = list(range(done + 1, done + len(table) + 1))
                    done += len(table)
                    yield Chunk(numbers, None, columns, len(numbers), self.source.size * done // max(self._rows, 1))
        except _DAMAGED as error:
            raise self._damaged(error, f", after row {done}") from error

    def _cells(self, name: str, column: pa.ChunkedArray) -> list[Any]:
        try:
            if pa.types.is_timestamp(column.type):
                column = column.cast(pa.timestamp("us"), safe=False)
            elif pa.types.is_time64(column.type):
                column = column.cast(pa.time64("us"), safe=False)
            elif pa.types.is_duration(column.type):
                return [
                    None if n is None else n / 1e6 for n in column.cast(pa.duration("us"), safe=False).cast("int64").to_pylist()
                ]
            return column.to_pylist()
        except (ValueError, OverflowError) as error:
            hint = "Write times between the years 1 and 9999, and text as UTF-8."
            raise TableError(f"{self.source.path}, column {name}: {error}", hint=hint) from error


def _flat(table: pa.Table) -> pa.Table:
    for _ in range(_MAX_DEPTH):
        if not any(pa.types.is_struct(field.type) for field in table.schema):
            break
        table = table.flatten()
    return table
