"""genrec recommends items with reasons.

Embeddings find candidates, an LLM ranks them from the user's profile, and every reason is checked against the data.

    >>> from genrec import Recommender                       # doctest: +SKIP
    >>> Recommender.open("my-shop").recommend("user-1", k=5)  # doctest: +SKIP

Names are loaded on first use: `import genrec` itself loads no torch and no database driver.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genrec.errors import GenrecError as GenrecError
    from genrec.recommender import AsyncRecommender as AsyncRecommender
    from genrec.recommender import Recommender as Recommender
    from genrec.types import Candidate as Candidate
    from genrec.types import Event as Event
    from genrec.types import Evidence as Evidence
    from genrec.types import Item as Item
    from genrec.types import Reason as Reason
    from genrec.types import Recommendation as Recommendation
    from genrec.types import Trace as Trace
    from genrec.types import User as User

__version__ = "0.1.0"

_HOME = {
    "GenrecError": "genrec.errors",
    **dict.fromkeys(("AsyncRecommender", "Recommender"), "genrec.recommender"),
    **dict.fromkeys(("Candidate", "Event", "Evidence", "Item", "Reason", "Recommendation", "Trace", "User"), "genrec.types"),
}
__all__ = [
    "AsyncRecommender",
    "Candidate",
    "Event",
    "Evidence",
    "GenrecError",
    "Item",
    "Reason",
    "Recommendation",
    "Recommender",
    "Trace",
    "User",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'genrec' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
