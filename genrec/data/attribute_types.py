"""Free attributes: one type for each column, whatever the format.

A typed column (Parquet, JSON) keeps its type; text of a delimited file is a number or boolean if every value of the
column is. Whole numbers among fractions become fractions; any other mixture becomes text. `NaN`, `None`, `null` and
nothing are absent everywhere, `NA` and `N/A` in columns that are otherwise numbers.
"""

import json
import math
import re
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Literal

from genrec.data.cleaning import ABSENT_WORDS, absent, clean_text, plain
from genrec.data.ingest_report import CellFault
from genrec.types import AttributeValue, Scalar

ColumnType = Literal["int", "float", "bool", "text"]
_INT = re.compile(r"-?(0|[1-9]\d{0,17})")
_FLOAT = re.compile(r"[+-]?(?!0\d)(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
_NO_NUMBER = frozenset({"na", "n/a"})
_INT64 = 2**63


class ColumnTypes:
    """Learns the type of each column from all its values."""

    def __init__(self, *, untyped: bool) -> None:
        self._untyped = untyped
        self._types: dict[str, set[ColumnType]] = {}

    def learn(self, column: str, values: Iterable[Any]) -> None:
        seen = self._types.setdefault(column, set())
        for value in values:
            if "text" in seen:  # whatever follows, the column is text
                return
            if (type_ := type_of_value(value, untyped=self._untyped)) is not None:
                seen.add(type_)

    def type(self, column: str) -> ColumnType:
        seen = self._types.get(column, set())
        if len(seen) == 1:
            return next(iter(seen))
        return "float" if seen == {"int", "float"} else "text"


def unusable_type(value: Any) -> str:
    """The type of a value (or of one in its list) that no attribute can hold; "" if there is none."""
    if isinstance(value, list | tuple):
        return next((found for one in value if (found := unusable_type(one))), "")
    usable = value is None or isinstance(value, str | int | float | Decimal | datetime | date | time)
    return "" if usable else {"dict": "object", "bytes": "bytes"}.get(type(value).__name__, type(value).__name__)


def type_of_value(value: Any, *, untyped: bool) -> ColumnType | None:
    """The type that a value calls for; None for one that is absent or of no type that an attribute has."""
    if isinstance(value, str) and untyped:
        word = value.strip()
        if word.lower() in ABSENT_WORDS or word.lower() in _NO_NUMBER:
            return None
        if word.lower() in ("true", "false"):
            return "bool"
        if _INT.fullmatch(word):
            return "int"
        long_code = word.lstrip("+-").isdecimal()  # more digits than a number keeps
        return "float" if not long_code and _FLOAT.fullmatch(word) and math.isfinite(float(word)) else "text"
    if absent(value) or value == "" or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if abs(value) < _INT64 else "text"
    if isinstance(value, float | Decimal):
        return "float"
    return "text" if isinstance(value, str | datetime | date | time) else None


def attribute_value(
    value: Any, type_: ColumnType | None, column: str, *, untyped: bool, separator: str, limit: int
) -> AttributeValue | None:
    """The attribute's value, None where it is absent. With `type_` None it keeps its own type.

    Raises CellFault for too much text and for a broken JSON list.
    """
    if absent(value):
        return None
    if isinstance(value, str):
        if untyped and value.strip().lower() in ABSENT_WORDS:
            return None
        if len(value) > limit:
            raise CellFault("text too long", column, f"the text has {len(value):,} characters; the limit is {limit:,}")
        if separator:
            value = _split(value, separator, column)
    if isinstance(value, list | tuple):
        return _list(value, column, limit)
    type_ = type_ or type_of_value(value, untyped=untyped)
    return None if type_ is None else _scalar(value, type_, untyped)


def _scalar(value: Any, type_: ColumnType, untyped: bool) -> Scalar | None:
    if isinstance(value, float | Decimal) and not math.isfinite(value):
        return None
    if type_ == "text":
        text = plain(value)
        return None if text is None else clean_text(text) or None
    if isinstance(value, str):
        word = value.strip().lower()
        if word in _NO_NUMBER or not word:
            return None
        if type_ == "bool":
            return word == "true"
        return int(word) if type_ == "int" else float(word)
    if type_ == "float":
        return float(value)
    return value if isinstance(value, bool | int) else None


def _split(text: str, separator: str, column: str) -> Sequence[Any]:
    if separator != "json":
        return text.split(separator)
    try:
        found = json.loads(text) if text.strip() else []
    except (ValueError, RecursionError) as error:
        raise CellFault("bad list", column, f"not a JSON list: {error}") from None
    if not isinstance(found, list):
        raise CellFault("bad list", column, f"not a JSON list but {type(found).__name__}")
    return found


def _list(values: Sequence[Any], column: str, limit: int) -> AttributeValue | None:
    """A tuple of one type without repeats; nested lists are flattened, what is neither text, number nor boolean is dropped."""
    flat: list[Any] = []
    stack = list(reversed(values))  # no recursion: lists may be nested deeply
    while stack:
        value = stack.pop()
        if isinstance(value, list | tuple):
            stack += reversed(value)
        elif not absent(value):
            flat.append(value)
    types = ColumnTypes(untyped=False)
    types.learn(column, flat)
    type_ = types.type(column)
    scalars = [_scalar(value, type_, False) for value in flat]
    if (size := sum(len(scalar) for scalar in scalars if isinstance(scalar, str)) + len(scalars)) > limit:
        raise CellFault("text too long", column, f"the list has {size:,} characters; the limit is {limit:,}")
    return tuple(dict.fromkeys(scalar for scalar in scalars if scalar is not None)) or None
