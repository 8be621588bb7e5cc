"""Diagnostics of agents that work in rounds: the file that they keep beside the ledger, and the table of it.

An agent writes ``agent/rounds.jsonl`` into its run directory, a line of JSON for each round, with any of the fields of
:class:`Round`. They are what the run says of itself: no replay can check them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bioseq_gym.errors import InvalidRun

ROUNDS = Path("agent") / "rounds.jsonl"
PANELS = (
    ("spearman", "rank correlation"),
    ("distinct", "distinct"),
    ("new", "new"),
    ("entropy", "entropy, bits"),
    ("pairwise", "pairwise distance"),
)
"""Fields of :class:`Round` that reports show, and their titles."""


class Round(NamedTuple):
    """One round; what a line lacks is NaN, or empty.

    Attributes:
        evaluations: distinct sequences scored up to its end.
        spearman: rank correlation of likelihood and value over the sequences that it evaluated.
        distinct: share of distinct ones among all that the model wrote.
        new: share of those that were never evaluated.
        copies: share of unchanged copies of what was to be edited.
        entropy: of a position of the new ones, in bits, mean over positions.
        pairwise: mean share of positions in which two of the new ones differ.
        reliability: for each tenth of the evaluated sequences by likelihood, the least likely first: mean
            log-likelihood per token, mean value (infeasible counts 0), feasible share.
    """

    evaluations: float = math.nan
    spearman: float = math.nan
    distinct: float = math.nan
    new: float = math.nan
    copies: float = math.nan
    entropy: float = math.nan
    pairwise: float = math.nan
    reliability: Sequence[Sequence[float]] = ()


def read_rounds(directory: Path) -> list[Round]:
    """The rounds of a run; none if its agent keeps no such file.

    Raises:
        InvalidRun: the file is none of the form.
    """
    path = directory / ROUNDS
    if not path.exists():
        return []
    try:
        return [_round(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InvalidRun(f"{path} has lines that are no rounds; remove it, or run the agent again") from None


def rounds_table(runs: Mapping[str, Sequence[Sequence[Round]]]) -> tuple[Sequence[str], list[tuple[str, ...]]]:
    """Header and rows: for each agent the median over its runs of each number, in the first round and in the last.

    Args:
        runs: the rounds of each run of each agent; at least one run has a round.
    """
    rows = []
    for agent, of_agent in runs.items():
        kept = [run for run in of_agent if run]
        ends = [(run[0], run[-1]) for run in kept]
        cells = []
        for field, _ in PANELS:
            first, last = np.array([[getattr(end, field) for end in pair] for pair in ends]).T
            cells.append(f"{_median(first)} to {_median(last)}")
        rows.append((agent, f"{np.median([len(run) for run in kept]):.0f}", *cells))
    return ("agent", "rounds", *(title for _, title in PANELS)), rows


def _median(numbers: Any) -> str:
    return f"{np.median(numbers):.2f}" if np.isfinite(numbers).all() else "-"


def _round(line: dict[str, Any]) -> Round:
    numbers = {name: float(value) for name in Round._fields[:-1] if (value := line.get(name)) is not None}
    reliability = [[float(x) for x in row] for row in line.get("reliability", [])]
    if any(len(row) != 3 for row in reliability):
        raise ValueError(line)
    return Round(**numbers, reliability=reliability)
