"""One good question back: the attribute whose answer is expected to say most about which of the candidates is meant.

The expected information of an answer is the entropy of the answers over the candidates, each weighted by how likely it is meant
(Zou et al., Towards Question-based Recommender Systems, SIGIR 2020).
"""

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from genrec.chat.replies import either
from genrec.filters import Field
from genrec.types import AttributeValue, Item, Scalar, scalars
from genrec.understanding.constraint_changes import number_of
from genrec.understanding.filter_text import number, spoken
from genrec.understanding.synonyms import Role
from genrec.understanding.vocabulary import Vocabulary

CHOICES = 3
"""Values that a question offers."""
LEAST_SHARE = 0.08
"""Share of the candidates, below which a value is not offered."""
LEAST_BITS = 0.6
"""Expected information, below which a question is not asked."""
LEAST_KNOWN = 0.7
"""Share of the candidates that have the attribute."""
MOST_DISTINCT = 0.5
"""Share of distinct values, above which they are names of single items."""
_NUMBER_WORDS: Mapping[Role, tuple[str, str]] = {
    "year": ("from before {0}", "from {0} on"),
    "duration": ("below {0}", "longer"),
    "price": ("below {0}", "above that"),
    "rating": ("rated below {0}", "higher"),
}


@dataclass(frozen=True, slots=True)
class Question:
    """`text` asks for `attribute`; its answer is expected to give `bits` of information."""

    attribute: str
    text: str
    bits: float


def question(
    candidates: Sequence[Item], vocabulary: Vocabulary, settled: Collection[str], weights: Sequence[float] | None = None
) -> Question | None:
    """The best question over the candidates, likeliest first; None where none says enough.

    `settled`: attributes that are constrained or were asked for. `weights`: how likely each candidate is meant; by default it
    falls with the logarithm of the rank.
    """
    if len(candidates) < 2:
        return None
    mass = list(weights) if weights else [1 / math.log2(rank + 2) for rank in range(len(candidates))]
    total = sum(mass)
    found: list[Question | None] = []
    for name, field in vocabulary.schema.items():
        if name in settled:
            continue
        if field.type == "number":
            found.append(_below_or_above(name, candidates, mass, total, vocabulary))
        elif field.type == "text" and not _is_unique(vocabulary.values[name]):
            found.append(_which_value(name, field, candidates, mass, total))
    enough = [one for one in found if one is not None and one.bits >= LEAST_BITS]
    return max(enough, key=lambda one: one.bits, default=None)


def _is_unique(counts: Mapping[Scalar, int]) -> bool:
    """Whether nearly every item has a value of its own: an id, an address, a sentence."""
    return len(counts) > MOST_DISTINCT * sum(counts.values())


def _which_value(name: str, field: Field, candidates: Sequence[Item], mass: Sequence[float], total: float) -> Question | None:
    """A choice among the values that split the candidates best."""
    has: dict[str, float] = defaultdict(float)
    known = 0.0
    for item, weight in zip(candidates, mass, strict=True):
        values = _texts(item.attributes.get(name, ()))
        known += weight if values else 0.0
        for value in values:
            has[value] += weight
    if known < LEAST_KNOWN * total:
        return None
    choices = [
        value
        for value, weight in sorted(has.items(), key=lambda one: (-one[1], one[0]))[:12]
        if LEAST_SHARE * total <= weight <= (1 - LEAST_SHARE) * total
    ]
    if field.is_list:  # values that overlap little say more together
        choices = sorted(choices, key=lambda value: abs(has[value] / total - 1 / (CHOICES + 1)))
    choices = choices[:CHOICES]
    if len(choices) < 2:
        return None
    parts: dict[str, float] = defaultdict(float)
    for item, weight in zip(candidates, mass, strict=True):
        own = _texts(item.attributes.get(name, ()))
        fitting = [value for value in choices if value in own]
        for value in fitting or [""]:
            parts[value] += weight / max(1, len(fitting))
    shown = sorted(choices, key=lambda value: -has[value])
    text = f"To narrow it down, {_singular(spoken(name))}: {either(shown)}?"
    return Question(name, text, _entropy(parts, total))


def _below_or_above(
    name: str, candidates: Sequence[Item], mass: Sequence[float], total: float, vocabulary: Vocabulary
) -> Question | None:
    """Below or above the weighted middle."""
    numbers = vocabulary.numbers.get(name)
    if numbers is None or numbers.role not in _NUMBER_WORDS:
        return None
    pairs = sorted(
        (value, weight) for item, weight in zip(candidates, mass, strict=True) if (value := number_of(item, name)) is not None
    )
    known = sum(weight for _, weight in pairs)
    if known < LEAST_KNOWN * total or pairs[0][0] == pairs[-1][0]:
        return None
    reached, middle = 0.0, pairs[-1][0]
    for value, weight in pairs:
        reached += weight
        if reached >= known / 2:
            middle = value
            break
    middle = _rounded(middle, pairs[-1][0] - pairs[0][0])
    below = sum(weight for value, weight in pairs if value < middle)
    if not 0 < below < known:
        return None
    less, more = (words.format(number(middle)) for words in _NUMBER_WORDS[numbers.role])
    what = "" if numbers.role in ("year", "rating") else f" {spoken(name)}"
    text = f"Would you rather have something{what and ' with a' + what} {less}, or {more}?"
    return Question(name, text, _entropy({"below": below, "above": known - below, "": total - known}, total))


def _rounded(value: float, spread: float) -> float:
    """A number that people would say."""
    step = 10 ** math.floor(math.log10(spread / 4)) if spread > 4 else 1
    step = step * 5 if spread / (5 * step) >= 4 else step
    return round(value / step) * step


def _entropy(parts: Mapping[str, float], total: float) -> float:
    """Bits."""
    shares = [weight / total for weight in parts.values() if weight > 0]
    return -sum(share * math.log2(share) for share in shares)


def _texts(value: AttributeValue) -> tuple[str, ...]:
    return tuple(one for one in scalars(value) if isinstance(one, str) and 0 < len(one) <= 40)


def _singular(name: str) -> str:
    return name[:-1] if name.endswith("s") and not name.endswith(("ss", "us", "is", "ies")) and len(name) > 3 else name
