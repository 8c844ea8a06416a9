"""Which reader a file needs: told by its content, then by its ending."""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from genrec.data.delimited import DelimitedTable
from genrec.data.jsonrows import JsonTable
from genrec.data.source import Source, Table
from genrec.errors import TableError
from genrec.settings import IngestSettings

PARQUET = b"PAR1"
_JSON_ENDINGS = (".json", ".jsonl", ".ndjson")


def open_table(path: Path, *, mapping: Mapping[str, str] | None, limits: IngestSettings) -> Table:
    """Open Parquet, delimited text or JSON, each also gzipped. Raises TableError if the file as a whole cannot be read.

    A mapping that names columns by place (`#1`) says that a delimited file has no header line.
    """
    source = Source.examine(path)
    ending = Path(source.name).suffix.lower()
    if source.head.startswith(PARQUET):
        from genrec.data.parquet import ParquetTable  # loads pyarrow

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
