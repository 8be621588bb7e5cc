"""The environments beside CartPole's."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from statistics import median
from typing import Any

import gymnasium
from conftest import InTurns
from table import Measured, Record, ratio

import bioseq_gym  # noqa: F401 - registers the environments

STEPS = 5000
NUM_ENVS = 1024
VECTOR_STEPS = 50


def play(env: gymnasium.Env[Any, Any], actions: Iterable[Any]) -> None:
    for action in actions:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()


def drawn(env: gymnasium.Env[Any, Any], steps: int) -> Iterable[Any]:
    return (env.action_space.sample() for _ in range(steps))


def step_all(envs: gymnasium.vector.VectorEnv[Any, Any, Any], actions: list[Any]) -> None:
    for action in actions:
        envs.step(action)


def speed(steps: int, seconds: list[float]) -> str:
    rate = steps / median(seconds)
    return f"{rate / 1e6:.3g} M steps/s" if rate >= 1e6 else f"{rate / 1e3:.3g} k steps/s"


def test_an_environment(in_turns: InTurns, record: Record) -> None:
    pair = [gymnasium.make("Ehrlich-v0", L=128), gymnasium.make("CartPole-v1")]
    programs: list[Any] = []
    for env in pair:
        env.reset(seed=0)
        env.action_space.seed(0)
        programs.append((partial(play, env, list(drawn(env, STEPS))), 1))
    programs += [(lambda env=env: play(env, drawn(env, STEPS)), 1) for env in pair]
    ours, theirs, ours_drawing, theirs_drawing = in_turns(15, *programs)
    value, spread = ratio(theirs, ours)
    note = (
        "one thread, random actions that were drawn before, resets included; with `action_space.sample()` in the loop "
        f"{speed(STEPS, ours_drawing)} against {speed(STEPS, theirs_drawing)}, "
        f"{ratio(theirs_drawing, ours_drawing)[0]:.3g}x"
    )
    record("env", Measured(value, speed(STEPS, ours), speed(STEPS, theirs), spread, note))


def test_a_vector_environment(in_turns: InTurns, record: Record) -> None:
    pair = [
        gymnasium.make_vec("Ehrlich-v0", num_envs=NUM_ENVS, L=128),
        gymnasium.make_vec("CartPole-v1", num_envs=NUM_ENVS, vectorization_mode="vector_entry_point"),
    ]
    programs = []
    for envs in pair:
        envs.reset(seed=0)
        envs.action_space.seed(0)
        programs.append((partial(step_all, envs, [envs.action_space.sample() for _ in range(VECTOR_STEPS)]), 2))
    ours, theirs = in_turns(15, *programs)
    value, spread = ratio(theirs, ours)
    steps = NUM_ENVS * VECTOR_STEPS
    note = "random actions that were drawn before, autoresets included, one thread; a step of all counts 1024"
    record("vector-speed", Measured(steps / median(ours) / 1e6, speed(steps, ours), note=note))
    record("vector", Measured(value, speed(steps, ours), speed(steps, theirs), spread))
