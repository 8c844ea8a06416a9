"""Simulated users: each wants one item of the catalogue, says so little by little, and accepts nothing else.

    target ─► aspects (what could be said of it) ─► opening ─► answers, critiques, refusals ─► accepted, or out of turns

A user knows the target's attributes and some words of its text, never its title. They open with two aspects. Shown a list without
the target they answer the question that was asked, or find fault with what was shown: another aspect, a direction in which the
target lies (`something older`), or a value that all of the list has and the target has not (`no horror`). After Zhang et al.,
"Towards Conversational Search and Recommendation", CIKM 2018, and Zou et al., SIGIR 2020.

Whom they talk to is a `Talks`: genrec's chat, or a search. Nothing here knows how answers are made.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from genrec.data.cleaning import clean_text
from genrec.errors import ConfigError
from genrec.evaluation.aspects import Aspect, Directions, Memory, aspects_of, direction, directions_of, shared_value
from genrec.index.protocol import Dense, Leg, Lexical, Query
from genrec.progress import SILENT, Progress, track
from genrec.types import Item
from genrec.understanding.vocabulary import Vocabulary
from genrec.workspace.folder import Workspace
from genrec.workspace.load import schema_of

OPENINGS = (
    "I'm looking for something {0}.",
    "Can you recommend something {0}?",
    "I want something {0}.",
    "Hi! Do you have anything {0}?",
    "Find me something {0}, please.",
)
CRITIQUES = (
    "Not those. I'd like something {0}.",
    "None of these. It should be {0}.",
    "No, something {0}.",
    "Hmm, not quite. Make it {0}.",
    "Those are not it. Do you have something {0}?",
)
REFUSALS = ("Nothing with {0}, please.", "No {0}.", "Not {0}.")
MORE = ("Something else, please.", "Not those. What else do you have?", "Other ones, please.")
INDIFFERENT = "I don't care."
OPENED = 2
"""Aspects of the first turn."""
STEERED, REFUSED = 0.2, 0.15
"""How often a critique is a direction, or a refusal, where one can be given; else it is one more aspect."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its text, the items shown, best first, and the attribute that it asks for, if it asks."""

    text: str
    item_ids: tuple[str, ...]
    question: str = ""


class Talks(Protocol):
    """Somebody to talk to."""

    def begin(self) -> None:
        """Forget the dialogue before."""
        ...

    def say(self, text: str) -> Reply: ...


@dataclass(slots=True)
class SimulatedUser:
    """One person with one wish. The same seed says the same to the same answers."""

    target: Item
    aspects: Sequence[Aspect]
    vocabulary: Vocabulary
    directions: Directions
    rng: np.random.Generator
    said: list[Aspect] = field(default_factory=list)
    gone: set[tuple[str, str]] = field(default_factory=set)  # directions and refusals that were given

    def opening(self) -> str:
        self.said = self._unsaid()[:OPENED]
        return self._one(OPENINGS).format(_together(self.said) or "good")

    def reply(self, heard: Reply, shown: Sequence[Item]) -> str:
        """To an answer that has not the target; `shown` are its items."""
        if heard.question:
            return self._answer(heard.question)
        if not shown:
            return self._critique() if self._unsaid() else self._one(MORE)
        chance = self.rng.random()
        steer = ("steer", direction(self.target, shown, self.directions))
        if chance < STEERED and steer[1] and steer not in self.gone:
            self.gone.add(steer)
            return f"Something {steer[1]}, please."
        refused = ("value", shared_value(self.target, shown, self.vocabulary))
        if chance < STEERED + REFUSED and refused[1] and refused not in self.gone:
            self.gone.add(refused)
            return self._one(REFUSALS).format(refused[1])
        return self._critique() if self._unsaid() else self._one(MORE)

    def _answer(self, attribute: str) -> str:
        """What the target has of the attribute, also if it was said before."""
        fitting = [aspect for aspect in self.aspects if aspect.attribute == attribute]
        if not fitting:
            return INDIFFERENT
        new = [aspect for aspect in fitting if aspect not in self.said]
        chosen = (new or fitting)[0]
        self.said.append(chosen)
        text = chosen.answer if chosen.words.startswith("that is ") else self._one((chosen.answer, chosen.answer, chosen.words))
        return f"{text[0].upper()}{text[1:]}."

    def _critique(self) -> str:
        chosen = self._unsaid()[0]
        self.said.append(chosen)
        return self._one(CRITIQUES).format(chosen.words)

    def _unsaid(self) -> list[Aspect]:
        """In the order in which they come to this person's mind; one of an attribute before a second one of it."""
        named = [aspect.attribute for aspect in self.said]
        left = [aspect for aspect in self.aspects if aspect not in self.said]
        return sorted(left, key=lambda aspect: named.count(aspect.attribute))

    def _one(self, sentences: Sequence[str]) -> str:
        return sentences[int(self.rng.integers(len(sentences)))]


def _together(aspects: Sequence[Aspect]) -> str:
    same = len({aspect.attribute for aspect in aspects}) < len(aspects)
    return (" and " if same else " ").join(aspect.words for aspect in aspects)


@dataclass(frozen=True, slots=True)
class Turn:
    said: str
    heard: Reply
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Told:
    """A dialogue that is over. `found`: in which turn the target was shown, from 1; 0: never."""

    target: str
    found: int
    turns: tuple[Turn, ...]


def user_of(
    target: Item, vocabulary: Vocabulary, words: Callable[[Item], Sequence[str]], directions: Directions, seed: int
) -> SimulatedUser:
    """`words`: what somebody may remember of an item's text, each a few words."""
    rng = np.random.default_rng(seed)
    aspects = aspects_of(target, vocabulary, words(target), rng)
    return SimulatedUser(target, aspects, vocabulary, directions, rng)


def talk(user: SimulatedUser, talks: Talks, items: Mapping[str, Item], *, turns: int) -> Told:
    """At most `turns` answers. `items` holds what may be shown."""
    talks.begin()
    passed: list[Turn] = []
    text = user.opening()
    for number in range(1, turns + 1):
        start = time.perf_counter()
        heard = talks.say(text)
        passed.append(Turn(text, heard, 1000 * (time.perf_counter() - start)))
        if user.target.item_id in heard.item_ids:
            return Told(user.target.item_id, number, tuple(passed))
        text = user.reply(heard, [items[item_id] for item_id in heard.item_ids if item_id in items])
    return Told(user.target.item_id, 0, tuple(passed))


def summary(told: Sequence[Told], *, turns: int) -> dict[str, float | int | list[float]]:
    """Success within each number of turns, with the 95% interval (Wilson) of the last; turns and milliseconds."""
    found = np.array([one.found for one in told])
    reached = [float(((found > 0) & (found <= turn)).mean()) for turn in range(1, turns + 1)]
    times = [turn.milliseconds for one in told for turn in one.turns]
    asked = [bool(turn.heard.question) for one in told for turn in one.turns]
    again = [len(ids) - len(set(ids)) for ids in ([i for t in one.turns for i in t.heard.item_ids] for one in told)]
    return {
        "users": len(told),
        "success": reached,
        "interval": list(wilson(reached[-1], len(told))),
        "turns": float(np.where(found > 0, found, turns).mean()),
        "questions": float(np.mean(asked)),
        "shown twice": int(sum(again)),
        "ms a turn, median": float(np.median(times)),
        "ms a turn, 95%": float(np.quantile(times, 0.95)),
    }


def wilson(share: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """The 95% interval of a share of n (Wilson 1927)."""
    centre, spread = share + z**2 / (2 * n), z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return float((centre - spread) / (1 + z**2 / n)), float((centre + spread) / (1 + z**2 / n))


TEXT = "text"
TURNS = 5


@dataclass(frozen=True, slots=True)
class Crowd:
    """Who could want what in this catalogue."""

    items: Mapping[str, Item]
    vocabulary: Vocabulary
    memory: Memory
    directions: Directions
    seed: int

    @classmethod
    def of(cls, workspace: Workspace, seed: int) -> "Crowd":
        """Raises StoreError."""
        items = {item.item_id: item for batch in workspace.store.all_items() for item in batch}
        vocabulary = Vocabulary.of(items.values(), schema_of(workspace))
        return cls(items, vocabulary, Memory(items.values(), seed), directions_of(vocabulary), seed)

    def users(self, n: int) -> list[SimulatedUser]:
        """n people, each with a wish drawn from all items of which enough can be said. Raises ConfigError where there is none."""
        found: list[SimulatedUser] = []
        ids = sorted(self.items)
        for place in np.random.default_rng(self.seed).permutation(len(ids)):
            user = self.user(ids[place])
            if len(user.aspects) > OPENED:
                found.append(user)
            if len(found) == n:
                break
        if not found:
            raise ConfigError(
                "nothing can be said of any item but its title", hint="Simulated users speak of attributes and words of the text."
            )
        return found

    def user(self, item_id: str) -> SimulatedUser:
        """The person who wants this item; the same person each time."""
        seed = int(np.frombuffer(item_id.encode()[-8:].rjust(8), np.uint64)[0]) ^ self.seed
        return user_of(self.items[item_id], self.vocabulary, self.memory, self.directions, seed)


class TextSearch:
    """A search by meaning and by word, fused in the engine, for all that was said so far; nothing is shown twice."""

    def __init__(self, workspace: Workspace, k: int, progress: Progress = SILENT) -> None:
        """Raises WeightsError where the workspace names a text encoder that cannot be had."""
        self._index, self._k = workspace.index, k
        spec = workspace.index.spec()
        searched = spec is not None and TEXT in spec.vectors
        self._encoder = workspace.text_encoder(progress) if searched else None
        self._said: list[str] = []
        self._shown: set[str] = set()

    def begin(self) -> None:
        self._said, self._shown = [], set()

    def say(self, text: str) -> Reply:
        self._said.append(clean_text(text))
        words = " ".join(self._said)
        legs: list[Leg] = [Lexical(words)]
        if self._encoder is not None:
            legs.append(Dense(TEXT, self._encoder.encode([words], role="query")[0]))
        (hits,) = self._index.search([Query(legs=legs, limit=self._k, exclude=frozenset(self._shown))])
        ids = tuple(hit.item_id for hit in hits)
        self._shown.update(ids)
        return Reply(", ".join(ids), ids)


def simulate(
    crowd: Crowd, talks: Mapping[str, Talks], n: int, *, turns: int = TURNS, progress: Progress = SILENT
) -> dict[str, list[Told]]:
    """By name of whom they talk to: the same n people, who begin with the same words."""
    told: dict[str, list[Told]] = {}
    targets = [user.target.item_id for user in crowd.users(n)]
    for name, other in talks.items():
        told[name] = [
            talk(crowd.user(one), other, crowd.items, turns=turns) for one in track(progress, name, targets, len(targets))
        ]
    return told


def as_json(told: Mapping[str, Sequence[Told]], *, turns: int) -> dict[str, Any]:
    """Figures by name, and the difference of each from the last, in pairs of the same people."""
    found: dict[str, Any] = {name: summary(talks, turns=turns) for name, talks in told.items()}
    *others, base = told
    for name in others:
        pairs = np.array([(bool(a.found), bool(b.found)) for a, b in zip(told[name], told[base], strict=True)])
        found[name][f"found where {base} did not"] = int((pairs[:, 0] & ~pairs[:, 1]).sum())
        found[name][f"not found where {base} did"] = int((~pairs[:, 0] & pairs[:, 1]).sum())
    return found
