"""Every key of `[retrieval.train]` changes what is learned, in the way it says."""

from typing import Any

import numpy as np
import pytest
import torch

from genrec.errors import ConfigError, DataError
from genrec.progress import SILENT
from genrec.retrieval.learned_retriever import LearnedRetriever, event_tensors, item_tensors
from genrec.retrieval.sequences import Sequences
from genrec.retrieval.zero_shot import ZeroShot
from genrec.settings.sections import RetrievalSettings
from genrec.settings.train_sections import RetrieverTrainSettings
from genrec.training.learned_system import Learned
from tests.training import world

SAMPLED = {"full_softmax": 5}
CASES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"modalities": ["text"]}),
    ({}, {"fusion": "concat"}),
    ({}, {"fusion": "graph"}),
    ({"fusion": "concat"}, {"fusion": "graph"}),
    ({}, {"ids": False}),
    ({}, {"width": 20}),
    ({}, {"layers": 0}),
    ({}, {"heads": 4}),
    ({}, {"length": 3}),
    ({}, {"dropout": 0.0}),
    ({}, {"modality_dropout": 0.5}),
    ({}, {"id_dropout": 0.6}),
    ({}, {"teacher": 0.0}),
    ({}, {"teacher": 1.0}),
    ({}, {"folds": 2}),
    ({}, {"anchor": False}),
    ({}, SAMPLED | {"negatives": 10}),
    (SAMPLED | {"negatives": 10}, {"negatives": 20}),
    ({}, {"epochs": 3}),
    ({}, {"batch": 7}),
    ({}, {"learning_rate": 5e-3}),
    ({}, {"weight_decay": 0.9}),
    ({}, {"precision": "bf16"}),
    ({}, {"refit": False}),
    ({}, {"seed": 5}),
]
ELSEWHERE = {"patience"}  # test_loop.py


def scores(**changes: Any) -> np.ndarray:
    seed = changes.pop("seed", world.TINY["seed"])
    system = Learned(world.trainer()).with_settings(changes, seed)
    system.fit(world.events(), world.content(triples=True), SILENT)
    return system.scores(world.events(people=12, seed=9))


def test_every_key_is_tried() -> None:
    assert {key for _, changes in CASES for key in changes} | ELSEWHERE == set(RetrieverTrainSettings.model_fields)


@pytest.mark.parametrize(("before", "change"), CASES, ids=lambda one: ",".join(one) or "-")
def test_no_key_is_inert(before: dict[str, Any], change: dict[str, Any]) -> None:
    plain, turned = scores(**before), scores(**before | change)
    assert np.isfinite(turned).all()
    assert not np.array_equal(plain, turned)


def test_training_learns_what_follows() -> None:
    """The next item of the kind comes first; nothing else in the world says so."""
    trained = world.trainer(width=32, epochs=20, patience=20, learning_rate=1e-2).train(world.events(people=90), world.content())
    assert trained.epochs[-1]["loss"] < trained.epochs[0]["loss"]
    assert trained.validation >= max(row["validation"] for row in trained.epochs) > 0.6
    items = world.encoded(trained.retriever, world.content())
    asked = world.histories([[0, 1, 2], [11, 12, 13]])
    found = world.found(trained.retriever, items, asked)
    found[asked.users, asked.items] = -np.inf
    assert found.argmax(axis=1).tolist() == [3, 14]


def test_a_bonus_lifts_new_items_alone_and_by_as_many_nats() -> None:
    made = world.trainer(anchor=False).train(world.events(), world.content()).retriever
    asked = world.histories([[0, 1]])
    length = np.linalg.norm(network_scores(made, asked)[1], axis=1)

    def nats(bonus: float) -> np.ndarray:
        """The network's own scores: those of the rows without the scale of people and items."""
        items = world.encoded(made, world.content(), bonus=bonus)
        person = made.people(asked, items)[0]
        return items.rows @ person / person[-2] * (length[0] / np.linalg.norm(items.rows[0, : made.network.config.width]))

    more = nats(1.5) - nats(0.0)
    new = np.arange(world.ITEMS) % world.EACH >= world.EACH - world.COLD
    assert more[new] == pytest.approx(np.full(new.sum(), 1.5), abs=1e-3)
    assert more[~new] == pytest.approx(np.zeros((~new).sum()), abs=1e-3)


def network_scores(made: LearnedRetriever, asked: Sequences) -> tuple[np.ndarray, np.ndarray]:
    """(U, N) the network's own scores, by its modules; (N, D) what it shows of each item."""
    with torch.inference_mode():
        vectors, shown, bias, _ = made.network.items(item_tensors(made.features.encode(world.content()), "cpu"))
        events = event_tensors(made.events.columns(asked), asked.offsets[:-1], asked.lengths, "cpu")
        states = made.network.people(vectors, events)[torch.arange(len(asked.lengths)), events.lengths - 1]
        return (states @ shown.T + bias).numpy(), shown.numpy()


def test_the_anchor_adds_the_untrained_score_with_the_weight_that_validation_chose() -> None:
    lines: list[str] = []
    trained = world.trainer(tell=lines.append).train(world.events(), world.content())
    made, asked = trained.retriever, world.histories([[0, 1, 2], [11, 12]])
    told = next(line for line in lines if line.startswith("anchor"))
    assert told == f"anchor {made.anchor:g}: validation NDCG@10 {trained.validation:.4f}"
    assert trained.validation >= max(row["validation"] for row in trained.epochs)
    untrained = ZeroShot(RetrievalSettings())
    untrained.fit(world.events(), world.content(), SILENT)
    for anchor in (0.0, 3.0):
        made.anchor = anchor
        items = world.encoded(made, world.content())
        people = made.people(asked, items)
        lengths = np.linalg.norm(items.rows[:, : made.network.config.width], axis=1)
        scores = people @ items.rows.T / people[:, -2:-1] * np.linalg.norm(network_scores(made, asked)[1][0]) / lengths[0]
        assert scores == pytest.approx(network_scores(made, asked)[0] + anchor * untrained.scores(asked), abs=1e-3)
        assert items.history.shape[1] == (0 if not anchor else items.rows.shape[1] - made.network.config.width - 2)
    made.anchor = 3.0
    with pytest.raises(DataError, match="anchored"):
        made.encode(world.content())
    assert world.trainer(anchor=False).train(world.events(), world.content()).retriever.anchor == 0.0


def test_triples_speak_through_the_graph_alone() -> None:
    for fusion, differs in (("attention", False), ("concat", False), ("graph", True)):
        plain, told = (
            world.weights(world.trainer(fusion=fusion).train(world.events(), world.content(triples=there)))
            for there in (False, True)
        )
        assert world.same(plain, told) is not differs, fusion


def test_modalities_are_those_named() -> None:
    made = world.trainer(modalities=["image"], ids=False).train(world.events(), world.content()).retriever
    assert set(made.features.means) == {"image"}
    assert set(made.network.item_encoder.parts) == {"image", "attributes"}
    with pytest.raises(ConfigError, match="behaviour") as error:
        world.trainer(modalities=["behaviour"]).train(world.events(), world.content())
    assert "text" in error.value.hint


def test_settings_that_do_not_fit_one_another() -> None:
    with pytest.raises(ConfigError, match="no multiple") as error:
        world.trainer(heads=3).train(world.events(), world.content())
    assert error.value.hint
    with pytest.raises(ConfigError, match="ids is off") as error:
        world.trainer(ids=False).train(world.events(), world.content(text=False, attributes=False))
    assert "retrieval.train.ids" in error.value.hint


@pytest.mark.parametrize(("key", "value"), [("dropout", 1.0), ("layers", -1), ("length", 1), ("teacher", 1.1), ("folds", 1)])
def test_values_out_of_range_are_refused(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=key):
        RetrieverTrainSettings.model_validate({key: value})


def test_seeds() -> None:
    one, again, other = (world.weights(world.trainer(seed=seed).train(world.events(), world.content())) for seed in (4, 4, 5))
    assert world.same(one, again)
    assert not world.same(one, other)


def test_precisions_follow_one_another_in_one_process() -> None:
    plain, half, again = (
        world.weights(world.trainer(precision=precision).train(world.events(), world.content()))
        for precision in ("no", "bf16", "no")
    )
    assert world.same(plain, again)
    assert not world.same(plain, half)
    assert all(np.allclose(plain[name], half[name], atol=0.05) for name in plain)


def test_the_system_says_what_it_is() -> None:
    system = Learned(world.trainer())
    with pytest.raises(DataError, match="before it was fitted"):
        system.scores(world.events())
    assert system.grid() == []
    system.fit(world.events(), world.content(), SILENT)
    assert system.gates is not None
    assert set(system.gates) == {"text", "image", "attributes", "id"}
    assert sum(system.gates.values()) == pytest.approx(1.0, abs=1e-5)
    cold: Sequences = world.histories([[], [0]])
    found = system.scores(cold)
    assert np.array_equal(found[0], world.events().popularity())  # nobody's history: the popular list
    assert found[1] == pytest.approx(system.scores(world.histories([[0]]))[0], abs=1e-5)
