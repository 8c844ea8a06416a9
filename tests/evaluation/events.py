"""Small catalogues, histories and systems for the tests of the evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec.errors import ModelError
from genrec.progress import Progress
from genrec.retrieval.item_vectors import ModalityVectors, unit_rows
from genrec.retrieval.sequences import Sequences
from genrec.retrieval.systems import Content, System, SystemDefaults
from genrec.types import Item

DAY = 86_400.0
YEAR_2020 = 1_577_836_800.0


def sequences(
    histories: Sequence[Sequence[int]],
    n_items: int,
    times: Sequence[Sequence[float]] | None = None,
    platforms: Sequence[Sequence[int]] | None = None,
) -> Sequences:
    """People p0, p1, … and items i0, i1, …; times are days since 2020, by default the places in the history."""
    lengths = [len(history) for history in histories]
    days = [list(range(n)) for n in lengths] if times is None else times
    n = sum(lengths)
    return Sequences(
        user_ids=tuple(f"p{number}" for number in range(len(histories))),
        item_ids=tuple(f"i{number}" for number in range(n_items)),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        items=np.array([item for history in histories for item in history], np.int32),
        timestamps=YEAR_2020 + DAY * np.array([day for row in days for day in row], np.float64),
        values=np.full(n, np.nan, np.float32),
        kinds=np.zeros(n, np.int16),
        platforms=np.array([p for row in platforms for p in row] if platforms else [0] * n, np.int16),
        platform_names=("web", "app"),
    )


def random_sequences(seed: int, people: int = 60, items: int = 30, longest: int = 12) -> Sequences:
    """Popularity rises with the item number; nobody meets an item twice."""
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(items, 0, -1)
    lengths = rng.integers(2, longest + 1, people)
    chosen = [rng.choice(items, size=n, replace=False, p=weights / weights.sum()).tolist() for n in lengths]
    return sequences(chosen, items, [sorted(rng.uniform(0, 365, n)) for n in lengths])


def content(n_items: int, seed: int = 0) -> Content:
    """Random text vectors; item n has the genre n % 3 and, when even, `even`; odd items are of another platform."""
    rows = unit_rows(np.random.default_rng(seed).normal(size=(n_items, 8)))
    items = [
        Item(
            item_id=f"i{n}",
            title=f"Item {n}",
            platform="shop" if n % 2 else "library",
            attributes={"genres": (f"g{n % 3}", "even") if n % 2 == 0 else (f"g{n % 3}",), "maker": f"m{n % 2}"},
        )
        for n in range(n_items)
    ]
    ids = tuple(item.item_id for item in items)
    return Content(items=items, vectors=ModalityVectors(ids, {"text": rows}, {"text": np.ones(n_items, bool)}))


@dataclass
class Popular(SystemDefaults):
    """Most people first; `power` 0 forgets the counts, -1 turns the order round."""

    name: str = "popular"
    power: float = 1.0
    fits: list[Sequences] = field(default_factory=list)

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"power": self.power}

    def grid(self) -> Sequence[Mapping[str, Any]]:
        return [{"power": -1.0}, {"power": 1.0}, {"power": 0.0}]

    def with_settings(self, settings: Mapping[str, Any], seed: int) -> "Popular":
        return Popular(self.name, settings["power"], self.fits)

    def fit(self, train: Sequences, content: Content, progress: Progress) -> None:
        self.fits.append(train)
        self.counts = train.popularity()

    def scores(self, histories: Sequences) -> NDArray[np.float32]:
        signed = self.power * self.counts.astype(np.float32)
        return np.tile(signed, (len(histories.user_ids), 1))


@dataclass
class Noise:
    """Random scores of its seed, the same in every batch; says what its gates weigh."""

    name: str = "noise"
    seed: int = -1
    seeded: bool = True
    retriever: System | None = None
    candidates: int = 0
    settings: Mapping[str, Any] = field(default_factory=lambda: {"reach": float("inf")})

    @property
    def gates(self) -> Mapping[str, float]:
        return {"text": 0.25 * self.seed, "id": 1 - 0.25 * self.seed}

    def grid(self) -> Sequence[Mapping[str, Any]]:
        return []

    def with_settings(self, settings: Mapping[str, Any], seed: int) -> "Noise":
        return Noise(self.name, seed)

    def fit(self, train: Sequences, content: Content, progress: Progress) -> None:
        progress.start("learning", 1)
        progress.advance()
        progress.finish()

    def scores(self, histories: Sequences) -> NDArray[np.float32]:
        n, rows = len(histories.item_ids), zip(histories.user_ids, histories.lengths, strict=True)
        draws = [np.random.default_rng([self.seed + 1, int(user_id[1:]), length]).normal(size=n) for user_id, length in rows]
        return np.array(draws, np.float32).reshape(-1, n)


@dataclass
class Broken(SystemDefaults):
    """Needs a package that is not there."""

    name: str = "broken"
    settings: Mapping[str, Any] = field(default_factory=dict)

    def grid(self) -> Sequence[Mapping[str, Any]]:
        return []

    def with_settings(self, settings: Mapping[str, Any], seed: int) -> "Broken":
        return self

    def fit(self, train: Sequences, content: Content, progress: Progress) -> None:
        raise ModelError("the package nowhere is not installed", hint="pip install nowhere")

    def scores(self, histories: Sequences) -> NDArray[np.float32]:
        raise AssertionError("asked without a fit")
