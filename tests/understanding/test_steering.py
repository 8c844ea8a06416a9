"""Wishes relative to what was shown."""

from genrec.understanding.linking import Linker
from genrec.understanding.parser import Parser
from genrec.understanding.relative_wishes import Steer
from tests.understanding import catalogues

PARSER = Parser(catalogues.FILMS, Linker(catalogues.films()))
OFFICE = Parser(catalogues.OFFICE)


def test_steers_name_the_attribute_that_the_catalogue_has() -> None:
    assert PARSER.parse("something shorter and newer", ongoing=True).steers == (Steer("runtime_min", "<"), Steer("year", ">"))
    assert OFFICE.parse("a cheaper one").steers == (Steer("price", "<"),)
    assert PARSER.parse("which is the oldest").steers == (Steer("year", "<"),)
    assert PARSER.parse("something cheaper").steers == ()
    assert PARSER.parse("shorter than two hours").steers == ()


def test_low_prices_by_themselves() -> None:
    for low in ("a cheap lamp", "an affordable lamp", "a lamp, not expensive", "I don't want to spend much", "lamps on a budget"):
        assert OFFICE.parse(low).steers == (Steer("price", "<"),)
        assert PARSER.parse(low).unmet == ("price",)
    assert OFFICE.parse("not cheap").steers == ()
    assert OFFICE.parse("cheap lamps").intent == "recommend"  # by itself; `cheaper` goes by what was shown
    assert OFFICE.parse("cheaper lamps").intent == "refine"
    assert OFFICE.parse("cheap ones", ongoing=True).intent == "refine"
