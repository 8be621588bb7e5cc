"""Regret curves and shares by hand arithmetic."""

import math

import numpy as np
import pytest

from bioseq_gym import Ledger
from bioseq_gym.metrics import distinct_share, feasible_share, median_and_quartiles, regret_at, regret_curve


def test_regret_is_one_minus_the_best_so_far() -> None:
    curve = regret_curve([0.25, -math.inf, 0.125, 0.5, 0.5], initial_value=0.0)
    assert curve.tolist() == [1.0, 0.75, 0.75, 0.75, 0.5, 0.5]


def test_the_initial_solution_counts_and_is_free() -> None:
    assert regret_curve([0.1, 0.4], initial_value=0.3).tolist() == [0.7, 0.7, 0.6]


def test_a_run_without_evaluations_has_the_regret_of_its_start() -> None:
    assert regret_curve([], 0.25).tolist() == [0.75]


@pytest.mark.parametrize(("evaluations", "regret"), [(0, 1.0), (1, 0.75), (2, 0.5), (10_000, 0.5)])
def test_a_run_that_ended_keeps_its_last_regret(evaluations: int, regret: float) -> None:
    assert regret_at(regret_curve([0.25, 0.5]), evaluations) == regret


def test_shares_of_a_ledger() -> None:
    ledger = Ledger("00" * 32, V=4, L=2)
    rows = np.array([[0, 0], [0, 1], [0, 0], [1, 1]], np.uint8)
    ledger._answer(ledger._look_up(rows), np.array([0.5, -np.inf, 0.0]))
    assert feasible_share(ledger) == 2 / 3
    assert distinct_share(ledger) == 3 / 4


def test_shares_of_an_empty_ledger_are_zero() -> None:
    ledger = Ledger("00" * 32, V=4, L=2)
    assert (feasible_share(ledger), distinct_share(ledger)) == (0.0, 0.0)


def test_median_and_quartiles() -> None:
    assert median_and_quartiles([0.0, 1.0, 0.5, 0.25, 0.75]) == (0.5, 0.25, 0.75)
