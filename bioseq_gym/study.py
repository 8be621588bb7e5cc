"""A study: the runs of some agents on some tasks, read from directories and submissions, checked to be comparable."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bioseq_gym.errors import InvalidRun
from bioseq_gym.labels import marked_labels
from bioseq_gym.metrics import CHECKPOINTS
from bioseq_gym.rounds import read_rounds
from bioseq_gym.runs import MANIFEST, Result, read_run
from bioseq_gym.statistics import interquartile_interval, interquartile_mean
from bioseq_gym.submission import read_submission, verify
from bioseq_gym.suite import load_task
from bioseq_gym.sweep.plan import PLAN, check_finished

PathLike = str | os.PathLike[str]
SEED = 0
"""Of every bootstrap, so that the same runs give the same report."""
SUBMISSIONS, SUFFIX = "submissions", ".zip"
"""Of a leaderboard's board: the folder of its submissions, and how their files' names end."""


@dataclass(frozen=True, eq=False)
class Study:
    """Results of one budget, every agent on every task.

    Attributes:
        budget: evaluations of every run.
        results: of each agent, by its label, and each task the results, by seed. Agents and tasks are sorted.
    """

    budget: int
    results: Mapping[str, Mapping[str, tuple[Result, ...]]]

    @classmethod
    def of(cls, results: Sequence[Result]) -> Study:
        """The study of ``results``, whose order does not matter.

        Raises:
            InvalidRun: they have several budgets, an agent lacks a task, or a run is there twice.
        """
        if len(budgets := sorted({result.budget for result in results})) > 1:
            raise InvalidRun(
                f"the runs have budgets of {', '.join(f'{n:,}' for n in budgets)}, which are not comparable; "
                f"report each budget by itself, or cut all runs with --budget {budgets[0]}"
            )
        found: dict[str, dict[str, list[Result]]] = defaultdict(lambda: defaultdict(list))
        for result, label in zip(results, agent_labels(results), strict=True):
            found[label][result.task].append(result)
        tasks = sorted({result.task for result in results})
        for agent, of_task in found.items():
            if missing := [task for task in tasks if task not in of_task]:
                raise InvalidRun(
                    f"{agent} has no run on {len(missing)} of {len(tasks)} tasks, as {missing[0]}; "
                    "run it there, or leave the agent or the tasks out"
                )
            for task, group in of_task.items():
                if len({result.seed for result in group}) < len(group):
                    raise InvalidRun(f"two runs are of {agent}, the same settings and seed on {task}; leave one out")
        return cls(
            budgets[0],
            {
                agent: {task: tuple(sorted(found[agent][task], key=lambda result: result.seed)) for task in tasks}
                for agent in sorted(found)
            },
        )

    @property
    def agents(self) -> list[str]:
        """The agents' labels, sorted."""
        return list(self.results)

    @property
    def tasks(self) -> list[str]:
        """The tasks' names, sorted."""
        return list(next(iter(self.results.values())))

    @property
    def runs(self) -> int:
        """How many there are."""
        return sum(len(self.of_agent(agent)) for agent in self.results)

    @property
    def checkpoints(self) -> list[int]:
        """The numbers of evaluations at which to give the regret: the common ones up to the budget, and the budget."""
        return sorted({*(n for n in CHECKPOINTS if n <= self.budget), self.budget})

    @property
    def longest(self) -> int:
        """The evaluations of the longest run; a budget may be far larger than what it took to solve the task."""
        return max(result.evaluations for agent in self.results for result in self.of_agent(agent))

    def of_agent(self, agent: str) -> list[Result]:
        """All results of an agent, task by task."""
        return [result for group in self.results[agent].values() for result in group]

    def strata(self, agent: str) -> NDArray[np.int64]:
        """(n,) the number of the task of each of :meth:`of_agent`."""
        sizes = [len(group) for group in self.results[agent].values()]
        return np.repeat(np.arange(len(sizes)), sizes)

    def repeats(self, agent: str) -> bool:
        """Whether there is a task with several runs of the agent, without which there is nothing to draw from."""
        return len(self.of_agent(agent)) > len(self.tasks)

    def interquartile_means(
        self, agent: str, columns: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Interquartile means over the runs of an agent, and their 95 % bootstrap intervals.

        Args:
            agent: its label.
            columns: (m, n) m numbers of each of its n runs, in the order of :meth:`of_agent`.

        Returns:
            (m,) the means, and (2, m) the ends; None without :meth:`repeats`.
        """
        means = interquartile_mean(columns)
        if not self.repeats(agent):
            return means, None
        return means, interquartile_interval(columns, self.strata(agent), np.random.default_rng(SEED))

    def only(self, agents: Iterable[str]) -> Study:
        """The study of some of the agents."""
        return Study(self.budget, {agent: self.results[agent] for agent in sorted(agents)})

    def by_shape(self) -> dict[str, Study]:
        """A study for each shape of function, under what a reader calls it; a single task goes by its own name."""
        if len(self.tasks) == 1:
            return {self.tasks[0]: self}
        shapes: dict[tuple[float, ...], list[str]] = defaultdict(list)
        for task in self.tasks:
            s = load_task(task).spec
            shapes[s.V, s.L, s.c, s.k, s.q, s.epistasis].append(task)
        return {_shape_name(*shape): self._on(shapes[shape]) for shape in sorted(shapes)}

    def groups(self) -> dict[str, Study]:
        """What a reader can look at by itself: all tasks, where they are of several shapes, and those of each shape."""
        shapes = self.by_shape()
        return shapes if len(shapes) == 1 else {f"all {len(self.tasks)} tasks": self, **shapes}

    def _on(self, tasks: list[str]) -> Study:
        return Study(self.budget, {agent: {t: of_task[t] for t in tasks} for agent, of_task in self.results.items()})


def agent_labels(results: Sequence[Result]) -> list[str]:
    """What a table calls each result's agent, see :func:`bioseq_gym.labels.marked_labels`."""
    return marked_labels([(result.label, result.config) for result in results])


def _shape_name(V: float, L: float, c: float, k: float, q: float, epistasis: float) -> str:
    name = f"V={V}, L={L}, c={c}, k={k}, q={q}"
    return f"{name}, e={epistasis:g}" if epistasis else name


def find_runs(paths: Iterable[PathLike], *, unfinished: bool = False) -> list[Path]:
    """The run directories that ``paths`` are or hold, at any depth, each once.

    Args:
        paths: directories; and files, which are taken for submissions.
        unfinished: whether a sweep may lack some of its runs.

    Returns:
        Run directories, and after those of a folder the submissions of the leaderboards in it.

    Raises:
        InvalidRun: a path is no run directory and holds none, or it holds a sweep that is not finished.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        inside = [path] if path.is_file() or (path / MANIFEST).exists() else _inside(path)
        for plan in () if unfinished else sorted(path.rglob(PLAN)):
            check_finished(plan)
        if not inside:
            raise InvalidRun(f"{path} is not a run directory and holds none; see bioseq-gym run --help")
        found |= {directory.resolve(): directory for directory in inside}
    return list(found.values())


def _inside(folder: Path) -> list[Path]:
    runs = sorted(path.parent for path in folder.rglob(f"[!.]*/{MANIFEST}"))
    found = sorted(folder.rglob(f"{SUBMISSIONS}/[!.]*{SUFFIX}"))
    # Not what a submit is at work on, or was when it was killed.
    return runs + [path for path in found if not any(p.startswith(".") for p in path.relative_to(folder).parts)]


def read_study(paths: Iterable[PathLike], budget: int | None = None) -> Study:
    """Read finished runs, one ledger at a time, and submissions, which are replayed.

    Args:
        paths: as from :func:`find_runs`.
        budget: read only so many evaluations of each run; by default all.

    Raises:
        InvalidRun: a run can't be read, is not finished, is of another function than its task's or of a smaller budget
            than ``budget``, or the runs are not comparable, see :meth:`Study.of`.
        InvalidLedger: a ledger can't be read.
        InvalidSubmission: a submission can't be read or does not verify.
    """
    return Study.of([result for path in map(Path, paths) for result in _read(path, budget)])


def _read(path: Path, budget: int | None) -> list[Result]:
    if path.is_file():
        submission = read_submission(path)
        verify(submission)
        _check_cut(path, submission.runs[0].manifest["budget"], budget)
        return submission.results(budget)
    run = read_run(path)
    if run.manifest["status"] != "finished":
        raise InvalidRun(f"{path} is not finished; go on with bioseq-gym run ... --resume")
    if run.ledger.digest != load_task(run.manifest["task"]).digest:
        raise InvalidRun(f"{path} was run on another function than {run.manifest['task']} is now; run it again")
    _check_cut(path, run.manifest["budget"], budget)
    result = Result.of(run, budget)
    within = [r for r in read_rounds(path) if not r.evaluations > result.budget]  # or it does not say
    return [replace(result, rounds=within)]


def _check_cut(path: Path, own: int, budget: int | None) -> None:
    if budget is not None and not 1 <= budget <= own:
        raise InvalidRun(
            f"{path} has a budget of {own:,}, so it can't be cut at {budget:,}; "
            "give a --budget from 1 to that of the shortest run"
        )
