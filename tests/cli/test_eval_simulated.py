"""`genrec eval --simulate N`: simulated people with the chat and with a text search."""

import json
from pathlib import Path

import pytest

from genrec.cli.eval_chat_command import CHAT, SEARCH, SIMULATED_REPORT
from genrec.settings import SETTINGS_FILE
from genrec.workspace.folder import Workspace
from tests import shop
from tests.cli.command import genrec, refused

QUICK = '[rank]\nmode = "off"\n[reasons]\nexplain = "template"\n'


@pytest.fixture
def quick(own_shop: Path) -> Path:
    (own_shop / SETTINGS_FILE).write_text(shop.SETTINGS + QUICK)
    return own_shop


def test_the_table_the_report_and_nothing_else(quick: Path, tmp_path: Path) -> None:
    done = genrec("eval", "-w", quick, "--simulate", "6", "--out", tmp_path)
    assert done.code == 0, done.err
    assert "Found within 5 turns, 3 items a turn" in done.out
    assert CHAT in done.out
    assert SEARCH in done.out
    found = json.loads((tmp_path / SIMULATED_REPORT).read_text())
    assert set(found["figures"]) == {CHAT, SEARCH}
    assert found["figures"][CHAT]["users"] == found["figures"][SEARCH]["users"] == 6
    assert len(found["dialogues"]) == 6
    assert found["ranking"] == "off"
    for dialogue in found["dialogues"]:
        shown = [item for turn in dialogue["turns"] for item in turn["items"]]
        assert len(shown) == len(set(shown))
        assert (dialogue["target"] in shown) is bool(dialogue["found"])
        assert all(len(turn["items"]) <= 3 for turn in dialogue["turns"])
    assert found["figures"][CHAT]["success"][-1] >= 0.5
    with Workspace.open(quick) as workspace:
        assert not workspace.store.sessions_of("")  # nothing is left of the dialogues


def test_the_length_of_the_lists_and_json(quick: Path, tmp_path: Path) -> None:
    done = genrec("eval", "-w", quick, "--simulate", "2", "--k", "1", "--json", "--out", tmp_path)
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert (found["k"], found["turns"]) == (1, 5)
    assert "dialogues" not in found
    refused(genrec("eval", "-w", quick, "--simulate", "2", "--k", "1,3"), 2, "one length")


def test_options_that_it_does_not_read_are_refused(quick: Path) -> None:
    refused(genrec("eval", "-w", quick, "--simulate", "2", "--systems", "ease", "--newcomers"), 2, "--systems, --newcomers")
    refused(genrec("eval", "-w", quick, "--simulate", "2", "--dialogues", "x.jsonl"), 2, "--dialogues")
