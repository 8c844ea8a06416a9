"""Items that a text names: `Linker(items).link(text)`.

Titles are found whole (without year, with articles moved, other spaces, accents, Roman numbers), in part (`Infinity War`), with
typing errors, and, for long titles of goods, by words that only they have together. Whether words that are also ordinary
speech (`Up`, `Her`, `Signs`) name an item is decided by the signs around them: quotes, a year, capitals, `have you seen`.
"""

import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from genrec.types import Item, scalars
from genrec.understanding.phrases import Hit, PhraseIndex
from genrec.understanding.titles import Form, Kind, Overlap, forms_of, with_article, year_near, year_of
from genrec.understanding.words import (
    ARTICLES,
    COMMON,
    FUNCTION,
    LETTERS,
    Word,
    begins_sentence,
    fold,
    is_capital,
    is_common,
    is_function,
    numeral,
    words_of,
)

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


MOST_CANDIDATES = 12
"""Items kept for one ambiguous mention."""
MOST_TEXT_WORDS = 400_000
"""Words of the items' texts that are read to learn what is ordinary speech in this catalogue."""
MOST_ASIDES = 2
"""What stands in brackets in more titles than this, `(Red)`, names none of them."""
LONG_WORD = 7
"""Letters from which a word with a typo is still told apart from others."""
ORDINARY = 0.0003
"""Share of texts with a word in lower case, from which it counts as ordinary; at least two texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """`text` stands at [start, end) and names one of `item_ids`, the likeliest first; score in (0, 1].

    kind   `exact` (the whole title), `partial` (a part of it), `typo`, `place` (in the last list)
    """

    start: int
    end: int
    text: str
    item_ids: tuple[str, ...]
    score: float
    kind: Kind


@dataclass(frozen=True, slots=True)
class _Found:
    """A mention before overlaps are settled. `rows`: the items, `weight`: what decides overlaps."""

    first: int
    last: int
    rows: tuple[int, ...]
    score: float
    kind: Kind
    year: int
    start: int
    end: int

    @property
    def weight(self) -> tuple[float, float]:
        return (self.last - self.first) * (1.0 if self.kind == "exact" else 0.9) * self.score + (
            0.5 if self.year else 0.0
        ), self.score


class FindsItems(Protocol):
    def link(self, text: str, known: Collection[str] = ()) -> list[Mention]:
        """The items that `text` names, in order of place; no two overlap. `known`: items that were spoken of just now."""
        ...


class Linker:
    """Finds items of one catalogue in text. `popularity`: item id to how often it was chosen, to order what is ambiguous.

    Built once (about 20 µs a title); safe to share among threads.
    """

    def __init__(self, items: Iterable[Item], popularity: Mapping[str, float] | None = None) -> None:
        ids: list[str] = []
        self._years = array("i")
        self._chosen = array("f")
        self._spelt = array("q")  # a hash of each title as it is spelt
        self._owners = array("i")
        self._forms: list[Form] = []
        phrases: list[tuple[str, ...]] = []
        lower: Counter[str] = Counter()
        raw: set[str] = set()
        texts = read = 0
        for row, item in enumerate(items):
            ids.append(item.item_id)
            self._years.append(year_of(item))
            self._chosen.append(float((popularity or {}).get(item.item_id, 0.0)))
            self._spelt.append(_spelling(item.title))
            for form in forms_of(item.title):
                self._forms.append(form)
                self._owners.append(row)
                phrases.append(form.keys)
            if item.text and read < MOST_TEXT_WORDS:
                said = {fold(word) for word in set(LETTERS.findall(item.text)) if word.islower()}
                lower.update(said)
                texts, read = texts + 1, read + len(said)
            raw.update(value for value in _texts(item) if 2 < len(value) < 50)
        names = {name for name in map(_name, raw) if name}
        self.item_ids: tuple[str, ...] = tuple(ids)
        self._ordinary = frozenset(key for key, count in lower.items() if count >= max(2, ORDINARY * texts))
        right = {key for key, count in lower.items() if count > 1} | {word for name in names for word in name.split()}
        self._index = PhraseIndex(phrases, numeral, right)
        self._values = frozenset(name for name in names if " " in name)
        self._words = frozenset(name for name in names if " " not in name)
        whole = {row: form.keys for row, form in zip(reversed(self._owners), reversed(self._forms), strict=True) if form.whole}
        self._overlap = Overlap({row: [numeral(key) for key in keys] for row, keys in whole.items()})

    def link(self, text: str, known: Collection[str] = ()) -> list[Mention]:
        """The items that `text` names, in order of place; no two overlap. The whole title of a `known` item needs fewer signs."""
        words = words_of(text)
        if not words or not self.item_ids:
            return []
        keys = self._index.keys(words)
        signs = Signs(text, words)
        found = self._whole_and_parts(keys, words, signs, known)
        taken = {place for one in found if one.kind == "exact" for place in range(one.first, one.last)}
        found += self._mistyped(keys, words, signs, taken)
        kept = _settled(found)
        taken = {place for one in kept for place in range(one.first, one.last)}
        found = [*kept, *self._by_overlap(keys, words, signs, taken)]
        return [self._mention(text, one) for one in _settled(found)]

    def _whole_and_parts(self, keys: list[str], words: list[Word], signs: Signs, known: Collection[str]) -> list[_Found]:
        spans: dict[tuple[int, int], list[Hit]] = defaultdict(list)
        for hit in self._index.exact(keys, words):
            spans[hit.first, hit.last].append(hit)
        named = self._named(keys)
        found = []
        for hits in spans.values():
            whole = [hit for hit in hits if self._forms[hit.phrase].whole]
            one = self._judged(whole or hits, words, signs, kind="exact" if whole else "partial", known=known)
            inside = one is not None and any(first <= one.first and one.last <= last for first, last in named)
            if one is not None and not (inside and not one.year and not signs.quoted(one.start, one.end)):
                found.append(one)
        return found

    def _mistyped(self, keys: list[str], words: list[Word], signs: Signs, taken: set[int]) -> list[_Found]:
        spans: dict[tuple[int, int], list[Hit]] = defaultdict(list)
        for hit in self._index.mistyped(keys, taken):
            spans[hit.first, hit.last].append(hit)
        found = []
        for (first, last), hits in spans.items():
            if taken.issuperset(range(first, last)):
                continue
            least = min(hit.typos for hit in hits)
            near = [hit for hit in hits if hit.typos == least]
            whole = [hit for hit in near if self._forms[hit.phrase].whole]
            one = self._judged(whole or near, words, signs, kind="typo")
            if one is not None:
                letters = sum(len(key) for key in keys[first:last])
                found.append(replace(one, score=one.score * (0.95 if whole else 0.8) * (1 - least / letters)))
        return found

    def _judged(
        self, hits: Sequence[Hit], words: list[Word], signs: Signs, *, kind: Kind, known: Collection[str] = ()
    ) -> _Found | None:
        """What these hits on the same words name, or None when the words are meant as themselves."""
        hit = hits[0]
        articles = {self._forms[one.phrase].article for one in hits}
        first = with_article(words, hit.first, next(iter(articles - {""}), ""))
        rows = sorted({self._owners[one.phrase] for one in hits})
        aside = all(self._forms[one.phrase].aside for one in hits)
        if (kind == "partial" or aside) and self._is_shared(self._index.phrases[hit.phrase], len(rows)):
            return None
        if aside and len(rows) > MOST_ASIDES:
            return None
        year, start, end = year_near(signs.text, words[first].start, words[hit.last - 1].end)
        if year and not any(abs(self._years[row] - year) <= 1 for row in rows):
            dated = any(self._years[row] for row in rows)
            year, start, end = (
                (-1 if dated and end > words[hit.last - 1].end + 3 else 0),
                words[first].start,
                words[hit.last - 1].end,
            )
        weak = self._weakness(words[hit.first : hit.last], hits, kind, articled=first < hit.first)
        if hit.last - hit.first > 1 and signs.offhand(first, hit.last, self._ordinary):
            weak = max(weak, 1)
        if weak and first == hit.first and first and words[first - 1].key in ARTICLES:
            weak = min(3, weak + 1)
        if weak < 2 and hit.last - hit.first == 1 and signs.inside_name(first, hit.last):
            weak = 3
        if known and kind == "exact" and weak < 3 and any(self.item_ids[row] in known for row in rows):
            weak = 0 if hit.last - hit.first > 1 else max(0, weak - 1)
        score = signs.belief(first, hit.first, hit.last, weak, year=year > 0)
        if score <= 0:
            return None
        if year < 0:
            score *= 0.7
        score *= (0.97 if not hit.spaced else 1.0) * (0.85 if kind == "partial" else 1.0)
        said = words[first].key if first < hit.first else ""
        meant = {self._owners[one.phrase] for one in hits if self._forms[one.phrase].article == said}
        ordered = self._ordered(rows, max(year, 0), meant, _spelling(signs.text[start:end]))
        return _Found(first, hit.last, ordered, score, kind, max(year, 0), start, end)

    def _is_shared(self, keys: tuple[str, ...], hits: int) -> bool:
        """Whether a part of a title says little: most titles with these words do not have them as a part (a brand)."""
        most = max(MOST_CANDIDATES, 3 * hits)
        return self._overlap.holding(keys, most) > most

    def _weakness(self, words: list[Word], hits: Sequence[Hit], kind: Kind, *, articled: bool) -> int:
        """0: hardly anything else can be meant; 3: hardly an item can be."""
        weak = weakness(words, self._ordinary, spaced=hits[0].spaced)
        if len(words) == 1 and words[0].key in self._words:
            weak = 2
        single = len(words) == 1
        if weak and not articled and all(self._forms[one.phrase].article for one in hits):
            weak += 1
        if kind == "partial" or (kind == "typo" and single):
            weak += 2 if single and (kind == "partial" or len(words[0].key) < LONG_WORD) else 1
        return min(weak, 3)

    def _ordered(self, rows: Sequence[int], year: int, articled: set[int], spelt: int) -> tuple[int, ...]:
        """Likeliest first; with a year said, those of that year alone. Of equals, a title that is spelt just so."""
        if year:
            for slack in (0, 1):
                same = [row for row in rows if self._years[row] and abs(self._years[row] - year) <= slack]
                if same:
                    rows = same
                    break
        best = sorted(rows, key=lambda row: self._rank(row, articled, spelt))
        return tuple(best[:MOST_CANDIDATES])

    def _rank(self, row: int, articled: set[int], spelt: int) -> tuple[bool, float, bool, int, int]:
        return row not in articled, -self._chosen[row], self._spelt[row] != spelt, -self._years[row], row

    def _named(self, keys: list[str]) -> list[tuple[int, int]]:
        """Spans that are a value of an attribute, of two words or more: a person, a brand."""
        return [
            (first, last)
            for first in range(len(keys))
            for last in range(first + 2, min(first + 4, len(keys)) + 1)
            if " ".join(keys[first:last]) in self._values
        ]

    def _by_overlap(self, keys: list[str], words: list[Word], signs: Signs, taken: set[int]) -> list[_Found]:
        named = {place for first, last in self._named(keys) for place in range(first, last)}
        found = []
        for first, last, rows, share in self._overlap.find(keys, taken | named):
            if signs.telling(first, last, self._ordinary):
                start, end = words[first].start, words[last - 1].end
                ordered = tuple(sorted(rows, key=lambda row: (-self._chosen[row], -self._years[row], row)))
                found.append(
                    _Found(first, last, ordered[:MOST_CANDIDATES], round(0.5 + 0.3 * share, 3), "partial", 0, start, end)
                )
        return found

    def _mention(self, text: str, one: _Found) -> Mention:
        return Mention(
            start=one.start,
            end=one.end,
            text=text[one.start : one.end],
            item_ids=tuple(self.item_ids[row] for row in one.rows),
            score=round(min(1.0, one.score), 4),
            kind=one.kind,
        )


def _texts(item: Item) -> Iterator[str]:
    """Values of attributes in text: they mean themselves before they are titles."""
    for value in item.attributes.values():
        for one in scalars(value):
            if isinstance(one, str):
                yield one


def _spelling(title: str) -> int:
    return hash(title.strip())


def _name(value: str) -> str:
    """The keys of a value of one to four words, empty for a longer one."""
    keys = [numeral(word.key) for word in words_of(value)]
    return " ".join(keys) if len(keys) <= 4 else ""


def _settled(found: Sequence[_Found]) -> list[_Found]:
    """The weightiest of what overlaps, in order of place."""
    kept: list[_Found] = []
    for one in sorted(found, key=lambda one: (one.weight, -one.start), reverse=True):
        if all(one.end <= other.start or other.end <= one.start for other in kept):
            kept.append(one)
    return sorted(kept, key=lambda one: one.start)
