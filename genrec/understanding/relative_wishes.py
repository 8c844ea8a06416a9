"""Wishes relative to what was shown: `something shorter`, `fewer pages`, `nothing too old`, `cheap`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from genrec.understanding.synonyms import STEERS, TOO, Role
from genrec.understanding.vocabulary import Vocabulary

_STEER = re.compile(
    r"\b(?:" + "|".join(sorted(STEERS, key=len, reverse=True)) + r")\b(?!\s+than\s+(?!that|this|it|these|those|the))"
)
_LESS = re.compile(r"\b(?P<how>less|fewer|more)\s+(?P<what>[^\W\d_]{3,})(?!\s+than\b)")
_CHEAP = re.compile(
    r"(?<!not )(?<!too )\b(?:the\s+)?(?:cheap(?:est)?|inexpensive|affordable|low[\s-]+priced?)\b"
    r"|\b(?:not|least)\s+(?:(?:so|that|very)\s+)?(?:expensive|pricey)\b|\bon\s+a\s+(?:tight\s+|small\s+)?budget\b"
    r"|n['’]?t\s+(?:want\s+to\s+)?(?:spend|pay|cost)\s+(?:(?:too|that|so|very)\s+)?much\b"
)
"""Low prices by themselves."""
_TOO = re.compile(
    r"\b(?:(?:that|this|it|those|these|they)(?:['’]s|\s+is|\s+are|['’]re)\s+|not\s+|n['’]t\s+|nothing\s+)?(?:all\s+|a\s+bit\s+|far\s+|way\s+)?"
    rf"too\s+(?P<what>{'|'.join(TOO)})\b"
)


@dataclass(frozen=True, slots=True)
class Steer:
    """A wish relative to what was shown: `<` for less of `attribute` (`something shorter`), `>` for more."""

    attribute: str
    direction: str


@dataclass(frozen=True, slots=True)
class Steering:
    """`spans`: where the words of `steers` stand; `unmet`: (start, end, role) of wishes about prices that no item tells;
    `relative`: some of `steers` go by what was shown (`cheaper`, not `cheap`).
    """

    steers: tuple[Steer, ...]
    spans: tuple[tuple[int, int], ...]
    unmet: tuple[tuple[int, int, Role], ...]
    relative: bool


def steering_in(low: str, taken: Sequence[tuple[int, int]], vocabulary: Vocabulary) -> Steering:
    """The wishes of a text in lower case; words of comparison inside `taken` are part of something else."""
    steers: dict[Steer, None] = {}
    spans: list[tuple[int, int]] = []
    unmet: list[tuple[int, int, Role]] = []

    def wished(found: re.Match[str], role: Role, direction: str, used: Sequence[tuple[int, int]]) -> None:
        numbers = vocabulary.with_role(role)
        if numbers is not None and not _overlaps(found, used):
            steers[Steer(numbers.name, direction)] = None
            spans.append(found.span())
        elif numbers is None and role == "price":
            unmet.append((*found.span(), role))

    for found in _STEER.finditer(low):
        wished(found, *STEERS[" ".join(found[0].split())], taken)
    for found in _LESS.finditer(low):
        counted = vocabulary.counted(found["what"])
        if counted is not None and not _overlaps(found, spans):
            steers[Steer(counted.name, ">" if found["how"] == "more" else "<")] = None
            spans.append(found.span())
    for found in _TOO.finditer(low):
        wished(found, *TOO[found["what"]], ())
    relative = bool(steers)
    for found in _CHEAP.finditer(low):
        wished(found, "price", "<", taken)
    return Steering(tuple(steers), tuple(spans), tuple(unmet), relative)


def _overlaps(found: re.Match[str], spans: Sequence[tuple[int, int]]) -> bool:
    return any(start < found.end() and found.start() < end for start, end in spans)
