"""Draws over candidates: whom they move, how far, and that they can be had again."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.retrieval.exploration import EXPLORED, Exploration, count_explored, exploration_for, thompson_sample
from genrec.types import Candidate

N = 200


def listed(scores: np.ndarray | list[float]) -> list[Candidate]:
    return [Candidate(item_id=f"i{n:03d}", score=float(score), sources={"fused": 1.0}) for n, score in enumerate(scores)]


CANDIDATES = listed(np.linspace(1.0, 0.0, N))


def ids(candidates: list[Candidate]) -> list[str]:
    return [one.item_id for one in candidates]


@given(st.floats(0.0, 5.0), st.integers(0, 2**32 - 1), st.integers(1, N + 5), st.floats(0.0, 50.0))
@settings(max_examples=100, deadline=None)
def test_a_list_of_k_distinct_candidates_best_draw_first(strength: float, seed: int, k: int, trust: float) -> None:
    people = np.arange(N) % 30
    found = thompson_sample(CANDIDATES, people, k, Exploration(strength, (seed, 1)), trust=trust)
    assert len(found) == len(set(ids(found))) == min(k, N)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert found == thompson_sample(CANDIDATES, people, k, Exploration(strength, (seed, 1)), trust=trust)
    late = {one.item_id for one in CANDIDATES[k:]}
    for one in found:  # by its draw alone is who would not be there without
        assert (EXPLORED in one.sources) is (one.item_id in late)
        if EXPLORED in one.sources:
            assert CANDIDATES[int(one.sources[EXPLORED]) - 1].item_id == one.item_id
    assert count_explored([found]) == sum(one.item_id in late for one in found)


def test_without_strength_or_doubt_the_order_stands() -> None:
    assert thompson_sample(CANDIDATES, np.zeros(N, int), 10, Exploration(0.0, (1,)), trust=5.0) == CANDIDATES[:10]
    sure = thompson_sample(CANDIDATES, np.full(N, 10**12), 10, Exploration(1.0, (1,)), trust=5.0)
    assert ids(sure) == ids(CANDIDATES[:10])
    assert thompson_sample([], np.zeros(0, int), 10, Exploration(1.0, (1,)), trust=5.0) == []
    flat = thompson_sample(listed([0.5] * 9), np.zeros(9, int), 3, Exploration(1.0, (1,)), trust=5.0)
    assert ids(flat) == ["i000", "i001", "i002"]  # scores that do not differ tell no spread


def test_who_was_chosen_by_few_is_drawn_more_widely() -> None:
    """Two of three are well known; over many seeds the unknown third of the list is explored nearly alone."""
    people = np.where(np.arange(N) % 3 == 0, 0, 2000)
    new = 0, 0
    for seed in range(200):
        got = [
            one
            for one in thompson_sample(CANDIDATES, people, 20, Exploration(1.0, (seed,)), trust=5.0)
            if EXPLORED in one.sources
        ]
        unknown = sum(int(one.item_id[1:]) % 3 == 0 for one in got)
        new = new[0] + unknown, new[1] + len(got) - unknown
    assert new[0] > 20 * max(1, new[1])


def test_the_width_is_that_of_the_posterior() -> None:
    """With n people behind it and as many of trust, the variance of an item's draws is half of that of one nobody chose."""
    scores = np.linspace(1.0, 0.0, 50)
    spread = scores.std()
    draws = np.array(
        [
            [
                one.score
                for one in sorted(
                    thompson_sample(listed(scores), np.arange(50) % 2 * 5, 50, how, trust=5.0), key=lambda c: c.item_id
                )
            ]
            for how in (Exploration(2.0, (seed,)) for seed in range(2000))
        ]
    )
    deviation = draws.std(axis=0)
    np.testing.assert_allclose(deviation[::2], 2.0 * spread, rtol=0.08)
    np.testing.assert_allclose(deviation[1::2], 2.0 * spread * np.sqrt(0.5), rtol=0.08)
    np.testing.assert_allclose(draws.mean(axis=0), scores, atol=0.06)


def test_everybody_has_draws_of_their_own() -> None:
    assert exploration_for("ann", 0.0, 7) is None
    ann, bob = exploration_for("ann", 1.0, 7), exploration_for("bob", 1.0, 7)
    assert ann is not None
    assert ann == exploration_for("ann", 1.0, 7)
    assert ann != bob
    assert ann != exploration_for("ann", 1.0, 8)
