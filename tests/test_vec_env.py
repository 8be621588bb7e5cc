"""The environment as Stable-Baselines3 wants it, beside DummyVecEnv of as many single environments."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import TimeLimit
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from bioseq_gym import EvaluationBudget, Ledger, VectorEvaluationBudget
from bioseq_gym.agents.rl.vec_env import SequenceVecEnv

N = 5
FUNCTION: dict[str, Any] = {"V": 4, "L": 6, "c": 1, "k": 3, "seed": 1}
KINDS: dict[str, dict[str, Any]] = {
    "Ehrlich-v0": {"horizon": 9},
    "EhrlichBuild-v0": {"reveal_constraints": True},
    "EhrlichPropose-v0": {},
}


def many(env_id: str, **arguments: Any) -> SequenceVecEnv:
    return SequenceVecEnv(gymnasium.make_vec(env_id, num_envs=N, **FUNCTION, **KINDS[env_id], **arguments))


def singles(env_id: str, **arguments: Any) -> DummyVecEnv:
    return DummyVecEnv(
        [lambda: Monitor(gymnasium.make(env_id, **FUNCTION, **KINDS[env_id], **arguments)) for _ in range(N)]
    )


def draw(envs: SequenceVecEnv, rng: np.random.Generator) -> np.ndarray:
    """Actions of all environments, from a generator of ours: SB3's spaces draw one at a time."""
    space = envs.action_space
    if isinstance(space, gymnasium.spaces.Discrete):
        return rng.integers(space.n, size=N)
    assert isinstance(space, gymnasium.spaces.MultiDiscrete)
    return rng.integers(space.nvec, size=(N, len(space.nvec)))


def assert_same_ends(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    """Of the episodes that ended, all that SB3 reads and all that the environment says."""
    for mine, other in zip(ours, theirs, strict=True):
        assert mine["TimeLimit.truncated"] is bool(other["TimeLimit.truncated"])
        assert ("terminal_observation" in mine) == ("terminal_observation" in other)
        if "terminal_observation" in mine:
            assert mine["terminal_observation"].tolist() == other["terminal_observation"].tolist()
            assert {key: mine["episode"][key] for key in "rl"} == {key: other["episode"][key] for key in "rl"}
            assert 0.0 <= mine["episode"]["t"] < 60.0
            assert (mine["value"], mine["feasible"]) == (other["value"], other["feasible"])


def masks_of(envs: DummyVecEnv, reset: bool) -> list[Any]:
    """The masks for the next step, which are in one place after an episode's end and in another within it."""
    begun = [reset or "terminal_observation" in info for info in envs.buf_infos]
    infos = [envs.reset_infos[i] if begun[i] else envs.buf_infos[i] for i in range(N)]
    return [info["action_mask"].tolist() for info in infos]


@pytest.mark.parametrize("noise_std", [0.0, 0.1])
@pytest.mark.parametrize("env_id", KINDS)
def test_it_does_what_single_environments_do(env_id: str, noise_std: float) -> None:
    """With noise the rewards tell whether each environment got its own seed."""
    ours, theirs, rng = (
        many(env_id, noise_std=noise_std),
        singles(env_id, noise_std=noise_std),
        np.random.default_rng(0),
    )
    assert ours.seed(7) == theirs.seed(7)
    ends = 0
    for steps in (150, 151):  # the second part starts in the middle of episodes, without seeds
        assert ours.reset().tolist() == theirs.reset().tolist()
        for step in range(steps):
            if KINDS[env_id].get("reveal_constraints"):
                assert get_action_masks(ours).tolist() == masks_of(theirs, step == 0)
            actions = draw(ours, rng)
            observations, rewards, dones, infos = ours.step(actions)
            others = theirs.step(actions)
            assert observations.tolist() == others[0].tolist()
            assert rewards.dtype == others[1].dtype == np.float32
            assert rewards.tolist() == others[1].tolist()
            assert dones.tolist() == others[2].tolist()
            assert_same_ends(infos, others[3])
            ends += int(dones.sum())
    assert ends > 2 * N


def test_observations_are_in_their_space_and_new_arrays() -> None:
    for env_id in KINDS:
        envs, rng = many(env_id), np.random.default_rng(0)
        first = envs.reset()
        kept = first.copy()
        for _ in range(20):
            observations, *_ = envs.step(draw(envs, rng))
            assert all(envs.observation_space.contains(row) for row in observations)
        assert (first == kept).all()
        assert envs.observation_space.high.max() == (4 if env_id == "EhrlichBuild-v0" else 3)  # type: ignore[attr-defined]


def test_a_flat_action_is_a_position_and_a_token() -> None:
    flat = SequenceVecEnv(gymnasium.make_vec("Ehrlich-v0", num_envs=N, **FUNCTION), flat_actions=True)
    pairs = SequenceVecEnv(gymnasium.make_vec("Ehrlich-v0", num_envs=N, **FUNCTION))
    assert flat.action_space == gymnasium.spaces.Discrete(6 * 4)
    flat.reset()
    pairs.reset()
    rng = np.random.default_rng(0)
    for _ in range(100):
        actions = rng.integers(6 * 4, size=N)
        one, two = flat.step(actions), pairs.step(np.stack([actions // 4, actions % 4], axis=1))
        assert [array.tolist() for array in one[:3]] == [array.tolist() for array in two[:3]]


def test_a_flat_mask_says_which_edits_are_kept() -> None:
    envs = SequenceVecEnv(gymnasium.make_vec("Ehrlich-v0", num_envs=N, **FUNCTION, reveal_constraints=True), True)
    before, rng, seen = envs.reset(), np.random.default_rng(0), set()
    for _ in range(200):
        masks, actions = get_action_masks(envs), rng.integers(6 * 4, size=N)
        assert masks.shape == (N, 6 * 4)
        after, _, dones, _ = envs.step(actions)
        for i in np.flatnonzero(~dones):
            position, token = divmod(actions[i], 4)
            if before[i, position] != token:
                assert (after[i, position] == token) == masks[i, actions[i]]
                seen.add(int(masks[i, actions[i]]))
        before = after
    assert seen == {0, 1}


@pytest.mark.parametrize("env_id", KINDS)
def test_with_a_budget_that_ends_it_does_so_until_a_step_does_not_fit(env_id: str) -> None:
    """The single environments share a ledger; theirs ends in the middle of a step, and ours before it."""
    arguments, shared = {**FUNCTION, **KINDS[env_id]}, Ledger(*digest_of(FUNCTION))
    envs = VectorEvaluationBudget(gymnasium.make_vec(env_id, num_envs=N, **arguments), 83)
    ours = SequenceVecEnv(envs)
    theirs = DummyVecEnv([lambda: EvaluationBudget(gymnasium.make(env_id, **arguments), 83, shared) for _ in range(N)])
    rng = np.random.default_rng(0)
    assert ours.reset().tolist() == theirs.reset().tolist()
    for _ in range(2000):
        before, actions = envs.ledger.to_bytes(), draw(ours, rng)
        observations, rewards, dones, infos = ours.step(actions)
        others = theirs.step(actions)
        if "budget_exhausted" in infos[0]:
            break
        assert [a.tolist() for a in (observations, rewards, dones)] == [a.tolist() for a in others[:3]]
        assert envs.ledger.sequences.tolist() == shared.sequences.tolist()
    assert any(info.get("budget_exhausted") for info in others[3])
    assert 0 <= envs.remaining < N
    assert envs.ledger.to_bytes() == before
    assert dones.all()
    assert (rewards == 0.0).all()
    assert all(info["budget_exhausted"] and info["TimeLimit.truncated"] for info in infos)
    assert all("terminal_observation" in info and "episode" in info for info in infos)
    assert observations.tolist() == ours.reset().tolist()


def digest_of(function: dict[str, Any]) -> tuple[str, int, int]:
    ledger = EvaluationBudget(gymnasium.make("Ehrlich-v0", **function), 1).ledger
    return ledger.digest, ledger.V, ledger.L


def test_masks_are_there_only_where_they_say_what_is_feasible() -> None:
    hidden = SequenceVecEnv(gymnasium.make_vec("EhrlichBuild-v0", num_envs=N, **FUNCTION))
    pairs = SequenceVecEnv(gymnasium.make_vec("Ehrlich-v0", num_envs=N, **FUNCTION, reveal_constraints=True))
    for envs in (hidden, pairs):
        envs.reset()
        assert not is_masking_supported(envs)
        with pytest.raises(AttributeError, match="there are no action masks"):
            get_action_masks(envs)
    shown = VecNormalize(many("EhrlichBuild-v0"), norm_obs=False)
    shown.reset()
    assert is_masking_supported(shown)
    assert get_action_masks(shown).shape == (N, 4)


def test_there_are_no_single_environments_behind_it() -> None:
    envs = many("Ehrlich-v0")
    assert envs.get_attr("num_envs") == [N] * N
    assert envs.get_attr("render_mode", indices=[1, 2]) == [None, None]
    assert envs.env_is_wrapped(TimeLimit) == [False] * N
    with pytest.raises(AttributeError, match="can't set 'horizon'"):
        envs.set_attr("horizon", 3)
    with pytest.raises(AttributeError, match="can't call 'render'"):
        envs.env_method("render")


def test_pictures_are_those_of_the_environment() -> None:
    images = many("Ehrlich-v0", render_mode="rgb_array").get_images()
    assert len(images) == N
    assert all(image is not None and image.dtype == np.uint8 and image.ndim == 3 for image in images)
