"""Numbers of many runs: running times, means with intervals, comparisons of agents. Arrays in, arrays out.

A stratum is a set of runs that are draws from one distribution: the runs of one agent on one task.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bioseq_gym.compiled import compiled

Floats = NDArray[np.float64]
RESAMPLES = 2000


def expected_running_time(running_times: Floats, evaluations: NDArray[np.int64]) -> float:
    """ERT: all evaluations until the target was reached or the run ended, over the number of runs that reached it.

    Of an agent that is started again until it succeeds, it is the expected number of evaluations; inf if no run
    reached the target. From Hansen et al., "COCO: performance assessment", 2016 (arXiv 1605.03560).

    Args:
        running_times: (n,) inf where the target was not reached.
        evaluations: (n,) that each run spent.
    """
    reached = np.isfinite(running_times)
    spent = float(np.where(reached, running_times, evaluations).sum())
    return spent / int(reached.sum()) if reached.any() else np.inf


def ecdf(running_times: Floats, evaluations: NDArray[np.int64]) -> Floats:
    """The share of running times, of any runs to any targets, that are at most so many evaluations.

    Args:
        running_times: of any shape, inf where a target was not reached.
        evaluations: (g,) where to take the share.

    Returns:
        (g,) in [0, 1].
    """
    shares: Floats = np.searchsorted(np.sort(running_times, axis=None), evaluations, side="right") / running_times.size
    return shares


def interquartile_mean(values: Floats) -> Floats:
    """The mean of the middle half along the last axis: a quarter of the values, rounded down, is cut at each end.

    From Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice", 2021 (arXiv
    2108.13264).
    """
    n = values.shape[-1]
    middle = np.sort(values, axis=-1)[..., n // 4 : n - n // 4]  # six times as fast as scipy's trim_mean
    means: Floats = middle.mean(axis=-1)
    return means


def interquartile_interval(
    values: Floats,
    strata: NDArray[np.int64],
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> Floats:
    """Percentile bootstrap interval of the interquartile mean; runs are drawn with replacement within each stratum.

    It covers what other seeds would give on the same tasks, not the choice of the tasks (Agarwal et al., 2021). Of n
    runs of a stratum n - 1 are drawn, and count n / (n - 1) each (Rao and Wu, "Resampling inference with complex survey
    data", 1988): n would give (n - 1) / n of the variance, which is half for two runs of each task, however many tasks
    there are.

    A row is sorted once, not once for each resample. What each run counts in a resample is the same in all rows, so
    that a walk along the sorted row, adding this up, knows how much of each value is in the middle half.

    Args:
        values: (..., n) finite; the last axis is over runs, which are drawn alike for all that comes before.
        strata: (n,) which stratum a run is of.
        rng: of the draws.
        resamples: how many.
        level: what share of the resampled means lies in the interval.

    Returns:
        (2, ...) the ends.
    """
    n = len(strata)
    rows = np.ascontiguousarray(values, np.float64).reshape(-1, n)
    rows, back = np.unique(rows, axis=0, return_inverse=True)  # curves of few runs change at few of their points
    order = np.argsort(rows, axis=-1)
    means = np.zeros((len(rows), resamples))
    _middle_means(np.take_along_axis(rows, order, axis=-1), order, resampled_weights(strata, rng, resamples), means)
    ends: Floats = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=-1)
    return ends[:, back.ravel()].reshape(2, *values.shape[:-1])


@compiled
def _middle_means(
    values: Floats,  # (rows, n) each row sorted
    order: NDArray[np.int64],  # (rows, n) which run each value is of
    weights: Floats,  # (n, resamples) what each run counts in each resample, n in all
    means: Floats,  # (rows, resamples) zeros; out: the interquartile means
) -> None:
    rows, n = values.shape
    low, high = float(n // 4), float(n - n // 4)
    reached = np.empty(means.shape[1])  # how much of a resample's n, in order, was walked past
    for row in range(rows):
        reached[:] = 0.0
        total = means[row]
        for place in range(n):
            value, weight = values[row, place], weights[order[row, place]]
            for i in range(len(reached)):  # innermost, so that vector registers take many resamples at once
                before = reached[i]
                reached[i] += weight[i]
                total[i] += value * (min(max(reached[i], low), high) - min(max(before, low), high))
        total /= high - low


def resampled_weights(strata: NDArray[np.int64], rng: np.random.Generator, resamples: int) -> Floats:
    """(n, resamples) what each run counts in each resample; all runs of a stratum together as many as it has."""
    weights = np.zeros((len(strata), resamples))
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        drawn = members[draw(len(members), rng, resamples)]
        np.add.at(weights, (drawn, np.arange(resamples)[:, None]), len(members) / drawn.shape[1])
    return weights


def draw(count: int, rng: np.random.Generator, resamples: int) -> NDArray[np.int64]:
    """(resamples, m) which of ``count`` runs of a stratum are drawn, with replacement: one less, or the only one."""
    return rng.integers(count, size=(resamples, max(1, count - 1)))


def mean_ranks(scores: Floats) -> Floats:
    """(..., agents) the mean over tasks of each agent's rank, 1 the best, equals sharing the mean of their ranks.

    Args:
        scores: (..., tasks, agents) larger is better.
    """
    from scipy.stats import rankdata

    ranks: Floats = rankdata(-scores, axis=-1).mean(axis=-2)
    return ranks


def superiority(pairs: Sequence[tuple[Floats, Floats]]) -> tuple[float, float]:
    """How often a run of the first agent is better than one of the second on the same task, and the p-value of that.

    The effect is Vargha and Delaney's A12 over all tasks: the share of pairs of runs of the same task that the first
    agent wins, ties as half. With one task the test is that of Mann and Whitney; with several their U are added up, the
    stratified test of which van Elteren's is a weighted form. The p-value is exact, two-sided, with ties and for few
    runs too: the share of all ways to deal each task's runs to the two agents that are as far from a balance.

    Args:
        pairs: for each task the scores of the two agents, (n,) and (m,), larger is better.

    Returns:
        A12 in [0, 1], and the p-value.
    """
    observed, balance, comparisons, distribution = 0, 0, 0, np.ones(1)
    for first, second in pairs:
        ranks = _doubled_midranks(np.concatenate([first, second]))
        n, m = len(first), len(second)
        observed += int(ranks[:n].sum())
        balance += n * (n + m + 1)  # twice the mean of the rank sum
        comparisons += n * m
        distribution = np.convolve(distribution, _rank_sums(ranks, n))
    # A rank sum is U and a constant, so that what is as far from the balance in one is so in the other.
    far = np.abs(np.arange(len(distribution)) - balance) >= abs(observed - balance)
    p = float(distribution[far].sum() / distribution.sum())
    return 0.5 + (observed - balance) / (2 * comparisons), min(1.0, p)


def _doubled_midranks(values: Floats) -> NDArray[np.int64]:
    from scipy.stats import rankdata

    doubled: NDArray[np.int64] = np.rint(2 * rankdata(values)).astype(np.int64)
    return doubled


def _rank_sums(ranks: NDArray[np.int64], n: int) -> Floats:
    """The probability of each sum of ``n`` of the integers ``ranks``, all subsets being alike."""
    size, total = min(n, len(ranks) - n), int(ranks.sum())  # subsets of n are what is left of those of the others
    largest = int(np.sort(ranks)[len(ranks) - size :].sum())
    ways = np.zeros((size + 1, largest + 1))  # [size of the subset, its sum], up to a factor
    ways[0, 0] = 1.0
    for added, rank in enumerate(ranks, 1):
        ways[1:, rank:] += ways[:-1, : ways.shape[1] - rank].copy()  # the right side is without this rank
        if added % 900 == 0:  # there are up to 2^added subsets, more than a float64 can count
            ways /= ways.max()
    sums = np.zeros(total + 1)
    sums[: largest + 1] = ways[size] / ways[size].sum()
    return sums if size == n else sums[::-1]


def holm(p_values: Floats) -> Floats:
    """(m,) p-values adjusted for m comparisons so that one below 0.05 is an error in 5 % of all families at most.

    From Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p_values[order] * factors))
    return adjusted
