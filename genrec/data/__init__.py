"""Tables in: items, users, events and triples from Parquet, CSV and JSON, pictures checked, faults reported by place.

Names are loaded on first use, so that importing the package loads neither polars nor pyarrow nor Pillow.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genrec.data.columns import parse_map as parse_map
    from genrec.data.datasets import Dataset as Dataset
    from genrec.data.datasets import load as load
    from genrec.data.images import MediaFolder as MediaFolder
    from genrec.data.ingest_report import Counts as Counts
    from genrec.data.ingest_report import Fault as Fault
    from genrec.data.ingest_report import Report as Report
    from genrec.data.table_readers import read_events as read_events
    from genrec.data.table_readers import read_items as read_items
    from genrec.data.table_readers import read_triples as read_triples
    from genrec.data.table_readers import read_users as read_users

_HOME = {
    "Counts": "ingest_report",
    "Dataset": "datasets",
    "Fault": "ingest_report",
    "MediaFolder": "images",
    "Report": "ingest_report",
    "load": "datasets",
    "parse_map": "columns",
    "read_events": "table_readers",
    "read_items": "table_readers",
    "read_triples": "table_readers",
    "read_users": "table_readers",
}
__all__ = [
    "Counts",
    "Dataset",
    "Fault",
    "MediaFolder",
    "Report",
    "load",
    "parse_map",
    "read_events",
    "read_items",
    "read_triples",
    "read_users",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'genrec.data' has no attribute {name!r}")
    return getattr(importlib.import_module(f"genrec.data.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
