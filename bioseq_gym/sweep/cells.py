"""The cells of a sweep, and how one of them is run."""

from __future__ import annotations

import fcntl
import logging
import os
import platform
import time
import traceback
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import IO, Any

from bioseq_gym.agent import Agent, load_agent
from bioseq_gym.errors import BioseqGymError, InvalidBudget, InvalidConfig, InvalidRun, UnknownName
from bioseq_gym.progress import logging_to
from bioseq_gym.runs import MANIFEST, check_budget, run_agent
from bioseq_gym.suite import Task, load_suite, load_task, suite_names, task_names

DEFAULT_SEEDS = 5
"""Seeds of a task that no suite brings."""


@dataclass(frozen=True)
class Cell:
    """One run of a sweep, as plain data that goes to any process.

    Attributes:
        agent: a name for :func:`bioseq_gym.agent.load_agent`, a path made absolute.
        preset: which of the agent's settings; its default ones if None.
        label: what the directories call the agent.
        task, seed, budget: as in :func:`bioseq_gym.runs.run_agent`.
        out: the sweep's directory, absolute.
    """

    agent: str
    preset: str | None
    label: str
    task: str
    seed: int
    budget: int
    out: Path

    def __str__(self) -> str:
        return f"{self.label} on {self.task}, seed {self.seed}"

    @property
    def directory(self) -> Path:
        """The run directory."""
        return self.out / self.task / f"{self.label}-seed{self.seed}"

    @property
    def log(self) -> Path:
        """What the agent printed and logged, and the traceback if it failed. Outside of the run directory."""
        return self.out / "logs" / f"{self.task.replace('/', '.')}.{self.label}-seed{self.seed}.log"


@dataclass(frozen=True)
class Outcome:
    """How a cell ended.

    Attributes:
        cell: the cell.
        cause: why it failed, in one line; None if its run is finished.
        kept: the run was finished already when its turn came, and nothing was done.
        simple_regret: of the finished run.
    """

    cell: Cell
    cause: str | None = None
    kept: bool = False
    simple_regret: float | None = None


def make_cells(
    agents: Sequence[str],
    tasks: Sequence[str],
    out: str | os.PathLike[str],
    *,
    seeds: int | None = None,
    first_seed: int = 0,
    budget: int | None = None,
) -> list[Cell]:
    """All cells of a sweep: agents in the order given and, for each, the longest runs first. Makes no directory.

    Args:
        agents: names, ``name:preset`` for other settings than the default ones, or paths of Python files.
        tasks: names of tasks and of suites.
        out: the sweep's directory.
        seeds: how many on each task; by default what the suite says, and 5 for a task by itself.
        first_seed: the first of them; the others follow.
        budget: of every run; by default that of the suite, or the task's own.

    Raises:
        UnknownName: there is no such agent, preset, task or suite, or two agents have one name.
        MissingDependency: an agent needs a package that is not installed.
        InvalidSpec: the numbers in a generated task's name make no function.
        InvalidBudget: a budget is not positive, or a task comes with two.
        InvalidConfig: there is no agent, task or seed, a seed is negative, or ``out`` is the directory of a run.
    """
    if not agents or not tasks:
        raise InvalidConfig("a sweep needs at least one agent and one task")
    if (Path(out) / MANIFEST).exists():
        raise InvalidConfig(f"{out} is the directory of a run; give the sweep another with --out")
    planned = _plan(tasks, seeds, first_seed, budget)
    order = sorted(planned, key=lambda name: -planned[name][1] * load_task(name).spec.L)
    labels: dict[str, str] = {}
    cells = []
    for given in dict.fromkeys(agents):
        name, preset = parse_agent(given)
        label = "-".join(filter(None, (load_preset(name, preset)[0].name, preset)))
        if labels.setdefault(label, given) != given:
            raise UnknownName(f"{labels[label]} and {given} are both called {label}; give one of them another name")
        for task in order:
            for seed in planned[task][0]:
                cells.append(Cell(name, preset, label, task, seed, planned[task][1], Path(out).absolute()))
    return cells


def _plan(names: Iterable[str], seeds: int | None, first_seed: int, budget: int | None) -> dict[str, tuple[range, int]]:
    """The seeds and the budget of each task; a task that comes twice gets the larger number of seeds."""
    planned: dict[str, tuple[range, int]] = {}
    for name in names:
        suite = load_suite(name) if name in suite_names() else None
        for task in map(load_task, suite.tasks) if suite else (_load_task(name),):
            count = seeds if seeds is not None else suite.seeds if suite else DEFAULT_SEEDS
            own_budget = budget if budget is not None else suite.budget if suite else task.budget
            others, other = planned.get(task.name, (range(0), own_budget))
            if other != own_budget:
                raise InvalidBudget(f"{task.name} comes with budgets of {other} and {own_budget}; give --budget")
            planned[task.name] = range(first_seed, first_seed + max(count, len(others))), own_budget
    for run_seeds, run_budget in planned.values():
        check_budget(run_budget)
        if not run_seeds or first_seed < 0 or run_seeds.stop > 2**63:
            raise InvalidConfig("give at least one seed, and only seeds of at least 0 and below 2^63")
    return planned


def _load_task(name: str) -> Task:
    try:
        return load_task(name)
    except UnknownName:
        known = (*suite_names(), *task_names())
        raise UnknownName.of("task or suite", name, known, "bioseq-gym tasks") from None


def parse_agent(given: str) -> tuple[str, str | None]:
    """The name and the preset, if any, in ``name``, ``name:preset`` or the path of a Python file, made absolute."""
    if given.endswith(".py"):
        return str(Path(given).absolute()), None
    name, _, preset = given.rpartition(":")
    return (name, preset) if name else (given, None)


def load_preset(name: str, preset: str | None) -> tuple[Agent, Any]:
    """The agent of that name, and its settings."""
    agent = load_agent(name)
    if preset is None:
        return agent, agent.config
    if preset not in agent.presets:
        raise UnknownName.of(f"preset of {name}", preset, agent.presets, f"bioseq-gym run {name} --help")
    return agent, agent.presets[preset]


def run_cell(cell: Cell, patience: float = 0.0) -> Outcome:
    """Run a cell, or what is left of it; every failure but an interrupt becomes an :class:`Outcome` with its cause.

    The cell's log is locked meanwhile, so that no two processes are at work on one cell.

    Args:
        cell: the cell.
        patience: seconds to wait for another process that is at work on it.
    """
    try:
        cell.log.parent.mkdir(parents=True, exist_ok=True)
        with open(cell.log, "a", buffering=1, encoding="utf-8") as log:
            _lock(log, cell, patience)
            with redirect_stdout(log), redirect_stderr(log), logging_to(logging.StreamHandler(log)):
                try:
                    return _run(cell, log)
                except (Exception, SystemExit):
                    traceback.print_exc(file=log)
                    raise
    except (Exception, SystemExit) as error:
        kind = "" if isinstance(error, BioseqGymError) else f"{type(error).__name__}: "
        return Outcome(cell, cause=shorten(f"{kind}{error}", 400) or type(error).__name__)


def _run(cell: Cell, log: IO[str]) -> Outcome:
    agent, config = load_preset(cell.agent, cell.preset)
    kept = True

    def begin(_: object) -> AbstractContextManager[None]:  # not called for a run that is finished
        nonlocal kept
        kept = False
        print(f"{time.strftime('%F %T')} {cell}: process {os.getpid()} on {platform.node()}", file=log)
        return nullcontext()

    run = run_agent(
        agent,
        load_task(cell.task),
        budget=cell.budget,
        seed=cell.seed,
        out=cell.directory,
        config=config,
        resume=True,
        monitor=begin,
    )
    return Outcome(cell, kept=kept, simple_regret=run.manifest["simple_regret"])


def _lock(log: IO[str], cell: Cell, patience: float) -> None:
    """Lock the log until it is closed, which the end of the process does too."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise InvalidRun(
                    f"another process is at work on {cell.directory}, see the last start in its log; wait for its end"
                ) from None
        time.sleep(min(0.5, patience))
