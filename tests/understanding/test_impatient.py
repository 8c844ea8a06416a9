"""What impatient people say, as it was misread once: half sentences, changes of mind, words of a hurry."""

import pytest

from genrec.filters import Compare, Field, Filter, Has, In, Not
from genrec.types import Item
from genrec.understanding.constraint_changes import command_of
from genrec.understanding.linking import Linker
from genrec.understanding.parser import Parser
from genrec.understanding.policy import drafted
from genrec.understanding.references import Referring
from genrec.understanding.relative_wishes import Steer
from genrec.understanding.state import Turn, state_of
from genrec.understanding.vocabulary import Vocabulary
from tests.understanding import catalogues

FILMS, SHOP = catalogues.FILMS, catalogues.SHOP
FILM = Item(item_id="f", title="Heat", attributes={"director": ("Rob Reiner",), "country": ("France", "Italy"), "year": 1990})
OTHER = Item(item_id="g", title="Toy Story", attributes={"director": ("Tim Burton",), "country": ("Italy",), "year": 1995})
LINKER = Linker([FILM, OTHER])
THINGS = Vocabulary(
    {"category": Field("text"), "pattern": Field("text"), "count": Field("text")},
    {"category": {"mug": 9, "lamp": 9}, "pattern": {"plain": 5, "dotted": 5}, "count": {"one": 4, "two": 4}},
)


def turn_of(text: str, before: Turn, vocabulary: Vocabulary = FILMS) -> Turn:
    state = state_of([before])
    items = {one.item_id: one for one in (FILM, OTHER)}
    linker = Referring(LINKER, state.these, state.shown)
    understood = Parser(vocabulary, linker).parse(text, ongoing=bool(state.shown), asked=state.just_asked)
    return drafted(understood, state, command_of(text, vocabulary), items, lambda _: 0.0, vocabulary).turn


def shown(*constraints: Filter, needs: tuple[str, ...] = (), ids: tuple[str, ...] = ("f", "g"), **more: object) -> Turn:
    return Turn(text="x", intent="recommend", constraints=constraints, needs=needs, shown=ids, **more)  # type: ignore[arg-type]


EIGHTIES = (Compare("year", ">=", 1980), Compare("year", "<=", 1989))


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        ("actually forget the 80s", (*EIGHTIES, Has("genres", "Crime")), (Has("genres", "Crime"),)),
        ("drop the crime", (Has("genres", "Crime"),), ()),
        ("forget the war", (Has("genres", "Crime"),), (Has("genres", "Crime"), Not(Has("genres", "War")))),
        ("or drama", (Has("genres", "Crime"),), (In("genres", ("Crime", "Drama")),)),
        ("or a drama", (In("genres", ("Crime", "War")),), (In("genres", ("Crime", "War", "Drama")),)),
        ("or after 1990", (Has("genres", "Crime"),), (Has("genres", "Crime"), Compare("year", ">", 1990))),
        ("in another language", (Has("language", "French"),), (Not(Has("language", "French")),)),
        ("another country", (), (Not(In("country", ("France", "Italy"))),)),
        ("a different director", (), (Not(In("director", ("Rob Reiner", "Tim Burton"))),)),
        ("any language but French", (), (Not(Has("language", "French")),)),
    ],
)
def test_constraints_change_by_half_sentences(text: str, before: tuple[Filter, ...], after: tuple[Filter, ...]) -> None:
    turn = turn_of(text, shown(*before))
    assert turn.constraints == after
    assert turn.needs == ()


def test_a_measure_takes_the_place_of_one_in_the_same_unit() -> None:
    assert turn_of("2 inch then", shown(needs=("binders", "3 inch"))).needs == ("binders", "2 inch")
    assert turn_of("12 pack", shown(needs=("binders", "3 inch"))).needs == ("binders", "3 inch", "12 pack")


def test_a_name_with_one_word_wrong_is_known_even_where_texts_have_that_word() -> None:
    items = [
        Item(item_id="i", title="Choir", text="mariah carey and carey again"),
        Item(item_id="j", title="Carey", text="carey"),
    ]
    names = dict.fromkeys(("Jim Carrey", "Jodie Foster", "Tom Hanks", "Meg Ryan", "Al Pacino"), 3)
    schema = {"actors": Field("text", is_list=True)}
    vocabulary = Vocabulary(schema, {"actors": names}, Vocabulary.of(items, schema).correct)  # type: ignore[dict-item]
    assert Parser(vocabulary).parse("with jim carey").filter == Has("actors", "Jim Carrey")
    assert Parser(vocabulary).parse("with carey").filter is None


def test_another_actor_with_a_name() -> None:
    turn = turn_of("nah. other actor, schwarzenegger", shown(Has("actors", "Tom Hanks")))
    assert set(turn.constraints) == {Has("actors", "Arnold Schwarzenegger"), Not(Has("actors", "Tom Hanks"))}
    assert turn.needs == ()


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        ("never mind, submarines instead", ("submarines",)),
        ("or maybe a submarine", ("submarine",)),
        ("she likes submarines", ("whales", "submarines")),
        ("smth with submarines", ("whales", "submarines")),
        ("idk you pick", ("whales",)),
        ("whatever, surprise me", ("whales",)),
        ("dunno, up to you", ("whales",)),
        ("for a 4 year old", ("whales",)),
        ("no I mean the most popular", ("whales",)),
        ("not so sad", ("whales",)),
        ("hey whats good", ("whales",)),
    ],
)
def test_wishes_in_a_hurry(text: str, needs: tuple[str, ...]) -> None:
    assert turn_of(text, shown(needs=("whales",))).needs == needs


@pytest.mark.parametrize(
    ("text", "ongoing", "intent"),
    [
        ("how many sheets can it do", True, "ask"),
        ("how much does it weigh", True, "ask"),
        ("whats the price", True, "ask"),
        ("ok bye", True, "small_talk"),
        ("great, bye", True, "small_talk"),
        ("great", True, "accept"),
        ("which is the oldest", True, "compare"),
    ],
)
def test_intents_in_a_hurry(text: str, ongoing: bool, intent: str) -> None:
    assert Parser(SHOP).parse(text, ongoing=ongoing).intent == intent


def test_what_no_attribute_tells_is_asked_for_in_vain() -> None:
    assert Parser(FILMS).parse("whats the price", ongoing=True).unmet == ("price",)
    assert Parser(FILMS).parse("how long is it?", ongoing=True).unmet == ()
    assert Parser(catalogues.OFFICE).parse("whats the price", ongoing=True).unmet == ()


def test_the_age_of_a_person_is_no_year() -> None:
    for text in ("for a 4 year old", "for my 4-year-old", "she is 12 yo"):
        assert Parser(FILMS).parse(text).filter is None
    assert Parser(catalogues.OFFICE).parse("a cheap one for a 10 year old").steers == (Steer("price", "<"),)


def test_things_are_counted_in_figures_and_without_a_pattern_they_are_plain() -> None:
    parser = Parser(THINGS)
    assert parser.parse("2 mugs").filter == parser.parse("two mugs").filter
    assert parser.parse("a lamp, no pattern").filter == parser.parse("a lamp, plain").filter
    assert parser.parse("2 hours").filter is None
    assert parser.parse("no count").without == ()  # an attribute's name is said of no text


def test_titles_that_were_shown_need_no_sign() -> None:
    assert turn_of("ok toy story then", shown()).accepted == ("g",)
    assert Parser(FILMS, LINKER).parse("ok toy story then").mentions == ()


def test_of_a_list_that_was_spoken_of_none_is_it() -> None:
    before = shown(ids=("f", "g"), focus=("f", "g"))
    assert turn_of("why", before).focus == ("f", "g")
    assert turn_of("ok, I'll take it", before).accepted == ()


def test_what_was_taken_is_not_taken_again() -> None:
    before = shown(ids=("f",), focus=("f",), accepted=("f",))
    assert turn_of("great, thanks", before).intent == "small_talk"
    assert turn_of("great, thanks", shown(ids=("f",), focus=("f",))).intent == "accept"
