"""The vector environments do what N single ones do, and keep Gymnasium's contract for vectors."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

IDS = ["Ehrlich-v0", "EhrlichBuild-v0", "EhrlichPropose-v0"]
every = pytest.mark.parametrize("id", IDS)

SIZES: dict[str, Any] = {"V": 4, "L": 6, "c": 1, "k": 3}
N = 7


def sized(id: str, arguments: dict[str, Any]) -> dict[str, Any]:
    horizon = {"horizon": 9} if id == "Ehrlich-v0" else {}  # so that some episodes reach it and some the optimum
    return {**SIZES, **horizon, **arguments}


def native(id: str, num_envs: int = N, **arguments: Any) -> VectorEnv[Any, Any, Any]:
    return gymnasium.make_vec(id, num_envs=num_envs, **sized(id, arguments))


def sync(id: str, **arguments: Any) -> SyncVectorEnv:
    """N single environments, stepped one by one by Gymnasium."""
    return SyncVectorEnv(
        [lambda: gymnasium.make(id, **sized(id, arguments))] * N, autoreset_mode=AutoresetMode.SAME_STEP
    )


def assert_same(ours: Any, theirs: Any, where: str) -> None:
    """The same structure, types and numbers; only ``final_obs`` may be an array of objects on their side."""
    assert type(ours) is type(theirs), where
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), where
        for key in ours:
            if key == "final_obs":
                rows = theirs["_final_obs"]
                np.testing.assert_array_equal(ours[key][rows], np.stack(theirs[key][rows]), where)
                assert (ours[key][~rows] == 0).all(), where
            else:
                assert_same(ours[key], theirs[key], f"{where}/{key}")
    else:
        assert ours.dtype == theirs.dtype, where
        np.testing.assert_array_equal(ours, theirs, where)


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "noise": {"noise_std": 0.3},
    "revealed": {"reveal_constraints": True},
    "both": {"noise_std": 0.1, "reveal_constraints": True, "epistasis": 0.5, "seed": 3, "c": 2},
}


@every
@pytest.mark.parametrize("arguments", CASES.values(), ids=CASES)
@pytest.mark.parametrize("seed", [4, [3, 1, 4, 1, 5, 9, 2]], ids=["int", "list"])
def test_one_vector_environment_is_n_single_ones(id: str, arguments: dict[str, Any], seed: Any) -> None:
    """Observations, rewards, flags, infos and what ended episodes leave, over several episodes of each."""
    ours, theirs = native(id, **arguments), sync(id, **arguments)
    for each in (seed, None):  # a second reset, without a seed, goes on with the same generators
        assert_same(list_of(ours.reset(seed=each)), list_of(theirs.reset(seed=each)), "reset")
        ours.action_space.seed(0)
        for t in range(60):
            actions = ours.action_space.sample()
            assert_same(list_of(ours.step(actions)), list_of(theirs.step(actions)), f"step {t}")
    assert [g.random() for g in ours.np_random] == [g.random() for g in theirs.np_random]  # type: ignore[attr-defined]


def list_of(result: tuple[Any, ...]) -> dict[str, Any]:
    return {str(i): part for i, part in enumerate(result)}


def test_the_case_above_sees_every_kind_of_step() -> None:
    """Ends by the horizon and by the optimum, refused edits, steps in which some end and some do not."""
    env = native("Ehrlich-v0")
    env.reset(seed=4)
    env.action_space.seed(0)
    steps = [env.step(env.action_space.sample()) for _ in range(60)]
    ended = np.array([terminated | truncated for _, _, terminated, truncated, _ in steps])
    assert np.any([terminated for _, _, terminated, *_ in steps])
    assert np.any([truncated for *_, truncated, _ in steps])
    assert (ended.any(axis=1) & ~ended.all(axis=1)).any()
    assert {bool(f) for *_, infos in steps for f in infos["feasible"]} == {True, False}
