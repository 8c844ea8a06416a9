"""What a catalogue can be asked for: its attributes, the values they have, how often, and what numbers they hold."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from genrec.filters import Field
from genrec.types import Item, Scalar, scalars
from genrec.understanding.phrases import PhraseIndex
from genrec.understanding.synonyms import BOTH, ROLE_NAMES, SCALES, STANDS_FOR, Role
from genrec.understanding.words import FUNCTION, LETTERS, fold, stem, words_of

LONGEST_VALUE = 60
"""Characters; longer text is no value that people say."""
MOST_VALUES = 200_000
"""Distinct values of one attribute; the most frequent stay."""
MOST_TEXTS = 20_000
"""Items whose words are read, to know which words are no typing errors."""

LONGEST_STEP = max(len(step) for scale in SCALES for step in scale)
MOST_MEANINGS = 8
"""Values that the same words may stand for, whole values and frequent ones first."""

Form = Literal["value", "part", "surname", "meaning"]
_NAME = re.compile(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![a-z])")
_PARTS = re.compile(r"\s*(?:&|/|,|\band\b)\s*")


@dataclass(frozen=True, slots=True)
class Known:
    """One value that some words stand for. `form`: how they do; `all_of`: with the other values of the same words."""

    attribute: str
    value: str
    count: int
    form: Form
    all_of: bool = False


@dataclass(frozen=True, slots=True)
class Numbers:
    """A numeric attribute: what its numbers mean, their range, their unit in minutes (durations), and the words of its name."""

    name: str
    role: Role
    least: float
    most: float
    middle: float
    minutes: float
    words: frozenset[str]

    def likely(self, value: float) -> bool:
        return self.least * 0.5 <= value <= self.most * 2


class Vocabulary:
    """`values[attribute][value]` counts the items that have it; attributes that `schema` does not name are left out."""

    def __init__(
        self, schema: Mapping[str, Field], values: Mapping[str, Mapping[Scalar, int]], correct: Iterable[str] = ()
    ) -> None:
        self.schema = dict(schema)
        self.values = {name: dict(values.get(name, {})) for name in schema}
        self.correct = frozenset(correct)
        """Folded words of the catalogue's own texts: whoever writes them made no typing error."""

    @classmethod
    def of(cls, items: Iterable[Item], schema: Mapping[str, Field]) -> "Vocabulary":
        """Count the values of a catalogue. Text longer than `LONGEST_VALUE` and values beyond `MOST_VALUES` are left out."""
        counts: dict[str, Counter[Scalar]] = {name: Counter() for name in schema}
        correct: set[str] = set()
        for row, item in enumerate(items):
            for name, value in item.attributes.items():
                field = schema.get(name)
                if field is not None:
                    counts[name].update({one for part in scalars(value) if (one := _typed(part, field)) is not None})
            if row < MOST_TEXTS:
                correct.update(map(fold, LETTERS.findall(f"{item.title} {item.text}")))
        return cls(schema, {name: dict(count.most_common(MOST_VALUES)) for name, count in counts.items()}, correct)

    @cached_property
    def numbers(self) -> dict[str, Numbers]:
        """The numeric attributes that have values."""
        made = {}
        for name, field in self.schema.items():
            values = sorted(float(value) for value in self.values[name] if isinstance(value, int | float))
            if field.type == "number" and values:
                made[name] = _numbers(name, values)
        return made

    @cached_property
    def booleans(self) -> dict[tuple[str, ...], str]:
        """Words of the name to the name, for attributes that are true or false."""
        return {tuple(map(stem, name_words(name))): name for name, field in self.schema.items() if field.type == "boolean"}

    @cached_property
    def named(self) -> frozenset[str]:
        """Words of the attributes' names, as stems."""
        return frozenset(stem(word) for name in self.schema for word in name_words(name))

    def with_role(self, role: Role) -> Numbers | None:
        """The attribute of this role that most items have."""
        found = [numbers for numbers in self.numbers.values() if numbers.role == role]
        return max(found, key=lambda numbers: sum(self.values[numbers.name].values()), default=None)

    def counted(self, word: str) -> Numbers | None:
        """The numeric attribute that `word` names: `fewer pages`."""
        key = stem(word)
        return next((numbers for numbers in self.numbers.values() if key in numbers.words and numbers.role == "other"), None)

    @cached_property
    def known(self) -> list[tuple[Known, ...]]:
        """For each phrase of `index`, the values that it can stand for."""
        return [found for _, found in self._phrases]

    @cached_property
    def index(self) -> PhraseIndex:
        return PhraseIndex((keys for keys, _ in self._phrases), stem)

    @cached_property
    def _phrases(self) -> list[tuple[tuple[str, ...], tuple[Known, ...]]]:
        seen: dict[tuple[str, ...], dict[tuple[str, str], Known]] = defaultdict(dict)
        for keys, known in self._said():
            seen[keys].setdefault((known.attribute, known.value), known)
        made = {
            keys: sorted(found.values(), key=lambda one: (one.form != "value", -one.count))[:MOST_MEANINGS]
            for keys, found in seen.items()
        }
        plain = {"".join(map(stem, keys)): found for keys, found in made.items() if found[0].form == "value"}
        for words, targets in STANDS_FOR.items():
            keys = tuple(word.key for word in words_of(words))
            if "".join(map(stem, keys)) not in plain:
                made[keys] = _meant(plain, targets, every=words in BOTH) or made.get(keys, [])
        return [(keys, tuple(found)) for keys, found in made.items() if found]

    def _said(self) -> Iterator[tuple[tuple[str, ...], Known]]:
        """Whole values first, then parts of them."""
        texts = [name for name, field in self.schema.items() if field.type == "text"]
        for name in texts:
            for value, count in self.values[name].items():
                keys = tuple(word.key for word in words_of(str(value)))
                if keys:
                    yield keys, Known(name, str(value), count, "value")
        for name in texts:
            people = name in self.people
            names = [[word.key for word in words_of(str(value))] for value in self.values[name]] if people else []
            given = Counter(keys[0] for keys in names if keys)
            given.subtract(keys[-1] for keys in names if keys)
            for value, count in self.values[name].items():
                for keys, known in _shorter(name, str(value), count, people=people):
                    if known.form != "surname" or given[keys[0]] <= 0:  # more often a given name: `Bruce`, `Charles`
                        yield keys, known

    @cached_property
    def people(self) -> frozenset[str]:
        """The attributes whose values are people's names."""
        return frozenset(name for name, field in self.schema.items() if field.type == "text" and self._holds_people(name))

    def _holds_people(self, name: str) -> bool:
        values = [str(value).split() for value in list(self.values[name])[:500]]
        named = [len(words) in (2, 3) and all(word[:1].isupper() for word in (words[0], words[-1])) for words in values]
        return len(values) >= 5 and sum(named) > 0.7 * len(values)

    def scale(self, attribute: str, value: str) -> tuple[tuple[str, ...], int] | None:
        """The order in which this attribute's values stand, as the catalogue writes them, and the place of `value` in it."""
        for present in self._scales[attribute]:
            if value in present:
                return present, present.index(value)
        return None

    @cached_property
    def _scales(self) -> dict[str, list[tuple[str, ...]]]:
        steps = {fold_value(step) for scale in SCALES for step in scale}
        made: dict[str, list[tuple[str, ...]]] = {}
        for name, counts in self.values.items():
            values = [str(value) for value in counts if len(str(value)) <= LONGEST_STEP]
            own = {folded: value for value in reversed(values) if (folded := fold_value(value)) in steps}
            found = [tuple(own[fold_value(step)] for step in scale if fold_value(step) in own) for scale in SCALES]
            made[name] = [present for present in found if len(present) > 1]
        return made


def fold_value(value: str) -> str:
    return "".join(word.key for word in words_of(value))


def name_words(name: str) -> list[str]:
    """`runtime_min` and `runtimeMin` as words."""
    return [fold(part) for part in _NAME.findall(name)]


def _typed(value: Scalar, field: Field) -> Scalar | None:
    if field.type == "number":
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None
    if field.type == "boolean":
        return value if isinstance(value, bool) else None
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if 0 < len(text) <= LONGEST_VALUE else None


def _meant(plain: Mapping[str, list[Known]], targets: tuple[str, ...], *, every: bool) -> list[Known]:
    found: list[Known] = []
    for target in targets:
        keys = "".join(stem(word.key) for word in words_of(target))
        hits = [Known(one.attribute, one.value, one.count, "meaning", every) for one in plain.get(keys, ())]
        if every and not hits:
            return []
        if hits and not every:
            return hits
        found += hits
    return found


def _shorter(name: str, value: str, count: int, *, people: bool) -> Iterator[tuple[tuple[str, ...], Known]]:
    """Shorter ways to say a value: a person's surname, one part of `Sci-Fi & Fantasy`."""
    keys = [word.key for word in words_of(value)]
    if people and len(keys) in (2, 3) and len(keys[-1]) > 2:
        yield (keys[-1],), Known(name, value, count, "surname")
    parts = [part for part in _PARTS.split(value) if part]
    if 1 < len(parts) <= 3 and not people:
        for part in parts:
            found = tuple(word.key for word in words_of(part))
            if found and not FUNCTION.issuperset(found):
                yield found, Known(name, value, count, "part")


def _numbers(name: str, values: list[float]) -> Numbers:
    words = name_words(name)
    roles: list[Role] = [ROLE_NAMES[word] for word in words if word in ROLE_NAMES]
    least, most, middle = values[0], values[-1], values[len(values) // 2]
    role: Role = roles[0] if roles else "other"
    if role == "year" and not 1000 <= middle <= 3000:
        role = "other"
    minutes = 1.0
    if role == "duration":
        hours = {"hour", "hours", "h"} & set(words) or (most <= 12 and not {"min", "mins", "minutes"} & set(words))
        seconds = {"seconds", "secs", "s", "sec"} & set(words) or most > 5000
        minutes = 60.0 if hours else 1 / 60 if seconds else 1.0
    return Numbers(name, role, least, most, middle, minutes, frozenset(map(stem, words)))
