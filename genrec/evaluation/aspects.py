"""What somebody could say of an item without its title, and of how it differs from a list."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genrec.types import Item, scalars
from genrec.understanding.filter_text import number, spoken
from genrec.understanding.synonyms import Role
from genrec.understanding.vocabulary import Vocabulary

LONGEST = 40
"""Characters of a value that somebody says."""
MOST_DISTINCT = 0.9
"""Values against items, from which a scalar attribute is a name of its own for each item: an id, an address."""
RARE, COMMON = 2, 0.02
"""A word that somebody remembers of a text: at least so many texts have it, and at most this share of them."""
NEARLY_ALL, JITTER = 5.0, 0.25
WORDS_COME = 0.3
"""When words of the text come to mind: 0 is what all items have, 1 what one of a million has."""
NUMBERS_COME = 0.2
"""The share of items that a year, a price or a duration, as it is said, is taken to fit."""
REMEMBERED, MEMORIES = 2, 4
"""Words remembered together, and how many such memories there are."""
_DECADES = {
    1920 + 10 * n: word for n, word in enumerate("twenties thirties forties fifties sixties seventies eighties nineties".split())
}
_WORDS = {  # name of an attribute, singular → how its value is said
    "director": ("directed by {0}", "by {0}"),
    "actor": ("with {0}", "starring {0}"),
    "cast": ("with {0}", "starring {0}"),
    "author": ("by {0}", "written by {0}"),
    "artist": ("by {0}",),
    "country": ("from {0}", "made in {0}"),
    "language": ("in {0}",),
    "brand": ("by {0}", "from {0}"),
    "maker": ("by {0}",),
    "color": ("in {0}",),
    "colour": ("in {0}",),
    "rated": ("rated {0}",),
    "material": ("made of {0}",),
    "genre": ("that is {0}", "in the genre {0}"),
    "category": ("that is {0}", "in the category {0}"),
}
_STEERS: Mapping[Role, tuple[str, str]] = {
    "year": ("older", "newer"),
    "duration": ("shorter", "longer"),
    "price": ("cheaper", "more expensive"),
}
READ = 60
"""Words of a text, from its beginning, that are remembered from."""
_VAGUE = re.compile(r"(?:ly|ing|ed)$")
_TOKEN = re.compile(r"[^\W\d_]{4,}")

Directions = Mapping[str, tuple[str, str]]
"""Numeric attribute → words for less and for more of it."""


@dataclass(frozen=True, slots=True)
class Aspect:
    """`words` go on after `something`, `answer` is said when the attribute is asked for; both alike for words of the text,
    whose `attribute` is empty.
    """

    attribute: str
    words: str
    answer: str


def directions_of(vocabulary: Vocabulary) -> Directions:
    return {name: _STEERS[found.role] for name, found in vocabulary.numbers.items() if found.role in _STEERS}


def aspects_of(item: Item, vocabulary: Vocabulary, words: Sequence[str], rng: np.random.Generator) -> list[Aspect]:
    """All that could be said, in the order in which it comes to mind: what many items have first, names and words last, one of
    each attribute before a second one; what nearly all items have, only when nothing else is left.
    """
    found: list[tuple[float, Aspect]] = []
    for name, value in item.attributes.items():
        said = _sayings(name, [one for one in scalars(value) if not isinstance(one, bool)], vocabulary, rng)
        for place, (text, answer, share) in enumerate(said):
            order = NEARLY_ALL if share > 0.5 else float(np.log(max(share, 1e-6)) / np.log(1e-6))
            found.append((place + order + JITTER * rng.random(), Aspect(name, text, answer)))
    for place, remembered in enumerate(words):
        found.append((place / 4 + WORDS_COME + JITTER * rng.random(), Aspect("", f"about {remembered}", remembered)))
    return [aspect for _, aspect in sorted(found, key=lambda one: one[0])]


def _sayings(
    name: str, values: Sequence[object], vocabulary: Vocabulary, rng: np.random.Generator
) -> list[tuple[str, str, float]]:
    """As a wish and as an answer, each with its share of all values of the attribute."""
    field = vocabulary.schema.get(name)
    if field is None or not values:
        return []
    if field.type == "number":
        one = values[0]
        text = _numeric(name, float(one), vocabulary, rng) if isinstance(one, int | float) else ""
        return [(text, text, NUMBERS_COME)] if text else []
    if field.type != "text":
        return []
    counts = vocabulary.values[name]
    said_of = sum(counts.values())
    if not field.is_list and len(counts) > MOST_DISTINCT * said_of:
        return []
    said = [one for one in dict.fromkeys(values) if isinstance(one, str) and 0 < len(one) <= LONGEST]
    chosen = [said[place] for place in rng.permutation(len(said))]
    return [(_worded(name, one, rng), one, counts.get(one, 0) / max(1, said_of)) for one in chosen]


def _worded(name: str, value: str, rng: np.random.Generator) -> str:
    key = name.lower().rstrip("s")
    value = value.lower() if key in ("genre", "category", "categorie") else value
    ways = _WORDS.get(key) or _WORDS.get(re.sub(r"ie$", "y", key)) or (f"with the {spoken(name)} {{0}}",)
    return ways[int(rng.integers(len(ways)))].format(value)


def _numeric(name: str, value: float, vocabulary: Vocabulary, rng: np.random.Generator) -> str:
    role = vocabulary.numbers[name].role if name in vocabulary.numbers else None
    if role == "year":
        decade = int(value) // 10 * 10
        exact = rng.random() < 0.5 or decade not in _DECADES
        return f"from {int(value)}" if exact else f"from the {_DECADES[decade]}"
    if role == "duration":
        step = 10 if value < 600 else 600
        return f"under {number(step * (int(value) // step + 1))} minutes" if step == 10 else ""
    if role == "price":
        step = 10 ** max(0, int(np.log10(max(value, 1.0))))
        return f"below {number(step * (int(value) // step + 1))}"
    return ""


def direction(target: Item, shown: Sequence[Item], directions: Directions) -> str:
    """Where all of the list lies on one side of the target."""
    for name, (less, more) in directions.items():
        own = target.attributes.get(name)
        others = [value for item in shown if isinstance(value := item.attributes.get(name), int | float)]
        if not isinstance(own, int | float) or not others:
            continue
        if own < min(others):
            return less
        if own > max(others):
            return more
    return ""


def shared_value(target: Item, shown: Sequence[Item], vocabulary: Vocabulary) -> str:
    """A short value of a list attribute that all of the list has and the target has not."""
    for name, field in vocabulary.schema.items():
        if field.type != "text" or not field.is_list:
            continue
        own = {str(one) for one in scalars(target.attributes.get(name, ()))}
        all_of_them = [{str(one) for one in scalars(item.attributes.get(name, ()))} for item in shown]
        if values := set.intersection(*all_of_them) - own if own and all_of_them else set():
            return min(values)
    return ""


class Memory:
    """What people remember of items' texts: a few words together that not many other texts have, several times."""

    def __init__(self, items: Iterable[Item], seed: int) -> None:
        self._texts = {item.item_id: tuple(dict.fromkeys(_tokens(item.text)[:READ])) for item in items}
        self._counts = Counter(word for words in self._texts.values() for word in words)
        self._seed = seed

    def __call__(self, item: Item) -> list[str]:
        """At most `MEMORIES`, each of `REMEMBERED` words, none of them of the title."""
        most = max(RARE, int(COMMON * len(self._texts)))
        own, title = self._texts.get(item.item_id, ()), set(_tokens(item.title))
        fit = [word for word in own if RARE <= self._counts[word] <= most and word not in title and not _VAGUE.search(word)]
        rng = np.random.default_rng([self._seed, len(own), len(fit)])
        chosen = [fit[place] for place in rng.permutation(len(fit))[: MEMORIES * REMEMBERED]]
        return [", ".join(chosen[n : n + REMEMBERED]) for n in range(0, len(chosen) - REMEMBERED + 1, REMEMBERED)]


def _tokens(text: str) -> list[str]:
    """Words in small letters; names, which stand with a capital inside a sentence, among them."""
    return [word.lower() for word in _TOKEN.findall(text)]
