"""A table and a picture of a few runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bioseq_gym.errors import InvalidRun, MissingDependency
from bioseq_gym.metrics import CHECKPOINTS, distinct_share, feasible_share, regret_at, regret_curve
from bioseq_gym.runs import Run
from bioseq_gym.suite import load_task

HEADER = ("agent", "seed", *(f"regret @ {n // 1000}k" for n in CHECKPOINTS), "feasible", "distinct", "wall time")


def table(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    """A row of text for each run, under :data:`HEADER`; "–" where the budget ended before the checkpoint."""
    rows = []
    for run in runs:
        curve = _curve(run)
        rows.append(
            (
                run.manifest["agent"],
                str(run.manifest["seed"]),
                *(f"{regret_at(curve, n):.3f}" if n <= run.manifest["budget"] else "–" for n in CHECKPOINTS),
                f"{100 * feasible_share(run.ledger):.0f} %",
                f"{100 * distinct_share(run.ledger):.0f} %",
                f"{run.manifest['wall_s']:.1f} s",
            )
        )
    return rows


def plot_regret(runs: Sequence[Run], path: str | os.PathLike[str]) -> Path:
    """Draw simple regret against evaluations, one line for each run, into a PNG file.

    Raises:
        InvalidRun: the runs are of several tasks, which have no common axis.
        MissingDependency: matplotlib is not installed.
    """
    tasks = sorted({run.manifest["task"] for run in runs})
    if len(tasks) != 1:
        raise InvalidRun(f"the runs are of several tasks ({', '.join(tasks)}); report each task by itself")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependency("drawing needs matplotlib; pip install 'bioseq-gym[plots]'") from None

    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    axes = figure.add_subplot()
    agents = sorted({run.manifest["agent"] for run in runs})
    for run in sorted(runs, key=lambda run: (run.manifest["agent"], run.manifest["seed"])):
        curve, agent = _curve(run), run.manifest["agent"]
        reach = max(run.manifest["budget"], len(curve) - 1)  # a run that solved its task keeps its regret
        steps = np.append(np.arange(len(curve)), reach)
        label = None if agent in axes.get_legend_handles_labels()[1] else agent
        axes.step(
            steps, np.append(curve, curve[-1]), where="post", color=f"C{agents.index(agent)}", label=label, lw=1.8
        )
    axes.set(xlabel="distinct evaluations", ylabel="simple regret", title=tasks[0], ylim=(-0.02, 1.02))
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
    return Path(path)


def _curve(run: Run) -> np.ndarray:
    task = load_task(run.manifest["task"])
    return regret_curve(run.ledger.values, float(task.function(task.initial_solution[None])[0]))
