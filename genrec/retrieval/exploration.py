"""Thompson sampling over candidates: an item that few people chose may be better than its score says.

An item's behaviour vector is a mean over the n people behind it, shrunk towards the one predicted from its content as if by
`trust` more people (`modality_fusion`). That is the mean of a normal posterior, whose variance falls as 1 / (n + trust). Every
item's score is drawn from that posterior and the best draws are shown (Thompson 1933; Chapelle & Li, NIPS 2011; Agrawal & Goyal,
ICML 2013):

    draw = score + strength · spread · sqrt(trust / (n + trust)) · N(0, 1)

`spread` is the standard deviation of the scores of the items looked at, so that `strength` means the same for all retrievers.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from genrec.types import Candidate

POOL = 10
"""A list of k is drawn from the best 10·k."""
EXPLORED = "explored"
"""Source of a candidate that is in the list by its draw alone; the value is its rank without exploration."""


@dataclass(frozen=True, slots=True)
class Exploration:
    """How strongly to explore, and by which draws: the same seed gives the same draws for the same items in the same order."""

    strength: float
    seed: tuple[int, ...]


def thompson_sample(
    candidates: Sequence[Candidate], people: NDArray[np.integer], k: int, how: Exploration, *, trust: float
) -> list[Candidate]:
    """The k best draws, best first, of candidates that are ordered best first. Their scores are the draws.

    `people` (n,): how many chose each.
    """
    if not candidates or how.strength <= 0:
        return list(candidates[:k])
    scores = np.array([candidate.score for candidate in candidates])
    prior = max(trust, 1.0)  # even with `trust` 0, little is known of an item that nobody chose
    width = how.strength * scores.std() * np.sqrt(prior / (people + prior))
    draws = scores + width * np.random.default_rng(how.seed).standard_normal(len(scores))
    order = np.argsort(-draws, kind="stable")[:k]
    found = []
    for place in order:
        explored = {EXPLORED: float(place + 1)} if place >= k else {}
        sources = dict(candidates[place].sources) | explored
        found.append(replace(candidates[place], score=float(draws[place]), sources=sources))
    return found


def exploration_for(user_id: str, strength: float, seed: int) -> Exploration | None:
    """One person's draws, which do not depend on who else is asked for. None where nothing is explored."""
    own = int.from_bytes(hashlib.blake2b(user_id.encode(), digest_size=8).digest(), "big")
    return Exploration(strength, (seed, own)) if strength > 0 else None


def count_explored(lists: Sequence[Sequence[Candidate]]) -> int:
    """How many candidates are in these lists by their draws alone."""
    return sum(EXPLORED in candidate.sources for found in lists for candidate in found)
