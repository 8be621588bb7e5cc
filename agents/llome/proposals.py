"""LLOME's inner loop: the model edits the best sequences, again and again, without the oracle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from bioseq_gym.agents.llome.policy import Policy

Tokens = NDArray[np.uint8]
Floats = NDArray[np.float64]

TEMPERATURES = (0.6, 0.8, 1.0, 1.2, 1.4, 1.6)
"""Of the paper; each has a trajectory of its own from each seed, beside a greedy one."""
HOTTER = ((0.075, 0.6), (0.1, 0.4), (0.15, 0.2))
"""What is added to the temperatures where the last round's edits differed, in a mean share of positions, by less."""


@dataclass(frozen=True, eq=False)
class Pool:
    """What the inner loop wrote.

    Attributes:
        sequences: (n, L) the distinct new ones, none of which was evaluated, the most likely first.
        likelihoods: (n,) of each the mean log-likelihood per token, as written first.
        written: edits in all.
        parsed: of them, those that are sequences.
        distinct: distinct ones among those.
        copies: of those that are sequences, how many equal what they were to edit.
        distance: the mean Hamming distance of an edit to what it edits, as a share of L; None if there is none.
    """

    sequences: Tokens
    likelihoods: Floats
    written: int
    parsed: int
    distinct: int
    copies: int
    distance: float | None


def temperatures(count: int, distance: float | None) -> Floats:
    """(1 + count,) the temperatures of the trajectories of a seed: 0, which is greedy, and ``count`` of the paper's.

    They rise where the last round's edits changed too little, by their mean Hamming ``distance``; None in round one.
    """
    rise = next((rise for bound, rise in HOTTER if distance is not None and distance < bound), 0.0)
    chosen = np.linspace(0, len(TEMPERATURES) - 1, count).round().astype(int)
    return np.concatenate([[0.0], np.array(TEMPERATURES)[chosen] + rise])


def propose(
    policy: Policy,
    seeds: Tokens,
    known: set[bytes],
    *,
    heat: Floats,
    iterations: int,
    samples: int,
    forbidden: NDArray[np.bool_] | None,
    rng: torch.Generator,
) -> Pool:
    """Edit ``seeds`` in trajectories, each of which goes to the most likely new edit that it has seen so far.

    Where a later edit is less likely than the one that led here, a trajectory stays, and draws from there once more; a
    greedy one then writes the same again.

    Args:
        policy: the model.
        seeds: (s, L) what to start from.
        known: what was evaluated; it is no step forward and not in the pool.
        heat: temperatures of the trajectories of a seed, from :func:`temperatures`.
        iterations: edits in a row.
        samples: edits that are sampled in each iteration of a trajectory; a greedy one needs no more than one.
        forbidden: (V, V) transitions that are not written; None: all may be.
        rng: of the draws.
    """
    found: dict[bytes, float] = {}
    written = parsed = copies = 0
    distinct: set[bytes] = set()
    distances: list[float] = []
    current = np.repeat(seeds, len(heat), axis=0)  # trajectory t of seed s in row s * len(heat) + t
    temperature = np.tile(heat, len(seeds))
    best: list[float] = [-np.inf] * len(current)  # likelihood of the new edit that a trajectory follows
    for _ in range(iterations):
        following = current.copy()
        for sampled in (False, True):
            rows = np.flatnonzero((temperature > 0.0) == sampled)
            count = samples if sampled else 1
            edits, likelihoods = policy.sample(current[rows], count, temperature[rows], forbidden, rng)
            for row, ys, logps in zip(rows.tolist(), edits, likelihoods.tolist(), strict=True):
                x = current[row]
                for y, logp in zip(ys, logps, strict=True):
                    written += 1
                    if y is None:
                        continue
                    parsed += 1
                    key, differing = y.tobytes(), int((x != y).sum())
                    copies += differing == 0
                    distances.append(differing / len(x))
                    distinct.add(key)
                    if key in known or (forbidden is not None and forbidden[y[:-1], y[1:]].any()):
                        continue
                    found.setdefault(key, logp)
                    if logp > best[row]:
                        best[row], following[row] = logp, y
        current = following
    ranked = sorted(found, key=lambda key: (-found[key], key))
    return Pool(
        np.frombuffer(b"".join(ranked), np.uint8).reshape(-1, seeds.shape[1]),
        np.array([found[key] for key in ranked]),
        written,
        parsed,
        len(distinct),
        copies,
        float(np.mean(distances)) if distances else None,
    )
