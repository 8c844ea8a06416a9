"""Simulated users over one workspace, and text search as somebody to talk to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genrec.data.cleaning import clean_text
from genrec.dialogue.vocabulary import Vocabulary
from genrec.errors import ConfigError
from genrec.evaluation.aspects import Directions, Memory, directions_of
from genrec.evaluation.simulated import OPENED, Heard, SimulatedUser, Talks, Told, summary, talk, user_of
from genrec.index.protocol import Dense, Leg, Lexical, Query
from genrec.loading import schema_of
from genrec.progress import SILENT, Progress, track
from genrec.types import Item
from genrec.workspace import Workspace

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

    def say(self, text: str) -> Heard:
        self._said.append(clean_text(text))
        words = " ".join(self._said)
        legs: list[Leg] = [Lexical(words)]
        if self._encoder is not None:
            legs.append(Dense(TEXT, self._encoder.encode([words], role="query")[0]))
        (hits,) = self._index.search([Query(legs=legs, limit=self._k, exclude=frozenset(self._shown))])
        ids = tuple(hit.item_id for hit in hits)
        self._shown.update(ids)
        return Heard(", ".join(ids), ids)


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
