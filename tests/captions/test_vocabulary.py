"""What a catalogue's own words are, and the general vocabulary."""

import json
from pathlib import Path

import pytest

from genrec.captions import tag_terms as vocabulary
from genrec.captions.tag_terms import GENERAL_FILE, TermGroup, catalogue_vocabulary, phrases_of, values_of
from genrec.errors import PromptError
from genrec.types import Item


def items(count: int, **fields: object) -> list[Item]:
    return [Item(item_id=f"{fields}{n}", **fields) for n in range(count)]  # pyright: ignore[reportArgumentType]


def texts(found: vocabulary.Vocabulary, kind: str) -> list[str]:
    return [term.text for term in found.terms if term.kind == kind]


def test_values_of_five_items_are_terms_most_frequent_first() -> None:
    shop = (
        items(5, attributes={"colour": "Red"}) + items(3, attributes={"colour": "blue"}) + items(3, attributes={"colour": "Blue"})
    )
    shop += items(4, attributes={"colour": "rare"})
    found = catalogue_vocabulary(shop, {})
    assert texts(found, "attribute") == ["blue", "Red"]
    assert {term.group for term in found.terms} == {"colour"}


def test_lists_count_value_by_value() -> None:
    found = catalogue_vocabulary(items(5, attributes={"genres": ("noir", "farce", "noir")}), {})
    assert sorted(texts(found, "attribute")) == ["farce", "noir"]


@pytest.mark.parametrize("value", [True, 3, 2.5, "12", "n/a", "unknown", "https://shop.example/x", "", "x" * 61])
def test_what_is_no_word_is_no_value(value: str | float) -> None:
    assert values_of(value) == ()


def test_phrases_belong_together() -> None:
    """`kong` hardly ever stands alone: it is part of a phrase."""
    shop = [
        Item(item_id=str(n), title="Hong Kong nights" if n < 8 else f"The {chr(97 + n % 26) * 4} of nights") for n in range(30)
    ]
    shop += [Item(item_id=f"b{n}", title=f"{chr(97 + n % 26) * 5} in Hong Kong") for n in range(26)]
    found = texts(catalogue_vocabulary(shop, {}), "phrase")
    assert "hong kong" not in found  # more than 30% of the titles
    shop += [Item(item_id=f"c{n}", title=f"{chr(97 + n % 26) * 6} {chr(98 + n % 25) * 7}") for n in range(80)]
    found = texts(catalogue_vocabulary(shop, {}), "phrase")
    assert "hong kong" in found
    assert not {"hong", "kong", "the", "in", "of nights"} & set(found)


def test_words_that_stand_together_by_chance_are_no_phrase() -> None:
    words = ("lime", "plum", "pear", "fig", "date", "kiwi")
    shop = [Item(item_id=f"{a}{b}{n}", text=f"{a} {b}") for a in words for b in words for n in range(6)]
    found = texts(catalogue_vocabulary(shop, {}), "phrase")
    assert not [phrase for phrase in found if " " in phrase]


def test_too_frequent_words_are_no_phrase() -> None:
    shop = [
        Item(item_id=str(n), text=f"genuine {'walnut' if n % 5 == 0 else 'cherry' if n % 5 == 1 else chr(97 + n % 26) * 4}")
        for n in range(50)
    ]
    assert {"walnut", "cherry"} <= set(texts(catalogue_vocabulary(shop, {}), "phrase"))
    assert "genuine" not in texts(catalogue_vocabulary(shop, {}), "phrase")


def test_a_phrase_of_values_alone_is_none() -> None:
    shop = [
        Item(
            item_id=str(n),
            title="Red mug, handmade" if n < 8 else chr(97 + n % 26) * 4,
            attributes={"colour": "red", "kind": "mug"},
        )
        for n in range(40)
    ]
    found = catalogue_vocabulary(shop, {})
    assert "handmade" in texts(found, "phrase")
    assert not {"red", "mug", "red mug"} & set(texts(found, "phrase"))


def test_phrases_do_not_cross_punctuation_or_begin_with_stop_words() -> None:
    assert phrases_of("The cup of tea. Hot") == {"cup", "cup of tea", "tea", "hot"}


def test_general_terms_that_the_catalogue_has_are_left_to_it() -> None:
    groups = {"colours": TermGroup(templates=("{} thing",), names=("colour",), terms=("red", "mauve"))}
    found = catalogue_vocabulary(items(5, attributes={"colour": "Red"}), groups)
    assert [(term.kind, term.text, term.prompts) for term in found.terms] == [
        ("attribute", "Red", ("Red thing",)),  # asked as the group that bears its attribute's name
        ("general", "mauve", ("mauve thing",)),
    ]


def test_groups_stand_side_by_side() -> None:
    shop = items(5, attributes={"a": "one", "b": "two"}) + items(5, attributes={"b": "three"}, title="walnut")
    found = catalogue_vocabulary(shop, vocabulary.general_vocabulary())
    covered = [place for terms in found.groups().values() for place in terms]
    assert covered == list(range(len(found.terms)))
    for (kind, group), terms in found.groups().items():
        assert {(found.terms[place].kind, found.terms[place].group) for place in terms} == {(kind, group)}


def test_the_shipped_vocabulary() -> None:
    groups = vocabulary.general_vocabulary()
    assert {"objects", "colours", "materials", "patterns", "styles", "scenes"} <= set(groups)
    assert sum(len(group.terms) for group in groups.values()) >= 400
    assert all(len(set(group.terms)) == len(group.terms) for group in groups.values())


def test_a_workspace_has_its_own(tmp_path: Path) -> None:
    (tmp_path / "vocabulary").mkdir()
    own = {"groups": {"tools": {"templates": ["a {}"], "names": [], "terms": ["saw"]}}}
    (tmp_path / GENERAL_FILE).write_text(json.dumps(own), encoding="utf-8")
    assert list(vocabulary.general_vocabulary(tmp_path)) == ["tools"]
    assert "objects" in vocabulary.general_vocabulary(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "JSONDecodeError"),
        ("[]", "TypeError"),
        ('{"groups": {"a": {"templates": ["no place"], "terms": ["b"]}}}', "each template needs one {}"),
        ('{"groups": {"a": {"templates": ["{}"], "terms": "b"}}}', "'a': terms is not a list"),
        ('{"groups": {"a": {"templates": ["{}"], "terms": ["b"], "wrods": []}}}', r"unknown keys \['wrods'\]"),
    ],
)
def test_a_damaged_vocabulary_is_named(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "vocabulary").mkdir()
    (tmp_path / GENERAL_FILE).write_text(text, encoding="utf-8")
    with pytest.raises(PromptError, match=fault) as caught:
        vocabulary.general_vocabulary(tmp_path)
    assert str(tmp_path / GENERAL_FILE) in str(caught.value)
    assert caught.value.hint
