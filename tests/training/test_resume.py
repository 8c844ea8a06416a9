"""A training that was killed goes on; one of other data or settings does not take its place."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genrec.errors import WorkspaceError
from genrec.retrieval.sequences import Sequences
from genrec.retrieval.systems import Content
from genrec.training.checkpoint import STATE, Checkpoint, Progressed
from tests.training import world

LONG: dict[str, Any] = {"epochs": 8, "patience": 8}
KILLED = f"""
import sys
from pathlib import Path
from tests.training import world
tell = lambda line: print(line, flush=True)
world.trainer(folder=Path(sys.argv[1]), tell=tell, **{LONG!r}).train(world.events(), world.content())
"""


class StoppedError(Exception):
    pass


def stop_at(wanted: str) -> Any:
    def tell(line: str) -> None:
        if line.startswith(wanted):
            raise StoppedError(line)

    return tell


def start(folder: Path, at: str, events: Sequences | None = None, content: Content | None = None, **changes: Any) -> None:
    """Train up to the end of an epoch."""
    with pytest.raises(StoppedError):
        world.trainer(folder=folder, tell=stop_at(at), **LONG | changes).train(
            events or world.events(), content or world.content()
        )


def epochs_told(folder: Path, events: Sequences, content: Content, **changes: Any) -> tuple[list[str], Any]:
    lines: list[str] = []
    trained = world.trainer(folder=folder, tell=lines.append, **LONG | changes).train(events, content)
    return [line.split(":")[0] for line in lines if line.startswith(("epoch", "refit"))], trained


@pytest.fixture(scope="module")
def whole() -> Any:
    return world.trainer(**LONG).train(world.events(), world.content())


def test_killed_it_goes_on_and_ends_with_the_same_weights(tmp_path: Path, whole: Any) -> None:
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith("epoch 3:"):
            break
    child.kill()
    child.stdout.close()
    child.wait()
    done = len(json.loads((tmp_path / "epoch" / STATE).read_text())["epochs"])
    assert done >= 3
    told, trained = epochs_told(tmp_path, world.events(), world.content())
    refits = [f"refit {n}" for n in range(1, len(whole.refit) + 1)]
    assert told == [*(f"epoch {n}" for n in range(done + 1, 9)), *refits][-len(told) :]
    assert len(told) < 8 + len(refits)
    assert world.same(world.weights(trained), world.weights(whole))
    assert [row["loss"] for row in trained.epochs] == [row["loss"] for row in whole.epochs]
    assert not list(tmp_path.rglob("checkpoint*"))  # done: nothing is left to take up


@pytest.mark.parametrize("at", ["epoch 1", "epoch 5", "epoch 8", "refit 1"])
def test_stopped_anywhere(tmp_path: Path, whole: Any, at: str) -> None:
    start(tmp_path, at)
    told, trained = epochs_told(tmp_path, world.events(), world.content())
    assert at not in told
    assert world.same(world.weights(trained), world.weights(whole))
    assert (trained.validation, trained.untrained) == (whole.validation, whole.untrained)


def changed() -> dict[str, tuple[dict[str, Any], Sequences, Content]]:
    events, content = world.events(), world.content()
    items = [replace(item, attributes={**item.attributes, "colour": "red"}) for item in content.items]
    turned = {"text": np.ascontiguousarray(content.vectors.matrices["text"][::-1])}
    return {
        "learning_rate": ({"learning_rate": 1e-3}, events, content),
        "seed": ({"seed": 9}, events, content),
        "events": ({}, replace(events, items=events.items[::-1].copy()), content),
        "times": ({}, replace(events, timestamps=events.timestamps + events.places * 9e5), content),
        "values": ({}, replace(events, values=events.values + 1), content),
        "kinds": ({}, replace(events, kinds=1 - events.kinds), content),
        "kind names": ({}, replace(events, kind_names=("a", "b")), content),
        "platforms": ({}, replace(events, platforms=1 - events.platforms), content),
        "attributes": ({}, events, replace(content, items=items)),
        "vectors": ({}, events, replace(content, vectors=replace_matrices(content, turned))),
    }


def replace_matrices(content: Content, matrices: dict[str, Any]) -> Any:
    vectors = content.vectors
    return type(vectors)(vectors.item_ids, {**vectors.matrices, **matrices}, vectors.present)


@pytest.mark.parametrize("what", changed())
def test_another_training_begins_anew(tmp_path: Path, what: str) -> None:
    start(tmp_path, "epoch 2")
    settings, events, content = changed()[what]
    told, _ = epochs_told(tmp_path, events, content, **settings)
    assert told[0] == "epoch 1"


def test_triples_count_where_they_are_read(tmp_path: Path) -> None:
    start(tmp_path, "epoch 2", fusion="graph")
    told, _ = epochs_told(tmp_path, world.events(), world.content(triples=True), fusion="graph")
    assert told[0] == "epoch 1"


@pytest.mark.parametrize("damage", ["cut", "turned", "no json", "no tensors"])
def test_a_damaged_checkpoint_is_not_taken_up(tmp_path: Path, whole: Any, damage: str) -> None:
    start(tmp_path, "epoch 2")
    (tensors,) = (tmp_path / "epoch").glob("*.safetensors")
    data = tensors.read_bytes()
    match damage:
        case "cut":
            tensors.write_bytes(data[:-9])
        case "turned":
            tensors.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        case "no json":
            (tmp_path / "epoch" / STATE).write_text('{"fingerprint": ')
        case _:
            tensors.unlink()
    told, trained = epochs_told(tmp_path, world.events(), world.content())
    assert told[0] == "epoch 1"
    assert world.same(world.weights(trained), world.weights(whole))


def test_a_disk_that_refuses(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WorkspaceError, match="no checkpoint") as error:
        world.trainer(folder=tmp_path / "file").train(world.events(), world.content())
    assert error.value.hint


def test_a_state_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    def parts() -> tuple[Any, Any, Any]:
        torch.manual_seed(0)
        network = torch.nn.Linear(3, 2)
        optimizer = torch.optim.AdamW([{"params": [network.weight], "weight_decay": 0.1}, {"params": [network.bias]}], lr=0.1)
        return network, optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=20)

    def step(network: Any, optimizer: Any, schedule: Any) -> None:
        loss = network(torch.rand(4, 3)).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

    first = parts()
    for _ in range(5):
        step(*first)
    at = Progressed(epochs=[{"loss": 0.1}], best={"weight": torch.ones(2, 3)}, rng={"state": {"state": 2**100}, "name": "x"})
    Checkpoint(tmp_path, "mark").save(*first, at)
    step(*first)
    second = parts()
    assert Checkpoint(tmp_path, "other").restore(*second) is None
    back = Checkpoint(tmp_path, "mark").restore(*second)
    assert back is not None
    assert (back.epochs, back.rng) == (at.epochs, at.rng)
    assert torch.equal(back.best["weight"], at.best["weight"])
    step(*second)  # also the random numbers and the schedule go on
    assert torch.equal(first[0].weight, second[0].weight)
    assert first[2].get_last_lr() == second[2].get_last_lr()
    assert len(list(tmp_path.iterdir())) == 2
    Checkpoint(tmp_path, "").clear()
    assert not list(tmp_path.iterdir())
