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
    from genrec.data.reading import read_events as read_events
    from genrec.data.reading import read_items as read_items
    from genrec.data.reading import read_triples as read_triples
    from genrec.data.reading import read_users as read_users
    from genrec.data.report import Counts as Counts
    from genrec.data.report import Fault as Fault
    from genrec.data.report import Report as Report

_HOME = {
    "Counts": "report",
    "Dataset": "datasets",
    "Fault": "report",
    "MediaFolder": "images",
    "Report": "report",
    "load": "datasets",
    "parse_map": "columns",
    "read_events": "reading",
    "read_items": "reading",
    "read_triples": "reading",
    "read_users": "reading",
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
