"""Turns to learn from, how they are varied and measured, and `genrec train converse` from examples to a card."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genrec.errors import DataError, RowError, TableError
from genrec.filters import Filter, parse
from genrec.llm.adapters import PAGE
from genrec.prompts import Prompts
from genrec.settings.train_sections import ChatTrainSettings
from genrec.training.train_converse import compared, dry_run, train_converse
from genrec.training.turn_agreement import alone, fitted, joined, right, same
from genrec.training.turn_examples import Turn, parted, read_turns, shipped_turns, summary
from genrec.training.turn_variety import varied
from genrec.understanding.filter_text import all_of
from genrec.understanding.llm_reader import Trust
from genrec.understanding.parser import Understood
from genrec.understanding.turn_schema import INTENTS, line
from genrec.workspace.adapters_in_use import served_reading
from genrec.workspace.folder import Workspace
from tests.training import alphabet

SHOP: dict[str, Any] = {
    "catalogue": "pens",
    "attributes": {
        "colour": {"type": "text", "list": True, "values": ["red", "blue", "green"]},
        "price": {"type": "number", "values": [1, 40]},
        "refillable": {"type": "boolean"},
    },
    "titles": ["Quill One", "Inkwell"],
}
TURN: dict[str, Any] = {
    "catalogue": "pens",
    "turn": "I like Quill One, got a blue one below 20 that is thin?",
    "shown": ["Inkwell"],
    "asked": "colour",
    "out": {"intent": "refine", "where": ["colour = blue", "price < 20"], "liked": ["Quill One"], "need": "thin"},
}
ALL = read_turns(shipped_turns())


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8")
    return path


def out(**changes: Any) -> dict[str, Any]:
    return TURN | {"out": TURN["out"] | changes}


class TestFiles:
    def test_what_is_read(self, tmp_path: Path) -> None:
        (turn,) = read_turns([write(tmp_path / "a.jsonl", SHOP, "", TURN)])
        assert (turn.text, turn.context.shown, turn.context.asked) == (TURN["turn"], ("Inkwell",), "colour")
        assert turn.heard.liked == ("Quill One",)
        assert json.loads(turn.target()) == TURN["out"]
        assert summary([turn]) == {"turns": 1, "catalogues": 1}

    @pytest.mark.parametrize(
        ("row", "says"),
        [
            (TURN | {"catalogue": "ink"}, "no catalogue 'ink'"),
            (TURN | {"turn": "two  spaces"}, "spaces"),
            (TURN | {"shown": ["Biro"]}, "no 'Biro'"),
            (TURN | {"asked": "size"}, "no attribute 'size'"),
            (TURN | {"out": []}, "out is []"),
            (out(intent="sing"), "with an intent"),
            (out(where=["colour = pink"]), "no condition"),
            (out(where=["price = cheap"]), "no bound"),
            (out(where=["not refillable = yes"]), "no condition"),
            (out(liked=["Inkwell"]), "does not say 'Inkwell'"),
            (out(liked=["thin"]), "no title of the catalogue"),
            (out(need="fat"), "does not say all words"),
            (out(about="price"), "about is of questions"),
            (SHOP, "a catalogue 'pens' already"),
            (SHOP | {"catalogue": "x", "attributes": {"a": {"type": "colour", "values": []}}}, "a type and values"),
            (SHOP | {"catalogue": "x", "attributes": {"a": {"type": "number", "values": ["1"]}}}, "a type and values"),
            (SHOP | {"catalogue": "x", "attributes": {"a": {"type": "text", "values": [*map(str, range(30))]}}}, "at most"),
            ("[1]", "must be an object"),
            ("{", "Expecting"),
        ],
        ids=str,
    )
    def test_a_fault_has_a_place(self, tmp_path: Path, row: Any, says: str) -> None:
        path = write(tmp_path / "a.jsonl", SHOP, row)
        with pytest.raises(RowError) as caught:
            read_turns([path])
        assert str(caught.value).startswith(f"{path}, line 2: ")
        assert says in str(caught.value)

    def test_files_without_turns(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no turns"):
            read_turns([write(tmp_path / "a.jsonl", SHOP)])
        with pytest.raises(TableError):
            read_turns([tmp_path / "none.jsonl"])


class TestThoseThatShip:
    def test_many_and_no_two_alike(self) -> None:
        assert len(ALL) >= 600
        assert len({one.text.casefold() for one in ALL}) >= 0.985 * len(ALL)  # `next!` is said of many things
        assert len({(one.shop.name, one.text.casefold()) for one in ALL}) == len(ALL)
        assert len({one.shop.name for one in ALL}) >= 60
        assert {one.heard.intent for one in ALL} == set(INTENTS)

    def test_of_all_kinds(self) -> None:
        conditions = [one for turn in ALL for one in turn.out.get("where", ())]
        for sign in (" = ", " | ", "not ", " < ", " <= ", " > ", " >= ", " to ", " about ", " less", " more", " = yes", " = no"):
            assert sum(sign in one for one in conditions) >= 3, sign
        for name in ("liked", "disliked", "seen", "named", "about", "need"):
            assert sum(name in turn.out for turn in ALL) >= 3, name

    def test_a_tenth_is_only_measured_and_a_tenth_chooses_by_whole_catalogues(self) -> None:
        learned, choosing, measuring = parted(ALL)
        assert len(learned) + len(choosing) + len(measuring) == len(ALL)
        shops = [{one.shop.name for one in part} for part in (learned, choosing, measuring)]
        assert not shops[0] & shops[1]
        assert not shops[0] & shops[2]
        assert not shops[1] & shops[2]
        for part in (choosing, measuring):
            assert 0.06 * len(ALL) < len(part) < 0.13 * len(ALL)
        assert parted(list(reversed(ALL)))[2] == list(reversed(measuring))  # a rule, not chance

    def test_the_line_that_is_learned_is_the_line_that_is_heard(self) -> None:
        assert right(ALL, alone(ALL, [one.heard for one in ALL])).whole > 0.99


class TestVaried:
    def test_turn_catalogue_and_reading_change_alike(self) -> None:
        made = varied(ALL, 1.0, np.random.default_rng(0))
        pairs = list(zip(ALL, made, strict=True))
        assert sum(old.text != new.text for old, new in pairs) > 80
        assert sum({*old.shop.attributes} != {*new.shop.attributes} for old, new in pairs) > 300
        for old, new in pairs:
            new.heard  # noqa: B018 - holds together
            assert len(new.out) == len(old.out)
            assert len(new.out.get("where", ())) == len(old.out.get("where", ()))
            assert new.context.shown == old.context.shown
        numbers = [(old, new) for old, new in pairs if old.text != new.text and "20" in old.text]
        assert all(new.text not in old.text for old, new in numbers)

    def test_share_and_seed(self) -> None:
        def changed(share: float, seed: int = 1) -> list[int]:
            made = varied(ALL, share, np.random.default_rng(seed))
            return [place for place, (old, new) in enumerate(zip(ALL, made, strict=True)) if old is not new]

        assert not changed(0.0)
        assert 0.2 * len(ALL) < len(changed(0.3)) < 0.4 * len(ALL)
        assert changed(0.5) == changed(0.5) != changed(0.5, seed=2)


class TestMeasured:
    turn = next(one for one in ALL if one.text.startswith("A whodunnit set in the past"))

    @pytest.mark.parametrize(
        ("one", "other", "alike"),
        [
            ("pages < 300", "pages <= 299", True),
            ("pages < 300", "pages <= 300", False),
            ('genre has "Crime"', 'genre has "Horror"', False),
            ('genre in ["Crime", "Horror"]', 'genre has "Horror" or genre has "Crime"', True),
            ('genre in ["Crime", "Horror"]', 'genre has "Horror" and genre has "Crime"', False),
            ('not genre has "Crime"', 'genre has "Crime"', False),
            ('genre has "Crime" and pages < 300 and language == "German"', 'genre has "Crime" and pages < 300', False),
            ("pages < 300", "", False),
        ],
    )
    def test_filters_that_let_the_same_pass(self, one: str, other: str, alike: bool) -> None:
        vocabulary = self.turn.shop.vocabulary

        def read(text: str) -> Filter | None:
            return all_of([parse(part, vocabulary.schema) for part in ([text] if text else [])])

        assert same(read(one), read(other), vocabulary) is alike

    def test_every_part_counts(self) -> None:
        (perfect,) = alone([self.turn], [self.turn.heard])
        assert right([self.turn], [perfect]).whole == 1.0
        wrong = {
            "intent": replace(perfect, intent="why"),
            "filter": replace(perfect, filter=None),
            "need": replace(perfect, need="something else entirely"),
        }
        for part, read in wrong.items():
            assert getattr(right([self.turn], [read]), part) == 0.0
        (liking,) = [one for one in ALL if one.text.startswith("finished Small Mercies")]
        (felt,) = alone([liking], [liking.heard])
        assert right([liking], [felt]).feelings == 1.0
        for read in (
            replace(felt, liked=()),
            replace(felt, liked=felt.disliked, disliked=felt.liked),
            replace(felt, seen=felt.liked),
        ):
            assert right([liking], [read]).feelings == 0.0

    def test_trust_goes_to_who_is_right(self) -> None:
        some = ALL[:60]
        perfect = fitted(some, [one.heard for one in some])
        assert (perfect.intent, perfect.need) == ("llm", "llm")
        figures = compared(some, [one.heard for one in some])
        assert figures.helps
        assert figures.both.filter > figures.parser.filter
        nothing = fitted(some, [None] * len(some))
        assert nothing == Trust(intent="parser", filter="parser", feelings="parser", titles=False, need="parser")
        assert joined(some, [None] * len(some), perfect) == [one.parsed for one in some]
        assert not compared(some, [None] * len(some)).helps
        assert alone(some[:1], [None]) == [Understood(text=some[0].text, intent="small_talk")]


@pytest.fixture(scope="module")
def made(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return alphabet.make(tmp_path_factory.mktemp("converse") / "shop", llama, people=4)


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "shop")
    return tmp_path / "shop"


@pytest.fixture
def some(tmp_path: Path) -> Path:
    """Ten catalogues of two turns."""
    rows: list[Any] = []
    for n in range(10):
        name = f"shop {n}"
        rows += [SHOP | {"catalogue": name}, TURN | {"catalogue": name}]
        rows.append({"catalogue": name, "turn": f"hello {n}", "out": {"intent": "small_talk"}})
    return write(tmp_path / "some.jsonl", *rows)


TOLD: dict[str, Any] = {"r": 4, "alpha": 8, "epochs": 1, "batch": 8, "learning_rate": 1e-2}


class TestTraining:
    def test_from_examples_to_a_card(self, folder: Path, some: Path) -> None:
        said: list[str] = []
        with Workspace.open(folder, settings={"chat": {"train": TOLD}}) as workspace:
            outcome = train_converse(workspace, [some], "reader", tell=said.append, command="c")
            assert outcome is not None
            card = outcome.adapter.card
            assert (card.task, card.command, card.data) == ("converse", "c", {"turns": 16, "catalogues": 8})
            assert card.prompts == {"converse": Prompts().digest("converse")}
            assert card.reading is not None
            assert card.reading.serves is outcome.active is outcome.chosen.helps
            assert card.split.startswith("2 turns of catalogues that were not seen; 2 of others")
            assert card.metrics["filter right"].without == outcome.measured.parser.filter
            assert any(line.startswith("judged: alone intent") for line in said)
            used = workspace.registry.in_use("converse").adapter
            assert (used is not None) is outcome.active
            workspace.registry.activate("reader")
        page = (folder / "adapters/reader" / PAGE).read_text()
        assert "reads turns of a dialogue" in page
        assert "| believed | serves" in page
        serving = {}
        for understand in ("auto", "parser", "llm"):
            with Workspace.open(folder, settings={"chat": {"understand": understand}}) as workspace:
                serving[understand] = served_reading(workspace)
        assert (serving["auto"].asks, serving["parser"].asks, serving["llm"].asks) == (outcome.active, False, True)
        assert serving["llm"].adapter == "reader"
        assert serving["llm"].trust == outcome.chosen.trust
        with Workspace.open(folder, settings={"adapters": {"converse": ""}}) as workspace:
            assert not served_reading(workspace).asks  # the base model was not measured

    def test_without_held_out_turns_nothing_is_put_into_use(self, folder: Path, tmp_path: Path) -> None:
        with Workspace.open(folder, settings={"chat": {"train": TOLD}}) as workspace:
            outcome = train_converse(workspace, [write(tmp_path / "few.jsonl", SHOP, TURN)], "few")
        assert outcome is not None
        assert not outcome.active
        assert outcome.adapter.card.metrics == {}
        assert outcome.adapter.card.reading is not None
        assert not outcome.adapter.card.reading.serves

    @pytest.mark.parametrize(
        "change",
        [{"r": 2}, {"alpha": 32}, {"epochs": 2}, {"learning_rate": 1e-4}, {"batch": 2}, {"varied": 0.0}, {"seed": 3}],
        ids=str,
    )
    def test_no_setting_is_inert(self, folder: Path, tmp_path: Path, change: dict[str, Any]) -> None:
        assert ChatTrainSettings.model_fields.keys() == {"r", "alpha", "epochs", "learning_rate", "batch", "varied", "seed"}
        turns = [TURN | {"turn": f"{TURN['turn']} {n}"} for n in range(6)]
        few = write(tmp_path / "few.jsonl", SHOP, *turns)
        files = []
        for name, told in (("plain", {}), ("changed", change)):
            with Workspace.open(folder, settings={"chat": {"train": TOLD | told}}) as workspace:
                outcome = train_converse(workspace, [few], name)
            assert outcome is not None
            files.append(outcome.adapter.card.files)
        assert files[0] != files[1]

    def test_a_dry_run_writes_nothing(self, folder: Path, some: Path) -> None:
        with Workspace.open(folder) as workspace:
            (turns,) = dry_run(workspace, [some])
        assert (turns.kind, turns.examples) == ("turns", 16)
        assert "Customer: I like Quill One" in turns.text
        assert not (folder / "adapters").exists()


def test_rows_are_as_serving_asks() -> None:
    turn: Turn = ALL[0]
    served = turn.request(Prompts(), "reader")
    assert (served.prefix, served.prompt) == turn.prompt(Prompts())
    assert turn.target() == line(turn.out) + "\n"
    assert json.loads(served.schema)["properties"]["intent"]["enum"] == list(INTENTS)
