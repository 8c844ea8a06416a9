"""What a language model says of one turn: the line of JSON that it is to write, its schema, and what the line means.

    {"intent": "refine", "where": ["genre = Crime | Horror", "not genre = War", "pages < 300"], "need": "slow"}

A condition names an attribute and values of the catalogue, so it means something whenever the schema lets it pass. Titles and
need must be words of the turn.
"""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, cast, get_args

from genrec.filters import And, AttributeType, Compare, Filter, Not, Operator
from genrec.prompts import data
from genrec.understanding.attribute_values import one_of
from genrec.understanding.filter_text import all_of, parts_of
from genrec.understanding.intents import Intent
from genrec.understanding.quantities import ABOUT
from genrec.understanding.relative_wishes import Steer
from genrec.understanding.vocabulary import Numbers, Vocabulary
from genrec.understanding.words import words_of

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


INTENTS: tuple[Intent, ...] = get_args(Intent)
CONDITIONS, ALTERNATIVES, TITLES = 6, 4, 4
"""At most this many conditions, values of one condition, titles of one kind."""
TITLE_CHARS, NEED_CHARS = 80, 120
FEELINGS = ("liked", "disliked", "seen", "named")
KEYS = ("intent", "where", *FEELINGS, "about", "need")
_NUMBER = r"[0-9]{1,7}(?:\.[0-9]{1,2})?"
_SPECIAL = re.compile(r"[.^$*+?()\[\]{}|\\/]")
_BOUND = re.compile(
    rf"(?P<op><=|>=|<|>|=|about) (?P<value>{_NUMBER})|(?P<low>{_NUMBER}) to (?P<high>{_NUMBER})|(?P<steer>less|more)"
)
YEARS = 2.0
"""`about 1990` is this many years more or less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnReading:
    """One line, resolved. `parts`: (attribute, condition); titles are words of the turn as they stand there."""

    intent: Intent
    parts: tuple[tuple[str, Filter], ...] = ()
    steers: tuple[Steer, ...] = ()
    liked: tuple[str, ...] = ()
    disliked: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    about: str = ""
    need: str = ""

    @property
    def filter(self) -> Filter | None:
        return all_of([one for _, part in self.parts for one in parts_of(part)])


def schema(view: View) -> str:
    """The JSON schema of a line over these attributes. What may be left out is left out where there is nothing to say."""
    titles = {"type": "array", "items": {"type": "string", "maxLength": TITLE_CHARS}, "minItems": 1, "maxItems": TITLES}
    properties: dict[str, Any] = {"intent": {"type": "string", "enum": list(INTENTS)}}
    patterns = [_pattern(one) for one in view.attributes]
    if patterns:
        condition = {"type": "string", "pattern": f"^(?:{'|'.join(patterns)})$"}
        properties["where"] = {"type": "array", "items": condition, "minItems": 1, "maxItems": CONDITIONS}
    properties |= dict.fromkeys(FEELINGS, titles)
    if view.attributes:
        properties["about"] = {"type": "string", "enum": [one.name for one in view.attributes]}
    properties["need"] = {"type": "string", "maxLength": NEED_CHARS}
    made = {"type": "object", "properties": properties, "required": ["intent"], "additionalProperties": False}
    return json.dumps(made, ensure_ascii=False)


def line(out: Mapping[str, Any]) -> str:
    """`out` as the one line that a model is to write: keys in order, without those that say nothing."""
    return json.dumps({key: out[key] for key in KEYS if out.get(key)}, ensure_ascii=False)


def reading_of(written: str, view: View, vocabulary: Vocabulary, text: str, *, strict: bool = False) -> TurnReading:
    """What `written` says of the turn `text`. Raises ValueError for what is no such line; what does not resolve (a title or a
    need that the turn does not say) is left out, or with `strict` a ValueError too.
    """
    try:
        value = json.loads(written)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error
    if not isinstance(value, dict) or value.keys() - set(KEYS) or value.get("intent") not in INTENTS:
        raise ValueError(f"not one object of {', '.join(KEYS)} with an intent")
    conditions = [_condition(one, view, vocabulary) for one in _texts(value, "where")]
    parts = [one for one in conditions if not isinstance(one, Steer)]
    titles = {name: tuple(_said(one, text, strict) for one in _texts(value, name)) for name in FEELINGS}
    about, need = value.get("about", ""), value.get("need", "")
    if not isinstance(about, str) or not isinstance(need, str):
        raise ValueError("about and need must be texts")
    if about and about not in view.by_name:
        raise ValueError(f"there is no attribute {about!r:.60}")
    return TurnReading(
        intent=value["intent"],
        parts=tuple(dict.fromkeys(parts)),
        steers=tuple(dict.fromkeys(one for one in conditions if isinstance(one, Steer))),
        about=about,
        need=_own_words(need, text, strict),
        **{name: tuple(dict.fromkeys(one for one in found if one)) for name, found in titles.items()},
    )


def _pattern(one: Attribute) -> str:
    name = literal(one.name)
    if one.type == "number":
        return rf"{name} (?:(?:<|<=|>|>=|=|about) {_NUMBER}|{_NUMBER} to {_NUMBER}|less|more)"
    if one.type == "boolean":
        return f"{name} = (?:yes|no)"
    values = "|".join(map(literal, one.values))
    return rf"(?:not )?{name} = (?:{values})(?: \| (?:{values})){{0,{ALTERNATIVES - 1}}}"


def literal(text: str) -> str:
    return _SPECIAL.sub(lambda found: "\\" + found[0], text)


def _condition(said: str, view: View, vocabulary: Vocabulary) -> tuple[str, Filter] | Steer:
    """Raises ValueError for what the schema does not let pass."""
    refused, rest = said.startswith("not "), said.removeprefix("not ")
    for one in sorted(view.attributes, key=lambda one: -len(one.name)):
        if not rest.startswith(f"{one.name} "):
            continue
        if one.type == "number" and not refused:
            return _bound(rest[len(one.name) + 1 :], vocabulary.numbers[one.name])
        sign, _, value = rest[len(one.name) + 1 :].partition(" ")
        if sign == "=" and one.type == "boolean" and not refused and value in ("yes", "no"):
            return one.name, Compare(one.name, "==", value == "yes")
        values = value.split(" | ")
        if sign == "=" and one.type == "text" and set(values) <= set(one.values):
            made = one_of(one.name, tuple(dict.fromkeys(values)), vocabulary)
            return one.name, Not(made) if refused else made
    raise ValueError(f"{said!r:.80} is no condition on the attributes")


def _bound(said: str, numbers: Numbers) -> tuple[str, Filter] | Steer:
    found = _BOUND.fullmatch(said)
    if found is None:
        raise ValueError(f"{numbers.name} {said!r:.60} is no bound")
    name = numbers.name
    if found["steer"]:
        return Steer(name, "<" if found["steer"] == "less" else ">")
    if found["low"]:
        return name, _between(name, float(found["low"]), float(found["high"]))
    value = float(found["value"])
    if found["op"] == "about":
        span = YEARS if numbers.role == "year" else ABOUT * value
        return name, _between(name, value - span, value + span)
    return name, Compare(name, cast(Operator, "==" if found["op"] == "=" else found["op"]), _whole(value))


def _between(name: str, low: float, high: float) -> Filter:
    return And((Compare(name, ">=", _whole(low)), Compare(name, "<=", _whole(high))))


def _whole(value: float) -> int | float:
    value = round(value, 6)
    return int(value) if value == int(value) else value


def _texts(value: Mapping[str, Any], name: str) -> list[str]:
    found = value.get(name, [])
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ValueError(f"{name} is not a list of texts")
    return found


def _said(title: str, text: str, strict: bool) -> str:
    """The words of the turn that are this title, empty when it has none such."""
    found = re.search(rf"(?<!\w){re.escape(title.strip())}(?!\w)", text, re.IGNORECASE) if title.strip() else None
    if found is None and strict:
        raise ValueError(f"the turn does not say {title!r:.80}")
    return found[0] if found else ""


def _own_words(need: str, text: str, strict: bool) -> str:
    """The words of `need` that the turn says, too."""
    own = {word.key for word in words_of(text)}
    words: Sequence[Any] = words_of(need)
    kept = [word.shown for word in words if word.key in own]
    if strict and len(kept) < len(words):
        raise ValueError(f"the turn does not say all words of the need {need!r:.80}")
    return " ".join(kept)
