"""What is known of items without words: from their row, from pictures, from people; never from what a model wrote."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from genrec.captions.caption_evidence import EvidenceCollector, background_cosine
from genrec.captions.caption_prompt import TITLES
from genrec.captions.informative_attributes import (
    attributes_named_in_titles,
    code_attributes,
    put_first,
    with_units,
    without_volatile,
)
from genrec.errors import PromptError
from genrec.retrieval.item_vectors import ModalityVectors, unit_rows
from genrec.settings import SETTINGS_FILE
from genrec.types import Item, StoredCaption
from genrec.workspace.folder import Workspace
from tests.captions.world import BEHAVIOUR, NO_TEXT, NO_TITLE, Shop
from tests.shop import SETTINGS


def with_pictures(shop: Shop, twins: dict[str, str]) -> None:
    """Random picture vectors for all items; those of `twins` nearly that of another item."""
    folder = shop.workspace.vectors
    vectors = ModalityVectors.load(folder)
    rows = np.random.default_rng(0).normal(size=(len(vectors.item_ids), 32))
    for one, other in twins.items():
        rows[vectors.index_of(one)] = rows[vectors.index_of(other)] + 0.01 * rows[vectors.index_of(one)]
    matrices, present = dict(vectors.matrices), dict(vectors.present)
    matrices["image"], present["image"] = unit_rows(rows), np.ones(len(rows), bool)
    ModalityVectors(vectors.item_ids, matrices, present, dict(vectors.models) | {"image": "m@1"}).save(folder)


def test_own_attributes_and_titles_of_people_are_stated(opened: Shop) -> None:
    known = {
        one.item.item_id: one for one in EvidenceCollector(opened.workspace).collect([*NO_TITLE, *NO_TEXT, *BEHAVIOUR, "love-0"])
    }
    facts = known[NO_TITLE[0]].facts
    assert dict(facts.attributes)["genres"] == ("Crime", "Thriller")
    assert (facts.title, known[NO_TEXT[0]].facts.title) == ("", "The Battle Begins")
    assert known[BEHAVIOUR[0]].facts.together
    assert known[BEHAVIOUR[0]].digest != known[BEHAVIOUR[1]].digest


def test_phrases_of_its_own_text_are_evidence_for_a_title_and_no_tags(opened: Shop) -> None:
    (known,) = EvidenceCollector(opened.workspace).collect(NO_TITLE)
    own = [tag.text for tag in known.tags if tag.sources == ("text",)]
    assert own
    assert all(phrase in known.item.text.lower() for phrase in own)
    assert set(own) <= set(known.facts.tags)
    assert not set(own) & set(known.tag_texts)


def test_close_pictures_lend_their_own_titles_only(opened: Shop) -> None:
    with_pictures(opened, {BEHAVIOUR[0]: "love-0", BEHAVIOUR[1]: "horror-0", "kids-0": "love-0"})
    opened.workspace.store.put_items([Item(item_id="horror-0")])
    opened.workspace.store.put_captions([StoredCaption(item_id="horror-0", title="Generated")])
    evidence = EvidenceCollector(opened.workspace)
    alone, twin, own = evidence.collect([*BEHAVIOUR, "kids-0"])
    titles = {item_id: opened.workspace.store.item(item_id).title for item_id in ("love-0", "kids-0")}
    assert set(titles.values()) <= set(alone.facts.near)
    assert len(alone.facts.near) <= TITLES
    assert "Generated" not in twin.facts.near
    assert titles["kids-0"] not in own.facts.near  # not its own
    for near in alone.record["near"]:
        assert near["cosine"] <= 1
    assert any("pictures are not compared with words" in note for note in evidence.notes)


def test_what_a_model_wrote_is_no_evidence(opened: Shop) -> None:
    before = [one.record for one in EvidenceCollector(opened.workspace).collect([*NO_TITLE, *BEHAVIOUR])]
    ids = opened.workspace.store.item_ids()
    opened.workspace.store.put_captions([StoredCaption(item_id=one, title="G", text="G.", tags=("g",)) for one in ids])
    assert [one.record for one in EvidenceCollector(opened.workspace).collect([*NO_TITLE, *BEHAVIOUR])] == before


def test_what_a_person_wrote_is_evidence(opened: Shop) -> None:
    opened.workspace.store.put_captions([StoredCaption(item_id=BEHAVIOUR[0], source="human", title="Mine", tags=("eerie",))])
    (known,) = EvidenceCollector(opened.workspace).collect(BEHAVIOUR[:1])
    assert (known.facts.title, known.facts.tags[:1]) == ("Mine", ("eerie",))


def test_an_item_that_came_in_after_the_build_has_its_row_alone(opened: Shop) -> None:
    opened.workspace.store.put_items([Item(item_id="new", attributes={"colour": "red", "waterproof": True})])
    (known,) = EvidenceCollector(opened.workspace).collect(["new"])
    assert (known.row, known.facts.near, known.facts.together, known.tags) == (-1, (), (), ())
    assert dict(known.facts.attributes) == {"colour": ("red",), "waterproof": ("yes",)}


def test_the_digest_follows_what_may_be_said_and_not_how_sure_it_is(opened: Shop) -> None:
    (known,) = EvidenceCollector(opened.workspace).collect(NO_TEXT[:1])
    for change in ({"facts": replace(known.facts, title="Other")}, {"item": replace(known.item, image="media/x.png")}):
        assert replace(known, **change).digest != known.digest
    surer = tuple(replace(tag, probability=1.0) for tag in known.tags)
    assert replace(known, tags=surer, record={}).digest == known.digest


def test_what_most_of_the_catalogue_has_is_not_stated(opened: Shop) -> None:
    store = opened.workspace.store
    store.put_items(
        [replace(item, attributes={**item.attributes, "made": "film", "seen": ("film", item.item_id)}) for item in given(opened)]
    )
    (known,) = EvidenceCollector(opened.workspace).collect(NO_TEXT[:1])
    facts = dict(known.facts.attributes)
    assert "made" not in facts
    assert facts["seen"] == (NO_TEXT[0],)
    assert facts["genres"] == ("War", "Drama")


def given(shop: Shop) -> list[Item]:
    return [item for batch in shop.workspace.store.all_items(given=True) for item in batch]


@pytest.mark.parametrize(
    ("values", "coded"),
    [
        ([f"tt{n:07}" for n in range(40)], True),
        ([f"https://example.org/{n}" for n in range(40)], True),
        ([f"Person {n}" for n in range(40)], False),
        (["A4", "A5"] * 20, False),
        (["red", "blue"] * 20, False),
        ([4006381333931 + n for n in range(40)], True),
        ([4006381333931] * 40, False),
        ([1_950 + n for n in range(40)], False),
    ],
)
def test_codes_are_told_from_words(values: list[str | int], coded: bool) -> None:
    items = [Item(item_id=str(n), attributes={"x": value, "year": 1990 + n}) for n, value in enumerate(values)]
    assert code_attributes(items) == ({"x"} if coded else set())


def test_what_titles_name_is_stated_first() -> None:
    items = [
        Item(item_id=str(n), title=title, attributes={"room": "hall", "colour": "red", "kind": kind, "year": 1990})
        for n, (title, kind) in enumerate(
            [("Red Floor Lamp", "floor lamp"), ("A table-lamp", "table lamp"), ("Redwood sofa", "sofa")] * 2
        )
    ]
    assert attributes_named_in_titles(items) == ["kind", "colour"]
    assert list(put_first({"room": "hall", "colour": "red", "year": 1990}, ["kind", "colour"])) == ["colour", "room", "year"]
    assert attributes_named_in_titles(items[:3]) == []  # too few titles to tell
    assert attributes_named_in_titles([replace(item, title="") for item in items]) == []


def test_a_unit_stands_with_its_number() -> None:
    told = {"weight_g": 727, "Runtime (min)": 95.5, "size": 3, "fits_g": "yes", "price": 3, "price_eur": 4, "g": 5, "is_v": True}
    assert with_units(told) == {
        "weight": "727 g",
        "Runtime": "95.5 min",
        **{name: value for name, value in told.items() if name not in ("weight_g", "Runtime (min)")},
    }


@pytest.mark.parametrize("name", ["price", "list_price", "unitPrice", "Rating (1-5)", "stock", "Preis EUR"])
def test_what_changes_while_the_item_stays_is_not_stated(name: str) -> None:
    assert without_volatile({name: 4.5, "pages": 300, "colour": "red"}) == {"pages": 300, "colour": "red"}
    assert without_volatile({name: "PG-13"}) == {name: "PG-13"}  # words are no price


def test_of_an_item_with_nothing_but_a_price_nothing_is_known(opened: Shop) -> None:
    store = opened.workspace.store
    store.put_items(
        [
            Item(item_id="new", attributes={"price": 8.91, "stock": 3}),
            Item(item_id="red", attributes={"price": 1.5, "colour": "red"}),
        ]
    )
    new, red = EvidenceCollector(opened.workspace).collect(["new", "red"])
    assert new.facts.empty
    store.put_items([Item(item_id="red", attributes={"price": 99.0, "colour": "red"})])
    (dearer,) = EvidenceCollector(opened.workspace).collect(["red"])
    assert dearer.digest == red.digest  # no caption is paid for again


def test_pictures_without_vectors_are_noted(opened: Shop, own_shop: Path) -> None:
    def notes() -> list[str]:
        with Workspace.open(own_shop) as workspace:
            return EvidenceCollector(workspace).notes

    assert notes() == []  # models.image is empty: nobody asked for pictures
    (own_shop / SETTINGS_FILE).write_text(SETTINGS.replace('image = ""', 'image = "some/model"'), encoding="utf-8")
    assert notes() == ["the pictures of 2 items tell nothing: the build has no vectors of them"]


def test_what_nobody_looks_at_costs_nothing(opened: Shop) -> None:
    (opened.workspace.folder / "prompts" / "vocabulary").mkdir(parents=True, exist_ok=True)
    (opened.workspace.folder / "prompts" / "vocabulary" / "general.json").write_text("not JSON", encoding="utf-8")
    evidence = EvidenceCollector(opened.workspace)
    assert evidence.collect([]) == []
    with pytest.raises(PromptError):  # the tagger is made for what is looked at
        evidence.collect(BEHAVIOUR)


def test_the_background_is_what_random_pairs_have() -> None:
    rows = unit_rows(np.random.default_rng(1).normal(size=(500, 64)))
    floor = background_cosine(rows)
    pairs = (rows @ rows.T)[~np.eye(500, dtype=bool)]
    assert (pairs < floor).mean() == pytest.approx(0.99, abs=0.005)
    assert background_cosine(rows[:1]) == 1.0
