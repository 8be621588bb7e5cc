"""Random sequences around fixed tokens, drawn by the transitions that are known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bioseq_gym.compiled import compiled


@compiled
def refill(
    x: NDArray[np.uint8],
    free: NDArray[np.bool_],
    transitions: NDArray[np.float64],
    tokens: NDArray[np.float64],
    uniform: NDArray[np.float64],
) -> bool:
    """Draw the free positions of ``x`` anew, in place, by forward filtering and backward sampling, mirrored.

    A filling is drawn with a probability proportional to the product of the weights of all its transitions, those to
    the fixed neighbours among them, and of all its tokens.

    Args:
        x: (L,) tokens.
        free: (L,) what is drawn; the rest stays.
        transitions: (V, V) weights, 0 where a transition must not be.
        tokens: (L, V) weights, 0 where a token must not be.
        uniform: (L,) random numbers in [0, 1).

    Returns:
        Whether there is such a filling; if not, ``x`` is spoilt.
    """
    L, V = tokens.shape
    weight = np.empty((L, V))  # of all fillings from a position to the end of its gap, by the token at the position
    for t in range(L - 1, -1, -1):
        if not free[t]:
            continue
        for v in range(V):
            if t == L - 1:
                weight[t, v] = 1.0
            elif not free[t + 1]:
                weight[t, v] = transitions[v, x[t + 1]]
            else:
                weight[t, v] = 0.0
                for u in range(V):
                    weight[t, v] += transitions[v, u] * weight[t + 1, u]
            weight[t, v] *= tokens[t, v]
        largest = weight[t].max()
        if largest <= 0.0:
            return False
        weight[t] /= largest  # only ratios matter, and products of a hundred would vanish
    for t in range(L):
        if not free[t]:
            continue
        if t > 0:
            weight[t] *= transitions[x[t - 1]]
        goal = uniform[t] * weight[t].sum()
        if weight[t].sum() <= 0.0:
            return False
        for v in range(V):
            if weight[t, v] > 0.0:
                x[t] = v  # the last one that is possible, should rounding leave the goal unreached
                goal -= weight[t, v]
                if goal < 0.0:
                    break
    return True
