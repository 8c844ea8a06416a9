"""`the second one`, `#2`, `the last`: items of the last list, found in text as titles are."""

import re
from collections.abc import Collection, Iterator, Sequence

from genrec.understanding.linking import FindsItems, Mention

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_PLACES = {word: place for place, word in enumerate(_ORDINALS)} | {f"{n + 1}": n for n in range(10)}
_SUFFIXED = {"1st": 0, "2nd": 1, "3rd": 2} | {f"{n}th": n - 1 for n in range(4, 11)}
_ORDINAL = re.compile(
    r"\b(?P<the>the\s+)?(?P<word>first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|1st|2nd|3rd|[4-9]th|10th|last|latter|former)"
    r"(?P<what>\s+(?:one|item|film|movie|book|game|suggestion|recommendation|option|choice|pick))?\b"
    r"(?!\s+(?:time|year|half|hand|world|season|episode|part|decade|century|war|thing|place|night|day|week|of\s+all))",
    re.IGNORECASE,
)
_BEFORE = re.compile(
    r"(?:^|\b(?:compare|between|and|or|vs\.?|versus|with|is|was|about|like|liked|love|loved|why|not|take|seen|want|than|to|pick|yes|no|ok|okay|then))\W{0,3}$",
    re.IGNORECASE,
)
"""What comes before a bare `second` that speaks of the list: in `sharp, second` it is a word like others."""
_NUMBER = re.compile(
    r"(?:#\s?|\b(?:number|no\.|option|item)\s+)(?P<word>10|[1-9])\b(?!\s*(?:%|stars?|minutes|hours))", re.IGNORECASE
)
_SEVERAL = re.compile(r"\b(?:the\s+)?(?P<side>first|last|top)\s+(?P<many>two|three|2|3)\b", re.IGNORECASE)
_PAIR = re.compile(
    r"(?:^|\b(?:compare|between|either|both|is|are))\s*#?(?P<one>10|[1-9])\s*(?:and|or|vs\.?|versus|with|to|&)\s*#?(?P<other>10|[1-9])\b"
    r"(?!\s*(?:%|stars?|minutes|hours|years|people))",
    re.IGNORECASE,
)
_ALONE = re.compile(r"\s*(?:(?:ok|okay|yes|fine|take|then)\W+)?(?P<word>10|[1-9])[.)!]?\s*")


class Referring:
    """`linker`, and beside what it finds the places in `these`, the last list that was shown. `known`: items of the dialogue so
    far, whose titles need fewer signs to be meant.
    """

    def __init__(self, linker: FindsItems, these: Sequence[str], known: Collection[str] = ()) -> None:
        self._linker, self._these, self._known = linker, tuple(these), known

    def link(self, text: str, known: Collection[str] = ()) -> list[Mention]:
        """In order of place; no two overlap, titles win. `known` adds to that of the dialogue."""
        found = self._linker.link(text, {*self._known, *known})
        if not self._these:
            return found
        if _ALONE.fullmatch(text) and any(item_id for *_, item_id in self._places(text)):
            found = []  # a number by itself, though an item may be called so
        for start, end, item_id in self._places(text):
            if item_id and all(end <= other.start or other.end <= start for other in found):
                found.append(Mention(start=start, end=end, text=text[start:end], item_ids=(item_id,), score=1.0, kind="place"))
        return sorted(found, key=lambda mention: mention.start)

    def _places(self, text: str) -> Iterator[tuple[int, int, str]]:
        """(start, end, item) of all that may speak of the list; the longer way to say it first."""
        if alone := _ALONE.fullmatch(text):
            yield *alone.span("word"), self._item(alone["word"])
            return
        for several in _SEVERAL.finditer(text):
            count = 2 if several["many"].lower() in ("two", "2") else 3
            chosen = self._these[-count:] if several["side"].lower() == "last" else self._these[:count]
            start, end = several.span()
            for place, item_id in enumerate(chosen):  # each gets a character or more of the words, the last one the rest
                yield start + place, end if place == len(chosen) - 1 else start + place + 1, item_id
        for pair in _PAIR.finditer(text):
            yield *pair.span("one"), self._item(pair["one"])
            yield *pair.span("other"), self._item(pair["other"])
        ordinals = (one for one in _ORDINAL.finditer(text) if one["the"] or one["what"] or _BEFORE.search(text[: one.start()]))
        for one in (*ordinals, *_NUMBER.finditer(text)):
            yield *one.span(), self._item(one["word"].lower())

    def _item(self, word: str) -> str:
        if word in ("last", "latter"):
            return self._these[-1]
        place = 0 if word == "former" else _PLACES.get(word, _SUFFIXED.get(word, len(self._these)))
        return self._these[place] if place < len(self._these) else ""
