"""Which parts of a text are refused: words of negation and how far they reach."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from genrec.understanding.attribute_values import Element
from genrec.understanding.quantities import lowered
from genrec.understanding.words import FUNCTION, Word, stem, words_of

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


LONGEST = 3
"""Words of one refusal: an item that has them all is left out."""
LONGEST_WORD = 40
"""Letters."""
MOST = 8
"""Latest refusals of a dialogue that count."""

_FILL = (
    r"(?:(?:any|a|an|the|with|of|about|for|in|more|such|having|have|has|be|contain(?:s|ing)?|includ(?:e|es|ing)|involv(?:e|es|ing)"
    r"|to\s+do\s+with)\s+)"
)
_REFUSAL = re.compile(
    rf"""\b(?:
      (?<!do\ )(?<!does\ )(?<!did\ )(?<!have\ )(?<!has\ )(?<!can\ )(?<!could\ )(?<!will\ )(?<!would\ )(?<!was\ )(?<!am\ )
        not(?:\s+(?:really\s+)?(?:a\s+(?:big\s+)?fan\s+of|into|keen\s+on|fond\s+of|interested\s+in))?
      |no|non|without|nothing|neither|nor|minus|except(?:\s+for)?|excluding|exclude|avoid(?:ing)?|leave\s+out|hate|dislike
      |(?:that|which|ones?)\s+(?:is|are)n{_QUOTE}t|(?:do|does)(?:n{_QUOTE}t|\s+not)(?=\s+(?:have|contain|include|involve)\b)
      |(?:anything|everything|all|whatever)\s+(?:but|except|other\s+than|besides)|other\s+than|rather\s+than|instead\s+of
      |(?:sick|tired|bored)\s+of|none\s+with
      |(?:do\s+not|don{_QUOTE}t|wouldn{_QUOTE}t|can{_QUOTE}t|cannot)\s+(?:really\s+|actually\s+)?(?:want|like|need|stand|bear)
    )(?!\w)(?!\s+(?:quite|as|to(?!\s+do\s+with))\b)[\s-]+(?:(?:too|so|very|really|that|overly)\s+)?{_FILL}{{0,3}}""",
    re.VERBOSE,
)
_FURTHER = re.compile(rf"\s*(?:,\s*)?(?:or|nor)\s+{_FILL}{{0,2}}")
_BESIDE = re.compile(r"\s*-?\s*")
_NO_WORD = frozenset(
    """movie movies film films book books item items product products thing things one ones stuff title titles kind sort type
    pls plz idea ideas impressed convinced interested helpful happy sure funny working boring exciting interesting
    available necessary important required possible problem rush hurry luck clue worries matter preference mind care
    longer shorter cheap expensive correct true fair enough fan fun bothered mood suggestion suggestions recommendation
    recommendations list budget limit money deal pressure stress doubt question questions anymore tonight tomorrow
    spoilers picky fussy offense offence kidding joke""".split()
)
"""Said of the talk or of a whole list more often than of what an item's text says."""


def excluded(
    low: str, words: Sequence[Word], spans: Sequence[tuple[int, int]], names: Collection[str] = ()
) -> list[tuple[int, int]]:
    """Spans of what is refused in a text in lower case, in order of place, each of at most `LONGEST` words; `spans` are taken,
    `names` (stems) name attributes: `no pattern` is said of no text.
    """
    idle = [found.span() for found in NOT_REFUSING.finditer(low) if not found[0].endswith(("so", "that"))]
    spans = [*spans, *((word.start, word.end) for word in words if stem(word.key) in names)]
    starts = {word.start: place for place, word in enumerate(words)}
    found: list[tuple[int, int]] = []
    for cue in _REFUSAL.finditer(low):
        if any(start < cue.end() and cue.start() < end for start, end in idle) or describes(low, cue.start()):
            continue
        place: int | None = cue.end()
        while place is not None:
            span = _run(low, place, starts, words, spans)
            further = _FURTHER.match(low, span[1]) if span else None
            place = further.end() if further else None
            if span and span not in found:
                found.append(span)
    return found


def _run(
    low: str, place: int, starts: dict[int, int], words: Sequence[Word], spans: Sequence[tuple[int, int]]
) -> tuple[int, int] | None:
    """The words from the character `place` on that say something, as far as nothing but a space or hyphen is between."""
    first = starts.get(place)
    if first is None:
        return None
    last = first
    while last < len(words) and last - first < LONGEST and _says(words[last], spans):
        last += 1
        if last < len(words) and not _BESIDE.fullmatch(low[words[last - 1].end : words[last].start]):
            break
    return (words[first].start, words[last - 1].end) if last > first else None


def _says(word: Word, spans: Sequence[tuple[int, int]]) -> bool:
    taken = any(start < word.end and word.start < end for start, end in spans)
    plain = word.key not in FUNCTION and word.key not in _NO_WORD and not word.key.isdigit()
    return not taken and plain and 1 < len(word.key) <= LONGEST_WORD


def standing(before: Sequence[str], now: Sequence[str], wish: str) -> tuple[str, ...]:
    """What is refused after a turn that refuses `now` and wishes for `wish`, the latest last. A wish takes its words back."""
    wished = stems(wish)
    kept = [one for one in before if not stems(one) <= wished and one not in now]
    return (*kept, *dict.fromkeys(now))[-MOST:]


def without_refused(needs: Iterable[str], refused: Iterable[str]) -> tuple[str, ...]:
    """The wishes without what is refused now, where they have all of its words; a wish of nothing else is gone."""
    left = list(needs)
    for gone in map(stems, refused):
        left = [_without(need, gone) if gone <= stems(need) else need for need in left]
    return tuple(need for need in left if need)


def _without(need: str, gone: frozenset[str]) -> str:
    return " ".join(word.shown for word in words_of(need) if stem(word.key) not in gone)


def stems(text: str) -> frozenset[str]:
    return frozenset(stem(word.key) for word in words_of(text))
