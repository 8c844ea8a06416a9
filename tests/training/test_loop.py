"""The loop: where it stops, which weights it keeps, what the loss is made of, when it gives up."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from genrec.errors import TrainingError
from genrec.progress import SILENT
from genrec.training import retriever_loop as loop
from genrec.training.retriever_loop import Phase, _groups, accelerator, best_epoch, objective, run
from genrec.training.retriever_training import Trainer
from tests.training import world


def phase(validations: list[float] | None = None, **changes: Any) -> tuple[Phase, list[dict[str, Any]], Trainer]:
    """A phase whose validation says what is given, and the weights at each time it was asked."""
    trainer = world.trainer(**changes)
    accelerate = accelerator(trainer.settings, "cpu")
    made, _ = trainer._phase(world.events(), world.content(), "epoch", accelerate)
    seen: list[dict[str, Any]] = []
    figures: Iterator[float] = iter(validations or [])

    def validate() -> float:
        seen.append({name: value.clone() for name, value in made.network.state_dict().items()})
        return next(figures)

    made.validate = validate if validations else None
    return made, seen, trainer


def go(made: Phase, trainer: Trainer) -> list[dict[str, float]]:
    return run(made, accelerator(trainer.settings, "cpu"), SILENT, trainer.tell)


def held(made: Phase, weights: dict[str, Any]) -> bool:
    return all(torch.equal(value, weights[name]) for name, value in made.network.state_dict().items())


@pytest.mark.parametrize(("patience", "passes"), [(1, 3), (2, 6), (9, 7)])
def test_patience_and_the_best_weights(patience: int, passes: int) -> None:
    figures = [0.2, 0.4, 0.3, 0.5, 0.5, 0.1, 0.2]
    made, seen, trainer = phase(figures, epochs=7, patience=patience)
    rows = go(made, trainer)
    assert [row["validation"] for row in rows] == figures[:passes]
    best = best_epoch(rows)
    assert best == (2 if passes == 3 else 4)  # of equal ones the first
    assert held(made, seen[best - 1])
    assert not held(made, seen[-1])


def test_without_validation_the_last_pass_counts_and_a_refit_ends_where_it_was_told() -> None:
    whole, _, trainer = phase(epochs=3)
    assert len(go(whole, trainer)) == 3
    short, _, _ = phase(epochs=3)
    short.stop_after = 2
    rows = go(short, trainer)
    assert len(rows) == 2
    assert set(rows[0]) == {"loss", "seconds"}
    made, _, trainer = phase(epochs=2)
    go(made, trainer)
    assert not held(made, short.network.state_dict())  # its schedule is another


@pytest.mark.parametrize("epochs", [1, 2, 3, 9])
def test_schedules_of_any_length(epochs: int) -> None:
    made, _, trainer = phase(epochs=epochs, batch=1000, folds=3)  # 3 steps a pass
    assert len(made.batches) == 3
    assert len(go(made, trainer)) == epochs
    one, _, trainer = phase(epochs=epochs, batch=1000, folds=2)
    one.batches.folds = np.zeros_like(one.batches.folds)
    assert len(one.batches) == 1
    assert len(go(one, trainer)) == epochs


def test_the_loss_is_cross_entropy_and_the_teachers_distribution() -> None:
    made, _, _ = phase()
    teacher = made.teacher
    assert teacher is not None
    batch = next(made.batches.epoch(np.random.default_rng(0)))
    made.network.eval()
    with torch.no_grad():
        found = {weight: float(objective(made.network, made.items, batch, teacher, weight)) for weight in (0.0, 0.3, 1.0)}
        logits = made.network(made.items, batch.events, batch.wanted).double().masked_fill(batch.seen, float("-inf"))
        chance = torch.softmax(logits, -1)
        taught = torch.softmax(teacher.logits(batch).double().masked_fill(batch.seen, float("-inf")), -1)
    entropy = -chance[torch.arange(len(batch.targets)), batch.targets].log().mean()
    divergence = torch.where(taught > 0, taught * (taught / chance.clamp(min=1e-300)).log(), 0.0).sum(-1).mean()
    assert found[0.0] == pytest.approx(float(entropy), abs=1e-5)
    assert found[1.0] == pytest.approx(float(divergence), abs=1e-5)
    assert found[0.3] == pytest.approx(0.7 * float(entropy) + 0.3 * float(divergence), abs=1e-5)
    with torch.no_grad():
        assert float(objective(made.network, made.items, batch, None, 0.3)) == pytest.approx(0.7 * float(entropy), abs=1e-5)


def test_a_loss_that_is_no_number_ends_the_training() -> None:
    made, _, trainer = phase()
    with torch.no_grad():
        made.network.shown.weight[0, 0] = float("nan")
    with pytest.raises(TrainingError, match="no longer a number") as error:
        go(made, trainer)
    assert "learning_rate" in error.value.hint


def test_progress_and_words(capsys: pytest.CaptureFixture[str]) -> None:
    class Counter:
        def __init__(self) -> None:
            self.told: list[tuple[str, Any]] = []

        def start(self, task: str, total: int | None) -> None:
            self.told.append((task, total))

        def advance(self, n: int = 1) -> None:
            self.told.append(("+", n))

        def finish(self) -> None:
            self.told.append(("end", None))

    counter, lines = Counter(), []
    trained = replace(world.trainer(tell=lines.append), progress=counter).train(world.events(), world.content())
    assert ("epoch", 2) in counter.told
    assert ("refit", len(trained.refit)) in counter.told
    assert ("teacher", 5) in counter.told
    assert len([line for line in lines if line.startswith("epoch ")]) == 2
    assert any("validation NDCG@10" in line for line in lines)
    assert any(line.startswith("teacher of epoch: ") for line in lines)
    assert capsys.readouterr().out == ""


def test_a_refit_ends_where_validation_was_best() -> None:
    trained = world.trainer(epochs=8, patience=8, learning_rate=3e-2).train(world.events(), world.content())
    assert len(trained.refit) == best_epoch(trained.epochs) < len(trained.epochs) == 8


def test_weight_decay_is_for_matrices() -> None:
    made, _, _ = phase()
    wide, narrow = _groups(made.network, 0.3)
    assert (wide["weight_decay"], narrow["weight_decay"]) == (0.3, 0.0)
    assert all(weight.ndim > 1 for weight in wide["params"])
    assert all(weight.ndim < 2 for weight in narrow["params"])
    assert len(wide["params"]) + len(narrow["params"]) == len(list(made.network.parameters()))


def test_gradients_are_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, _, trainer = phase(epochs=1)
    go(plain, trainer)
    monkeypatch.setattr(loop, "CLIP", 1e-7)
    clipped, _, trainer = phase(epochs=1)
    go(clipped, trainer)
    assert not held(clipped, plain.network.state_dict())
