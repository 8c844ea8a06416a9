"""Items as numbers: what is centred, what is linked, what a fitted space makes of later items."""

import json
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from genrec.errors import ConfigError, DataError
from genrec.retrieval.item_features import FORWARD, INVERSE, ITSELF, FeatureSpace, ItemFeatures
from genrec.retrieval.item_vectors import ModalityVectors, unit_rows
from genrec.retrieval.systems import Content
from genrec.types import AttributeValue, Item
from tests.training import world

WARM = np.ones(world.ITEMS, bool)


def shelf(*attributes: Mapping[str, AttributeValue], triples: tuple[tuple[str, str, str], ...] = ()) -> Content:
    items = [Item(item_id=f"i{n}", attributes=given) for n, given in enumerate(attributes)]
    return Content(items=items, vectors=ModalityVectors(tuple(item.item_id for item in items), {}, {}), triples=triples)


def fitted(content: Content) -> FeatureSpace:
    return FeatureSpace.fit(content, np.ones(len(content.items), bool))


def links(space: FeatureSpace, content: Content) -> list[set[tuple[str, str]]]:
    made = space.encode(content)
    return [
        {(space.relations[r], space.entities[e]) for r, e in zip(made.relations[a:b], made.entities[a:b], strict=True)}
        for a, b in zip(made.offsets[:-1], made.offsets[1:], strict=True)
    ]


def same(one: ItemFeatures, other: ItemFeatures) -> bool:
    rows = all(np.array_equal(one.dense[name], other.dense[name]) for name in one.dense)
    return rows and all(
        np.array_equal(getattr(one, n), getattr(other, n)) for n in ("numbers", "offsets", "entities", "relations")
    )


def test_vectors_are_centred_and_what_is_missing_is_zero_whatever_lies_there() -> None:
    content = world.content()
    space = FeatureSpace.fit(content, WARM)
    made = space.encode(content)
    there = content.vectors.present["image"]
    matrix = content.vectors.matrices["image"]
    assert made.dense["image"][there] == pytest.approx(unit_rows(matrix[there] - matrix[there].mean(0)), abs=1e-6)
    assert not made.dense["image"][~there].any()
    assert np.array_equal(made.present["image"], there)

    rows = {**content.vectors.matrices, "image": np.where(there[:, None], matrix, 7.0).astype(np.float32)}
    # a real set refuses it
    dirty: Any = replace(content, vectors=SimpleNamespace(matrices=rows, present=content.vectors.present, aligned=rows.get))
    assert same(space.encode(dirty), made)


def test_modalities_and_widths() -> None:
    content = world.content()
    assert set(FeatureSpace.fit(content, WARM).means) == {"text", "image"}
    assert set(FeatureSpace.fit(content, WARM, ["text"]).means) == {"text"}
    with pytest.raises(ConfigError, match="sound") as error:
        FeatureSpace.fit(content, WARM, ["sound"])
    assert "text" in error.value.hint
    wide = ModalityVectors(content.vectors.item_ids, {"text": np.eye(world.ITEMS, dtype=np.float32)}, {"text": WARM})
    space = FeatureSpace.fit(content, WARM)
    with pytest.raises(DataError, match="30 columns, the retriever was trained on 8") as refused:
        space.encode(replace(content, vectors=wide))
    assert "genrec train" in refused.value.hint
    bare = space.encode(replace(content, vectors=ModalityVectors(content.vectors.item_ids, {}, {})))
    assert not bare.present["text"].any()
    assert bare.dense["text"].shape == (world.ITEMS, 8)


def test_an_attribute_counts_where_two_items_share_its_value() -> None:
    content = shelf(
        {"genres": ("war", "love"), "maker": "x"}, {"genres": ("war",), "maker": "y"}, {"genres": ("love",)}, {"lone": "z"}
    )
    space = fitted(content)
    assert links(space, content) == [{("genres", "war"), ("genres", "love")}, {("genres", "war")}, {("genres", "love")}, set()]
    assert space.n_attributes == len(space.relations) == 1
    twice = shelf({"maker": "x", "seller": "x"}, {"maker": "y"})  # one item that names it twice shares it with nobody
    assert fitted(twice).entities == ()
    across = shelf({"maker": "x"}, {"seller": "x"})
    assert links(fitted(across), across) == [{("maker", "x")}, {("seller", "x")}]


def test_a_yes_to_one_question_is_no_yes_to_another() -> None:
    content = shelf({"new": True, "sold": False}, {"new": True, "sold": True}, {"new": False, "sold": True})
    assert len(fitted(content).entities) == 2
    first, second, third = links(fitted(content), content)
    assert first == {("new", "new#True")}
    assert second == {("new", "new#True"), ("sold", "sold#True")}
    assert third == {("sold", "sold#True")}


def test_numbers_become_deciles_also_those_beyond() -> None:
    content = shelf(*({"year": 1950 + n} for n in range(40)))
    space = fitted(content)
    found = links(space, content)
    assert len({next(iter(one)) for one in found}) == 10
    assert found[0] == found[3] != found[4]
    later = shelf({"year": 1800}, {"year": 3000.5}, {"year": "1990"}, {"other": 5})
    assert links(space, later) == [found[0], found[-1], set(), set()]


def test_triples_are_read_from_both_ends() -> None:
    triples = (("i0", "made by", "A"), ("A", "made", "i1"), ("i0", "made by", "lone"), ("x", "y", "z"), ("i2", "genre", "war"))
    content = shelf({}, {}, {}, {"genre": "war"}, triples=triples)
    space = fitted(content)
    found = links(space, content)
    assert found[0] == {("made by" + FORWARD, "A")}
    assert found[1] == {("made" + INVERSE, "A")}
    assert found[2] == {("genre" + FORWARD, "war")}
    assert found[3] == {("genre", "war")}
    assert space.relations[: space.n_attributes] == ("genre",)  # a triple of that name is no attribute
    blind = FeatureSpace.fit(replace(content, triples=()), np.ones(4, bool))
    assert same(blind.encode(content), blind.encode(replace(content, triples=())))


def test_an_item_that_another_names_meets_it() -> None:
    content = shelf({}, {}, {}, triples=(("i0", "sequel of", "i1"),))
    found = links(fitted(content), content)
    assert found[0] == {("sequel of" + FORWARD, "i1"), (ITSELF, "i0")}
    assert found[1] == {("sequel of" + INVERSE, "i0"), (ITSELF, "i1")}
    assert found[2] == set()


def test_only_warm_items_have_numbers_and_new_ones_never() -> None:
    content = world.content()
    space = FeatureSpace.fit(content, np.arange(world.ITEMS) % 2 == 0)
    assert space.encode(content).numbers.tolist() == [n // 2 if n % 2 == 0 else -1 for n in range(world.ITEMS)]
    fresh = Item(item_id="fresh", attributes={"genres": ("kind 1", "never seen"), "year": 1992})
    vectors = ModalityVectors(("fresh",), {"text": content.vectors.matrices["text"][:1]}, {"text": np.ones(1, bool)})
    made = space.encode(Content(items=[fresh], vectors=vectors))
    assert made.numbers.tolist() == [-1]
    assert made.present["text"].tolist() == [True]
    assert links(space, Content(items=[fresh], vectors=vectors))[0] >= {("genres", "kind 1")}
    assert len(made.entities) == 2


def test_saved_and_read_it_makes_the_same_numbers() -> None:
    content = world.content(triples=True)
    space = FeatureSpace.fit(content, WARM)
    again = FeatureSpace.from_json(json.loads(json.dumps(space.to_json())), space.means)
    assert same(space.encode(content), again.encode(content))
    assert (again.edges, again.relations, again.entities) == (space.edges, space.relations, space.entities)
