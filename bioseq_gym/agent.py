"""What an agent is: a name, a function that spends a budget, and a typed config."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from bioseq_gym.envs import ENVIRONMENTS
from bioseq_gym.errors import InvalidConfig, MissingDependency, UnknownName

ENTRY_POINTS = "bioseq_gym.agents"
RESERVED = {"help", "preset", "task", "budget", "seed", "out", "resume", "quiet", "json"}
"""Options of ``bioseq-gym run`` itself."""
AGENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def setting(default: Any, help: str, *, low: float | None = None, high: float | None = None) -> Any:
    """A field of a config: its default, its meaning, and the range, ends included, that it may have."""
    return field(default=default, metadata={"help": help, "low": low, "high": high})


def setting_types(config: Any) -> dict[str, tuple[type, ...]]:
    """What each setting of ``config`` may be: bool, int, float or str, and NoneType behind it where None is meant.

    Raises:
        InvalidConfig: ``config`` is no instance of a dataclass, or a field of it is something else.
    """
    if not is_dataclass(config) or isinstance(config, type):
        raise InvalidConfig(f"the config of an agent must be an instance of a dataclass, not {config!r}")
    found, hints = {}, get_type_hints(type(config))
    for name in (f.name for f in fields(config)):
        hint = hints[name]
        options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        types = sorted(options, key=lambda kind: kind is NoneType)
        if types[0] not in (bool, int, float, str) or types[1:] not in ([], [NoneType]):
            raise InvalidConfig(f"the setting {name!r} of an agent is a {hint}; give bool, int, float or str")
        found[name] = tuple(types)
    return found


def check_config(agent: str, config: Any) -> None:
    """Raise InvalidConfig, naming the option, for the first setting of ``config`` of a wrong type or out of range."""
    types = setting_types(config)
    for f in fields(config):
        value, low, high = getattr(config, f.name), f.metadata.get("low"), f.metadata.get("high")
        kind, *others = types[f.name]
        if value is None and others:
            continue
        wrong = None
        if isinstance(value, bool) != (kind is bool) or not isinstance(value, (int, float) if kind is float else kind):
            wrong = f"a value of type {kind.__name__}"
        elif isinstance(value, float) and not math.isfinite(value):
            wrong = "a finite number"
        elif (low is not None and value < low) or (high is not None and value > high):
            wrong = f"at least {low}" if high is None else f"at most {high}" if low is None else f"{low} to {high}"
        if wrong is not None:
            raise InvalidConfig(f"--{f.name.replace('_', '-')} of {agent} is {value!r}; give {wrong}")


@dataclass(frozen=True)
class NoConfig:
    """For an agent that has nothing to set."""


@dataclass(frozen=True)
class Agent:
    """An optimizer that can be run by name and put on the leaderboard.

    Args:
        name: what the table calls it: 1 to 64 letters, digits, ".", "_" or "-".
        run: ``run(env, seed, config)`` asks ``env.evaluate(x)`` or steps ``env`` until ``env.done``. It draws from
            generators made from ``seed`` alone, so that the same seed gives the same ledger. Returning early is fine,
            and so is letting BudgetExhausted through. ``env`` is an :class:`EvaluationBudget`, or, with ``num_envs``, a
            :class:`VectorEvaluationBudget`.
        config: the default settings, a frozen dataclass whose fields are bool, int, float or str, or one of these or
            None, each made with :func:`setting`; every field becomes an option of the command line, so that none may
            have the name of one of ``bioseq-gym run``.
        presets: other named settings of the same dataclass, for ``--preset``.
        env_id: the environment that it works in; one that only calls ``env.evaluate`` needs none but the first.
        num_envs: 0 for a single environment, or the number of episodes in a vector environment.
        reveal_constraints: whether it is shown which actions are feasible. Tables say so.

    Raises:
        InvalidConfig: one of these is something else.
    """

    name: str
    run: Callable[[Any, int, Any], None]
    config: Any = field(default_factory=NoConfig)
    presets: Mapping[str, Any] = field(default_factory=dict)
    env_id: str = "Ehrlich-v0"
    num_envs: int = 0
    reveal_constraints: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not AGENT_NAME.fullmatch(self.name):
            raise InvalidConfig(f"the agent's name {self.name!r} is not 1 to 64 letters, digits, '.', '_' or '-'")
        if not callable(self.run):
            raise InvalidConfig(f"run of agent {self.name!r} is {self.run!r}; give a function run(env, seed, config)")
        for taken in RESERVED & setting_types(self.config).keys():
            raise InvalidConfig(f"agent {self.name!r} has a setting {taken!r}, an option of its own; rename it")
        if any(type(preset) is not type(self.config) for preset in self.presets.values()):
            raise InvalidConfig(f"the presets of agent {self.name!r} are not all of the class of its config; make them")
        if self.env_id not in ENVIRONMENTS:
            raise InvalidConfig(f"env_id of agent {self.name!r} is {self.env_id!r}; give one of {ENVIRONMENTS}")
        if isinstance(self.num_envs, bool) or not isinstance(self.num_envs, int) or self.num_envs < 0:
            raise InvalidConfig(f"num_envs of agent {self.name!r} is {self.num_envs!r}; give an integer of at least 0")

    def main(self) -> None:
        """The command line of this agent alone: ``bioseq-gym run`` without the name."""
        from bioseq_gym.cli import main

        sys.exit(main(["run", *sys.argv[1:]], agent=self))


def agent_names() -> list[str]:
    """The names of the installed agents, sorted."""
    return sorted(entry_points(group=ENTRY_POINTS).names)


def load_agent(name: str | os.PathLike[str]) -> Agent:
    """The installed agent of that name, or the ``AGENT`` of the Python file that ``name`` is the path of.

    Packages add agents through the entry-point group ``bioseq_gym.agents``. A file may import modules beside it, unless
    others have their names.

    Raises:
        UnknownName: there is no such agent, or the file has no ``AGENT``.
        MissingDependency: the agent needs a package that is not installed.
    """
    name = os.fspath(name)
    if name.endswith(".py"):
        return _agent_in_file(Path(name))
    for entry in entry_points(group=ENTRY_POINTS, name=name):
        try:
            agent = entry.load()
        except ModuleNotFoundError as error:
            raise MissingDependency(f"{name} needs {error.name}; pip install 'bioseq-gym[agents]'") from None
        if not isinstance(agent, Agent):
            raise UnknownName(f"the entry point {entry.value} of {name} is no Agent; mend the package that has it")
        return agent
    raise UnknownName.of("agent", name, agent_names(), "bioseq-gym run --help, or give the path of a .py file")


def _agent_in_file(path: Path) -> Agent:
    if not path.is_file():
        raise UnknownName(f"there is no file {path}; give an agent's name or the path of its .py file")
    name = f"_bioseq_gym_agent_{path.stem}"  # not the stem alone, which may be that of a module that is in use
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    if (folder := str(path.parent.resolve())) not in sys.path:
        sys.path.append(folder)
    spec.loader.exec_module(module)
    agent = getattr(module, "AGENT", None)
    if not isinstance(agent, Agent):
        raise UnknownName(f"{path} defines no agent; end it with AGENT = Agent('my-agent', run)")
    return agent
