"""What all baselines share: checked settings, the answer for people without events, packages that may be missing."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib import import_module
from itertools import product
from types import ModuleType
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from scipy import sparse

from genrec.errors import ConfigError, EvaluationError
from genrec.metrics import gain
from genrec.progress import Progress
from genrec.retrieval.sequences import Sequences
from genrec.retrieval.systems import Content, System


class Config(BaseModel):
    """Settings of a baseline: typed, bounded, unknown names refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


C = TypeVar("C", bound=Config)


class Baseline(ABC, Generic[C]):
    """A `System`. A subclass names itself, its `Config`, its grid, and writes `_fit` and `_scores`.

    People without events are ranked by the popularity of the items, the best that ids alone can do for them.
    """

    name: str
    seeded: bool = False
    """Whether another seed gives another model."""
    config_class: ClassVar[type[Config]]
    gates: Mapping[str, float] | None = None

    def __init__(self, settings: Mapping[str, Any] | None = None, seed: int = 0) -> None:
        """Raises ConfigError for a setting that is unknown or out of range; those not given keep their default."""
        try:
            self.config: C = self.config_class.model_validate(dict(settings or {}))  # type: ignore[assignment]
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            names = ", ".join(self.config_class.model_fields)
            raise ConfigError(f"{self.name}: setting {where!r}: {first['msg']}", hint=f"Settings: {names}.") from error
        self.seed = seed
        self._popularity: NDArray[np.int64] | None = None

    @property
    def settings(self) -> Mapping[str, Any]:
        return self.config.model_dump()

    @property
    def retriever(self) -> System | None:
        return None

    @property
    def candidates(self) -> int:
        return 0

    def with_settings(self, settings: Mapping[str, Any], seed: int) -> Self:
        """An unfitted copy: these settings over the ones at hand."""
        return type(self)({**self.settings, **settings}, seed)

    @abstractmethod
    def grid(self) -> Sequence[Mapping[str, Any]]:
        """Settings worth trying, best guess first."""

    def fit(self, train: Sequences, content: Content, progress: Progress) -> None:
        """Learn from `train`. Raises EvaluationError when it has no events, or a package is missing."""
        if not len(train):
            raise EvaluationError(f"{self.name}: there are no events to learn from", hint="Ingest interactions first.")
        self._fit(train, content, progress)
        self._popularity = train.popularity()

    def scores(self, histories: Sequences) -> NDArray[np.float32]:
        """(U, N) scores. Raises EvaluationError before `fit`, or for another catalogue than the one learned from."""
        if self._popularity is None:
            raise EvaluationError(f"{self.name}: asked for scores before it was fitted", hint="Call fit first.")
        if len(histories.item_ids) != len(self._popularity):
            raise EvaluationError(
                f"{self.name}: fitted on {len(self._popularity)} items, asked about {len(histories.item_ids)}",
                hint="Train and histories of one split have the same catalogue.",
            )
        made = np.asarray(self._scores(histories), np.float32)
        made[histories.lengths == 0] = self._popularity
        return made

    @abstractmethod
    def _fit(self, train: Sequences, content: Content, progress: Progress) -> None: ...

    @abstractmethod
    def _scores(self, histories: Sequences) -> NDArray[np.floating]:
        """(U, N); rows of people without events are replaced."""


def combinations(**values: Sequence[Any]) -> list[dict[str, Any]]:
    """Every combination, the first values first."""
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]


def needed(package: str, module: str | None = None) -> ModuleType:
    """The module of a package that only evaluation needs. Raises EvaluationError when it is not installed."""
    try:
        return import_module(module or package)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package:
            raise  # the package is there, something that it needs is not: say exactly that
        raise EvaluationError(f"the package {package} is not installed", hint="pip install 'genrec[eval]'") from error


def binary(sequences: Sequences) -> sparse.csr_array:
    """(U, N) float64: 1 where the person has an event on the item."""
    matrix = decayed(sequences, None)
    matrix.data[:] = 1.0
    return matrix


def decayed(sequences: Sequences, half_life: float | None) -> sparse.csr_array:
    """(U, N) float64: 0.5^(places from the end of the history / half_life), summed over repeated events; None: 1 an event."""
    from_end = np.repeat(sequences.lengths, sequences.lengths) - 1 - sequences.places
    weights = np.ones(len(sequences)) if half_life is None else 0.5 ** (from_end / half_life)
    shape = (len(sequences.user_ids), len(sequences.item_ids))
    return sparse.csr_array(sparse.coo_array((weights, (sequences.users, sequences.items)), shape=shape))


def ndcg(scores: NDArray[np.floating], histories: Sequences, targets: NDArray[np.int32], k: int = 10) -> float:
    """Mean NDCG@k of one target a person, the history left out; targets that tie with others are placed before them."""
    rows = np.arange(len(targets))
    wanted = scores[rows, targets]
    scores = scores.copy()
    scores[histories.users, histories.items] = -np.inf
    place = (scores > wanted[:, None]).sum(axis=1)
    return float(gain(place, k).mean())
