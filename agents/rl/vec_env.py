"""Our vector environments as Stable-Baselines3 wants them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

Infos = list[dict[str, Any]]


class SequenceVecEnv(VecEnv):
    """A vector environment of bioseq_gym, under a budget or not, as a ``VecEnv``.

    It does what ``DummyVecEnv`` does with as many single environments, in one call. What differs:

    - Observations are small integers in a ``Box``, int16 (N, L): of a ``MultiDiscrete`` SB3 would make one-hot vectors,
      in a loop over positions. Embed them, see :class:`bioseq_gym.agents.rl.features.TokenFeatures`.
    - The information on a step holds ``TimeLimit.truncated`` and, at the end of an episode, its last information,
      ``terminal_observation`` and ``episode``: return ``r``, length ``l``, seconds ``t``, as ``Monitor`` has it.
    - There are no single environments behind it whose attributes could be set or whose methods called; only
      ``action_masks`` can be, where the environment reveals its constraints.
    - Options of ``reset`` are not passed on.

    Args:
        envs: from ``gymnasium.make_vec``; its episodes are reset in the step that ends them.
        flat_actions: of ``Ehrlich-v0``, make an action (position, token) one number, position * V + token. The
            ``action_masks`` are of these numbers then.
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any], flat_actions: bool = False) -> None:
        self.envs = envs
        tokens, actions = envs.single_observation_space, envs.single_action_space
        assert isinstance(tokens, spaces.MultiDiscrete)
        self._shape: tuple[int, ...] = ()
        if flat_actions:
            assert isinstance(actions, spaces.MultiDiscrete)
            self._shape = tuple(actions.nvec.tolist())
            actions = spaces.Discrete(int(actions.nvec.prod()))
        observations = spaces.Box(np.zeros(tokens.shape, np.int16), (tokens.nvec - 1).astype(np.int16), dtype=np.int16)
        super().__init__(envs.num_envs, observations, actions)
        self._returns = np.zeros(self.num_envs)
        self._lengths = np.zeros(self.num_envs, np.int64)
        self._masks: Any = None  # or (N, actions) int8
        self._started = time.monotonic()
        self._actions: NDArray[Any] = np.empty(0)

    def reset(self) -> NDArray[np.int16]:
        """Start every episode, with the seeds of :meth:`seed` if there were any since the last reset."""
        seeds: Any = self._seeds if any(seed is not None for seed in self._seeds) else None
        observations, infos = self.envs.reset(seed=seeds)
        self._reset_seeds()
        self._reset_options()
        self._returns[:] = 0.0
        self._lengths[:] = 0
        self._keep_masks(infos)
        return observations.astype(np.int16)

    def step_async(self, actions: NDArray[Any]) -> None:
        """Remember ``actions`` (N, ...)."""
        self._actions = np.stack(np.unravel_index(actions, self._shape), axis=-1) if self._shape else actions

    def step_wait(self) -> tuple[NDArray[np.int16], NDArray[np.float32], NDArray[np.bool_], Infos]:
        """Take them: observations (N, L), rewards (N,), whether each episode ended (N,), and information."""
        observations, rewards, terminated, truncated, infos = self.envs.step(self._actions)
        self._keep_masks(infos)
        self._returns += rewards
        self._lengths += 1
        dones = terminated | truncated
        each: Infos = [{"TimeLimit.truncated": False} for _ in range(self.num_envs)]
        for i in np.flatnonzero(dones).tolist():
            each[i] = {
                **_row(infos["final_info"], i),
                "TimeLimit.truncated": bool(truncated[i] and not terminated[i]),
                "terminal_observation": infos["final_obs"][i].astype(np.int16),
                "episode": {
                    "r": round(float(self._returns[i]), 6),
                    "l": int(self._lengths[i]),
                    "t": round(time.monotonic() - self._started, 6),
                },
            }
        self._returns[dones] = 0.0
        self._lengths[dones] = 0
        return observations.astype(np.int16), rewards.astype(np.float32), dones, each

    def close(self) -> None:
        """Close the environment behind it."""
        self.envs.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The attribute, N times: it is that of all episodes."""
        if attr_name == "action_masks":
            if self._masks is None:
                raise AttributeError("there are no action masks: the environment does not reveal its constraints")
            return [lambda i=i: self._masks[i] for i in self._get_indices(indices)]
        value = getattr(self.envs, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refused: see above."""
        raise AttributeError(f"can't set {attr_name!r}: there are no single environments")

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """``action_masks`` of each episode; nothing else can be called."""
        if method_name != "action_masks":
            raise AttributeError(f"can't call {method_name!r}: there are no single environments")
        return [mask() for mask in self.get_attr(method_name, indices)]

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        """False, N times."""
        return [False for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[NDArray[np.uint8]]:
        """A picture of each episode."""
        pictures: Any = self.envs.render()
        return list(pictures)

    def _keep_masks(self, infos: dict[str, Any]) -> None:
        """Masks of single numbers only: one for a position and one for a token can't say which pairs are feasible."""
        masks = infos.get("action_mask")
        if masks is not None and isinstance(self.action_space, spaces.Discrete):
            self._masks = masks.reshape(self.num_envs, -1)


def _row(infos: dict[str, Any], i: int) -> dict[str, Any]:
    """What ``infos``, of Gymnasium's vector form, say of episode ``i``."""
    return {key: value[i] for key, value in infos.items() if not key.startswith("_") and infos[f"_{key}"][i]}
