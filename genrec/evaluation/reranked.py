"""Any system with the LLM ranker behind it, as a system: the same class that serves ranks the base's best again."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec.errors import EvaluationError
from genrec.evaluation.ranks import best
from genrec.evaluation.results import OrderFlips
from genrec.llm.protocol import LLM
from genrec.progress import SILENT, Progress, track
from genrec.prompts import Prompts
from genrec.ranking.prompter import Profile
from genrec.ranking.ranker import Ranker, Ranking, RankRequest
from genrec.retrieval.sequences import Sequences
from genrec.retrieval.systems import Content, System
from genrec.settings.sections import RankSettings
from genrec.types import Item

Compared = tuple[Ranking, Ranking, NDArray[np.int64]]
"""The same candidates in the usual order, and in another: candidate `order[i]` of the first is candidate i of the second."""


def flips(compared: Sequence[Compared], *, people: int, shuffles: int) -> OrderFlips:
    """Means over the lists, every list weighing the same. Raises ValueError for a list of fewer than two."""
    own = [(usual.llm, _back(other.llm, order)) for usual, other, order in compared]
    served = [(usual.score, _back(other.score, order)) for usual, other, order in compared]
    return OrderFlips(
        people=people,
        shuffles=shuffles,
        pairs=float(np.mean([flipped_pairs(*both) for both in own])),
        first=float(np.mean([flipped_first(*both) for both in own])),
        served_pairs=float(np.mean([flipped_pairs(*both) for both in served])),
        served_first=float(np.mean([flipped_first(*both) for both in served])),
    )


def flipped_pairs(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Share of the pairs of candidates that one scoring (n,) puts one way round and the other the other; ties do not flip."""
    n = len(one)
    if n < 2:
        raise ValueError("a list of fewer than two candidates has no pairs")
    turned = np.sign(one[:, None] - one) * np.sign(other[:, None] - other) < 0
    return float(turned.sum() / (n * (n - 1)))


def flipped_first(one: NDArray[np.floating], other: NDArray[np.floating]) -> bool:
    """Whether the first by one scoring is beaten in the other."""
    return bool(other[np.argmax(one)] < other.max())


def _back(scores: NDArray[np.floating], order: NDArray[np.int64]) -> NDArray[np.floating]:
    """Scores of the shuffled candidates at their usual places."""
    usual = np.empty_like(scores)
    usual[order] = scores
    return usual


SUFFIX = "+llm"
PEOPLE_AT_ONCE = 16
"""Lists handed to the engine in one call, so that the progress moves."""
FLIP_PEOPLE = 30
FLIP_SHUFFLES = 2


class Reranked:
    """The base's best `candidates` unseen items, in the order of `genrec.ranking.Ranker`; all other items behind, in the base's.

    A person's profile is the history that the split gives and nothing else: no stated interests, nothing out of a store. People
    without history keep the base's order, as in serving. `rank.mode` is not read: whoever asks for this wants it ranked.

    llm         loads the engine when it is first needed, and may raise a ModelError; `Workspace.llm` is one
    candidates  how many of the base's items the LLM sees, at least 1
    adapter     the LoRA adapter that scores; it must not have learned from what the split asks for
    spread      the usual spread of the base's scores in a list, where the ranker's weights were fitted with it
    seed        of the shuffles and the people of `order_flips`
    """

    def __init__(
        self,
        base: System,
        llm: Callable[[Progress], LLM],
        prompts: Prompts,
        ranking: RankSettings,
        candidates: int,
        *,
        adapter: str = "",
        spread: float = 0.0,
        seed: int = 0,
    ) -> None:
        if candidates < 1:
            raise EvaluationError(f"{base.name}{SUFFIX}: {candidates} candidates", hint="Hand over at least one.")
        self.base = base
        self.candidates = candidates
        self._llm, self._prompts, self._ranking, self._adapter, self._seed = llm, prompts, ranking, adapter, seed
        self._spread = spread
        self._engine: LLM | None = None
        self._ranker: Ranker | None = None
        self._items: Sequence[Item] | None = None

    @property
    def name(self) -> str:
        return self.base.name + SUFFIX

    @property
    def seeded(self) -> bool:
        return self.base.seeded

    @property
    def gates(self) -> Mapping[str, float] | None:
        return self.base.gates

    @property
    def settings(self) -> Mapping[str, Any]:
        """The base's, and under `rerank` what the ranker was told."""
        told = self._ranking.model_dump(exclude={"mode"}) | {
            "candidates": self.candidates,
            "adapter": self._adapter,
            "spread": self._spread,
        }
        return {**self.base.settings, "rerank": told | ({"llm": self._engine.id} if self._engine else {})}

    @property
    def retriever(self) -> System:
        """Whose recall is the ceiling. Raises EvaluationError before `fit`."""
        self._known()
        return self.base

    def grid(self) -> Sequence[Mapping[str, Any]]:
        """The base's, which is tuned alone: the harness chooses its settings by its own lists, not by the LLM's."""
        return self.base.grid()

    def with_settings(self, settings: Mapping[str, Any], seed: int) -> "Reranked":
        """An unfitted copy over the base with these settings; the ranker's own stay."""
        own = {name: value for name, value in settings.items() if name != "rerank"}
        return self._copy(self.base.with_settings(own, seed), seed)

    def over(self, fitted: System, content: Content, seed: int) -> "Reranked":
        """A fitted copy over a base that is fitted already."""
        made = self._copy(fitted, seed)
        made._items = content.items
        return made

    def ready(self, progress: Progress) -> LLM:
        """Load the LLM, once for all copies made afterwards. Raises WeightsError or EngineError."""
        if self._engine is None:
            self._engine = self._llm(progress)
        return self._engine

    def fit(self, train: Sequences, content: Content, progress: Progress) -> None:
        self.ready(progress)
        self.base.fit(train, content, progress)
        self._items = content.items

    def profiles(self, histories: Sequences, items: Sequence[Item]) -> list[Profile]:
        """What the prompt may say of each person: past items oldest first, each once at its last event, as in serving."""
        profiles = []
        for row in range(len(histories.user_ids)):
            latest = dict.fromkeys(reversed(histories.history(row).tolist()))
            profiles.append(Profile(history=tuple(items[item] for item in reversed(latest))))
        return profiles

    def scores(self, histories: Sequences) -> NDArray[np.float32]:
        """(U, N) whole numbers: the base's order, with the candidates above all others in the ranker's order."""
        requests, handed, raw = self._requests(histories)
        made = places(raw)
        asked = np.flatnonzero(histories.lengths > 0)
        for row, ranking in zip(asked, self._rank([requests[row] for row in asked]), strict=True):
            chosen = handed[row][ranking.order]
            made[row, chosen] = raw.shape[1] + len(chosen) - np.arange(len(chosen))
        return made

    def order_flips(
        self,
        histories: Sequences,
        progress: Progress = SILENT,
        *,
        people: int = FLIP_PEOPLE,
        shuffles: int = FLIP_SHUFFLES,
    ) -> OrderFlips | None:
        """How much the order depends on the order in which the candidates are handed over.

        Of at most `people` drawn rows with a history, each list is ranked as the base hands it over and `shuffles` times in a
        random order. None when nobody has two candidates.
        """
        rng = np.random.default_rng(self._seed)
        able = np.flatnonzero(histories.lengths > 0)
        rows = np.sort(rng.choice(able, min(people, len(able)), replace=False))
        requests, _, _ = self._requests(histories.take(rows))
        requests = [request for request in requests if len(request.candidates) > 1]
        found = []
        for request in track(progress, "order of the candidates", requests, len(requests)):
            orders = [rng.permutation(len(request.candidates)) for _ in range(shuffles)]
            usual, *others = self._rank([request, *(_in_order(request, order) for order in orders)])
            found += [(usual, other, order) for other, order in zip(others, orders, strict=True)]
        return flips(found, people=len(requests), shuffles=shuffles) if found else None

    def _copy(self, base: System, seed: int) -> "Reranked":
        told = {"adapter": self._adapter, "spread": self._spread, "seed": seed}
        made = Reranked(base, self._llm, self._prompts, self._ranking, self.candidates, **told)
        made._engine, made._ranker = self._engine, self._ranker
        return made

    def _known(self) -> Sequence[Item]:
        if self._items is None:
            raise EvaluationError(f"{self.name}: asked before it was fitted", hint="Call fit first.")
        return self._items

    def _requests(self, histories: Sequences) -> tuple[list[RankRequest], list[NDArray[np.int32]], NDArray[np.float32]]:
        """The lists to rank, their items as numbers, and the base's scores (U, N) with the history at -inf."""
        items = self._known()
        raw = np.array(self.base.scores(histories), np.float32)
        raw[histories.users, histories.items] = -np.inf
        handed = [row[row >= 0] for row in best(raw, self.candidates)]
        requests = [
            RankRequest(
                profile=profile,
                candidates=tuple(items[item] for item in chosen),
                scores=tuple(raw[row, chosen].tolist()),
                spread=self._spread,
            )
            for row, (profile, chosen) in enumerate(zip(self.profiles(histories, items), handed, strict=True))
        ]
        return requests, handed, raw

    def _rank(self, requests: Sequence[RankRequest]) -> list[Ranking]:
        if self._ranker is None:
            self._ranker = Ranker(self.ready(SILENT), self._prompts, self._ranking, self._adapter, self._known)
        ranker = self._ranker
        with ThreadPoolExecutor(1) as pool:  # a loop of its own: the caller, say a notebook, may be inside one
            return pool.submit(asyncio.run, ranker.rank(requests)).result()


def places(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """(U, N) the scores of each row as whole numbers from 0 in the same order, equal ones equal; -inf and NaN stay."""
    made = np.array([np.unique(row, return_inverse=True)[1] for row in scores], np.float32).reshape(scores.shape)
    return np.where(np.isnan(scores) | (scores == -np.inf), scores, made)


def _in_order(request: RankRequest, order: NDArray[np.int64]) -> RankRequest:
    return RankRequest(
        profile=request.profile,
        candidates=tuple(request.candidates[place] for place in order),
        scores=tuple(request.scores[place] for place in order),
        spread=request.spread,
    )
