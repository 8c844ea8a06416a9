"""Intervals, p values, corrections."""

import numpy as np
import pytest
from scipy import stats

from genrec.errors import EvaluationError
from genrec.evaluation.significance import Bootstrap, holm, over_seeds

RNG = np.random.default_rng(0)


def bootstrap(n: int, **options: float) -> Bootstrap:
    return Bootstrap(people=np.arange(n), **options)  # type: ignore[arg-type]


def test_interval_equals_scipys_percentile_bootstrap() -> None:
    values = RNG.exponential(size=200)
    (ours,) = bootstrap(200, resamples=20_000).intervals(values[:, None])
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1))
    assert ours is not None
    assert ours.mean == pytest.approx(values.mean())
    assert ours.n == 200
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.01)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.01)


def test_p_value_is_near_the_t_tests() -> None:
    values = RNG.normal(0.15, 1, (300, 4))
    for one, column in zip(bootstrap(300).intervals(values), values.T, strict=True):
        assert one is not None
        _, p = stats.ttest_1samp(column, 0)
        assert one.p == pytest.approx(p, abs=0.02)


def test_same_draws_for_every_column_of_a_call() -> None:
    values = RNG.normal(size=(50, 1))
    draws = bootstrap(50, resamples=200).means(np.concatenate([values, values + 2, -values], axis=1))
    assert np.allclose(draws[:, 1] - draws[:, 0], 2)
    assert np.allclose(draws[:, 2], -draws[:, 0])


def test_seed_level_and_resamples_matter() -> None:
    values = RNG.normal(size=(80, 1))
    (first,), (again,) = bootstrap(80).intervals(values), bootstrap(80).intervals(values)
    (other,), (narrow,) = bootstrap(80, seed=1).intervals(values), bootstrap(80, level=0.5).intervals(values)
    assert first is not None
    assert again is not None
    assert other is not None
    assert narrow is not None
    assert (first.low, first.high) == (again.low, again.high) != (other.low, other.high)
    assert first.low < narrow.low < narrow.high < first.high
    assert len(bootstrap(80, resamples=123).means(values)) == 123
    with pytest.raises(EvaluationError, match="99 resamples"):
        bootstrap(80, resamples=99)


def test_many_people_are_drawn_in_chunks() -> None:
    values = RNG.normal(size=(30_000, 1))
    (one,) = bootstrap(30_000, resamples=1000).intervals(values)  # 267 draws a chunk
    assert one is not None
    assert one.high - one.low == pytest.approx(2 * 1.96 / np.sqrt(30_000), rel=0.1)


def test_equal_systems_and_sure_differences() -> None:
    zero, sure = np.zeros(40), RNG.uniform(0.1, 0.2, 40)
    nothing, all_above = bootstrap(40).intervals(np.stack([zero, sure], axis=1))
    assert nothing is not None
    assert all_above is not None
    assert (nothing.low, nothing.high, nothing.p) == (0, 0, 1)
    assert all_above.p == pytest.approx(2 / 10_001)


def test_cells_without_a_value_are_left_out() -> None:
    values = RNG.normal(size=(60, 3))
    values[::3, 0] = np.nan
    values[:, 1] = np.nan
    part, none, whole = bootstrap(60).intervals(values)
    assert none is None
    assert part is not None
    assert whole is not None
    assert part.n == 40
    assert part.mean == pytest.approx(np.nanmean(values[:, 0]))
    assert part.high - part.low > 0
    assert bootstrap(60).intervals(np.zeros((60, 0))) == []


def test_rows_of_one_person_are_drawn_together() -> None:
    of_person = RNG.normal(size=50)
    rows = np.repeat(of_person, 4)[:, None]
    (naive,) = Bootstrap(people=np.arange(200)).intervals(rows)
    (whole,) = Bootstrap(people=np.repeat(np.arange(50), 4)).intervals(rows)
    (once,) = Bootstrap(people=np.arange(50)).intervals(of_person[:, None])
    assert naive is not None
    assert whole is not None
    assert once is not None
    assert (whole.low, whole.high) == pytest.approx((once.low, once.high))
    assert whole.high - whole.low > 1.7 * (naive.high - naive.low)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_seeds_are_averaged_by_person_first() -> None:
    runs = [np.array([0.0, 1.0, np.nan]), np.array([1.0, 1.0, np.nan]), np.array([0.5, np.nan, np.nan])]
    mean, spread = over_seeds(runs)
    assert mean[:2].tolist() == [0.5, 1.0]
    assert np.isnan(mean[2])
    assert spread == pytest.approx(np.std([0.5, 1.0, 0.5], ddof=1))
    assert over_seeds(runs[:1])[1] is None
