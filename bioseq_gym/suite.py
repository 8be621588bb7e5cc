"""Named tasks: a function, its initial solution, a budget and targets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from bioseq_gym.errors import UnknownName
from bioseq_gym.functions import Ehrlich, EhrlichSpec
from bioseq_gym.functions.spec import generated_name

DEFAULT_BUDGET = 30_000
TARGETS = (0.5, 0.8, 0.95, 1.0)

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


@lru_cache(maxsize=16)  # reading and checking a definition takes up to a second, and tasks don't change
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
