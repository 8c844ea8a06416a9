"""Captions in the store, on every database: laid over their items, never written into them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import create_engine, insert, select

from genrec.errors import DataError
from genrec.store.records import CaptionCounts, Changes
from genrec.store.store import Store
from genrec.store.tables import items
from genrec.types import Item, StoredCaption
from tests.store.test_triples import upgraded_to

Open = Callable[[str], Store]

BARE = Item(item_id="m1", image="media/a.png", attributes={"colour": "red"})
OWN = Item(item_id="m2", title="Own", text="Own words.", attributes={"tags": ("own",)})
MODEL = StoredCaption(
    item_id="m1",
    title="Red Mug",
    text="A red mug.",
    tags=("mug", "red"),
    language="en",
    model="m@1",
    adapter="write-1",
    prompt="abc",
    evidence={"tags": [["mug", 0.97]], "near": ["Blue Mug"]},
    evidence_digest="d1",
    doubt=0.25,
    note="thin",
    made_at=5.0,
)


def person(item_id: str = "m1", **parts: Any) -> StoredCaption:
    return StoredCaption(item_id=item_id, source="human", **parts)


@pytest.fixture
def filled(store: Store) -> Store:
    store.put_items([BARE, OWN, Item(item_id="m3")])
    store.put_captions([MODEL, replace(MODEL, item_id="m2")])
    return store


def shown(store: Store, item_id: str, *, given: bool = False) -> tuple:
    item = store.item(item_id, given=given)
    return item.title, item.text, item.attributes.get("tags"), item.generated


def test_comes_back_as_it_was(filled: Store) -> None:
    assert filled.captions(["m1", "nobody", "m1"]) == [MODEL]
    everything = MODEL, person(title="T", text="", tags=(), made_at=7.0, imported=True)
    assert filled.put_captions([everything[1]]) == Changes(added=1)
    assert filled.captions(["m1"]) == list(everything)


def test_fills_what_the_item_lacks_and_says_so(filled: Store) -> None:
    assert shown(filled, "m1") == ("Red Mug", "A red mug.", ("mug", "red"), ("title", "text", "tags"))
    assert filled.item("m1").attributes["colour"] == "red"
    assert shown(filled, "m2") == ("Own", "Own words.", ("own",), ())
    assert shown(filled, "m3") == ("", "", None, ())
    filled.put_items([Item(item_id="m1", title="Cup")])
    assert shown(filled, "m1") == ("Cup", "A red mug.", ("mug", "red"), ("text", "tags"))


def test_items_are_read_the_same_way_one_by_one_and_all_at_once(filled: Store) -> None:
    filled.put_captions([person("m3", title="Three")])
    for given in (False, True):
        for batch in (1, 2, 1000):
            read = [item for batch in filled.all_items(batch, given=given) for item in batch]
            assert [item.item_id for item in read] == ["m1", "m2", "m3"]
            for item in read:
                tags = item.attributes.get("tags")
                assert shown(filled, item.item_id, given=given) == (item.title, item.text, tags, item.generated)


def test_given_leaves_out_what_models_wrote_and_keeps_what_people_wrote(filled: Store) -> None:
    filled.put_captions([person("m1", title="Mine")])
    assert shown(filled, "m1", given=True) == ("Mine", "", None, ())
    assert shown(filled, "m1") == ("Mine", "A red mug.", ("mug", "red"), ("text", "tags"))


def test_a_person_wins_over_the_model_and_over_the_table_for_ever(filled: Store) -> None:
    filled.put_captions([person("m2", title="Better", text="", tags=("x",)), person("m1", tags=())])
    for _ in range(2):
        assert shown(filled, "m2") == ("Better", "", ("x",), ())
        assert shown(filled, "m1") == ("Red Mug", "A red mug.", None, ("title", "text"))
        filled.put_items([OWN, BARE])  # ingested again
        filled.put_captions([replace(MODEL, item_id="m2", title="Later"), replace(MODEL, tags=("late",))])
    assert filled.delete_captions(["m2", "m1"], human=True) == 2
    assert shown(filled, "m2") == ("Own", "Own words.", ("own",), ())
    assert shown(filled, "m1")[2] == ("late",)


def test_the_row_of_the_item_is_never_touched(filled: Store, url: str) -> None:
    filled.put_captions([person("m1", title="Mine")])
    engine = create_engine(url)
    with engine.connect() as conn:
        row = conn.execute(select(items).where(items.c.item_id == "m1")).mappings().one()
        assert (row["title"], row["text"], row["attributes"]) == ("", "", {"colour": "red"})
    engine.dispose()


def test_generated_text_that_is_written_back_does_not_become_the_items_own(filled: Store) -> None:
    read = filled.item("m1")
    assert filled.put_items([read]) == Changes(unchanged=1)
    assert shown(filled, "m1", given=True) == ("", "", None, ())
    filled.delete_captions(["m1"], human=False)
    assert shown(filled, "m1") == ("", "", None, ())


def test_tags_are_known_to_filters(filled: Store) -> None:
    assert filled.schema() == {"colour": ("text", False), "tags": ("text", True)}


def test_written_again_only_a_change_counts(filled: Store) -> None:
    assert filled.put_captions([replace(MODEL, made_at=99.0)]) == Changes(unchanged=1)
    assert filled.captions(["m1"])[0].made_at == 5.0
    changes: list[dict[str, Any]] = [
        {"title": None},
        {"text": "New."},
        {"tags": None},
        {"tags": ()},
        {"language": "de"},
        {"source": "template"},
        {"model": "m@2"},
        {"adapter": ""},
        {"prompt": "x"},
        {"evidence": {}},
        {"evidence_digest": "x"},
        {"doubt": 1.0},
        {"note": ""},
        {"imported": True},
    ]
    for change in changes:
        changed = replace(MODEL, **change)
        assert filled.put_captions([changed]) == Changes(updated=1), change
        assert filled.captions(["m1"]) == [changed]
        filled.put_captions([MODEL])


def test_all_of_them_in_any_batch_size(filled: Store) -> None:
    filled.put_captions([person("m1", title="Mine"), person("m3", title="Three")])
    wanted = [("m1", "llm"), ("m1", "human"), ("m2", "llm"), ("m3", "human")]
    for batch in (1, 2, 3, 1000):
        assert [(one.item_id, one.source) for found in filled.all_captions(batch) for one in found] == wanted


def test_counts_who_lacks_what(filled: Store) -> None:
    assert filled.caption_counts() == CaptionCounts(no_title=2, no_text=2, captioned=2, human=0)
    filled.put_captions([person("m1", title="Mine"), person("m2", text="")])
    assert filled.caption_counts() == CaptionCounts(no_title=1, no_text=3, captioned=2, human=2)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"item_id": ""}, "item_id"),
        ({"title": "a\x00b"}, "title"),
        ({"text": "\ud800"}, "text"),
        ({"tags": ("ok", 3)}, "a tag"),
        ({"source": "rumour"}, "source"),
        ({"doubt": 1.5}, "doubt"),
        ({"doubt": float("nan")}, "doubt"),
        ({"made_at": float("inf")}, "made_at"),
        ({"evidence": {"x": float("nan")}}, "evidence"),
        ({"model": None}, "model"),
    ],
)
def test_what_cannot_be_stored_is_refused_as_a_whole(filled: Store, change: dict[str, Any], named: str) -> None:
    with pytest.raises(DataError, match=named):
        filled.put_captions([replace(MODEL, title="Other"), replace(MODEL, **change)])
    assert filled.captions(["m1"]) == [MODEL]


def test_a_store_from_before_captions_keeps_its_data(url: str, opened: Open) -> None:
    upgraded_to(url, "0002")
    engine = create_engine(url)
    with engine.begin() as conn:
        row = {"item_id": "m1", "platform": "", "title": "Old", "text": "", "attributes": {}, "digest": ""}
        conn.execute(insert(items), row)
    engine.dispose()
    store = opened(url)
    assert store.captions(["m1"]) == []
    store.put_captions([replace(MODEL, title=None)])
    assert shown(store, "m1") == ("Old", "A red mug.", ("mug", "red"), ("text", "tags"))


def test_forget_takes_nothing_from_captions(filled: Store) -> None:
    filled.forget("m1")
    assert filled.captions(["m1"]) == [MODEL]
