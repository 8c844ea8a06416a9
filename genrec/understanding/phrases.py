"""Known phrases found in text: whole, written with other spaces, or with typing errors.

Exact: every window of words is looked up with its spaces gone. With typos: each phrase hangs on its rarest word; words of the
text that are near that word (optimal string alignment, by rapidfuzz) try the phrases that hang on it. So the cost of a text does
not depend on how many phrases there are, only on how many share their rarest word.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from rapidfuzz import process
from rapidfuzz.distance import OSA

from genrec.understanding.words import Word, is_common

LONGEST = 16
"""Longest window, in words."""
MOST_CORRECTED = 250
"""Words of one text that are tried with typos; beyond, only exact phrases are found."""
MOST_HANGING = 400
"""Phrases tried for one word."""
SHORTEST_TYPO = 4
"""Words of fewer letters are only found as they are."""


@dataclass(frozen=True, slots=True)
class Hit:
    """Words `first` to `last` (without) are phrase number `phrase` with `typos` letters wrong; `spaced`: with its own spaces."""

    first: int
    last: int
    phrase: int
    typos: int = 0
    spaced: bool = True


def allowed(length: int) -> int:
    """Typing errors forgiven in a word of so many letters."""
    if length < SHORTEST_TYPO:
        return 0
    return 1 if length < 8 else 2


class PhraseIndex:
    """`phrases[i]` is a sequence of keys; `normal` is applied to the keys of phrases and of texts alike."""

    def __init__(self, phrases: Iterable[Sequence[str]], normal: Callable[[str], str], right: Collection[str] = ()) -> None:
        """`right`: words that are no typing errors, beside the common ones."""
        self._right = right
        self._normal = normal
        self._exact: dict[str, list[int]] = defaultdict(list)
        self.phrases: list[tuple[str, ...]] = []
        for number, phrase in enumerate(phrases):
            self.phrases.append(tuple(normal(key) for key in phrase))
            written = "".join(phrase)
            if phrase and written != "".join(self.phrases[-1]):
                self._exact[written].append(number)
        self._hanging: dict[str, list[int]] = defaultdict(list)
        self.counts = Counter(key for phrase in self.phrases for key in set(phrase))
        for number, phrase in enumerate(self.phrases):
            if not phrase:
                continue
            self._exact["".join(phrase)].append(number)
            self._hanging[min(phrase, key=lambda key: (self.counts[key], -len(key)))].append(number)
        self._longest = min(LONGEST, max((len(phrase) for phrase in self.phrases), default=0) + 1)
        self._buckets: dict[tuple[str, int], list[str]] = defaultdict(list)
        for key in self._hanging:
            if len(key) >= SHORTEST_TYPO and not key.isdigit():
                self._buckets[key[0], len(key)].append(key)
                self._buckets[key[-3:], len(key)].append(key)
        self._near = lru_cache(maxsize=20_000)(self._nearest)

    def keys(self, words: Sequence[Word]) -> list[str]:
        return [self._normal(word.key) for word in words]

    def exact(self, keys: Sequence[str], words: Sequence[Word] = ()) -> Iterator[Hit]:
        """Every window that is a phrase, spaces aside; with `words` also as it is written, `xmen` for X-Men."""
        count = len(keys)
        for first in range(count):
            joined = written = ""
            for last in range(first + 1, min(count, first + self._longest) + 1):
                joined += keys[last - 1]
                written += words[last - 1].key if words else ""
                numbers = dict.fromkeys([*self._exact.get(joined, ()), *self._exact.get(written, ())])
                for number in numbers:
                    spaced = self.phrases[number] == tuple(keys[first:last])
                    if spaced or len(joined) >= 4:
                        yield Hit(first, last, number, spaced=spaced)

    def mistyped(self, keys: Sequence[str], taken: Collection[int] = ()) -> Iterator[Hit]:
        """Windows that are a phrase but for typos; none begins at a word whose place is in `taken`."""
        tried = [place for place in range(len(keys)) if place not in taken][:MOST_CORRECTED]
        for place in tried:
            for near in self._near(keys[place]):
                for number in self._hanging[near][:MOST_HANGING]:
                    hit = self._aligned(keys, place, number, near)
                    if hit is not None:
                        yield hit

    def _known(self, key: str) -> bool:
        return is_common(key) or key in self._right

    def _nearest(self, key: str) -> tuple[str, ...]:
        found = [key] if key in self._hanging else []
        room = allowed(len(key))
        if room and not self._known(key) and not key.isdigit():
            pools = [
                self._buckets.get(bucket, [])
                for length in range(len(key) - room, len(key) + room + 1)
                for bucket in ((key[0], length), (key[-3:], length))
            ]
            for pool in pools:
                near = process.extract(key, pool, scorer=OSA.distance, score_cutoff=room, limit=6)
                found += [choice for choice, _, _ in near if choice not in found]
        return tuple(found)

    def _aligned(self, keys: Sequence[str], place: int, number: int, near: str) -> Hit | None:
        """The phrase laid over the text so that its word `near` is the word at `place`."""
        phrase = self.phrases[number]
        first = place - phrase.index(near)
        last = first + len(phrase)
        if first < 0 or last > len(keys):
            return None
        typos = sure = 0
        for wanted, key in zip(phrase, keys[first:last], strict=True):
            if wanted == key:
                sure += not is_common(key)
                continue
            room = 0 if wanted.isdigit() or key.isdigit() or self._known(key) else allowed(min(len(wanted), len(key)))
            wrong = OSA.distance(wanted, key, score_cutoff=room)
            if not room or wrong > room:
                return None
            typos += wrong
        long_enough = sure or len(max(phrase, key=len)) >= 5
        if not typos or typos > max(1, sum(map(len, phrase)) // 6) or not long_enough:
            return None
        return Hit(first, last, number, typos=typos)
