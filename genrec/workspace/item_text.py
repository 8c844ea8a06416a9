"""What of an item is embedded and searched: title, attributes in words, description.

What a model wrote is worded as people's tables word it. Tags that are values of an attribute stand under its name
(`colour: red`), as they do for items that tell it themselves. Of generated texts, clauses that cite other items are left out:
their words are true of those items, and a search would take them for this one's.
"""

import re
from collections.abc import Iterable
from dataclasses import replace

from genrec.types import HUMAN, TAGS, AttributeValue, Item, StoredCaption, scalars

_CITED = re.compile('"[^"]*"')
_CLAUSE = re.compile(r"(?<=[,.;:!?])\s+")
_MARK = "\x00"
TEXT_CHARS = 2_000
"""Of a description; what comes after is not embedded."""


def item_text(item: Item) -> str:
    """What is encoded and searched of an item: title, attributes in words, description."""
    facts = [f"{name.replace('_', ' ')}: {words}" for name, value in item.attributes.items() if (words := _in_words(value))]
    return "\n".join(part for part in (item.title, *facts, item.text[:TEXT_CHARS]) if part)


def _in_words(value: AttributeValue) -> str:
    return ", ".join(str(part) for part in scalars(value) if not isinstance(part, bool))


def worded(item: Item, caption: StoredCaption) -> Item:
    """`item`, overlaid with what a model wrote in `caption`, as it is to be embedded. What people wrote stays."""
    changed = item
    if TAGS in item.generated:
        changed = replace(changed, attributes=_attributes(item, caption))
    if "text" in item.generated:
        changed = replace(changed, text=_without_citations(item.text))
    return changed


def worded_all(items: Iterable[Item], captions: Iterable[StoredCaption]) -> list[Item]:
    """The items in order, those that models wrote about as `worded` has them."""
    by_id = {caption.item_id: caption for caption in captions if caption.source != HUMAN}
    return [worded(item, by_id[item.item_id]) if item.generated and item.item_id in by_id else item for item in items]


def _attributes(item: Item, caption: StoredCaption) -> dict[str, AttributeValue]:
    """Tags under the attributes that they are values of, where the item lacks those; the others stay tags."""
    tags = [str(tag) for tag in scalars(item.attributes[TAGS])]
    groups: dict[str, tuple[str, ...]] = {}
    for tag in caption.evidence.get("tags", ()):
        name, text = tag["group"], tag["text"]
        if tag["kind"] == "attribute" and text in tags and name not in item.attributes:
            groups[name] = (*groups.get(name, ()), text)
    told = {text for texts in groups.values() for text in texts}
    own: dict[str, AttributeValue] = {name: value for name, value in item.attributes.items() if name != TAGS}
    left = tuple(tag for tag in tags if tag not in told)
    return own | {name: groups[name] for name in sorted(groups)} | ({TAGS: left} if left else {})


def _without_citations(text: str) -> str:
    """Without clauses that hold a title in quotation marks, whatever the language of the words around it."""
    clauses = _CLAUSE.split(_CITED.sub(_MARK, text))
    kept = " ".join(clause for clause in clauses if _MARK not in clause).rstrip(" ,;:")
    return f"{kept}." if kept and kept[-1] not in ".!?" else kept
