"""Numbers with their units and comparisons: `under two hours`, `from the late nineties`, `$10 to $20`, `at least 200 pages`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

from genrec.filters import And, Compare, Filter, Operator
from genrec.understanding.synonyms import Role
from genrec.understanding.vocabulary import Numbers, Vocabulary
from genrec.understanding.words import NUMBERS, stem

ABOUT = 0.1
"""`about two hours` is two hours and this share more or less."""

Comparison = Literal["<", "<=", ">", ">=", "==", "about", ""]
_WORD_NUMBER = "|".join(sorted(NUMBERS, key=len, reverse=True))
_WORDS = rf"(?:{_WORD_NUMBER})(?:[ -](?:{_WORD_NUMBER}|thousand)){{0,4}}"
_NUMBER = rf"(?:\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?|\d+(?:[.,]\d+)?(?:k\b|\s+thousand\b)?|{_WORDS})"
_DECADES = {
    name: 1900 + 10 * (2 + n)
    for n, name in enumerate("twenties thirties forties fifties sixties seventies eighties nineties".split())
}
_QUANTITY = re.compile(
    rf"""
    (?P<decade>(?:(?P<part>early|mid|late|the\s+end\s+of\s+the)[\s-]+(?:the\s+)?)?
        (?:(?P<named>{"|".join(_DECADES)}|noughties)|'?(?P<short>[1-9]0)['’]?s|(?P<long>(?:1[89]|20)\d0)['’]?s)\b)
  | (?P<century>(?P<nth>1[89]|2[01])(?:th|st)\s+century)
  | (?P<hours>(?:(?P<h>{_NUMBER})[\s-]*(?:hours?|hrs?|h)\b|(?P<anh>an?\s+(?:(?P<halfh>half\s+)?)hour)|(?P<half>half\s+an?\s+hour))
        (?:\s*(?P<andhalf>and\s+a\s+half)\b|(?:\s*and)?\s*(?P<m>\d+)\s*(?:minutes?|mins?|m)?\b)?
      | (?P<nhalf>{_NUMBER})\s+and\s+a\s+half[\s-]+(?:hours?|hrs?))
  | (?P<minutes>(?P<min>{_NUMBER})[\s-]*(?:minutes?|mins?)\b)
  | (?P<money>[$€£]\s?(?P<sign>\d+(?:,\d{{3}})*(?:\.\d+)?)
        |(?P<cash>{_NUMBER})\s*(?:dollars?|bucks?|usd|euros?|eur|€|pounds?|quid|gbp)(?!\w))
  | (?P<stars>(?P<star>{_NUMBER})[\s-]*stars?\b)
  | (?P<pack>packs?\s+of\s+(?P<of>{_NUMBER})\b|(?P<npack>{_NUMBER})[\s-]*(?:packs?|count|pieces|pcs)\b
        |(?P<inpack>{_NUMBER})(?:\s+or\s+(?:(?P<ormore>more)|(?P<orless>fewer|less)))?\s+(?:in|to|per)\s+(?:a|the|each)\s+pack\b)
  | (?P<age>\b(?:{_NUMBER})[\s-]*(?:years?|yrs?|months?)[\s-]*olds?\b|\b(?:{_NUMBER})\s*yo\b)
  | (?P<year>(?<![\w.$€£])(?:1[89]|20)\d\d(?![\w%]|\.\d))
  | (?P<bare>(?<![\w.$€£-])(?:\d+(?:[.,]\d+)*(?:k|\s+thousand)?|(?!one\b(?!\s+(?:hundred|thousand)\b)){_WORDS}\b)(?!\w))
    """,
    re.VERBOSE,
)
_BEFORE: tuple[tuple[str, Comparison, Role], ...] = (
    (
        r"(?:no|not|never|nothing|none|isn't|without anything)\s+(?:any\s+)?"
        r"(?:longer|older|later|newer|more|higher|bigger|over|above|after)(?:\s+than)?|no\s+later\s+than",
        "<=",
        "other",
    ),
    (r"(?:no|not|nothing|never)\s+(?:any\s+)?(?:less|shorter|earlier|fewer|lower|under|below|before)(?:\s+than)?", ">=", "other"),
    (
        r"at\s+(?:the\s+)?most|up\s+to|max(?:imum)?(?:\s+of)?|within|until|till|limit\s+(?:of|is)|budget\s+(?:of|is)|not\s+exceeding",
        "<=",
        "other",
    ),
    (r"(?:only|just)?\s*(?:have|got|has|spend|spending|afford|pay)(?:\s+(?:only|just|about))?", "<=", "other"),
    (r"at\s+(?:the\s+very\s+|the\s+)?least|min(?:imum)?(?:\s+of)?|since|starting\s+(?:at|from|in)", ">=", "other"),
    (r"shorter\s+than", "<", "duration"),
    (r"longer\s+than", ">", "duration"),
    (r"cheaper\s+than|less\s+expensive\s+than|costs?\s+(?:less\s+than|under)|costing\s+(?:less\s+than|under)", "<", "price"),
    (r"more\s+expensive\s+than|pricier\s+than|costs?\s+(?:more\s+than|over)", ">", "price"),
    (r"before|older\s+than|earlier\s+than|prior\s+to|pre[-\s]", "<", "year"),
    (r"after|newer\s+than|later\s+than|more\s+recent\s+than|post[-\s]", ">", "year"),
    (r"lighter\s+than", "<", "weight"),
    (r"heavier\s+than", ">", "weight"),
    (r"under|below|less\s+than|fewer\s+than|lower\s+than|smaller\s+than|<", "<", "other"),
    (r"over|above|more\s+than|greater\s+than|higher\s+than|bigger\s+than|better\s+than|exceeding|>", ">", "other"),
    (r"about|around|roughly|approximately|approx\.?|circa|some|~", "about", "other"),
)
_THOUSANDS = re.compile(r"k$|\s+thousand$")
_FILLER = r"(?:\s+(?:the|a|an|year|years|of|in|my|rating|price))*\s*"
_PREFIXES: list[tuple[re.Pattern[str], Comparison, Role]] = [
    (re.compile(rf"(?<!\w)(?:{words}){_FILLER}$"), comparison, role) for words, comparison, role in _BEFORE
]
_SUFFIXES: tuple[tuple[re.Pattern[str], Comparison], ...] = (
    (
        re.compile(
            r"\s*,?\s*(?:or|and)\s+(?:less|under|below|lower|shorter|cheaper|fewer|earlier|older|before|smaller|lighter)\b"
            r"|\s+is\s+(?:my|the|our)\s+(?:\w+\s+)?(?:limit|max(?:imum)?)\b"
            r"|\s*,?\s*(?:long\s+)?(?:max(?:imum)?|tops|at\s+(?:the\s+)?most)\b(?!\s+(?:of\s+)?[$€£]?\d)"
        ),
        "<=",
    ),
    (
        re.compile(
            r"\s*,?\s*(?:or|and)\s+(?:more|above|higher|later|newer|younger|longer|better|larger|bigger|taller|greater|heavier|over|up|after|onwards?|upwards?)\b|\s*\+|\s*(?:onwards?|upwards?|plus|minimum|at\s+(?:the\s+)?least)\b|\s+on\b(?!\s+(?:a|the)\b)"
        ),
        ">=",
    ),
)
_JOINED = re.compile(r"\s*(?:-|–|—|to|and|until|till|through)\s*(?:the\s+)?")
_FROM = re.compile(r"(?:between|from|btw)\s+(?:the\s+)?$")
_YEAR_PREFIX = re.compile(r"(?:from|in|of|released|made|circa|year)(?:\s+(?:the|year|in|back))*\s*$")
_DECADE_PREFIX = re.compile(r"(?:from|in|of|during|made|set)?\s*(?:the\s+)?$")


_UNITS: tuple[tuple[str, tuple[str, ...], Role], ...] = (
    ("minutes", ("min",), "duration"),
    ("money", ("sign", "cash"), "price"),
    ("stars", ("star",), "rating"),
    ("pack", ("of", "npack", "inpack"), "pack"),
)
"""Group of the pattern, groups with its number, role."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """`low`..`high` (in the unit of `role`: years, minutes, money) at [start, end) of the text; `said`: its own comparison;
    `expected`: the attribute that is meant where nothing says another.
    """

    start: int
    end: int
    low: float
    high: float
    role: Role
    bare: bool = False
    said: Comparison = ""
    expected: str = ""


@dataclass(frozen=True, slots=True)
class Bound:
    """What the text at [start, end) asks of `attribute`."""

    start: int
    end: int
    attribute: str
    filter: Filter


def lowered(text: str) -> str:
    """Lower case with every character in its place."""
    low = text.lower()
    return low if len(low) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def quantities_in(low: str) -> list[Quantity]:
    """The numbers of a text in lower case (`lowered`), with their units, in order of place."""
    return [made for found in _QUANTITY.finditer(low) if (made := _read(found)) is not None]


def bounds_of(low: str, quantities: Sequence[Quantity], vocabulary: Vocabulary, *, asked: str = "") -> list[Bound]:
    """What the `quantities` of a text in lower case ask of numeric attributes, in order of place. What fits no attribute is left
    alone; a number without a unit is of `asked`, where that attribute was asked for.
    """
    if not vocabulary.numbers:
        return []
    quantities = [replace(one, expected=asked) for one in quantities]
    found: list[Bound] = []
    place = 0
    while place < len(quantities):
        first = quantities[place]
        second = quantities[place + 1] if place + 1 < len(quantities) else None
        bound = _range(low, first, second, vocabulary) if second is not None else None
        if bound is not None:
            place += 1
        else:
            bound = _single(low, first, vocabulary)
        if bound is not None and (not found or bound.start >= found[-1].end):
            found.append(bound)
        place += 1
    return found


def unmet_in(low: str, quantities: Sequence[Quantity], vocabulary: Vocabulary) -> list[tuple[int, int, Role]]:
    """(start, end, role) of prices and lengths of time that no attribute of the catalogue tells."""
    found = []
    for one in quantities:
        if one.role in ("price", "duration") and vocabulary.with_role(one.role) is None:
            _, start, end, _ = _comparison(low, one)
            found.append((start, end, one.role))
    return found


def _read(found: re.Match[str]) -> Quantity | None:
    start, end = found.span()
    if found["decade"]:
        first = _decade(found)
        return Quantity(start, end, *_part_of_decade(first, found["part"] or ""), "year")
    if found["century"]:
        first = (int(found["nth"]) - 1) * 100
        return Quantity(start, end, first, first + 99, "year")
    if found["year"]:
        year = float(found["year"])
        return Quantity(start, end, year, year, "year")
    for kind, groups, role in _UNITS:
        if found[kind]:
            value = number(next(found[group] for group in groups if found[group]))
            said: Comparison = ">=" if found["ormore"] else "<=" if found["orless"] else ""
            return None if value is None else Quantity(start, end, value, value, role, said=said)
    if found["hours"]:
        return _hours(found)
    if found["age"]:  # of a person
        return None
    value = number(found["bare"])
    return None if value is None else Quantity(start, end, value, value, "other", bare=True)


def _hours(found: re.Match[str]) -> Quantity | None:
    if found["half"]:
        hours: float | None = 0.5
    elif found["anh"]:
        hours = 0.5 if found["halfh"] else 1.0
    else:
        hours = number(found["h"] or found["nhalf"])
    if hours is None:
        return None
    hours += 0.5 if found["andhalf"] or found["nhalf"] else 0.0
    minutes = hours * 60 + (float(found["m"]) if found["m"] else 0.0)
    return Quantity(found.start(), found.end(), minutes, minutes, "duration")


def number(shown: str) -> float | None:
    """`1,000`, `2.5`, `2,5`, `twenty five`; None for what is too long to mean anything."""
    if shown[0].isdigit():
        shown, times = _THOUSANDS.sub("", shown), 1000.0 if _THOUSANDS.search(shown) else 1.0
        if len(shown) > 15:
            return None
        plain = shown.replace(",", "") if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", shown) else shown.replace(",", ".")
        try:
            return times * float(plain)
        except ValueError:
            return None
    total, part = 0, 0
    for word in re.split(r"[ -]", shown):
        if word == "thousand":
            total, part = total + 1000 * max(1, part), 0
        else:
            part = max(1, part) * 100 if word == "hundred" else part + NUMBERS[word]
    return float(total + part)


def _decade(found: re.Match[str]) -> int:
    if found["long"]:
        return int(found["long"])
    if found["short"]:
        return 1900 + int(found["short"])
    return _DECADES.get(found["named"], 2000)


def _part_of_decade(first: int, part: str) -> tuple[float, float]:
    if part == "early":
        return first, first + 3
    if part == "mid":
        return first + 4, first + 6
    return (first + 7, first + 9) if part else (first, first + 9)


def _range(low: str, first: Quantity, second: Quantity, vocabulary: Vocabulary) -> Bound | None:
    joint = _JOINED.fullmatch(low[first.end : second.start])
    opened = _FROM.search(low[max(0, first.start - 16) : first.start])
    if joint is None or (not opened and low[first.end : second.start].strip() in ("and", "")):
        return None
    if first.bare and not second.bare:
        scale = 60.0 if second.role == "duration" and second.low >= 60 and first.low < 10 else 1.0
        first = replace(first, role=second.role, low=first.low * scale, high=first.high * scale, bare=False)
    elif second.bare and not first.bare:
        if first.role == "year":
            return None
        second = replace(second, role=first.role, bare=False)
    start = first.start - len(opened[0]) if opened else first.start
    target = _target(low, replace(first, end=second.end, start=start), vocabulary, asked=True)
    if first.role != second.role or target is None or first.low > second.high:
        return None
    parts = (_compare(target, ">=", first.low), _compare(target, "<=", second.high))
    return Bound(start, second.end, target.name, And(parts))


def _single(low: str, one: Quantity, vocabulary: Vocabulary) -> Bound | None:
    comparison, start, end, hint = _comparison(low, one)
    if one.bare and hint != "other":
        one = replace(one, role=hint)
    target = _target(low, replace(one, start=start, end=end), vocabulary, asked=bool(comparison))
    if target is None:
        return None
    noun = _noun(low, end, target)
    end += noun
    if noun and not comparison:
        comparison, _, end, _ = _comparison(low, replace(one, end=end))
    return _bound(low, one, comparison, start, end, target)


def _bound(low: str, one: Quantity, comparison: Comparison, start: int, end: int, target: Numbers) -> Bound | None:
    if not comparison:
        if one.role == "year":
            prefix = (_YEAR_PREFIX if one.low == one.high else _DECADE_PREFIX).search(low[max(0, start - 24) : start])
            start -= len(prefix[0]) if prefix else 0
            comparison = "=="
        else:
            comparison = "about" if target.role in ("duration", "price") else "=="
    if comparison == "==" and one.low != one.high:
        parts = (_compare(target, ">=", one.low), _compare(target, "<=", one.high))
        return Bound(start, end, target.name, And(parts))
    if comparison == "about":
        span = 2.0 if target.role == "year" else ABOUT * one.low
        parts = (_compare(target, ">=", one.low - span), _compare(target, "<=", one.high + span))
        return Bound(start, end, target.name, And(parts))
    edge = one.high if comparison in (">", "<=") else one.low
    return Bound(start, end, target.name, _compare(target, comparison, edge))


def _comparison(low: str, one: Quantity) -> tuple[Comparison, int, int, Role]:
    """How the number is compared, the span with the words that say so, and the role they imply."""
    if one.said:
        return one.said, one.start, one.end, "other"
    before = low[max(0, one.start - 40) : one.start]
    for pattern, comparison, role in _PREFIXES:
        found = pattern.search(before)
        if found:
            turned = one.role == "year" and comparison == "<=" and "older" in found[0]  # of an age it says the opposite
            return ">=" if turned else comparison, one.start - len(found[0]), one.end, role
    for pattern, comparison in _SUFFIXES:
        found = pattern.match(low, one.end)
        if found and not (one.role == "year" and found[0].strip() == "on"):
            return comparison, one.start, found.end(), "other"
        if found:
            return comparison, one.start, found.end(), "year"
    return "", one.start, one.end, "other"


def _target(low: str, one: Quantity, vocabulary: Vocabulary, *, asked: bool) -> Numbers | None:
    """The attribute that is meant: by the unit, by its name near the number, by the range of its values."""
    if one.role != "other":
        found = vocabulary.with_role(one.role)
        if found is not None or one.role != "pack":
            return found
    named = _named(low, one, vocabulary)
    expected = vocabulary.numbers.get(one.expected)
    if named is None and expected is not None and expected.likely(one.low):
        return expected
    if named is not None or not asked:
        return named
    likely = [numbers for numbers in vocabulary.numbers.values() if numbers.likely(one.low)]
    priced = [numbers for numbers in likely if numbers.role == "price"]
    return priced[0] if priced else likely[0] if len(likely) == 1 else None


def _named(low: str, one: Quantity, vocabulary: Vocabulary) -> Numbers | None:
    after = [stem(word) for word in re.findall(r"[^\W\d_]+", low[one.end : one.end + 30])[:2]]
    before = [stem(word) for word in re.findall(r"[^\W\d_]+", low[max(0, one.start - 30) : one.start])[-3:]]
    for words in (after[:1], before[::-1], after):
        for word in words:
            for numbers in vocabulary.numbers.values():
                if word in numbers.words or (numbers.role == "rating" and word in ("rated", "rating")):
                    return numbers
    return None


def _noun(low: str, end: int, target: Numbers) -> int:
    """Length of the unit's name right after the number: `200 pages`."""
    found = re.match(r"[\s-]*([^\W\d_]+)(?:\s+long|\s+in\s+total)?", low[end : end + 40])
    return found.end() if found and stem(found[1]) in target.words else 0


def _compare(target: Numbers, comparison: str, value: float) -> Compare:
    if target.role == "duration":
        value = value / target.minutes
    value = round(value, 6)
    return Compare(target.name, cast(Operator, comparison), int(value) if value == int(value) else value)
