"""Diagnostics of agents that work in rounds: the file that they keep beside the ledger, and its pictures.

An agent writes ``agent/rounds.jsonl`` into its run directory, a line of JSON for each round, with any of the fields of
:class:`Round`. They are what the run says of itself: no replay can check them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bioseq_gym.errors import InvalidRun

ROUNDS = Path("agent") / "rounds.jsonl"


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


def plot_rounds(runs: Mapping[str, Sequence[Sequence[Round]]], colors: Mapping[str, str], path: Path) -> Path:
    """Draw into a PNG how calibrated each agent's likelihood is, and how various what it writes.

    Args:
        runs: the rounds of each run of each agent.
        colors: of the agents.
        path: the file.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"font.size": 9.0, "axes.titlesize": 9.0, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(9.6, 5.2), layout="constrained")
        panels = list(figure.subplots(2, 3).flat)
        for axes, (field, title) in zip(panels, _PANELS, strict=False):
            for agent, rounds in runs.items():
                for i, run in enumerate(rounds):
                    _line(axes, run, field, color=colors[agent], label=agent if i == 0 else None)
            axes.set_title(title, loc="left")
            axes.set_xlabel("distinct evaluations")
        panels[0].axhline(0.0, color="#777777", lw=0.6)
        for agent, rounds in runs.items():
            _reliability(panels[-1], rounds, color=colors[agent])
        panels[-1].set_title("last round: value of each tenth by likelihood", loc="left")
        panels[-1].set_xlabel("mean log-likelihood per token")
        for axes in panels:
            axes.grid(alpha=0.25, lw=0.6)
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=min(5, max(1, len(names))), frameon=False)
        figure.savefig(path, dpi=150, metadata={"Software": None})
    return path


_PANELS = (
    ("spearman", "rank correlation of likelihood and value"),
    ("distinct", "distinct share of what was written"),
    ("new", "share that was never evaluated"),
    ("entropy", "entropy of a position, bits"),
    ("pairwise", "distance of two new sequences, share of L"),
)


def _line(axes: Any, run: Sequence[Round], field: str, **look: Any) -> None:
    axes.plot([r.evaluations for r in run], [getattr(r, field) for r in run], marker=".", ms=3.0, lw=0.9, **look)


def _reliability(axes: Any, rounds: Iterable[Sequence[Round]], **look: Any) -> None:
    for run in rounds:
        if run and run[-1].reliability:
            likelihoods, values, _ = np.array(run[-1].reliability).T
            axes.plot(likelihoods, values, marker=".", ms=3.0, lw=0.9, **look)


def _round(line: dict[str, Any]) -> Round:
    numbers = {name: float(value) for name in Round._fields[:-1] if (value := line.get(name)) is not None}
    reliability = [[float(x) for x in row] for row in line.get("reliability", [])]
    if any(len(row) != 3 for row in reliability):
        raise ValueError(line)
    return Round(**numbers, reliability=reliability)
