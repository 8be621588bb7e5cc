"""Every environment keeps Gymnasium's contract, and each its own."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec, registry
from gymnasium.utils.env_checker import check_env

import bioseq_gym
from bioseq_gym import Ehrlich, EhrlichSpec, InvalidSequence, InvalidSpec, UnknownName, load_task
from bioseq_gym.envs import dynamics

Env = gymnasium.Env[Any, Any]

IDS = sorted(id for id, spec in registry.items() if str(spec.entry_point).startswith("bioseq_gym."))
every = pytest.mark.parametrize("id", IDS)

SIZES: dict[str, Any] = {"V": 8, "L": 10, "c": 2, "k": 3}
FUNCTION = Ehrlich(EhrlichSpec.from_seed(**SIZES))
START = FUNCTION.initial_solution()


def rollout(env: Env, actions: list[Any]) -> list[Any]:
    """What each of ``actions`` led to, in a form that compares."""
    seen: list[Any] = []
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(action)
        seen.append((np.asarray(observation).tolist(), reward, terminated, truncated, repr(info)))
        if terminated or truncated:
            observation, info = env.reset()
            seen.append((np.asarray(observation).tolist(), repr(info)))
    return seen


def sampled(env: Env, count: int, seed: int = 0) -> list[Any]:
    env.action_space.seed(seed)
    return [env.action_space.sample() for _ in range(count)]


# Every environment


def test_the_registry_holds_our_environments() -> None:
    assert IDS == ["Ehrlich-v0", "EhrlichBuild-v0", "EhrlichPropose-v0"]


@every
@pytest.mark.parametrize("render_mode", [None, "ansi", "rgb_array"])
def test_gymnasium_checker_finds_nothing(id: str, render_mode: str | None) -> None:
    check_env(gymnasium.make(id, render_mode=render_mode).unwrapped)


@every
def test_same_seed_and_actions_give_the_same_trajectory(id: str) -> None:
    trajectories = []
    for _ in range(2):
        env = gymnasium.make(id)
        observation, info = env.reset(seed=5)
        trajectories.append([(observation.tolist(), repr(info)), *rollout(env, sampled(env, 200))])
    assert trajectories[0] == trajectories[1]


@every
@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["deepcopy", "pickle"]
)
def test_a_copy_made_in_mid_episode_goes_on_alike(id: str, copied: Callable[[Env], Env]) -> None:
    env = gymnasium.make(id).unwrapped
    env.reset(seed=5)
    actions = sampled(env, 60)
    rollout(env, actions[:20])
    twin = copied(env)
    assert rollout(env, actions[20:]) == rollout(twin, actions[20:])
    assert env.np_random.random() == twin.np_random.random()


@every
def test_spec_survives_json(id: str) -> None:
    env = gymnasium.make(id, **SIZES, seed=3)
    assert env.spec is not None
    again = gymnasium.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.spec == env.spec
    env.reset(seed=0)
    again.reset(seed=0)
    actions = sampled(env, 50)
    assert rollout(env, actions) == rollout(again, actions)


@every
def test_spec_without_arguments_is_plain_data(id: str) -> None:
    spec = gymnasium.spec(id)
    assert EnvSpec.from_json(spec.to_json()) == spec


@every
def test_module_prefix_makes_the_same(id: str) -> None:
    assert type(gymnasium.make(f"bioseq_gym:{id}").unwrapped) is type(gymnasium.make(id).unwrapped)


@every
def test_spaces_hold_what_is_given_and_given_out(id: str) -> None:
    env = gymnasium.make(id)
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    for action in sampled(env, 100):
        observation, reward, terminated, truncated, _ = env.step(action)
        assert env.observation_space.contains(observation)
        assert np.isfinite(float(reward))
        if terminated or truncated:
            env.reset()


@every
def test_only_reset_seeds(id: str) -> None:
    env = gymnasium.make(id).unwrapped
    env.reset(seed=5)
    expected = np.random.Generator(np.random.PCG64(np.random.SeedSequence(5))).random(3).tolist()
    assert env.np_random.random() == expected[0]
    env.reset()
    assert env.np_random.random() == expected[1]
    before = pickle.dumps(np.random.get_state())  # noqa: NPY002
    rollout(env, sampled(env, 30))
    assert pickle.dumps(np.random.get_state()) == before  # noqa: NPY002
    assert env.np_random.random() == expected[2]


@every
def test_what_is_given_out_is_a_copy(id: str) -> None:
    env, spoilt = gymnasium.make(id).unwrapped, gymnasium.make(id).unwrapped
    for action in sampled(env, 100):
        expected, *_, terminated, truncated, _ = env.step(action)
        observation, *_ = spoilt.step(action)
        assert observation.tolist() == expected.tolist()
        observation[:] = 0
        if terminated or truncated:
            expected, _ = env.reset()
            observation, _ = spoilt.reset()
            assert observation.tolist() == expected.tolist()
            observation[:] = 0


@every
def test_the_loops_do_the_same_without_compilation(id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that they can be stepped through under NUMBA_DISABLE_JIT=1."""
    env, other = gymnasium.make(id, **SIZES), gymnasium.make(id, **SIZES)
    env.reset(seed=0)
    other.reset(seed=0)
    actions = sampled(env, 50)
    expected = rollout(env, actions)
    for name in ("first_out_of_range", "place_tokens", "settle_edits", "append_tokens"):
        loop = getattr(dynamics, name)
        monkeypatch.setattr(dynamics, name, getattr(loop, "py_func", loop))
    assert rollout(other, actions) == expected


# Ehrlich-v0


def make(**arguments: Any) -> Env:
    return gymnasium.make("Ehrlich-v0", **{**SIZES, **arguments})


def optimal_edits() -> list[tuple[int, int]]:
    """Edits (position, token) that lead from START to a sequence of value 1, all feasible; found breadth first."""
    goal = tuple(FUNCTION.optimal_solution())
    allowed = FUNCTION.spec.transition_matrix > 0
    came_from: dict[tuple[int, ...], tuple[tuple[int, ...], tuple[int, int]]] = {}
    seen, frontier = {tuple(START)}, [tuple(START)]
    while goal not in seen:
        grown = []
        for x in frontier:
            for position in range(len(x)):
                for token in {goal[position], *goal}:
                    y = (*x[:position], token, *x[position + 1 :])
                    if y not in seen and all(allowed[a, b] for a, b in pairwise(y)):
                        seen.add(y)
                        came_from[y] = (x, (position, int(token)))
                        grown.append(y)
        frontier = sorted(grown, key=lambda y: sum(a != b for a, b in zip(y, goal, strict=True)))[:200]
    edits, y = [], goal
    while y != tuple(START):
        y, edit = came_from[y]
        edits.append(edit)
    return edits[::-1]


def test_defaults_are_the_papers() -> None:
    env: Any = gymnasium.make("Ehrlich-v0").unwrapped
    expected = EhrlichSpec.from_seed(V=32, L=32, c=4, k=4, q=4, epistasis=0.0, seed=0)
    assert env._oracle._function.spec == expected
    assert env.action_space == gymnasium.spaces.MultiDiscrete([32, 32])
    assert env.observation_space == gymnasium.spaces.MultiDiscrete([32] * 32)
    assert env.horizon == 64


def test_arguments_are_the_papers() -> None:
    env: Any = gymnasium.make("Ehrlich-v0", L=128, c=8, k=8, q=4, epistasis=0.5, seed=9).unwrapped
    assert env._oracle._function.spec == EhrlichSpec.from_seed(32, 128, 8, 8, 4, 0.5, 9)
    assert env.observation_space == gymnasium.spaces.MultiDiscrete([32] * 128)
    assert env.horizon == 256


@pytest.mark.parametrize("name", ["llome/ehr-V32-L32-c4-k4-q4", "ehrlich/ehr-V8-L10-c2-k3-q3-seed4"])
def test_task_names_the_function(name: str) -> None:
    env: Any = gymnasium.make("Ehrlich-v0", task=name).unwrapped
    assert env._oracle._function.spec == load_task(name).spec
    assert env.reset()[0].tolist() == load_task(name).initial_solution.tolist()


BAD_ARGUMENTS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"task": "llome/ehr-V32-L32-c4-k4-q4", "L": 64}, InvalidSpec, "give task='llome/.*' or L, not both"),
    ({"task": "llome/ehr-V32-L32-c4-k4-q4", "seed": 0}, InvalidSpec, "or seed, not both"),
    ({"task": "llome/ehr-V32-L32-c4-k4"}, UnknownName, "Did you mean 'llome/ehr-V32-L32-c4-k4-q4'"),
    ({"V": 1}, InvalidSpec, "V is 1"),
    ({"L": 15}, InvalidSpec, "do not fit in L=15"),
    ({"k": 4, "q": 3}, InvalidSpec, "q=3 does not divide k=4"),
    ({"epistasis": 5.0}, InvalidSpec, r"epistasis is 5\.0"),
    ({"horizon": 0}, InvalidSpec, "horizon is 0; give an integer of at least 1"),
    ({"horizon": 2**31}, InvalidSpec, "horizon is 2147483648; give .* at most 2147483647"),
    ({"horizon": True}, InvalidSpec, "horizon is True"),
    ({"horizon": 2.5}, InvalidSpec, r"horizon is 2\.5"),
    ({"reveal_constraints": 1}, InvalidSpec, "reveal_constraints is 1; give True or False"),
    ({"horizons": 3}, InvalidSpec, "there is no argument 'horizons'; there are task, V, L, .*, render_mode, horizon"),
    ({"count": 3}, InvalidSpec, "there is no argument 'count'; there are task, V"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), BAD_ARGUMENTS, ids=lambda value: str(value)[:40])
def test_bad_arguments_are_refused(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        gymnasium.make("Ehrlich-v0", **arguments)


@every
def test_the_number_of_steps_is_called_horizon_where_there_is_one(id: str) -> None:
    hint = "give horizon instead" if id == "Ehrlich-v0" else "there are task, V"
    with pytest.raises(InvalidSpec, match=f"there is no argument 'max_episode_steps'; {hint}"):
        gymnasium.make_vec(id, num_envs=2, max_episode_steps=3)


@every
@pytest.mark.parametrize("entry_point", ["entry_point", "vector_entry_point"])
def test_the_signature_shows_the_arguments(id: str, entry_point: str) -> None:
    module, name = str(getattr(gymnasium.spec(id), entry_point)).split(":")
    parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    defaults = {key: parameter.default for key, parameter in parameters.items() if key not in ("num_envs", "arguments")}
    assert defaults == {
        **dict.fromkeys(["task", "V", "L", "c", "k", "q", "epistasis", "seed", "render_mode"]),
        "noise_std": 0.0,
        "reveal_constraints": False,
    }
    gymnasium.make(id, **defaults)


def test_unknown_render_mode_is_refused() -> None:
    from bioseq_gym.envs.ehrlich import EhrlichEnv

    with pytest.raises(InvalidSpec, match=r"render_mode is 'human'; give None or one of \['ansi', 'rgb_array'\]"):
        EhrlichEnv(render_mode="human")


def test_an_edit_puts_one_token_and_gains_the_difference() -> None:
    env = make()
    x, info = env.reset(seed=0)
    assert (x.tolist(), info) == (START.tolist(), {"value": FUNCTION(START[None])[0], "feasible": True})
    value = info["value"]
    for position, token in sampled(env, 19):
        edited = x.copy()
        edited[position] = token
        new = FUNCTION(edited[None])[0]
        x_after, reward, terminated, truncated, info = env.step((position, token))
        if new == -np.inf:  # refused
            assert (x_after.tolist(), reward, info) == (x.tolist(), 0.0, {"value": value, "feasible": False})
        else:
            assert (x_after.tolist(), reward, info) == (edited.tolist(), new - value, {"value": new, "feasible": True})
            value = new
        assert (terminated, truncated) == (value >= 1.0, False)
        x = x_after


def test_random_edits_are_feasible_and_infeasible() -> None:
    """Else the test above would see one side only."""
    env = make()
    env.reset()
    assert {env.step(action)[-1]["feasible"] for action in sampled(env, 19)} == {True, False}


def test_episode_ends_at_the_optimum_and_its_rewards_add_up() -> None:
    env = make(horizon=1000)
    env.reset(seed=0)
    edits = optimal_edits()
    steps = [env.step(edit) for edit in edits]
    assert all(info["feasible"] for *_, info in steps)
    assert [terminated for _, _, terminated, _, _ in steps] == [info["value"] == 1.0 for *_, info in steps]
    assert steps[-1][2:] == (True, False, {"value": 1.0, "feasible": True})
    total = sum(float(reward) for _, reward, *_ in steps)
    assert total == pytest.approx(1.0 - FUNCTION(START[None])[0], abs=1e-12)
    assert env.reset()[0].tolist() == START.tolist()


@pytest.mark.parametrize(("arguments", "horizon"), [({}, 20), ({"horizon": 1}, 1), ({"horizon": np.int64(7)}, 7)])
def test_episode_is_truncated_at_the_horizon(arguments: dict[str, Any], horizon: int) -> None:
    env = make(**arguments)
    for _ in range(2):  # a reset starts the count again
        env.reset()
        ends = [env.step((0, START[0]))[2:4] for _ in range(horizon)]
        assert ends == [(False, False)] * (horizon - 1) + [(False, True)]


def test_the_last_step_that_finds_the_optimum_terminates_only() -> None:
    edits = optimal_edits()
    env = make(horizon=len(edits))
    env.reset()
    *_, last = [env.step(edit) for edit in edits]
    assert last[2:4] == (True, False)


def test_an_optimal_start_terminates_at_the_first_step() -> None:
    env = make(c=1, k=1, seed=3)
    assert env.reset()[1]["value"] == 1.0
    spec = EhrlichSpec.from_seed(**{**SIZES, "c": 1, "k": 1}, seed=3)
    start = Ehrlich(spec).initial_solution()
    refused = (spec.transition_matrix[start[0]] == 0).argmax()
    assert env.step((1, refused))[1:] == (0.0, True, False, {"value": 1.0, "feasible": False})


@pytest.mark.parametrize(
    "action",
    [
        (10, 0),
        (0, 8),
        (-1, 0),
        (0, -1),
        (0,),
        (0, 0, 0),
        3,
        None,
        "ab",
        (0.0, 1.0),
        (True, False),
        [[0], [1, 2]],
        [[0, 1]],
    ],
    ids=str,
)
def test_action_out_of_range_is_refused_and_changes_nothing(action: Any) -> None:
    env = make(horizon=2).unwrapped
    env.reset()
    with pytest.raises(InvalidSequence, match=r"the action is .*; give"):
        env.step(action)
    assert env.step((0, START[0]))[0].tolist() == START.tolist()
    assert env.step((0, START[0]))[3] is True  # the refused action was no step


@pytest.mark.parametrize("dtype", ["u1", "i2", ">i4", "u8"])
def test_actions_of_any_integer_dtype(dtype: str) -> None:
    env = make()
    env.reset()
    assert env.step(np.array([9, START[9]], dtype))[0].tolist() == START.tolist()


def test_initial_solution_of_the_environment_is_read_only() -> None:
    env: Any = make().unwrapped
    with pytest.raises(ValueError, match="read-only"):
        env.initial_solution[0] = 1


def test_importing_registers() -> None:
    assert bioseq_gym.__version__
    assert registry["Ehrlich-v0"].entry_point == "bioseq_gym.envs.ehrlich:EhrlichEnv"
    assert registry["Ehrlich-v0"].vector_entry_point == "bioseq_gym.envs.vector:EhrlichVectorEnv"
