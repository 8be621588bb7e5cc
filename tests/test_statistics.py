"""Statistics over runs: literal examples, definitions by brute force, and other programs' numbers."""

import math
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from bioseq_gym.statistics import (
    _rank_sums,
    ecdf,
    expected_running_time,
    holm,
    interquartile_interval,
    interquartile_mean,
    mean_ranks,
    resampled_weights,
    superiority,
)

SCORES = st.lists(st.integers(0, 4).map(float), min_size=1, max_size=4).map(np.array)
INF = math.inf


@pytest.mark.parametrize(
    ("times", "spent", "ert"),
    [
        ([100.0, 300.0], [500, 500], 200.0),
        ([100.0, INF, INF, 300.0], [500, 500, 800, 500], (100 + 500 + 800 + 300) / 2),
        ([INF, INF], [500, 500], INF),
        ([0.0], [500], 0.0),
    ],
)
def test_expected_running_time(times: list[float], spent: list[int], ert: float) -> None:
    assert expected_running_time(np.array(times), np.array(spent)) == ert


def test_ecdf_counts_pairs_of_a_run_and_a_target() -> None:
    times = np.array([[1.0, 5.0], [5.0, INF], [2.0, 9.0]])
    assert ecdf(times, np.array([0, 1, 2, 4, 5, 9, 10**9])).tolist() == [0, 1 / 6, 2 / 6, 2 / 6, 4 / 6, 5 / 6, 5 / 6]


@given(st.lists(st.integers(0, 50).map(float) | st.just(INF), min_size=1), st.randoms(use_true_random=False))
def test_an_ecdf_grows_to_the_share_that_is_reached_whatever_the_order(times: list[float], random: object) -> None:
    grid = np.arange(60)
    shares = ecdf(np.array(times), grid)
    assert (np.diff(shares) >= 0).all()
    assert shares[-1] == np.isfinite(times).mean()
    random.shuffle(times)  # type: ignore[attr-defined]
    assert ecdf(np.array(times), grid).tolist() == shares.tolist()


def test_the_interquartile_mean_cuts_a_quarter_at_each_end() -> None:
    assert interquartile_mean(np.array([100.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -100.0])) == (2 + 3 + 4 + 5) / 4
    assert interquartile_mean(np.array([[9.0, 0.0, 1.0], [4.0, 4.0, 4.0]])).tolist() == [10 / 3, 4.0]  # 3 / 4 is none
    values = np.random.default_rng(0).random((4, 3, 37))
    assert interquartile_mean(values) == pytest.approx(stats.trim_mean(values, 0.25, axis=-1))


def plain_interval(
    values: np.ndarray, strata: np.ndarray, rng: np.random.Generator, resamples: int, level: float
) -> np.ndarray:
    """The interval of one row, by writing every resample out, of whole numbers of copies."""
    weights, copies = resampled_weights(strata, rng, resamples), math.lcm(*(range(1, len(strata) + 1)))
    cut, means = len(strata) // 4 * copies, []
    for column in weights.T:
        written = np.sort(np.repeat(values, np.rint(column * copies).astype(int)))
        means.append(written[cut : len(written) - cut].mean())
    return np.quantile(means, [(1 - level) / 2, (1 + level) / 2])


def test_resampling_stays_within_strata_and_draws_one_less_than_each_has() -> None:
    strata = np.array([0, 1, 0, 1, 1, 2])
    weights = resampled_weights(strata, np.random.default_rng(0), 300).T
    assert {tuple(row) for row in weights[:, [0, 2]]} == {(2, 0), (0, 2)}
    pairs = {(3, 0, 0), (0, 3, 0), (0, 0, 3), (1.5, 1.5, 0), (1.5, 0, 1.5), (0, 1.5, 1.5)}
    assert {tuple(row) for row in weights[:, [1, 3, 4]]} == pairs
    assert (weights[:, 5] == 1).all()


def test_the_bootstrap_of_a_small_sample_is_that_of_all_resamples() -> None:
    values = np.array([0.0, 1.0, 4.0])  # of which a quarter is none, so that the mean is that of all
    means = [np.mean(sample) for sample in product(values, repeat=2)]  # 9, alike
    ends = interquartile_interval(values, np.zeros(3, int), np.random.default_rng(1), 20_000, 0.5)
    assert ends.tolist() == pytest.approx(np.quantile(means, [0.25, 0.75]))


@pytest.mark.parametrize(("tasks", "runs", "widest"), [(2, 20, 1.2), (60, 2, 0.7), (6, 5, 1.9)])
def test_the_interval_covers_what_it_should(tasks: int, runs: int, widest: float) -> None:
    rng = np.random.default_rng(2)
    strata, covered = np.repeat(np.arange(tasks), runs), 0
    for _ in range(300):
        values = 10.0 * strata + rng.normal(size=len(strata))
        low, high = interquartile_interval(values, strata, rng, 300)
        covered += low <= 5.0 * (tasks - 1) <= high
        assert high - low < widest  # without strata it would be several times as wide
    assert 0.92 <= covered / 300 <= 0.98  # of two runs about .8, were two drawn


def test_an_interval_is_around_its_mean_whatever_the_sizes_of_the_strata() -> None:
    """Of some other share of each stratum, or of other quarters, it would be beside it."""
    values = np.concatenate([np.full(2, 0.0), np.full(2, 0.9), np.full(2, 0.2), [1.0], np.full(5, 0.5)])
    strata = np.repeat([0, 1, 2, 3, 4], [2, 2, 2, 1, 5])
    ends = interquartile_interval(values, strata, np.random.default_rng(0))
    assert ends.tolist() == pytest.approx([interquartile_mean(values)] * 2)


def test_rows_are_resampled_alike_and_each_as_if_alone() -> None:
    values = np.random.default_rng(3).random((2, 3, 12))
    strata = np.repeat([0, 1, 2], 4)
    ends = interquartile_interval(values, strata, np.random.default_rng(4), 50)
    assert ends.shape == (2, 2, 3)
    alone = interquartile_interval(values[1, 2], strata, np.random.default_rng(4), 50)
    assert ends[:, 1, 2].tolist() == alone.tolist()


@settings(max_examples=200, deadline=None)  # the first compiles
@given(st.data(), st.integers(1, 12), st.integers(1, 30), st.sampled_from([0.5, 0.9, 0.95]), st.integers(0, 2**32))
def test_the_fast_interval_is_the_plain_one(
    data: st.DataObject, n: int, resamples: int, level: float, seed: int
) -> None:
    some = st.sampled_from([0.0, 0.3, 0.5, 1.0]) | st.floats(-4.0, 4.0)  # with ties
    values = data.draw(arrays(np.float64, (data.draw(st.integers(0, 2)), n), elements=some))
    strata = data.draw(arrays(np.int64, n, elements=st.integers(0, 3)))
    ends = interquartile_interval(values, strata, np.random.default_rng(seed), resamples, level)
    assert ends.shape == (2, len(values))
    for row, found in zip(values, ends.T, strict=True):
        expected = plain_interval(row, strata, np.random.default_rng(seed), resamples, level)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_the_interval_takes_a_transposed_array_and_leaves_it() -> None:
    values = np.random.default_rng(5).random((120, 7))
    before, strata = values.copy(), np.repeat(np.arange(24), 5)
    ends = interquartile_interval(values.T, strata, np.random.default_rng(6))
    assert ends.tolist() == interquartile_interval(values.T.copy(), strata, np.random.default_rng(6)).tolist()
    assert (values == before).all()


def test_a_golden_interval() -> None:
    values, strata = np.array([0.0, 0.5, 0.5, 1.0, 0.25, 0.0, 0.75]), np.array([0, 0, 0, 0, 1, 1, 1])
    ends = interquartile_interval(values, strata, np.random.default_rng(0))
    assert ends.tolist() == pytest.approx([0.099375, 47 / 60], abs=1e-12)


def test_mean_ranks_share_ties() -> None:
    scores = np.array([[0.9, 0.5, 0.5], [0.1, 0.2, 0.3]])  # ranks 1, 2.5, 2.5 and 3, 2, 1
    assert mean_ranks(scores).tolist() == [2.0, 2.25, 1.75]
    assert mean_ranks(np.stack([scores, scores[:, ::-1]]))[1].tolist() == [1.75, 2.25, 2.0]


@given(SCORES, SCORES)
def test_the_effect_is_the_share_of_pairs_won(first: np.ndarray, second: np.ndarray) -> None:
    won = np.mean([(a > b) + 0.5 * (a == b) for a in first for b in second])
    effect, p = superiority([(first, second)])
    assert effect == pytest.approx(won)
    assert superiority([(second, first)]) == pytest.approx((1 - effect, p))


@settings(max_examples=40)
@given(st.lists(st.tuples(SCORES, SCORES), min_size=1, max_size=2))
def test_the_p_value_is_that_of_all_permutations_within_tasks(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    def wins(first: np.ndarray, second: np.ndarray) -> float:
        return float(np.sum(np.sign(first[:, None] - second)))

    def deals(first: np.ndarray, second: np.ndarray) -> list[float]:
        runs = np.concatenate([first, second])
        chosen = combinations(range(len(runs)), len(first))
        return [wins(runs[list(i)], np.delete(runs, list(i))) for i in chosen]

    observed = abs(sum(wins(*pair) for pair in pairs))
    far = [abs(sum(each)) >= observed for each in product(*(deals(*pair) for pair in pairs))]
    assert superiority(pairs)[1] == pytest.approx(np.mean(far))


def test_one_task_without_ties_is_the_test_of_mann_and_whitney() -> None:
    rng = np.random.default_rng(5)
    for n, m in ((3, 3), (8, 8), (4, 11), (1, 6)):
        first, second = rng.normal(0.5, 1.0, n), rng.normal(0.0, 1.0, m)
        scipys = stats.mannwhitneyu(first, second, method="exact")
        assert superiority([(first, second)]) == pytest.approx((scipys.statistic / (n * m), scipys.pvalue))


def test_many_tasks_approach_the_normal_distribution() -> None:
    rng = np.random.default_rng(6)
    pairs = [(rng.normal(0.2, 1.0, 5), rng.normal(0.0, 1.0, 5)) for _ in range(60)]
    U = sum(stats.mannwhitneyu(*pair).statistic for pair in pairs)
    z = (abs(U - 60 * 12.5) - 0.5) / math.sqrt(60 * 5 * 5 * 11 / 12)  # the mean and the variance of U, 60 times
    assert superiority(pairs)[1] == pytest.approx(2 * stats.norm.sf(z), rel=0.01)


def test_the_extremes_of_few_runs() -> None:
    low, high = np.arange(3.0), np.arange(3.0) + 9
    assert superiority([(high, low)]) == (1.0, pytest.approx(2 / 20))  # 6 over 3 is 20, and the other end counts
    assert superiority([(high, low)] * 2) == (1.0, pytest.approx(2 / 400))
    assert superiority([(low, low)]) == (0.5, 1.0)
    assert superiority([(high[:1], low[:1])]) == (1.0, 1.0)


def test_the_test_is_exact_with_more_runs_than_a_float_can_count_subsets_of() -> None:
    """Two of 1,100 runs, the third and the fifth, against all others."""
    few, many = np.array([1.5, 2.5]), np.arange(1098.0)
    p = 2 * 12 / math.comb(1100, 2)  # the sum of two ranks is 3 + 5 or less in 12 ways, and as far above in as many
    assert superiority([(few, many)])[1] == pytest.approx(p)
    assert superiority([(many, few)])[1] == pytest.approx(p)
    (at,) = np.flatnonzero(_rank_sums(np.ones(1100, np.int64), 550))
    assert (at, _rank_sums(np.ones(1100, np.int64), 550)[at]) == (550, 1.0)


def test_holm_of_a_textbook() -> None:
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm"), the example of Wikipedia's page on the method
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.6, 0.7])).tolist() == [1.0, 1.0]
    assert holm(np.empty(0)).tolist() == []
