"""What a turn leaves of the wishes before it."""

import pytest

from genrec.filters import Has, In
from genrec.types import Item
from genrec.understanding.constraint_changes import Command, alike
from genrec.understanding.linking import Linker
from genrec.understanding.parser import Parser
from genrec.understanding.policy import drafted
from genrec.understanding.state import Turn, state_of
from tests.understanding import catalogues

ITEMS = catalogues.films()
PARSER = Parser(catalogues.FILMS, Linker(ITEMS))


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        ("No, something about submarines.", ("whales", "submarines")),
        ("Hmm, not quite. Make it about submarines.", ("whales", "submarines")),
        ("Not those. I'd like something about submarines.", ("whales", "submarines")),
        ("Can you recommend a film about submarines?", ("submarines",)),
    ],
)
def test_a_fault_found_adds_to_what_is_searched_and_a_new_request_begins_anew(text: str, needs: tuple[str, ...]) -> None:
    state = state_of([Turn(text="something about whales", intent="recommend", needs=("whales",), shown=(ITEMS[0].item_id,))])
    understood = PARSER.parse(text, ongoing=True)
    draft = drafted(understood, state, Command(), {ITEMS[0].item_id: ITEMS[0]}, lambda _: 0.0, catalogues.FILMS)
    assert draft.turn.needs == needs


def turn_of(text: str, before: Turn) -> Turn:
    """The turn `text` after one that showed the first films."""
    state = state_of([before])
    understood = PARSER.parse(text, ongoing=True, asked=state.just_asked)
    return drafted(understood, state, Command(), {item.item_id: item for item in ITEMS}, lambda _: 0.0, catalogues.FILMS).turn


def test_a_word_or_two_go_on_from_what_was_wished() -> None:
    before = Turn(text="something about whales", intent="recommend", needs=("whales",), shown=(ITEMS[0].item_id,))
    assert turn_of("talking", before).needs == ("whales", "talking")
    assert turn_of("a lighthouse", before).needs == ("lighthouse",)
    assert turn_of("lighthouses, too", before).needs == ("lighthouses",)
    assert turn_of("what about lighthouses?", before).needs == ("lighthouses",)
    assert turn_of("what about grey?", before).needs == ("whales", "grey")


def test_a_wish_is_taken_back_in_words() -> None:
    before = Turn(text="x", intent="recommend", needs=("talking whales", "subtitles"), shown=(ITEMS[0].item_id,))
    assert turn_of("forget the subtitles", before).needs == ("talking whales",)
    assert turn_of("forget the popcorn", before).needs != ("talking whales",)


def test_what_an_item_has_is_asked_of_others() -> None:
    one = Item(item_id="one", title="One", attributes={"director": ("Jane Campion",), "language": ("French", "Latin")})
    say = catalogues.FILMS
    assert alike("what else has she directed", one, say) == Has("director", "Jane Campion")
    assert alike("in the same language please", one, say) == In("language", ("French", "Latin"))
    assert alike("same director", one, say) == Has("director", "Jane Campion")
    assert alike("the same country", one, say) is None
    assert alike("what else is there", one, say) is None


def test_which_of_several_is_taken_is_not_guessed() -> None:
    before = Turn(text="x", intent="recommend", shown=tuple(item.item_id for item in ITEMS[:3]))
    assert turn_of("put it in my basket", before).accepted == ()
    assert turn_of("great, I'll take them all", before).accepted == before.shown
    before = Turn(text="x", intent="recommend", shown=(ITEMS[1].item_id,), asked="genres")
    assert turn_of("I take it", before).intent == "accept"
    assert turn_of("yes please", before).intent == "something_else"
