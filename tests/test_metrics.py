"""The numbers of one run by hand arithmetic."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioseq_gym.metrics import BEST, RegretCurve, distinct_share, diversity, feasible_share

VALUES = st.lists(st.sampled_from([-math.inf, 0.0, 0.25, 0.5, 0.75, 1.0]), max_size=60)


def test_regret_is_one_minus_the_best_so_far() -> None:
    curve = RegretCurve.of([0.25, -math.inf, 0.125, 0.5, 0.5], initial_value=0.0)
    assert curve.at(range(6)).tolist() == [1.0, 0.75, 0.75, 0.75, 0.5, 0.5]
    assert (curve.evaluations.tolist(), curve.regrets.tolist()) == ([0, 1, 4], [1.0, 0.75, 0.5])


def test_the_initial_solution_counts_and_is_free() -> None:
    assert RegretCurve.of([0.1, 0.4], initial_value=0.3).at([0, 1, 2]).tolist() == [0.7, 0.7, 0.6]


def test_a_run_without_evaluations_has_the_regret_of_its_start() -> None:
    curve = RegretCurve.of([], 0.25)
    assert (curve.last, curve.area_over(1000)) == (0.75, 0.25)


@pytest.mark.parametrize(("evaluations", "regret"), [(0, 1.0), (1, 0.75), (2, 0.5), (10_000, 0.5)])
def test_a_run_that_ended_keeps_its_last_regret(evaluations: int, regret: float) -> None:
    assert RegretCurve.of([0.25, 0.5]).at(evaluations) == regret


def test_running_times_are_of_the_first_value_that_is_as_good() -> None:
    curve = RegretCurve.of([0.25, 0.5, 0.4, 0.95, 0.97])
    assert curve.running_times((0.0, 0.25, 0.5, 0.6, 0.95, 1.0)).tolist() == [0.0, 1.0, 2.0, 4.0, 4.0, math.inf]


@pytest.mark.parametrize(
    ("values", "start", "budget", "area"),
    [
        ([0.0] * 9 + [0.5] * 91, 0.0, 100, 0.25),  # 0 for the first of two decades, 1/2 for the second
        ([0.0] * 9 + [1.0], 0.5, 1000, (0.5 + 1.0 + 1.0) / 3),  # solved after a decade, and it stays so
        ([1.0], 0.0, 10, 1.0),
        ([0.5], 0.25, 1, 0.5),
        ([0.0] * 10, 0.0, 10, 0.0),
        ([0.0] * 99 + [1.0], 0.0, 100, 0.0),  # at the end of the axis
    ],
)
def test_the_area_over_the_curve_on_a_logarithmic_axis(
    values: list[float], start: float, budget: int, area: float
) -> None:
    assert RegretCurve.of(values, start).area_over(budget) == pytest.approx(area, abs=1e-15)


@given(VALUES, st.sampled_from([0.0, 0.25]))
def test_the_area_over_the_curve_is_its_sum(values: list[float], start: float) -> None:
    budget = len(values) + 2
    curve = RegretCurve.of(values, start)
    n = np.arange(1, budget)
    whole = ((1 - curve.at(n)) * np.log10((n + 1) / n)).sum() / math.log10(budget)
    assert curve.area_over(budget) == pytest.approx(whole, abs=1e-12)


@given(VALUES)
def test_a_curve_falls_and_holds_no_step_twice(values: list[float]) -> None:
    curve = RegretCurve.of(values)
    assert (np.diff(curve.evaluations) > 0).all()
    assert (np.diff(curve.regrets) < 0).all()
    assert curve.at(range(len(values) + 1)).tolist() == [1 - max([0.0, *values[:n]]) for n in range(len(values) + 1)]


def test_what_is_too_small_to_change_the_regret_is_no_step() -> None:
    assert RegretCurve.of([1e-30, 0.5]).evaluations.tolist() == [0, 2]


def test_shares() -> None:
    assert feasible_share(np.array([0.5, -np.inf, 0.0])) == 2 / 3
    assert distinct_share(np.array([1, 2, 4], np.uint64)) == 3 / 4


def test_the_shares_of_nothing_are_zero() -> None:
    assert (feasible_share(np.empty(0)), distinct_share(np.empty(0, np.uint64))) == (0.0, 0.0)


def test_diversity_is_the_mean_distance_of_pairs() -> None:
    rows = np.array([[0, 0, 0, 0], [0, 0, 0, 1], [1, 1, 1, 1], [2, 2, 2, 2]], np.uint8)
    values = np.array([0.0, 0.5, 0.25, -np.inf])  # the last one does not count
    assert diversity(rows, values) == pytest.approx((1 / 4 + 3 / 4 + 4 / 4) / 3)
    assert diversity(rows[3:], values[3:]) == diversity(rows[:1], values[:1]) == diversity(rows[:0], values[:0]) == 0.0


def test_diversity_is_of_the_best_and_the_newest_among_equals() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(4, size=(BEST + 30, 6), dtype=np.uint8)
    values = np.full(len(rows), 0.5)
    values[:10] = 1.0  # ten old ones that are better, and so 90 of the newest
    chosen = np.concatenate([rows[:10], rows[40:]])
    distances = [np.mean(a != b) for a, b in combinations(chosen, 2)]
    assert len(chosen) == BEST
    assert diversity(rows, values) == pytest.approx(np.mean(distances))
