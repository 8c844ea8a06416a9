"""A tiny LLM to tune, and a small world with a planted habit: who chose an item chooses its follower next."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec.progress import SILENT, Progress
from genrec.prompts import Prompts
from genrec.retrieval.item_vectors import ModalityVectors
from genrec.retrieval.sequences import Sequences
from genrec.retrieval.systems import Content, SystemDefaults
from genrec.settings.sections import ModelSettings
from genrec.settings.train_sections import RankTrainSettings
from genrec.training.adapter_training import Base, open_base, tunable
from genrec.training.lora import Tuned
from genrec.training.ranker_training import Course, Source, source
from genrec.types import Item
from tests.training import world

TITLES = tuple("ABCDEFGHIJKL")
"""One token each for the tiny tokenizer."""
N = len(TITLES)
STEP = 5
"""The follower of item n is n + STEP."""


def base(llama: Path) -> Base:
    return open_base(models(llama), SILENT)


def models(llama: Path) -> ModelSettings:
    return ModelSettings(llm=str(llama), device="cpu", dtype="float32")


def tuned(made: Base, rank: int = 8, seed: int = 0) -> Tuned:
    return tunable(
        made, ModelSettings(llm=made.weights.name, device="cpu", dtype="float32"), rank=rank, alpha=2 * rank, seed=seed
    )


def content(titles: Sequence[str] = TITLES) -> Content:
    known = [Item(item_id=f"i{n:02d}", title=title) for n, title in enumerate(titles)]
    return Content(items=known, vectors=ModalityVectors(tuple(item.item_id for item in known), {}, {}), triples=())


def walks(people: int, *, length: int = 6, seed: int = 0, planted: bool = True, n: int = N) -> list[list[int]]:
    """Everybody starts somewhere and goes from item to follower; without the habit, anywhere. Nobody meets an item twice."""
    rng = np.random.default_rng(seed)
    if planted:
        return [((start + STEP * np.arange(length)) % n).tolist() for start in rng.integers(n, size=people)]
    return [rng.permutation(n)[:length].tolist() for _ in range(people)]


def events(people: int, **changes: Any) -> Sequences:
    return world.histories(walks(people, **changes), n_items=changes.get("n", N))


class Weak(SystemDefaults):
    """Scores that say little: noise by person's last item and item, the same whenever it is asked. `seen` are fits' people."""

    name = "weak"
    seeded = False
    settings: Mapping[str, Any] = {}

    def __init__(self, seen: list[set[str]] | None = None) -> None:
        self.seen = [] if seen is None else seen
        self._n = 0

    def grid(self) -> Sequence[Mapping[str, Any]]:
        return []

    def with_settings(self, settings: Mapping[str, Any], seed: int) -> "Weak":
        return Weak(self.seen)

    def fit(self, train: Sequences, content: Content, progress: Progress) -> None:
        self._n = len(content.items)
        self.seen.append({train.user_ids[user] for user in np.unique(train.users)})

    def scores(self, histories: Sequences) -> NDArray[np.float32]:
        rows = []
        for person in range(len(histories.user_ids)):
            last = histories.history(person)
            rows.append(np.random.default_rng([int(last[-1]) if len(last) else 0, len(last)]).random(self._n))
        return np.array(rows, np.float32).reshape(len(rows), self._n)


def settings(**changes: Any) -> RankTrainSettings:
    small = {"r": 8, "alpha": 16, "epochs": 2, "length": 256, "lists": 0, "candidates": 4, "history": 4, "folds": 2}
    return RankTrainSettings.model_validate(small | {"learning_rate": 1e-2, "list_learning_rate": 1e-2} | changes)


def source_of(all_events: Sequences, told: RankTrainSettings, system: Any = None, titles: Sequence[str] = TITLES) -> Source:
    return source(all_events, content(titles), serving=system or Weak(), training=system or Weak(), settings=told)


def course(
    made: Base, all_events: Sequences, told: RankTrainSettings, system: Any = None, prompts: Prompts | None = None
) -> Course:
    return Course(sources=[source_of(all_events, told, system)], base=made, prompts=prompts or Prompts(), settings=told)
