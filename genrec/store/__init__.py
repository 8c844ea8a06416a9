"""The SQL store: items, captions, users, events and triples on SQLite (a file in the workspace) or PostgreSQL (by URL).

    >>> from genrec.store import Store                           # doctest: +SKIP
    >>> with Store.open("sqlite:///shop/store.sqlite") as store:  # doctest: +SKIP
    ...     store.counts()

Names are loaded on first use: importing this package loads no database library.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genrec.store.attribute_schema import AttributeType as AttributeType
    from genrec.store.records import CaptionCounts as CaptionCounts
    from genrec.store.records import Changes as Changes
    from genrec.store.records import Counts as Counts
    from genrec.store.records import Forgotten as Forgotten
    from genrec.store.records import Interactions as Interactions
    from genrec.store.store import Store as Store

_HOME = {
    "AttributeType": "genrec.store.attribute_schema",
    **dict.fromkeys(("CaptionCounts", "Changes", "Counts", "Forgotten", "Interactions"), "genrec.store.records"),
    "Store": "genrec.store.store",
}
__all__ = ["AttributeType", "CaptionCounts", "Changes", "Counts", "Forgotten", "Interactions", "Store"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'genrec.store' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
