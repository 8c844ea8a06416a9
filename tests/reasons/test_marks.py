"""Titles and their marks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.reasons.facts import insert_titles, mark_titles

TITLES = ("Alien", "Alien 3", "Fargo [2]")


@pytest.mark.parametrize(
    ("marked", "text"),
    [
        ("You liked [1].", 'You liked "Alien".'),
        ('You liked "[2]" and [1].', 'You liked "Alien 3" and "Alien".'),
        ("[3], [4] and [0]", '"Fargo [2]", [4] and [0]'),
        ("[x] [1 [] [123]", "[x] [1 [] [123]"),
    ],
)
def test_a_mark_becomes_its_title(marked: str, text: str) -> None:
    assert insert_titles(marked, TITLES) == text


def test_only_whole_quoted_titles_are_marked() -> None:
    assert mark_titles('"Alien 3" and "Alien", not Alien or "Aliens"', TITLES) == '[2] and [1], not Alien or "Aliens"'


@given(st.lists(st.sampled_from(["You liked ", '"Alien"', '"Alien 3"', '"Fargo [2]"', " and ", "it."])).map("".join))
def test_what_is_marked_is_filled_again(text: str) -> None:
    assert insert_titles(mark_titles(text, TITLES), TITLES) == text
