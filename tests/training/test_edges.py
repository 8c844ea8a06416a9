"""Worlds with almost nothing in them, and what validation holds out."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from genrec.errors import TrainingError
from genrec.retrieval.sequences import Sequences
from genrec.retrieval.systems import Content
from genrec.training.retriever_training import held_out, ndcg
from tests.training import world


def refused(events: Sequences, says: str, content: Content | None = None, **changes: Any) -> None:
    with pytest.raises(TrainingError, match=says) as error:
        world.trainer(**changes).train(events, content or world.content())
    assert error.value.hint


@pytest.mark.parametrize(
    "lists",
    [[], [[]], [[0], [1], [2]], [[0, 1], [1, 2]], [[0, 0, 0], [1, 1, 1, 1]]],
    ids=["nobody", "none", "one", "two", "same"],
)
def test_too_few_events(lists: list[list[int]]) -> None:
    refused(world.histories(lists), "nobody has 3 events")


def test_one_item() -> None:
    content = world.content()
    vectors = type(content.vectors)(("i00",), {"text": content.vectors.matrices["text"][:1]}, {"text": np.ones(1, bool)})
    refused(world.histories([[0, 0, 0], [0]], n_items=1), "nobody", Content(items=content.items[:1], vectors=vectors))


def test_nothing_is_left_to_learn_from() -> None:
    refused(world.histories([[0, 0, 1], [1, 1, 0]]), "besides the events held out")


def test_a_teacher_without_a_school() -> None:
    """Only two have events; where both are dealt into one fold and nothing else is known, there is nothing to teach from."""
    events, bare = world.histories([[3, 4], [0, 1, 2, 3], [], []]), world.content(text=False, attributes=False)
    refused(events, "one fold", bare, folds=2, seed=5)
    assert world.trainer(folds=2, seed=5, teacher=0).train(events, bare).epochs
    assert world.trainer(folds=2, seed=5).train(events, world.content()).epochs


SMALL: dict[str, tuple[Sequences, Content, dict[str, Any]]] = {
    "one at a time": (replace(world.events(), timestamps=np.full(len(world.events()), 5.0)), world.content(), {}),
    "positions": (replace(world.events(), timestamps=world.events().places.astype(float)), world.content(), {}),
    "behaviour only": (world.events(), world.content(text=False, attributes=False), {}),
    "no vectors": (world.events(), world.content(text=False), {}),
    "no attributes": (world.events(), world.content(attributes=False), {}),
    "graph without a graph": (world.events(), world.content(attributes=False), {"fusion": "graph"}),
    "concat of ids": (world.events(), world.content(text=False, attributes=False), {"fusion": "concat"}),
    "no layers": (world.events(), world.content(), {"layers": 0}),
    "no values": (replace(world.events(), values=np.full(len(world.events()), np.nan, np.float32)), world.content(), {}),
    "one value": (replace(world.events(), values=np.full(len(world.events()), 3, np.float32)), world.content(), {}),
    "two people": (world.histories([[0, 1, 2, 3], [1, 2, 3, 4]]), world.content(), {}),
    "one person": (world.histories([[0, 1, 2, 1, 0, 1, 2, 3], [1], [2, 3]]), world.content(), {}),
    "repeats": (world.histories([[0, 1, 0, 1, 1, 2], [2, 2, 1, 1, 0], [5, 5, 5, 5]]), world.content(), {"batch": 1}),
    "short reach": (world.events(), world.content(), {"length": 2}),
    "ids alone": (world.events(), world.content(attributes=False), {"modalities": ["image"]}),
}


@pytest.mark.parametrize("case", SMALL)
@pytest.mark.parametrize("sampled", [False, True])
def test_it_learns_from_little(case: str, sampled: bool) -> None:
    events, content, changes = SMALL[case]
    more = {"full_softmax": 2, "negatives": 3} if sampled else {}
    trained = world.trainer(**changes, **more).train(events, content)
    items = world.encoded(trained.retriever, content, events)
    people = trained.retriever.people(world.histories([[0], [], [1, 2]]), items)
    assert np.isfinite(people @ items.rows.T).all()
    assert people.any(axis=1).tolist() == [True, False, True]
    assert all(np.isfinite(row["loss"]) for row in [*trained.epochs, *trained.refit])
    assert sum(items.gates.values()) == pytest.approx(1.0, abs=1e-5)
    lengths = np.linalg.norm(items.rows, axis=1)
    assert set(np.round(lengths, 4)) <= {0.0, 1.0}


def test_an_item_of_which_nothing_is_known_is_not_found() -> None:
    bare = world.content(text=False, attributes=False)
    made = world.encoded(world.trainer().train(world.events(), bare).retriever, bare)
    cold = world.events().popularity() == 0
    assert cold.sum() == world.COLD * world.KINDS
    assert np.array_equal(made.rows.any(axis=1), ~cold)
    assert not made.vectors[cold].any()


def test_what_is_held_out() -> None:
    events = world.histories([[0, 1, 2], [3, 4], [5, 6, 5], [1, 2, 9], [2, 1, 0]])
    known, asked, targets = held_out(events)
    assert [known.history(u).tolist() for u in range(5)] == [[0, 1], [3, 4], [5, 6], [1, 2], [2, 1]]
    assert targets.tolist() == [2, 0]  # 5 is no new item, 9 is nowhere else
    assert [asked.history(u).tolist() for u in range(2)] == [[0, 1], [2, 1]]


def test_validation_counts_ties_by_number_and_leaves_the_history_out() -> None:
    asked, rows = world.histories([[0, 1], [2]], n_items=20), np.eye(20, dtype=np.float32)
    scores = np.tile(np.arange(20, 0, -1), (2, 1)).astype(np.float32)
    assert ndcg(scores, rows, asked, np.array([2, 19])) == pytest.approx(0.5)  # first of the rest; beyond ten
    assert ndcg(scores, rows, asked, np.array([3, 3])) == pytest.approx((1 / np.log2(3) + 1 / np.log2(4)) / 2, abs=1e-6)
    flat = np.zeros((2, 20), np.float32)
    assert ndcg(flat, rows, asked, np.array([19, 19])) == 0.0  # a network that tells nothing apart is not perfect
    assert ndcg(flat, rows, asked, np.array([2, 0])) == 1.0
