"""Simulated users: what they say follows from their target alone, and who answers well is told from who does not."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from genrec.errors import ConfigError
from genrec.evaluation.aspects import Memory, aspects_of, direction, directions_of, shared_value
from genrec.evaluation.simulated_users import (
    INDIFFERENT,
    Crowd,
    Reply,
    SimulatedUser,
    TextSearch,
    Told,
    Turn,
    as_json,
    simulate,
    summary,
    talk,
    user_of,
    wilson,
)
from genrec.filters import Field
from genrec.types import Item, scalars
from genrec.understanding.vocabulary import Vocabulary
from genrec.workspace.folder import Workspace

FIELDS = {
    "genres": Field("text", True),
    "director": Field("text", False),
    "year": Field("number", False),
    "runtime_min": Field("number", False),
    "price": Field("number", False),
    "colour": Field("text", False),
    "imdb_id": Field("text", False),
    "new": Field("boolean", False),
}
GENRES, DIRECTORS, COLOURS = ("Drama", "Comedy", "Horror", "War"), ("Ann Lee", "Bob Ray", "Cy Fox"), ("red", "blue")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
PLOTS = ("a captain hunts whales", "a captain steals diamonds", "nuns steal whales", "diamonds vanish among nuns")


def item(n: int) -> Item:
    attributes = {
        "genres": (GENRES[n % 4], GENRES[(n + 1 + n // 4) % 4]),
        "director": DIRECTORS[n % 3],
        "year": 1950 + n,
        "runtime_min": 80 + 2 * n,
        "price": float(5 + n),
        "colour": COLOURS[n % 2],
        "imdb_id": f"tt{n:05d}",
        "new": bool(n % 2),
    }
    places = " and ".join(f"{port}{LETTERS[n // 2]}" for port in ("port", "fort", "cove"))  # two texts have them
    text = f"{PLOTS[n % 4]} between {places}"
    return Item(item_id=f"i{n:02d}", title=f"Secret Title {n}", text=text, attributes=attributes)


ITEMS = {one.item_id: one for one in map(item, range(48))}
VOCABULARY = Vocabulary.of(ITEMS.values(), FIELDS)
DIRECTIONS = directions_of(VOCABULARY)
MEMORY = Memory(ITEMS.values(), 0)


def user(n: int, seed: int = 0) -> SimulatedUser:
    return user_of(ITEMS[f"i{n:02d}"], VOCABULARY, MEMORY, DIRECTIONS, seed)


@dataclass
class Script:
    """Shows these lists, one a turn, and asks what it is told to."""

    lists: Sequence[Sequence[str]]
    questions: Sequence[str] = ()
    heard: list[str] = field(default_factory=list)
    begun: int = 0

    def begin(self) -> None:
        self.heard, self.begun = [], self.begun + 1

    def say(self, text: str) -> Reply:
        turn = len(self.heard)
        self.heard.append(text)
        shown = tuple(self.lists[turn]) if turn < len(self.lists) else ()
        return Reply("…", shown, self.questions[turn] if turn < len(self.questions) else "")


@pytest.mark.parametrize("n", range(0, 46, 5))
def test_nobody_says_the_title_or_an_id_or_what_is_not_so(n: int) -> None:
    one = user(n)
    script = Script([["i46", "i47"]] * 12)
    told = talk(one, script, ITEMS, turns=12)
    words = " ".join(turn.said for turn in told.turns)
    assert "Secret" not in words
    assert "tt0" not in words
    own = {str(value) for value in scalars(one.target.attributes["genres"])} | {str(one.target.attributes["director"])}
    for other in {*GENRES, *DIRECTORS} - own:
        refusals = [turn.said for turn in told.turns if other.lower() in turn.said.lower()]
        assert all(said.lower().startswith(("no", "nothing")) for said in refusals), refusals
    assert {str(one.target.attributes["director"])} == {name for name in DIRECTORS if name in words}


def test_the_same_seed_says_the_same_and_another_something_else() -> None:
    said = [[turn.said for turn in talk(user(7, seed), Script([["i40"]] * 6), ITEMS, turns=6).turns] for seed in (1, 1, 2)]
    assert said[0] == said[1] != said[2]


def test_what_is_common_comes_first_and_nothing_twice() -> None:
    names = []
    for n in range(48):
        aspects = aspects_of(ITEMS[f"i{n:02d}"], VOCABULARY, MEMORY(ITEMS[f"i{n:02d}"]), np.random.default_rng(n))
        assert len(set(aspects)) == len(aspects)
        assert {aspect.attribute for aspect in aspects} >= {"genres", "director", "year", "runtime_min", "price", "colour", ""}
        assert not {"imdb_id", "new"} & {aspect.attribute for aspect in aspects}
        names.append([aspect.attribute for aspect in aspects])
    first = [sum(one[:2].count(name) for one in names) for name in ("genres", "")]
    assert first[0] > first[1]


def test_a_question_is_answered_from_the_target() -> None:
    one = user(13)
    script = Script([["i40"]] * 4, ["director", "colour", "imdb_id"])
    talk(one, script, ITEMS, turns=4)
    assert DIRECTORS[13 % 3] in script.heard[1]
    assert COLOURS[13 % 2] in script.heard[2].lower()
    assert script.heard[3] == INDIFFERENT


def test_faults_are_found_with_what_was_shown() -> None:
    assert direction(ITEMS["i05"], [ITEMS["i20"], ITEMS["i30"]], {"year": ("older", "newer")}) == "older"
    assert direction(ITEMS["i40"], [ITEMS["i20"], ITEMS["i30"]], {"year": ("older", "newer")}) == "newer"
    assert direction(ITEMS["i25"], [ITEMS["i20"], ITEMS["i30"]], {"year": ("older", "newer")}) == ""
    assert direction(ITEMS["i25"], [], {"year": ("older", "newer")}) == ""
    assert set(DIRECTIONS) == {"year", "runtime_min", "price"}
    assert shared_value(ITEMS["i00"], [ITEMS["i02"], ITEMS["i03"]], VOCABULARY) == "War"
    assert shared_value(ITEMS["i00"], [ITEMS["i00"], ITEMS["i01"]], VOCABULARY) == ""
    assert shared_value(ITEMS["i00"], [], VOCABULARY) == ""
    steered = refused = 0
    for seed in range(60):
        heard = [turn.said for turn in talk(user(0, seed), Script([["i42", "i46"]] * 5), ITEMS, turns=5).turns]
        steered += any(
            said in ("Something older, please.", "Something shorter, please.", "Something cheaper, please.") for said in heard
        )
        refused += any("Horror" in said for said in heard)  # all of the list has it and the target has not
    assert steered > 20
    assert refused > 10


def test_the_target_ends_it_and_nothing_else_does() -> None:
    told = talk(user(3), Script([["i10", "i11"], ["i12", "i03"], ["i13"]]), ITEMS, turns=5)
    assert (told.found, len(told.turns)) == (2, 2)
    told = talk(user(3), Script([["i10"]] * 9), ITEMS, turns=5)
    assert (told.found, len(told.turns)) == (0, 5)
    told = talk(user(3), Script([]), ITEMS, turns=4)  # nothing is ever shown
    assert (told.found, len(told.turns)) == (0, 4)


def test_figures() -> None:
    turn = Turn("a", Reply("b", ("x", "y"), ""), 10.0)
    asked = Turn("a", Reply("b", ("x",), "year"), 30.0)
    told = [Told("x", 1, (turn,)), Told("z", 0, (turn, asked)), Told("z", 2, (asked, turn)), Told("z", 0, (turn, turn))]
    found = summary(told, turns=2)
    assert found["success"] == [0.25, 0.5]
    assert found["turns"] == pytest.approx((1 + 2 + 2 + 2) / 4)
    assert found["questions"] == pytest.approx(2 / 7)
    assert found["shown twice"] == 1 + 1 + 2
    assert found["ms a turn, median"] == 10.0
    low, high = wilson(0.5, 4)
    assert found["interval"] == [low, high]
    assert (low, high) == pytest.approx((0.150, 0.850), abs=1e-3)
    both = as_json({"one": told, "other": [told[1], told[0], told[3], told[1]]}, turns=2)
    assert (both["one"]["found where other did not"], both["one"]["not found where other did"]) == (2, 1)


def test_a_memory_is_of_words_that_few_texts_have() -> None:
    assert sum(len(MEMORY(one)) for one in ITEMS.values()) == 48  # three such words each, and two are remembered together
    for one in ITEMS.values():
        for words in MEMORY(one):
            for word in words.split(", "):
                assert word in one.text.lower()
                assert word not in one.title.lower()
    assert MEMORY(Item(item_id="unknown")) == []


def test_a_crowd_in_a_workspace_and_text_search(same_shop: Path) -> None:
    with Workspace.open(same_shop) as workspace:
        crowd = Crowd.of(workspace, 3)
        users = crowd.users(8)
        assert len({one.target.item_id for one in users}) == 8
        assert [one.target.item_id for one in crowd.users(8)] == [one.target.item_id for one in users]
        assert [one.target.item_id for one in Crowd.of(workspace, 4).users(8)] != [one.target.item_id for one in users]
        search = TextSearch(workspace, 4)
        told = simulate(crowd, {"search": search, "silence": Script([])}, 8, turns=6)
        assert [one.turns[0].said for one in told["search"]] == [one.turns[0].said for one in told["silence"]]
        assert all(one.found == 0 for one in told["silence"])
        assert sum(one.found > 0 for one in told["search"]) >= 3
        for one in told["search"]:
            ids = [item_id for turn in one.turns for item_id in turn.heard.item_ids]
            assert len(ids) == len(set(ids))
        search.begin()
        first = search.say("a haunted house")
        assert any(item_id.startswith("horror") for item_id in first.item_ids)
        search.begin()
        assert search.say("a haunted house") == first


def test_items_of_which_nothing_can_be_said(tmp_path: Path) -> None:
    with Workspace.create(tmp_path / "w") as workspace:
        workspace.store.put_items([Item(item_id="a", title="A"), Item(item_id="b", title="B")])
        with pytest.raises(ConfigError, match="nothing can be said"):
            Crowd.of(workspace, 0).users(2)
