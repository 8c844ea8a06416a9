"""The learned retriever as a system under comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec.errors import DataError
from genrec.progress import Progress
from genrec.retrieval.learned_retriever import LearnedItems, LearnedRetriever
from genrec.retrieval.sequences import Sequences
from genrec.retrieval.systems import Content, SystemDefaults
from genrec.retrieval.zero_shot import fused_rows
from genrec.training.retriever_training import Trainer


class Learned(SystemDefaults):
    """Trains anew at every fit, with early stopping on the last events of what it is given."""

    seeded = True

    def __init__(self, trainer: Trainer, name: str = "learned", chosen: Mapping[str, Any] | None = None) -> None:
        self.name = name
        self._trainer = trainer
        self.settings: Mapping[str, Any] = dict(chosen or {})
        self.gates = {}
        self._popularity = np.zeros(0, np.float32)
        self.made: tuple[LearnedRetriever, LearnedItems] | None = None

    def grid(self) -> Sequence[Mapping[str, Any]]:
        """Empty: it is trained as the workspace's settings say, and stops itself by its own validation."""
        return []

    def with_settings(self, settings: Mapping[str, Any], seed: int) -> "Learned":
        changed = self._trainer.settings.model_copy(update={**settings, "seed": seed})
        return Learned(replace(self._trainer, settings=changed), self.name, settings)

    def fit(self, train: Sequences, content: Content, progress: Progress) -> None:
        trained = replace(self._trainer, progress=progress).train(train, content)
        _, fused = fused_rows(train, content, self._trainer.retrieval)
        items = trained.retriever.encode(content, fused, new_item_bonus=self._trainer.retrieval.new_item_bonus)
        self._popularity = train.popularity().astype(np.float32)
        self.made, self.gates = (trained.retriever, items), items.gates

    def scores(self, histories: Sequences) -> NDArray[np.float32]:
        if self.made is None:
            raise DataError(f"{self.name}: asked for scores before it was fitted")
        retriever, items = self.made
        scores = retriever.people(histories, items) @ items.rows.T
        scores[histories.lengths == 0] = self._popularity  # as serving does
        return scores
