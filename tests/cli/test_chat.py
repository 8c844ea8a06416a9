"""`genrec chat` from turns on the command line, and from a pipe."""

import io
import json
import sys
from pathlib import Path

import pytest

from genrec.settings import SETTINGS_FILE
from tests import shop
from tests.cli.command import genrec, refused


def test_turns_on_the_command_line(own_shop: Path) -> None:
    done = genrec("chat", "-w", own_shop, "-m", "a war film", "-m", "tell me about the first one")
    assert done.code == 0, done.err
    assert "War: 10 items fit." in done.out
    assert "genres War and Drama" in done.out
    session = done.err.strip().rpartition("--session ")[2]
    again = genrec("chat", "-w", own_shop, "--session", session, "-m", "why?")
    assert done.out.splitlines()[1].partition(": ")[2] in again.out


def test_answers_as_json(own_shop: Path) -> None:
    done = genrec("chat", "-w", own_shop, "-u", "u00", "--json", "-k", "2", "-m", "a horror film please", "-m", "undo")
    first, second = map(json.loads, done.out.splitlines())
    assert len(first["items"]) == 2
    assert first["filter"] == 'genres has "Horror"'
    assert first["understood"]["intent"] == "recommend"
    assert first["session_id"] == second["session_id"]
    assert first["items"][0]["reason"]["verified"]
    assert next(stage["name"] for stage in first["trace"]["stages"]) == "understanding"
    assert second["text"].startswith("I have taken that back.")


def test_every_line_of_a_pipe_is_a_turn(own_shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("hi\n\na war film\n/quit\nthis is not read\n"))
    done = genrec("chat", "-w", own_shop)
    assert done.out.count("Hello!") == 1
    assert done.out.count("items fit") == 1


def test_settings_say_how_many_items_and_whether_to_ask(own_shop: Path) -> None:
    asked = json.loads(genrec("chat", "-w", own_shop, "--json", "-m", "recommend me something").out)
    assert asked["question"]
    (own_shop / SETTINGS_FILE).write_text(shop.SETTINGS + "[chat]\nitems = 4\nask = false\n")
    quiet = json.loads(genrec("chat", "-w", own_shop, "--json", "-m", "recommend me something").out)
    assert (quiet["question"], len(quiet["items"])) == ("", 4)


def test_a_dialogue_of_somebody_else_is_refused(own_shop: Path) -> None:
    done = genrec("chat", "-w", own_shop, "-u", "u00", "--json", "-m", "hi")
    session = json.loads(done.out)["session_id"]
    refused(genrec("chat", "-w", own_shop, "-u", "u01", "--session", session, "-m", "hi"), 7, "there is no dialogue")


def test_forgetting_a_person_forgets_what_they_said(own_shop: Path) -> None:
    genrec("chat", "-w", own_shop, "-u", "talker", "-m", "hi")
    done = genrec("forget", "-w", own_shop, "-u", "talker")
    assert "deleted 0 events, 1 dialogues of 'talker'" in done.err


def test_no_workspace(tmp_path: Path) -> None:
    refused(genrec("chat", "-w", tmp_path / "none", "-m", "hi"), 3, "none")
