"""`genrec train rerank` and `genrec train write`: what they say, their options, what goes together and what does not."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import Done, launched, refused
from tests.cli.command import genrec as run
from tests.training import alphabet
from tests.training.test_converse import SHOP, TURN
from tests.training.test_writing import REASON


@pytest.fixture(scope="module")
def made(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return alphabet.make(tmp_path_factory.mktemp("train") / "shop", llama, people=20)


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "shop")
    return tmp_path / "shop"


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(REASON) + "\n" for _ in range(10)))
    return path


def ok(*args: str | Path) -> Done:
    done = run(*args)
    assert done.code == 0, done.err
    return done


def card(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / "adapters" / name / "card.json").read_text())


def test_rerank_from_end_to_end(folder: Path) -> None:
    done = ok("train", "rerank", "-w", folder, "--name", "one", "--epochs", "6", "--lists", "0")
    assert done.out == ""
    assert "shop: NDCG@10 of 20 people" in done.err
    assert f"adapter one: {folder / 'adapters/one'}" in done.err
    assert card(folder, "one")["command"] == f"genrec train rerank -w {folder} --name one --epochs 6 --lists 0"
    listed = json.loads(ok("adapters", "list", "-w", folder, "--json").out)
    assert [row["name"] for row in listed["adapters"] if row["name"] == "one"]
    assert ("it is not in use" in done.err) is not (folder / "adapters/active.json").exists()
    (folder / "adapters/choices.json").unlink()
    done = ok("train", "rerank", "-w", folder, "--fit", "one")
    assert "shop: NDCG@10 of 20 people" in done.err
    assert "one" in json.loads((folder / "adapters/choices.json").read_text())
    refused(run("train", "rerank", "-w", folder, "--name", "one"), 8, "adapter one already")
    refused(run("train", "rerank", "-w", folder, "--fit", "none"), 8, "no adapter 'none'")
    ok("train", "rerank", "-w", folder, "--name", "two", "--from", "one", "--epochs", "1", "--lists", "0")
    assert card(folder, "two")["training"]["start"] == "one"


@pytest.mark.parametrize(
    ("option", "value", "key"),
    [
        ("--method", "markers", "method"),
        ("--epochs", "2", "epochs"),
        ("--lists", "3", "lists"),
        ("--held-out", "2", "held_out"),
        ("--seed", "4", "seed"),
    ],
)
def test_options_win_over_settings(folder: Path, option: str, value: str, key: str) -> None:
    ok("train", "rerank", "-w", folder, "--name", "one", option, value)
    told = card(folder, "one")
    assert str((told["training"] | {"method": told["method"], "seed": told["seed"]})[key]) == value


def test_a_dry_run_prints_and_writes_nothing(folder: Path, examples: Path) -> None:
    done = ok("train", "rerank", "-w", folder, "--dry-run")
    assert "histories: " in done.out
    assert "lists: " in done.out
    assert "tokens in the loss" in done.out
    assert "chooses next" in done.out
    fewer = ok("train", "rerank", "-w", folder, "--dry-run", "--lists", "0")
    assert "lists: " not in fewer.out
    done = ok("train", "write", "-w", folder, "--dry-run", "--examples", examples)
    assert "texts: 9 examples" in done.out
    assert not (folder / "adapters").exists()


def test_write_from_end_to_end(folder: Path, examples: Path) -> None:
    done = ok("train", "write", "-w", folder, "--name", "w1", "--examples", examples, "--epochs", "2", "--seed", "5")
    assert "reasons: 0 of 1 held-out ones accepted" in done.err
    assert "it is not in use" in done.err
    told = card(folder, "w1")
    assert (told["training"]["epochs"], told["seed"], told["data"]["reasons"]) == (2, 5, 9)
    ok("train", "write", "-w", folder, "--name", "w2", "--examples", examples, "--from", "w1")
    assert card(folder, "w2")["training"]["start"] == "w1"
    examples.write_text('{"past": 3}\n')
    refused(run("train", "write", "-w", folder, "--examples", examples), 4, f"{examples}, line 1")
    assert not list((folder / "adapters").glob("model-*"))


def test_converse_from_end_to_end(folder: Path, tmp_path: Path) -> None:
    turns = tmp_path / "turns.jsonl"
    rows: list[dict[str, Any]] = []
    for n in range(10):
        rows += [{**SHOP, "catalogue": f"shop {n}"}, {**TURN, "catalogue": f"shop {n}"}]
    turns.write_text("".join(json.dumps(row) + "\n" for row in rows))
    more = tmp_path / "more.jsonl"
    more.write_text("".join(json.dumps(row) + "\n" for row in rows[:2]))
    command = ("train", "converse", "-w", folder, "--examples", turns)
    shown = ok(*command, "--dry-run")
    assert "turns: 8 examples" in shown.out
    assert "turns: 9 examples" in ok(*command, "--also", more, "--dry-run").out
    assert not (folder / "adapters").exists()
    done = ok(*command, "--also", more, "--name", "c1", "--epochs", "1", "--seed", "5")
    assert "the parser alone: intent" in done.err
    assert "parser and adapter: intent" in done.err
    assert f"adapter c1: {folder / 'adapters/c1'}" in done.err
    told = card(folder, "c1")
    assert (told["training"]["epochs"], told["seed"], told["data"]) == (1, 5, {"turns": 9, "catalogues": 8})
    assert ("it is not in use" in done.err) is not told["reading"]["serves"]
    ok(*command, "--name", "c2", "--from", "c1", "--epochs", "1")
    assert card(folder, "c2")["training"]["start"] == "c1"
    assert card(folder, "c2")["data"]["turns"] == 8
    more.write_text('{"catalogue": 3}\n')
    refused(run(*command, "--also", more), 4, f"{more}, line 1")
    assert run(*command, "--dry-run", "--name", "x").code == 2


def test_a_further_workspace(folder: Path, llama: Path, tmp_path: Path) -> None:
    other = alphabet.make(tmp_path / "other", llama, people=6, planted=False)
    done = ok("train", "rerank", "-w", folder, "--also", other, "--name", "both")
    assert "other: NDCG@10 of" in done.err
    assert set(card(folder, "both")["data"]) == {"shop", "other"}
    refused(run("train", "rerank", "-w", folder, "--also", folder), 11, "two workspaces are called shop")


def test_what_is_refused(folder: Path) -> None:
    command = ("train", "rerank", "-w", folder)
    for pair in (
        ("--dry-run", "--fit", "one"),
        ("--fit", "one", "--name", "x"),
        ("--fit", "one", "--from", "x"),
        ("--fit", "one", "--also", folder),
        ("--fit", "one", "--epochs", "1"),
        ("--fit", "one", "--lists", "1"),
        ("--fit", "one", "--method", "labels"),
        ("--dry-run", "--name", "x"),
        ("--dry-run", "--from", "x"),
    ):
        done = run(*command, *pair)
        assert done.code == 2, (pair, done)
        assert pair[0] in done.err or pair[-2] in done.err
    assert run("train", "write", "-w", folder, "--dry-run", "--name", "x").code == 2
    assert run(*command, "--held-out", "0").code == 2
    assert run("train", "write", "-w", folder, "--epochs", "0").code == 2
    assert run(*command, "--method", "best").code == 2
    refused(run(*command, "--epochs", "0", "--lists", "0"), 2, "nothing to learn from")


@pytest.mark.slow
def test_two_processes_learn_together_and_one_saves(folder: Path) -> None:
    done = launched(folder / "train.py", "train", "rerank", "-w", folder, "--name", "both")
    assert done.code == 0, done.err
    assert done.err.count("shop: NDCG@10 of 20 people") == 1
    together = card(folder, "both")["training"]["loss of histories"]
    ok("train", "rerank", "-w", folder, "--name", "alone")
    assert together == pytest.approx(card(folder, "alone")["training"]["loss of histories"], abs=0.3)
