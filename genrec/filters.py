"""Filters on item attributes: `year >= 1990 and genres has "Comedy"`, parsed into a small tree.

    filter      = and-part { "or" and-part }
    and-part    = not-part { "and" not-part }
    not-part    = "not" not-part | "(" filter ")" | comparison
    comparison  = field ( "==" | "=" | "!=" | "<" | "<=" | ">" | ">=" | "has" ) value
                | field [ "not" ] "in" "[" [ value { "," value } ] "]"
    field       = a name, or any text in backticks (a backtick inside is doubled)
    value       = "text" | 'text' (a quote or backslash inside follows a backslash) | number | true | false

Meaning, the same here (`matches`) and in the vector engine (`index.filter_conditions` makes its query of a filter):
- a comparison holds when any value of the field satisfies it; a scalar is one value, a list has each of its elements;
- a field that the item lacks satisfies no comparison; `!=` is the negation of `==`, `not in` of `in`;
- text and booleans know equality only, character by character; numbers compare as float64.
"""

import difflib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

from genrec.errors import FilterError
from genrec.types import AttributeType, AttributeValue, Item, Scalar, scalars, type_of

Operator = Literal["==", "!=", "<", "<=", ">", ">="]
MAX_LENGTH = 4_000
"""Longest filter, in characters."""
MAX_DEPTH = 40
"""Most parentheses and `not` inside one another."""


@dataclass(frozen=True, slots=True)
class Field:
    """What is known of one attribute over the whole catalogue."""

    type: AttributeType
    is_list: bool = False


BUILT_IN: Mapping[str, Field] = {"item_id": Field("text"), "platform": Field("text"), "title": Field("text")}
"""Fields that every item has; they win over attributes of the same name."""


@dataclass(frozen=True, slots=True)
class Compare:
    """`field op value`. The value's Python type is the field's: str, int or float, bool."""

    field: str
    op: Operator
    value: Scalar


@dataclass(frozen=True, slots=True)
class Has:
    """The field's list contains `value`; on a scalar field the same as `==`."""

    field: str
    value: Scalar


@dataclass(frozen=True, slots=True)
class In:
    """Any value of the field is one of `values`, which all have the field's type."""

    field: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class And:
    """Every part holds; true when there are none."""

    parts: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one part holds; false when there are none."""

    parts: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Not:
    part: "Filter"


Filter = Compare | Has | In | And | Or | Not


def coerce(value: AttributeValue, to: AttributeType) -> tuple[Scalar, ...]:
    """The values of an attribute as a field of type `to` sees them: one for a scalar, one for each element of a list.

    A text field takes anything (`true`, `1990`, `0.5`); number and boolean fields take their own type. Numbers become
    float; what is not finite is left out, since no comparison with it means anything.
    """
    values = scalars(value)
    if to == "text":
        return tuple(str(one).lower() if isinstance(one, bool) else str(one) for one in values)
    same = [one for one in values if type_of(one) == to]
    if to == "boolean":
        return tuple(same)
    return tuple(number for number in map(_as_float, same) if number is not None)


def _as_float(value: Scalar) -> float | None:
    try:
        number = float(value) + 0.0  # -0.0 becomes 0.0, so that every engine orders them alike
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def fields_of(item: Item) -> dict[str, AttributeValue]:
    """Everything of an item that a filter can name: its attributes and the built-in fields. The index's payload."""
    return {**item.attributes, "item_id": item.item_id, "platform": item.platform, "title": item.title}


_ORDER: Mapping[str, Callable[[float, float], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def matches(filter: Filter, item: Item) -> bool:
    """Whether the item passes; the same answer as the vector engine's."""
    return _holds(filter, fields_of(item))


def _holds(node: Filter, fields: Mapping[str, AttributeValue]) -> bool:
    match node:
        case And(parts):
            return all(_holds(part, fields) for part in parts)
        case Or(parts):
            return any(_holds(part, fields) for part in parts)
        case Not(part):
            return not _holds(part, fields)
        case In(field, values):
            return any(_holds(Has(field, value), fields) for value in values)
        case Compare(field, "!=", value):
            return not _holds(Has(field, value), fields)
        case Has(field, value) | Compare(field, "==", value):
            type_ = type_of(value)
            return field in fields and any(one in coerce(fields[field], type_) for one in coerce(value, type_))
        case Compare(field, op, value):
            found = coerce(fields[field], "number") if field in fields else ()
            return any(_ORDER[op](cast(float, one), float(value)) for one in found)


class _Token(NamedTuple):
    kind: str  # "name", "value", "end", or the symbol or keyword itself
    value: Scalar
    position: int
    shown: str


_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
    | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | `(?P<quoted>(?:[^`]|``)+)`
    | (?P<word>[^\W\d][\w.\-]*)
    | (?P<symbol>==|!=|<=|>=|[=<>()\[\],])
    )""",
    re.VERBOSE | re.DOTALL,
)
_KEYWORDS = frozenset({"and", "or", "not", "in", "has"})
_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_VALUES: Mapping[AttributeType, str] = {"text": '"Comedy"', "number": "1990", "boolean": "true"}
_LISTS = 'A list looks like ["USA", "UK"].'
_EXAMPLE = 'A filter looks like: year >= 1990 and genres has "Comedy".'


def parse(text: str, schema: Mapping[str, Field]) -> Filter:
    """Read a filter over the fields of `schema` (the built-in fields need not be in it).

    Raises FilterError at the place of the fault: syntax, unknown field, a value of the wrong type, too long, too deep.
    """
    return _Parser(text, {**schema, **BUILT_IN}).parse()


class _Parser:
    """Recursive descent over the tokens, by the rules of the grammar above."""

    def __init__(self, text: str, schema: Mapping[str, Field]) -> None:
        self._text = text
        self._schema = schema
        if len(text) > MAX_LENGTH:
            raise FilterError(
                f"the filter has {len(text)} characters, at most {MAX_LENGTH} are read", position=MAX_LENGTH, hint="Shorten it."
            )
        self._tokens = self._tokenize()
        self._next = 0
        self._depth = 0

    def parse(self) -> Filter:
        if self._peek.kind == "end":
            raise self._error("the filter is empty", self._peek, _EXAMPLE)
        tree = self._filter()
        if self._peek.kind != "end":
            raise self._error(f"{self._peek.shown} is not expected here", self._peek, 'Join conditions with "and" or "or".')
        return tree

    def _tokenize(self) -> list[_Token]:
        tokens, position, text = [], 0, self._text
        end = len(text.rstrip())
        while position < end:
            found = _TOKEN.match(text, position)
            if found is None:
                raise self._unreadable(len(text) - len(text[position:].lstrip()))
            kind = cast(str, found.lastgroup)
            tokens.append(self._token(kind, found[kind], found.start(kind)))
            position = found.end()
        return [*tokens, _Token("end", "", end, "the end of the filter")]

    def _token(self, kind: str, shown: str, position: int) -> _Token:
        if kind == "number":
            value = float(shown) if re.search(r"[.eE]", shown) else int(shown)
            if _as_float(value) is None:
                raise self._error(
                    f"the number {shown[:20]}… is out of range", position, "Numbers are float64: up to about 1.8e308."
                )
            return _Token("value", value, position, shown)
        if kind == "text":
            if any("\ud800" <= character <= "\udfff" for character in shown):
                raise self._error("the text holds half a surrogate pair", position, "Write the text in valid Unicode.")
            return _Token("value", re.sub(r"\\([\\\"'])", r"\1", shown[1:-1]), position, shown)
        if kind == "quoted":
            return _Token("name", shown.replace("``", "`"), position - 1, f"`{shown}`")
        if kind == "word":
            word = shown.lower()
            if word in ("true", "false"):
                return _Token("value", word == "true", position, word)
            return _Token(word, word, position, word) if word in _KEYWORDS else _Token("name", shown, position, shown)
        return _Token("==" if shown == "=" else shown, shown, position, f"'{shown}'")

    @property
    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        self._next += 1
        return self._tokens[self._next - 1]

    def _takes(self, *kinds: str) -> bool:
        """Take the next tokens if they are of these kinds."""
        ahead = tuple(token.kind for token in self._tokens[self._next : self._next + len(kinds)])
        if ahead != kinds:
            return False
        self._next += len(kinds)
        return True

    def _filter(self) -> Filter:
        return self._joined("or", Or, lambda: self._joined("and", And, self._not_part))

    def _joined(self, word: str, node: type[And | Or], read_part: Callable[[], Filter]) -> Filter:
        parts = [read_part()]
        while self._takes(word):
            parts.append(read_part())
        return parts[0] if len(parts) == 1 else node(tuple(parts))

    def _not_part(self) -> Filter:
        token = self._peek
        if token.kind not in ("not", "("):
            return self._comparison()
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(f"more than {MAX_DEPTH} parentheses or `not` inside one another", token, "Write it flatter.")
        self._take()
        if token.kind == "not":
            tree: Filter = Not(self._not_part())
        else:
            tree = self._filter()
            if not self._takes(")"):
                raise self._error(
                    f"')' expected, found {self._peek.shown}", self._peek, f"It closes '(' at character {token.position + 1}."
                )
        self._depth -= 1
        return tree

    def _comparison(self) -> Filter:
        name = self._take()
        if name.kind != "name":
            hint = 'The field comes first: year >= 1990, genres has "Comedy".' if name.kind == "value" else _EXAMPLE
            raise self._error(f"a field name expected, found {name.shown}", name, hint)
        field = str(name.value)
        if field not in self._schema:
            raise self._error(f"there is no field `{field}`", name, self._known(field))
        if self._takes("not", "in"):
            return Not(In(field, self._list(field)))
        type_, operator = self._schema[field].type, self._take()
        if operator.kind == "in":
            return In(field, self._list(field))
        if operator.kind == "has":
            return Has(field, self._value(field))
        if operator.kind not in _COMPARISONS:
            hint = f"For example: {field} == true" if type_ == "boolean" else "One of: == != < <= > >= has, in, not in."
            raise self._error(f"an operator expected after `{field}`, found {operator.shown}", operator, hint)
        if operator.kind not in ("==", "!=") and type_ != "number":
            raise self._error(f"`{field}` is {type_}, it has no order", operator, f"Use == != has in with `{field}`.")
        return Compare(field, cast(Operator, operator.kind), self._value(field))

    def _value(self, field: str) -> Scalar:
        token = self._take()
        wanted = self._schema[field].type
        hint = f"For example: {_VALUES[wanted]}"
        if token.kind != "value":
            hint = "Text stands in quotes." if token.kind == "name" else hint
            raise self._error(f"a value expected, found {token.shown}", token, hint)
        if type_of(token.value) != wanted:
            raise self._error(f"`{field}` is {wanted}, {token.shown} is {type_of(token.value)}", token, hint)
        return token.value

    def _list(self, field: str) -> tuple[Scalar, ...]:
        if not self._takes("["):
            raise self._error(f"'[' expected, found {self._peek.shown}", self._peek, _LISTS)
        values: list[Scalar] = []
        while not self._takes("]"):
            if values and not self._takes(","):
                raise self._error(f"',' or ']' expected, found {self._peek.shown}", self._peek, _LISTS)
            values.append(self._value(field))
        return tuple(values)

    def _known(self, field: str) -> str:
        folded = {name.casefold(): name for name in self._schema}
        near = difflib.get_close_matches(field.casefold(), folded, n=1, cutoff=0.6)
        names = sorted(self._schema)
        listed = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
        return (f"Did you mean `{folded[near[0]]}`? " if near else "") + f"Fields: {listed}."

    def _unreadable(self, position: int) -> FilterError:
        character = self._text[position]
        if character in "\"'`":
            return self._error(f"the {character} is not closed", position, f"End it with {character}.")
        hints = {"&": 'Write "and".', "|": 'Write "or".', "!": 'Write "not", or != to compare.'}
        return self._error(f"{character!r} cannot be read", position, hints.get(character, _EXAMPLE))

    def _error(self, message: str, place: _Token | int, hint: str) -> FilterError:
        """Shows up to 30 characters either side of the fault with a caret below it."""
        position = place if isinstance(place, int) else place.position
        start = max(0, position - 30)
        shown = re.sub(r"\s", " ", self._text[start : position + 30])
        caret = " " * (position - start) + "^"
        return FilterError(f"filter, character {position + 1}: {message}\n    {shown}\n    {caret}", position=position, hint=hint)
