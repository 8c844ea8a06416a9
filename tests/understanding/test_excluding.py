"""Refusals that no attribute tells, in what a text says."""

import pytest

from genrec.understanding.constraint_changes import Command
from genrec.understanding.linking import Linker
from genrec.understanding.negation import MOST, standing, without_refused
from genrec.understanding.parser import Parser
from genrec.understanding.policy import drafted
from genrec.understanding.state import State, Turn, kept, state_of
from tests.understanding import catalogues

ITEMS = catalogues.films()
PARSER = Parser(catalogues.FILMS, Linker(ITEMS))
OFFICE = Parser(catalogues.OFFICE)


@pytest.mark.parametrize(
    ("text", "without"),
    [
        ("not spiral", ("spiral",)),
        ("not spiral bound please", ("spiral bound",)),
        ("notebooks but no spiral ones", ("spiral",)),
        ("a folder without a clasp or tabs", ("clasp", "tabs")),
        ("no clasps, nor any tabs", ("clasps", "tabs")),
        ("I don't want anything, just not spiral-bound", ("spiral bound",)),
        ("nothing containing latex", ("latex",)),
        ("one that does not contain latex", ("latex",)),
        ("one that isn't laminated", ("laminated",)),
        ("anything but a clipboard", ("clipboard",)),
        ("I'm not a big fan of clipboards", ("clipboards",)),
        ("I can't stand the smell", ("smell",)),
        ("a diary rather than a calendar", ("calendar",)),
        ("nothing to do with unicorns", ("unicorns",)),
        ("not so glossy pls", ("glossy",)),
        ("nothing too glossy please", ("glossy",)),
    ],
)
def test_words_behind_a_plain_refusal(text: str, without: tuple[str, ...]) -> None:
    read = OFFICE.parse(text)
    assert read.without == without
    assert not {word for phrase in without for word in phrase.split()} & set(read.need.lower().split())


@pytest.mark.parametrize(
    "text",
    [
        "I don't want to spend much",
        "too heavy",  # of what was shown
        "not impressed",
        "no thanks",
        "no idea what to get",
        "no rush",
        "not so sure",
        "not too expensive",
        "not too long",
        "not quite",
        "not tonight",
        "I have no budget",
        "I'm not picky",
        "I have not tried clipboards",
        "I did not find clipboards",
        "never mind",
        "why not clipboards?",
        "it's not laminated",
        "not blue",  # an attribute has it
        "not over ten dollars",
        "no " + "x" * 5_000,
    ],
)
def test_what_refuses_nothing_that_a_text_would_say(text: str) -> None:
    assert OFFICE.parse(text, ongoing=True).without == ()


def test_a_title_that_is_refused_is_no_word() -> None:
    read = PARSER.parse("not Alien")
    assert read.without == ()
    assert [ITEMS_BY_ID[one.item_ids[0]] for one in read.disliked] == ["Alien"]


ITEMS_BY_ID = {item.item_id: item.title for item in ITEMS}


def test_a_refusal_goes_on_from_a_list() -> None:
    assert OFFICE.parse("not spiral", ongoing=True).intent == "refine"
    assert OFFICE.parse("I don't want lamination", ongoing=True).intent == "refine"


def after(text: str, state: State) -> Turn:
    understood = PARSER.parse(text, ongoing=True)
    return drafted(understood, state, Command(), {item.item_id: item for item in ITEMS}, lambda _: 0.0, catalogues.FILMS).turn


def test_a_refusal_stands_until_it_is_wished_for() -> None:
    state = state_of([Turn(text="spiral notebooks", intent="recommend", needs=("spiral notebooks",), shown=(ITEMS[0].item_id,))])
    state.take(after("not spiral", state))
    assert (state.needs, state.without) == (("notebooks",), ("spiral",))
    state.take(after("something with whales", state))
    assert state.without == ("spiral",)
    state.take(after("spiral is fine after all", state))
    assert state.without == ()


def test_the_fold_of_old_turns_keeps_refusals_and_a_new_beginning_does_not() -> None:
    turns = [Turn(text="not spiral", without=("spiral",))] * 60
    assert state_of(kept(turns)).without == ("spiral",)
    state = state_of(turns)
    state.clear()
    assert state.without == ()


def test_only_whole_refusals_leave_a_wish() -> None:
    assert without_refused(("notebooks", "blue ink"), ("spiral notebooks", "inks")) == ("notebooks", "blue")
    assert without_refused(("ink",), ("ink",)) == ()


def test_the_latest_refusals_count() -> None:
    words = [f"word{n}" for n in range(20)]
    assert standing(words[:10], words[8:], "") == tuple(words[-MOST:])
    assert standing(("spirals", "tabs"), (), "a spiral notebook") == ("tabs",)
