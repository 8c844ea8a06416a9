"""What a system that recommends must be able to do to be compared: learned, closed-form or a baseline alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from genrec.progress import Progress
from genrec.retrieval.item_vectors import ModalityVectors
from genrec.retrieval.sequences import Sequences
from genrec.types import Item

Triple = tuple[str, str, str]
"""(head, relation, tail); head and tail are item ids or names of anything else."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Content:
    """What is known of the N items besides behaviour, in the order of `Sequences.item_ids`.

    `items[i]` has the attributes; `vectors` the content modalities (`text`, `image`, …), without `behaviour`.
    """

    items: Sequence[Item]
    vectors: ModalityVectors
    triples: Sequence[Triple] = ()


class System(Protocol):
    """A recommender under comparison.

    name        unique in a table
    settings    the values that were chosen, as plain JSON
    seeded      whether another seed gives another model
    gates       how much each part of an item counts on average, for a model that says so once it is fitted; None: it does not
    retriever   for a second stage the system that finds its candidates, fitted; None: it ranks all items itself
    candidates  how many of the retriever's best items a second stage ranks; 0 for others
    grid        settings worth trying, best guess first; the harness fits a `with_settings` copy for each on a validation split
                and keeps the best

    `SystemDefaults` has the members that most systems need not change.
    """

    @property
    def name(self) -> str: ...

    @property
    def settings(self) -> Mapping[str, Any]: ...

    @property
    def seeded(self) -> bool: ...

    @property
    def gates(self) -> Mapping[str, float] | None: ...

    @property
    def retriever(self) -> "System | None": ...

    @property
    def candidates(self) -> int: ...

    def grid(self) -> Sequence[Mapping[str, Any]]: ...

    def with_settings(self, settings: Mapping[str, Any], seed: int) -> "System": ...

    def fit(self, train: Sequences, content: Content, progress: Progress) -> None:
        """Learn from `train` alone. Nothing outside it may be looked at but `content`."""
        ...

    def scores(self, histories: Sequences) -> NDArray[np.float32]:
        """(U, N) scores of all items for the people of `histories`, who may be new; higher is better, -inf is never shown.

        Items of the history may have any score: the harness leaves them out.
        """
        ...


class SystemDefaults:
    """A `System` that draws no random numbers, has no gates and ranks all items itself."""

    seeded: bool = False
    gates: Mapping[str, float] | None = None
    retriever: System | None = None
    candidates: int = 0


MEMBERS = ("name", "settings", "seeded", "gates", "candidates", "grid", "with_settings", "fit", "scores")
"""Of `System`; `retriever` may be asked for only once it is fitted."""
