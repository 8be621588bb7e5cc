"""Which transitions are allowed, learned from answers alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class LearnedTransitions:
    """What the answers so far prove about the transitions between V states.

    Every transition in a feasible sequence is allowed. An infeasible sequence all of whose transitions but one are
    known to be allowed proves that one forbidden.

    Attributes:
        allowed: (V, V) bool, proven allowed.
        forbidden: (V, V) bool, proven forbidden.
    """

    def __init__(self, V: int) -> None:
        self.allowed = np.eye(V, dtype=bool)  # every state may repeat: a property of the problem class
        self.forbidden = np.zeros((V, V), bool)
        self._unexplained: list[NDArray[np.int64]] = []

    def update(self, sequences: NDArray[np.integer], feasible: NDArray[np.bool_]) -> None:
        """Learn from ``sequences`` (B, L) and whether each is feasible, (B,)."""
        V = len(self.allowed)
        transitions = sequences[:, :-1].astype(np.int64) * V + sequences[:, 1:]
        self.allowed.reshape(-1)[transitions[feasible]] = True
        candidates = self._unexplained + [np.unique(row) for row in transitions[~feasible]]
        self._unexplained = []
        for row in candidates:
            suspects = row[~self.allowed.reshape(-1)[row]]
            if len(suspects) == 1:
                self.forbidden.reshape(-1)[suspects] = True
            elif not self.forbidden.reshape(-1)[suspects].any():
                self._unexplained.append(suspects)

    def admits(self, sequences: NDArray[np.integer]) -> NDArray[np.bool_]:
        """(B,) whether each of ``sequences`` (B, L) is free of transitions proven forbidden."""
        admitted: NDArray[np.bool_] = ~self.forbidden[sequences[:, :-1], sequences[:, 1:]].any(axis=1)
        return admitted
