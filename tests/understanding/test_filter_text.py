"""Filters as expressions that can be read back, and as words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.filters import And, Compare, Field, Filter, Has, In, Not, Or, parse
from genrec.understanding.filter_text import all_of, attributes_of, expression, in_words, parts_of, spoken
from tests.understanding.catalogues import FILMS

SCHEMA = {"genres": Field("text", is_list=True), "year": Field("number"), "a `b`": Field("text"), "not": Field("boolean")}
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
LEAVES = st.one_of(
    st.builds(Has, st.just("genres"), TEXTS),
    st.builds(In, st.just("a `b`"), st.lists(TEXTS, max_size=3).map(tuple)),
    st.builds(Compare, st.just("a `b`"), st.sampled_from(["==", "!="]), TEXTS),
    st.builds(Compare, st.just("year"), st.sampled_from(["<", "<=", ">", ">=", "=="]), st.integers(-3000, 3000)),
    st.builds(Compare, st.just("year"), st.sampled_from(["<", ">"]), st.floats(allow_nan=False, allow_infinity=False)),
    st.builds(Compare, st.just("not"), st.just("=="), st.booleans()),
)
PARTS = st.lists(LEAVES, min_size=2, max_size=3).map(tuple)


@given(st.one_of(LEAVES, LEAVES.map(Not), PARTS.map(And), PARTS.map(Or), PARTS.map(lambda parts: Or((And(parts), parts[0])))))
def test_an_expression_is_read_back_as_the_same_filter(made: Filter) -> None:
    assert parse(expression(made), SCHEMA) == made


def test_parts_and_attributes() -> None:
    made = parse('genres has "Horror" and year < 1990 and not (genres has "War")', FILMS.schema)
    assert len(parts_of(made)) == 3
    assert all_of(parts_of(made)) == made
    assert attributes_of(made) == {"genres", "year"}
    assert (parts_of(None), all_of(())) == ((), None)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ('genres has "Comedy" and year >= 1990 and year <= 1999', "Comedy, from 1990 to 1999"),
        ('year < 2000 and not (genres has "Horror")', "before 2000, no Horror"),
        ("year >= 1990", "from 1990 on"),
        ("year == 1990", "from 1990"),
        ("runtime_min < 90 and year > 1980", "runtime below 90, after 1980"),
        ("runtime_min >= 90.5 and runtime_min <= 120", "runtime from 90.5 to 120"),
        ('rated in ["G", "PG"]', "G or PG"),
        ('genres has "War" or year < 1950', "War or before 1950"),
    ],
)
def test_words_for_people(made: str, words: str) -> None:
    assert in_words(parts_of(parse(made, FILMS.schema)), FILMS) == words


def test_names_are_said_without_their_unit() -> None:
    assert [spoken(name) for name in ("runtime_min", "releaseYear", "min")] == ["runtime", "release year", "min"]
