"""The vector environments do what N single ones do, and keep Gymnasium's contract for vectors."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import DtypeObservation as DtypeSingleObservation
from gymnasium.wrappers.vector import ClipReward, DtypeObservation, RecordEpisodeStatistics, TransformAction

from bioseq_gym import InvalidSequence, InvalidSpec

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
    """The same structure, types and numbers."""
    assert type(ours) is type(theirs), where
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), where
        for key in ours:
            assert_same(ours[key], theirs[key], f"{where}/{key}")
    elif ours is None:
        assert theirs is None, where
    elif ours.dtype == object:
        assert len(ours) == len(theirs), where
        for i, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(mine, other, f"{where}/{i}")
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


@every
def test_make_vec_gives_the_native_environment(id: str) -> None:
    env = native(id)
    assert type(env).__module__ == "bioseq_gym.envs.vector"
    assert (env.num_envs, env.metadata["autoreset_mode"]) == (N, AutoresetMode.SAME_STEP)
    single = gymnasium.make(id, **sized(id, {}))
    assert (env.single_action_space, env.single_observation_space) == (single.action_space, single.observation_space)
    observations, _ = env.reset(seed=0)
    assert env.observation_space.contains(observations)
    env.action_space.seed(0)
    observations, rewards, *flags, _ = env.step(env.action_space.sample())
    assert env.observation_space.contains(observations)
    assert (rewards.dtype, rewards.shape) == (np.float64, (N,))
    assert [(flag.dtype, flag.shape) for flag in flags] == [(np.bool_, (N,))] * 2
    env.close()


@every
def test_what_a_vector_gives_out_is_a_copy(id: str) -> None:
    env, spoilt = native(id, reveal_constraints=True), native(id, reveal_constraints=True)
    env.reset(seed=0)
    for array in arrays(spoilt.reset(seed=0)):
        spoil(array)
    env.action_space.seed(0)
    for _ in range(20):
        actions = env.action_space.sample()
        expected, given = env.step(actions), spoilt.step(actions.copy())
        assert_same(list_of(given), list_of(expected), "step")
        for array in arrays(given):
            spoil(array)


def spoil(array: Any) -> None:
    """Write into ``array``; the successors, N times one array, can't be written."""
    assert array.flags.writeable or array.shape == (N, 4, 4)
    if array.flags.writeable:
        array[:] = 1


def arrays(item: Any) -> list[Any]:
    if item is None or (isinstance(item, np.ndarray) and item.dtype != object):
        return [] if item is None else [item]
    return [array for part in (item.values() if isinstance(item, dict) else item) for array in arrays(part)]


@every
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["copy", "pickle"])
def test_a_copy_goes_on_alike(id: str, copied: Callable[[Any], Any]) -> None:
    env = native(id, noise_std=0.1)
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(30)]
    for action in actions[:10]:
        env.step(action)
    twin = copied(env)
    for action in actions[10:]:
        assert_same(list_of(env.step(action)), list_of(twin.step(action)), "step")


@every
def test_a_mask_resets_some(id: str) -> None:
    env = native(id, noise_std=0.1)
    env.reset(seed=0)
    env.action_space.seed(0)
    before = env.step(env.action_space.sample())[0]
    mask = np.arange(N) % 2 == 0
    options = {"reset_mask": mask}
    observations, infos = env.reset(seed=5, options=options)
    start = native(id).reset()[0]
    assert observations.tolist() == np.where(mask[:, None], start, before).tolist()
    assert all(infos[key].tolist() == mask.tolist() for key in infos if key.startswith("_"))
    assert options == {"reset_mask": mask}
    seeds = env.np_random_seed
    assert seeds == tuple(5 + i if mask[i] else i for i in range(N))  # type: ignore[comparison-overlap]


def test_building_goes_on_at_different_lengths() -> None:
    """After a partial reset the sequences are completed at different steps."""
    env = native("EhrlichBuild-v0", num_envs=2)
    single = gymnasium.make("EhrlichBuild-v0", **SIZES)
    env.reset()
    env.step([1, 1])
    env.reset(options={"reset_mask": np.array([True, False])})
    ends = []
    for token in [0, 1, 2, 3, 0, 1]:
        _, rewards, terminated, _, infos = env.step([token, token])
        ends.append(terminated.tolist())
        assert infos.get("_final_obs", np.zeros(2, bool)).tolist() == terminated.tolist()
    assert ends == [[False, False]] * 4 + [[False, True], [True, False]]
    single.reset()
    assert [single.step(token) for token in [0, 1, 2, 3, 0, 1]][-1][1] == rewards[0]


@pytest.mark.parametrize(
    "mask", [np.zeros(N, bool), np.ones(N - 1, bool), np.ones(N, int), "all", [True, [1]]], ids=str
)
def test_a_bad_mask_is_refused(mask: Any) -> None:
    with pytest.raises(InvalidSpec, match=rf"reset_mask is .*; give \({N},\) booleans"):
        native("Ehrlich-v0").reset(options={"reset_mask": mask})


@pytest.mark.parametrize("options", [[1], [], "x", 5, {"reset_masks": np.ones(N, bool)}], ids=str)
def test_bad_options_are_refused(options: Any) -> None:
    with pytest.raises(InvalidSpec, match=r"options is .*; give None or a dict whose only key is 'reset_mask'"):
        native("Ehrlich-v0").reset(options=options)


@pytest.mark.parametrize(
    "seed",
    [
        [1, 2],
        -1,
        [0] * (N - 1) + [-1],
        [0.5] * N,
        [True] * N,
        np.zeros((N, 2), int),
        1.5,
        "x",
        "1234567",
        set(range(N)),
        True,
        np.array(5),
    ],
    ids=str,
)
def test_a_bad_seed_is_refused(seed: Any) -> None:
    env = native("Ehrlich-v0")
    env.reset(seed=3)
    with pytest.raises(InvalidSpec, match=r"(?s)seed.*; give (one integer|integers of at least 0)"):
        env.reset(seed=seed)
    assert env.np_random_seed == tuple(range(3, 3 + N))  # type: ignore[comparison-overlap]


@pytest.mark.parametrize("seed", [np.int64(250), np.uint8(250), range(250, 250 + N), np.arange(250, 250 + N), None])
def test_seeds_of_any_integer_type(seed: Any) -> None:
    env = native("Ehrlich-v0")
    env.reset(seed=250)
    env.reset(seed=seed)
    assert env.np_random_seed == tuple(range(250, 250 + N))  # type: ignore[comparison-overlap]


@pytest.mark.parametrize("num_envs", [0, -1, 2.0, True, 2**31, 2**62])
def test_a_bad_number_of_environments_is_refused(num_envs: Any) -> None:
    with pytest.raises(InvalidSpec, match=r"num_envs is .*; give an integer of at least 1 and at most 2147483647"):
        native("Ehrlich-v0", num_envs=num_envs)


BAD_ACTIONS: list[tuple[str, Any, str]] = [
    ("Ehrlich-v0", np.zeros((N, 3), int), r"of shape \(7, 2\)"),
    ("Ehrlich-v0", np.zeros((N - 1, 2), int), r"of shape \(7, 2\)"),
    ("Ehrlich-v0", np.zeros((N, 2)), "array of integers"),
    ("Ehrlich-v0", [[0, 0]] * 3 + [[6, 0]] + [[0, 0]] * 3, r"of sub-environment 3 is .*; give \(position, token\)"),
    ("Ehrlich-v0", [[0, 0]] * 6 + [[0, -1]], r"of sub-environment 6"),
    ("EhrlichBuild-v0", [0, 1, 2, 3, 4, 0, 0], r"of sub-environment 4 is .*; give a token, 0 <= token < 4"),
    ("EhrlichBuild-v0", 0, r"of shape \(7,\)"),
    ("EhrlichPropose-v0", np.full((N, 6), 4), "of sub-environment 0 is .*; give 6 tokens"),
    ("EhrlichPropose-v0", np.zeros((N, 5), int), r"of shape \(7, 6\)"),
]


@pytest.mark.parametrize(("id", "actions", "message"), BAD_ACTIONS, ids=lambda value: str(value)[:20])
def test_bad_actions_are_refused_and_change_nothing(id: str, actions: Any, message: str) -> None:
    env, other = native(id), native(id)
    env.reset(seed=0)
    other.reset(seed=0)
    with pytest.raises(InvalidSequence, match=message):
        env.step(actions)
    good = np.zeros(env.action_space.shape or (), int)
    assert_same(list_of(env.step(good)), list_of(other.step(good)), "step")


@every
@pytest.mark.parametrize("render_mode", ["ansi", "rgb_array"])
def test_rendering_a_vector_is_rendering_each(id: str, render_mode: str) -> None:
    """Over several episodes, of which some are reset in mid-course: each picture's curve is of its own episode."""
    horizon = {"horizon": 3} if id == "Ehrlich-v0" else {}
    env, other = native(id, render_mode=render_mode, **horizon), sync(id, render_mode=render_mode, **horizon)
    env.action_space.seed(0)
    mask = np.arange(N) % 3 == 0
    for t in range(10):
        if t in (0, 5):
            options = {"reset_mask": mask if t else np.ones(N, bool)}
            env.reset(seed=0, options=options)
            other.reset(seed=0, options=dict(options))  # it takes the mask out
        else:
            actions = env.action_space.sample()
            env.step(actions)
            other.step(actions)
        for i, (ours, theirs) in enumerate(zip(pictures(env), pictures(other), strict=True)):
            assert np.array_equal(ours, theirs), (t, i)


def pictures(env: VectorEnv[Any, Any, Any]) -> tuple[Any, ...]:
    rendered = env.render()
    assert isinstance(rendered, tuple)
    return rendered


@every
def test_rendering_without_a_mode_warns(id: str) -> None:
    plain = native(id)
    plain.reset()
    with pytest.warns(UserWarning, match="without a render_mode"):
        assert plain.render() is None


# Gymnasium's wrappers


def test_vector_wrappers_of_actions_rewards_and_statistics_work() -> None:
    plain = native("Ehrlich-v0")
    env = ClipReward(TransformAction(RecordEpisodeStatistics(native("Ehrlich-v0")), lambda actions: actions), 0.0, 0.1)
    plain.reset(seed=0)
    env.reset(seed=0)
    env.action_space.seed(0)
    lengths = []
    for _ in range(20):
        actions = env.action_space.sample()
        expected, (observations, rewards, *flags, infos) = plain.step(actions), env.step(actions)
        assert observations.tolist() == expected[0].tolist()
        assert rewards.tolist() == np.clip(expected[1], 0.0, 0.1).tolist()
        assert [flag.tolist() for flag in flags] == [flag.tolist() for flag in expected[2:4]]
        if "episode" in infos:
            lengths += infos["episode"]["l"][infos["_episode"]].tolist()
    assert max(lengths) == 9


def test_vector_wrappers_of_observations_refuse_the_same_step_mode_and_sync_is_the_way_out() -> None:
    with pytest.raises(ValueError, match=r"Expected autoreset_mode to be .*, got AutoresetMode\.SAME_STEP"):
        DtypeObservation(native("Ehrlich-v0"), np.int32)
    env = gymnasium.make_vec(
        "Ehrlich-v0",
        num_envs=2,
        vectorization_mode="sync",
        wrappers=[lambda single: DtypeSingleObservation(single, np.int32)],
    )
    assert env.reset()[0].dtype == np.int32
