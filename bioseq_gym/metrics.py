"""Numbers that a ledger gives: regret curves, shares, and their summary over seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bioseq_gym.budget import Ledger

OPTIMUM = 1.0
CHECKPOINTS = (1_000, 3_000, 10_000)
"""Numbers of evaluations at which tables give the simple regret."""


def regret_curve(values: ArrayLike, initial_value: float = 0.0) -> NDArray[np.float64]:
    """Simple regret after 0, 1, ..., n evaluations: 1 minus the best value so far.

    Args:
        values: (n,) in the order asked, -inf where infeasible.
        initial_value: the value of the initial solution, which is given free.

    Returns:
        (n + 1,) float64, never increasing, in [0, 1].
    """
    return OPTIMUM - np.maximum.accumulate(np.concatenate([[max(0.0, initial_value)], np.asarray(values, np.float64)]))


def regret_at(curve: NDArray[np.float64], evaluations: int) -> float:
    """The simple regret after that many evaluations; a run that ended before keeps its last one."""
    return float(curve[min(evaluations, len(curve) - 1)])


def feasible_share(ledger: Ledger) -> float:
    """The share of feasible sequences among the distinct ones that were scored; 0 if none was."""
    return float(np.mean(ledger.values > -np.inf)) if len(ledger) else 0.0


def distinct_share(ledger: Ledger) -> float:
    """The share of distinct sequences among all rows asked up to the last new one; 0 if none was asked."""
    return len(ledger) / int(ledger.asked_counts[-1]) if len(ledger) else 0.0


def median_and_quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, first and third quartile over seeds."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return float(middle), float(low), float(high)
