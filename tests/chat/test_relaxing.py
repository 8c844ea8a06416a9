"""As few constraints as can be are dropped, the oldest first, refusals last."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from genrec.chat.constraint_relaxation import relaxed
from genrec.filters import And, Compare, Filter, Has, Not, matches
from genrec.types import Item

ITEMS = [
    Item(item_id=f"{genre}{year}", attributes={"genres": (genre,), "year": year})
    for genre, years in (("War", (1950, 1960)), ("Comedy", (1970, 1980, 1990)))
    for year in years
]
WAR, COMEDY, OLD, NEW = Has("genres", "War"), Has("genres", "Comedy"), Compare("year", "<", 1965), Compare("year", ">", 1985)


def fits(parts: Sequence[Filter]) -> int:
    return sum(matches(And(tuple(parts)), item) for item in ITEMS)


def test_nothing_is_dropped_where_something_fits() -> None:
    assert relaxed([WAR, OLD], fits) == ((WAR, OLD), ())


def test_the_oldest_that_alone_stands_in_the_way_goes() -> None:
    assert relaxed([WAR, NEW], fits) == ((NEW,), (WAR,))
    assert relaxed([NEW, WAR], fits) == ((WAR,), (NEW,))


def test_a_refusal_goes_last() -> None:
    assert relaxed([Not(WAR), OLD], fits) == ((Not(WAR),), (OLD,))
    assert relaxed([Not(WAR), Not(COMEDY)], fits) == ((Not(COMEDY),), (Not(WAR),))


def test_several_go_where_one_is_not_enough() -> None:
    left, dropped = relaxed([WAR, COMEDY, OLD, NEW], fits)
    assert fits(left)
    assert len(dropped) == 2


@given(st.lists(st.sampled_from([WAR, COMEDY, OLD, NEW, Not(WAR), Not(COMEDY), Has("genres", "None")]), max_size=6, unique=True))
def test_what_is_left_fits_and_nothing_is_lost(parts: list[Filter]) -> None:
    left, dropped = relaxed(parts, fits)
    assert fits(left) > 0
    assert sorted(map(repr, (*left, *dropped))) == sorted(map(repr, parts))
    assert bool(dropped) == (fits(parts) == 0)
