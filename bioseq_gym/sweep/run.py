"""A whole sweep, and its summary."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing

import numpy as np

from bioseq_gym.errors import InvalidConfig
from bioseq_gym.statistics import interquartile_mean
from bioseq_gym.sweep.cells import Cell, Outcome, make_cells
from bioseq_gym.sweep.cluster import run_on_ray
from bioseq_gym.sweep.local import run_local
from bioseq_gym.sweep.plan import sweep_command, write_plan

HEADER = ("agent", "task", "finished", "simple regret")


def sweep(
    agents: Sequence[str],
    tasks: Sequence[str],
    out: str | os.PathLike[str],
    *,
    seeds: int | None = None,
    first_seed: int = 0,
    budget: int | None = None,
    workers: int | None = None,
    ray_address: str | None = None,
    watch: Callable[[Cell | Outcome], None] = lambda event: None,
) -> list[Outcome]:
    """Run every agent on every task with every seed. A sweep started again keeps what is finished and does the rest.

    Runs in processes of its own; a script that calls this needs the guard ``if __name__ == "__main__":``.

    Args:
        agents: as in :func:`bioseq_gym.sweep.make_cells`, as are the next five.
        tasks: names of tasks and of suites.
        out: the sweep's directory.
        seeds: how many on each task.
        first_seed: the first of them.
        budget: of every run.
        workers: processes on this machine; by default one for each core.
        ray_address: of a Ray cluster to run on instead, see :mod:`bioseq_gym.sweep.cluster`.
        watch: called with each cell when it starts (on this machine only) and with its outcome when it ends.

    Returns:
        The outcome of each cell, in the order of :func:`bioseq_gym.sweep.make_cells`. A cell that failed is among
        them, with its cause, and never stops the others.

    Raises:
        As :func:`bioseq_gym.sweep.make_cells` and :func:`bioseq_gym.sweep.cluster.run_on_ray`; nothing was run then.
        InvalidConfig: ``workers`` is not positive.
    """
    cells = make_cells(agents, tasks, out, seeds=seeds, first_seed=first_seed, budget=budget)
    command = sweep_command(agents, tasks, out, seeds, first_seed, budget)
    return run_cells(cells, command, workers, ray_address, watch)


def run_cells(
    cells: Sequence[Cell],
    command: str,
    workers: int | None = None,
    ray_address: str | None = None,
    watch: Callable[[Cell | Outcome], None] = lambda event: None,
) -> list[Outcome]:
    """Run ``cells``, as :func:`sweep` does; ``command`` is what a report says would go on with them."""
    if workers is not None and workers < 1:
        raise InvalidConfig(f"the number of workers is {workers}; give an integer of at least 1")
    engine: Generator[Cell | Outcome, None, None] = (
        run_local(cells, workers or cores()) if ray_address is None else run_on_ray(cells, ray_address)
    )
    outcomes = {}
    with closing(engine):  # at once, and whatever is raised here: its processes end with it
        for number, event in enumerate(engine):
            if number == 0:  # what can't be run at all leaves no trace
                write_plan(cells, command)
            if isinstance(event, Outcome):
                outcomes[event.cell] = event
            watch(event)
    return [outcomes[cell] for cell in cells]


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def table(outcomes: Iterable[Outcome]) -> list[tuple[str, ...]]:
    """Rows of text under :data:`HEADER`, one for each agent and task.

    Simple regret is the interquartile mean over the finished runs, as in a report.
    """
    groups: dict[tuple[str, str], list[float | None]] = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.cell.label, outcome.cell.task].append(outcome.simple_regret)
    rows: list[tuple[str, ...]] = []
    for (agent, task), regrets in groups.items():
        finished = [regret for regret in regrets if regret is not None]
        mean = f"{interquartile_mean(np.array(finished)):.3f}" if finished else "-"
        rows.append((agent, task, f"{len(finished)} of {len(regrets)}", mean))
    return rows
