"""What one reason may say: the evidence in words. Also the template's reason, and the marks `[1]` that stand for cited titles."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from genrec.prompts import data, listed
from genrec.reasons.evidence import LIKED
from genrec.types import TAGS, Evidence, Item

TITLE_CHARS = 80
SHORT_TITLE_CHARS = 40
"""Of a title as an LLM sees it, which cites it by its mark."""
VALUE_CHARS = 60
NAME_CHARS = 40
MAX_WORDS = 4
"""Matched words of a query, or of interests, that a reason names at most."""
DESCRIBED_CHARS = 300
WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
"""A word of a reason."""
_AFTER_NAME = re.compile(r"(?<=\w{3})(?:[,;:] | [-–—/] | \().*")
"""What follows the name in a title: sizes, counts, part numbers, a second name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a reason may say.

    past        titles of the cited past items; `liked`: all of them were liked
    shared      (attribute, values) that the item shares with every cited one
    words       words of the query that the item's own text contains; `interests`: stated interests that it contains
    people      number of people who chose it, where nothing personal is known
    described   what genrec wrote about the item
    generated   ids of items whose words, as used here, a model wrote
    """

    evidence: tuple[Evidence, ...] = ()
    past: tuple[str, ...] = ()
    liked: bool = False
    shared: tuple[tuple[str, tuple[str, ...]], ...] = ()
    words: tuple[str, ...] = ()
    interests: tuple[str, ...] = ()
    people: int = 0
    described: str = ""
    generated: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """Which examples of the prompt have the same kind of facts; empty: there is nothing for an LLM to say."""
        if self.words or self.interests:
            return "words+past" if self.past else "words"
        if self.past:
            return "past+shared" if self.shared else "past"
        return ""


def facts_of(evidence: Sequence[Evidence], items: Mapping[str, Item], item: Item | None = None) -> Facts:
    """Put evidence in words. `items` holds every cited item; `item` is the recommended one, to tell what of it is generated.

    Only values that all cited titles share are named; where there are none, only the first title that shares one is cited.
    """
    history = [e for e in evidence if e.kind == "history"]
    attributes = [
        e for e in evidence if e.kind == "attribute" and history and all(WORD.search(part) for part in _name_and_value(e))
    ]
    common = [e for e in attributes if {h.item_ids[0] for h in history} <= set(e.item_ids)]
    if attributes and not common:
        first = next(h for h in history if h.item_ids[0] in attributes[0].item_ids)
        history = [first]
        common = [e for e in attributes if first.item_ids[0] in e.item_ids]
    shared: dict[str, list[str]] = {}
    for name, value in map(_name_and_value, common):
        shared.setdefault(name, []).append(value)
    popularity = [int(e.value) for e in evidence if e.kind == "popularity"]
    return Facts(
        evidence=tuple(evidence),
        past=tuple(dict.fromkeys(shown_title(items[h.item_ids[0]]) for h in history)),
        liked=bool(history) and all(h.value == LIKED for h in history),
        shared=tuple((_singular(name) if len(values) == 1 else name, tuple(values)) for name, values in shared.items()),
        words=tuple(one_line(e.value, NAME_CHARS) for e in evidence if e.kind == "query")[:MAX_WORDS],
        interests=tuple(one_line(e.value, NAME_CHARS) for e in evidence if e.kind == "interest")[:MAX_WORDS],
        people=popularity[0] if popularity else 0,
        described=next((one_line(e.value, DESCRIBED_CHARS).rstrip(".") for e in evidence if e.kind == "caption"), ""),
        generated=_generated_ids(evidence, items, item),
    )


def _generated_ids(evidence: Sequence[Evidence], items: Mapping[str, Item], item: Item | None) -> tuple[str, ...]:
    """Ids of the items whose title, text or tags, as the evidence uses them, a model wrote."""
    found = [one for e in evidence if e.kind == "history" for one in e.item_ids if "title" in items[one].generated]
    shared = [e for e in evidence if e.kind == "attribute"]
    found += [one for e in shared for one in e.item_ids if one in items and _only_by_tag(items[one], e)]
    if item is not None:
        own = any(_only_by_tag(item, e) for e in shared) or any(e.kind == "caption" for e in evidence)
        own = own or (item.generated and any(e.kind in ("query", "interest") for e in evidence))
        found += [item.item_id] if own else []
    return tuple(dict.fromkeys(found))


def _only_by_tag(item: Item, shared: Evidence) -> bool:
    """Whether the item has the shared value only as a tag that a model gave."""
    return TAGS in item.generated and (shared.attribute == TAGS or shared.attribute not in item.attributes)


def _name_and_value(evidence: Evidence) -> tuple[str, str]:
    """An attribute's name and value as a reason says them."""
    return one_line(evidence.attribute.replace("_", " "), NAME_CHARS), one_line(evidence.value, VALUE_CHARS)


def _singular(name: str) -> str:
    """`genre` for `genres`, where one value is named; only regular English plurals are touched."""
    plural = name.endswith("s") and not name.endswith(("ss", "us", "is", "ies"))
    return name[:-1] if plural and len(name) > 3 else name


def shown_title(item: Item) -> str:
    """An item's title as a reason quotes it, its id where it has none."""
    return one_line(item.title, TITLE_CHARS) or one_line(item.item_id, TITLE_CHARS) or "untitled"


def short_title(named: str) -> str:
    """A title's first part: an LLM repeats words of a long one as if they described the item."""
    name = _AFTER_NAME.sub("", named)
    return name if len(name) <= SHORT_TITLE_CHARS else name[: SHORT_TITLE_CHARS + 1].rsplit(" ", 1)[0][:SHORT_TITLE_CHARS]


def one_line(text: str, limit: int) -> str:
    """One line without double quotation marks, which are for the titles that a reason cites."""
    return data(text.replace('"', "'"), limit)


def quoted_description(facts: Facts) -> str:
    """A sentence, added to a reason, that quotes what genrec wrote about the item; empty where there is nothing."""
    return f' Described by genrec as: "{facts.described}".' if facts.described else ""


def template_sentence(facts: Facts) -> str:
    """The template's reason: true by construction, whatever the facts are."""
    return _first_sentence(facts) + quoted_description(facts)


def _first_sentence(facts: Facts) -> str:
    verb = "liked" if facts.liked else "chose"
    past = listed([f'"{name}"' for name in facts.past])
    shared = " and ".join(f"{name} {listed(values)}" for name, values in facts.shared)
    matched = ""
    if facts.words:
        matched = f"It matches your search for {listed(facts.words)}"
    elif facts.interests:
        matched = f"It fits your interest in {listed(facts.interests)}"
    if past and shared and not matched:
        return f"You {verb} {past}, and it has the same {shared}."
    if past and matched:
        return f"{matched}, and you {verb} {past}."
    if past:
        return f"It is close to {past}, which you {verb}."
    if matched:
        return f"{matched}."
    if facts.people:
        return f"It is popular: {facts.people} {'person' if facts.people == 1 else 'people'} chose it."
    return "Nothing in your history points to it: it fills the list."


def alternation(phrases: Iterable[str]) -> str:
    """A pattern for any of these phrases, the longest first; without phrases it matches nothing."""
    return "|".join(re.escape(phrase) for phrase in sorted(phrases, key=lambda phrase: (-len(phrase), phrase))) or "(?!)"


_MARK = re.compile(r'"?\[(\d{1,2})\]"?')


def insert_titles(text: str, titles: Sequence[str]) -> str:
    """`text` with quoted titles in place of their marks, which count from 1; a mark without a title stays."""
    quoted = {number: f'"{title}"' for number, title in enumerate(titles, 1)}
    return _MARK.sub(lambda found: quoted.get(int(found[1]), found[0]), text)


def mark_titles(text: str, titles: Sequence[str]) -> str:
    """`text` with marks in place of quoted titles: what a model is to write for it."""
    for number in sorted(range(len(titles)), key=lambda n: (-len(titles[n]), n)):
        text = text.replace(f'"{titles[number]}"', f"[{number + 1}]")
    return text
