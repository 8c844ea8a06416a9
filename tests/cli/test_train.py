"""`genrec train retriever` on the shop: what it says, what it leaves behind, its options, two processes."""

import json
import re
import shutil
from pathlib import Path

import pytest

from genrec.settings import SETTINGS_FILE
from tests import shop
from tests.cli.command import Done, launched, refused
from tests.cli.command import genrec as run

TINY = '[retrieval.train]\nwidth = 16\nlayers = 1\nepochs = 2\nprecision = "no"\n'


def small(folder: Path, more: str = "", extra: str = "") -> Path:
    (folder / SETTINGS_FILE).write_text(shop.SETTINGS + TINY + more + extra)
    return folder


def train(folder: Path, *options: str) -> Done:
    done = run("train", "retriever", "-w", folder, *options)
    assert done.code == 0, done.err
    assert done.out == ""
    return done


def manifest(folder: Path) -> dict[str, object]:
    return json.loads((folder / "retriever/retriever.json").read_text())


def found_by(folder: Path) -> str:
    done = run("recommend", "-w", folder, "-u", "u00", "-k", "2", "--rank", "off", "--explain", "off", "--json")
    assert done.code == 0, done.err
    return json.loads(done.out.splitlines()[0])["trace"]["models"]["retriever"]


def test_from_end_to_end(own_shop: Path) -> None:
    small(own_shop, extra='[retrieval]\nretriever = "learned"\n')
    done = train(own_shop)
    lines = done.err.splitlines()
    assert [line.split(":")[0] for line in lines if line.startswith("epoch")] == ["epoch 1", "epoch 2"]
    assert any(re.fullmatch(r"retriever: validation NDCG@10 0\.\d{4}, untrained 0\.\d{4}", line) for line in lines)
    assert any("60 items indexed" in line for line in lines)
    made = manifest(own_shop)
    assert found_by(own_shop) == f"learned@{str(made['sha256'])[:16]}"
    assert (own_shop / "retriever/training.svg").stat().st_size > 1000
    again = train(own_shop)
    assert manifest(own_shop)["sha256"] == made["sha256"]  # the same data, settings and seed
    assert again.err.count("\nepoch ") == 2


def test_auto_serves_the_winner(own_shop: Path) -> None:
    small(own_shop, more="anchor = false\nlearning_rate = 1e-9\nids = false\n")
    done = train(own_shop)  # nothing is learned
    card = manifest(own_shop)["card"]
    assert isinstance(card, dict)
    assert card["serves"] is False
    assert "the untrained one stays in service" in done.err
    assert found_by(own_shop) == "fused"
    small(
        own_shop,
        more="learning_rate = 1e-2\n",
        extra="[retrieval]\nweights = {text = 1e-6, behaviour = 1.0}\nhalf_life = 1e-3\ntrust = 0\n",
    )
    assert run("build", "-w", own_shop).code == 0
    done = train(own_shop, "--epochs", "12")
    card = manifest(own_shop)["card"]
    assert isinstance(card, dict)
    assert card["serves"] is True, card["validation"]
    assert "stays in service" not in done.err
    assert found_by(own_shop).startswith("learned@")


def test_options_win_over_settings(own_shop: Path) -> None:
    small(own_shop)
    seen = {}
    for options in ((), ("--epochs", "1"), ("--fusion", "concat"), ("--seed", "7")):
        train(own_shop, *options)
        made = manifest(own_shop)
        card = made["card"]
        assert isinstance(card, dict)
        for name, value in zip(options[::2], options[1::2], strict=True):
            assert str(card["settings"][name.removeprefix("--")]) == value
        assert len(card["epochs"]) == (1 if "--epochs" in options else 2)
        seen[options] = made["sha256"]
    assert len(set(seen.values())) == len(seen)


def test_what_is_refused(own_shop: Path, tmp_path: Path) -> None:
    small(own_shop, more="heads = 3\n")
    refused(run("train", "retriever", "-w", own_shop), 2, "heads 3")
    small(own_shop, more='modalities = ["sound"]\n')
    refused(run("train", "retriever", "-w", own_shop), 2, "sound")
    refused(run("train", "retriever", "-w", tmp_path / "none"), 3, "none")
    assert run("train", "ranker", "-w", own_shop).code == 2
    assert run("train", "retriever", "-w", own_shop, "--epochs", "0").code == 2
    assert run("train", "retriever", "-w", own_shop, "--fusion", "sum").code == 2
    assert run("init", tmp_path / "empty").code == 0
    refused(run("train", "retriever", "-w", tmp_path / "empty"), 3, "build.json")
    small(own_shop, more="learning_rate = 1e30\nteacher = 0\n")
    refused(run("train", "retriever", "-w", own_shop), 11, "no longer a number")
    assert found_by(own_shop) == "fused"  # nothing was lost
    assert not (own_shop / "retriever/retriever.json").exists()
    shutil.rmtree(own_shop / "retriever", ignore_errors=True)
    (own_shop / "retriever").write_text("in the way")
    small(own_shop)
    refused(run("train", "retriever", "-w", own_shop), 3, "retriever")


@pytest.mark.slow
def test_two_processes_learn_together_and_one_saves(own_shop: Path) -> None:
    small(own_shop)
    done = launched(own_shop / "train.py", "train", "retriever", "-w", own_shop)
    assert done.code == 0, done.err
    assert done.err.count("retriever: validation NDCG@10") == 1
    assert done.err.count("60 items indexed") == 1
    card = manifest(own_shop)["card"]
    assert isinstance(card, dict)
    assert len(card["epochs"]) == 2
    assert found_by(own_shop)
