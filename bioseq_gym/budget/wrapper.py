"""The wrappers that every agent works under."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import ArrayLike, NDArray

from bioseq_gym.budget.ledger import Ledger
from bioseq_gym.budget.oracle import MeteredOracle, Oracle
from bioseq_gym.errors import InvalidBudget


class _Budget:
    """What both wrappers offer: the meter in front of the function, and what may be known of the task."""

    def _charge(self, env: Any, max_evaluations: int, ledger: Ledger | str | os.PathLike[str] | None) -> None:
        """Put ``env``, which is one of ours, under a budget."""
        self._core = env.unwrapped
        self._meter: MeteredOracle = self._core._oracle.metered(max_evaluations, ledger)
        self._core._oracle = self._meter
        _forget_spec(env)

    def evaluate(self, x: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Score a batch.

        Args:
            x: (B, L) tokens of any integer dtype, B >= 1.

        Returns:
            Values (B,), float64, -inf where infeasible; and whether each row is feasible, (B,) bool.

        Raises:
            InvalidSequence: a wrong dtype, shape or token.
            BudgetExhausted: more new rows than are left; nothing was scored or charged.
        """
        values = self._meter.evaluate(x, self._core.draw_noise_of_first)
        return values, values > -np.inf

    @property
    def remaining(self) -> int:
        """Evaluations that are left."""
        return self._meter.remaining

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do: the budget is spent or a value of 1, the optimum, was found.

        Repeats are free, so an agent that asks nothing new is never done: see that it changes something. With noise a
        value of 1 is no proof of the optimum, and only a spent budget counts.
        """
        solved = max(self.ledger.best_value, self.initial_value) >= 1.0 and not self.ledger.repeats_charged
        return self.remaining <= 0 or solved

    @property
    def ledger(self) -> Ledger:
        """What was asked and answered so far."""
        return self._meter.ledger

    @property
    def directory(self) -> Path | None:
        """Where an agent may keep files of its own, beside the ledger: what it learned, say. None if that is in memory.

        An agent that goes on from such files calls :meth:`Ledger.skip_to`. It makes the directory itself.
        """
        return None if self.ledger.path is None else self.ledger.path.with_name("agent")

    @property
    def vocabulary_size(self) -> int:
        """V: tokens are 0 .. V-1."""
        return self._meter.ledger.V

    @property
    def length(self) -> int:
        """L: the number of tokens in a sequence."""
        return self._meter.ledger.L

    @property
    def initial_solution(self) -> NDArray[np.int64]:
        """(L,) the task's feasible start."""
        start: NDArray[np.int64] = self._core.initial_solution.copy()
        return start

    @property
    def initial_value(self) -> float:
        """The value of the start, given free."""
        value: float = self._core.initial_value
        return value


class EvaluationBudget(_Budget, gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment of bioseq_gym with a fixed number of evaluations.

    Reinforcement learning uses :meth:`step`, batch optimizers use :meth:`evaluate`; both write the same ledger. Each
    distinct sequence is charged once, infeasible ones too, and the initial solution where it is asked; repeats and
    resets are free. When nothing is left, ``step`` truncates the episode with ``info["budget_exhausted"]`` and
    ``evaluate`` raises. With noise repeats are charged like all rows, and ``evaluate`` draws from the environment's
    generator. The budget holds for ``env.unwrapped`` as well, can't be given twice, and neither wrapper nor environment
    can be deep-copied or pickled. Motifs, optimum and transition matrix are in no attribute of what is reachable from
    here, and ``spec`` is None, since it would name them. That keeps honest agents honest; against others there is the
    replay, see a board's page.

    Args:
        env: an environment of bioseq_gym without a budget.
        max_evaluations: the number of distinct sequences that may be scored, at least 1.
        ledger: a :class:`Ledger`, or the path of its file, made if it does not exist; by default one in memory.

    Raises:
        InvalidBudget: the budget is not positive, the env is not one of bioseq_gym or has a budget already.
        InvalidLedger: see :class:`Ledger`.

    Example:
        >>> env = EvaluationBudget(gymnasium.make("Ehrlich-v0", L=32), max_evaluations=1000)
        >>> values, feasible = env.evaluate(env.initial_solution[None])
        >>> env.remaining
        999
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        max_evaluations: int,
        ledger: Ledger | str | os.PathLike[str] | None = None,
    ) -> None:
        if not (isinstance(env, gymnasium.Env) and _is_ours(env)):
            raise InvalidBudget(
                f"{env} is not an environment of bioseq_gym; make one with gym.make('Ehrlich-v0'), or give one from "
                "gym.make_vec to VectorEvaluationBudget"
            )
        super().__init__(env)
        self._charge(env, max_evaluations, ledger)

    def close(self) -> None:
        """Close the ledger and the environment."""
        self.ledger.close()
        super().close()


class VectorEvaluationBudget(_Budget, VectorWrapper[Any, Any, Any, Any, Any]):
    """A vector environment of bioseq_gym with a fixed number of evaluations: :class:`EvaluationBudget` for N at a time.

    All sub-environments share one budget and one ledger. A :meth:`step` whose new sequences do not fit in what is left
    scores none of them: it truncates every sub-environment, with ``infos["budget_exhausted"]`` True for all. With noise
    ``evaluate`` draws from the first sub-environment's generator.

    Args:
        env: a vector environment of bioseq_gym without a budget, from ``gymnasium.make_vec``.
        max_evaluations: the number of distinct sequences that may be scored, at least 1.
        ledger: a :class:`Ledger`, or the path of its file, made if it does not exist; by default one in memory.

    Raises:
        InvalidBudget: the budget is not positive, the env is not one of bioseq_gym or has a budget already.
        InvalidLedger: see :class:`Ledger`.

    Example:
        >>> envs = VectorEvaluationBudget(gymnasium.make_vec("Ehrlich-v0", num_envs=8, L=32), max_evaluations=1000)
        >>> observations, infos = envs.reset(seed=0)
        >>> observations, rewards, terminated, truncated, infos = envs.step(envs.action_space.sample())
        >>> envs.remaining
        992
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        max_evaluations: int,
        ledger: Ledger | str | os.PathLike[str] | None = None,
    ) -> None:
        if not (isinstance(env, VectorEnv) and _is_ours(env)):
            raise InvalidBudget(
                f"{env} is not a vector environment of bioseq_gym; make one with "
                "gym.make_vec('Ehrlich-v0', num_envs=8), or give one from gym.make to EvaluationBudget"
            )
        super().__init__(env)
        self._charge(env, max_evaluations, ledger)

    def close(self, **arguments: Any) -> None:
        """Close the ledger and the environment."""
        self.ledger.close()
        super().close(**arguments)


def _is_ours(env: Any) -> bool:
    return isinstance(getattr(env.unwrapped, "_oracle", None), (Oracle, MeteredOracle))


def _forget_spec(env: Any) -> None:
    """Drop the EnvSpec, which names the function, from the environment and from the wrappers that may have kept it."""
    while env is not env.unwrapped:
        env._cached_spec = None
        env = env.env
    env.spec = None
