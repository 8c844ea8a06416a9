"""Training the retriever: hold the latest events out, learn until validation stops improving, then learn once more from all."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from genrec.errors import ConfigError, TrainingError
from genrec.metrics import gain
from genrec.models.two_tower import NetworkConfig, TwoTower
from genrec.progress import SILENT, Progress
from genrec.retrieval.event_features import GAPS, VALUES, EventSpace
from genrec.retrieval.exact_search import top_k
from genrec.retrieval.item_features import FeatureSpace
from genrec.retrieval.learned_retriever import LearnedRetriever, item_tensors
from genrec.retrieval.mean_profile import recency_means
from genrec.retrieval.sequences import Sequences
from genrec.retrieval.systems import Content
from genrec.retrieval.zero_shot import behaviour_of, fused_rows
from genrec.settings.sections import RetrievalSettings
from genrec.settings.train_sections import RetrieverTrainSettings
from genrec.training.checkpoint import Checkpoint
from genrec.training.retriever_batches import Batches
from genrec.training.retriever_loop import Phase, accelerator, best_epoch, run
from genrec.training.retriever_teacher import Teacher

SHORTEST = 3
"""Events of a person from whom validation takes the last: one to learn from has to stay."""
MORE = "Ingest more events; without them, the untrained fusion serves."
VALIDATED = 4000
"""Most people of validation."""
TOP = 10
ANCHORS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Weights of the untrained retriever that validation chooses from; the smallest of equals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """`epochs` of the phase with validation and of the refit: loss, seconds and, in the first, validation NDCG@10 of the network
    alone; that figure of the best epoch with its anchor, and of the untrained retriever on the same events.
    """

    retriever: LearnedRetriever
    epochs: list[dict[str, float]]
    refit: list[dict[str, float]]
    validation: float
    untrained: float
    gates: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainer:
    """Everything but the events. `device` is `cpu` or `cuda`; `folder` keeps checkpoints, None keeps none."""

    retrieval: RetrievalSettings
    settings: RetrieverTrainSettings
    device: str = "cpu"
    folder: Path | None = None
    progress: Progress = SILENT
    tell: Callable[[str], None] = field(default=lambda _: None)

    def train(self, events: Sequences, content: Content) -> Trained:
        """Raises TrainingError when the events do not suffice, ConfigError for settings that do not fit one another."""
        settings = self.settings
        if settings.width % settings.heads:
            raise ConfigError(
                f"retrieval.train.width {settings.width} is no multiple of retrieval.train.heads {settings.heads}",
                hint="Set retrieval.train.heads to a divisor of the width.",
            )
        known, asked, targets = held_out(events)
        if not len(targets):
            raise TrainingError(f"nobody has {SHORTEST} events on different items", hint=MORE)
        accelerate = accelerator(settings, self.device)
        first, retriever = self._phase(known, content, "epoch", accelerate)
        asked, targets = _sample(asked, targets, settings.seed)
        history, fused = fused_rows(known, content, self.retrieval)

        def validate() -> float:
            items = retriever.encode(content, fused)
            return ndcg(retriever.people(asked, items), items.rows, asked, targets)

        first.validate = validate
        epochs = run(first, accelerate, self.progress, self.tell)
        best, validation = best_epoch(epochs), validate()
        if settings.anchor:
            found = []
            for retriever.anchor in ANCHORS:
                found.append((validate(), -retriever.anchor))
            validation, negative = max(found)
            retriever.anchor = -negative
            self.tell(f"anchor {retriever.anchor:g}: validation NDCG@10 {validation:.4f}")
        profiles = recency_means(history, asked, self.retrieval.half_life, self.retrieval.history)
        untrained = ndcg(profiles, fused, asked, targets)
        refit: list[dict[str, float]] = []
        if settings.refit:
            anchor = retriever.anchor
            second, retriever = self._phase(events, content, "refit", accelerate)
            retriever.anchor = anchor
            second.stop_after = best
            refit = run(second, accelerate, self.progress, self.tell)
        if accelerate.is_main_process and self.folder is not None:
            for task in ("epoch", "refit"):
                Checkpoint(self.folder / task, fingerprint="").clear()
        return Trained(
            retriever=retriever,
            epochs=epochs,
            refit=refit,
            validation=validation,
            untrained=untrained,
            gates=retriever.encode(content, fused).gates,
        )

    def _phase(self, train: Sequences, content: Content, task: str, accelerate: Accelerator) -> tuple[Phase, LearnedRetriever]:
        settings, device = self.settings, accelerate.device
        if settings.fusion != "graph":
            content = replace(content, triples=())
        torch.manual_seed(settings.seed)
        warm = train.popularity() > 0
        features, space = FeatureSpace.fit(content, warm, settings.modalities), EventSpace.fit(train)
        if not (features.means or features.n_attributes or settings.ids):
            raise ConfigError(
                "nothing tells items apart: no vectors, no attributes that items share, and retrieval.train.ids is off",
                hint="Set retrieval.train.ids = true.",
            )
        network = TwoTower(_config(features, space, settings)).to(device)
        network.item_encoder.start_ids(torch.from_numpy(behaviour_of(train, self.retrieval).vectors[warm]).to(device))
        retriever = LearnedRetriever(
            network=network,
            features=features,
            events=space,
            length=settings.length,
            half_life=self.retrieval.half_life,
            latest=self.retrieval.history,
        )
        folds = np.random.default_rng(settings.seed).permutation(len(train.user_ids)) % min(settings.folds, len(train.user_ids))
        batches = Batches(
            train,
            space,
            folds,
            length=settings.length,
            batch=settings.batch,
            full_softmax=settings.full_softmax,
            negatives=settings.negatives,
            device=device,
        )
        if not len(batches):
            raise TrainingError("besides the events held out, nobody chose two different items", hint=MORE)
        phase = Phase(
            network=network,
            items=item_tensors(features.encode(content), device),
            batches=batches,
            teacher=self._teacher(train, content, batches, task) if settings.teacher > 0 else None,
            settings=settings,
            validate=None,
            stop_after=settings.epochs,
            checkpoint=self._checkpoint(task, train, content, accelerate.num_processes),
            seed=settings.seed,
            task=task,
        )
        return phase, retriever

    def _teacher(self, train: Sequences, content: Content, batches: Batches, task: str) -> Teacher:
        teacher = Teacher(train, content, self.retrieval, batches.folds, batches.device, self.progress)
        teacher.fit(list(_first(batches.epoch(np.random.default_rng(self.settings.seed)))))
        a, b = teacher.weights.tolist()
        self.tell(f"teacher of {task}: {a:.2f} · untrained retriever + {b:.2f} · log transitions")
        return teacher

    def _checkpoint(self, task: str, train: Sequences, content: Content, processes: int) -> Checkpoint | None:
        """Its fingerprint covers all that the course of a training depends on."""
        if self.folder is None:
            return None
        known: list[Any] = [version("genrec"), self.settings.model_dump(), self.retrieval.model_dump(), self.device, processes]
        known += [train.item_ids, train.kind_names, train.platform_names, sorted(content.vectors.matrices), content.triples]
        known += [dict(item.attributes) for item in content.items]
        mark = hashlib.sha256(json.dumps(known, sort_keys=True).encode())
        columns = [train.offsets, train.items, train.timestamps, train.values, train.kinds, train.platforms]
        for _, matrix in sorted(content.vectors.matrices.items()):
            columns.append(matrix)
        for column in columns:
            mark.update(np.ascontiguousarray(column).tobytes())
        return Checkpoint(self.folder / task, mark.hexdigest())


def held_out(events: Sequences) -> tuple[Sequences, Sequences, NDArray[np.int64]]:
    """Events without the last of everybody who has enough; the histories of those whose last event is a new item; those items."""
    long = events.lengths >= SHORTEST
    last = events.places == np.repeat(events.lengths, events.lengths) - 1
    known = events.where(~(last & long[events.users]))
    people = np.flatnonzero(long)
    targets = events.items[events.offsets[people + 1] - 1].astype(np.int64)
    fresh = np.array([target not in known.history(int(person)) for person, target in zip(people, targets, strict=True)], bool)
    fresh &= (known.popularity() > 0)[targets]
    return known, known.take(people[fresh]), targets[fresh]


def ndcg(people: NDArray[np.float32], rows: NDArray[np.float32], asked: Sequences, targets: NDArray[np.int64]) -> float:
    """NDCG@10 of one target each among all items, the history left out, ties by item number; by the product of `people` (U, D)
    and `rows` (N, D).
    """
    top, _ = top_k(people, rows, TOP, exclude=(asked.offsets, asked.items.astype(np.int64)))
    user, place = np.nonzero(top == targets[:, None])
    gains = np.zeros(len(targets))
    gains[user] = gain(place, TOP)
    return float(gains.mean())


def _sample(asked: Sequences, targets: NDArray[np.int64], seed: int) -> tuple[Sequences, NDArray[np.int64]]:
    if len(targets) <= VALIDATED:
        return asked, targets
    chosen = np.sort(np.random.default_rng(seed).permutation(len(targets))[:VALIDATED])
    return asked.take(chosen), targets[chosen]


def _first(batches: Any, most: int = 8) -> Any:
    for number, batch in enumerate(batches):
        if number == most:
            return
        yield batch


def _config(features: FeatureSpace, space: EventSpace, settings: RetrieverTrainSettings) -> NetworkConfig:
    return NetworkConfig(
        dims={name: len(mean) for name, mean in features.means.items()},
        n_items=len(features.item_ids),
        n_entities=len(features.entities),
        n_relations=len(features.relations),
        n_attributes=features.n_attributes,
        gaps=GAPS,
        kinds=len(space.kinds) + 1,
        values=VALUES,
        platforms=len(space.platforms) + 1,
        width=settings.width,
        layers=settings.layers,
        heads=settings.heads,
        fusion=settings.fusion,
        ids=settings.ids,
        dropout=settings.dropout,
        modality_dropout=settings.modality_dropout,
        id_dropout=settings.id_dropout,
    )
