"""The LLM ranker: scores every candidate from log-probabilities, generates nothing, and is fused with the retriever."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from genrec.errors import ConfigError
from genrec.llm.protocol import LLM, Scores
from genrec.prompts import Prompts
from genrec.ranking.prompter import Method, Profile, Prompter
from genrec.ranking.score_fusion import fuse, standardise, title_score
from genrec.settings.sections import RankSettings
from genrec.types import Item

PRIORS_KEPT = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RankRequest:
    """One list to rank: the candidates in the retriever's order with its scores (n,), and the usual spread of such scores, where
    it is known (`genrec.ranking.score_fusion.standardise`).
    """

    profile: Profile
    candidates: tuple[Item, ...]
    scores: tuple[float, ...]
    spread: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """A ranked list. `order` is a permutation of the candidates' places, best first; the rest is in the candidates' order."""

    order: np.ndarray  # (n,) int64
    score: np.ndarray  # (n,) float64, fused log-probability
    llm: np.ndarray  # (n,) float64, the LLM's own score in nats
    prompt_tokens: int
    cached_tokens: int


class Ranker:
    """Ranks candidate lists with an LLM by one of three methods (see docs/architecture.md).

    labels      next-token log-probabilities of single-token labels (LlamaRec, Yue et al. 2023)
    likelihood  log p(title | profile) - b log p(title), per token (query likelihood: Ponte & Croft 1998; Sachan et al. 2022); of
                a title its shortest unique prefix, if `unique_prefix` (see genrec.ranking.prompter)
    markers     log p(yes) - log p(no) behind every candidate, in one pass
    """

    def __init__(
        self,
        llm: LLM,
        prompts: Prompts,
        settings: RankSettings,
        adapter: str = "",
        catalogue: Callable[[], Iterable[Item]] | None = None,
    ) -> None:
        """`adapter`: the LoRA adapter that scores; empty: the base model. `catalogue`: gives all items there are, asked for once
        if `settings.unique_prefix` is on. Raises ConfigError where it is on without a catalogue.
        """
        self.settings, self.adapter = settings, adapter
        if settings.unique_prefix and catalogue is None:
            raise ConfigError(
                "rank.unique_prefix needs the catalogue's titles", hint="Give the ranker its catalogue, or switch it off."
            )
        items = catalogue() if catalogue and settings.unique_prefix else ()
        self.prompter = Prompter(prompts, history=settings.history, title_chars=settings.title_chars, catalogue=items)
        self._llm = llm
        self._priors: OrderedDict[str, float] = OrderedDict()

    async def rank(self, requests: Sequence[RankRequest], method: Method | None = None) -> list[Ranking]:
        """Rank every list. Raises LabelError, EngineError or PromptError; an empty list is ranked as an empty list."""
        method = method or self.settings.method
        block = await self._llm.block() if method == "likelihood" and requests else 1
        answers = await self._score([(request.profile, request.candidates) for request in requests], method, block)
        rankings = []
        for request, (llm, prompt, cached) in zip(requests, answers, strict=True):
            score = fuse(llm, np.asarray(request.scores, dtype=np.float64), self.settings.weight, request.spread)
            order = np.lexsort((np.arange(len(score)), -score))  # ties in the retriever's order
            rankings.append(Ranking(order=order, score=score, llm=llm, prompt_tokens=prompt, cached_tokens=cached))
        return rankings

    async def leave_one_out(self, request: RankRequest, method: Method | None = None) -> np.ndarray:
        """(n, history shown) float64: how much each candidate's LLM score falls, in nats, when a past item is left out.

        The exact answer, at one pass per past item; the part of the profile before the left-out item is computed once.
        """
        method = method or self.settings.method
        history = request.profile.history[-self.settings.history :]
        if not history or not request.candidates:
            return np.zeros((len(request.candidates), len(history)))
        profiles = [
            Profile(history=history[:n] + history[n + 1 :], interests=request.profile.interests, query=request.profile.query)
            for n in range(len(history))
        ]
        # the whole profile first, alone: its keys and values are what the others start from
        ((base, _, _),) = await self._score([(request.profile, request.candidates)], method, 1)
        without = await self._score([(profile, request.candidates) for profile in profiles], method, 1)
        return base[:, None] - np.stack([score for score, _, _ in without], axis=1)

    async def _score(
        self, lists: Sequence[tuple[Profile, tuple[Item, ...]]], method: Method, block: int
    ) -> list[tuple[np.ndarray, int, int]]:
        """(scores (n,), prompt tokens, cached tokens) of each list; all windows of all lists go to the engine at once.

        `block`: of the engine's prefix cache, which the histories shall fill; 1: the last items are shown as they are.
        """
        places, requests = [], []
        for number, (profile, candidates) in enumerate(lists):
            shown = self.prompter.shown(profile, self._llm.count_tokens, block)
            for window in _windows(len(candidates), self.settings.window):
                places.append((number, window))
                requests.append(self.prompter.request(method, profile, [candidates[i] for i in window], self.adapter, shown))
        prior, scores = await asyncio.gather(self._prior_of(lists, method), self._llm.score(requests))
        out = [np.zeros(len(candidates)) for _, candidates in lists]
        tokens = np.zeros((len(lists), 2), dtype=np.int64)
        whole = {number for number, window in places if len(window) == len(lists[number][1])}
        for (number, window), answer in zip(places, scores, strict=True):
            values = self._values(answer, [lists[number][1][i] for i in window], prior, method)
            # label scores are relative to their own window: put on one scale before windows are merged
            out[number][window] = standardise(values) if method == "labels" and number not in whole else values
            tokens[number] += (answer.prompt_tokens, answer.cached_tokens)
        return [(score, int(prompt), int(cached)) for score, (prompt, cached) in zip(out, tokens, strict=True)]

    def _values(self, answer: Scores, items: Sequence[Item], prior: dict[str, float], method: Method) -> np.ndarray:
        values = answer.logp.astype(np.float64)
        if method != "likelihood":
            return values
        told = self.settings
        known = np.array([prior[self.prompter.title(item)] for item in items]) if told.prior else np.zeros(len(items))
        return title_score(values, answer.tokens, known, told.prior, told.per_token)

    async def _prior_of(self, lists: Sequence[tuple[Profile, tuple[Item, ...]]], method: Method) -> dict[str, float]:
        """log p(title) behind an empty profile, for every title in `lists`; remembered between calls."""
        if method != "likelihood" or not self.settings.prior:
            return {}
        wanted = {self.prompter.title(item): item for _, items in lists for item in items}
        # taken before the engine is awaited: another call may drop what this one needs
        found = {title: self._priors[title] for title in wanted if title in self._priors}
        missing = [item for title, item in wanted.items() if title not in found]
        groups = [missing[i : i + self.settings.window] for i in range(0, len(missing), self.settings.window)]
        requests = [self.prompter.request(method, Profile(), group, self.adapter) for group in groups]
        for group, answer in zip(groups, await self._llm.score(requests), strict=True):
            for item, logp in zip(group, answer.logp.tolist(), strict=True):
                title = self.prompter.title(item)
                found[title] = self._priors[title] = logp
        while len(self._priors) > PRIORS_KEPT:
            self._priors.popitem(last=False)
        return found


def _windows(n: int, size: int) -> list[list[int]]:
    """Places 0..n-1 dealt out like cards, so that every window has its share of the retriever's best."""
    count = -(-n // size)
    return [list(range(start, n, count)) for start in range(count)]
