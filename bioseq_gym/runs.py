"""A run: an agent spends a budget on a task, and a directory keeps all that its result needs.

``manifest.json`` says what was run and what came out; ``ledger.bin`` is what was asked and answered.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from bioseq_gym.agent import AGENT_NAME, Agent, check_config
from bioseq_gym.budget import AnyBudget, EvaluationBudget, Ledger, VectorEvaluationBudget
from bioseq_gym.envs import ENVIRONMENTS
from bioseq_gym.errors import BudgetExhausted, InvalidBudget, InvalidConfig, InvalidLedger, InvalidRun
from bioseq_gym.files import write_whole
from bioseq_gym.labels import agent_label
from bioseq_gym.metrics import CHECKPOINTS, RegretCurve, distinct_share, diversity, feasible_share
from bioseq_gym.rounds import Round
from bioseq_gym.suite import Task, load_task

logger = logging.getLogger("bioseq_gym.runs")

MANIFEST, LEDGER = "manifest.json", "ledger.bin"
FORMAT = 2
_PACKAGES = ("bioseq-gym", "gymnasium", "numpy", "numba", "torch", "transformers", "stable-baselines3", "sb3-contrib")
_IDENTITY = ("format", "task", "digest", "agent", "environment", "config", "seed", "budget")

Manifest = dict[str, Any]
Monitor = Callable[[AnyBudget], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Run:
    """A run directory that was read.

    Attributes:
        path: the directory.
        manifest: what the run states about itself; nothing in it is proof.
        ledger: what was asked and answered.
    """

    path: Path
    manifest: Manifest
    ledger: Ledger


@dataclass(frozen=True, eq=False)
class Result:
    """One run, as the numbers of a table and a picture; the ledger is not kept.

    Attributes:
        task, agent, seed, budget: what was run.
        config: the agent's settings, as canonical JSON.
        constraints_known: whether the agent was shown which actions are feasible.
        evaluations: distinct sequences that were scored, at most ``budget``.
        curve: simple regret.
        solution: (L,) the first of its best sequences, the initial solution if nothing better was found.
        feasible, distinct, diversity: see :mod:`bioseq_gym.metrics`.
        wall_s: seconds, as the run states them: the one number that no replay can check. NaN of a part of a run.
        rounds: what an agent that works in rounds says of each, see :mod:`bioseq_gym.rounds`.
    """

    task: str
    agent: str
    config: str
    constraints_known: bool
    seed: int
    budget: int
    evaluations: int
    curve: RegretCurve
    solution: NDArray[np.int64]
    feasible: float
    distinct: float
    diversity: float
    wall_s: float
    rounds: Sequence[Round] = ()

    @classmethod
    def of(cls, run: Run, budget: int | None = None) -> Result:
        """The numbers of a run, computed from its ledger; of its first ``budget`` evaluations, if given."""
        manifest, task = run.manifest, load_task(run.manifest["task"])
        budget = manifest["budget"] if budget is None else budget
        sequences, values = run.ledger.sequences[:budget], run.ledger.values[:budget]
        curve = RegretCurve.of(values, task.initial_value)
        best = curve.evaluations[-1] - 1
        return cls.stated(
            manifest,
            budget,
            evaluations=len(values),
            curve=curve,
            solution=task.initial_solution if best < 0 else sequences[best].astype(np.int64),
            feasible=feasible_share(values),
            distinct=distinct_share(run.ledger.asked_counts[:budget]),
            diversity=diversity(sequences, values),
        )

    @classmethod
    def stated(cls, manifest: Manifest, budget: int, **numbers: Any) -> Result:
        """A result of the run of ``manifest`` on ``budget``, with the fields from ``evaluations`` to ``diversity``."""
        spent = manifest.get("cut_from", manifest.get("evaluations"))
        return cls(
            task=manifest["task"],
            agent=manifest["agent"],
            config=json.dumps(manifest["config"], sort_keys=True),
            constraints_known=manifest["environment"]["reveal_constraints"],
            seed=manifest["seed"],
            budget=budget,
            wall_s=manifest["wall_s"] if spent == numbers["evaluations"] else np.nan,
            **numbers,
        )

    @cached_property
    def area(self) -> float:
        """The area over the convergence curve up to the budget, see :meth:`RegretCurve.area_over`."""
        return self.curve.area_over(self.budget)

    @property
    def label(self) -> str:
        """The agent's name in a table."""
        return agent_label(self.agent, self.constraints_known)


def run_agent(
    agent: Agent,
    task: Task,
    *,
    budget: int,
    seed: int,
    out: str | os.PathLike[str],
    config: Any = None,
    resume: bool = False,
    monitor: Monitor = lambda env: nullcontext(),
) -> Run:
    """Let ``agent`` spend ``budget`` evaluations on ``task`` and write the run directory ``out``.

    Args:
        agent: the agent.
        task: the task.
        budget: distinct sequences that may be scored, at least 1.
        seed: of the agent.
        out: the run directory; made, with its parents.
        config: the agent's settings; by default ``agent.config``.
        resume: go on with the run in ``out`` if there is one. The agent starts again and is answered from the ledger,
            free of charge, up to where the run was cut. A finished run is returned as it is.
        monitor: called with the budgeted env; the context that it returns is entered while the agent works.

    Returns:
        The finished run.

    Raises:
        InvalidRun: ``out`` exists and ``resume`` is False, the run in it has other settings, or ``task`` is not the
            published one of its name.
        InvalidBudget: ``budget`` is not positive.
        InvalidConfig: a setting or the seed is out of range.
        InvalidLedger: the ledger in ``out`` is damaged or in use.
    """
    path = Path(out)
    config = agent.config if config is None else config
    new = _new_manifest(agent, task, config, budget, seed)
    if path.exists() and _manifest_to_resume(path, new, resume)["status"] == "finished":
        return read_run(path)
    path.mkdir(parents=True, exist_ok=True)
    if not (path / MANIFEST).exists():
        write_manifest(path, new)  # before there is a ledger, which without a manifest could not be resumed
    env = make_env(agent, task, budget, path / LEDGER)
    with closing(env):  # which has the ledger's lock
        manifest = _manifest_to_resume(path, new, resume=True)  # anew: until now another process could be at work
        if manifest["status"] == "finished":
            return read_run(path)
        manifest["sessions"] += 1
        write_manifest(path, manifest)
        started = time.perf_counter()
        try:
            with monitor(env):
                agent.run(env, seed, config)
        except BudgetExhausted:
            pass  # the agent asked until it was told to stop
        finally:
            manifest["wall_s"] = round(manifest["wall_s"] + time.perf_counter() - started, 3)
            write_manifest(path, manifest)
    if env.ledger.diverged or env.ledger.position < len(env.ledger):
        logger.warning(
            "%s went on with a run that was cut, but asked something else than before: was its code changed? "
            "The result is of both; for one of a single code remove %s and start again",
            agent.name,
            path,
        )
    # a process that goes on with a run may ask less than the one that was cut did
    asked = max([env.ledger.asked, *env.ledger.asked_counts[-1:].tolist()])
    manifest |= {"status": "finished", "asked": asked, **outcome(task, env.ledger, budget)}
    write_manifest(path, manifest)
    return Run(path, manifest, env.ledger)


def make_env(agent: Agent, task: Task, budget: int, ledger: Ledger | str | os.PathLike[str] | None = None) -> AnyBudget:
    """The environment on ``task`` that ``agent`` works in, under ``budget``; see :class:`EvaluationBudget`."""
    arguments: dict[str, Any] = {"task": task.name, "reveal_constraints": agent.reveal_constraints}
    if agent.num_envs:
        envs = gymnasium.make_vec(agent.env_id, num_envs=agent.num_envs, **arguments)
        return VectorEvaluationBudget(envs, budget, ledger)
    return EvaluationBudget(gymnasium.make(agent.env_id, **arguments), budget, ledger)


def outcome(task: Task, ledger: Ledger, budget: int) -> Manifest:
    """The numbers of a result, computed from the ledger; the regret at the checkpoints that the budget reaches."""
    values = ledger.values
    return {
        "evaluations": len(ledger),
        "calls": int(ledger.call_numbers[-1]) if len(ledger) else 0,
        **regret_numbers(RegretCurve.of(values, task.initial_value), budget),
        "feasible_share": feasible_share(values),
        "ledger_sha256": hashlib.sha256(ledger.to_bytes()).hexdigest(),
    }


def regret_numbers(curve: RegretCurve, budget: int) -> Manifest:
    """Those of the numbers of :func:`outcome` that its curve of regret gives."""
    return {
        "best_value": 1.0 - curve.last,
        "simple_regret": curve.last,
        "simple_regret_at": {str(n): float(curve.at(n)) for n in CHECKPOINTS if n <= budget},
    }


def read_run(path: str | os.PathLike[str]) -> Run:
    """The run in a directory.

    Raises:
        InvalidRun: there is no such directory, or its manifest is missing, is no JSON or was edited.
        InvalidLedger: its ledger is missing, damaged, cut, or of a function with noise.
    """
    manifest = read_manifest(Path(path))
    ledger = Ledger.read(Path(path) / LEDGER)
    if ledger.repeats_charged:
        raise InvalidLedger(f"the ledger in {path} is of a function with noise, and a run is without; make it anew")
    return Run(Path(path), manifest, ledger)


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Write the manifest with its own checksum, all or nothing."""
    text = json.dumps(sealed(manifest), indent=2, sort_keys=True, allow_nan=False)
    write_whole(directory / MANIFEST, text + "\n")


def sealed(manifest: Manifest) -> Manifest:
    """The manifest with its own checksum, as a file holds it and :func:`check_manifest` takes it."""
    content = {key: value for key, value in manifest.items() if key != "sha256"}
    return {**content, "sha256": _checksum(content)}


def parse_manifest(text: str | bytes, name: str) -> Manifest:
    """The manifest in ``text``, called ``name`` in errors. Raises InvalidRun if it is no manifest or was edited."""
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidRun(f"{name} is not JSON; restore it, or run the agent again") from None
    return check_manifest(manifest, name)


def check_manifest(content: Any, name: str) -> Manifest:
    """``content``, parsed JSON, as a manifest, without its checksum. Raises as :func:`parse_manifest` does."""
    manifest = dict(content) if isinstance(content, dict) else content
    if not isinstance(manifest, dict) or not is_format(manifest.get("format"), FORMAT):
        raise InvalidRun(f"{name} is not a manifest of format {FORMAT}; run the agent again with this version")
    if manifest.pop("sha256", None) != _checksum(manifest):
        raise InvalidRun(f"{name} was edited: its checksum does not fit. Restore it, or run the agent again")
    if wrong := invalid_fields(manifest):
        raise InvalidRun(f"{name} has no valid {', '.join(wrong)}; run the agent again")
    return manifest


def invalid_fields(manifest: Manifest) -> list[str]:
    """The fields that every manifest has and that are missing or out of range in this one."""
    return [key for key, is_valid in _FIELDS.items() if not is_valid(manifest.get(key))]


def is_format(value: Any, expected: int) -> bool:
    """Whether parsed JSON is the integer ``expected``; true is not 1, and 2.0 is not 2."""
    return type(value) is int and value == expected


def is_count(value: Any) -> bool:
    """Whether parsed JSON is an integer from 0 to 2^63 - 1."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_environment(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"id", "num_envs", "reveal_constraints"}
        and value["id"] in ENVIRONMENTS
        and is_count(value["num_envs"])
        and isinstance(value["reveal_constraints"], bool)
    )


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "status": lambda value: value in ("running", "finished"),
    "task": lambda value: isinstance(value, str),
    "digest": lambda value: isinstance(value, str),
    "agent": lambda value: isinstance(value, str) and AGENT_NAME.fullmatch(value) is not None,
    "environment": _is_environment,
    "config": lambda value: isinstance(value, dict),
    "seed": is_count,
    "budget": lambda value: is_count(value) and value > 0,
    "wall_s": lambda value: type(value) in (int, float) and 0.0 <= value < 1e12,  # which NaN is not
}


def _checksum(manifest: Manifest) -> str:
    """Against accidents only: who wants to lie writes a fitting one. What counts is the replay of the ledger."""
    canonical = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def read_manifest(path: Path) -> Manifest:
    """The manifest in a run directory. Raises InvalidRun if there is none, or it is no manifest or was edited."""
    try:
        text = (path / MANIFEST).read_bytes()
    except OSError:
        raise InvalidRun(f"{path} is not a run directory: it has no {MANIFEST}; see bioseq-gym run --help") from None
    return parse_manifest(text, str(path / MANIFEST))


def check_budget(budget: Any) -> None:
    """Raise InvalidBudget for what is no budget of a run."""
    if not is_count(budget) or budget < 1:
        raise InvalidBudget(f"the budget is {budget!r}; give an integer of at least 1 and below 2^63")


def _new_manifest(agent: Agent, task: Task, config: Any, budget: int, seed: int) -> Manifest:
    check_budget(budget)
    if not is_count(seed):
        raise InvalidConfig(f"the seed is {seed!r}; give an integer of at least 0 and below 2^63")
    check_config(agent.name, config)
    if load_task(task.name).digest != task.digest:
        raise InvalidRun(f"the task {task.name} is another function than the published one; give it by its name")
    return {
        "format": FORMAT,
        "status": "running",
        "task": task.name,
        "digest": task.digest,
        "agent": agent.name,
        "environment": {
            "id": agent.env_id,
            "num_envs": agent.num_envs,
            "reveal_constraints": agent.reveal_constraints,
        },
        "config": asdict(config),
        "seed": seed,
        "budget": budget,
        "sessions": 0,
        "wall_s": 0.0,
        "versions": {"python": platform.python_version(), **_installed_versions()},
        "hardware": {"system": platform.system(), "machine": platform.machine(), "cores": os.cpu_count()},
    }


def _installed_versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _manifest_to_resume(path: Path, new: Manifest, resume: bool) -> Manifest:
    if not resume:
        raise InvalidRun(f"{path} exists already; give another --out, or --resume to go on with the run in it")
    if path.is_dir() and not any(path.iterdir()):
        return new
    old = read_manifest(path)
    if changed := [key for key in _IDENTITY if old.get(key) != new[key]]:
        raise InvalidRun(
            f"the run in {path} has another {' and '.join(changed)}; resume it with the settings that it was started "
            "with, or give another --out"
        )
    return old
