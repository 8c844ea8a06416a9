"""Filters in an engine's own terms. Both engines take the same conditions, each in classes of its own: a `Dialect`."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from genrec.filters import And, Compare, Filter, Has, In, Not, Or, coerce
from genrec.index.layout import Layout, stored
from genrec.types import Scalar, type_of

C = TypeVar("C")


class Dialect(Protocol[C]):
    """Builds the conditions of one engine."""

    def any_of(self, key: str, values: list[str]) -> C: ...

    def range(self, key: str, *, gt: float | None, gte: float | None, lt: float | None, lte: float | None) -> C: ...

    def ids(self, point_ids: Sequence[str]) -> C: ...

    def every(self, parts: list[C]) -> C: ...

    def some(self, parts: list[C]) -> C: ...

    def none(self, parts: list[C]) -> C: ...


def translate(tree: Filter, layout: Layout, dialect: Dialect[C]) -> C:
    """The filter as one condition. Raises IndexFault when the index holds a field otherwise than the filter expects."""
    match tree:
        case And(parts):
            return dialect.every([translate(part, layout, dialect) for part in parts])
        case Or(parts):
            return _some([translate(part, layout, dialect) for part in parts], dialect)
        case Not(part):
            return dialect.none([translate(part, layout, dialect)])
        case In(field, values):
            return _in(field, values, layout, dialect)
        case Has(field, value) | Compare(field, "==", value):
            return _in(field, (value,), layout, dialect)
        case Compare(field, "!=", value):
            return dialect.none([_in(field, (value,), layout, dialect)])
        case Compare(field, op, value):
            key = layout.key_for(field, value, "number")
            bound = float(value)
            return dialect.range(
                key,
                gt=bound if op == ">" else None,
                gte=bound if op == ">=" else None,
                lt=bound if op == "<" else None,
                lte=bound if op == "<=" else None,
            )


def _in(field: str, values: Sequence[Scalar], layout: Layout, dialect: Dialect[C]) -> C:
    parts: list[C] = []
    texts: list[str] = []
    for value in values:
        key = layout.key_for(field, value, type_of(value))
        for one in coerce(value, type_of(value)):
            word = stored(one)
            if isinstance(word, str):
                texts.append(word)
            else:  # engines match text and integers; a float is equal when it lies in [word, word]
                parts.append(dialect.range(key, gt=None, gte=word, lt=None, lte=word))
    if texts:
        parts.append(dialect.any_of(layout.keys[field], texts))
    return _some(parts, dialect)


def _some(parts: list[C], dialect: Dialect[C]) -> C:
    """At least one part; engines read an empty list of alternatives as true, so none is written as 'no point'."""
    if not parts:
        return dialect.ids([])
    return parts[0] if len(parts) == 1 else dialect.some(parts)
