"""The vector engine: Qdrant, in process (`EdgeIndex`) or by URL (`ClusterIndex`), behind one protocol.

    >>> from genrec.index import open_index                                 # doctest: +SKIP
    >>> with open_index(settings.index, workspace / "index") as index:      # doctest: +SKIP
    ...     index.search([Query(legs=[Lexical("space opera")], limit=10)])

Names are loaded on first use: importing this package loads no engine.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genrec.index.cluster import ClusterIndex as ClusterIndex
    from genrec.index.edge import EdgeIndex as EdgeIndex
    from genrec.index.protocol import Dense as Dense
    from genrec.index.protocol import Hit as Hit
    from genrec.index.protocol import IndexSpec as IndexSpec
    from genrec.index.protocol import Leg as Leg
    from genrec.index.protocol import Lexical as Lexical
    from genrec.index.protocol import Point as Point
    from genrec.index.protocol import Query as Query
    from genrec.index.protocol import VectorIndex as VectorIndex
    from genrec.settings import IndexSettings

_HOME = {
    "ClusterIndex": "genrec.index.cluster",
    "EdgeIndex": "genrec.index.edge",
    **dict.fromkeys(("Dense", "Hit", "IndexSpec", "Leg", "Lexical", "Point", "Query", "VectorIndex"), "genrec.index.protocol"),
}
__all__ = [
    "ClusterIndex",
    "Dense",
    "EdgeIndex",
    "Hit",
    "IndexSpec",
    "Leg",
    "Lexical",
    "Point",
    "Query",
    "VectorIndex",
    "open_index",
]


def open_index(settings: "IndexSettings", folder: Path) -> "VectorIndex":
    """The index that the settings name: by URL when there is one, otherwise in process in `folder`. Raises IndexFault."""
    if not settings.url:
        from genrec.index.edge import EdgeIndex

        return EdgeIndex(folder, exact=settings.exact)
    from genrec.index.cluster import ClusterIndex

    return ClusterIndex(settings.url, settings.api_key, settings.collection, settings.timeout_s, exact=settings.exact)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'genrec.index' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
