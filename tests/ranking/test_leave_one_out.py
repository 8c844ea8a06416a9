"""Evidence by the ranker: what each past item is worth to each candidate, against ranking again without it."""

import asyncio

import numpy as np
import pytest

from genrec.llm.protocol import LLM
from genrec.ranking.prompter import Method
from genrec.ranking.ranker import RankRequest
from tests.ranking.lists import METHODS, PAST, SHOWN, a_list, rank, ranker


def naive(llm: LLM, request: RankRequest, method: Method, **options: object) -> np.ndarray:
    """(n, history): rank with and without each past item, each with a ranker that remembers nothing."""
    past = [item.title for item in request.profile.history]
    shown = [item.title for item in request.candidates]
    person = {"interests": request.profile.interests, "query": request.profile.query}
    (base,) = rank(ranker(llm, method=method, **options), request)
    falls = []
    for n in range(len(past)):
        (without,) = rank(ranker(llm, method=method, **options), a_list(shown, past[:n] + past[n + 1 :], **person))
        falls.append(base.llm - without.llm)
    return np.stack(falls, axis=1)


@pytest.mark.parametrize("method", METHODS)
def test_equals_ranking_again_without_the_item(tiny: LLM, method: Method) -> None:
    request = a_list(interests=("robots",), query="space")
    got = asyncio.run(ranker(tiny).leave_one_out(request, method))
    assert got.shape == (len(SHOWN), len(PAST))
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, naive(tiny, request, method), atol=2e-4)
    assert np.abs(got).max() > 0.01


@pytest.mark.parametrize("method", ["likelihood", "markers"])
def test_over_windows(tiny: LLM, method: Method) -> None:
    got = asyncio.run(ranker(tiny, window=3, method=method).leave_one_out(a_list()))
    np.testing.assert_allclose(got, naive(tiny, a_list(), method, window=3), atol=2e-4)


def test_only_the_history_that_is_shown_and_none_comes_after(tiny: LLM) -> None:
    got = asyncio.run(ranker(tiny, history=3).leave_one_out(a_list()))
    np.testing.assert_allclose(got, naive(tiny, a_list(past=PAST[-3:]), "likelihood"), atol=2e-4)


def test_the_option_method_is_the_settings(tiny: LLM) -> None:
    by_setting = asyncio.run(ranker(tiny, method="markers").leave_one_out(a_list()))
    np.testing.assert_allclose(by_setting, asyncio.run(ranker(tiny).leave_one_out(a_list(), "markers")), atol=2e-4)


def test_nothing_to_leave_out(tiny: LLM) -> None:
    assert asyncio.run(ranker(tiny).leave_one_out(a_list(past=()))).shape == (len(SHOWN), 0)
    assert asyncio.run(ranker(tiny).leave_one_out(a_list([]))).shape == (0, len(PAST))
