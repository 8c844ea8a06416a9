"""Places in the last list, found as titles are."""

import itertools

import pytest

from genrec.types import Item
from genrec.understanding.linking import Linker, Mention
from genrec.understanding.references import Referring

ITEMS = [Item(item_id=f"i{n}", title=title) for n, title in enumerate(("Alien", "First Blood", "Jaws", "Heat"))]


def spoken(text: str, these: tuple[str, ...] = ("i0", "i2", "i3")) -> list[str]:
    found: list[Mention] = Referring(Linker(ITEMS), these).link(text)
    assert all(0 <= one.start < one.end <= len(text) for one in found)
    assert all(before.end <= after.start for before, after in itertools.pairwise(found))
    return [one.item_ids[0] for one in found]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("the first one", ["i0"]),
        ("I have seen the second", ["i2"]),
        ("who directed the 3rd film?", ["i3"]),
        ("the last one", ["i3"]),
        ("#2", ["i2"]),
        ("tell me about number 1", ["i0"]),
        ("2", ["i2"]),
        ("2.", ["i2"]),
        ("ok, 2", ["i2"]),
        ("compare the first two", ["i0", "i2"]),
        ("the last two", ["i2", "i3"]),
        ("compare 1 and 3", ["i0", "i3"]),
        ("is 2 or 3 shorter?", ["i2", "i3"]),
        ("compare the first and the third", ["i0", "i3"]),
        ("the fourth one", []),
        ("the first time I saw it", []),
        ("films of the second world war", []),
        ("First Blood was great", ["i1"]),
        ("like Jaws, not the first one", ["i2", "i0"]),
        ("2 hours", []),
        ("something about crisp, last", []),
        ("about often, third", []),
        ("yes, second", ["i2"]),
        ("Third.", ["i3"]),
        ("", []),
    ],
)
def test_places(text: str, ids: list[str]) -> None:
    assert spoken(text) == ids


def test_without_a_list_nothing_is_meant() -> None:
    assert spoken("the first one", ()) == []
