"""`gather` and `state` on small cases: what is evidence, in which order, and how it is put in words."""

from dataclasses import replace

import numpy as np
import pytest

from genrec.reasons.evidence import CatalogueCounts, PastItem, gather_evidence
from genrec.reasons.facts import facts_of, shown_title, template_sentence
from genrec.types import Item

SHOWN = Item(
    item_id="s",
    title="Deep Space Station",
    text="A crew far from home.",
    attributes={"genres": ("Drama", "Sci-Fi", "War"), "country": "UK", "language": "English", "year": 1990, "hit": True},
)
A = Item(item_id="a", title="Alpha", attributes={"genres": ("Sci-Fi", "War"), "country": "UK", "language": "English"})
B = Item(item_id="b", title="Beta", attributes={"genres": ("Sci-Fi",), "country": "USA", "language": "English", "year": 1990})
C = Item(item_id="c", title="Gamma", attributes={"genres": ("Comedy",), "hit": True, "studio": "UK"})
ITEMS = {item.item_id: item for item in (SHOWN, A, B, C)}
CATALOGUE = CatalogueCounts(
    values={
        ("genres", "Drama"): 50,
        ("genres", "Sci-Fi"): 20,
        ("genres", "War"): 5,
        ("country", "UK"): 10,
        ("language", "English"): 100,
        ("genres", "Comedy"): 40,
    },
    items=100,
    people={"s": 7, "a": 3},
)


def found(
    past: list[PastItem], shares: list[float], *, cited: int = 2, item: Item = SHOWN, query: str = "", stated: str = ""
) -> list:
    interests = [stated] if stated else []
    return list(gather_evidence(item, past, np.array(shares), catalogue=CATALOGUE, cited=cited, query=query, interests=interests))


def cited_ids(past: list[PastItem], shares: list[float], cited: int = 5) -> list[str]:
    return [e.item_ids[0] for e in found(past, shares, cited=cited) if e.kind == "history"]


def test_history_is_cited_by_share_with_its_weight() -> None:
    evidence = found([PastItem(item=A, liked=True), PastItem(item=B), PastItem(item=C)], [0.1, 0.5, 0.3])
    history = [e for e in evidence if e.kind == "history"]
    assert [(e.item_ids, e.value) for e in history] == [(("b",), "chosen"), (("c",), "chosen")]
    assert [e.weight for e in history] == pytest.approx([0.5, 0.3])


def test_cited_limits_the_history_and_equal_shares_keep_their_order() -> None:
    past = [PastItem(item=C), PastItem(item=A), PastItem(item=B)]
    assert cited_ids(past, [0.2, 0.2, 0.2]) == ["c", "a", "b"]
    assert cited_ids(past, [0.2, 0.2, 0.2], cited=1) == ["c"]


def test_what_carries_nothing_is_not_cited() -> None:
    past = [PastItem(item=A), PastItem(item=B), PastItem(item=C)]
    assert cited_ids([PastItem(item=C)], [1e-9]) == []
    assert cited_ids(past, [0.0, -0.4, 0.01]) == ["c"]


def test_where_nothing_carries_the_latest_that_shares_the_rarest_value_is_cited_with_no_weight() -> None:
    past = [PastItem(item=A), PastItem(item=B), PastItem(item=C)]
    first, *rest = found(past, [0.0, -0.4, 1e-9])
    assert (first.kind, first.item_ids, first.weight) == ("history", ("a",), 0.0)
    assert [(e.value, e.item_ids) for e in rest] == [("War", ("a",)), ("UK", ("a",)), ("Sci-Fi", ("a",))]
    again = Item(item_id="a2", attributes=A.attributes)
    assert cited_ids([*past, PastItem(item=again), PastItem(item=again, liked=False)], [0.0] * 5) == ["a2"]
    assert cited_ids([PastItem(item=A, liked=False)], [0.0]) == []


def test_items_valued_below_the_mean_are_cited_only_where_nothing_else_carries() -> None:
    past = [PastItem(item=A, liked=False), PastItem(item=B, liked=None), PastItem(item=C, liked=True)]
    assert cited_ids(past, [0.9, 0.1, 0.05]) == ["b", "c"]
    assert cited_ids(past, [0.9, 0.0, -0.1]) == ["a"]
    (only,) = [e for e in found(past, [0.9, 0.0, 0.0]) if e.kind == "history"]
    assert only.value == "chosen"


def test_shared_values_most_shared_first_then_the_rarest() -> None:
    evidence = [e for e in found([PastItem(item=A), PastItem(item=B)], [0.5, 0.4]) if e.kind == "attribute"]
    assert [(e.attribute, e.value, e.item_ids) for e in evidence] == [
        ("genres", "Sci-Fi", ("a", "b")),
        ("genres", "War", ("a",)),
        ("country", "UK", ("a",)),
    ]
    assert [e.weight for e in evidence] == pytest.approx([0.8, 0.95, 0.9])


@pytest.mark.parametrize(("having", "is_evidence"), [(50, True), (51, False)])
def test_what_most_items_have_says_nothing(having: int, is_evidence: bool) -> None:
    catalogue = CatalogueCounts(values={("genres", "Comedy"): having}, items=100, people={})
    evidence = gather_evidence(C, [PastItem(item=C)], np.array([0.5]), catalogue=catalogue, cited=1)
    assert ("Comedy" in {e.value for e in evidence}) is is_evidence


def test_a_value_of_every_item_a_number_and_a_flag_are_no_evidence() -> None:
    values = {e.value for e in found([PastItem(item=A), PastItem(item=B), PastItem(item=C)], [0.5, 0.4, 0.3], cited=5)}
    assert "English" not in values
    assert not {"1990", "True", "true"} & values


def test_a_value_is_shared_only_within_one_attribute_and_with_cited_items() -> None:
    assert [e.value for e in found([PastItem(item=C)], [0.5]) if e.kind == "attribute"] == []  # its studio is UK, not its country
    evidence = found([PastItem(item=A), PastItem(item=B)], [0.1, 0.5], cited=1)
    assert [(e.value, e.item_ids) for e in evidence if e.kind == "attribute"] == [("Sci-Fi", ("b",))]


def test_words_of_the_query_that_the_item_has() -> None:
    evidence = found([], [], query="Show me a movie about stations in deep space, war and comedy; SPACE")
    assert [(e.kind, e.value) for e in evidence] == [
        ("query", "stations"),
        ("query", "deep"),
        ("query", "space"),
        ("query", "war"),
    ]


def test_stated_interests_that_the_item_has() -> None:
    assert [(e.kind, e.value) for e in found([], [], stated="sci-fi, cooking")] == [("interest", "sci-fi")]


def test_popularity_only_where_nothing_personal_is() -> None:
    assert [(e.kind, e.value) for e in found([], [])] == [("popularity", "7")]
    assert [e.kind for e in found([PastItem(item=C)], [0.5])] == ["history"]
    assert [e.kind for e in found([], [], query="space")] == ["query"]
    assert found([], [], item=C) == []


def test_liked_only_when_every_cited_item_was() -> None:
    def liked(*past: PastItem) -> bool:
        return facts_of(found(list(past), [0.5] * len(past)), ITEMS).liked

    assert liked(PastItem(item=A, liked=True), PastItem(item=B, liked=True))
    assert not liked(PastItem(item=A, liked=True), PastItem(item=B, liked=None))
    assert not liked(PastItem(item=A, liked=False))
    assert not facts_of((), ITEMS).liked


def test_values_that_all_cited_items_share_are_said() -> None:
    facts = facts_of(found([PastItem(item=A), PastItem(item=B)], [0.5, 0.4]), ITEMS)
    assert (facts.past, facts.shared) == (("Alpha", "Beta"), (("genre", ("Sci-Fi",)),))
    assert template_sentence(facts) == 'You chose "Alpha" and "Beta", and it has the same genre Sci-Fi.'


def test_a_weak_item_is_not_cited_beside_a_strong_one() -> None:
    assert cited_ids([PastItem(item=A), PastItem(item=B)], [0.4, 0.1]) == ["a", "b"]
    assert cited_ids([PastItem(item=A), PastItem(item=B)], [0.4, 0.09]) == ["a"]


def test_where_nothing_is_shared_by_all_the_item_that_shares_something_is_cited() -> None:
    facts = facts_of(found([PastItem(item=C), PastItem(item=A)], [0.5, 0.4]), ITEMS)
    assert facts.past == ("Alpha",)
    assert facts.shared == (("genres", ("War", "Sci-Fi")), ("country", ("UK",)))
    assert len(facts.evidence) > len(facts.past)  # the evidence stays whole


def test_two_items_of_one_title_are_cited_once() -> None:
    twin = Item(item_id="t", title="Alpha")
    facts = facts_of(found([PastItem(item=A), PastItem(item=twin)], [0.5, 0.4]), {**ITEMS, "t": twin})
    assert facts.past == ("Alpha",)


def test_titles_are_quoted_on_one_line_without_quotes_of_their_own() -> None:
    assert shown_title(Item(item_id="i", title='The "Big"\nOne')) == "The 'Big' One"
    assert shown_title(Item(item_id='i"1', title="")) == "i'1"
    assert len(shown_title(Item(item_id="i", title="x" * 500))) == 80
    assert shown_title(Item(item_id="\u200b", title="\u202e")) == "untitled"


TAGGED = Item(item_id="t", title="Tin Stars", attributes={"tags": ("sci-fi", "UK"), "language": "English"}, generated=("tags",))


def shared_of(item: Item, *past: Item) -> list[tuple[str, str, tuple[str, ...]]]:
    evidence = found([PastItem(item=one) for one in past], [0.5] * len(past), item=item, cited=len(past))
    return [(e.attribute, e.value, e.item_ids) for e in evidence if e.kind == "attribute"]


def test_a_tag_of_a_model_is_a_value_of_the_attribute_that_has_it() -> None:
    assert shared_of(TAGGED, B) == [("genres", "Sci-Fi", ("b",))]
    assert shared_of(B, TAGGED) == [("genres", "Sci-Fi", ("t",))]
    evidence = found([PastItem(item=B)], [0.5], item=TAGGED)
    assert facts_of(evidence, ITEMS, item=TAGGED).generated == ("t",)
    assert facts_of(found([PastItem(item=TAGGED)], [0.5], item=B), {**ITEMS, "t": TAGGED}, item=B).generated == ("t",)


def test_a_tag_says_nothing_of_an_attribute_that_the_item_tells_or_that_people_gave_as_a_tag() -> None:
    told = replace(TAGGED, attributes={"tags": ("Sci-Fi",), "genres": ("Drama",)})
    assert shared_of(told, B) == []
    assert shared_of(replace(TAGGED, generated=()), B) == []


def test_a_tag_of_two_meanings_is_no_evidence() -> None:
    twice = replace(CATALOGUE, values={**CATALOGUE.values, ("studio", "UK"): 3})
    evidence = gather_evidence(TAGGED, [PastItem(item=A), PastItem(item=C)], np.array([0.5, 0.5]), catalogue=twice, cited=2)
    assert "UK" not in {e.value for e in evidence if e.kind == "attribute"}
    assert ("country", "UK", ("a",)) in shared_of(TAGGED, A)
