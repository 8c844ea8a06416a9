"""The vector engine: Qdrant, in process (`edge.py`) or by URL (`cluster.py`), behind one protocol (`protocol.py`).

Import `open_index` from here, queries and points from `genrec.index.protocol`. Importing this package loads no engine.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genrec.index.protocol import VectorIndex
    from genrec.settings.sections import IndexSettings


def open_index(settings: "IndexSettings", folder: Path) -> "VectorIndex":
    """The index that the settings name: by URL when there is one, otherwise in process in `folder`. Raises IndexFault."""
    if not settings.url:
        from genrec.index.edge import EdgeIndex

        return EdgeIndex(folder, exact=settings.exact)
    from genrec.index.cluster import ClusterIndex

    return ClusterIndex(settings.url, settings.api_key, settings.collection, settings.timeout_s, exact=settings.exact)
