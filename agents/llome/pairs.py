"""Training pairs: a sequence and a better one near by, out of what was evaluated."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Pairs(NamedTuple):
    """n pairs: x and y (n, L) uint8, and the rewards f(y) - f(x) >= 0, (n,) float64, infeasible x counting 0."""

    x: NDArray[np.uint8]
    y: NDArray[np.uint8]
    rewards: NDArray[np.float64]


def near_pairs(
    sequences: NDArray[np.uint8],
    values: NDArray[np.float64],
    *,
    targets: int,
    neighbours: int,
    radius: float,
    infeasible_share: float,
    neutral: bool,
    rng: np.random.Generator,
) -> Pairs:
    """Pairs (x, y), y better than x or, with ``neutral``, as good, with a Hamming distance of at most ``radius`` L.

    Args:
        sequences: (n, L) all that was evaluated.
        values: (n,) their values, -inf where infeasible.
        targets: number of y, the best ones with a value above 0; ties at random, so that old data stays among them.
        neighbours: largest number of x for each y, the nearest ones; ties at random.
        radius: largest distance, as a share of L.
        infeasible_share: largest share of pairs with an infeasible x.
        neutral: whether pairs of equal value count; they teach what may vary without loss.
        rng: of the ties and of the infeasible pairs that are kept.

    Returns:
        The pairs, in random order; none if nothing is worth more than 0.
    """
    L = sequences.shape[1]
    best = np.lexsort((rng.random(len(values)), -values))[:targets]
    best = best[values[best] > 0.0]
    xs, ys = [], []
    for target in best.tolist():
        distance = (sequences != sequences[target]).sum(axis=1)
        worse = values < values[target]
        if neutral:
            worse |= (values == values[target]) & (distance > 0)
        near = np.flatnonzero((distance <= radius * L) & worse)
        nearest = near[np.argsort(distance[near] + rng.random(len(near)), kind="stable")[:neighbours]]
        xs.append(nearest)
        ys.append(np.full(len(nearest), target))
    x = np.concatenate([*xs, np.empty(0, np.int64)]).astype(np.int64)
    y = np.concatenate([*ys, np.empty(0, np.int64)]).astype(np.int64)
    shuffled = rng.permutation(len(x))
    x, y = x[shuffled], y[shuffled]
    infeasible = np.isneginf(values[x])
    surplus = np.cumsum(infeasible) > infeasible_share * (~infeasible).sum() / (1.0 - infeasible_share)
    x, y = x[~(infeasible & surplus)], y[~(infeasible & surplus)]
    return Pairs(sequences[x], sequences[y], values[y] - np.maximum(values[x], 0.0))
