"""Which parts of a text are refused: words of negation and how far they reach."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from genrec.dialogue.quantities import lowered
from genrec.dialogue.values import Element
from genrec.dialogue.words import Word

NAMED = "\ue000"
"""Stands for a mention in text in which words are looked for."""
_QUOTE = "['’´`]?"
NOT_REFUSING = re.compile(
    rf"""\b(?:not\s+(?:only|just|necessarily|bad|sure|that|so|really\s+sure)
    |never\s*mind|no(?=\s*[,.;!]\s)|no\s+(?:matter|problem|worries|idea|need|preference)
    |why\s+not|can{_QUOTE}t\s+(?:wait|decide|remember|think|find|go\s+wrong)|(?:don{_QUOTE}t|do\s+not)\s+(?:mind|know|care|remember|have|think)|if\s+not|or\s+not|not\s+yet
    |(?:have|has|had|did)(?:n{_QUOTE}t|\s+not|\s+never)\s+(?:\w+\s+)?(?:seen|see|watched|heard|tried|found|read|know)
    |never\s+(?:seen|watched|heard|tried|read)|(?:does|do)(?:n{_QUOTE}t|\s+not)\s+(?:have|need)\s+to)\b""",
    re.VERBOSE,
)
REFUSING = re.compile(
    rf"""\b(?:
      (?:anything|everything|all|any\s+\w+|whatever)\s+(?:but|except|other\s+than|besides)
    | other\s+than | rather\s+than | instead\s+of | (?:sick|tired|bored|had\s+enough)\s+of | no\s+more | neither | nor
    | (?:do\s+not|don{_QUOTE}t|did\s+not|didn{_QUOTE}t|never|not|wouldn{_QUOTE}t|won{_QUOTE}t|not\s+really)\s+
        (?:really\s+|actually\s+|even\s+|particularly\s+|much\s+)?(?:want|like|need|love|enjoy|care\s+for|watch|into|interested\s+in|in\s+the\s+mood\s+for|looking\s+for|a\s+fan\s+of|fond\s+of|keen\s+on|going\s+for|recommend|suggest|show\s+me|give\s+me)
    | (?:can{_QUOTE}t|cannot|can\s+not)\s+(?:stand|bear|deal\s+with|watch)
    | hate[sd]? | dislike[sd]?
    | despise | loathe | detest | avoid(?:ing)? | skip(?:ping)? | excluding | exclude | except(?:\s+for)?
    | without | minus | leave\s+out | forget(?:\s+about)?
    | too(?=\s+\w)(?!\s+(?:and|but|or|please|i|with|from)\b) | nothing | none\s+of | never | not | no | non
    | (?:is|are|was|were|do|does|did|would|should|could|have|has)n{_QUOTE}t
    )\b""",
    re.VERBOSE,
)
_RESTART = re.compile(
    r"""[.!?;\n()]|\b(?:but|however|although|though|while|yet|otherwise|instead|just|only|maybe|perhaps|preferably|ideally
    |(?:i|we|id|i'd|i'll|i’d)\s+(?:want|need|like|love|prefer|would|am|do|really|enjoy)|(?:give|show|find|get)\s+(?:me|us)|looking\s+for|let's|let’s|i'd|i’d|i'm|i’m
    |want|prefer|make\s+it|what\s+about|how\s+about|recommend|suggest)\b""",
    re.VERBOSE,
)
_AFTER = re.compile(
    rf"\s*(?:(?:movies?|films?|ones?|stuff)\s+)?(?:(?:is|are)\s+(?:not\b|out\b|off\b|a\s+no\b)|(?:is|are)n{_QUOTE}t\s+(?:for|my)|not\s+my\s+thing|not\s+for\s+me"
    rf"|(?:{_QUOTE}s|is|are)\s+a\s+no\b|(?:bores?|annoys?|scares?|exhausts?|disgusts?)\s+(?:me|us)\b|,?\s*(?:seriously|really)\s*\?)"
    r"|[^.!?;\n]{0,15}\?\s*(?:[^.!?;\n]{1,15}\?\s*)?(?:no(?!\s+(?:matter|problem|idea))|nah|nope|never|yuck|ugh|eww?|please\s+no)\b"
)


_DESCRIBING = re.compile(
    rf"(?:^|[.!?,;\n]|\b(?:and|but|because|i\s+thought|think)\b)\s*"
    rf"(?:(?:it|that|this|they|these|those)(?:\s+(?:movie|film|one)s?)?|the\s+\w+|{NAMED})\s*(?:['’]s|was|is|were|are)\s+(?:\w+\s+){{0,3}}$"
)


def describes(masked: str, start: int) -> bool:
    """Whether what begins at `start` is said of something shown before (`it was funny`) and so asks for nothing.

    `masked`: the text in lower case, each mention as one `NAMED` and spaces, place by place.
    """
    return bool(_DESCRIBING.search(masked[max(0, start - 60) : start]))


@dataclass(frozen=True, slots=True)
class Reach:
    """Where refusals begin, and where they end at the latest."""

    low: str
    cues: tuple[tuple[int, int], ...]
    stops: tuple[int, ...]

    def cue(self, place: int) -> tuple[int, int] | None:
        """The words of negation that reach the character `place`, commas aside."""
        cue = next((cue for cue in reversed(self.cues) if cue[1] <= place), None)
        if cue is None or any(cue[1] <= stop < place for stop in self.stops):
            return None
        return cue


def reach_of(text: str, settled: Sequence[tuple[int, int]] = ()) -> Reach:
    """The words of negation of a text, and where a new thought begins. `settled`: spans that have their own words of it."""
    low = lowered(text)
    idle = [*settled, *(found.span() for found in NOT_REFUSING.finditer(low))]
    cues = [
        found.span()
        for found in REFUSING.finditer(low)
        if not any(start < found.end() and found.start() < end for start, end in idle)
    ]
    stops = [
        found.start()
        for found in _RESTART.finditer(low)
        if not any(start < found.end() and found.start() < end for start, end in cues)
    ]
    return Reach(low, tuple(cues), tuple(stops))


def refused(elements: Sequence[Element], words: Sequence[Word], text: str) -> list[bool]:
    """For each element, in order of place, whether it is refused."""
    reach = reach_of(text, [(one.start, one.end) for one in elements])
    out: list[bool] = []
    for place, one in enumerate(elements):
        cue = None if one.settled else reach.cue(one.start)
        inside = cue is not None and _reaches(cue, place, elements, out, words, text)
        out.append(inside or (not one.settled and bool(_AFTER.match(reach.low, one.end))))
    return out


def _reaches(
    cue: tuple[int, int], place: int, elements: Sequence[Element], out: Sequence[bool], words: Sequence[Word], text: str
) -> bool:
    one = elements[place]
    between = [n for n in range(place) if elements[n].start >= cue[1]]
    if not between:
        return "," not in text[cue[1] : one.start]
    before = elements[place - 1]
    if not out[place - 1] or (one.number and not before.number):
        return False
    gap = text[before.end : one.start]
    keys = {word.key for word in words[before.last : one.first]}
    if "," in gap:
        return one.attribute == before.attribute and (bool(keys & {"or", "nor", "and"}) or _listed(place, elements, words))
    if one.attribute == before.attribute or not keys:
        return True
    return bool(keys & {"or", "nor"}) or not keys & {"from", "in", "with", "by", "on", "for", "of", "that", "which"}


def _listed(place: int, elements: Sequence[Element], words: Sequence[Word]) -> bool:
    """Whether the list that this element stands in ends with `or` and one more of the kind."""
    for one, after in zip(elements[place:], elements[place + 1 :], strict=False):
        if one.attribute != after.attribute:
            return False
        keys = {word.key for word in words[one.last : after.first]}
        if keys & {"or", "nor", "and"}:
            return True
        if keys:
            return False
    return False
