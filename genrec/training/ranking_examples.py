"""Examples for the LLM ranker, out of events that come before everything that is held out.

Language modelling: a history is a text with one title a line, and every title is an example of what comes next. Many histories
share one row, each behind the same instruction and blind to the others. Lists: see `genrec.training.candidate_lists`.
"""

from collections.abc import Callable, Sequence

import numpy as np

from genrec.errors import ConfigError
from genrec.llm.packing import pack
from genrec.llm.protocol import Likelihood
from genrec.ranking.prompter import Profile, Prompter
from genrec.retrieval.sequences import Sequences
from genrec.training.lora import Example
from genrec.types import Item

Encode = Callable[[str], list[int]]
SHORTEST = 16
"""Tokens of titles that a row must have room for."""


class Histories:
    """Rows of at most `length` tokens for language modelling.

    A long history is cut into stretches, at other places in every epoch, so that an item is learned with more and less before it.
    Raises ConfigError when the instruction leaves too little of a row.
    """

    def __init__(self, events: Sequences, items: Sequence[Item], prompter: Prompter, encode: Encode, *, length: int) -> None:
        self._prefix = prompter.request("likelihood", Profile(), [items[0]]).prefix if items else ""
        self._encode, self._length = encode, length
        self._lines = [prompter.line(item) for item in items]
        self._tokens = np.array([len(encode(line)) for line in self._lines], np.int64)
        self._events = events
        self._room = length - len(encode(self._prefix))
        if self._room < SHORTEST:
            raise ConfigError(
                f"a row of {length} tokens has room for {max(0, self._room)} behind the instruction",
                hint="Raise rank.train.length.",
            )

    def rows(self, rng: np.random.Generator) -> list[Example]:
        """One pass over all events, in random order."""
        room = self._room
        stretches = [stretch for person in range(len(self._events.user_ids)) for stretch in self._stretches(person, room, rng)]
        rows: list[list[str]] = []
        left: list[int] = []
        open_from = 0
        for number in rng.permutation(len(stretches)):
            text, size = stretches[number]
            place = next((n for n in range(open_from, len(rows)) if left[n] >= size), None)
            if place is None:
                rows.append([])
                left.append(room)
                place = len(rows) - 1
                open_from = max(0, len(rows) - 32)  # older rows are nearly full
            rows[place].append(text)
            left[place] -= size
        return [self._example(rows[number]) for number in rng.permutation(len(rows))]

    def _stretches(self, person: int, room: int, rng: np.random.Generator) -> list[tuple[str, int]]:
        history = self._events.history(person)
        if len(history) < 2:
            return []
        ends = np.cumsum(self._tokens[history])
        total, found, start = int(ends[-1]), [], 0
        budget = room if total <= room else int(rng.integers(room // 4, room + 1))  # the first stretch ends anywhere
        while start < len(history):
            before = int(ends[start - 1]) if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, before + budget, side="right")))
            size = int(ends[stop - 1]) - before
            if size <= room:  # one line alone may be longer than a row
                found.append(("".join(self._lines[item] for item in history[start:stop]), size))
            start, budget = stop, room
        return found

    def _example(self, texts: list[str]) -> Example:
        request = Likelihood(prefix=self._prefix, context="", continuations=tuple(texts))
        return Example(row=pack(request, self._by_line, self._length + 1))

    def _by_line(self, text: str) -> list[int]:
        """Tokens of a text line by line: serving gives a candidate's line alone, and some tokenizers join a line break with what
        follows it.
        """
        if text == self._prefix:
            return self._encode(text)
        return [token for line in text.splitlines(keepends=True) for token in self._encode(line)]


def dealt(examples: Sequence[Example], batch: int) -> list[list[Example]]:
    """Steps of `batch` examples each; the last one may have fewer."""
    return [list(examples[start : start + batch]) for start in range(0, len(examples), batch)]
