"""What of a captioned item is embedded and searched."""

from dataclasses import replace

from genrec.types import Item, StoredCaption
from genrec.workspace.item_text import item_text, worded, worded_all


def tag(kind: str, group: str, text: str) -> dict[str, object]:
    return {"kind": kind, "group": group, "text": text, "probability": 0.95, "sources": ("image:terms",)}


TAGS = ("red", "lamp", "seaside")
EVIDENCE = {"tags": [tag("attribute", "colour", "red"), tag("attribute", "kind", "lamp"), tag("phrase", "phrases", "seaside")]}
CAPTION = StoredCaption(item_id="a", title="Red Lamp", tags=TAGS, evidence=EVIDENCE)
ITEM = Item(
    item_id="a",
    title="Red Lamp",
    text='A red lamp, close to "Blue, tall lamp" and "Mug". It is often chosen with "Vase".',
    attributes={"tags": TAGS},
    generated=("title", "text", "tags"),
)


def test_tags_stand_under_their_attributes() -> None:
    made = worded(ITEM, CAPTION)
    assert made.attributes == {"colour": ("red",), "kind": ("lamp",), "tags": ("seaside",)}
    assert item_text(made) == "Red Lamp\ncolour: red\nkind: lamp\ntags: seaside\nA red lamp."
    assert ITEM.attributes == {"tags": TAGS}


def test_what_cites_other_items_is_left_out_in_any_language() -> None:
    for text, left in [
        ("A red lamp by the sea", "A red lamp by the sea."),
        ('Close to "Mug".', ""),
        ('Eine rote Lampe; ähnlich wie "Krug, blau". Zwei Stück!', "Eine rote Lampe. Zwei Stück!"),
        ('Four clocks in red, and often chosen with "Clock"', "Four clocks in red."),
    ]:
        assert worded(replace(ITEM, text=text), CAPTION).text.replace("Lampe;", "Lampe.") == left


def test_what_people_said_stays() -> None:
    own = replace(ITEM, attributes={"colour": "blue", "tags": TAGS}, generated=("title", "tags"))
    made = worded(own, CAPTION)
    assert made.attributes == {"colour": "blue", "kind": ("lamp",), "tags": ("red", "seaside")}
    assert made.text == ITEM.text
    by_hand = replace(ITEM, attributes={"tags": ("red",)}, generated=("text",))
    assert worded(by_hand, CAPTION).attributes == {"tags": ("red",)}


def test_only_items_that_a_model_wrote_about_change() -> None:
    human = replace(CAPTION, source="human", evidence={})
    bare = Item(item_id="b", title="B")
    made = worded_all([bare, ITEM], [CAPTION, human])
    assert made[0] is bare
    assert made[1].attributes["colour"] == ("red",)
    assert worded_all([ITEM], [human])[0] is ITEM
    assert worded(ITEM, replace(CAPTION, evidence={})).attributes == {"tags": TAGS}
