"""Histories that fill whole blocks of an engine's prefix cache."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from genrec.llm.protocol import Likelihood, ScoreRequest
from genrec.ranking.prompter import SHARE, block_history
from tests.ranking.lists import Counting, a_list, rank, ranker

FILMS = [f"{'Long ' * (n % 4)}Film {n} of{' many' * (n % 3)}" for n in range(60)]


def told(sizes: Sequence[int], places: Sequence[int], shown: int, tokens: int) -> int:
    """Tokens that are shared when `places` are shown, of which the last `shown` make `tokens`."""
    return tokens - sum(sizes[-shown:]) + sum(sizes[place] for place in places)


class TestChoose:
    @pytest.mark.parametrize("seed", range(20))
    @pytest.mark.parametrize("block", [16, 32])
    def test_whole_blocks_by_few_changes_among_the_oldest(self, seed: int, block: int) -> None:
        rng = np.random.default_rng(seed)
        sizes, shown, tokens = rng.integers(3, 14, 40).tolist(), 16, int(rng.integers(100, 200))
        places = block_history(sizes, shown, tokens, block)
        assert told(sizes, places, shown, tokens) % block == 0
        assert places == sorted(set(places))
        latest = list(range(24, 40))
        changed = set(places) ^ set(latest)
        assert len(changed) <= 4
        assert changed <= set(range(24 - 16 // SHARE, 24 + 16 // SHARE))

    def test_what_fits_stays(self) -> None:
        assert block_history([5] * 40, 16, 96, 32) == list(range(24, 40))

    def test_an_item_is_added_rather_than_left_out(self) -> None:
        assert block_history([8] * 40, 16, 24, 16) == list(range(23, 40))

    def test_what_cannot_fit_stays(self) -> None:
        assert block_history([4] * 40, 16, 97, 32) == list(range(24, 40))
        assert block_history([5, 6, 7], 16, 30, 32) == [0, 1, 2]  # too few to leave one out
        assert block_history([], 16, 30, 32) == []

    def test_a_short_history_loses_its_oldest_at_most(self) -> None:
        assert block_history([7, 5, 5, 5, 5, 5, 5, 5], 16, 71, 32) == list(range(1, 8))


class Blocks(Counting):
    """The fake with a prefix cache of whole blocks."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    async def block(self) -> int:
        return self.size


def shared(llm: Blocks, request: ScoreRequest) -> int:
    assert isinstance(request, Likelihood)
    return llm.count_tokens(request.prefix) + llm.count_tokens(request.context)


class TestRanker:
    def test_what_candidates_share_fills_blocks(self) -> None:
        lists = [a_list(past=FILMS[:end]) for end in range(30, 60)]
        llm = Blocks(32)
        rank(ranker(llm, prior=0.0), *lists)
        assert [shared(llm, asked) % 32 for asked in llm.asked] == [0] * len(lists)
        plain = Blocks(1)
        rank(ranker(plain, prior=0.0), *lists)
        assert sum(shared(plain, asked) % 32 > 0 for asked in plain.asked) > len(lists) // 2
        for mine, theirs in zip(llm.asked, plain.asked, strict=True):
            assert mine.context.splitlines()[-12:] == theirs.context.splitlines()[-12:]  # the latest three quarters

    def test_scores_are_of_what_is_shown(self) -> None:
        asked = a_list(past=FILMS)
        llm = Blocks(32)
        (ranking,) = rank(ranker(llm, prior=0.0), asked)
        (again,) = asyncio.run(Counting().score(llm.asked))
        np.testing.assert_allclose(ranking.llm, again.logp / again.tokens, rtol=1e-5)

    def test_other_methods_show_the_latest(self) -> None:
        for method in ("labels", "markers"):
            llm, plain = Blocks(32), Blocks(1)
            rank(ranker(llm), a_list(past=FILMS), method=method)
            rank(ranker(plain), a_list(past=FILMS), method=method)
            assert llm.asked == plain.asked

    def test_leaving_one_out_counts_what_is_shown_by_default(self) -> None:
        llm = Blocks(32)
        of = ranker(llm, prior=0.0)
        found = asyncio.run(of.leave_one_out(a_list(past=FILMS)))
        assert found.shape[1] == 16
        assert [len(asked.context.splitlines()) for asked in llm.asked] == [16] + [15] * 16
