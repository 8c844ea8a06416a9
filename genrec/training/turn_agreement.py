"""How right a reading of a turn is: intent, conditions by what they let pass, feelings by the titles, need by its words."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from genrec.filters import Filter, matches
from genrec.training.turn_examples import Turn
from genrec.types import AttributeValue, Item, Scalar
from genrec.understanding.filter_text import attributes_of, pairs_of, parts_of
from genrec.understanding.linking import Mention
from genrec.understanding.llm_reader import Trust, merged
from genrec.understanding.parser import Understood
from genrec.understanding.turn_schema import TurnReading
from genrec.understanding.vocabulary import Vocabulary
from genrec.understanding.words import words_of

DRAWN = 600
"""Items that two filters are compared on."""
SAID = 0.7
"""Chance that a drawn item has a value that one of the filters names."""
TRIED: dict[str, tuple[Any, ...]] = {
    "intent": ("parser", "llm"),
    "filter": ("parser", "fill", "add", "llm"),
    "titles": (False, True),
    "feelings": ("parser", "fill", "add", "llm"),
    "need": ("parser", "llm"),
}
"""What `fitted` chooses among; the first of equals, so that the model has to earn its say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """Shares of turns, 0 to 1. `need`: mean F1 of its words; `whole`: turns with intent, conditions and feelings right."""

    n: int
    intent: float
    filter: float
    feelings: float
    need: float
    whole: float

    def said(self) -> str:
        shares = ", ".join(f"{one.name} {getattr(self, one.name):.3f}" for one in fields(self) if one.name != "n")
        return f"{shares} of {self.n} turns"


def right(turns: Sequence[Turn], read: Sequence[Understood]) -> Right:
    """How right `read` is, turn by turn."""
    rows = [_row(turn, one) for turn, one in zip(turns, read, strict=True)]
    means = np.mean(rows, axis=0) if rows else np.zeros(5)
    intent, conditions, feelings, need, whole = map(float, means)
    return Right(n=len(rows), intent=intent, filter=conditions, feelings=feelings, need=need, whole=whole)


def joined(turns: Sequence[Turn], heard: Sequence[TurnReading | None], trust: Trust) -> list[Understood]:
    """Parser and model as one; where the model failed, the parser alone."""
    return [
        turn.parsed if one is None else merged(turn.parsed, one, trust, turn.shop.linker)
        for turn, one in zip(turns, heard, strict=True)
    ]


def alone(turns: Sequence[Turn], heard: Sequence[TurnReading | None]) -> list[Understood]:
    """The model alone; where it failed, nothing was understood."""
    every = Trust(intent="llm", filter="llm", feelings="llm", titles=True, need="llm")
    made = []
    for turn, one in zip(turns, heard, strict=True):
        bare = Understood(text=turn.parsed.text, intent="small_talk")
        linked = replace(bare, mentions=turn.parsed.mentions)
        made.append(bare if one is None else merged(linked, one, every, turn.shop.linker))
    return made


def fitted(turns: Sequence[Turn], heard: Sequence[TurnReading | None]) -> Trust:
    """Whom to believe where, by what is right most often on these turns."""
    trust = Trust(intent="parser", filter="parser", feelings="parser", titles=False, need="parser")
    for name, choices in TRIED.items():
        part = "feelings" if name == "titles" else name
        figures = []
        for choice in choices:
            tried = replace(trust, **{name: choice})
            if name == "titles":  # a title that is looked up matters only where its feeling is believed
                tried = replace(tried, feelings="add")
            figures.append(getattr(right(turns, joined(turns, heard, tried)), part))
        trust = replace(trust, **{name: choices[int(np.argmax(figures))]})
    return trust


def _row(turn: Turn, read: Understood) -> tuple[float, ...]:
    heard = turn.heard
    intent = read.intent == heard.intent
    conditions = same(read.filter, heard.filter, turn.shop.vocabulary) and {*read.steers} == {*heard.steers}
    feelings = all(_named(getattr(read, name), getattr(heard, name), read.text) for name in ("liked", "disliked", "seen"))
    return intent, conditions, feelings, _f1(read.need, heard.need), intent and conditions and feelings


def _named(found: Iterable[Mention], titles: Iterable[str], text: str) -> bool:
    """Whether these mentions are these titles, no more and no less."""
    wanted = [(start, start + len(title)) for title in titles if (start := text.find(title)) >= 0]
    got = [(one.start, one.end) for one in found]
    met = [any(a < d and c < b for c, d in got) for a, b in wanted]
    return all(met) and all(any(a < d and c < b for c, d in wanted) for a, b in got)


def _f1(found: str, wanted: str) -> float:
    one, other = (Counter(word.key for word in words_of(text)) for text in (found, wanted))
    both = (one & other).total()
    return 1.0 if not one and not other else 2 * both / max(1, one.total() + other.total())


def same(one: Filter | None, other: Filter | None, vocabulary: Vocabulary) -> bool:
    """Whether both let the same items pass, of `DRAWN` that are drawn so that they tell filters apart."""
    if one == other:
        return True
    named: dict[str, set[Scalar]] = {}
    for filter in (one, other):
        for field, value in pairs_of(filter, every=True):
            named.setdefault(field, set()).add(value)
    asked = {name for filter in (one, other) for part in parts_of(filter) for name in attributes_of(part)}
    rng = np.random.default_rng(0)
    for place in range(DRAWN):
        drawn = {name: _drawn(name, named.get(name, set()), vocabulary, rng) for name in sorted(asked)}
        item = Item(item_id=str(place), attributes=drawn)
        if (one is None or matches(one, item)) != (other is None or matches(other, item)):
            return False
    return True


def _drawn(name: str, said: set[Scalar], vocabulary: Vocabulary, rng: np.random.Generator) -> AttributeValue:
    """A value of the attribute, often one of `said` or one beside it."""
    known = list(vocabulary.values[name])
    told = sorted(said, key=str)
    field = vocabulary.schema[name]
    if field.type == "number":
        whole = all(float(value) == int(value) for value in known if isinstance(value, int | float))
        low, high = vocabulary.numbers[name].least, vocabulary.numbers[name].most
        value = float(rng.uniform(low, high))
        if told and rng.random() < SAID:
            value = float(told[int(rng.integers(len(told)))]) + float(rng.choice([-1.0, -0.4, 0.0, 0.0, 0.4, 1.0]))
        return float(round(value)) if whole else value
    pool = told if told and rng.random() < SAID else known
    picked = [pool[int(rng.integers(len(pool)))] for _ in range(int(rng.integers(1, 4)) if field.is_list else 1)]
    return tuple(picked) if field.is_list else picked[0]
