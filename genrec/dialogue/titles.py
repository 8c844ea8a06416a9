"""What people call an item: the forms of its title, and the year it is from."""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from genrec.dialogue.words import ARTICLES, Word, words_of
from genrec.types import Item

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
