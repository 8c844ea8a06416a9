"""`genrec train dialogues` and `genrec eval --dialogues` on the shop."""

import json
import shutil
from pathlib import Path

import pytest

from genrec.chat_retrieval.dialogue_retriever import load_dialogue_model, serving_model
from genrec.workspace.folder import Workspace
from tests import dialogue_world, shop
from tests.cli.command import genrec as run
from tests.cli.command import refused


@pytest.fixture(scope="module")
def taught(built_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The shop that learned from dialogues, and their file."""
    folder = tmp_path_factory.mktemp("taught")
    file = dialogue_world.write(folder / "dialogues.jsonl")
    copy = shop.copy(built_shop, folder / "shop")
    done = run("train", "dialogues", "-w", copy, "--dialogues", file)
    assert done.code == 0, done.err
    assert "it serves" in done.err
    return copy, file


def test_training_says_what_it_learned_and_saves_it(taught: tuple[Path, Path]) -> None:
    with Workspace.open(taught[0]) as opened:
        model = load_dialogue_model(opened)
        assert model is not None
        assert serving_model(opened).digest == model.digest
    assert model.card["dialogues"] == 120
    assert model.card["moments"] == 240
    found = model.card["validation"]
    assert found["learned"] > found["untrained"] + 0.1
    assert len(model.seen) > 200


def test_evaluation_keeps_away_from_what_was_learned(taught: tuple[Path, Path], tmp_path: Path) -> None:
    done = run("eval", "-w", taught[0], "--dialogues", taught[1], "--json", "--k", "1,5", "--out", tmp_path)
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert json.loads((tmp_path / "eval-dialogues.json").read_text()) == found
    assert set(found["systems"]) == {"popularity", "text search", "untrained", "popularity, cross-fitted", "cross-fitted"}
    assert "learned from these dialogues" in " ".join(found["notes"])
    recall = {name: one["recall@5"][0] for name, one in found["systems"].items()}
    assert recall["cross-fitted"] > max(recall["untrained"], recall["text search"], recall["popularity, cross-fitted"]) + 0.1
    assert found["linking"]["distinct_f1"] > 0.9
    assert found["effort"]["tokens"] > 5
    assert found["dialogues"] == 120


def test_others_dialogues_are_measured_by_what_serves(taught: tuple[Path, Path], tmp_path: Path) -> None:
    other = dialogue_world.write(tmp_path / "other.jsonl", count=40, seed=9)
    done = run("eval", "-w", taught[0], "--dialogues", other, "--people", "30")
    assert done.code == 0, done.err
    assert "30 dialogues" in done.out
    assert "serving" in done.out
    assert "recall@50" in done.out
    assert "Titles found in the text" in done.out


def test_a_model_that_did_not_win_does_not_serve(taught: tuple[Path, Path], tmp_path: Path) -> None:
    copy = shop.copy(taught[0], tmp_path / "shop")
    path = copy / "dialogues/dialogues.json"
    made = json.loads(path.read_text())
    made["card"]["serves"] = False
    path.write_text(json.dumps(made))
    with Workspace.open(copy) as opened:
        assert not serving_model(opened).learned
        shutil.rmtree(copy / "dialogues")
        assert load_dialogue_model(opened) is None


def test_what_is_refused(same_shop: Path, tmp_path: Path) -> None:
    file = dialogue_world.write(tmp_path / "few.jsonl", count=6)
    refused(run("eval", "-w", same_shop, "--dialogues", file, "--systems", "ease"), 2, "--dialogues does not go with --systems")
    refused(run("eval", "-w", same_shop, "--dialogues", file, "--seeds", "2"), 2, "--seeds")
    refused(run("eval", "-w", same_shop, "--dialogues", tmp_path / "none.jsonl"), 4, "does not exist")
    refused(run("train", "dialogues", "-w", same_shop, "--dialogues", file), 11, "moments recommend an item of the catalogue")
    strange = tmp_path / "strange.jsonl"
    strange.write_text('{"context": ["a"], "rec": ["Unheard Of"]}\n')
    refused(run("eval", "-w", same_shop, "--dialogues", strange), 10, "no moment recommends an item")


def test_the_chat_finds_by_what_was_learned(taught: tuple[Path, Path], own_shop: Path) -> None:
    said = ("I liked The Star Begins, something from before 1990", "something else", "something like The Ghost Begins")
    turns = [part for turn in said for part in ("-m", turn)]
    done = run("chat", "-w", taught[0], "--json", *turns)
    assert done.code == 0, done.err
    first, again, like = map(json.loads, done.out.splitlines())
    assert first["trace"]["models"]["dialogues"]
    assert "dialogue" in first["items"][0]["sources"]
    shown = [one["item_id"] for one in (*first["items"], *again["items"])]
    assert "space-0" not in shown
    assert len(set(shown)) == len(shown)
    assert all(one["item"]["attributes"]["year"] < 1990 for one in (*first["items"], *again["items"]))
    assert "dialogues" not in like["trace"]["models"]  # near one item: no dialogue is needed for that
    bare = json.loads(run("chat", "-w", own_shop, "--json", "-m", "hi, a war film").out)
    assert "dialogues" not in bare["trace"]["models"]
