"""The weights of the fusion: found where the LLM helps, zero where it does not, proved on other lists than those chosen on."""

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from genrec.llm.fake import FakeLLM
from genrec.progress import SILENT
from genrec.prompts import Prompts
from genrec.ranking.fusion_weights import LACKING, Choice, Fitted, Measured, fit, gains, measure
from genrec.ranking.prompter import Method, Profile, Prompter
from genrec.ranking.ranker import Ranker, RankRequest
from genrec.settings.sections import RankSettings
from genrec.types import Item

N = 20


def measured(n: int = 200, *, knows: float = 0.0, retriever: float = 1.0, seed: int = 0, **columns: Any) -> list[Measured]:
    """Lists whose LLM and retriever raise the target's score by so many standard deviations."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(n):
        target = int(rng.integers(N))
        logp, scores = rng.normal(size=N), rng.normal(size=N)
        logp[target] += knows
        scores[target] += retriever
        values: dict[str, Any] = {"tokens": np.ones(N, np.int64), "prior": np.zeros(N)} | columns
        order = np.argsort(-scores)
        place = int(np.flatnonzero(order == target)[0])
        made.append(Measured(logp=logp[order], scores=scores[order], target=place, **values))
    return made


def test_an_llm_that_knows_counts() -> None:
    fitted = fit(measured(knows=2.0), likelihood=False)
    gain, low, high = fitted.gain()
    assert 0.4 < fitted.choice.weight < 1
    assert 0.1 < low < gain < high
    assert gain == pytest.approx(fitted.fused.mean() - fitted.alone.mean())
    more = fit(measured(knows=4.0), likelihood=False)
    assert more.choice.weight > fitted.choice.weight


def test_noise_gains_nothing() -> None:
    """Chosen on the lists that it is judged by, the best of many weights would always look good."""
    found = [fit(measured(100, seed=seed), likelihood=seed == 0) for seed in range(8)]
    gains_of = [one.gain() for one in found]
    assert abs(np.mean([gain for gain, _, _ in gains_of])) < 0.015
    assert sum(low > 0 for _, low, _ in gains_of) <= 1
    assert all(one.choice.weight < 0.35 for one in found)
    assert fit(measured(knows=-1.0), likelihood=False).choice.weight == 0.0


def test_each_half_is_ranked_by_the_choice_of_the_other() -> None:
    """Of lists that take turns, the LLM is right for one half and wrong for the other."""
    lists = [one for pair in zip(measured(100, knows=-2.0), measured(100, knows=3.0, seed=1), strict=True) for one in pair]
    fitted = fit(lists, likelihood=False)
    even, odd = lists[0::2], lists[1::2]
    assert fit(even, likelihood=False).choice.weight == 0.0
    assert (fitted.fused[1::2] == fitted.alone[1::2]).all()
    trusting = fit(odd, likelihood=False).choice
    assert trusting.weight > 0.4
    assert fitted.fused[0::2] == pytest.approx(gains(even, trusting))


def test_the_choice_is_the_likeliest() -> None:
    """The LLM's and the retriever's standard scores are drawn with known weights: these are found again."""
    rng, lists = np.random.default_rng(0), []
    for _ in range(3000):
        logp, scores = rng.normal(size=N), rng.normal(size=N)
        chance = np.exp(1.5 * logp / logp.std() + 0.5 * scores)
        target = int(rng.choice(N, p=chance / chance.sum()))
        lists.append(Measured(logp=logp, tokens=np.ones(N, np.int64), prior=np.zeros(N), scores=0.01 * scores, target=target))
    choice = fit(lists, likelihood=False).choice
    assert choice.weight == pytest.approx(0.75, abs=0.02)
    assert choice.spread == pytest.approx(0.01, rel=0.05)


def test_a_retriever_that_is_sure_is_believed() -> None:
    """Half of the lists have a first place far ahead, which is right; in the others the LLM knows better. In units of each list's
    own spread the two look alike.
    """
    rng, lists = np.random.default_rng(0), []
    for number in range(200):
        sure, target = number % 4 < 2, int(rng.integers(1, N))  # both kinds are in both halves
        scores, logp = -np.arange(N, dtype=np.float64) * (10.0 if sure else 0.1), rng.normal(size=N)
        logp[target] += 3.0
        zeros = np.zeros(N)
        lists.append(Measured(logp=logp, tokens=np.ones(N, np.int64), prior=zeros, scores=scores, target=0 if sure else target))
    fitted = fit(lists, likelihood=False)
    assert fitted.fused.mean() > 0.85
    assert gains(lists, replace(fitted.choice, spread=0.0)).mean() < fitted.fused.mean() - 0.05


def test_nothing_to_choose_by() -> None:
    assert fit([], likelihood=True).choice.weight == 0.0
    assert fit([LACKING] * 4, likelihood=True).choice.weight == 0.0
    flat = measured(1)[0]
    alike = Measured(logp=np.zeros(N), tokens=flat.tokens, prior=flat.prior, scores=np.zeros(N), target=3)
    assert fit([alike] * 4, likelihood=True).choice.weight in (0.0, 0.5)  # any weight leaves such lists as they are


def test_prior_and_length_are_chosen_where_they_matter() -> None:
    rng = np.random.default_rng(0)
    plain = measured(60, knows=3.0)
    common = [rng.normal(scale=6.0, size=N) for _ in plain]
    spoilt = [
        Measured(logp=one.logp + title, tokens=one.tokens, prior=title, scores=one.scores, target=one.target)
        for one, title in zip(plain, common, strict=True)
    ]
    assert fit(spoilt, likelihood=True).choice.prior == 1.0
    assert fit(spoilt, likelihood=False).choice.prior == 0.0
    lengths = [rng.integers(1, 12, N) for _ in plain]
    summed = [
        Measured(logp=(one.logp - 10) * long, tokens=long, prior=one.prior, scores=one.scores, target=one.target)
        for one, long in zip(plain, lengths, strict=True)
    ]
    assert fit(summed, likelihood=True).choice.per_token is True
    whole = [
        Measured(logp=one.logp, tokens=long, prior=one.prior, scores=one.scores, target=one.target)
        for one, long in zip(plain, lengths, strict=True)
    ]
    assert fit(whole, likelihood=True).choice.per_token is False


def test_the_gain_of_a_list() -> None:
    def one(target: int, logp: list[float]) -> Measured:
        zeros = np.zeros(len(logp))
        return Measured(logp=np.array(logp), tokens=np.ones(len(logp), np.int64), prior=zeros, scores=zeros, target=target)

    full = Choice(weight=1.0)
    lists = [one(0, [2.0, 1.0]), one(1, [2.0, 1.0]), one(1, [1.0, 1.0]), one(11, [float(-n) for n in range(12)]), LACKING]
    assert gains(lists, full) == pytest.approx([1.0, 1 / np.log2(3), 1 / np.log2(3), 0.0, 0.0])
    assert gains(lists[:2], Choice(weight=0.0)) == pytest.approx([1.0, 1 / np.log2(3)])  # ties in the retriever's order


def test_lists_without_their_target_count() -> None:
    lists = measured(100, knows=2.0)
    half = [*lists, *[LACKING] * 100]
    assert fit(half, likelihood=False).alone.mean() == pytest.approx(fit(lists, likelihood=False).alone.mean() / 2)


def test_the_interval_is_of_the_pairs() -> None:
    alone = np.random.default_rng(0).random(300)
    fitted = Fitted(choice=Choice(weight=0.5), fused=alone + 0.01, alone=alone)
    gain, low, high = fitted.gain()
    assert (low, high) == pytest.approx((0.01, 0.01))
    assert gain == pytest.approx(0.01)


@pytest.mark.parametrize("method", ["likelihood", "labels", "markers"])
@pytest.mark.parametrize(
    "choice", [Choice(weight=0.6), Choice(weight=0.3, prior=0.5, per_token=False), Choice(weight=0.6, spread=0.1)], ids=str
)
def test_what_is_measured_is_what_the_ranker_serves(method: Method, choice: Choice) -> None:
    """The gain under a choice is that of the order in which `Ranker` puts the list with the choice as its settings."""
    rng, prompts = np.random.default_rng(0), Prompts()
    items = [Item(item_id=str(n), title=f"Title {n} {'x' * (n % 5)}") for n in range(30)]
    asked = []
    for _ in range(20):
        drawn = rng.permutation(30)[:14]
        profile = Profile(history=tuple(items[n] for n in drawn[10:]))
        request = RankRequest(
            profile=profile,
            candidates=tuple(items[n] for n in drawn[:10]),
            scores=tuple(-np.sort(-rng.random(10))),
            spread=choice.spread,
        )
        asked.append((request, int(rng.integers(-1, 10))))
    settings = RankSettings(
        method=method, weight=choice.weight, prior=choice.prior, per_token=choice.per_token, history=3, title_chars=8
    )
    llm = FakeLLM(("tuned",))
    for adapter in ("", "tuned"):
        ranker = Ranker(llm, prompts, settings, adapter)
        ranked = asyncio.run(ranker.rank([request for request, _ in asked]))
        prompter = Prompter(prompts, history=3, title_chars=8)
        got = gains(asyncio.run(measure(llm, prompter, method, asked, SILENT, adapter)), choice)
        wanted = [
            1 / np.log2(list(ranking.order).index(target) + 2) if target >= 0 else 0.0
            for ranking, (_, target) in zip(ranked, asked, strict=True)
        ]
        assert got == pytest.approx(wanted)
