"""Named tasks: a function, its initial solution, a budget and targets; and named suites of them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseq_gym.errors import InvalidSpec, UnknownName
from bioseq_gym.functions import Ehrlich, EhrlichSpec
from bioseq_gym.functions.spec import generated_name

DEFAULT_BUDGET = 30_000
TARGETS = (0.5, 0.8, 0.95, 1.0)
LONGEST = 4096
"""Tokens of a task that a submission may be on; a stranger's file names it, and longer ones take seconds to make."""

_INSTANCES = files("bioseq_gym.functions") / "instances"
_NUMBER = "([0-9]{1,20})"
_GENERATED = re.compile(
    rf"ehrlich/ehr-V{_NUMBER}-L{_NUMBER}-c{_NUMBER}-k{_NUMBER}-q{_NUMBER}"
    rf"(?:-e([0-9]+(?:\.[0-9]+)?(?:e-?[0-9]+)?))?-seed{_NUMBER}"
)


@dataclass(frozen=True)
class Task:
    """A black-box problem with a fixed function, start, budget and targets.

    Attributes:
        name: as in :func:`load_task`.
        spec: the definition of the function.
        budget: evaluations that a full run may spend, unless the run says otherwise.
        targets: values whose first hitting times count.
    """

    name: str
    spec: EhrlichSpec
    budget: int = DEFAULT_BUDGET
    targets: tuple[float, ...] = TARGETS

    @cached_property
    def function(self) -> Ehrlich:
        """The callable function."""
        return Ehrlich(self.spec)

    @property
    def initial_solution(self) -> NDArray[np.int64]:
        """(L,) the feasible sequence that every optimizer starts from."""
        return self.function.initial_solution()

    @cached_property
    def initial_value(self) -> float:
        """The value of the initial solution, which every optimizer is given free."""
        return float(self.function(self.initial_solution[None])[0])

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the function's definition: what a result on this task is a result on."""
        return self.spec.digest


def task_names() -> list[str]:
    """The published instances that ship with the package, sorted. :func:`load_task` takes generated names too."""
    return sorted(
        f"{folder.name}/{entry.name.removesuffix('.json')}"
        for folder in _INSTANCES.iterdir()
        if folder.is_dir()
        for entry in folder.iterdir()
        if entry.name.endswith(".json")
    )


def load_task(name: str) -> Task:
    """The task of that name.

    A name is one of :func:`task_names`, or ``ehrlich/ehr-V32-L32-c4-k4-q4-seed7`` for the function of
    :meth:`EhrlichSpec.from_seed` with those numbers (``-e0.5`` before ``-seed`` for an epistasis of 0.5).

    Raises:
        UnknownName: there is no such task; the message names the near ones.
        InvalidSpec: the numbers in a generated name make no function.
    """
    if not isinstance(name, str):
        raise UnknownName(f"a task's name is a string, not {name!r}; see bioseq-gym tasks")
    return _load(name)


@lru_cache(maxsize=128)  # tasks don't change, and this holds all of a suite: 30 ms each to make, 10 kB to keep
def _load(name: str) -> Task:
    if name in task_names():
        return Task(name, EhrlichSpec.from_json((_INSTANCES / f"{name}.json").read_text(encoding="utf-8")))
    if match := _GENERATED.fullmatch(name):
        V, L, c, k, q, seed = (int(match[i]) for i in (1, 2, 3, 4, 5, 7))
        epistasis = float(match[6] or 0.0)
        return generated_task(V, L, c, k, q, epistasis, seed)
    raise UnknownName.of("task", name, task_names(), "bioseq-gym tasks")


def generated_task(V: int, L: int, c: int, k: int, q: int | None = None, epistasis: float = 0.0, seed: int = 0) -> Task:
    """The task on ``EhrlichSpec.from_seed`` with the same arguments."""
    spec = EhrlichSpec.from_seed(V, L, c, k, q, epistasis, seed)
    return Task(generated_name(V, L, c, k, spec.q, spec.epistasis, seed), spec)


@dataclass(frozen=True)
class Suite:
    """Tasks that are run together, each with several seeds. It is data, and never changes without its version.

    Attributes:
        name: as in :func:`load_suite`.
        tasks: names for :func:`load_task`.
        digests: those of the tasks, in their order.
        seeds: runs of each agent on each task, with the seeds 0, 1, ..., unless a sweep says otherwise.
        budget: evaluations that each run may spend, unless a sweep says otherwise.
        checkpoints: evaluations at which regret is compared.
        targets: values whose first hitting times count.
        ranking: the statistic that reports, and the boards as text, are sorted by.
        version: from 1; another one is another suite, whose results are not comparable.
    """

    name: str
    tasks: tuple[str, ...]
    digests: tuple[str, ...]
    seeds: int
    budget: int
    checkpoints: tuple[int, ...]
    targets: tuple[float, ...]
    ranking: str
    version: int

    @classmethod
    def of(cls, data: dict[str, Any]) -> Suite:
        """The suite that a file in ``suites`` holds."""
        tasks = data.pop("tasks")
        lists: dict[str, Any] = {key: tuple(data.pop(key)) for key in ("checkpoints", "targets")}
        return cls(tasks=tuple(tasks), digests=tuple(tasks.values()), **lists, **data)


_SUITES = {
    name: Suite.of(json.loads((files("bioseq_gym") / "suites" / f"{name}.json").read_text(encoding="utf-8")))
    for name in ("smoke", "holo-4", "llome-6-10k", "llome-6", "ehrlich-60")
}


def suite_names() -> list[str]:
    """The names of the suites, the smallest first."""
    return list(_SUITES)


def load_suite(name: str) -> Suite:
    """The suite of that name: one of :func:`suite_names`.

    ``smoke`` is for a first try. ``holo-4`` holds functions of the shapes of arXiv 2407.00236 as pytorch-holo builds
    them, (V, L, c, k) of (32, 32, 4, 4), (32, 64, 2, 4), (32, 128, 4, 4) and (32, 256, 4, 8), with q = 4. ``llome-6``
    holds the six functions of the LLOME paper, and so does ``llome-6-10k``, on a third of the budget, for agents that
    take minutes. ``ehrlich-60`` holds ten functions of our own generator in each of their six shapes, so that no result
    hangs on one function.

    Raises:
        UnknownName: there is no such suite; the message names the near ones.
    """
    if not isinstance(name, str):
        raise UnknownName(f"a suite's name is a string, not {name!r}; see bioseq-gym tasks")
    if name not in _SUITES:
        raise UnknownName.of("suite", name, _SUITES, "bioseq-gym tasks")
    return _SUITES[name]


@dataclass(frozen=True)
class Scope:
    """What a submission is complete over, and what a leaderboard's board is for: a suite, or one task.

    Attributes:
        name: of the suite or of the task.
        tasks: names for :func:`load_task`.
        seeds: the runs of each task have the seeds 0 .. ``seeds`` - 1; None for any number of them from 1.
        budget: of every run; None for any that all of them share.
    """

    name: str
    tasks: tuple[str, ...]
    seeds: int | None = None
    budget: int | None = None


def load_scope(name: str) -> Scope:
    """The suite of that name or, under its own name, a task as a suite of itself.

    Raises:
        UnknownName: there is neither, or the task is called otherwise; the message names the near ones.
        InvalidSpec: the numbers in a generated task's name make no function, or one of over :data:`LONGEST` tokens.
    """
    if name in _SUITES:
        suite = _SUITES[name]
        return Scope(name, suite.tasks, suite.seeds, suite.budget)
    if (match := _GENERATED.fullmatch(name)) and int(match[2]) > LONGEST:
        raise InvalidSpec(f"a submission is on a task of at most {LONGEST:,} tokens, not {match[2]}; run a shorter one")
    try:
        task = load_task(name)
    except UnknownName:
        raise UnknownName.of("suite or task", name, [*_SUITES, *task_names()], "bioseq-gym tasks") from None
    if task.name != name:
        raise UnknownName(f"the task {name} is called {task.name}; give that name")
    return Scope(name, (name,))
