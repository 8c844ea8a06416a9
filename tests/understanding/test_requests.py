"""Two hundred written requests with the filter each of them means. The parser was not tuned on those held out."""

import json
from pathlib import Path
from typing import Any

import pytest

from genrec.filters import parse
from genrec.understanding.parser import Parser
from tests.understanding.canonical import canonical
from tests.understanding.catalogues import CATALOGUES

ROWS: list[dict[str, Any]] = [
    json.loads(line) for line in (Path(__file__).parent / "requests.jsonl").read_text(encoding="utf-8").splitlines()
]
PARSERS = {name: Parser(vocabulary) for name, vocabulary in CATALOGUES.items()}


def right(row: dict[str, Any]) -> bool:
    schema = CATALOGUES[row["catalogue"]].schema
    found = PARSERS[row["catalogue"]].parse(row["text"]).filter
    return canonical(found, schema) == canonical(parse(row["filter"], schema), schema)


def test_there_are_two_hundred_over_three_catalogues() -> None:
    assert len(ROWS) == len({(row["catalogue"], row["text"]) for row in ROWS}) == 200
    assert {row["catalogue"] for row in ROWS} == set(CATALOGUES)
    assert sum(row["split"] == "held" for row in ROWS) == 60


@pytest.mark.parametrize("split", ["tune", "held"])
def test_filters_are_right(split: str) -> None:
    rows = [row for row in ROWS if row["split"] == split]
    wrong = [row["text"] for row in rows if not right(row)]
    assert len(wrong) <= 0.05 * len(rows), wrong


def test_canonical_tells_filters_apart() -> None:
    schema = CATALOGUES["films"].schema

    def form(text: str) -> Any:
        return canonical(parse(text, schema), schema)

    assert form("year < 2000") == form("year <= 1999") == form("not year >= 2000") != form("year <= 2000")
    assert form('not (genres has "War" or genres has "Horror")') == form('not genres has "Horror" and not genres has "War"')
    assert form('genres in ["War", "Horror"]') != form('genres has "War" and genres has "Horror"')
