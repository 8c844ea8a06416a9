"""What a text thinks of the items it names: liked, disliked, already seen, or nothing."""

import re
from collections.abc import Sequence
from typing import Literal

from genrec.understanding.linking import Mention
from genrec.understanding.negation import reach_of

Attitude = Literal["liked", "disliked", "seen", "neutral"]

_BOUNDARY = re.compile(r"[.!?;\n]|\bbut\b|\bhowever\b|\balthough\b")
_BEFORE = 70
_AFTER = 60
_ASKED = re.compile(
    r"\b(?:have|did|do|would|are|were)\s+(?:you|u)\b|\b(?:what|how)\s+about\b|\bwhat\s+(?:is|are|was)\b|\btell\s+me\b|\bwho\b|\bis\b\s*$|\bwas\b\s*$"
)
_UNSEEN = re.compile(
    r"(?:\bnot\b|n['’´`]?t\b|\bnever\b|\bneed\s+to\b|\bwant\s+to\b|\bgoing\s+to\b|\bgonna\b|\bplan\s+to\b|\bd\s+like\s+to\b|\blove\s+to\b)"
    r"\s*(?:\w+\s+){0,2}(?:seen|see|saw|watch(?:ed)?|read|tried|heard\s+of|try)\b"
)
_SEEN = re.compile(
    r"\b(?:seen|saw|watched|rewatched|finished|already\s+(?:have|own|got|read|know)|bought|own|i\s+have|i['’]ve\s+got)\b"
)
_REFUSED_AS_SEEN = re.compile(rf"^\W*(?:no|nope|nah)\b[\s,]*(?:\w+['’]?\w*\s+){{0,3}}?{_SEEN.pattern}")
_LIKED = re.compile(
    r"\b(?:lik(?:e[ds]?|ing)|lov(?:e[ds]?|ing)|enjoy(?:ed|s|ing)?|adore[ds]?|fan\s+of|favou?rites?|fond\s+of|obsessed\s+with|into|prefer(?:red)?"
    r"|similar\s+to|such\s+as|along\s+the\s+lines\s+of|in\s+the\s+(?:vein|style|spirit|mood)\s+(?:of|for)|reminds\s+me\s+of"
    r"|great\s+(?:was|is)|best\s+(?:was|is|one)|really\s+into|recommended)\b"
)
_PRAISED = re.compile(
    r"^[^.!?;\n]{0,15}?\b(?:is|was|are|were|it['’]s|thats|that['’]s|so|a|an|really|very|and|i|we|my)\s+(?:\w+\s+){0,2}?"
    r"(?:great|good|amazing|awesome|excellent|fantastic|brilliant|wonderful|favou?rites?|perfect|love[ds]?|liked?|enjoyed|funny|"
    r"classic|masterpiece|fun|hilarious|best|incredible|cool)\b"
)
_PANNED = re.compile(
    r"^[^.!?;\n]{0,15}?\b(?:(?:is|was|are|were|it['’]s|so|really|very|too|and|i|we)\s+(?:\w+\s+){0,2}?"
    r"(?:boring|bad|terrible|awful|horrible|stupid|overrated|dull|disappointing|lame|worst|hate[ds]?|dumb|slow)"
    r"|(?:was|is|are|were)\s+(?:just\s+|a\s+bit\s+|far\s+|way\s+|much\s+)?too\s+\w+"
    r"|(?:was|is|are|were)(?:\s+not|n['’]?t)\s+(?:\w+\s+){0,2}?(?:good|great|funny|my|for\s+me|interesting)"
    r"|(?:did|do)(?:\s+not|n['’]?t)\s+(?:\w+\s+)?(?:like|enjoy|love|care)|sucked|sucks)\b"
)
_LIST = re.compile(r"[\s,;/&\"'“”()*_-]*(?:(?:and|or|also|plus|the|both|even|as well as|nor)[\s,\"'“”*_]*)*")


def attitudes(text: str, low: str, mentions: Sequence[Mention]) -> list[Attitude]:
    """One for each mention; `low` is the text in lower case, place by place."""
    reach = reach_of(text)
    out: list[Attitude] = []
    for place, mention in enumerate(mentions):
        before = mentions[place - 1] if place else None
        found = _attitude(low, mention, reach.cue(mention.start) is not None)
        if found == "neutral" and before is not None and _LIST.fullmatch(low[before.end : mention.start]):
            found = out[-1]
        elif (
            found != "neutral"
            and before is not None
            and _LIST.fullmatch(low[before.end : mention.start])
            and out[-1] == "neutral"
        ):
            _back(out, mentions, low, found)
        out.append(found)
    return out


def _back(out: list[Attitude], mentions: Sequence[Mention], low: str, found: Attitude) -> None:
    """What is said after a list holds for its earlier members, too: `Alien and Jaws were great`."""
    for place in range(len(out) - 1, -1, -1):
        if out[place] != "neutral" or not _LIST.fullmatch(low[mentions[place].end : mentions[place + 1].start]):
            return
        out[place] = found


def _attitude(low: str, mention: Mention, refused: bool) -> Attitude:
    before = _BOUNDARY.split(low[max(0, mention.start - _BEFORE) : mention.start])[-1]
    after = _BOUNDARY.split(low[mention.end : mention.end + _AFTER])[0]
    if _PANNED.search(after):
        return "disliked"
    if _PRAISED.search(after) and not _ASKED.search(before):
        return "liked"
    if _UNSEEN.search(before):
        return "neutral"
    if refused and _REFUSED_AS_SEEN.search(before):
        return "seen"
    if refused:
        return "disliked"
    asked = _ASKED.search(before)
    last = max(_LIKED.finditer(before), key=lambda found: found.end(), default=None)
    if last is not None and not (asked and asked.start() < last.start() and last[0].startswith(("lik", "lov", "enjoy", "favo"))):
        return "liked"
    if not asked and _SEEN.search(before):
        return "seen"
    return "neutral"
