"""The ranker: a permutation by the fused score, every option at work, lists longer than a window."""

import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.errors import EngineError
from genrec.llm.fake import FakeLLM
from genrec.llm.protocol import LLM, Likelihood
from genrec.prompts import Prompts
from genrec.ranking import ranker as ranker_module
from genrec.ranking.prompter import Method, Profile, Prompter
from genrec.ranking.ranker import RankRequest
from tests.ranking.lists import METHODS, PAST, SHOWN, Counting, a_list, items, rank, ranker, titles_of

FAST = settings(deadline=None, max_examples=40)
METHOD = st.sampled_from(METHODS)
LISTS = st.lists(st.tuples(st.text(max_size=12), st.integers(-3, 3)), max_size=12)


def of(rows: list[tuple[str, int]]) -> RankRequest:
    """A list in the retriever's order: falling scores."""
    rows = sorted(rows, key=lambda row: -row[1])
    return a_list([title for title, _ in rows], scores=[float(score) for _, score in rows])


class TestOrder:
    @FAST
    @given(st.lists(LISTS, max_size=3), METHOD, st.sampled_from([0.0, 0.2, 1.0]), st.sampled_from([2, 5, 50]))
    def test_every_list_gets_a_permutation_by_score(self, rows: Any, method: Method, weight: float, window: int) -> None:
        requests = [of(row) for row in rows]
        rankings = rank(ranker(method=method, weight=weight, window=window), *requests)
        assert len(rankings) == len(requests)
        for ranking, request in zip(rankings, requests, strict=True):
            n = len(request.candidates)
            assert ranking.order.dtype == np.int64
            assert sorted(ranking.order.tolist()) == list(range(n))
            assert ranking.score.shape == ranking.llm.shape == (n,)
            assert np.isfinite(ranking.score).all()
            assert (np.diff(ranking.score[ranking.order]) <= 0).all()

    @FAST
    @given(LISTS, METHOD)
    def test_weight_0_is_the_retrievers_order(self, rows: list[tuple[str, int]], method: Method) -> None:
        (ranking,) = rank(ranker(weight=0.0, method=method), of(rows))
        assert ranking.order.tolist() == list(range(len(rows)))

    @FAST
    @given(LISTS, METHOD)
    def test_weight_1_is_the_llms_order(self, rows: list[tuple[str, int]], method: Method) -> None:
        (ranking,) = rank(ranker(weight=1.0, method=method), of(rows))
        assert (np.diff(ranking.llm[ranking.order]) <= 1e-9).all()

    def test_a_weight_between_takes_from_both(self) -> None:
        orders = {w: rank(ranker(weight=w), a_list())[0].order.tolist() for w in (0.0, 0.5, 1.0)}
        assert len({tuple(order) for order in orders.values()}) == 3

    @pytest.mark.parametrize("method", METHODS)
    def test_ties_stay_in_the_retrievers_order(self, method: Method) -> None:
        same = a_list(["Twins"] * 40, scores=[0.5] * 40)
        assert rank(ranker(weight=0.5, method=method), same)[0].order.tolist() == list(range(40))
        mixed = a_list(["Zulu", "Alien"] * 24, scores=[0.5] * 48)
        order = rank(ranker(weight=1.0, method=method), mixed)[0].order.tolist()
        zulus, aliens = list(range(0, 48, 2)), list(range(1, 48, 2))
        assert order in (zulus + aliens, aliens + zulus)

    @FAST
    @given(st.permutations(range(len(SHOWN))), METHOD)
    def test_the_order_of_labels_does_not_matter_to_the_fake(self, places: list[int], method: Method) -> None:
        plain, shuffled = a_list(), a_list([SHOWN[place] for place in places])
        of_all = ranker(weight=1.0, method=method, prior=0.0)  # the fake's prior takes away what keeps its titles apart
        first, second = rank(of_all, plain, shuffled)
        assert titles_of(first, plain) == titles_of(second, shuffled)

    @pytest.mark.parametrize("method", METHODS)
    def test_no_candidates(self, method: Method) -> None:
        assert rank(ranker(method=method)) == []
        empty, full = rank(ranker(method=method), a_list([]), a_list())
        assert empty.order.tolist() == empty.score.tolist() == empty.llm.tolist() == []
        assert empty.prompt_tokens == empty.cached_tokens == 0
        assert len(full.order) == len(SHOWN)

    @pytest.mark.parametrize("method", METHODS)
    def test_a_person_without_a_past(self, tiny: LLM, method: Method) -> None:
        people: list[dict[str, Any]] = [{}, {"interests": ("space", "robots")}, {"query": "something funny"}]
        for person in people:
            (ranking,) = rank(ranker(tiny, method=method), a_list(past=(), **person))
            assert sorted(ranking.order.tolist()) == list(range(len(SHOWN)))
            assert np.isfinite(ranking.llm).all()

    def test_likelihood_without_a_past_says_nothing(self, tiny: LLM) -> None:
        """log p(title | nothing) - log p(title | nothing): the retriever decides."""
        (ranking,) = rank(ranker(tiny, weight=0.9), a_list(past=()))
        np.testing.assert_allclose(ranking.llm, 0, atol=1e-5)

    def test_several_lists_are_ranked_as_each_alone(self, tiny: LLM) -> None:
        requests = [a_list(), a_list(SHOWN[:3], PAST[:1]), a_list(past=()), a_list(query="robots")]
        for method in METHODS:
            alone = [rank(ranker(tiny, method=method), request)[0] for request in requests]
            for one, together in zip(alone, rank(ranker(tiny, method=method), *requests), strict=True):
                np.testing.assert_allclose(together.llm, one.llm, rtol=1e-4, atol=1e-4)

    def test_tokens_are_counted(self, tiny: LLM) -> None:
        of_all = ranker(tiny, prior=0.0)
        (first,) = rank(of_all, a_list())
        (again,) = rank(of_all, a_list())
        assert 0 < again.prompt_tokens <= first.prompt_tokens
        assert again.cached_tokens > 0
        assert again.prompt_tokens + again.cached_tokens == first.prompt_tokens + first.cached_tokens

    def test_errors_of_the_engine_come_through(self) -> None:
        llm = FakeLLM()
        llm.close()
        with pytest.raises(EngineError, match="closed"):
            rank(ranker(llm), a_list())


class TestOptions:
    """Each fails when its option is inert."""

    def test_method(self, tiny: LLM) -> None:
        by_setting = {method: rank(ranker(tiny, method=method), a_list())[0].llm for method in METHODS}
        assert not np.allclose(by_setting["likelihood"], by_setting["labels"])
        assert not np.allclose(by_setting["labels"], by_setting["markers"])
        for method in METHODS:  # the argument wins over the setting
            (given_,) = rank(ranker(tiny), a_list(), method=method)
            np.testing.assert_allclose(given_.llm, by_setting[method], rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("prior", [0.0, 0.5, 1.0])
    @pytest.mark.parametrize("per_token", [True, False])
    def test_prior_and_per_token(self, tiny: LLM, prior: float, per_token: bool) -> None:
        prompter = Prompter(Prompts(), history=16, title_chars=80)
        request = a_list()
        asked = [prompter.request("likelihood", profile, request.candidates) for profile in (request.profile, Profile())]
        with_, without = asyncio.run(tiny.score(asked))
        expected = (with_.logp - prior * without.logp) / (with_.tokens if per_token else 1)
        (ranking,) = rank(ranker(tiny, prior=prior, per_token=per_token), request)
        np.testing.assert_allclose(ranking.llm, expected, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("method", METHODS)
    def test_history(self, tiny: LLM, method: Method) -> None:
        other_past = ("Bambi", *PAST[1:])
        for history, same in ((4, True), (5, False)):
            of_some = ranker(tiny, history=history, method=method)
            one, other = (rank(of_some, a_list(past=past))[0].llm for past in (PAST, other_past))
            assert np.allclose(one, other, atol=1e-4) == same

    @pytest.mark.parametrize("method", METHODS)
    def test_title_chars(self, tiny: LLM, method: Method) -> None:
        one, other = a_list(["The Matrix Reloaded", "Bambi"]), a_list(["The Matrix Returns", "Bambi"])
        for chars, same in ((12, True), (80, False)):
            of_some = ranker(tiny, title_chars=chars, method=method)
            assert np.allclose(rank(of_some, one)[0].llm, rank(of_some, other)[0].llm, atol=1e-4) == same

    @pytest.mark.parametrize(("window", "windows"), [(2, 4), (3, 3), (7, 2), (8, 1), (50, 1)])
    def test_window(self, window: int, windows: int) -> None:
        llm = Counting()
        rank(ranker(llm, window=window, method="markers"), a_list())
        assert len(llm.asked) == windows

    def test_interests_and_query(self, tiny: LLM) -> None:
        for method in METHODS:
            plain, interests, query = rank(
                ranker(tiny, method=method), a_list(), a_list(interests=("robots",)), a_list(query="robots")
            )
            assert not np.allclose(plain.llm, interests.llm, atol=1e-3)
            assert not np.allclose(interests.llm, query.llm, atol=1e-3)


class TestWindows:
    MANY = tuple(f"{title}, part {n}" for n in range(16) for title in SHOWN)  # 128

    @pytest.mark.parametrize("method", METHODS)
    def test_more_than_a_window_are_all_ranked(self, method: Method) -> None:
        (ranking,) = rank(ranker(method=method), a_list(self.MANY))
        assert sorted(ranking.order.tolist()) == list(range(128))

    def test_likelihood_of_windows_is_that_of_one(self, tiny: LLM) -> None:
        request = a_list(self.MANY[:24])
        (whole,), (parts,) = (rank(ranker(tiny, window=window), request) for window in (50, 5))
        np.testing.assert_allclose(parts.llm, whole.llm, rtol=1e-4, atol=1e-4)
        assert parts.order.tolist() == whole.order.tolist()

    def test_labels_of_windows_are_on_one_scale(self, tiny: LLM) -> None:
        (whole,), (parts,) = (rank(ranker(tiny, window=window, method="labels"), a_list()) for window in (8, 4))
        assert float(np.exp(whole.llm).sum()) == pytest.approx(1.0, abs=1e-4)
        for window in (parts.llm[::2], parts.llm[1::2]):
            assert float(window.mean()) == pytest.approx(0.0, abs=1e-9)
            assert float(window.std()) == pytest.approx(1.0)

    def test_every_window_has_its_share_of_the_best(self) -> None:
        llm = Counting()
        rank(ranker(llm, window=3, prior=0.0), a_list())
        asked = [request.continuations for request in llm.asked if isinstance(request, Likelihood)]
        assert [row[0] for row in asked] == [f" {title}\n" for title in SHOWN[:3]]
        assert max(map(len, asked)) <= 3


class TestPriors:
    def test_are_computed_once(self) -> None:
        llm = Counting()
        of_all = ranker(llm)
        rank(of_all, a_list(), a_list(past=PAST[:2]))
        assert len(llm.asked) == 3  # two lists and one prior for both
        rank(of_all, a_list(SHOWN[::-1]))
        assert len(llm.asked) == 4
        rank(of_all, a_list(["Never seen", *SHOWN]))
        last = llm.asked[-2:]
        assert (" Never seen\n",) in [getattr(request, "continuations", ()) for request in last]
        assert len(llm.asked) == 6

    def test_only_where_they_are_used(self) -> None:
        for options in ({"prior": 0.0}, {"method": "labels"}, {"method": "markers"}):
            llm = Counting()
            rank(ranker(llm, **options), a_list())
            assert len(llm.asked) == 1

    def test_calls_that_crowd_each_other_out(self, monkeypatch: pytest.MonkeyPatch, tiny: LLM) -> None:
        """No call loses a prior that another call drops while the engine works."""
        monkeypatch.setattr(ranker_module, "PRIORS_KEPT", 3)
        of_all = ranker(tiny)
        rank(of_all, a_list(SHOWN[:3]))

        async def both() -> list[Any]:
            return await asyncio.gather(*(of_all.rank([a_list(SHOWN[n : n + 4])]) for n in range(5)))

        for n, (ranking,) in enumerate(asyncio.run(both())):
            (alone,) = rank(ranker(tiny), a_list(SHOWN[n : n + 4]))
            np.testing.assert_allclose(ranking.llm, alone.llm, atol=1e-4)


class TestPrompt:
    def test_the_beginning_is_the_same_for_everyone(self) -> None:
        prompter = Prompter(Prompts(), history=16, title_chars=80)
        people = [Profile(), Profile(history=items(PAST)), Profile(history=items(PAST[:1]), interests=("x",), query="y")]
        for method in METHODS:
            requests = [prompter.request(method, person, items(SHOWN[: n + 2])) for n, person in enumerate(people)]
            assert len({request.prefix for request in requests}) == 1
            assert len(requests[0].prefix) > 40

    @pytest.mark.parametrize("method", METHODS)
    def test_instruction_then_history_oldest_first_then_candidates(self, method: Method) -> None:
        request = Prompter(Prompts(), history=3, title_chars=80).request(method, Profile(history=items(PAST)), items(SHOWN))
        tail = "".join(getattr(request, "continuations", ()) or getattr(request, "segments", ()))
        text = request.prefix + request.context + tail
        places = [text.index(f"{title}\n") for title in PAST[-3:]]
        assert places == sorted(places)
        assert text.startswith(("Things that one person chose", "Below are the things that one person chose"))
        assert f"- {PAST[0]}\n" not in text
        assert all(text.index(title, places[-1]) for title in SHOWN)

    def test_an_item_without_a_title_goes_by_its_id(self) -> None:
        (item,) = items(["\u200b \x07"])
        assert Prompter(Prompts(), history=3, title_chars=80).title(item) == "i0"

    def test_digests(self) -> None:
        assert Prompter(Prompts(), history=1, title_chars=9).digests() == {"rerank": Prompts().digest("rerank")}
