"""Cells to values: text, ids, numbers and timestamps. What cannot be read raises CellFault with the column's name."""

import html
import math
import re
import unicodedata
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from html.entities import html5
from typing import Any

from genrec.data.ingest_report import CellFault

MAX_ID_CHARS = 256
MAX_RELATION_CHARS = 128
_BIDI = "\u202a-\u202e\u2066-\u2069"
_REMOVED = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_BIDI}\ud800-\udfff\ufeff]")
_NOT_IN_ID = re.compile(f"[\x00-\x1f\x7f-\x9f\u2028\u2029{_BIDI}\ud800-\udfff]")
_LINE_ENDS = re.compile("\r\n?|\u2028|\u2029|\x85")
_ENTITY = re.compile(r"&(?:(?:amp|AMP|#0*38|#[xX]0*26);)*(#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
_ESCAPED = 8
"""Most passes over entities within entities; what is only escaped several times needs one."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
ABSENT_WORDS = frozenset({"", "nan", "none", "null", "\\n"})
"""Text (lower case) that means `no value` in a column of a delimited file, except in a title or text."""

# Seconds, milliseconds, microseconds, nanoseconds: read as seconds each range starts in 1973 of the finer unit.
_FINER = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))
_LAST_SECOND = 1e11


def clean_text(text: str) -> str:
    """NFC text without control characters, surrogates and bidirectional overrides.

    Line ends become newlines, tabs become spaces; right-to-left text is kept as it is. HTML entities that end in a semicolon
    become what they stand for (`&reg;`, `&#39;`, and `&amp;reg;`, which was escaped twice).
    """
    for _ in range(_ESCAPED if "&" in text else 0):
        if (clean := _printable(_ENTITY.sub(_unescaped, text))) == text:
            return clean
        text = clean
    return _printable(text)


def _unescaped(entity: re.Match[str]) -> str:
    """The character that an entity stands for; an unknown name is kept."""
    name = f"{entity[1]};"
    return html.unescape(f"&{name}") if name[0] == "#" else html5.get(name, entity[0])


def _printable(text: str) -> str:
    if not (text.isascii() and text.isprintable()):
        text = _LINE_ENDS.sub("\n", text).replace("\t", " ")
        text = unicodedata.normalize("NFC", _REMOVED.sub("", text))
    return text.strip()


def absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def plain(value: Any) -> str | None:
    """A scalar as text; None if it is not a scalar."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if value.bit_length() < 13_000 else None  # Python refuses to print much longer ones
    if isinstance(value, float | Decimal):
        return repr(float(value))
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return None


def identifier(value: Any, column: str, *, what: str = "id", limit: int = MAX_ID_CHARS) -> str:
    """An id, or another identifying name, as text of at most `limit` characters.

    7.0 is "7" (a column of whole numbers with gaps is read as floats). `what`: its name in the fault.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if absent(value):
        raise CellFault(f"missing {what}", column, f"the {what} is missing")
    text = None if isinstance(value, bool | float) else plain(value)
    if text is None:
        raise CellFault(f"bad {what}", column, f"the {what} must be text or a whole number, not {type(value).__name__}")
    text = text.strip(" \t\r\n")
    if not text:
        raise CellFault(f"missing {what}", column, f"the {what} is missing")
    if len(text) > limit:
        raise CellFault(f"long {what}", column, f"the {what} has {len(text)} characters; the limit is {limit}")
    if found := _NOT_IN_ID.search(text):
        place = f"U+{ord(found[0]):04X} at position {found.start()}"
        raise CellFault(f"bad {what}", column, f"the {what} has the control character {place}")
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def text_of(value: Any, column: str, limit: int) -> str:
    """A text field, "" if absent; a list of paragraphs is joined. More than `limit` characters is a fault."""
    if absent(value):
        return ""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        parts = [plain(part) for part in value if not absent(part)]
        text = None if None in parts else "\n".join(part for part in parts if part)
    else:
        text = plain(value)
    if text is None:
        raise CellFault("wrong type", column, f"text is expected, not {type(value).__name__}")
    if len(text) > limit:
        raise CellFault("text too long", column, f"the text has {len(text):,} characters; the limit is {limit:,}")
    return clean_text(text)


def _shown(value: Any) -> str:
    text = clean_text(str(value)[:60])
    return repr(text if len(text) <= 40 else text[:40] + "…")


def number(value: Any, column: str) -> float | None:
    """A finite float; None where there is no value."""
    if isinstance(value, str):
        stripped = value.strip()
        if stripped.lower() in ABSENT_WORDS:
            return None
        if _NUMBER.fullmatch(stripped):
            value = float(stripped)
        elif stripped.lower() in ("true", "false"):
            value = stripped.lower() == "true"
    if absent(value):
        return None
    if not isinstance(value, int | float | Decimal):
        raise CellFault("not a number", column, f"{_shown(value)} is not a number")
    if abs(value) > 1e300 or not math.isfinite(value):
        raise CellFault("not a number", column, "the number is not finite")
    return float(value)


def timestamp(value: Any, column: str) -> float:
    """Seconds since 1970 UTC from ISO 8601 text, a date, or an epoch in s, ms, µs or ns (told apart by magnitude)."""
    if isinstance(value, str):
        value = _iso_or_number(value.strip(), column)
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        return (moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    if isinstance(value, date):
        return (value - date(1970, 1, 1)).days * 86400.0
    found = None if isinstance(value, bool) else number(value, column)
    if found is None:
        raise CellFault("bad time", column, "the time is missing" if absent(value) else f"{_shown(value)} is not a time")
    for start, unit in _FINER:
        if abs(found) >= start:
            found /= unit
            break
    if abs(found) >= _LAST_SECOND:
        raise CellFault("bad time", column, f"{_shown(value)} is not a time between the years -1199 and 5138")
    return found


def _iso_or_number(text: str, column: str) -> float | datetime | None:
    if text.lower() in ABSENT_WORDS:
        return None
    if _NUMBER.fullmatch(text):
        return float(text)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        message = f"{_shown(text)} is not a time (ISO 8601 such as 2024-05-31T18:00:00Z, or seconds since 1970)"
        raise CellFault("bad time", column, message) from None
