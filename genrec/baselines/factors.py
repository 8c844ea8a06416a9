"""Matrix factorisation by the package implicit: ALS and BPR. Everybody is folded in from the history at hand, known or new."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse

from genrec.baselines.base import Baseline, Config, binary, combinations, decayed, needed
from genrec.progress import Progress
from genrec.retrieval.sequences import Sequences
from genrec.retrieval.systems import Content

NEGATIVES = 50
"""Items that a folded-in person of BPR is told apart from."""
FOLD_IN_STEPS = 40
FOLD_IN_RATE = 0.1


class AlsConfig(Config):
    factors: int = Field(default=256, ge=1)
    regularization: float = Field(default=50.0, ge=0)
    alpha: float = Field(default=10.0, gt=0)
    """Confidence of an event in training, where what was not seen has confidence 1."""
    iterations: int = Field(default=15, ge=1)
    half_life: float | None = Field(default=3.0, gt=0)
    """Of the confidence of an event when a person is folded in, in places; None: all events count alike."""


class Als(Baseline[AlsConfig]):
    """Hu, Koren and Volinsky (ICDM 2008). A person's vector is the exact solution for alpha · decayed history."""

    name = "als"
    seeded = True
    config_class: ClassVar[type[Config]] = AlsConfig

    def grid(self) -> Sequence[Mapping[str, Any]]:
        return combinations(half_life=(3.0, 2.0, None), factors=(256, 64, 512), regularization=(50.0, 10.0), alpha=(10.0, 40.0))

    def _fit(self, train: Sequences, content: Content, progress: Progress) -> None:
        als = needed("implicit", "implicit.cpu.als")
        limits = needed("threadpoolctl")
        matrix = _csr(binary(train) * self.config.alpha)
        with limits.threadpool_limits(1, "blas"):  # implicit parallelises over rows itself
            model = als.AlternatingLeastSquares(
                factors=self.config.factors,
                regularization=self.config.regularization,
                iterations=self.config.iterations,
                random_state=self.seed,
            )
            progress.start("als", self.config.iterations)
            try:
                model.fit(matrix, show_progress=False, callback=lambda *_: progress.advance())
            finally:
                progress.finish()
        self._model = model

    def _scores(self, histories: Sequences) -> NDArray[np.floating]:
        confidence = _csr(decayed(histories, self.config.half_life) * self.config.alpha)
        people = self._model.recalculate_user(np.arange(len(histories.user_ids)), confidence)
        return people @ self._model.item_factors.T


class BprConfig(Config):
    factors: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=0.02, gt=0)
    regularization: float = Field(default=0.05, ge=0)
    iterations: int = Field(default=200, ge=1)
    half_life: float | None = Field(default=3.0, gt=0)
    """Of an event's weight when a person is folded in, in places; None: all events count alike."""


class Bpr(Baseline[BprConfig]):
    """Rendle et al. (UAI 2009). A person's vector minimises the same loss on the decayed history, the items held fixed."""

    name = "bpr"
    seeded = True
    config_class: ClassVar[type[Config]] = BprConfig

    def grid(self) -> Sequence[Mapping[str, Any]]:
        return combinations(half_life=(3.0, None), factors=(64, 128), regularization=(0.05, 0.01), iterations=(200, 500))

    def _fit(self, train: Sequences, content: Content, progress: Progress) -> None:
        bpr = needed("implicit", "implicit.cpu.bpr")
        limits = needed("threadpoolctl")
        with limits.threadpool_limits(1, "blas"):
            model = bpr.BayesianPersonalizedRanking(
                factors=self.config.factors,
                learning_rate=self.config.learning_rate,
                regularization=self.config.regularization,
                iterations=self.config.iterations,
                num_threads=1,  # several threads race, and a seed would mean nothing
                random_state=self.seed,
            )
            progress.start("bpr", self.config.iterations)
            try:
                model.fit(_csr(binary(train)), show_progress=False, callback=lambda *_: progress.advance())
            finally:
                progress.finish()
        self._items = np.asarray(model.item_factors[:, :-1], np.float32)
        self._bias = np.asarray(model.item_factors[:, -1], np.float32)  # implicit keeps the item bias as the last factor

    def _scores(self, histories: Sequences) -> NDArray[np.floating]:
        weights = decayed(histories, self.config.half_life)
        return fold_in(weights, self._items, self._bias, self.config.regularization, self.seed) @ self._items.T + self._bias


def fold_in(
    weights: sparse.csr_array, items: NDArray[np.float32], bias: NDArray[np.float32], regularization: float, seed: int
) -> NDArray[np.float32]:
    """(U, F) people for (U, N) event weights, items (N, F) and their bias (N,).

    Gradient descent with Adam on  -Σ_i w_i · mean_j log σ(u·(v_i - v_j) + b_i - b_j) / Σ w + regularization · |u|²/2,
    where j runs over the same `NEGATIVES` items for everybody.
    """
    rng = np.random.default_rng(seed)
    others = rng.choice(len(items), min(NEGATIVES, len(items)), replace=False)
    counts = np.diff(weights.indptr)
    known = counts > 0
    begins = weights.indptr[:-1][known]
    users = np.repeat(np.arange(len(counts)), counts)
    total = np.maximum(np.asarray(weights.sum(axis=1)).reshape(-1), 1e-12)
    share = (weights.data / total[users]).astype(np.float32)
    people = np.zeros((len(counts), items.shape[1]), np.float32)
    mean, square = np.zeros_like(people), np.zeros_like(people)
    positive = items[weights.indices]
    for step in range(1, FOLD_IN_STEPS + 1):
        above = np.einsum("nf,nf->n", people[users], positive) + bias[weights.indices]
        below = people @ items[others].T + bias[others]  # (U, J)
        push = share[:, None] / (1.0 + np.exp(np.clip(above[:, None] - below[users], -30, 30)))  # (n, J)
        push /= len(others)
        rows = sparse.csr_array((push.sum(axis=1), weights.indices, weights.indptr), shape=(len(counts), len(items)))
        away = np.zeros_like(below)
        away[known] = np.add.reduceat(push, begins, axis=0)
        gradient = away @ items[others] - rows @ items + regularization * people
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        people -= FOLD_IN_RATE * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
    return people


def _csr(matrix: sparse.csr_array) -> sparse.csr_matrix:
    """What implicit takes: 32-bit row offsets, float32."""
    return sparse.csr_matrix(matrix.astype(np.float32))
