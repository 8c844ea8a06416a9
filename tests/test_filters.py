"""Filters: what parses to what, what is refused where, and what a filter means."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.errors import FilterError
from genrec.filters import (
    BUILT_IN,
    MAX_DEPTH,
    MAX_LENGTH,
    And,
    Compare,
    Field,
    Filter,
    Has,
    In,
    Not,
    Or,
    coerce,
    fields_of,
    matches,
    parse,
)
from genrec.types import Item, Scalar

SCHEMA = {
    "year": Field("number"),
    "genres": Field("text", is_list=True),
    "country": Field("text"),
    "rated": Field("boolean"),
    "sizes": Field("number", is_list=True),
    "running time": Field("number"),
    "odd`name": Field("text"),
    "in": Field("text"),
    "größe": Field("number"),
}
HEAT = Item(
    item_id="i1",
    platform="film",
    title="Heat",
    attributes={"year": 1995, "genres": ("Crime", "Drama"), "country": "USA", "rated": True, "sizes": (35, 70.0)},
)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("year>=1990", Compare("year", ">=", 1990)),
        ("year = 1990", Compare("year", "==", 1990)),
        ("year == -1.5e3", Compare("year", "==", -1500.0)),
        ("year < .5", Compare("year", "<", 0.5)),
        ('genres has "Comedy"', Has("genres", "Comedy")),
        ("genres HAS 'Comedy'", Has("genres", "Comedy")),
        (r"country == 'it\'s \\ \n'", Compare("country", "==", "it's \\ \\n")),
        ('country == "a and (b"', Compare("country", "==", "a and (b")),
        ("rated != true", Compare("rated", "!=", True)),
        ("rated == FALSE", Compare("rated", "==", False)),
        ('country in ["USA", "UK"]', In("country", ("USA", "UK"))),
        ("country in []", In("country", ())),
        ('country not in ["USA"]', Not(In("country", ("USA",)))),
        ("`running time` > 90", Compare("running time", ">", 90)),
        ("`odd``name` == 'x'", Compare("odd`name", "==", "x")),
        ("`in` in ['x']", In("in", ("x",))),
        ("größe > 1", Compare("größe", ">", 1)),
        ("title == 'Heat'", Compare("title", "==", "Heat")),
        ("not rated == true and year > 1", And((Not(Compare("rated", "==", True)), Compare("year", ">", 1)))),
        (
            "year > 1 or year < 2 and year == 3",
            Or((Compare("year", ">", 1), And((Compare("year", "<", 2), Compare("year", "==", 3))))),
        ),
        ("not (country in ['USA'] or rated == true)", Not(Or((In("country", ("USA",)), Compare("rated", "==", True))))),
        ("  ( ( year>1 ) )\n", Compare("year", ">", 1)),
    ],
)
def test_parses_to(text: str, tree: Filter) -> None:
    assert parse(text, SCHEMA) == tree


@pytest.mark.parametrize(
    ("text", "position", "message", "hint"),
    [
        ("", 0, "empty", "A filter looks like"),
        ("   ", 0, "empty", "A filter looks like"),
        ("yaer > 1", 0, "no field `yaer`", "Did you mean `year`?"),
        ("YEAR > 1", 0, "no field `YEAR`", "Did you mean `year`?"),
        ("zzz > 1", 0, "no field `zzz`", "Fields: country, genres"),
        ("year", 4, "an operator expected after `year`, found the end", "=="),
        ("rated", 5, "an operator expected", "rated == true"),
        ("year >", 6, "a value expected, found the end", "1990"),
        ("year > 'x'", 7, "`year` is number, 'x' is text", "1990"),
        ("year == true", 8, "`year` is number, true is boolean", "1990"),
        ("country == 5", 11, "`country` is text, 5 is number", '"Comedy"'),
        ("country == USA", 11, "a value expected, found USA", "quotes"),
        ("country > 'A'", 8, "it has no order", "has in"),
        ("rated >= true", 6, "it has no order", "has in"),
        ("1990 < year", 0, "a field name expected, found 1990", "comes first"),
        ("year > 1 year < 2", 9, "year is not expected here", '"and"'),
        ("year > 1 and", 12, "a field name expected", "A filter looks like"),
        ("(year > 1", 9, "')' expected", "'(' at character 1"),
        ("year > 1)", 8, "')' is not expected", '"and"'),
        ("country in 'USA'", 11, "'[' expected", "A list"),
        ("country in ['USA' 'UK']", 18, "',' or ']' expected", "A list"),
        ("country in ['USA', 5]", 19, "`country` is text, 5 is number", '"Comedy"'),
        ("country in ['USA'", 17, "',' or ']' expected, found the end", "A list"),
        ("country == 'USA", 11, "the ' is not closed", "End it"),
        ("`year > 1", 0, "the ` is not closed", "End it"),
        ("year > 1 && year < 2", 9, "'&' cannot be read", 'Write "and"'),
        ("year > 1 || year < 2", 9, "'|' cannot be read", 'Write "or"'),
        ("!(year > 1)", 0, "'!' cannot be read", 'Write "not"'),
        ("year > 1; drop", 8, "';' cannot be read", "A filter looks like"),
        ("year > 1e999", 7, "out of range", "float64"),
        ("year > 12x", 7, "'1' cannot be read", "A filter"),
        ("year > nan", 7, "a value expected, found nan", "quotes"),
        ("country == '\ud800'", 11, "surrogate", "Unicode"),
        ("year > __import__('os')", 7, "a value expected", "quotes"),
        ("(" * (MAX_DEPTH + 1) + "year > 1" + ")" * (MAX_DEPTH + 1), MAX_DEPTH, "inside one another", "flatter"),
        ("not " * (MAX_DEPTH + 1) + "year > 1", 4 * MAX_DEPTH, "inside one another", "flatter"),
        ("year > 1" + " " * MAX_LENGTH, MAX_LENGTH, "at most 4000", "Shorten"),
    ],
)
def test_refuses_at(text: str, position: int, message: str, hint: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse(text, SCHEMA)
    assert message in str(caught.value)
    assert hint in caught.value.hint
    assert caught.value.position == position
    assert caught.value.exit_code == 2


def test_the_caret_stands_below_the_fault() -> None:
    with pytest.raises(FilterError) as caught:
        parse("rated == true and yaer\t> 1990 " + "and year > 1 " * 20, SCHEMA)
    _, shown, caret = str(caught.value).split("\n")
    assert shown[caret.index("^") :].startswith("yaer > 1990")
    assert len(shown) < 70


def test_depth_and_length_at_the_limit_are_read() -> None:
    deep = "(" * MAX_DEPTH + "year > 1" + ")" * MAX_DEPTH
    assert parse(deep, SCHEMA) == Compare("year", ">", 1)
    assert parse("year > 1".ljust(MAX_LENGTH), SCHEMA) == Compare("year", ">", 1)
    assert isinstance(parse(" or ".join(["(not year > 1)"] * 200), SCHEMA), Or)  # side by side is not deep


def test_long_schema_is_not_all_listed() -> None:
    with pytest.raises(FilterError) as caught:
        parse("x == 1", {f"field{n:03}": Field("number") for n in range(500)})
    assert "and 483 more" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("year == 1995", True),
        ("year == 1995.0", True),
        ("year != 1995", False),
        ("year > 1995", False),
        ("year >= 1995 and year <= 1995 and not year < 1995", True),
        ('genres has "Crime"', True),
        ('genres == "Crime"', True),
        ('genres has "crime"', False),
        ('genres != "Crime"', False),
        ('genres in ["Comedy", "Drama"]', True),
        ('genres not in ["Comedy", "Drama"]', False),
        ('country has "USA"', True),
        ("country in []", False),
        ("rated == true", True),
        ("rated == false", False),
        ("sizes > 60", True),
        ("sizes > 40 and sizes < 60", True),  # any element may satisfy each
        ("sizes == 70", True),
        ("`running time` > 0", False),
        ("`running time` == 0", False),
        ("`running time` != 0", True),
        ("not `running time` > 0", True),
        ("`running time` not in [0]", True),
        ('title == "Heat" and platform == "film" and item_id == "i1"', True),
    ],
)
def test_meaning(text: str, expected: bool) -> None:
    assert matches(parse(text, SCHEMA), HEAT) is expected


def test_text_fields_see_any_value_as_text_and_other_fields_their_own_type() -> None:
    assert coerce((1, 2.5, True, "x"), "text") == ("1", "2.5", "true", "x")
    assert coerce((1, 2.5, True, "3"), "number") == (1.0, 2.5)
    assert coerce((1, True, "true"), "boolean") == (True,)
    assert coerce((math.nan, math.inf, 10**400, -0.0), "number") == (0.0,)
    assert math.copysign(1.0, float(coerce(-0.0, "number")[0])) == 1.0
    mixed = Item(item_id="m", attributes={"code": 12})
    assert matches(parse('code == "12"', {"code": Field("text")}), mixed)


def test_built_in_fields_win_over_attributes_of_the_same_name() -> None:
    item = Item(item_id="i", title="true title", attributes={"title": 5})
    assert fields_of(item)["title"] == "true title"
    assert parse('title == "true title"', {"title": Field("number")}) == Compare("title", "==", "true title")
    assert set(BUILT_IN) <= set(fields_of(item))


NAMES = st.text(min_size=1, max_size=8).filter(lambda name: name not in BUILT_IN)
TEXTS = st.text(max_size=12)
NUMBERS = st.integers(-(10**18), 10**18) | st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def schema_and_filter(draw: st.DrawFn) -> tuple[dict[str, Field], Filter]:
    kinds = st.builds(Field, st.sampled_from(["text", "number", "boolean"]), st.booleans())
    schema = draw(st.dictionaries(NAMES, kinds, min_size=1, max_size=4))
    values: dict[str, st.SearchStrategy[Scalar]] = {"text": TEXTS, "number": NUMBERS, "boolean": st.booleans()}

    def leaf(name: str) -> st.SearchStrategy[Filter]:
        value = values[schema[name].type]
        operators = ["==", "!="] + (["<", "<=", ">", ">="] if schema[name].type == "number" else [])
        return (
            st.builds(Compare, st.just(name), st.sampled_from(operators), value)
            | st.builds(Has, st.just(name), value)
            | st.builds(In, st.just(name), st.lists(value, max_size=3).map(tuple))
        )

    def parts(inner: st.SearchStrategy[Filter]) -> st.SearchStrategy[tuple[Filter, ...]]:
        return st.lists(inner, min_size=2, max_size=3).map(tuple)

    tree = st.recursive(
        st.sampled_from(sorted(schema)).flatmap(leaf),
        lambda inner: st.builds(And, parts(inner)) | st.builds(Or, parts(inner)) | st.builds(Not, inner),
        max_leaves=6,
    )
    return schema, draw(tree)


def written(tree: Filter) -> str:
    """The filter as a person would type it, fully parenthesised."""

    def name(field: str) -> str:
        return "`" + field.replace("`", "``") + "`"

    def literal(value: Scalar) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' if isinstance(value, str) else repr(value)

    match tree:
        case And(parts):
            return " and ".join(f"({written(part)})" for part in parts)
        case Or(parts):
            return " or ".join(f"({written(part)})" for part in parts)
        case Not(part):
            return f"not ({written(part)})"
        case Has(field, value):
            return f"{name(field)} has {literal(value)}"
        case In(field, values):
            return f"{name(field)} in [{', '.join(map(literal, values))}]"
        case Compare(field, op, value):
            return f"{name(field)} {op} {literal(value)}"


@settings(deadline=None, max_examples=150)
@given(schema_and_filter())
def test_whatever_is_written_is_read_back(case: tuple[dict[str, Field], Filter]) -> None:
    schema, tree = case
    assert parse(written(tree), schema) == tree


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet="year genres()[]\"'`=!<>andornothasin,.1e-\\", max_size=40))
def test_any_text_parses_or_is_refused_with_a_place_in_it(text: str) -> None:
    try:
        tree = parse(text, SCHEMA)
    except FilterError as error:
        position = error.position
    else:
        position = 0
        assert parse(written(tree), SCHEMA) == tree
    assert 0 <= position <= len(text)
