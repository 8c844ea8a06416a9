"""The question that is expected to say most is asked."""

import pytest

from genrec.chat.questions import question
from genrec.filters import Field
from genrec.types import Item
from genrec.understanding.vocabulary import Vocabulary

SCHEMA = {
    "genre": Field("text"),
    "tags": Field("text", is_list=True),
    "year": Field("number"),
    "code": Field("text"),
    "size": Field("number"),
}


def catalogue(rows: list[dict]) -> tuple[list[Item], Vocabulary]:
    items = [Item(item_id=str(n), attributes=row) for n, row in enumerate(rows)]
    return items, Vocabulary.of(items, SCHEMA)


def test_the_attribute_that_splits_best_wins() -> None:
    items, vocabulary = catalogue(
        [
            {"genre": "abc"[n % 3], "year": 1990 if n < 11 else 2000, "tags": ("all",), "code": f"x{n}", "size": n}
            for n in range(12)
        ]
    )
    asked = question(items, vocabulary, ())
    assert asked is not None
    assert asked.attribute == "genre"
    assert asked.bits == pytest.approx(1.58, abs=0.05)  # three equal parts
    assert all(value in asked.text for value in "abc")


def test_what_is_settled_is_not_asked() -> None:
    items, vocabulary = catalogue([{"genre": "abc"[n % 3], "year": 1980 + n} for n in range(12)])
    assert (first := question(items, vocabulary, ())) is not None
    assert first.attribute == "genre"
    second = question(items, vocabulary, {"genre"})
    assert second is not None
    assert second.attribute == "year"
    assert "before 198" in second.text
    assert question(items, vocabulary, {"genre", "year"}) is None


def test_ids_are_not_asked_for() -> None:
    items, vocabulary = catalogue([{"code": f"x{n // 2}"} if n < 2 else {"code": f"x{n}"} for n in range(12)])
    assert question(items, vocabulary, ()) is None


def test_what_few_have_is_not_asked_for() -> None:
    items, vocabulary = catalogue([{"genre": "ab"[n % 2]} if n < 3 else {} for n in range(12)])
    assert question(items, vocabulary, ()) is None


def test_lists_are_split_by_values_that_overlap_little() -> None:
    items, vocabulary = catalogue([{"tags": ("common", "xyz"[n % 3])} for n in range(12)])
    asked = question(items, vocabulary, ())
    assert asked is not None
    assert "common" not in asked.text
    assert asked.bits > 1.5


def test_likelier_candidates_count_more() -> None:
    items, vocabulary = catalogue([{"genre": "a" if n < 6 else "b"} for n in range(12)])
    even = question(items, vocabulary, (), [1.0] * 12)
    skewed = question(items, vocabulary, (), [1.0] * 6 + [0.2] * 6)
    assert even is not None
    assert skewed is not None
    assert even.bits == pytest.approx(1.0)
    assert skewed.bits < even.bits


@pytest.mark.parametrize("count", [0, 1])
def test_one_candidate_needs_no_question(count: int) -> None:
    items, vocabulary = catalogue([{"genre": "a"}] * count)
    assert question(items, vocabulary, ()) is None
