"""Numbers of one run: its regret curve, and what can be read from it; shares; diversity. Numbers of many runs are in
:mod:`bioseq_gym.statistics`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

OPTIMUM = 1.0
CHECKPOINTS = (1_000, 3_000, 10_000, 30_000)
"""Numbers of evaluations at which tables give the simple regret."""
BEST = 100
"""How many of a run's sequences its diversity is of."""


@dataclass(frozen=True, eq=False)
class RegretCurve:
    """Simple regret, 1 minus the best value so far, as a step function of the number of evaluations.

    A run that ended keeps its last regret.

    Attributes:
        evaluations: (m,) int64, increasing from 0: after how many evaluations the regret became smaller. At 0 an
            optimizer knows the initial solution, which is given free.
        regrets: (m,) float64, decreasing, in [0, 1]: the regret from there on.
    """

    evaluations: NDArray[np.int64]
    regrets: NDArray[np.float64]

    @classmethod
    def of(cls, values: ArrayLike, initial_value: float = 0.0) -> RegretCurve:
        """The curve of a run.

        Args:
            values: (n,) in the order asked, -inf where infeasible.
            initial_value: the value of the initial solution.
        """
        known = np.concatenate([[max(0.0, initial_value)], np.asarray(values, np.float64)])
        regrets = OPTIMUM - np.maximum.accumulate(known)
        evaluations = np.concatenate([[0], np.flatnonzero(np.diff(regrets)) + 1])
        return cls(evaluations, regrets[evaluations])

    def at(self, evaluations: ArrayLike) -> NDArray[np.float64]:
        """The simple regret after so many evaluations; of the shape of ``evaluations``."""
        regrets: NDArray[np.float64] = self.regrets[np.searchsorted(self.evaluations, evaluations, side="right") - 1]
        return regrets

    @property
    def last(self) -> float:
        """The simple regret at the end."""
        return float(self.regrets[-1])

    def running_times(self, targets: Sequence[float]) -> NDArray[np.float64]:
        """(t,) evaluations until each target value was reached, inf where it was not."""
        first = [int(np.argmax(self.regrets <= OPTIMUM - target)) for target in targets]
        reached = [self.last <= OPTIMUM - target for target in targets]
        return np.where(reached, self.evaluations[first].astype(np.float64), np.inf)

    def area_over(self, budget: int) -> float:
        """The area over the convergence curve: the mean of 1 - regret over log10(evaluations), from 1 to ``budget``.

        It is in [0, 1], and 1 for a run that found the optimum at once. With a logarithmic axis, a twofold speed-up is
        worth the same at 100 evaluations as at 10,000. As in López-Ibáñez et al., "Using the empirical attainment
        function for analyzing single-objective black-box optimization algorithms", 2024 (arXiv 2404.02031), with the
        value itself as the normalised objective.
        """
        if budget == 1:
            return OPTIMUM - float(self.at(1))
        starts = np.clip(self.evaluations, 1, budget)
        widths = np.diff(np.log10(np.append(starts, budget)))
        return float(widths @ (OPTIMUM - self.regrets) / math.log10(budget))


def feasible_share(values: NDArray[np.float64]) -> float:
    """The share of feasible sequences among the distinct ones that were scored; 0 if none was.

    Args:
        values: (n,) a ledger's values, -inf where infeasible.
    """
    return float(np.mean(values > -np.inf)) if len(values) else 0.0


def distinct_share(asked_counts: NDArray[np.uint64]) -> float:
    """The share of distinct sequences among all rows asked up to the last new one; 0 if none was asked.

    Args:
        asked_counts: (n,) rows asked up to and with each distinct one, see :attr:`Ledger.asked_counts`.
    """
    return len(asked_counts) / int(asked_counts[-1]) if len(asked_counts) else 0.0


def diversity(sequences: NDArray[np.uint8], values: NDArray[np.float64]) -> float:
    """The mean share of positions in which two of the :data:`BEST` best sequences differ; 0 if fewer than 2 are there.

    It is the mean over all pairs of the best feasible sequences, the newest first among equals.

    Args:
        sequences: (n, L) distinct tokens, in the order asked.
        values: (n,) their values, -inf where infeasible.
    """
    order = len(values) - 1 - np.argsort(-values[::-1], kind="stable")[:BEST]
    best = sequences[order[values[order] > -np.inf]]
    n, L = best.shape
    if n < 2:
        return 0.0
    differing = int(np.count_nonzero(best[:, None] != best[None]))
    return differing / int(n * (n - 1) * L)
