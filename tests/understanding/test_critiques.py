"""What a turn does to the constraints that stand."""

import pytest

from genrec.filters import parse
from genrec.types import Item
from genrec.understanding.constraint_changes import Command, command_of, freed, merged, steered, without_reset
from genrec.understanding.filter_text import expression, parts_of
from genrec.understanding.relative_wishes import Steer
from tests.understanding.catalogues import FILMS


def after(standing: str, new: str, text: str = "", *, fresh: bool = False) -> list[str]:
    parts = parts_of(parse(standing, FILMS.schema)) if standing else ()
    made = parse(new, FILMS.schema) if new else None
    return [expression(part) for part in merged(parts, made, text, fresh=fresh)]


@pytest.mark.parametrize(
    ("standing", "new", "text", "holds"),
    [
        ("year >= 1990", "year >= 1980", "from the 80s on", ["year >= 1980"]),
        ("year >= 1990 and year <= 1999", "year < 1985", "before 1985", ["year < 1985"]),
        ("year <= 1999", "year >= 1990", "since 1990", ["year <= 1999", "year >= 1990"]),
        ('genres has "Horror"', 'genres has "Comedy"', "and funny", ['genres has "Horror"', 'genres has "Comedy"']),
        ('genres has "Horror"', 'genres has "Comedy"', "a comedy instead", ['genres has "Comedy"']),
        ('genres in ["Horror", "Comedy"]', 'genres has "Comedy"', "comedy", ['genres has "Comedy"']),
        ('genres has "Horror"', 'genres has "Comedy"', "what about a comedy?", ['genres has "Comedy"']),
        ('genres has "Horror"', 'not (genres has "Horror")', "no horror", ['not (genres has "Horror")']),
        ('not (genres has "Horror")', 'genres has "Horror"', "horror after all", ['genres has "Horror"']),
        ('not (genres has "War")', 'not (genres has "Horror")', "", ['not (genres has "War")', 'not (genres has "Horror")']),
        ('rated == "PG"', 'rated == "R"', "rated R", ['rated == "R"']),
        ('rated == "PG" and year > 1990', 'rated in ["R", "G"]', "", ["year > 1990", 'rated in ["R", "G"]']),
        ("year > 1990", "year > 1990", "", ["year > 1990"]),
        ("year > 1990", "", "hello", ["year > 1990"]),
    ],
)
def test_constraints_after_a_turn(standing: str, new: str, text: str, holds: list[str]) -> None:
    assert after(standing, new, text) == holds


def test_a_new_request_takes_the_place_of_the_same_attribute_alone() -> None:
    assert after('genres has "Horror" and year > 1990', 'genres has "War"', "find me a war film", fresh=True) == [
        "year > 1990",
        'genres has "War"',
    ]


@pytest.mark.parametrize("text", ["undo", "Forget that.", "never mind", "no, scratch that please", "go back", "I take that back"])
def test_words_that_take_back(text: str) -> None:
    assert command_of(text, FILMS) == Command(undo=True)


@pytest.mark.parametrize(
    "text", ["start over", "let's start again", "forget everything", "something completely different", "reset"]
)
def test_words_that_begin_anew(text: str) -> None:
    assert command_of(text, FILMS).reset


@pytest.mark.parametrize(
    ("text", "free"),
    [
        ("any year is fine", {"year"}),
        ("the genre doesn't matter", {"genres"}),
        ("I don't care about the language", {"language"}),
        ("forget the director", {"director"}),
        ("any actor", {"actors"}),
        ("any duration", {"runtime_min"}),
        ("any good ones?", set()),
    ],
)
def test_attributes_that_no_longer_matter(text: str, free: set[str]) -> None:
    command = command_of(text, FILMS)
    assert command.free == free
    assert not command.undo


@pytest.mark.parametrize("text", ["no preference", "I don't care", "doesn't matter", "either", "surprise me", "you choose"])
def test_no_answer_to_a_question(text: str) -> None:
    assert command_of(text, FILMS, asked="genres").indifferent


def test_an_attribute_that_was_asked_for_and_does_not_matter() -> None:
    assert command_of("any genre", FILMS, asked="genres").indifferent
    assert not command_of("any genre", FILMS).indifferent


@pytest.mark.parametrize(
    "text", ["forget Alien", "I will never mind a comedy", "undone", "a start in space", "no horror", "Reset of the Heart"]
)
def test_words_that_are_no_command(text: str) -> None:
    command = command_of(text, FILMS)
    assert not (command.undo)
    assert not (command.reset)
    assert not (command.indifferent)


def test_freeing_leaves_the_others() -> None:
    parts = parts_of(parse('genres has "War" and year > 1990 and year < 1999', FILMS.schema))
    assert [expression(part) for part in freed(parts, {"year"})] == ['genres has "War"']


def test_shorter_means_below_the_middle_of_what_was_shown_or_of_all() -> None:
    shown = [Item(item_id=str(n), attributes={"runtime_min": minutes}) for n, minutes in enumerate((90, 100, 140))]
    (bound,) = steered([Steer("runtime_min", "<")], [*shown, Item(item_id="x")], FILMS)
    assert expression(bound) == "runtime_min < 100"
    (bound,) = steered([Steer("runtime_min", ">")], [Item(item_id="x")], FILMS)
    assert expression(bound) == f"runtime_min > {FILMS.numbers['runtime_min'].middle:g}"


def test_the_rest_of_a_turn_that_begins_anew() -> None:
    assert without_reset("Start over, a French comedy").strip(" ,") == "a french comedy"
    assert without_reset("A French comedy") == "A French comedy"
