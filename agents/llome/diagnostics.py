"""What each round of LLOME says of its model: is its likelihood calibrated, and does its generator collapse?

The paper (Chen et al., arXiv 2410.22296) finds both to be troubles. A run writes one line of JSON for each round.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from bioseq_gym.agents.llome.proposals import Pool

Tokens = NDArray[np.uint8]
Floats = NDArray[np.float64]

BINS = 10


def calibration(likelihoods: Floats, values: Floats) -> dict[str, Any]:
    """How likelihood and value go together, over the sequences that a round evaluated.

    Args:
        likelihoods: (n,) mean log-likelihoods per token.
        values: (n,) -inf where infeasible, which counts 0 here.

    Returns:
        ``spearman``: the rank correlation, None where one of the two does not vary. ``reliability``: for each tenth of
        the sequences by likelihood, the least likely first, the mean log-likelihood, mean value and feasible share.
    """
    gained = np.maximum(values, 0.0)
    ranks = rankdata(likelihoods), rankdata(gained)
    varies = all(np.ptp(rank) > 0.0 for rank in ranks)
    order = np.argsort(likelihoods, kind="stable")
    parts = [part for part in np.array_split(order, BINS) if len(part)]
    return {
        "spearman": float(np.corrcoef(*ranks)[0, 1]) if varies else None,
        "reliability": [
            [float(likelihoods[part].mean()), float(gained[part].mean()), float((values[part] > -np.inf).mean())]
            for part in parts
        ],
    }


def collapse(pool: Pool) -> dict[str, Any]:
    """How various the inner loop's output is.

    Returns:
        ``parsed``, ``distinct``, ``new``, ``copies``: shares of all edits; ``distance``: the mean Hamming distance of
        an edit to what it edits, as a share of L; ``entropy``: of a position of the new sequences, in bits, mean over
        positions; ``pairwise``: the mean Hamming distance of two new sequences, as a share of L.
    """
    n = max(1, pool.written)
    return {
        "written": pool.written,
        "parsed": pool.parsed / n,
        "distinct": pool.distinct / n,
        "new": len(pool.sequences) / n,
        "copies": pool.copies / n,
        "distance": pool.distance or 0.0,
        "entropy": position_entropy(pool.sequences),
        "pairwise": pairwise_distance(pool.sequences),
    }


def position_entropy(sequences: Tokens) -> float:
    """The entropy of the tokens at a position of ``sequences`` (n, L), in bits, mean over positions; 0 if n = 0."""
    if not len(sequences):
        return 0.0
    counts = np.array([np.bincount(column, minlength=256) for column in sequences.T])
    shares = counts / len(sequences)
    return float(-(shares * np.log2(np.where(shares > 0.0, shares, 1.0))).sum(axis=1).mean())


def pairwise_distance(sequences: Tokens) -> float:
    """The mean Hamming distance of two of ``sequences`` (n, L), as a share of L; 0 if n < 2."""
    n, L = sequences.shape
    if n < 2:
        return 0.0
    counts = np.array([np.bincount(column, minlength=256) for column in sequences.T], np.int64)
    equal = int((counts * (counts - 1)).sum())  # ordered pairs of equal tokens, over positions
    return 1.0 - equal / (n * (n - 1) * L)


class RoundLog:
    """The file of a run with one line for each round.

    Args:
        path: of the file.
        rounds: how many were finished, round 0 among them. What is there of others is dropped: a process that was
            killed wrote it.
    """

    def __init__(self, path: Path, rounds: int) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        finished = [line for line in lines if line.endswith("\n") and json.loads(line)["round"] < rounds]
        temporary = path.with_suffix(".new")
        temporary.write_text("".join(finished), encoding="utf-8")
        os.replace(temporary, path)

    def add(self, **facts: Any) -> None:
        """Append a line for ``round``."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(facts) + "\n")
