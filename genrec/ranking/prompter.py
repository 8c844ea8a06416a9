"""From a person and candidates to a score request, through `prompts/rerank.j2`."""

import string
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from genrec.llm.packing import alike
from genrec.llm.protocol import Labels, Likelihood, Markers, ScoreRequest
from genrec.prompts import Prompts, data
from genrec.types import Item

SHARE = 4
"""One in so many of the items that are shown may be left out, the oldest, and as many be added from before them."""


def block_history(sizes: Sequence[int], shown: int, tokens: int, block: int) -> list[int]:
    """Places of the items to show, oldest first, with the fewest changes to the last `shown` of them.

    `sizes`: tokens of each item, oldest first. `tokens`: all that the candidates share when the last `shown` are there. Without a
    choice that fills blocks of `block` tokens, those last ones.
    """
    first = max(0, len(sizes) - shown)
    plain = list(range(first, len(sizes)))
    free = len(plain) // SHARE
    # by what is missing to whole blocks: the fewest places to change; adding comes first, it tells more than leaving out
    ways: dict[int, tuple[int, ...]] = {-tokens % block: ()}
    for place in [*range(first - 1, max(-1, first - 1 - free), -1), *plain[:free]]:
        change = sizes[place] if place < first else -sizes[place]
        for missing, way in list(ways.items()):
            left = (missing - change) % block
            if len(ways.get(left, range(block + 1))) > len(way) + 1:
                ways[left] = (*way, place)
    changed = set(ways.get(0, ()))
    return [place for place in range(len(sizes)) if (place >= first) != (place in changed)]


class Titles:
    """The lines that stand for the items of a catalogue."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = sorted(set(lines))

    def distinct(self, line: str) -> str:
        """The shortest start of `line`, up to a word's end, with which no other line begins; all of it where there is none.

        The line itself may be one of the catalogue's or a new one.
        """
        place = bisect_left(self._lines, line)
        after = place + (place < len(self._lines) and self._lines[place] == line)
        neighbours = [*self._lines[max(0, place - 1) : place], *self._lines[after : after + 1]]
        shared = max((alike(line, other) for other in neighbours), default=0)
        end = next((at for at in range(shared + 1, len(line)) if line[at].isspace() and not line[at - 1].isspace()), len(line))
        return line[:end]


Method = Literal["likelihood", "labels", "markers"]

LABELS = tuple(" " + letter for letter in string.ascii_uppercase + string.ascii_lowercase)  # 52
YES, NO = " yes", " no"
PROMPT = "rerank"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Who is ranked for: past items oldest first, stated interests, the wish of this moment."""

    history: tuple[Item, ...] = ()
    interests: tuple[str, ...] = ()
    query: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A candidate as the template sees it."""

    title: str
    label: str = ""


class Prompter:
    """Builds score requests. `history`: most past items shown; `title_chars`: longest title shown.

    `catalogue`: likelihood scores a title only as far as none of these other items' titles begins with it; empty: all of it.
    """

    def __init__(self, prompts: Prompts, *, history: int, title_chars: int, catalogue: Iterable[Item] = ()) -> None:
        self._prompts = prompts
        self._history = history
        self._title_chars = title_chars
        lines = [self.line(item) for item in catalogue]
        self._titles = Titles(lines) if lines else None

    def digests(self) -> dict[str, str]:
        return {PROMPT: self._prompts.digest(PROMPT)}

    def title(self, item: Item) -> str:
        """The line that stands for an item; an item without a title goes by its id."""
        return data(item.title, self._title_chars) or data(item.item_id, self._title_chars)

    def line(self, item: Item) -> str:
        """An item as a line of a history."""
        return f" {self.title(item)}\n"

    def scored(self, item: Item) -> str:
        """What the likelihood method scores of an item's line."""
        return self._titles.distinct(self.line(item)) if self._titles else self.line(item)

    def shown(self, profile: Profile, count: Callable[[str], int], block: int) -> tuple[Item, ...]:
        """The past items for the likelihood method: the last ones, but for a few, so that they fill an engine's blocks.

        `count`: tokens of a text. `block`: tokens in a block of the engine's prefix cache (see `block_history`).
        """
        if block == 1:
            return profile.history[-self._history :]
        history = profile.history[-self._history - self._history // SHARE :]
        plain = self.request("likelihood", profile, ())
        tokens = count(plain.prefix) + count(plain.context)
        places = block_history([count(self.line(item)) for item in history], self._history, tokens, block)
        return tuple(history[place] for place in places)

    def request(
        self,
        method: Method,
        profile: Profile,
        candidates: Sequence[Item],
        adapter: str = "",
        shown: Sequence[Item] | None = None,
    ) -> ScoreRequest:
        """The request that scores `candidates` for `profile`. `shown`: items of its history; None: the last ones.

        Raises PromptError when the template breaks its contract.
        """
        past = profile.history[-self._history :] if shown is None else shown
        titles = [self.title(item) for item in candidates]
        lines = [Line(title, LABELS[n].strip() if method == "labels" else "") for n, title in enumerate(titles)]
        prefix, context, *rest = self._prompts.parts(
            PROMPT,
            2 + (len(titles) if method == "markers" else 0),
            {
                "method": method,
                "interests": profile.interests,
                "query": profile.query,
                "history": [Line(self.title(item)) for item in past],
                "candidates": lines,
                "title_chars": self._title_chars,
            },
        )
        if method == "likelihood":
            scored = tuple(self.scored(item) for item in candidates)
            return Likelihood(prefix=prefix, context=context, continuations=scored, adapter=adapter)
        if method == "labels":
            return Labels(prefix=prefix, context=context, labels=LABELS[: len(titles)], adapter=adapter)
        return Markers(prefix=prefix, context=context, segments=tuple(rest), positive=YES, negative=NO, adapter=adapter)
