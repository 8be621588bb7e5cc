"""N episodes in one call: the vector environments behind ``gymnasium.make_vec``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from bioseq_gym.envs.base import RENDER_MODES, Episodes, documented
from bioseq_gym.envs.dynamics import BuildDynamics, EditDynamics, ProposeDynamics, positive
from bioseq_gym.errors import InvalidSpec

Infos = dict[str, Any]


class SequenceVectorEnv(Episodes, VectorEnv[NDArray[np.int64], ArrayLike, NDArray[Any]]):
    """N episodes of one environment, stepped together by array operations: no loop over sub-environments in Python.

    Sub-environment i does what the single environment does, step by step: ``reset(seed=s)`` seeds it with ``s + i``,
    and a list seeds each by itself. What differs is Gymnasium's convention for vectors, in its same-step mode:

    - An episode that ends is reset in the same step: the observation is the new episode's first.
      ``infos["final_obs"]`` and ``infos["final_info"]`` hold what the ended episode's last step gave, in the rows where
      ``infos["_final_obs"]`` and ``infos["_final_info"]`` (N,) are True.
    - Each entry ``infos[key]`` is an array (N, ...) with a mask ``infos["_" + key]`` of the rows that have one.
    - ``infos["final_obs"]`` (N,) is an array of objects, each (L,) or None. The other arrays hold zeros where their
      mask is False.
    - Gymnasium's vector wrappers of actions, rewards and statistics work; those of observations refuse every same-step
      environment. Transform in the agent, or give wrappers of single environments:
      ``make_vec(id, vectorization_mode="sync", wrappers=[...])``.
    - Since the reset comes before ``render()``, pictures of ``EhrlichPropose-v0`` always show the start, and those of
      ``EhrlichBuild-v0`` never a full sequence.
    - ``reset(options={"reset_mask": mask})`` resets some rows only; there are no other options.
    - Under a :class:`VectorEvaluationBudget`, a step whose new sequences do not fit truncates every episode.
      ``infos["budget_exhausted"]`` is True for all, in ``infos`` and in ``infos["final_info"]``.

    With ``noise_std`` > 0 the noise of each sub-environment comes from a generator of its own, and drawing it is a
    loop over them in Python.

    Args:
        num_envs: N.
        task: as in the single environment, as are all ``arguments``.
    """

    metadata = {"render_modes": RENDER_MODES, "render_fps": 4, "autoreset_mode": AutoresetMode.SAME_STEP}

    @documented
    def __init__(self, num_envs: int = 1, task: str | None = None, **arguments: Any) -> None:
        self.num_envs = positive(num_envs, "num_envs")
        super().__init__(self.num_envs, task, **arguments)
        self.single_action_space = self._dynamics.action_space
        self.single_observation_space = self._dynamics.observation_space
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self._streams = _Streams(self.num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.int64], Infos]:
        """Start every episode, or those of ``options["reset_mask"]`` (N,); free of charge.

        Args:
            seed: s for s, s + 1, ... s + N - 1; or one for each; None leaves the generators as they are.
            options: see above.

        Raises:
            InvalidSpec: a seed, an option or its name is none of these; nothing was reset.
        """
        which = self._checked_mask(options)
        self._streams.seed(seed, which)
        self._begin(which)
        infos: Infos = {}
        if self._dynamics.always_valued:
            infos = self._infos(("value", "feasible"), which)
        return self._dynamics.observations(), self._with_masks(infos, which)

    def step(
        self, actions: ArrayLike
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], Infos]:
        """Take ``actions`` (N, ...), one for each episode. Raises InvalidSequence if one is not in the action space."""
        dynamics, episodes = self._dynamics, self._dynamics.episodes
        funded = self._advance(dynamics.checked(actions, (self.num_envs,)))
        rewards, terminated = episodes["reward"].copy(), episodes["terminated"].copy()
        truncated = episodes["truncated"].copy()
        ended = terminated | truncated
        infos = self._finish(ended, funded) if ended.any() else {}
        everyone = np.ones(self.num_envs, np.bool_)
        if dynamics.always_valued:
            infos |= self._infos(("value", "feasible"), everyone)
        if not funded:
            infos |= _exhausted(everyone)
        return dynamics.observations(), rewards, terminated, truncated, self._with_masks(infos, everyone)

    def _finish(self, ended: NDArray[np.bool_], funded: bool) -> Infos:
        """Reset the ``ended`` episodes; return what their last step gave."""
        final_obs = np.full(self.num_envs, None)
        final_obs[ended] = np.fromiter(self._dynamics.tokens[ended].astype(np.int64), object)  # rows
        final: Infos = {}
        if self._dynamics.always_valued or funded:
            final = self._infos(("value", "feasible"), ended)
        if not funded:
            final |= _exhausted(ended)
        final = self._with_masks(final, ended)
        self._begin(ended)
        return {"final_obs": final_obs, "_final_obs": ended, "final_info": final, "_final_info": ended.copy()}

    def _infos(self, names: tuple[str, ...], which: NDArray[np.bool_]) -> Infos:
        """Those fields of the episodes in ``which``, zeros elsewhere."""
        infos: Infos = {}
        for name in names:
            infos[name] = self._dynamics.episodes[name].copy()
            infos[name][~which] = 0
            infos[f"_{name}"] = which.copy()
        return infos

    def _with_masks(self, infos: Infos, which: NDArray[np.bool_]) -> Infos:
        if self.reveal_constraints:
            for name, mask in self._dynamics.masks().items():
                if not which.all():
                    mask = mask.copy()
                    mask[~which] = 0
                infos |= {name: mask, f"_{name}": which.copy()}
        return infos

    def render(self) -> tuple[Any, ...] | None:
        """A picture of each episode, see the single environment."""
        if self.render_mode is None:
            gymnasium.logger.warn("render() was called without a render_mode; make the env with render_mode='ansi'")
            return None
        return tuple(self._frame(i) for i in range(self.num_envs))

    def draw_noise(self, rows: NDArray[np.intp] | None, count: int) -> NDArray[np.float64] | None:
        """See :class:`Episodes`. A loop, since each sub-environment draws from a generator of its own."""
        if not self.noise_std:
            return None
        drawn = [self._streams[i].standard_normal() for i in (range(count) if rows is None else rows.tolist())]
        return self.noise_std * np.array(drawn)

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """The generator of each sub-environment."""
        return tuple(self._streams[i] for i in range(self.num_envs))

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """The seed of each of them."""
        return tuple(self._streams.seed_of(i) for i in range(self.num_envs))

    def _checked_mask(self, options: Any) -> NDArray[np.bool_]:
        """The episodes to be reset, as ``options`` say."""
        if options is None:
            options = {}
        if not isinstance(options, dict) or not options.keys() <= {"reset_mask"}:
            raise InvalidSpec(f"options is {options!r}; give None or a dict whose only key is 'reset_mask'")
        mask = options.get("reset_mask")
        if mask is None:
            return np.ones(self.num_envs, np.bool_)
        try:
            given = np.array(mask)
        except ValueError:  # ragged
            given = np.empty(0)
        if given.shape != (self.num_envs,) or given.dtype != np.bool_ or not given.any():
            raise InvalidSpec(f"reset_mask is {mask!r}; give ({self.num_envs},) booleans with at least one True")
        return given


class EhrlichVectorEnv(SequenceVectorEnv):
    """N times :class:`~bioseq_gym.envs.ehrlich.EhrlichEnv`; see :class:`SequenceVectorEnv`."""

    dynamics_class = EditDynamics


class EhrlichBuildVectorEnv(SequenceVectorEnv):
    """N times :class:`~bioseq_gym.envs.build.EhrlichBuildEnv`; see :class:`SequenceVectorEnv`."""

    dynamics_class = BuildDynamics


class EhrlichProposeVectorEnv(SequenceVectorEnv):
    """N times :class:`~bioseq_gym.envs.propose.EhrlichProposeEnv`; see :class:`SequenceVectorEnv`."""

    dynamics_class = ProposeDynamics


class _Streams:
    """The generators of N environments, each made when it is first needed: most runs have no noise and need none."""

    def __init__(self, count: int) -> None:
        self._generators: list[np.random.Generator | None] = [None] * count
        self._seeds: list[int | None] = [None] * count

    def __getitem__(self, i: int) -> np.random.Generator:
        generator = self._generators[i]
        if generator is None:
            generator, self._seeds[i] = seeding.np_random(self._seeds[i])
            self._generators[i] = generator
        return generator

    def seed_of(self, i: int) -> int:
        self[i]
        seed = self._seeds[i]
        assert seed is not None
        return seed

    def seed(self, seed: Any, which: NDArray[np.bool_]) -> None:
        """Seed the generators in ``which`` anew, except those whose seed is None."""
        if seed is None:
            return
        count = len(self._seeds)
        if _is_integer(seed):
            seeds: list[Any] = [int(seed) + i for i in range(count)]
        elif isinstance(seed, (list, tuple, range)) or (isinstance(seed, np.ndarray) and seed.ndim):
            seeds = list(seed)
        else:
            raise InvalidSpec(f"seed is {seed!r}; give one integer, or a list of one for each of the {count} episodes")
        if len(seeds) != count:
            raise InvalidSpec(
                f"there are {len(seeds)} seeds; give one integer, or one for each of the {count} episodes"
            )
        for each in seeds:
            if each is not None and (not _is_integer(each) or each < 0):
                raise InvalidSpec(f"a seed is {each!r}; give integers of at least 0")
        for i in np.flatnonzero(which).tolist():
            if seeds[i] is not None:
                self._seeds[i], self._generators[i] = int(seeds[i]), None


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _exhausted(which: NDArray[np.bool_]) -> Infos:
    return {"budget_exhausted": which.copy(), "_budget_exhausted": which.copy()}
