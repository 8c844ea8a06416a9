"""What a language model is shown of a catalogue to read one turn: its attributes, and of each the values that may be meant."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from genrec.dialogue.vocabulary import Vocabulary
from genrec.dialogue.words import words_of
from genrec.filters import AttributeType
from genrec.prompts import data

ATTRIBUTES, VALUES, ALL = 12, 8, 24
"""At most this many attributes, and values of one: those that the turn may name, then the most frequent. An attribute of no
more than `ALL` values shows all of them.
"""
NAME_CHARS, VALUE_CHARS, LINE_CHARS = 40, 40, 400
_UNSHOWN = frozenset('|;"\\…')
"""A name or value with one of these is left out: it could not be told from what stands around it."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """`values` of a text, likeliest first; `least` and `most` of a number."""

    name: str
    type: AttributeType
    values: tuple[str, ...] = ()
    least: float = 0.0
    most: float = 0.0

    def said(self) -> str:
        """As the prompt says it."""
        if self.type == "number":
            return f"{self.least:g} to {self.most:g}"
        return "yes or no" if self.type == "boolean" else "; ".join(self.values)


@dataclass(frozen=True)
class View:
    """The attributes that can be spoken of, in the catalogue's order."""

    attributes: tuple[Attribute, ...]

    @cached_property
    def by_name(self) -> dict[str, Attribute]:
        return {one.name: one for one in self.attributes}

    def lines(self) -> list[tuple[str, str]]:
        return [(one.name, one.said()) for one in self.attributes]


def view_of(vocabulary: Vocabulary, text: str) -> View:
    """The attributes and values for the turn `text`. Attributes whose values it may name come before others."""
    named = _named(vocabulary, text)
    found: list[tuple[bool, int, Attribute]] = []
    for name, field in vocabulary.schema.items():
        counts = vocabulary.values[name]
        if not counts or not _plain(name, NAME_CHARS):
            continue
        if field.type == "number":
            numbers = vocabulary.numbers[name]
            one = Attribute(name, "number", least=numbers.least, most=numbers.most)
        elif field.type == "boolean":
            one = Attribute(name, "boolean")
        else:
            values = dict.fromkeys([*named[name], *sorted(counts, key=lambda value: -counts[value])])
            kept = [value for value in map(str, values) if _plain(value, VALUE_CHARS)]
            kept = _fitting(kept if len(kept) <= ALL else kept[:VALUES])
            if not kept:
                continue
            one = Attribute(name, "text", tuple(kept))
        found.append((not named[name], -sum(counts.values()), one))
    best = sorted(found, key=lambda entry: entry[:2])[:ATTRIBUTES]
    kept_names = {one.name for *_, one in best}
    return View(tuple(one for *_, one in found if one.name in kept_names))


def _named(vocabulary: Vocabulary, text: str) -> dict[str, dict[str, None]]:
    """attribute → values that words of the text may stand for, longest words first."""
    words = words_of(text)
    keys = vocabulary.index.keys(words)
    hits = [*vocabulary.index.exact(keys), *vocabulary.index.mistyped(keys)]
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for hit in sorted(hits, key=lambda hit: (hit.typos, hit.first - hit.last)):
        for known in vocabulary.known[hit.phrase]:
            found[known.attribute].setdefault(known.value)
    return found


def _fitting(values: Sequence[str]) -> list[str]:
    """As many as fit on a line."""
    ends = accumulate(len(value) + 2 for value in values)
    return [value for value, end in zip(values, ends, strict=True) if end <= LINE_CHARS]


def _plain(text: str, limit: int) -> bool:
    return 0 < len(text) <= limit and data(text) == text and not _UNSHOWN & set(text)
