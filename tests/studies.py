"""Small studies made of values, without a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bioseq_gym import load_suite, load_task
from bioseq_gym.metrics import RegretCurve, feasible_share
from bioseq_gym.runs import Result
from bioseq_gym.study import Study

TASKS = (
    "ehrlich/ehr-V8-L12-c2-k3-q3-seed0",
    "ehrlich/ehr-V8-L12-c2-k3-q3-seed1",
    "ehrlich/ehr-V8-L16-c2-k4-q4-seed0",
)


def result(
    agent: str, task: str = TASKS[0], seed: int = 0, values: Sequence[float] = (0.0,), budget: int = 100, **config: Any
) -> Result:
    """The result of a run that was told ``values``."""
    return Result(
        task=task,
        agent=agent,
        config=json.dumps(config),
        constraints_known=False,
        seed=seed,
        budget=budget,
        evaluations=len(values),
        curve=RegretCurve.of(values),
        solution=np.ones(load_task(task).spec.L, np.int64),
        feasible=feasible_share(np.array(values)),
        distinct=1.0,
        diversity=0.5,
        wall_s=2.0,
    )


def results(agents: Sequence[str] = ("a", "b", "c"), seeds: int = 3) -> list[Result]:
    """Runs of 100 random values on three tasks; later agents are better."""
    rng = np.random.default_rng(0)
    return [
        result(agent, task, seed, np.where(rng.random(100) < 0.1, -np.inf, rng.random(100) ** (40 - 15 * i)))
        for i, agent in enumerate(agents)
        for task in TASKS
        for seed in range(seeds)
    ]


def study(agents: Sequence[str] = ("a", "b", "c"), seeds: int = 3) -> Study:
    """The study of :func:`results`."""
    return Study.of(results(agents, seeds))


def large(agents: int, seeds: int = 5, budget: int = 30_000, improvements: int = 15) -> Study:
    """A study on the six tasks of llome-6, in which curves have so many steps; earlier agents improve more."""
    rng, found = np.random.default_rng(1), []
    for i in range(agents):
        for task in load_suite("llome-6").tasks:
            for seed in range(seeds):
                steps = np.unique(np.geomspace(2, budget, improvements).astype(int) + rng.integers(0, 2, improvements))
                regrets = 1.0 - np.sort(rng.random(len(steps))) * (1.0 - i / (2.0 * agents))
                curve = RegretCurve(np.append(0, steps[:-1]), np.append(1.0, regrets[:-1]))
                made = result(f"agent-{i:03}", task, seed, budget=budget)
                found.append(replace(made, evaluations=budget, curve=curve, wall_s=float(rng.random())))
    return Study.of(found)
