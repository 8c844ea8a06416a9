"""The computed facts behind a recommendation. A reason may say nothing else."""

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genrec.types import LIKE, TAGS, AttributeValue, Event, Evidence, Item, scalars

LIKED, CHOSEN = "liked", "chosen"
MAX_SHARED_VALUES = 3
MIN_SHARE = 1e-6
"""A past item is cited only when it carries more of the score than this."""
MIN_RARITY = 0.5
"""A value is evidence when at least this share of the catalogue lacks it: what nearly every item has says nothing."""
MIN_OF_TOP = 0.25
"""A past item is cited beside the strongest one only when it carries at least this share of what that one carries."""
_WORD = re.compile(r"\w[\w'’-]*")
_STOP_WORDS = frozenset(
    """
    a an and are as at be but by for from i in is it like me my not of on or show some something that the their them
    this to want was watch what with would you your
    """.split()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PastItem:
    """A past item of the person; `liked`: its value is at or above the person's own mean, None where it has no value."""

    item: Item
    liked: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueCounts:
    """Of the whole catalogue: items by (attribute, text value), all items, people by item id."""

    values: Mapping[tuple[str, str], int]
    items: int
    people: Mapping[str, int]


def past_items(events: Sequence[Event], items: Mapping[str, Item]) -> list[PastItem]:
    """Past items, oldest first, each once at its last event; `liked`: by a like, or a value not below the person's own mean."""
    values = [event.value for event in events if event.value is not None]
    mean = sum(values) / len(values) if values else 0.0
    last = {event.item_id: event for event in events}
    ordered = sorted(last.values(), key=lambda event: event.timestamp)
    liked = {event.item_id for event in events if event.kind == LIKE}
    return [
        PastItem(item=items[e.item_id], liked=e.item_id in liked or (None if e.value is None else e.value >= mean))
        for e in ordered
        if e.item_id in items
    ]


def text_values(value: AttributeValue) -> tuple[str, ...]:
    """The words of an attribute that can be shared: texts, not numbers or flags."""
    return tuple(v for v in scalars(value) if isinstance(v, str) and v)


def gather_evidence(
    item: Item,
    past: Sequence[PastItem],
    shares: np.ndarray,
    *,
    catalogue: CatalogueCounts,
    cited: int,
    query: str = "",
    interests: Sequence[str] = (),
    describe: bool = False,
) -> tuple[Evidence, ...]:
    """All evidence for one item, the strongest of each kind first; at most `cited` past items.

    `shares` (len(past),): how much of the item's score is lost when each past item is left out, in [0, 1] where positive.
    Where no past item carries the score, the latest one that shares the rarest value is cited for that, with weight 0.
    Popularity is evidence only where nothing personal is. `describe`: where no value is shared and no word matches, what genrec
    wrote about the item is evidence, too.
    """
    found = _history(past, shares, cited) or _alike(item, past, catalogue)
    cited_ids = {e.item_ids[0] for e in found}
    found += _shared_values(item, [p.item for p in past if p.item.item_id in cited_ids], catalogue)
    own = _words(" ".join([item.title, item.text, *(v for value in item.attributes.values() for v in text_values(value))]))
    found += [Evidence(kind="query", value=word) for word in _matched(query, own)]
    found += [Evidence(kind="interest", value=word) for word in _matched(" ".join(interests), own)]
    if not found and catalogue.people.get(item.item_id):
        found.append(Evidence(kind="popularity", value=str(catalogue.people[item.item_id])))
    if describe and "text" in item.generated and all(e.kind in ("history", "popularity") for e in found):
        found.append(Evidence(kind="caption", item_ids=(item.item_id,), value=item.text))
    return tuple(found)


def _history(past: Sequence[PastItem], shares: np.ndarray, cited: int) -> list[Evidence]:
    """The past items that carry most of the score; disliked ones only where there are no others."""
    carrying = [n for n in range(len(past)) if shares[n] > MIN_SHARE]
    carrying = [n for n in carrying if past[n].liked is not False] or carrying
    order = sorted(carrying, key=lambda n: (-float(shares[n]), n))
    return [_cited(past[n], float(shares[n])) for n in order[:cited] if shares[n] >= MIN_OF_TOP * shares[order[0]]]


def _alike(item: Item, past: Sequence[PastItem], catalogue: CatalogueCounts) -> list[Evidence]:
    """The latest past item, not disliked, that shares the rarest value with the item; it does not move the score."""
    candidates = [p for p in past if p.liked is not False]
    shared = _shared_values(item, [p.item for p in candidates], catalogue)
    if not shared:
        return []
    rarest = max(shared, key=lambda e: e.weight)
    return [_cited(next(p for p in reversed(candidates) if p.item.item_id in rarest.item_ids), 0.0)]


def _cited(past: PastItem, weight: float) -> Evidence:
    value = LIKED if past.liked else CHOSEN
    return Evidence(kind="history", item_ids=(past.item.item_id,), value=value, weight=weight)


def _shared_values(item: Item, cited: Sequence[Item], catalogue: CatalogueCounts) -> list[Evidence]:
    """Text values that the item shares with cited past items; most shared first, then the rarest in the catalogue.

    A tag that a model gave counts as a value of the attribute that has this value among these items, if only one has, and if the
    tagged item does not have that attribute itself.
    """
    names = {name for one in (item, *cited) for name in one.attributes if name != TAGS}
    values = {(name, text): None for name, value in item.attributes.items() for text in text_values(value)}
    values |= {
        (name, text): None
        for one in cited
        for name, value in one.attributes.items()
        for text in text_values(value)
        if name != TAGS and _is_tagged(item, name, text)
    }
    found = []
    for name, text in values:
        single = name == TAGS or not any((other, text) in catalogue.values for other in names - {name})
        sharing = tuple(p.item_id for p in cited if _has(p, name, text) or (single and _is_tagged(p, name, text)))
        rarity = 1.0 - catalogue.values.get((name, text), 0) / max(1, catalogue.items)
        if sharing and rarity >= MIN_RARITY and (single or _has(item, name, text)):
            found.append(Evidence(kind="attribute", item_ids=sharing, attribute=name, value=text, weight=rarity))
    found.sort(key=lambda e: (-len(e.item_ids), -e.weight, e.attribute, e.value))
    return found[:MAX_SHARED_VALUES]


def _has(item: Item, name: str, text: str) -> bool:
    return text in text_values(item.attributes.get(name, ()))


def _is_tagged(item: Item, name: str, text: str) -> bool:
    """Whether a model gave the item this value as a tag, and the item itself does not have the attribute."""
    if TAGS not in item.generated or name in item.attributes:
        return False
    return text.lower() in {tag.lower() for tag in text_values(item.attributes.get(TAGS, ()))}


def _words(text: str) -> dict[str, None]:
    """Words in lower case, each once, in order."""
    return dict.fromkeys(word.lower() for word in _WORD.findall(text))


def _matched(text: str, own: Container[str]) -> list[str]:
    """Words of `text` that are among the item's own words, in the singular or the plural."""
    words = [word for word in _words(text) if word not in _STOP_WORDS]
    return [word for word in words if word in own or word.removesuffix("s") in own or word + "s" in own]
