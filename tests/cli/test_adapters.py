"""`genrec adapters`: what it lists, what it changes, what it refuses."""

import json
from pathlib import Path

import pytest

from genrec.llm.adapter_registry import ACTIVE
from genrec.llm.adapters import CARD, WEIGHTS
from genrec.settings import SETTINGS_FILE
from genrec.types import Event, Item
from genrec.workspace.folder import Workspace
from tests.cli.command import Done, refused
from tests.cli.command import genrec as run
from tests.llm import cards, engines


@pytest.fixture
def folder(tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace on the tiny model with three adapters: two rank, one writes."""
    monkeypatch.setenv("GENREC_CACHE", str(tmp_path / "cache"))
    Workspace.create(tmp_path / "ws").close()
    set_up(tmp_path / "ws", llama)
    for n in (1, 2):
        ranking = {"weight": 0.2 * n, "history": 12}
        metrics = {"NDCG@10": {"value": 0.08 + n / 1000, "low": 0.07, "high": 0.09, "without": 0.0727}}
        cards.make(tmp_path / "ws/adapters", f"films-{n}", llama, ranking=ranking, metrics=metrics, date=f"2026-11-2{n}")
    cards.make(tmp_path / "ws/adapters", "words-1", llama, task="write", method="", ranking=None, metrics={})
    return tmp_path / "ws"


def set_up(folder: Path, model: Path, more: str = "") -> None:
    (folder / SETTINGS_FILE).write_text(f'[models]\nllm = "{model}"\nimage = ""\n{more}')


def ok(*args: str | Path) -> Done:
    done = run("adapters", *args)
    assert done.code == 0, done.err
    return done


def listed(folder: Path) -> dict[str, dict[str, object]]:
    """The shipped ones left out."""
    rows = json.loads(ok("list", "-w", folder, "--json").out)["adapters"]
    return {row["name"]: row for row in rows if (folder / "adapters" / row["name"]).is_dir()}


def serving(folder: Path) -> list[str]:
    return [name for name, row in listed(folder).items() if row["in use"]]


def test_list(folder: Path) -> None:
    rows = listed(folder)
    assert rows["films-2"] == {
        "name": "films-2",
        "task": "rerank",
        "base": True,
        "prompts": True,
        "in use": False,
        "figure": "NDCG@10 0.082 (without 0.0727)",
        "date": "2026-11-22",
    }
    ok("activate", "films-2", "-w", folder)
    table = ok("list", "-w", folder).out
    line = next(line for line in table.splitlines() if "films-2" in line)
    assert [cell.strip() for cell in line.strip("│").split("│")] == [
        "films-2", "rerank", "yes", "yes", "yes", "NDCG@10 0.082 (without 0.0727)", "2026-11-22",
    ]  # fmt: skip


def test_list_names_what_does_not_fit_and_what_is_damaged(folder: Path, tmp_path: Path) -> None:
    ok("activate", "films-1", "-w", folder)
    card = json.loads((folder / "adapters/films-2" / CARD).read_text())
    (folder / "adapters/films-2" / CARD).write_text(json.dumps(card | {"prompts": {"rerank": "abc"}}))
    (folder / "adapters/words-1" / WEIGHTS).unlink()
    set_up(folder, engines.save_llama(tmp_path / "other", hidden_size=64))
    rows = listed(folder)
    assert (rows["films-1"]["base"], rows["films-1"]["prompts"]) == (False, True)
    assert (rows["films-2"]["base"], rows["films-2"]["prompts"]) == (False, False)
    done = ok("list", "-w", folder)
    assert "rerank: the active adapter is left out" in done.err
    assert "left out: " in done.err
    assert str(folder / "adapters/words-1" / WEIGHTS) in done.err


def test_activate_and_roll_back(folder: Path) -> None:
    ok("activate", "films-1", "-w", folder)
    done = ok("activate", "films-2", "-w", folder)
    assert done.err.splitlines() == ["films-2 is active: rerank", "rerank: films-2 serves"]
    ok("activate", "words-1", "-w", folder)
    assert serving(folder) == ["films-2", "words-1"]
    done = ok("rollback", "rerank", "-w", folder)
    assert done.err.splitlines() == ["films-2 is no longer active", "rerank: films-1 serves"]
    assert serving(folder) == ["films-1", "words-1"]
    ok("rollback", "write", "-w", folder)
    refused(run("adapters", "rollback", "write", "-w", folder), 8, "no adapter was activated for write")


def test_a_name_in_the_settings_decides(folder: Path, llama: Path) -> None:
    set_up(folder, llama, '[adapters]\nrerank = "films-1"\n')
    done = ok("activate", "films-2", "-w", folder)
    assert done.err.splitlines()[1] == "rerank: films-1 serves"
    assert '"auto"' in done.err
    assert serving(folder) == ["films-1"]


def test_refusals(folder: Path, tmp_path: Path, llama: Path) -> None:
    refused(run("adapters", "activate", "films-9", "-w", folder), 8, "no adapter 'films-9'")
    refused(run("adapters", "compare", "films-1", "films-9", "-w", folder), 8, "no adapter 'films-9'")
    set_up(folder, engines.save_llama(tmp_path / "other", hidden_size=64))
    refused(run("adapters", "activate", "films-1", "-w", folder), 8, "the model here is")
    assert not (folder / "adapters" / ACTIVE).exists()
    set_up(folder, llama, '[adapters]\nrerank = "films-9"\n')
    assert "rerank: no adapter 'films-9'" in ok("list", "-w", folder).err


def test_compare(folder: Path) -> None:
    done = ok("compare", "films-1", "films-2", "-w", folder)
    assert "0.081 [0.07, 0.09]" in done.out
    assert "0.082 [0.07, 0.09]" in done.out
    assert "ranking.weight" in done.out
    assert "lora.r" not in done.out  # the same in both
    told = json.loads(ok("compare", "films-1", "words-1", "-w", folder, "--json").out)
    assert told["adapters"] == ["films-1", "words-1"]
    assert told["figures"]["NDCG@10"][0]["value"] == pytest.approx(0.081)
    assert told["figures"]["NDCG@10"][1] is None
    assert told["differences"]["task"] == ["rerank", "write"]
    assert ok("compare", "films-1", "films-1", "-w", folder).err.splitlines() == ["both were made in the same way"]


def test_no_adapters(tmp_path: Path) -> None:
    Workspace.create(tmp_path / "ws").close()
    assert listed(tmp_path / "ws") == {}


def test_forget_says_that_adapters_remember(folder: Path) -> None:
    with Workspace.open(folder) as opened:
        opened.store.put_items([Item(item_id="a", title="Alien")])
        opened.store.add_events([Event(user_id=user, item_id="a") for user in ("u1", "u2")])
    assert "adapters keep it" in run("forget", "-w", folder, "-u", "u1").err
    for path in (folder / "adapters").iterdir():
        path.rename(folder / path.name)
    done = run("forget", "-w", folder, "-u", "u2")
    assert done.code == 0, done.err
    assert "adapters" not in done.err
