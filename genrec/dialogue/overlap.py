"""Items found by words that only they have together: `Expo low odor bullet tip` for a title of twenty words."""

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

from genrec.dialogue.words import FUNCTION

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
