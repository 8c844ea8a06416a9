"""Elements joined into one filter: `or`, `and`, lists, and what a negation takes with it."""

from collections.abc import Sequence
from itertools import pairwise

from genrec.filters import And, Compare, Filter, Has, In, Not, Or
from genrec.understanding.attribute_values import Element, negated, one_of
from genrec.understanding.vocabulary import Vocabulary, name_words
from genrec.understanding.words import Word

_THIN = frozenset(
    "or and nor a an the in from with by of maybe perhaps either something some any one ones movies movie films film those "
    "anything on at to rather both also plus made starring directed that are is".split()
)
_HEADS = frozenset("category categories type kind object product department".split())
"""Attributes that say what a thing is: `no red mugs` still asks for mugs."""


LISTED = 2
"""More values than this with nothing but commas between them are alternatives."""


class Combiner:
    """The elements of one text, in order of place, each refused or not."""

    def __init__(
        self, elements: Sequence[Element], refused: Sequence[bool], words: Sequence[Word], text: str, vocabulary: Vocabulary
    ):
        self._elements = elements
        self._refused = list(refused)
        self._words = words
        self._text = text
        self._vocabulary = vocabulary

    def filter(self) -> Filter | None:
        """What must hold for an item; None when nothing was asked."""
        parts: list[Filter] = []
        left = set(range(len(self._elements)))
        parts += self._refusals(left)
        no = [self._elements[place].filter for place, refused in enumerate(self._refused) if refused]
        left -= {place for place in left if not self._refused[place] and self._elements[place].filter in no}
        parts += self._alternatives(left)
        for attribute in dict.fromkeys(self._elements[place].attribute for place in sorted(left)):
            places = [place for place in sorted(left) if self._elements[place].attribute == attribute]
            parts += self._wishes(places)
        flat = list(dict.fromkeys(part for one in parts for part in (one.parts if isinstance(one, And) else (one,))))
        return None if not flat else flat[0] if len(flat) == 1 else And(tuple(flat))

    def _gap(self, place: int) -> set[str]:
        """The words between an element and the one before."""
        before, one = self._elements[place - 1], self._elements[place]
        return {word.key for word in self._words[before.last : one.first]}

    def _adjacent(self, place: int) -> bool:
        before, one = self._elements[place - 1], self._elements[place]
        return before.last == one.first and not self._text[before.end : one.start].strip(" -")

    def _runs(self, *, refused: bool) -> list[list[int]]:
        """Places of elements that stand right beside one another."""
        runs: list[list[int]] = []
        for place, no in enumerate(self._refused):
            if no is not refused:
                continue
            if runs and runs[-1][-1] == place - 1 and self._adjacent(place):
                runs[-1].append(place)
            else:
                runs.append([place])
        return runs

    def _refusals(self, left: set[int]) -> list[Filter]:
        parts: list[Filter] = []
        for run in self._runs(refused=True):
            head = self._elements[run[-1]]
            left.difference_update(run)
            if len(run) > 1 and not self._vocabulary.schema[head.attribute].is_list and _HEADS & set(name_words(head.attribute)):
                left.add(run.pop())
            made = [self._elements[place].filter for place in run]
            parts.append(negated(made[0] if len(made) == 1 else And(tuple(made))))
        return [part for one in parts for part in _split(one)]

    def _alternatives(self, left: set[int]) -> list[Filter]:
        """`French or from the nineties`, `blue pens or red markers`: alternatives of more than one attribute."""
        runs = [run for run in self._runs(refused=False) if left.issuperset(run)]
        parts: list[Filter] = []
        for before, after in pairwise(runs):
            gap = self._gap(after[0])
            if after[0] != before[-1] + 1 or "or" not in gap or not gap <= _THIN or not left.issuperset(before + after):
                continue
            one = [self._elements[place].attribute for place in before]
            other = [self._elements[place].attribute for place in after]
            alike = len(one) > 1 and sorted(one) == sorted(other)
            if alike or (len(one) == len(other) == 1 and one != other):
                sides = [_all([self._elements[place].filter for place in run]) for run in (before, after)]
                parts.append(Or(tuple(sides)))
                left.difference_update(before + after)
        return parts

    def _wishes(self, places: Sequence[int]) -> list[Filter]:
        """Positive elements of one attribute."""
        elements = [self._elements[place] for place in places]
        first = elements[0]
        if len(elements) == 1:
            return [first.filter]
        if first.number:
            return self._numbers(places)
        if any(not one.values for one in elements):
            return [one.filter for one in elements]
        if not self._vocabulary.schema[first.attribute].is_list:
            return [self._any_of(elements)]
        if len(places) > LISTED and not any(self._gap(place) for place in places[1:]):
            return [self._any_of(elements)]
        groups: list[list[int]] = [[places[0]]]
        for before, place in pairwise(places):
            if self._either(before, place, places):
                groups[-1].append(place)
            else:
                groups.append([place])
        return [self._any_of([self._elements[place] for place in group]) for group in groups]

    def _either(self, before: int, place: int, places: Sequence[int]) -> bool:
        """Whether two values of a list are alternatives."""
        one, other = self._elements[before], self._elements[place]
        keys = {word.key for word in self._words[one.last : other.first]}
        if "or" in keys:
            return True
        if place == before + 1 and not keys - {"and"} and "," in self._text[one.end : other.start]:
            after = places[places.index(place) + 1 :]
            return bool(after) and self._either(place, after[0], places)
        return "and" in keys and one.plural and other.plural

    def _numbers(self, places: Sequence[int]) -> list[Filter]:
        parts = [self._elements[places[0]].filter]
        for before, place in pairwise(places):
            made = self._elements[place].filter
            if "or" in {word.key for word in self._words[self._elements[before].last : self._elements[place].first]}:
                parts[-1] = Or((parts[-1], made))
            else:
                parts.append(made)
        return parts

    def _any_of(self, elements: Sequence[Element]) -> Filter:
        values: list[str] = []
        odd: list[Filter] = []
        for one in elements:
            match one.filter:
                case Has(_, value) | Compare(_, "==", value):
                    values.append(str(value))
                case In(_, found):
                    values += [str(value) for value in found]
                case other:
                    odd.append(other)
        plain = [one_of(elements[0].attribute, tuple(dict.fromkeys(values)), self._vocabulary)] if values else []
        every = [*plain, *odd]
        return every[0] if len(every) == 1 else Or(tuple(every))


def _all(parts: Sequence[Filter]) -> Filter:
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _split(made: Filter) -> list[Filter]:
    """`not in [a, b]` as `not a` and `not b`."""
    if isinstance(made, Not) and isinstance(made.part, Or):
        return [Not(part) for part in made.part.parts]
    return [made]
