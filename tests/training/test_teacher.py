"""The teacher against plain loops, and that it never saw the people it teaches."""

from typing import Any

import numpy as np
import pytest
import torch

from genrec.progress import SILENT
from genrec.retrieval.event_features import EventSpace
from genrec.retrieval.item_transitions import transitions
from genrec.retrieval.sequences import Sequences
from genrec.retrieval.systems import Content
from genrec.retrieval.zero_shot import fused_rows
from genrec.settings.sections import RetrievalSettings
from genrec.training import retriever_teacher as module
from genrec.training.retriever_batches import Batch, Batches
from genrec.training.retriever_teacher import EPSILON, TRANSITION_HALF_LIFE, Teacher
from tests.training import world

CPU = torch.device("cpu")
SETTINGS = RetrievalSettings()


def taught(train: Sequences, folds: np.ndarray, content: Content | None = None, **changes: Any) -> tuple[Teacher, list[Batch]]:
    options: dict[str, Any] = {"length": 50, "batch": 8, "full_softmax": 1000, "negatives": 8} | changes
    batches = Batches(train, EventSpace.fit(train), folds, device=CPU, **options)
    teacher = Teacher(train, content or world.content(), SETTINGS, folds, CPU, SILENT)
    return teacher, list(batches.epoch(np.random.default_rng(0)))


def dealt(train: Sequences, n: int = 3) -> np.ndarray:
    return np.arange(len(train.user_ids)) % n


def test_its_terms_equal_plain_loops() -> None:
    train = world.events()
    folds = dealt(train)
    teacher, batches = taught(train, folds)
    batch = batches[0]
    others = train.take(np.flatnonzero(folds != batch.fold))
    history, rows = fused_rows(others, world.content(), SETTINGS)
    kernel = transitions(others).toarray()
    cosine, followed = (part.numpy() for part in teacher.parts(batch))
    for at, (row, place) in enumerate(batch.wanted.nonzero().tolist()):
        inputs = batch.events.items[row, : place + 1].numpy()[::-1]
        person = sum(0.5 ** (n / SETTINGS.half_life) * history[item] for n, item in enumerate(inputs))
        assert cosine[at] == pytest.approx(rows @ (person / np.linalg.norm(person)), abs=1e-5)
        decay = 0.5 ** (1 / TRANSITION_HALF_LIFE)
        score = sum((1 - decay) * decay**n * kernel[item] for n, item in enumerate(inputs))
        assert followed[at] == pytest.approx(np.log(score + EPSILON), abs=1e-4)
    expected = teacher.weights[0].item() * cosine + teacher.weights[1].item() * followed
    assert teacher.logits(batch).numpy() == pytest.approx(expected, abs=1e-4)


def test_a_person_is_not_taught_by_their_own_pairs() -> None:
    """Item 28 follows item 8 in one person's history alone: their teacher does not know, all the others do."""
    lists = [world.events().history(u).tolist() for u in range(12)]
    lists[4] = [8, 28]
    train = world.histories(lists)
    folds = dealt(train)
    teacher, _ = taught(train, folds)
    for fold in range(3):
        asked = EventSpace.fit(train).columns(world.histories([[8]]))
        from genrec.retrieval.learned_retriever import event_tensors

        batch = Batch(
            fold=fold,
            events=event_tensors(asked, [0], np.array([1]), CPU),
            wanted=torch.ones(1, 1, dtype=torch.bool),
            targets=torch.tensor([28]),
            seen=torch.zeros(1, world.ITEMS, dtype=torch.bool),
            candidates=None,
            correction=torch.zeros(()),
        )
        _, followed = teacher.parts(batch)
        unknown = float(followed[0, 28]) == pytest.approx(np.log(EPSILON), abs=1e-4)
        assert unknown is (fold == folds[4])


@pytest.mark.parametrize("full_softmax", [1000, 5])
def test_the_sparse_way_equals_the_dense_one(monkeypatch: pytest.MonkeyPatch, full_softmax: int) -> None:
    train = world.events()
    dense, batches = taught(train, dealt(train), full_softmax=full_softmax)
    monkeypatch.setattr(module, "DENSE", 0)
    thin, _ = taught(train, dealt(train), full_softmax=full_softmax)
    assert all(fold.products is not None for fold in dense._folds.values())
    assert all(fold.products is None for fold in thin._folds.values())
    for batch in batches:
        for one, other in zip(dense.parts(batch), thin.parts(batch), strict=True):
            assert torch.allclose(one, other, atol=1e-5)


def likelihood(teacher: Teacher, batches: list[Batch]) -> float:
    total = sum(len(batch.targets) for batch in batches)
    lost = 0.0
    for batch in batches:
        logits = (teacher.logits(batch) - batch.correction).masked_fill(batch.seen, -1e4)
        lost += float(torch.nn.functional.cross_entropy(logits, batch.targets, reduction="sum"))
    return lost / total


@pytest.mark.parametrize("full_softmax", [1000, 5])
def test_fitting_finds_the_best_two_weights(full_softmax: int) -> None:
    train = world.events(people=60)
    teacher, batches = taught(train, dealt(train), full_softmax=full_softmax)
    before = likelihood(teacher, batches)
    teacher.fit(batches)
    best = likelihood(teacher, batches)
    assert best < before
    fitted = teacher.weights.clone()
    assert torch.isfinite(fitted).all()
    assert (fitted > 0).all()
    for change in ([1.3, 1.0], [0.7, 1.0], [1.0, 1.3], [1.0, 0.7]):
        teacher.weights = fitted * torch.tensor(change)
        assert likelihood(teacher, batches) > best - 1e-4


def test_weights_stay_finite_where_the_next_item_is_certain() -> None:
    train = world.histories([[0, 1]] * 6, n_items=2)
    ids = ("i00", "i01")
    content = world.content()
    two = Content(items=content.items[:2], vectors=type(content.vectors)(ids, {}, {}))
    teacher, batches = taught(train, dealt(train), two)
    teacher.fit(batches)
    assert torch.isfinite(teacher.weights).all()
    assert torch.isfinite(teacher.logits(batches[0])).all()
