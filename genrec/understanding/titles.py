"""What people call an item: the forms of its title, and the year it is from."""

import html
import math
import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from genrec.types import Item
from genrec.understanding.words import ARTICLES, FUNCTION, Word, words_of

Kind = Literal["exact", "partial", "typo", "place"]

_YEAR = re.compile(r"\(\s*((?:18|19|20)\d\d)\s*(?:[-–/][^)]*)?\)")
_ARTICLE_LAST = re.compile(r"^(.*?),\s*(the|a|an|le|la|les|l'|der|die|das|el|los|las|il|lo|un|une)$", re.IGNORECASE)
_BRACKETS = re.compile(r"[(\[]([^()\[\]]*)[)\]]")
_PARTS = re.compile(r"\s*[:;]\s+|\s+[-–—|]\s+|:\s*$|\s+or:\s+|\s*,\s+(?=\S)")
_SERIES_HEAD = re.compile(r"^(\S+\s+\S+)\s+and\s+the\s+", re.IGNORECASE)
_EMPTY_WORDS = frozenset(
    """part parts episode chapter volume vol book season series edition movie film story the a an of and in new 1 2 3 4 5 6 7 8 9
    10 i ii iii iv v vi vii viii ix x one two three four five final pack count set piece pieces size inch inches black white blue
    red green assorted colors colours color""".split()
)
_YEAR_NAMES = ("year", "release_year", "released", "release_date", "date", "publication_year", "published")
LONG = 6
"""From this many words on, what stands before the first comma is a form too."""


@dataclass(frozen=True, slots=True)
class Form:
    """One way to name an item: its keys without a leading article, and whether it is the whole title. `aside`: what stands in
    brackets.
    """

    keys: tuple[str, ...]
    whole: bool
    article: str = ""
    aside: bool = False


def year_of(item: Item) -> int:
    """The year in brackets after the title, else of the attribute that holds one; 0 if unknown."""
    found = _YEAR.search(item.title)
    if found:
        return int(found[1])
    for name in _YEAR_NAMES:
        value = item.attributes.get(name)
        year = re.match(r"(18|19|20)\d\d(?!\d)", str(value)) if isinstance(value, int | float | str) else None
        if year:
            return int(year[0])
    return 0


def forms_of(title: str) -> list[Form]:
    """The whole title first; then what stands in brackets, before and after a colon, and (long titles) before a comma.

    No form is empty or made of words alone that say nothing (`Part II`).
    """
    forms: dict[tuple[str, ...], Form] = {}
    for text, whole, aside in _texts(html.unescape(title)):
        form = _form(text, whole=whole, aside=aside)
        telling = form is not None and (whole or not _EMPTY_WORDS.issuperset(form.keys))
        if form is not None and telling:
            forms.setdefault(form.keys, form)
    return list(forms.values())


def _texts(title: str) -> Iterator[tuple[str, bool, bool]]:
    """(text, whether it is the whole title, whether it stands in brackets)"""
    bare = _YEAR.sub(" ", title).strip() or title
    plain = _BRACKETS.sub(" ", bare).strip() or bare
    plain = _article_first(plain)
    yield plain, True, False
    if plain != bare:
        yield bare, True, False
        for inside in _BRACKETS.findall(bare):
            yield _article_first(inside.strip()), len(inside.split()) <= LONG and sum(c.isdigit() for c in inside) <= 1, True
    parts = [part for part in _PARTS.split(plain) if part.strip()]
    if len(parts) > 1:
        by_comma = len(words_of(plain)) >= LONG
        if by_comma or "," not in plain:
            yield parts[0], False, False
        if "," not in plain:
            yield parts[-1], False, False
    head = _SERIES_HEAD.match(plain)
    if head:
        yield head[1], False, False


def _article_first(title: str) -> str:
    moved = _ARTICLE_LAST.match(title.strip())
    return f"{moved[2]} {moved[1]}" if moved else title.strip()


def _form(text: str, *, whole: bool, aside: bool) -> Form | None:
    keys = tuple(word.key for word in words_of(text))
    article = keys[0] if len(keys) > 1 and keys[0] in ARTICLES else ""
    keys = keys[1:] if article else keys
    return Form(keys=keys, whole=whole, article=article, aside=aside) if keys else None


_YEAR_AFTER = re.compile(
    r"\s*(?:\(\s*((?:18|19|20)\d\d)\s*\)|[,]?\s*(?:from|of|in)\s+(?:the\s+year\s+)?((?:18|19|20)\d\d)(?![\w-])"
    r"|\s((?:18|19|20)\d\d)(?!\s*(?:s\b|[-–]|to\b|or\b|and\b))(?![\w-]))"
)
_YEAR_BEFORE = re.compile(r"(?<!\w)((?:18|19|20)\d\d)(?:'s)?\s+(?:version\s+of\s+|one\s+of\s+)?$")
_ONE_AFTER = re.compile(
    r"\s*[,(-]?\s*(?:the\s+)?((?:18|19|20)\d\d)\s+(?:one|version|film|movie|original|remake)\b", re.IGNORECASE
)


def year_near(text: str, start: int, end: int) -> tuple[int, int, int]:
    """The year said of `text[start:end]`, with the span grown over it: (year, start, end); year 0 if none is said."""
    for pattern in (_ONE_AFTER, _YEAR_AFTER):
        after = pattern.match(text, end, end + 40)
        if after:
            return int(next(group for group in after.groups() if group)), start, after.end()
    before = _YEAR_BEFORE.search(text[max(0, start - 20) : start])
    if before:
        return int(before[1]), start - len(before[0]), end
    return 0, start, end


def with_article(words: list[Word], first: int, article: str) -> int:
    """Place of the first word when the article before it belongs to the title."""
    return first - 1 if first and words[first - 1].key in ARTICLES and (article or words[first - 1].shown[0].isupper()) else first


LONGEST_RUN = 10
MOST = 16
"""Items that words may leave; more is no mention."""
MOST_POSTINGS = 3_000
"""Items of one word; words of more items only confirm."""
LEAST_WORDS = 2
LEAST_SHARE = 0.2
"""Of the information of a title, that must be said."""


class Overlap:
    """`titles`: row to the keys of its title."""

    def __init__(self, titles: Mapping[int, Sequence[str]]) -> None:
        counts = Counter(key for keys in titles.values() for key in set(keys))
        total = max(1, len(titles))
        self._weight = {key: math.log(1 + total / count) for key, count in counts.items()}
        self._postings: dict[str, array[int]] = defaultdict(lambda: array("i"))
        self._titles = {row: frozenset(keys) for row, keys in titles.items() if len(keys) >= LEAST_WORDS}
        for row, keys in self._titles.items():
            for key in keys:
                if counts[key] <= MOST_POSTINGS and key not in FUNCTION:
                    self._postings[key].append(row)

    def find(self, keys: Sequence[str], taken: Collection[int]) -> Iterator[tuple[int, int, tuple[int, ...], float]]:
        """(first word, last word without, rows, share of the title said); windows do not overlap."""
        for first, last in self._runs(keys, taken):
            best = self._best(keys, first, last)
            if best is not None:
                yield best

    def holding(self, keys: Sequence[str], most: int) -> int:
        """How many titles have all these words, counted up to `most` + 1."""
        rarest = min(keys, key=lambda key: len(self._postings.get(key, ())) or 10**9)
        found = 0
        for row in self._postings.get(rarest, ()):
            found += self._titles[row].issuperset(keys)
            if found > most:
                break
        return found

    def _runs(self, keys: Sequence[str], taken: Collection[int]) -> Iterator[tuple[int, int]]:
        first = None
        for place in range(len(keys) + 1):
            known = place < len(keys) and place not in taken and keys[place] in self._weight
            if known and keys[place] not in FUNCTION:
                first = place if first is None else first
                if place + 1 - first < LONGEST_RUN:
                    continue
            if first is not None:
                yield first, place + (known and keys[place] not in FUNCTION)
                first = None

    def _best(self, keys: Sequence[str], first: int, last: int) -> tuple[int, int, tuple[int, ...], float] | None:
        """The longest window of the run whose words some, but few, titles have all."""
        for size in range(last - first, LEAST_WORDS - 1, -1):
            for start in range(first, last - size + 1):
                window = keys[start : start + size]
                rarest = min(window, key=lambda key: len(self._postings.get(key, ())) or 10**9)
                rows = [row for row in self._postings.get(rarest, ()) if self._titles[row].issuperset(window)]
                if not rows or len(set(window)) < LEAST_WORDS:
                    continue
                said = sum(self._weight[key] for key in set(window))
                share = max(said / sum(self._weight[key] for key in self._titles[row]) for row in rows)
                if len(rows) <= MOST and share >= LEAST_SHARE:
                    return start, start + size, tuple(rows), share
        return None
