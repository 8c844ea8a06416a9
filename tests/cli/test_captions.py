"""`genrec caption` from end to end."""

import json
from pathlib import Path

import pytest

from genrec.settings import SETTINGS_FILE, load_settings
from genrec.workspace.doctor import Finding, examine
from genrec.workspace.folder import Workspace
from tests import shop
from tests.captions.conftest import blanked
from tests.captions.world import ALL, ALONE, BEHAVIOUR, NO_TEXT
from tests.cli.command import genrec, refused

__all__ = ["blanked"]


def test_a_run_a_second_one_and_what_it_would_cost(blanked: Path) -> None:
    (blanked / SETTINGS_FILE).write_text(shop.SETTINGS + "[caption]\nprice_in = 1000.0\nprice_out = 2000.0\n")
    done = genrec("caption", "-w", blanked, "--dry-run", "--json")
    told = json.loads(done.out)
    assert (told["captions"], told["lacking"], told["nothing_known"]) == (len(ALL), len(ALL) + 1, [ALONE])
    assert told["tokens_in"] > 1000
    assert told["seconds"] is None
    assert told["cost"] == pytest.approx((told["tokens_in"] * 1000 + told["tokens_out"] * 2000) / 1e6)
    assert told["evidence"]["chosen together"] == len(ALL)
    with Workspace.open(blanked) as workspace:
        assert list(workspace.store.all_captions()) == []
    done = genrec("caption", "-w", blanked, "--language", "de")  # without patterns the fake LLM's texts are refused
    assert done.code == 0
    assert f"{len(ALL)} captions in" in done.err
    assert "by the template" in done.err
    assert "genrec build" in done.err
    assert BEHAVIOUR[0] in done.out or NO_TEXT[0] in done.out
    done = genrec("caption", "-w", blanked, "--language", "de", "--json")
    again = json.loads(done.out)
    assert (again["written"], again["unchanged"]) == (0, len(ALL))


def test_the_template_costs_nothing(blanked: Path) -> None:
    done = genrec("caption", "-w", blanked, "--writer", "template", "--dry-run")
    assert "captions" in done.out
    assert "requests" not in done.out
    assert "cost" not in done.out
    assert json.loads(genrec("caption", "-w", blanked, "--writer", "template", "--dry-run", "--json").out)["cost"] == 0


@pytest.mark.parametrize("mode", ["--set", "--revert"])
def test_an_empty_name_of_an_item_starts_no_run(blanked: Path, mode: str) -> None:
    refused(genrec("caption", "-w", blanked, mode, "", *(("--title", "X") if mode == "--set" else ())), 7, "no item ''")
    with Workspace.open(blanked) as workspace:
        assert list(workspace.store.all_captions()) == []


def test_build_afterwards(blanked: Path) -> None:
    done = genrec(
        "caption", "-w", blanked, "--build", "--writer", "template", "--only", "title", "--limit", "2", "--language", "fr"
    )
    assert done.code == 0
    assert "2 captions" in done.err
    assert "items indexed" in done.err
    with Workspace.open(blanked) as workspace:
        stored = [one for batch in workspace.store.all_captions() for one in batch]
    assert [(one.language, one.source, one.text) for one in stored] == [("fr", "template", None)] * 2
    done = genrec("caption", "-w", blanked, "--build", "--writer", "template", "--new", "--only", "title", "--items", ALONE)
    assert "items indexed" in done.err  # an earlier run may have written without


def test_what_helps_an_item_of_which_nothing_is_known(blanked: Path) -> None:
    done = genrec("caption", "-w", blanked, "--items", ALONE, "--dry-run")
    assert (done.code, done.out) == (0, "")
    assert f"nothing is known of {ALONE}: what helps is a picture" in done.err


def test_by_hand_and_back(blanked: Path) -> None:
    genrec("caption", "-w", blanked, "--writer", "template")
    done = genrec("caption", "-w", blanked, "--set", BEHAVIOUR[0], "--title", "Mine", "--tags", "a, b", "--text", "")
    assert done.code == 0
    with Workspace.open(blanked) as workspace:
        item = workspace.store.item(BEHAVIOUR[0])
    assert (item.title, item.text, item.attributes["tags"], item.generated) == ("Mine", "", ("a", "b"), ())
    assert "a person's words are taken back" in genrec("caption", "-w", blanked, "--revert", BEHAVIOUR[0]).err
    assert "the model's caption is taken back" in genrec("caption", "-w", blanked, "--revert", BEHAVIOUR[0]).err
    assert "nothing was written" in genrec("caption", "-w", blanked, "--revert", BEHAVIOUR[0]).err
    refused(genrec("caption", "-w", blanked, "--set", "war-99", "--title", "X"), 7, "war-99")


def test_the_doubtful_ones_with_why(blanked: Path) -> None:
    genrec("caption", "-w", blanked, "--language", "de")  # the fake LLM's texts are refused
    done = genrec("caption", "-w", blanked, "--review", "--json", "--limit", "1")
    row = json.loads(done.out)
    assert row["doubt"] >= 0.5
    assert "nothing is known but titles" in row["note"]
    assert "refused 2 times" in row["note"]
    done = genrec("caption", "-w", blanked, "--review")
    assert row["item_id"] in done.out
    assert "captions with a doubt of 0.5 or more" in done.err


def test_out_and_in_again(blanked: Path, tmp_path: Path) -> None:
    genrec("caption", "-w", blanked, "--writer", "template")
    file = tmp_path / "captions.jsonl"
    assert f"{len(ALL)} captions written" in genrec("caption", "-w", blanked, "--export", file).err
    genrec("caption", "-w", blanked, "--revert", BEHAVIOUR[0])
    file.write_text(file.read_text() + '{"item_id": "nobody", "title": "X"}\n')
    done = genrec("caption", "-w", blanked, "--import", file)
    assert done.code == 0
    assert f"captions: {len(ALL) + 1} rows read, {len(ALL)} kept, 0 merged, 1 left out" in done.err
    assert f"row {len(ALL) + 1}, column item_id: there is no item 'nobody'" in done.err
    with Workspace.open(blanked) as workspace:
        assert workspace.store.item(BEHAVIOUR[0]).title
    assert "genrec build" in done.err
    file.write_text('{"item_id": "nobody", "title": "X"}\n')
    assert "genrec build" not in genrec("caption", "-w", blanked, "--import", file).err  # nothing new to know


@pytest.mark.parametrize(
    "options",
    [
        ("--title", "X"),
        ("--set", "a", "--review"),
        ("--set", "a", "--title", "X", "--only", "title"),
        ("--revert", "a", "--limit", "3"),
        ("--export", "f.csv", "--new"),
        ("--review", "--build"),
        ("--new", "--all"),
        ("--dry-run", "--build"),
    ],
)
def test_options_without_effect_are_refused(blanked: Path, options: tuple[str, ...]) -> None:
    done = genrec("caption", "-w", blanked, *options)
    assert done.code == 2
    assert "says nothing" in done.err


def test_the_doctor_counts_what_is_missing(blanked: Path) -> None:
    def told() -> Finding:
        return next(one for one in examine(load_settings(blanked), workspace=blanked) if one.name == "captions")

    assert told().detail == "4 items without title, 5 without text; 0 captions, 0 by hand"
    assert "genrec caption" in told().hint
    genrec("caption", "-w", blanked)
    assert told().detail == f"4 items without title, 5 without text; {len(ALL)} captions, 0 by hand"
    genrec("caption", "-w", blanked, "--language", "de")
    assert told().detail.endswith(f"0 by hand; {len(ALL)} by another adapter, prompt or language than would write now")
    genrec("caption", "-w", blanked, "--set", ALONE, "--title", "X", "--text", "Y")
    assert told().detail.startswith("3 items without title, 4 without text")
