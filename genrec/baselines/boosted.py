"""A second stage: gradient-boosted trees that rank the first stages' best again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genrec.baselines.base import Baseline, Config, combinations, ndcg, needed
from genrec.baselines.boosted_features import Features
from genrec.baselines.closed_form import Ease, ItemKNN, Popularity
from genrec.baselines.factors import Als
from genrec.errors import EvaluationError
from genrec.progress import SILENT, Progress
from genrec.retrieval.sequences import Sequences
from genrec.retrieval.systems import Content, System

MOST_PEOPLE = 5_000
"""People of one fold that trees learn from, chosen at random."""
BLOCK = 1_000
"""People whose dense scores are held at a time."""
STAGES: tuple[tuple[type[Baseline], tuple[Mapping[str, Any], ...]], ...] = (
    (
        Ease,
        tuple(
            {"strength": strength, "half_life": half_life}
            for strength, half_life in ((500.0, 4.0), (500.0, 8.0), (200.0, 8.0), (50.0, 4.0), (20.0, 4.0))
        ),
    ),
    (
        Als,
        tuple(
            {"factors": factors, "half_life": half_life, "alpha": alpha}
            for factors, half_life, alpha in ((256, 3.0, 10.0), (64, 3.0, 10.0), (256, 2.0, 40.0))
        ),
    ),
    (ItemKNN, ({"half_life": 2.0}, {"half_life": 4.0, "shrinkage": 10.0})),
    (ItemKNN, ({"half_life": None},)),  # the taste of old
    (Popularity, ({"window": 1.0}, {"window": 0.2})),
)
"""First stages and the settings that each is chosen from, on the first fold."""


class BoostedConfig(Config):
    candidates: int = Field(default=100, ge=1)
    """Items of the best first stage that are ranked again."""
    folds: int = Field(default=5, ge=1)
    """Last events of each person that the trees learn from."""
    trees: int = Field(default=150, ge=1)
    learning_rate: float = Field(default=0.05, gt=0)
    leaves: int = Field(default=15, ge=2)
    least: int = Field(default=50, ge=1)
    """Least rows of a leaf."""
    kept_features: float = Field(default=0.5, gt=0, le=1)
    """Share of the features that each tree may use."""


@dataclass(slots=True)
class Prepared:
    """What does not depend on the trees' settings: made once for a train part and shared by the copies of a grid."""

    train: Sequences
    content: Content
    key: tuple[int, int, int]
    stages: list[Baseline]  # fitted on all of train, the best first
    features: Features
    table: NDArray[np.float32]
    relevant: NDArray[np.int8]
    groups: NDArray[np.int64]


class Boosted(Baseline[BoostedConfig]):
    """LambdaMART (Burges, 2010; lightgbm) over EASE, ALS, item-kNN, popularity, content and attributes.

    The trees learn from the last `folds` events of each person. Event k from the end is ranked by first stages fitted without
    anybody's last k events, so that a target is in no fit behind its own features. The first stages' settings and the one that
    names the candidates are the best on k = 1; at last they are fitted on all of train. Other items follow in its order.
    """

    name = "boosted"
    seeded = True
    config_class: ClassVar[type[Config]] = BoostedConfig

    def __init__(self, settings: Mapping[str, Any] | None = None, seed: int = 0) -> None:
        super().__init__(settings, seed)
        self._shared: list[Prepared] = []  # the latest, by reference in all copies

    def with_settings(self, settings: Mapping[str, Any], seed: int) -> Self:
        made = super().with_settings(settings, seed)
        made._shared = self._shared
        return made

    @property
    def retriever(self) -> System:
        """The fitted first stage that names the candidates: its recall is the ceiling. Raises EvaluationError before `fit`."""
        if self._popularity is None:
            raise EvaluationError("boosted: asked for its first stage before it was fitted", hint="Call fit first.")
        return self._stages[0]

    @property
    def candidates(self) -> int:
        """How many of the retriever's best the trees rank."""
        return self.config.candidates

    def grid(self) -> Sequence[Mapping[str, Any]]:
        return combinations(leaves=(7, 15, 31), trees=(100, 200), learning_rate=(0.05, 0.02), least=(50, 200))

    def _fit(self, train: Sequences, content: Content, progress: Progress) -> None:
        lightgbm = needed("lightgbm")
        made = self._prepare(train, content, progress)
        self._stages, self._features = made.stages, made.features
        parameters = {
            "objective": "lambdarank",
            "lambdarank_truncation_level": 15,
            "learning_rate": self.config.learning_rate,
            "num_leaves": self.config.leaves,
            "min_data_in_leaf": self.config.least,
            "feature_fraction": self.config.kept_features,
            "seed": self.seed,
            "deterministic": True,
            "verbosity": -1,
        }
        data = lightgbm.Dataset(made.table, made.relevant, group=made.groups)
        self._booster = lightgbm.train(parameters, data, num_boost_round=self.config.trees)

    def _scores(self, histories: Sequences) -> NDArray[np.floating]:
        return np.concatenate([self._block(histories.take(rows)) for rows in _blocks(len(histories.user_ids))])

    def _block(self, histories: Sequences) -> NDArray[np.float32]:
        """Candidates above 0 by the trees, the others below 0 in the order of the first stage."""
        lists = Lists.of(self._stages, histories, self.config.candidates)
        first = lists.first
        finite = np.where(np.isfinite(first), first, np.nan)
        low, high = np.nanmin(finite, axis=1, keepdims=True), np.nanmax(finite, axis=1, keepdims=True)
        made = np.where(np.isfinite(first), (first - high) / np.maximum(high - low, 1e-12) - 1.0, -np.inf).astype(np.float32)
        table = self._features.table(histories, lists.users, lists.items, lists.stages)
        predicted = np.asarray(self._booster.predict(table))
        made[lists.users, lists.items] = predicted - predicted.min() + 1.0
        return made

    def _prepare(self, train: Sequences, content: Content, progress: Progress) -> Prepared:
        key = (self.seed, self.config.folds, self.config.candidates)
        for made in self._shared:
            if made.train is train and made.content is content and made.key == key:
                return made
        progress.start("boosted", self.config.folds + 2)
        try:
            made = self._made(train, content, key, progress)
        finally:
            progress.finish()
        self._shared[:] = [made]
        return made

    def _made(self, train: Sequences, content: Content, key: tuple[int, int, int], progress: Progress) -> Prepared:
        rng = np.random.default_rng(self.seed)
        stages: list[Baseline] = []
        parts: list[tuple[NDArray[np.float32], NDArray[np.int8], NDArray[np.int64]]] = []
        for k in range(1, self.config.folds + 1):
            past, people, targets = fold(train, k)
            if not len(people):
                break
            people, targets = _some(people, targets, rng)
            if not stages:
                stages = chosen(past, past.take(people), targets, content, self.seed)
                progress.advance()
            else:
                stages = [fitted(stage, past, content) for stage in stages]
            features = Features(past, content)
            for rows in _blocks(len(people)):
                parts.append(_examples(stages, features, past.take(people[rows]), targets[rows], self.config.candidates))
            progress.advance()
        if not sum(len(groups) for _, _, groups in parts):
            raise EvaluationError(
                f"boosted: no target of the last {self.config.folds} events is among {self.config.candidates} candidates",
                hint="Leave boosted out for so few events.",
            )
        final = [fitted(stage, train, content) for stage in stages]
        progress.advance()
        return Prepared(
            train,
            content,
            key,
            final,
            Features(train, content),
            np.concatenate([part[0] for part in parts]),
            np.concatenate([part[1] for part in parts]),
            np.concatenate([part[2] for part in parts]),
        )


@dataclass(frozen=True, slots=True)
class Lists:
    """The candidates of all people as one table of n rows, ordered by person; `first` (U, N) the naming stage's scores."""

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    stages: dict[str, NDArray[Any]]
    first: NDArray[np.float32]

    @classmethod
    def of(cls, stages: Sequence[Baseline], histories: Sequences, candidates: int) -> "Lists":
        """The best unseen items of the first stage. Each stage's score, share of the best score, and place go along."""
        first = stages[0].scores(histories)
        first[histories.users, histories.items] = -np.inf
        order = np.argsort(-first, axis=1, kind="stable")[:, :candidates]  # (U, C)
        rows = np.arange(len(order))[:, None]
        real = np.isfinite(first[rows, order])
        columns: dict[str, NDArray[Any]] = {}
        for number, stage in enumerate(stages):
            scores = stage.scores(histories)[rows, order]
            scores = np.where(real, scores, -np.inf)
            best = np.maximum(scores.max(axis=1, keepdims=True), 1e-12)
            place = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1)
            name = f"{number} {stage.name}"
            columns |= {name: scores[real], f"{name} share": (scores / best)[real], f"{name} place": place[real]}
        users = np.broadcast_to(rows, order.shape)[real]
        return cls(users, order[real], columns, first)


def fold(train: Sequences, k: int) -> tuple[Sequences, NDArray[np.int64], NDArray[np.int32]]:
    """Train without anybody's last k events; the people who have event k from the end behind at least one other; that event.

    A target that the person had before is no target: nobody would be shown it.
    """
    from_end = np.repeat(train.lengths, train.lengths) - 1 - train.places
    past = train.where(from_end >= k)
    people = np.flatnonzero(train.lengths > k)
    targets = train.items[train.offsets[1:][people] - k]
    seen = np.unique(past.users * len(train.item_ids) + past.items)
    new = ~np.isin(people * len(train.item_ids) + targets, seen)
    return past, people[new], targets[new]


def chosen(past: Sequences, histories: Sequences, targets: NDArray[np.int32], content: Content, seed: int) -> list[Baseline]:
    """Of each first stage the fit with the best NDCG@10 of the targets; the stages ordered by it, the best first."""
    found: list[tuple[float, Baseline]] = []
    for kind, options in STAGES:
        fits = [fitted(kind(settings, seed), past, content) for settings in options]
        values = [
            sum(ndcg(fit.scores(part := histories.take(rows)), part, targets[rows]) * len(rows) for rows in _blocks(len(targets)))
            / len(targets)
            for fit in fits
        ]
        best = int(np.argmax(values))
        found.append((values[best], fits[best]))
    return [fit for _, fit in sorted(found, key=lambda pair: -pair[0])]


def fitted(stage: Baseline, train: Sequences, content: Content) -> Baseline:
    made = stage.with_settings({}, stage.seed)
    made.fit(train, content, SILENT)
    return made


def _examples(
    stages: Sequence[Baseline], features: Features, histories: Sequences, targets: NDArray[np.int32], candidates: int
) -> tuple[NDArray[np.float32], NDArray[np.int8], NDArray[np.int64]]:
    """Features, 1 for the target, and sizes of the lists; people whose target is not in their list teach nothing."""
    lists = Lists.of(stages, histories, candidates)
    relevant = lists.items == targets[lists.users]
    found = np.zeros(len(targets), bool)
    found[lists.users[relevant]] = True
    kept = found[lists.users]
    table = features.table(histories, lists.users[kept], lists.items[kept], {n: c[kept] for n, c in lists.stages.items()})
    return table, relevant[kept].astype(np.int8), np.bincount(lists.users[kept], minlength=len(targets))[found]


def _some(
    people: NDArray[np.int64], targets: NDArray[np.int32], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    rows = np.sort(rng.choice(len(people), min(MOST_PEOPLE, len(people)), replace=False))
    return people[rows], targets[rows]


def _blocks(n: int) -> list[NDArray[np.int64]]:
    return [np.arange(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK)]
