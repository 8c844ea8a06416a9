"""Turns changed from pass to pass: other values, numbers, titles and names of attributes in turn, catalogue and reading alike.

It is how words lead to conditions that is learned, not which catalogue has which values.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from genrec.training.turn_examples import Shop, Turn
from genrec.understanding.turn_schema import FEELINGS

NAMES: Mapping[str, tuple[str, ...]] = {
    "price": ("price", "cost", "price_eur", "price_usd"),
    "minutes": ("minutes", "duration_min", "runtime_min", "length_minutes"),
    "runtime_min": ("minutes", "runtime_min", "running_time"),
    "year": ("year", "released", "release_year"),
    "colour": ("colour", "color"),
    "brand": ("brand", "maker", "manufacturer"),
    "genre": ("genre", "genres", "category"),
    "genres": ("genre", "genres"),
    "kind": ("kind", "type", "category"),
    "type": ("type", "kind", "category"),
    "category": ("category", "department", "type"),
    "language": ("language", "languages"),
    "country": ("country", "origin", "made_in"),
    "weight_kg": ("weight_kg", "weight"),
    "rating": ("rating", "stars", "score"),
    "pages": ("pages", "page_count"),
    "author": ("author", "writer", "written_by"),
    "difficulty": ("difficulty", "level"),
}
"""Other names of an attribute; one that the catalogue has already is not taken."""
FEWEST = 3
"""Attributes that a varied catalogue keeps at least."""
LEFT_OUT = 0.25
"""Chance that an attribute or a value of which nothing is said is left out."""
OTHERWISE = 0.5
"""Chance that a value, a number or a name is changed."""


def varied(turns: Sequence[Turn], share: float, rng: np.random.Generator) -> list[Turn]:
    """The turns, about `share` of them changed; what a change makes wrong stays as it was."""
    return [_changed(one, rng) if rng.random() < share else one for one in turns]


def _changed(turn: Turn, rng: np.random.Generator) -> Turn:
    text, out = turn.text, {name: list(one) if isinstance(one, list) else one for name, one in turn.out.items()}
    attributes = {name: dict(told) for name, told in turn.shop.attributes.items()}
    for name, told in attributes.items():
        if told["type"] == "text":
            text, out = _other_values(name, told["values"], text, out, rng)
        elif told["type"] == "number":
            text, out = _other_number(name, told["values"], text, out, rng)
    said = _said_of(attributes, out, turn.context.asked)
    attributes = {name: _fewer(told, said[name], rng) for name, told in _kept(attributes, said, rng).items()}
    attributes, out, asked = _renamed(attributes, out, turn.context.asked, rng)
    context = replace(turn.context, asked=asked)
    made = Turn(Shop(turn.shop.name, attributes, turn.shop.titles), text, context, out)
    try:
        made.heard  # noqa: B018 - raises where the change does not hold together
    except ValueError:
        return turn
    return made


def _other_values(
    name: str, values: Sequence[str], text: str, out: dict[str, Any], rng: np.random.Generator
) -> tuple[str, dict[str, Any]]:
    """A value that the turn says as it stands becomes another one."""
    conditions = list(out.get("where", ()))
    titles = " ".join(one for feeling in FEELINGS for one in out.get(feeling, ()))
    for place, condition in enumerate(conditions):
        start = re.match(rf"(?:not )?{re.escape(name)} = ", condition)
        if start is None:
            continue
        own = condition[start.end() :].split(" | ")
        for number, old in enumerate(own):
            new = values[int(rng.integers(len(values)))]
            taken = any(new in one for one in conditions) or new in own
            pattern = re.compile(rf"(?<!\w){re.escape(old)}(?!\w)", re.IGNORECASE)
            if rng.random() > OTHERWISE or taken or _unlike(old, new) or len(pattern.findall(text)) != 1 or old in titles:
                continue
            text = pattern.sub(lambda found, new=new: new if found[0][0].isupper() else new.lower(), text)
            own[number] = new
        conditions[place] = condition[: start.end()] + " | ".join(own)
    return text, out | ({"where": conditions} if conditions else {})


def _unlike(old: str, new: str) -> bool:
    """Whether `a` before the one would be `an` before the other, or one may be a plural."""
    return (old[0].lower() in "aeiou") != (new[0].lower() in "aeiou") or old.endswith("s") != new.endswith("s")


def _other_number(
    name: str, bounds: Sequence[float], text: str, out: dict[str, Any], rng: np.random.Generator
) -> tuple[str, dict[str, Any]]:
    """A number that stands in the turn and in one condition becomes another of as many digits."""
    conditions = list(out.get("where", ()))
    for place, condition in enumerate(conditions):
        found = re.fullmatch(rf"{re.escape(name)} (?:<|<=|>|>=|=|about) (\d+)", condition)
        if found is None or rng.random() > OTHERWISE or not int(found[1]):
            continue
        pattern = re.compile(rf"(?<![\w.,-]){found[1]}(?![\w.,-])")
        low, high = 10 ** (len(found[1]) - 1), 10 ** len(found[1]) - 1
        low, high = max(low, int(bounds[0])), min(high, int(bounds[1]))
        if len(pattern.findall(text)) != 1 or low >= high or sum(found[1] in one for one in conditions) > 1:
            continue
        new = str(int(rng.integers(low, high + 1)))
        text = pattern.sub(new, text)
        conditions[place] = condition[: found.start(1)] + new
    return text, out | ({"where": conditions} if conditions else {})


def _said_of(attributes: Mapping[str, Any], out: Mapping[str, Any], asked: str) -> dict[str, str]:
    """attribute → the conditions on it; empty when nothing is said of it."""
    said = dict.fromkeys(attributes, "")
    for condition in out.get("where", ()):
        name = max((one for one in attributes if condition.removeprefix("not ").startswith(f"{one} ")), key=len)
        said[name] += f" {condition}"
    for name in (asked, out.get("about", "")):
        if name:
            said[name] += f" {name}"
    return said


def _kept(attributes: dict[str, Any], said: Mapping[str, str], rng: np.random.Generator) -> dict[str, Any]:
    """Some attributes, in any order; those of which something is said are among them."""
    names = list(attributes)
    idle = [name for name in names if not said[name] and rng.random() < LEFT_OUT]
    gone = idle[: max(0, len(names) - FEWEST)]
    order = [names[place] for place in rng.permutation(len(names))]
    return {name: attributes[name] for name in order if name not in gone}


def _fewer(told: dict[str, Any], said: str, rng: np.random.Generator) -> dict[str, Any]:
    """Values in any order, some of those that are not meant left out."""
    if told["type"] != "text":
        return told
    values = [told["values"][place] for place in rng.permutation(len(told["values"]))]
    kept = [value for value in values if value in said or rng.random() > LEFT_OUT]
    return told | {"values": kept or values[:1]}


def _renamed(
    attributes: dict[str, Any], out: dict[str, Any], asked: str, rng: np.random.Generator
) -> tuple[dict[str, Any], dict[str, Any], str]:
    names = {name: name for name in attributes}
    for name in attributes:
        choices = [one for one in NAMES.get(name, ()) if one not in names.values() and one not in attributes]
        if choices and rng.random() < OTHERWISE:
            names[name] = choices[int(rng.integers(len(choices)))]
    made = dict(out)
    if "where" in out:
        made["where"] = [_with_name(one, names) for one in out["where"]]
    if "about" in out:
        made["about"] = names[out["about"]]
    return {names[name]: told for name, told in attributes.items()}, made, names.get(asked, "")


def _with_name(condition: str, names: Mapping[str, str]) -> str:
    no, rest = ("not ", condition[4:]) if condition.startswith("not ") else ("", condition)
    name = max((one for one in names if rest.startswith(f"{one} ")), key=len)
    return f"{no}{names[name]}{rest[len(name) :]}"
