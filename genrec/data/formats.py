"""Which reader a file needs: told by its content, then by its ending."""

import re
import tempfile
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from genrec.data.delimited import DelimitedTable
from genrec.data.input_file import CHUNK_ROWS, Cells, Chunk, RowFault, Source, Table
from genrec.data.json_rows import JsonTable
from genrec.errors import TableError
from genrec.settings import IngestSettings

_MAX_DEPTH = 8
# What pyarrow raises on damaged files, found by damaging files at random.
_DAMAGED = (pa.ArrowException, OSError, UnicodeDecodeError)


class ParquetTable:
    """Structs become columns with dotted names; times are made naive UTC in microseconds."""

    cells: Cells = "typed"

    def __init__(self, source: Source) -> None:
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


PARQUET = b"PAR1"
_JSON_ENDINGS = (".json", ".jsonl", ".ndjson")


def open_table(path: Path, *, mapping: Mapping[str, str] | None, limits: IngestSettings) -> Table:
    """Open Parquet, delimited text or JSON, each also gzipped. Raises TableError if the file as a whole cannot be read.

    A mapping that names columns by place (`#1`) says that a delimited file has no header line.
    """
    source = Source.examine(path)
    ending = Path(source.name).suffix.lower()
    if source.head.startswith(PARQUET):
        pass  # MERGED

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
    repeated = sorted(name for name, times in Counter(table.columns).items() if times > 1)
    if repeated:
        raise TableError(f"{path}: several columns are called {', '.join(repeated)}", hint="Give every column a name of its own.")
    if not table.columns:
        raise TableError(f"{path} has no readable row", hint="One JSON object a line, or an array of objects, is expected.")
    return table
