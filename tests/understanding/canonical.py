"""Filters in one form, so that equal meanings compare equal: negations inside, whole numbers with <= and >= only."""

from collections.abc import Mapping
from typing import Any

from genrec.filters import And, Compare, Field, Filter, Has, In, Not, Or

WHOLE = frozenset({"year", "runtime_min", "pack_size", "pages", "sheets"})
_TURNED = {"<": ">=", ">=": "<", ">": "<=", "<=": ">"}


def canonical(tree: Filter | None, schema: Mapping[str, Field]) -> Any:
    """Nested tuples; `None` for no filter."""
    return None if tree is None else _form(tree, schema, negated=False)


def _form(node: Filter, schema: Mapping[str, Field], *, negated: bool) -> Any:
    match node:
        case Not(part):
            return _form(part, schema, negated=not negated)
        case In(field, values):
            return _joined("or", [Has(field, value) for value in values], schema, negated=negated)
        case And(parts):
            return _joined("and", parts, schema, negated=negated)
        case Or(parts):
            return _joined("or", parts, schema, negated=negated)
        case Has(field, value) | Compare(field, "==", value):
            return _equal(field, value, negated)
        case Compare(field, "!=", value):
            return _equal(field, value, not negated)
        case Compare(field, op, value):
            turned = _TURNED[op] if negated else op
            return _whole(field, turned, float(value)) if field in WHOLE else (field, turned, float(value))


def _equal(field: str, value: Any, negated: bool) -> tuple[str, str, Any]:
    if isinstance(value, bool):
        return field, "==", value is not negated
    return field, "!=" if negated else "==", float(value) if isinstance(value, int | float) else value


def _whole(field: str, op: str, value: float) -> tuple[str, str, float]:
    if op == "<":
        return field, "<=", value - 1
    return (field, ">=", value + 1) if op == ">" else (field, op, value)


def _joined(kind: str, parts: Any, schema: Mapping[str, Field], *, negated: bool) -> Any:
    kind = {"and": "or", "or": "and"}[kind] if negated else kind
    flat: set[Any] = set()
    for part in parts:
        form = _form(part, schema, negated=negated)
        flat |= set(form[1]) if form[0] == kind else {form}
    return next(iter(flat)) if len(flat) == 1 else (kind, frozenset(flat))
