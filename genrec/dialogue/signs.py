"""Signs in the text around some words that they name an item rather than mean themselves."""

import re
from collections.abc import Collection, Sequence

from genrec.dialogue.words import COMMON, FUNCTION, Word, begins_sentence, is_capital, is_common, is_function, numeral

_QUOTES = {'"': '"', "“": "”", "«": "»", "„": "“", "‘": "’", "'": "'", "*": "*", "_": "_", "`": "`"}
_CUE = re.compile(
    r"""(?:\b(?:seen|watch(?:ed|ing|es)?|rewatch(?:ed)?|called|named|titled|entitled|recommend(?:ed|ing)?|suggest(?:ed|ing)?|try
    |loved?|loving|enjoy(?:ed|ing)?|liked?|likes|hated?|prefer(?:red)?|favou?rites?|similar\s+to|such\s+as|more\s+like|is\s+like
    |heard\s+of|movies?|films?|fan\s+of|about|bought|own|ordered|saw|read|played|than|how\s+about|what\s+about|remember|think\s+of
    |and|or|finished|adore[ds]?)\s*[:,]?\s*(?:the\s+|an?\s+)?)$""",
    re.IGNORECASE | re.VERBOSE,
)
_WEAK_CUE = re.compile(
    r"\b(?:and|or|about|liked?|likes|loved?|than|movies?|films?|read|own|try|saw|more\s+like|is\s+like)\s+(?:the\s+|an?\s+)?$",
    re.IGNORECASE,
)
_NUMBER_CONTEXT = re.compile(
    r"(?:\b(?:from|in|since|before|after|until|till|of|around|about|under|over|than|between|and|to|year|least|most|by)\s*|[-–$€£#])$",
    re.IGNORECASE,
)
_NEAR = 30
_SHOUTING = 0.6
"""Share of words with a capital, above which capitals say nothing."""


def weakness(words: Sequence[Word], ordinary: Collection[str], *, spaced: bool = True) -> int:
    """How ordinary these words are: 0 hardly, 1 somewhat, 2 words of every talk. `ordinary`: common words if alone."""
    keys = [word.key for word in words]
    common = [is_common(key) or (len(keys) == 1 and key in ordinary) for key in keys]
    if not spaced and all(common):
        return 2
    if all(is_function(key) for key in keys):
        return 2 if len(keys) <= 2 else 1
    if all(numeral(key).isdigit() for key in keys) or (len(keys) == 1 and len(keys[0]) <= 2):
        return 2
    return int(all(common) and len(keys) <= 2)


class Signs:
    """The signs of one text."""

    def __init__(self, text: str, words: Sequence[Word]) -> None:
        self.text = text
        self._words = words
        lettered = [
            word for word in words if word.shown[0].isalpha() and word.key != "i" and not begins_sentence(text, word.start)
        ]
        upper = sum(word.shown[0].isupper() for word in lettered)
        self._cased = any(word.shown[0].isupper() and word.key != "i" for word in words)
        self._capitals_say = 0 < upper <= max(2, _SHOUTING * len(lettered)) or len(lettered) <= 3

    def quoted(self, start: int, end: int) -> bool:
        """Whether quotes, or the marks of emphasis, stand right around this span."""
        opening, closing = self.text[max(0, start - 1) : start], self.text[end : end + 2].lstrip(",.!?")[:1]
        return opening in _QUOTES and bool(opening) and _QUOTES[opening] == closing

    def capital(self, first: int, last: int) -> bool:
        """Whether the words are written as a title: capitals where a sentence would have none."""
        if not self._capitals_say:
            return False
        words = self._words[first:last]
        telling = [word for word in words if word.key not in FUNCTION] or list(words)
        if not all(is_capital(word.shown) for word in telling) or not any(word.shown[0].isupper() for word in words):
            return False
        return sum(word.shown[0].isupper() for word in words) > begins_sentence(self.text, words[0].start)

    def offhand(self, first: int, last: int, ordinary: Collection[str]) -> bool:
        """Whether ordinary words stand in small letters in a text that has capitals: `it is about a boy`."""
        words = self._words[first:last]
        return self._cased and all(word.shown.islower() and (is_common(word.key) or word.key in ordinary) for word in words)

    def cue(self, start: int) -> int:
        """2 for words before `start` that titles follow (`have you seen`), 1 for such that other words follow as well."""
        before = self.text[max(0, start - _NEAR) : start]
        if not _CUE.search(before):
            return 0
        return 1 if _WEAK_CUE.search(before) else 2

    def belief(self, shown: int, first: int, last: int, weak: int, *, year: bool) -> float:
        """How likely words [first, last) name an item, 0 for not; `shown`: first word with its article."""
        start, end = self._words[shown].start, self._words[last - 1].end
        if year or self.quoted(start, end) or self.quoted(self._words[first].start, end):
            return 1.0
        if weak == 0:
            return 0.95
        alone = shown == 0 and last == len(self._words)
        number = all(word.key.isdigit() for word in self._words[first:last])
        if number:
            odd = _NUMBER_CONTEXT.search(self.text[max(0, start - 12) : start]) or (not alone and self.cue(start) < 2)
            return 0.0 if odd else 0.7
        capital = self.capital(first, last) and self._words[first].key != "i"
        points = 2 * capital + self.cue(start) + 2 * alone
        least = 2 if weak == 1 else 3 if weak == 2 else 4
        return 0.0 if points < least else min(0.9, 0.7 + 0.1 * (points - least))

    def inside_name(self, first: int, last: int) -> bool:
        """Whether a capital stands right beside these words, as in a person's name of which they are a part."""
        if not self._capitals_say:
            return False
        for place in (first - 1, last):
            if not 0 <= place < len(self._words):
                continue
            word = self._words[place]
            left, right = (word.end, self._words[first].start) if place < first else (self._words[last - 1].end, word.start)
            beside = self.text[left:right] == " " and word.shown[0].isupper() and word.key not in FUNCTION
            if beside and not begins_sentence(self.text, word.start):
                return True
        return False

    def telling(self, first: int, last: int, ordinary: Collection[str]) -> bool:
        """Whether words that no phrase is made of still look like a product: a code, a capital amid a sentence, quotes."""
        words = self._words[first:last]
        if self.quoted(words[0].start, words[-1].end):
            return True
        coded = any(
            any(c.isdigit() for c in word.key) and any(c.isalpha() for c in word.key) and len(word.key) > 3 for word in words
        )
        lettered = [word for word in words if word.shown[0].isalpha() and word.key not in COMMON]
        named = [
            word
            for word in lettered
            if self._capitals_say and word.shown[0].isupper() and not begins_sentence(self.text, word.start)
        ]
        rare = [word for word in lettered if word.key not in ordinary]
        return coded or bool(named and rare)
