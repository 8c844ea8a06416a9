"""Which attributes tell what an item is: codes and prices do not; those that people's titles name come first."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from genrec.captions.tag_terms import values_of
from genrec.types import AttributeValue, Item

CODE_SHARE = 0.9
"""At least this share of an attribute's values must be codes, and distinct, for it to say nothing in a caption."""
CODE_DIGITS = 7
"""Whole numbers of at least this many digits can be codes, too: article numbers, times in seconds."""
MIN_TITLES = 5
"""From fewer titles an attribute is not judged."""
MIN_NAMED = 0.1
"""An attribute counts as named in titles when at least this share of them name its value."""
UNITS = frozenset(
    """
    chf cl cm days eur ft g gb gbp h hours inch inches kg km kw l lb lbs m mah mb mg min mins minutes ml mm months mp oz pages
    percent px tb usd v w watt watts weeks years
    """.split()
)
"""Endings of columns that are units."""
VOLATILE = frozenset(
    """
    bewertung clicks cost costs discount downloads inventory lagerbestand likes popularity precio preis price prices prix rank
    ranking rating ratings reviews sales sold stock views votes
    """.split()
)
"""Numbers under such names describe an offer and its success: they change while the item stays the same."""
_CODE = re.compile(r"(?=\S*\d)\S+|\w+://\S*")
_WORD = re.compile(r"\w+")
_PART = re.compile(r"[\s_()-]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def code_attributes(items: Iterable[Item]) -> frozenset[str]:
    """Attributes whose values are addresses, or codes that hardly any two items share (`tt0114709`, `4006381333931`)."""
    seen: dict[str, Counter[object]] = {}
    coded: Counter[str] = Counter()
    for item in items:
        for name, value in item.attributes.items():
            if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
                seen.setdefault(name, Counter())[value] += 1
                coded[name] += _is_code(value)
    return frozenset(
        name
        for name, values in seen.items()
        if coded[name] >= CODE_SHARE * (total := values.total()) and len(values) >= CODE_SHARE * total
    )


def _is_code(value: str | int) -> bool:
    return abs(value) >= 10 ** (CODE_DIGITS - 1) if isinstance(value, int) else _CODE.fullmatch(value) is not None


def without_volatile(attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    """Without prices, stocks and ratings: a caption that names them would soon be false, or paid for again every day."""
    return {name: value for name, value in attributes.items() if not (_is_number(value) and VOLATILE & _parts(name))}


def attributes_named_in_titles(items: Iterable[Item]) -> list[str]:
    """Attributes whose values people's titles name, those named by the largest share of titles first."""
    named: dict[str, list[bool]] = {}
    for item in items:
        title = _words(item.title)
        if not title.strip():
            continue
        for name, value in item.attributes.items():
            if values := values_of(value):
                named.setdefault(name, []).append(any(_words(one) in title for one in values))
    shares = {name: fmean(found) for name, found in named.items() if len(found) >= MIN_TITLES}
    return sorted((name for name, share in shares.items() if share >= MIN_NAMED), key=lambda name: -shares[name])


def put_first(attributes: Mapping[str, AttributeValue], first: Sequence[str]) -> dict[str, AttributeValue]:
    """`attributes`, those of `first` before the others."""
    names = [name for name in first if name in attributes]
    return {name: attributes[name] for name in dict.fromkeys([*names, *attributes])}


def with_units(attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    """`weight_g: 727` as `weight: 727 g`, where the item has no `weight`."""
    found: dict[str, AttributeValue] = {}
    for name, value in attributes.items():
        *before, unit = _PART.split(name.rstrip(" _()-"))
        plain = "_".join(before)
        if _is_number(value) and plain and plain not in attributes and unit.lower() in UNITS:
            found[plain] = f"{value:.10g} {unit}"
        else:
            found[name] = value
    return found


def _parts(name: str) -> set[str]:
    """`unitPrice` and `unit_price` have the parts unit and price."""
    return set(_PART.split(_CAMEL.sub("_", name).lower()))


def _is_number(value: AttributeValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _words(text: str) -> str:
    """Words in lower case with a space before and after each, so that a substring is whole words."""
    return f" {' '.join(_WORD.findall(text.lower()))} "
