"""Names that settings had in 0.1.0 are read under their present ones, with a warning."""

from pathlib import Path

import pytest

from genrec.errors import ConfigError, RenamedWarning
from genrec.settings import SETTINGS_FILE, load_settings
from genrec.settings.renamed import KEYS, SECTIONS
from tests.cli.command import process

OLD = """
[ranking]
method = "labels"
[rerank]
lists = 7
[retriever]
width = 32
new_item_bonus = 1.5
[write]
swapped = 0.25
[converse]
varied = 0.5
[dialogue]
items = 4
"""


def test_a_file_of_0_1_0_means_what_it_meant(tmp_path: Path) -> None:
    (tmp_path / SETTINGS_FILE).write_text(OLD, encoding="utf-8")
    with pytest.warns(RenamedWarning) as told:
        made = load_settings(tmp_path)
    assert (made.rank.method, made.rank.train.lists, made.retrieval.train.width) == ("labels", 7, 32)
    assert (made.retrieval.new_item_bonus, made.write.train.swapped) == (1.5, 0.25)
    assert (made.chat.train.varied, made.chat.items) == (0.5, 4)
    messages = [str(one.message) for one in told]
    assert len(messages) == 7
    assert any(SETTINGS_FILE in one and "retriever.new_item_bonus is now retrieval.new_item_bonus" in one for one in messages)


def test_overrides_and_environment_variables_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENREC_RANKING__WINDOW", "9")
    monkeypatch.setenv("GENREC_WRITE__EPOCHS", "2")
    with pytest.warns(RenamedWarning) as told:
        made = load_settings(overrides={"ranking": {"method": "markers"}, "dialogue": {"ask": False}})
    assert (made.rank.window, made.rank.method, made.write.train.epochs, made.chat.ask) == (9, "markers", 2, False)
    assert len(told) == 4
    assert any("GENREC_RANKING__WINDOW is now GENREC_RANK__WINDOW" in str(one.message) for one in told)


def test_the_present_variable_wins_over_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENREC_RANKING__WINDOW", "9")
    monkeypatch.setenv("GENREC_RANK__WINDOW", "8")
    with pytest.warns(RenamedWarning):
        assert load_settings().rank.window == 8


def test_present_names_warn_of_nothing(tmp_path: Path) -> None:
    (tmp_path / SETTINGS_FILE).write_text("[rank]\nwindow = 9\n[rank.train]\nlists = 1\n[write.train]\nr = 2\n", encoding="utf-8")
    made = load_settings(tmp_path)
    assert (made.rank.window, made.rank.train.lists, made.write.train.r) == (9, 1, 2)


def test_overrides_of_a_section_below_another_keep_its_other_keys(tmp_path: Path) -> None:
    (tmp_path / SETTINGS_FILE).write_text("[rank]\nwindow = 9\n[rank.train]\nlists = 1\nr = 2\n", encoding="utf-8")
    made = load_settings(tmp_path, overrides={"rank": {"train": {"r": 3}}})
    assert (made.rank.window, made.rank.train.lists, made.rank.train.r) == (9, 1, 3)


def test_a_key_given_by_both_names_is_refused(tmp_path: Path) -> None:
    (tmp_path / SETTINGS_FILE).write_text("[rank]\nwindow = 9\n[ranking]\nwindow = 8\n", encoding="utf-8")
    with pytest.warns(RenamedWarning), pytest.raises(ConfigError, match=r"rank\.window is given twice"):
        load_settings(tmp_path)


def test_every_old_name_leads_to_a_key_that_is_there() -> None:
    for place in [*((*section, None) for section in SECTIONS.values()), *KEYS.values()]:
        part = load_settings()
        for name in place:
            part = getattr(part, name) if name else part
    assert set(SECTIONS) == {"ranking", "rerank", "retriever", "converse", "dialogue"}


def test_the_command_line_says_it_in_one_line(tmp_path: Path) -> None:
    folder = (tmp_path / "shop").resolve()
    assert process("init", folder).code == 0
    (folder / SETTINGS_FILE).write_text("[dialogue]\nitems = 4\n", encoding="utf-8")
    done = process("build", "-w", folder)  # ends with its own error: there are no items
    assert done.err.splitlines()[0] == f"note: {folder / SETTINGS_FILE}: dialogue.items is now chat.items"
    assert "RenamedWarning" not in done.err
