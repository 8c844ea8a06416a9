"""Systems with the LLM ranker behind them: what they are handed, what the prompts say, and how the harness treats them."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from genrec.baselines.boosted import Boosted
from genrec.errors import EvaluationError, WeightsError
from genrec.evaluation.harness import evaluate
from genrec.evaluation.leaks import check_profiles
from genrec.evaluation.ranks import rank_split
from genrec.evaluation.reranked import Reranked, flipped_first, flipped_pairs, places
from genrec.evaluation.results import Results
from genrec.evaluation.splits import cold_items, cold_users, leave_one_out
from genrec.llm.fake import FakeLLM
from genrec.llm.protocol import LLM, Labels, Likelihood, ScoreRequest, Scores
from genrec.progress import SILENT, Progress
from genrec.prompts import Prompts
from genrec.ranking.prompter import Profile
from genrec.ranking.ranker import Ranker, RankRequest
from genrec.retrieval.sequences import Sequences
from genrec.retrieval.systems import Content, System
from genrec.settings.sections import RankSettings
from genrec.types import Item
from tests.baselines import baseline_world
from tests.evaluation.events import Noise, Popular, content, random_sequences, sequences

EVENTS = random_sequences(4)
WORDS = ("amber", "birch", "coral", "dune", "ember", "fjord")
PLAIN = content(30)
CONTENT = replace(
    PLAIN, items=[replace(item, title=f"{WORDS[n % 6]} {WORDS[n % 5]} tale{n}") for n, item in enumerate(PLAIN.items)]
)
LOO = leave_one_out(EVENTS)


class Recorder(FakeLLM):
    """Remembers what it is asked, and how often it was loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[ScoreRequest] = []
        self.loads = 0

    def load(self, progress: Progress) -> "Recorder":
        self.loads += 1
        return self

    async def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        self.asked += requests
        return await super().score(requests)


class Biased(FakeLLM):
    """Likes early labels, as small models do; continuations do not see one another, so there it cannot."""

    async def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        found = await super().score(requests)
        return [
            replace(scores, logp=scores.logp - np.arange(len(scores.logp), dtype=np.float32))
            if isinstance(request, Labels)
            else scores
            for request, scores in zip(requests, found, strict=True)
        ]


def over(
    base: System,
    llm: LLM | None = None,
    candidates: int = 8,
    kind: type[Reranked] = Reranked,
    spread: float = 0.0,
    **ranking: Any,
) -> Reranked:
    engine = llm or FakeLLM()
    load = engine.load if isinstance(engine, Recorder) else lambda progress: engine
    return kind(base, load, Prompts(), RankSettings(**ranking), candidates, spread=spread)


def fitted(base: System, **options: Any) -> Reranked:
    system = over(base, **options)
    system.fit(LOO.train, CONTENT, SILENT)
    return system


def measured(*systems: System, **options: Any) -> Results:
    chosen: dict[str, Any] = {"resamples": 100, "tune": False, "split": LOO, "of": CONTENT, **options}
    split, of = chosen.pop("split"), chosen.pop("of")
    return evaluate(list(systems), split, of, **chosen)


def tops(system: System, k: int = 30) -> np.ndarray:
    return rank_split(system.scores, LOO, k).top


@pytest.mark.parametrize("method", ["likelihood", "labels", "markers"])
def test_the_candidates_are_the_bases_best_in_the_served_rankers_order(method: Any) -> None:
    base = Noise(seed=3)
    reranked = tops(fitted(base, method=method, weight=0.7))
    order = tops(base)
    assert (np.sort(reranked[:, :8], axis=1) == np.sort(order[:, :8], axis=1)).all()
    assert (reranked[:, 8:] == order[:, 8:]).all()
    assert (reranked[:, :8] != order[:, :8]).any()
    scores = base.scores(LOO.histories)
    ranker = Ranker(FakeLLM(), Prompts(), RankSettings(method=method, weight=0.7))
    for row in (0, 7, 41):
        handed = [int(item) for item in order[row, :8] if item >= 0]
        request = RankRequest(
            profile=Profile(history=tuple(CONTENT.items[item] for item in LOO.histories.history(row))),
            candidates=tuple(CONTENT.items[item] for item in handed),
            scores=tuple(float(scores[row, item]) for item in handed),
        )
        (ranking,) = asyncio.run(ranker.rank([request]))
        assert reranked[row, :8].tolist() == [handed[place] for place in ranking.order]


def test_options_matter() -> None:
    base = Noise(seed=3)
    assert (tops(fitted(base, weight=0.0)) == tops(base)).all()
    assert (tops(fitted(base, weight=1.0)) != tops(base)).any()
    assert (tops(fitted(base, weight=0.5, spread=1e9)) == tops(fitted(base, weight=1.0))).all()  # a retriever that hardly counts
    assert (tops(fitted(base, weight=0.5, spread=1e-6)) == tops(base)).all()
    assert (tops(fitted(base, candidates=1)) == tops(base)).all()
    few, many = tops(fitted(base, candidates=3, weight=1.0)), tops(fitted(base, candidates=20, weight=1.0))
    assert (np.sort(few[:, :3]) == np.sort(tops(base)[:, :3])).all()
    assert (few[:, :3] != many[:, :3]).any()
    with pytest.raises(EvaluationError, match="0 candidates"):
        over(base, candidates=0)
    with pytest.raises(EvaluationError, match="before it was fitted"):
        over(base).scores(LOO.histories)
    with pytest.raises(EvaluationError, match="before it was fitted"):
        _ = over(base).retriever


def test_it_goes_by_its_base() -> None:
    system = over(Noise(seed=3), method="labels", weight=0.4)
    assert (system.name, system.seeded) == ("noise+llm", True)
    assert over(Popular()).seeded is False
    assert list(system.grid()) == []
    assert list(over(Popular()).grid()) == Popular().grid()
    told = system.settings
    assert (told["reach"], told["rerank"]["method"], told["rerank"]["weight"]) == (float("inf"), "labels", 0.4)
    assert told["rerank"]["candidates"] == 8
    assert "llm" not in told["rerank"]
    system.ready(SILENT)
    assert system.settings["rerank"]["llm"] == "fake"
    changed = over(Popular()).with_settings({"power": -1.0, "rerank": {"method": "labels"}}, 5)
    assert (changed.settings["power"], changed.settings["rerank"]["method"]) == (-1.0, "likelihood")
    assert over(Popular(), spread=0.5).with_settings({"power": 1.0}, 5).settings["rerank"]["spread"] == 0.5
    assert over(Noise(seed=2)).gates == Noise(seed=2).gates


def test_prompts_hold_the_history_and_nothing_of_the_target() -> None:
    llm = Recorder()
    measured(over(Noise(), llm), seeds=(1,))
    asked = [request for request in llm.asked if isinstance(request, Likelihood)]
    assert len(asked) >= len(LOO.targets)
    for row, (request, target) in enumerate(zip(asked, LOO.targets, strict=False)):
        lines = request.context.splitlines()
        assert CONTENT.items[int(target[0])].title not in request.prefix + request.context
        titles = [f" {CONTENT.items[item].title}" for item in LOO.histories.history(row)]
        assert lines[: len(titles)] == titles


def test_a_profile_names_each_item_once_at_its_last_event() -> None:
    histories = sequences([[3, 1, 3, 2, 1], []], 30)
    profiles = over(Popular()).profiles(histories, CONTENT.items)
    assert [[item.item_id for item in profile.history] for profile in profiles] == [["i3", "i2", "i1"], []]


class FromTheStore(Reranked):
    """The mistake that the check is for: the store knows all events, the hidden ones included."""

    def profiles(self, histories: Sequences, items: Sequence[Item]) -> list[Profile]:
        whole = [EVENTS.history(EVENTS.user_ids.index(user_id)) for user_id in histories.user_ids]
        return [Profile(history=tuple(items[item] for item in history)) for history in whole]


def test_a_target_planted_in_the_prompts_is_refused() -> None:
    llm = Recorder()
    with pytest.raises(EvaluationError, match=r"popular\+llm leak.*target in a prompt: 60") as caught:
        measured(Popular(), over(Popular(), llm, kind=FromTheStore))
    assert "store" in caught.value.hint
    assert llm.asked == []


def test_the_check_of_profiles_names_what_it_finds() -> None:
    clean = over(Popular()).profiles(LOO.histories, CONTENT.items)
    assert check_profiles(LOO, clean) == ()
    target = int(LOO.targets[0][0])
    unseen = int(np.setdiff1d(np.arange(30), [*LOO.histories.history(0), target])[0])
    for extra, kind in ((target, "target in a prompt"), (unseen, "beyond the history")):
        planted = replace(clean[0], history=(*clean[0].history, CONTENT.items[extra]))
        (leak,) = check_profiles(LOO, [planted, *clean[1:]])
        assert str(leak) == f"{kind}: 1 (person 'p0', 'i{extra}')"
    for words in ({"interests": ("ships",)}, {"query": "ships"}):
        (leak,) = check_profiles(LOO, [replace(clean[0], **words), *clean[1:]])
        assert str(leak) == "beyond the history: 1 (person 'p0', 'ships')"


def test_a_warm_twin_is_checked_too() -> None:
    split = cold_items(EVENTS, 0.3)

    class Late(Reranked):
        def profiles(self, histories: Sequences, items: Sequence[Item]) -> list[Profile]:
            usual = super().profiles(histories, items)
            if len(histories) == len(split.histories):
                return usual
            wanted = (items[int(target[0])] for target in split.targets)
            return [replace(profile, history=(*profile.history, item)) for profile, item in zip(usual, wanted, strict=True)]

    with pytest.raises(EvaluationError, match="warm twin: target in a prompt"):
        measured(over(Popular(), kind=Late), split=split)


class Counted(Noise):
    """Counts its fits by seed, in one list for all copies; the grid has a setting that is better by far."""

    def __init__(self, fits: list[tuple[float, int]], power: float = 0.0, seed: int = -1) -> None:
        super().__init__("counted", seed, settings={"power": power})
        self.fits, self.power = fits, power

    def grid(self) -> Sequence[Mapping[str, Any]]:
        return [{"power": 0.0}, {"power": 9.0}]

    def with_settings(self, settings: Mapping[str, Any], seed: int) -> "Counted":
        return Counted(self.fits, settings["power"], seed)

    def fit(self, train: Sequences, content: Content, progress: Progress) -> None:
        self.fits.append((self.power, self.seed))
        self.counts = train.popularity()

    def scores(self, histories: Sequences) -> np.ndarray:
        return (super().scores(histories) + self.power * self.counts).astype(np.float32)


@pytest.mark.parametrize("alone", [False, True])
def test_the_base_is_tuned_and_fitted_once_and_never_by_the_llm(alone: bool) -> None:
    fits: list[tuple[float, int]] = []
    llm, base = Recorder(), Counted(fits)
    systems = [over(base, llm)] if alone else [base, over(base, llm)]
    results = measured(*systems, tune=True, seeds=(1, 2))
    assert fits == [(0.0, 1), (9.0, 1), (9.0, 1), (9.0, 2)]
    reranked = results.system("counted+llm")
    assert reranked.settings["power"] == 9.0
    assert [trial.settings["power"] for trial in reranked.trials] == [0.0, 9.0]
    assert reranked.seeds == (1, 2)
    assert reranked.tune_seconds > 0
    shuffled = 2 * min(30, int((LOO.histories.lengths > 0).sum())) + 30
    assert len(llm.asked) == 2 * len(LOO.targets) + shuffled  # no list of a validation split
    assert llm.loads == 1
    if not alone:
        plain = results.system("counted")
        assert (plain.trials, plain.fit_seconds) == (reranked.trials, reranked.fit_seconds)
        assert reranked.ceiling == pytest.approx(plain.metrics["recall@50"].mean)


def test_another_base_of_that_name_is_not_taken_for_it() -> None:
    fits: list[tuple[float, int]] = []
    measured(Counted(fits, 0.0), over(Counted(fits, 9.0)), seeds=(1,))
    assert fits == [(0.0, 1), (9.0, 1)]


def test_ceilings_are_the_retrievers_recall_of_those_asked() -> None:
    base = Noise()
    split = cold_items(EVENTS, 0.3)
    results = measured(base, over(base), split=split, seeds=(1, 2), ks=(8, 10, 50))
    plain, reranked = results.system("noise"), results.system("noise+llm")
    assert (reranked.retriever, reranked.candidates) == ("noise", 8)
    assert reranked.ceiling == pytest.approx(plain.metrics["recall@50"].mean)
    assert reranked.handed_recall == pytest.approx(plain.metrics["recall@8"].mean)
    assert reranked.handed_recall != pytest.approx(reranked.ceiling)
    assert reranked.metrics["recall@8"].mean == pytest.approx(reranked.handed_recall)
    assert reranked.warm["recall@8"].mean == pytest.approx(plain.warm["recall@8"].mean)
    assert reranked.warm["mrr@8"].mean != pytest.approx(plain.warm["mrr@8"].mean)
    assert (plain.retriever, plain.ceiling, plain.candidates) == ("", None, None)
    assert Results.from_json(results.to_json()).system("noise+llm").flips == reranked.flips


def test_boosted_trees_are_shown_with_their_first_stages_recall() -> None:
    made: list[Boosted] = []

    class Kept(Boosted):
        def with_settings(self, settings: Mapping[str, Any], seed: int) -> Self:
            copy = super().with_settings(settings, seed)
            made.append(copy)
            return copy

    split = leave_one_out(baseline_world.world(40))
    base = Kept({"candidates": 12, "trees": 5, "folds": 1, "least": 5})
    result = measured(base, split=split, of=baseline_world.content(), seeds=(0,)).system("boosted")
    stage = made[0].retriever
    top = rank_split(stage.scores, split).top
    hits = np.array([(row == target[0]) for row, target in zip(top, split.targets, strict=True)])
    assert result.ceiling == pytest.approx(hits.any(axis=1).mean())
    assert result.handed_recall == pytest.approx(hits[:, :12].any(axis=1).mean())
    assert (result.retriever, result.candidates, result.flips) == (stage.name, 12, None)


def test_without_weights_it_is_missing_and_nothing_is_fitted_in_vain() -> None:
    def load(progress: Progress) -> LLM:
        raise WeightsError("no weights", hint="Name a folder.")

    base = Popular("other")
    lost = Reranked(base, load, Prompts(), RankSettings(), 8)
    results = measured(lost, Popular())
    assert base.fits == []
    missing = results.system("other+llm")
    assert (missing.status, missing.note, missing.hint) == ("missing", "no weights", "Name a folder.")
    assert results.system("popular").status == "ok"


def test_people_without_history_keep_the_bases_order() -> None:
    llm = Recorder()
    split = cold_users(EVENTS, 0.5, shown=(0, 2))
    base = Popular()
    system = over(base, llm, weight=1.0)
    system.fit(split.train, CONTENT, SILENT)
    order, plain = (rank_split(made.scores, split, 30).top for made in (system, base))
    nobody = split.histories.lengths == 0
    assert (order[nobody] == plain[nobody]).all()
    assert (order[~nobody] != plain[~nobody]).any()
    assert len(llm.asked) == (~nobody).sum()
    flips = system.order_flips(split.histories.take(np.flatnonzero(nobody)))
    assert flips is None


@pytest.mark.parametrize(("method", "own", "firm"), [("labels", 0.4, False), ("likelihood", 0.0, True)])
def test_order_flips_tell_labels_from_likelihood(method: Any, own: float, firm: bool) -> None:
    result = measured(over(Noise(), Biased(), method=method, weight=0.5), seeds=(1,)).system("noise+llm")
    flips = result.flips
    assert flips is not None
    assert result.order_flip_rate == flips.pairs
    assert (flips.people, flips.shuffles) == (30, 2)
    assert flips.pairs == pytest.approx(own, abs=0.1)
    changes = (flips.pairs, flips.first, flips.served_pairs, flips.served_first)
    assert all(change == 0 for change in changes) == firm
    assert any(change == 0 for change in changes) == firm
    assert flips.served_pairs <= flips.pairs  # the retriever's say does not change


def test_how_many_lists_are_shuffled_can_be_said() -> None:
    llm = Recorder()
    system = fitted(Noise(seed=1), llm=llm)
    flips = system.order_flips(LOO.histories, people=5, shuffles=3)
    assert flips is not None
    assert (flips.people, flips.shuffles, len(llm.asked)) == (5, 3, 5 * 4)
    again = [request.context for request in llm.asked]
    system.order_flips(LOO.histories, people=5, shuffles=3)
    assert [request.context for request in llm.asked[20:]] == again
    other = system.over(Noise(seed=1), CONTENT, 8)
    other.order_flips(LOO.histories, people=5, shuffles=3)
    assert [request.context for request in llm.asked[40:]] != again
    assert fitted(Noise(seed=1), candidates=1).order_flips(LOO.histories) is None


def test_flips_by_hand() -> None:
    one, other = np.array([3.0, 2.0, 1.0, 0.0]), np.array([2.0, 3.0, 1.0, 1.0])
    assert flipped_pairs(one, other) == pytest.approx(1 / 6)  # a tie is no flip
    assert flipped_pairs(one, -one) == 1
    assert flipped_pairs(one, one) == 0
    assert flipped_first(one, other)
    assert not flipped_first(one, np.array([2.0, 2.0, 0.0, 0.0]))
    with pytest.raises(ValueError, match="no pairs"):
        flipped_pairs(one[:1], other[:1])


@settings(deadline=None, max_examples=50)
@given(arrays.arrays(np.float32, (2, 7), elements=st.floats(-3, 3, width=32) | st.just(-np.inf) | st.sampled_from([1.0, 2.0])))
def test_places_keep_order_and_ties(scores: np.ndarray) -> None:
    made = places(scores)
    assert ((scores == -np.inf) == (made == -np.inf)).all()
    for row, place in zip(scores, made, strict=True):
        shown, kept = row[row > -np.inf], place[row > -np.inf]
        assert (np.sign(np.subtract.outer(kept, kept)) == np.sign(np.subtract.outer(shown, shown))).all()
    assert np.isnan(places(np.array([[np.nan, 1.0]], np.float32))[0, 0])


async def test_it_runs_inside_an_event_loop() -> None:
    assert measured(over(Popular()), split=LOO.take(np.arange(3))).system("popular+llm").status == "ok"


def test_few_people_are_handed_over_at_a_time() -> None:
    sizes: list[int] = []

    class Sizes(FakeLLM):
        async def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
            sizes.append(len(requests))
            return await super().score(requests)

    measured(over(Popular(), Sizes()))
    assert sizes[:4] == [16, 16, 16, 12]
