"""How much the LLM should count: the weights of the fusion, chosen on held-out events."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from genrec.llm.protocol import LLM, Likelihood
from genrec.metrics import gain
from genrec.progress import Progress, track
from genrec.ranking.prompter import Method, Profile, Prompter
from genrec.ranking.ranker import RankRequest
from genrec.ranking.score_fusion import fuse, standardise, title_score

TOP = 10
PRIORS = (0.0, 0.25, 0.5, 0.75, 1.0)
HALVES = 2
AT_ONCE = 16
"""Lists handed to the engine in one call."""
TITLES_AT_ONCE = 50
"""Titles scored in one request behind an empty profile."""
RESAMPLES = 2000
RIDGE = 1e-3
"""Weight of the squared weights, in nats a list: of a few lists none may seem certain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One list as the models scored it; `target` is the place of what was chosen, -1 where it is not in the list.

    logp    (n,) summed log-probability of each title, or the score of another method; `tokens` (n,) what it was summed over
    prior   (n,) the same without the profile, zeros where it was not measured
    scores  (n,) the retriever's
    """

    logp: NDArray[np.float64]
    tokens: NDArray[np.int64]
    prior: NDArray[np.float64]
    scores: NDArray[np.float64]
    target: int


LACKING = Measured(logp=np.zeros(0), tokens=np.zeros(0, np.int64), prior=np.zeros(0), scores=np.zeros(0), target=-1)
"""A list without its target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """`weight` and `prior` are `a` and `b` of docs/architecture.md, `spread` the retriever's usual one (0: each list's own)."""

    weight: float
    prior: float = 0.0
    per_token: bool = True
    spread: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """NDCG@10 of each list under the choice and with the retriever alone, (n,) each.

    `fused` is cross-fitted: each half of the lists is ranked with the choice that was best on the other half.
    """

    choice: Choice
    fused: NDArray[np.float64]
    alone: NDArray[np.float64]

    def gain(self) -> tuple[float, float, float]:
        """Mean difference fused - alone with its 95% interval, by the paired bootstrap over lists."""
        difference = self.fused - self.alone
        rng = np.random.default_rng(0)
        drawn = difference[rng.integers(len(difference), size=(RESAMPLES, len(difference)))].mean(axis=1)
        low, high = np.quantile(drawn, [0.025, 0.975])
        return float(difference.mean()), float(low), float(high)


async def measure(
    llm: LLM,
    prompter: Prompter,
    method: Method,
    lists: Sequence[tuple[RankRequest, int]],
    progress: Progress,
    adapter: str = "",
) -> list[Measured]:
    """Score lists and, for likelihood, every title behind an empty profile. `lists`: with the place of what was chosen, or -1.

    Lists of more candidates than a prompt takes must be cut before. Raises LabelError, AdapterError, EngineError or PromptError.
    """
    titles = [prompter.scored(item) for one, _ in lists for item in one.candidates] if method == "likelihood" else []
    prior = await alone(llm, prompter, titles, adapter, progress)
    out = []
    starts = range(0, len(lists), AT_ONCE)
    for start in track(progress, "validation lists", starts, len(starts)):
        part = lists[start : start + AT_ONCE]
        requests = [prompter.request(method, one.profile, one.candidates, adapter) for one, _ in part]
        for (one, target), answer in zip(part, await llm.score(requests), strict=True):
            out.append(
                Measured(
                    logp=answer.logp.astype(np.float64),
                    tokens=answer.tokens.astype(np.int64),
                    prior=np.array([prior.get(prompter.scored(item), 0.0) for item in one.candidates]),
                    scores=np.asarray(one.scores, np.float64),
                    target=target,
                )
            )
    return out


async def alone(llm: LLM, prompter: Prompter, scored: Iterable[str], adapter: str, progress: Progress) -> dict[str, float]:
    """log p(title) behind an empty profile, in nats, by what is `scored` of the title (`Prompter.scored`).

    Raises AdapterError, EngineError or PromptError.
    """
    texts = list(dict.fromkeys(scored))
    empty = prompter.request("likelihood", Profile(), ())
    found: dict[str, float] = {}
    starts = range(0, len(texts), TITLES_AT_ONCE)
    for start in track(progress, "titles alone", starts, len(starts)):
        part = tuple(texts[start : start + TITLES_AT_ONCE])
        request = Likelihood(prefix=empty.prefix, context=empty.context, continuations=part, adapter=adapter)
        (answer,) = await llm.score([request])
        found |= dict(zip(part, answer.logp.tolist(), strict=True))
    return found


def fit(lists: Sequence[Measured], *, likelihood: bool) -> Fitted:
    """The choice that makes what was chosen likeliest (conditional logit, McFadden 1974). `likelihood`: `prior` and `per_token`
    matter.

    NDCG@10 says how good the choice is, but does not choose it: it jumps with single places in the few lists that hold their
    target, and what is best for one half of the people was worse than nothing for the other (eval/LOG.md). A weight of 0 is among
    the choices: an LLM that does not help does not count.
    """
    half = np.arange(len(lists)) % HALVES
    fused = np.zeros(len(lists))
    for part in range(HALVES):
        choice = _likeliest([one for one, mine in zip(lists, half, strict=True) if mine != part], likelihood)
        fused[half == part] = gains([one for one, mine in zip(lists, half, strict=True) if mine == part], choice)
    return Fitted(choice=_likeliest(lists, likelihood), fused=fused, alone=gains(lists, Choice(weight=0.0)))


def _likeliest(lists: Sequence[Measured], likelihood: bool) -> Choice:
    known = [one for one in lists if one.target >= 0]
    if not known:
        return Choice(weight=0.0)
    spread = float(np.mean([one.scores.std() for one in known]))
    retriever = np.concatenate([standardise(one.scores, spread) for one in known])
    shapes = itertools.product(PRIORS, (True, False)) if likelihood else ((0.0, True),)
    choices = [Choice(weight=0.0, prior=prior, per_token=per_token, spread=spread) for prior, per_token in shapes]
    return max((_weighed(known, retriever, choice) for choice in choices), key=lambda found: found[0])[1]


def _weighed(lists: Sequence[Measured], retriever: NDArray[np.float64], choice: Choice) -> tuple[float, Choice]:
    """The mean log-probability of what was chosen under the likeliest weight for one form of the LLM's score, and that choice.

    `retriever`: standardised scores of all lists, one behind the other.
    """
    llm = [standardise(title_score(one.logp, one.tokens, one.prior, choice.prior, choice.per_token)) for one in lists]
    columns = np.stack([np.concatenate(llm), retriever], axis=1)
    (mine, other), value = likeliest(columns, [len(one.scores) for one in lists], [one.target for one in lists])
    weight = round(float(mine / (mine + other)), 3) if mine > 0 else 0.0
    return value, replace(choice, weight=weight)


def likeliest(
    columns: NDArray[np.float64], sizes: Sequence[int], targets: Sequence[int], least: Sequence[float] | None = None
) -> tuple[NDArray[np.float64], float]:
    """The weights of a conditional logit, (k,), and the mean log-probability of what was chosen, in nats, less the ridge's part.

    `columns`: (candidates of all lists, k), one list behind the other; `sizes`: candidates of each; `targets`: place of what was
    chosen in each; `least`: lower bounds of the weights, by default zeros.
    """
    ends = np.cumsum(sizes)
    starts = ends - np.asarray(sizes)
    chosen = starts + np.asarray(targets)

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logits = columns @ weights
        logits -= np.repeat(np.maximum.reduceat(logits, starts), ends - starts)
        sums = np.add.reduceat(np.exp(logits), starts)
        chances = np.exp(logits) / np.repeat(sums, ends - starts)
        slope = np.add.reduceat(chances[:, None] * columns, starts) - columns[chosen]
        value = (np.log(sums) - logits[chosen]).mean() + RIDGE * weights @ weights
        return float(value), slope.mean(axis=0) + 2 * RIDGE * weights

    bounds = [(bound, None) for bound in least or [0.0] * columns.shape[1]]
    found = optimize.minimize(loss, np.ones(columns.shape[1]), jac=True, method="L-BFGS-B", bounds=bounds)
    return found.x, -float(found.fun)


def gains(lists: Sequence[Measured], choice: Choice) -> NDArray[np.float64]:
    """(n,) NDCG@10 of each list; ties in the retriever's order."""
    out = np.zeros(len(lists))
    for row, one in enumerate(lists):
        if one.target < 0:
            continue
        llm = title_score(one.logp, one.tokens, one.prior, choice.prior, choice.per_token)
        score = fuse(llm, one.scores, choice.weight, choice.spread)
        mine = score[one.target]
        rank = int((score > mine).sum() + (score[: one.target] == mine).sum())
        out[row] = gain(rank, TOP)
    return out
