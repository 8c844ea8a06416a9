"""`the second one`, `#2`, `the last`: items of the last list, found in text as titles are."""

import re
from collections.abc import Sequence

from genrec.dialogue.linking import FindsItems, Mention

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_PLACES = {word: place for place, word in enumerate(_ORDINALS)} | {f"{n + 1}": n for n in range(10)}
_SUFFIXED = {"1st": 0, "2nd": 1, "3rd": 2} | {f"{n}th": n - 1 for n in range(4, 11)}
_ORDINAL = re.compile(
    r"\b(?:the\s+)?(?P<word>first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|1st|2nd|3rd|[4-9]th|10th|last|latter|former)"
    r"(?:\s+(?:one|item|film|movie|book|game|suggestion|recommendation|option|choice|pick))?\b"
    r"(?!\s+(?:time|year|half|hand|world|season|episode|part|decade|century|war|thing|place|night|day|week|of\s+all))",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"(?:#\s?|\b(?:number|no\.|option|item)\s+)(?P<word>10|[1-9])\b(?!\s*(?:%|stars?|minutes|hours))", re.IGNORECASE
)
_ALONE = re.compile(r"\s*(?P<word>10|[1-9])[.)!]?\s*")


class Referring:
    """`linker`, and beside what it finds the places in `these`, the last list that was shown."""

    def __init__(self, linker: FindsItems, these: Sequence[str]) -> None:
        self._linker, self._these = linker, tuple(these)

    def link(self, text: str) -> list[Mention]:
        """In order of place; no two overlap, titles win."""
        found = self._linker.link(text)
        if not self._these:
            return found
        alone = _ALONE.fullmatch(text)
        places = [alone] if alone else [*_ORDINAL.finditer(text), *_NUMBER.finditer(text)]
        for one in places:
            item_id = self._item(one["word"].lower())
            start, end = one.span() if not alone else one.span("word")
            if item_id and all(end <= other.start or other.end <= start for other in found):
                found.append(Mention(start=start, end=end, text=text[start:end], item_ids=(item_id,), score=1.0, kind="exact"))
        return sorted(found, key=lambda mention: mention.start)

    def _item(self, word: str) -> str:
        if word in ("last", "latter"):
            return self._these[-1]
        place = 0 if word == "former" else _PLACES.get(word, _SUFFIXED.get(word, len(self._these)))
        return self._these[place] if place < len(self._these) else ""
