"""What a text refuses that no attribute tells: `not spiral`, `no clowns or dolls`, `without a lid`.

Items whose text says such words are left out. So only words count that stand right behind a plain refusal: `I don't want to spend
much` refuses nothing that a text would say.
"""

import re
from collections.abc import Collection, Iterable, Sequence

from genrec.dialogue.polarity import NOT_REFUSING, describes
from genrec.dialogue.words import FUNCTION, Word, stem, words_of

LONGEST = 3
"""Words of one refusal: an item that has them all is left out."""
LONGEST_WORD = 40
"""Letters."""
MOST = 8
"""Latest refusals of a dialogue that count."""

_QUOTE = "['’´`]?"
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
