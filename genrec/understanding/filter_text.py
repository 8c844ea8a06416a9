"""A filter as text: as an expression that `filters.parse` reads, and as words for people."""

import re
from collections.abc import Sequence

from genrec.filters import And, Compare, Filter, Has, In, Not, Or
from genrec.types import Scalar
from genrec.understanding.synonyms import Role
from genrec.understanding.vocabulary import Vocabulary, name_words

_BARE = re.compile(r"[A-Za-z_]\w*")
_WORDS = frozenset(("and", "or", "not", "in", "has", "true", "false"))
_BELOW, _ABOVE = ("<", "<="), (">", ">=")


def expression(made: Filter) -> str:
    """Text that `filters.parse` reads back as the same filter."""
    match made:
        case Compare(field, op, value):
            return f"{_field(field)} {op} {_value(value)}"
        case Has(field, value):
            return f"{_field(field)} has {_value(value)}"
        case In(field, values):
            return f"{_field(field)} in [{', '.join(map(_value, values))}]"
        case Not(part):
            return f"not ({expression(part)})"
        case And(parts):
            return " and ".join(_inside(part) for part in parts)
        case Or(parts):
            return " or ".join(_inside(part) for part in parts)


def parts_of(made: Filter | None) -> tuple[Filter, ...]:
    """What must hold, one by one."""
    return () if made is None else made.parts if isinstance(made, And) else (made,)


def all_of(parts: Sequence[Filter]) -> Filter | None:
    """The parts as one filter; None where there are none."""
    return None if not parts else parts[0] if len(parts) == 1 else And(tuple(parts))


def attributes_of(made: Filter) -> frozenset[str]:
    """The attributes that a filter names."""
    match made:
        case Not(part):
            return attributes_of(part)
        case And(parts) | Or(parts):
            return frozenset().union(*map(attributes_of, parts))
        case _:
            return frozenset((made.field,))


def pairs_of(made: Filter | None, *, every: bool = False) -> list[tuple[str, Scalar]]:
    """(attribute, value) of what a filter asks for; with `every` also of what it refuses and of the ends of its ranges."""
    match made:
        case Has(field, value) | Compare(field, "==", value):
            return [(field, value)]
        case In(field, values):
            return [(field, value) for value in values]
        case And(parts) | Or(parts):
            return [one for part in parts for one in pairs_of(part, every=every)]
        case Compare(field, _, value) if every:
            return [(field, value)]
        case Not(part) if every:
            return pairs_of(part, every=True)
        case _:
            return []


def wanted_pairs(made: Filter) -> list[tuple[str, str]]:
    """(attribute, value) of the texts that a filter asks for."""
    return [(field, value) for field, value in pairs_of(made) if isinstance(value, str)]


def in_words(parts: Sequence[Filter], vocabulary: Vocabulary) -> str:
    """`Comedy or Drama, from 1990 to 1999, no Horror`: bounds of one attribute are said together."""
    said: list[str] = []
    bounds: dict[str, list[Compare]] = {}
    for part in parts:
        if isinstance(part, Compare) and part.op in _BELOW + _ABOVE:
            if part.field not in bounds:
                said.append(part.field)  # its place; the words come when all bounds are known
            bounds.setdefault(part.field, []).append(part)
        else:
            said.append(_words(part, vocabulary))
    return ", ".join(_bounds(one, bounds[one], vocabulary) if one in bounds else one for one in said)


def _words(made: Filter, vocabulary: Vocabulary) -> str:
    match made:
        case Compare(field, "==" | "!=" as op, value):
            return ("not " if op == "!=" else "") + _named(field, value, vocabulary)
        case Compare():
            return _bounds(made.field, [made], vocabulary)
        case Has(field, value):
            return _named(field, value, vocabulary)
        case In(field, values):
            return " or ".join(_named(field, value, vocabulary) for value in values)
        case Not(part):
            return f"no {_words(part, vocabulary)}"
        case And(parts):
            return " and ".join(_words(part, vocabulary) for part in parts)
        case Or(parts):
            return " or ".join(_words(part, vocabulary) for part in parts)


def _named(field: str, value: Scalar, vocabulary: Vocabulary) -> str:
    """Texts speak for themselves; numbers and flags need the name of the attribute."""
    if isinstance(value, bool):
        return spoken(field) if value else f"not {spoken(field)}"
    if isinstance(value, str):
        return value
    return _bounds(field, [Compare(field, ">=", value), Compare(field, "<=", value)], vocabulary)


def _bounds(field: str, bounds: Sequence[Compare], vocabulary: Vocabulary) -> str:
    low = max((float(one.value) for one in bounds if one.op in _ABOVE), default=None)
    high = min((float(one.value) for one in bounds if one.op in _BELOW), default=None)
    strict = {one.op for one in bounds}
    numbers = vocabulary.numbers.get(field)
    role: Role = numbers.role if numbers else "other"
    name = "" if role == "year" else f"{spoken(field)} "
    if low is not None and high is not None:
        same = low == high
        return f"{name or 'from '}{number(low)}" if same else f"{name or ''}from {number(low)} to {number(high)}"
    if role == "year":
        if high is not None:
            return f"before {number(high)}" if "<" in strict else f"up to {number(high)}"
        return f"after {number(low or 0)}" if ">" in strict else f"from {number(low or 0)} on"
    if high is not None:
        return f"{name}below {number(high)}" if "<" in strict else f"{name}up to {number(high)}"
    return f"{name}above {number(low or 0)}" if ">" in strict else f"{name}from {number(low or 0)} on"


def spoken(attribute: str) -> str:
    """The name of an attribute in words, without its unit: `runtime_min` is `runtime`."""
    words = [word for word in name_words(attribute) if word not in ("min", "mins", "minutes", "sec", "secs")]
    return " ".join(words) or attribute


def number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else f"{value:g}"


def _inside(made: Filter) -> str:
    return f"({expression(made)})" if isinstance(made, And | Or) else expression(made)


def _field(name: str) -> str:
    plain = _BARE.fullmatch(name) and name.lower() not in _WORDS
    return name if plain else "`" + name.replace("`", "``") + "`"


def _value(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)
