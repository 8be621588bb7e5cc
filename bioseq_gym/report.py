"""A table and a picture of a few runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bioseq_gym.errors import InvalidRun, MissingDependency
from bioseq_gym.metrics import CHECKPOINTS
from bioseq_gym.runs import Result, Run

HEADER = ("agent", "seed", *(f"regret @ {n // 1000}k" for n in CHECKPOINTS), "feasible", "distinct", "wall time")


def table(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    """A row of text for each run, under :data:`HEADER`; "-" where the budget ended before the checkpoint."""
    return [
        (
            result.agent,
            str(result.seed),
            *("-" if regret is None else f"{regret:.3f}" for regret in result.regret),
            f"{100 * result.feasible:.0f} %",
            f"{100 * result.distinct:.0f} %",
            f"{result.wall_s:.1f} s",
        )
        for result in map(Result.of, runs)
    ]


def plot_regret(runs: Sequence[Run], path: str | os.PathLike[str]) -> Path:
    """Draw simple regret against evaluations into a PNG file.

    A line for each agent: the median over its runs, with a band from the first to the third quartile.

    Raises:
        InvalidRun: the runs are of several tasks, which have no common axis, or one is not finished.
        MissingDependency: matplotlib is not installed.
    """
    if unfinished := [str(run.path) for run in runs if run.manifest["status"] != "finished"]:
        raise InvalidRun(f"{', '.join(unfinished)} not finished; go on with bioseq-gym run ... --resume")
    tasks = sorted({run.manifest["task"] for run in runs})
    if len(tasks) != 1:
        raise InvalidRun(f"the runs are of several tasks ({', '.join(tasks)}); report each task by itself")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependency("drawing needs matplotlib; pip install 'bioseq-gym[plots]'") from None

    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    axes = figure.add_subplot()
    longest = max(len(run.ledger) for run in runs)  # a budget may be far larger than what it took to solve the task
    for agent in sorted({run.manifest["agent"] for run in runs}):
        own = [run for run in runs if run.manifest["agent"] == agent]
        reach = min(*(run.manifest["budget"] for run in own), longest)
        curves = np.array([_padded(run.curve, reach) for run in own])
        low, median, high = np.quantile(curves, [0.25, 0.5, 0.75], axis=0)
        label = agent if len(curves) == 1 else f"{agent} ({len(curves)} runs)"
        (line,) = axes.step(np.arange(reach + 1), median, where="post", label=label, lw=1.8)
        axes.fill_between(np.arange(reach + 1), low, high, step="post", color=line.get_color(), alpha=0.2, lw=0)
    axes.set(xlabel="distinct evaluations", ylabel="simple regret", title=tasks[0], ylim=(-0.02, 1.02))
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
    return Path(path)


def _padded(curve: np.ndarray, reach: int) -> np.ndarray:
    """The curve up to ``reach`` evaluations: a run that solved its task or stopped keeps its last regret."""
    return np.append(curve, np.full(max(0, reach + 1 - len(curve)), curve[-1]))[: reach + 1]
