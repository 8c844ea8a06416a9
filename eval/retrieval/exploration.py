"""What does exploration cost, and what does it find?

A simulated shop. Items have hidden qualities (a vector of tastes and a worth of their own), of which the content vector tells a
part; people have hidden tastes. Every round all people are shown ten items each, choose at most one of them by its true appeal
(a logistic of taste and worth, less for lower places), and new items come in. The catalogue is built anew from the events every
round, by genrec's own fusion, and lists are those of genrec's own retriever, with `explore` as the only difference. Beside it
stands epsilon-greedy: the last place of a list is a random item.

Told are, over the seeds: choices per hundred lists in the first and in the last third of the rounds; regret (the appeal of the
ten best items that the person has not had, less that of the ten shown); and of the good new items (true mean appeal in the top
fifth of all) the share that twenty people or more have found by the end, and after how many rounds in the median.

    python -m eval.retrieval.exploration [--seeds 4] [--rounds 24]

Writes eval/results/exploration.json.
"""

import argparse
import json
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.provenance import RESULTS_FOLDER, provenance
from genrec.index.edge import EdgeIndex
from genrec.retrieval.behaviour import behaviour_vectors
from genrec.retrieval.catalogue import Catalogue
from genrec.retrieval.exploration import Exploration
from genrec.retrieval.item_vectors import ModalityVectors, unit_rows
from genrec.retrieval.retriever import CandidateRequest, Retriever
from genrec.settings.sections import RetrievalSettings
from genrec.types import Event

RESULTS = RESULTS_FOLDER / "exploration.json"
PEOPLE, ITEMS, TASTES, SHOWN = 1000, 400, 12, 10
START = 0.5
"""Share of the items there from the beginning; the others come in evenly over the first two thirds of the rounds."""
FOUND = 20
"""An item is found when so many people chose it."""
TOLD = 0.5
"""How much of an item's hidden tastes its content tells (cosine)."""
WAYS = ("0", "0.25", "0.5", "1", "epsilon")


@dataclass(slots=True)
class World:
    """Hidden: `tastes` (U, T), `items` (N, T), `worth` (N,). Open: `content` (N, C)."""

    rng: np.random.Generator
    rounds: int
    tastes: NDArray[np.float64] = field(init=False)
    appeal: NDArray[np.float64] = field(init=False)  # (U, N) chance to be chosen in the first place
    content: NDArray[np.float32] = field(init=False)
    arrival: NDArray[np.int64] = field(init=False)  # (N,) round
    good: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        rng = self.rng
        centres = rng.normal(size=(8, TASTES))
        items = centres[rng.integers(8, size=ITEMS)] + rng.normal(size=(ITEMS, TASTES))
        self.tastes = centres[rng.integers(8, size=PEOPLE)] + 0.7 * rng.normal(size=(PEOPLE, TASTES))
        worth = rng.normal(size=ITEMS)
        fit = unit_rows(self.tastes.astype(np.float32)) @ unit_rows(items.astype(np.float32)).T
        self.appeal = 1 / (1 + np.exp(-(4 * fit + 1.0 * worth[None] - 3.5)))
        noise = rng.normal(size=(ITEMS, TASTES))
        told = TOLD * unit_rows(items.astype(np.float32)) + np.sqrt(1 - TOLD**2) * unit_rows(noise.astype(np.float32))
        self.content = unit_rows(told.astype(np.float32))
        new = rng.permutation(ITEMS)[int(START * ITEMS) :]
        self.arrival = np.zeros(ITEMS, np.int64)
        self.arrival[new] = 1 + np.arange(len(new)) * (2 * self.rounds // 3) // len(new)
        mean = np.sort(self.appeal, axis=0)[-PEOPLE // 5 :].mean(axis=0)  # of the fifth of people whom it suits best
        self.good = (mean >= np.quantile(mean, 0.8)) & (self.arrival > 0)


@dataclass(slots=True)
class Shop:
    """What the shop knows: events, oldest first."""

    world: World
    index: EdgeIndex
    users: list[int] = field(default_factory=list)
    items: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def chosen(self, user: int, item: int, when: float) -> None:
        self.users.append(user)
        self.items.append(item)
        self.times.append(when)

    def retriever(self, there: NDArray[np.int64]) -> Retriever:
        """Built from what has come in so far: items `there`."""
        place = np.full(ITEMS, -1)
        place[there] = np.arange(len(there))
        settings = RetrievalSettings(behaviour_dim=64)
        rows = place[np.array(self.items)]
        made = behaviour_vectors(
            np.array(self.users), rows, np.array(self.times), n_items=len(there), dim=64, half_life=settings.behaviour_half_life
        )
        vectors = ModalityVectors(
            tuple(f"{n:05d}" for n in there),
            {"text": self.world.content[there], "behaviour": made.vectors},
            {"text": np.ones(len(there), bool), "behaviour": made.present},
        )
        return Retriever(self.index, Catalogue(vectors, made.popularity, settings), settings)

    def histories(self) -> list[list[Event]]:
        found: list[list[Event]] = [[] for _ in range(PEOPLE)]
        for user, item, when in zip(self.users, self.items, self.times, strict=True):
            found[user].append(Event(user_id=str(user), item_id=f"{item:05d}", timestamp=when))
        return found


def lived(world: World, way: str, seed: int, index: EdgeIndex) -> dict[str, Any]:
    """One life of the shop."""
    rng = np.random.default_rng([seed, 7])  # of choices: the same for every way
    shop, rounds = Shop(world, index), world.rounds
    for user in range(PEOPLE):  # everybody comes with three choices
        there = np.flatnonzero(world.arrival == 0)
        chance = world.appeal[user, there] ** 2
        for n, item in enumerate(rng.choice(there, 3, replace=False, p=chance / chance.sum())):
            shop.chosen(user, int(item), n / 10)
    had = np.zeros((PEOPLE, ITEMS), bool)
    had[shop.users, shop.items] = True
    choices, regret, found_at = np.zeros(rounds), np.zeros(rounds), np.full(ITEMS, -1)
    for turn in range(rounds):
        there = np.flatnonzero(world.arrival <= turn)
        asks = [ask_of(history, way, (seed, turn, user)) for user, history in enumerate(shop.histories())]
        lists = shop.retriever(there).candidates(asks, SHOWN)
        for user, candidates in enumerate(lists):
            shown = [int(candidate.item_id) for candidate in candidates]
            if way == "epsilon":
                shown[-1] = int(rng.choice(np.setdiff1d(there[~had[user, there]], shown)))
            best = np.sort(world.appeal[user, there[~had[user, there]]])[-SHOWN:].mean()
            regret[turn] += (best - world.appeal[user, shown].mean()) / PEOPLE
            looked = world.appeal[user, shown] * 0.9 ** np.arange(len(shown))
            if (taken := np.flatnonzero(rng.random(len(shown)) < 0.5 * looked)).size:
                item = shown[int(taken[0])]
                had[user, item] = True
                choices[turn] += 1
                shop.chosen(user, item, float(turn + 1))
        late = (had.sum(axis=0) >= FOUND) & (found_at < 0)
        found_at[late] = turn + 1
    third = rounds // 3
    ages = (found_at - world.arrival)[world.good & (found_at >= 0)]
    return {
        "choices first third": 100 * choices[:third].mean() / PEOPLE,
        "choices last third": 100 * choices[-third:].mean() / PEOPLE,
        "choices": 100 * choices.mean() / PEOPLE,
        "regret": regret.mean(),
        "regret last third": regret[-third:].mean(),
        "good new items found": float((found_at[world.good] >= 0).mean()),
        "rounds until found": float(np.median(ages)) if len(ages) else float("nan"),
    }


def ask_of(history: list[Event], way: str, seed: tuple[int, ...]) -> CandidateRequest:
    bold = 0.0 if way == "epsilon" else float(way)
    return CandidateRequest(history=history, explore=Exploration(bold, seed) if bold else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=24)
    asked = parser.parse_args()
    start = time.perf_counter()
    lives: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        index = EdgeIndex(Path(folder) / "index")  # never asked: so many people at once are scored exactly
        for seed in range(asked.seeds):
            for way in WAYS:
                lives[way].append(lived(World(np.random.default_rng(seed), asked.rounds), way, seed, index))
                print(seed, way, {name: round(float(value), 4) for name, value in lives[way][-1].items()}, flush=True)
    told = {way: spread(found, lives["0"]) for way, found in lives.items()}
    world = {"people": PEOPLE, "items": ITEMS, "shown": SHOWN, "rounds": asked.rounds, "seeds": asked.seeds, "found": FOUND}
    seconds = round(time.perf_counter() - start)
    RESULTS.write_text(json.dumps({**provenance(seed=0), "world": world, "seconds": seconds, "ways": told}, indent=1) + "\n")


def spread(found: list[dict[str, Any]], plain: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard error over the seeds, and of the difference from no exploration, seed by seed."""
    told = {}
    for name in found[0]:
        values = np.array([one[name] for one in found], float)
        change = values - np.array([one[name] for one in plain], float)
        root = np.sqrt(max(1, len(values) - 1) + 1)
        told[name] = {
            "mean": round(float(np.nanmean(values)), 4),
            "change": round(float(np.nanmean(change)), 4),
            "error of the change": round(float(np.nanstd(change, ddof=min(1, len(change) - 1)) / root), 4),
        }
    return told


if __name__ == "__main__":
    main()
