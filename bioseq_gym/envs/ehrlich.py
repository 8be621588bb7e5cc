"""``Ehrlich-v0``: edit a feasible sequence, one token at a time."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from bioseq_gym.budget.oracle import MeteredOracle, Oracle
from bioseq_gym.envs.rendering import render_text
from bioseq_gym.errors import BudgetExhausted, InvalidSequence, InvalidSpec
from bioseq_gym.suite import Task, generated_task, load_task

PAPER_DEFAULTS = {"V": 32, "L": 32, "c": 4, "k": 4}


class EhrlichEnv(gymnasium.Env[NDArray[np.int64], NDArray[np.int64]]):
    """Edit a feasible sequence, one token at a time, to raise the value of an Ehrlich function.

    ## Description
    The state is a feasible sequence x of L tokens. Each step puts one token at one position. The value f(x) is a
    product over c hidden motifs of how much of each motif x holds, 0 <= f <= 1, and a hidden transition matrix forbids
    some neighbours (Stanton et al., arXiv 2407.00236). An edit that would make x infeasible is refused.

    ## Action Space
    ``MultiDiscrete([L, V])``: ``(position, token)``.

    ## Observation Space
    ``MultiDiscrete([V] * L)``: the sequence, int64.

    ## Rewards
    The gain in f. An infeasible edit gains 0. The rewards of an episode add up to f(last) - f(first).

    ## Starting State
    The task's initial solution, always the same.

    ## Episode End
    Terminated when f reaches 1. Truncated after ``horizon`` steps, and when an :class:`EvaluationBudget` around the
    environment has nothing left for a sequence that is new.

    ## Information
    ``value``: f of the current sequence, float. ``feasible``: whether the last edit was feasible, bool.
    ``budget_exhausted``: True, only when that ended the episode.

    ## Arguments
    ``task``: a name for :func:`bioseq_gym.load_task`; or else the numbers of ``EhrlichSpec.from_seed``:
    ``V`` = 32 states, ``L`` = 32 positions, ``c`` = 4 motifs of ``k`` = 4 elements, ``q`` = k levels,
    ``epistasis`` = 0, ``seed`` = 0 of the instance (not of the episodes: that is ``reset(seed=...)``).
    ``horizon``: steps in an episode, 2 L by default. ``render_mode``: None or ``"ansi"``.

    ```python
    >>> env = gymnasium.make("Ehrlich-v0", L=128)
    >>> env = gymnasium.make("Ehrlich-v0", task="llome/ehr-V32-L32-c4-k4-q4", render_mode="ansi")
    ```

    ## Version History
    * v0: first version.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 4}

    def __init__(
        self,
        task: str | None = None,
        *,
        V: int | None = None,
        L: int | None = None,
        c: int | None = None,
        k: int | None = None,
        q: int | None = None,
        epistasis: float | None = None,
        seed: int | None = None,
        horizon: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        given = {"V": V, "L": L, "c": c, "k": k, "q": q, "epistasis": epistasis, "seed": seed}
        resolved = resolve_task(task, {name: value for name, value in given.items() if value is not None})
        self._oracle: Oracle | MeteredOracle = Oracle(resolved.function)
        self.initial_solution: NDArray[np.int64] = resolved.initial_solution
        self.initial_solution.setflags(write=False)
        self.initial_value = resolved.initial_value
        self.V, self.L = resolved.spec.V, resolved.spec.L
        self.horizon = 2 * self.L if horizon is None else _positive(horizon, "horizon")
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise InvalidSpec(f"render_mode is {render_mode!r}; give None or one of {self.metadata['render_modes']}")
        self.render_mode = render_mode
        self.action_space = spaces.MultiDiscrete([self.L, self.V])
        self.observation_space = spaces.MultiDiscrete([self.V] * self.L)
        self._tokens = self.initial_solution.copy()
        self._value = self.initial_value
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.int64], dict[str, Any]]:
        """Go back to the initial solution; free of charge."""
        super().reset(seed=seed)
        self._tokens = self.initial_solution.copy()
        self._value = self.initial_value
        self._steps = 0
        return self._tokens.copy(), {"value": self._value, "feasible": True}

    def step(self, action: ArrayLike) -> tuple[NDArray[np.int64], float, bool, bool, dict[str, Any]]:
        """Put token ``action[1]`` at position ``action[0]``. Raises InvalidSequence for an action out of range."""
        position, token = self._checked(action)
        self._steps += 1
        edited = self._tokens.copy()
        edited[position] = token
        try:
            value = float(self._oracle.evaluate(edited[None])[0])
        except BudgetExhausted:
            info = {"value": self._value, "feasible": True, "budget_exhausted": True}
            return self._tokens.copy(), 0.0, False, True, info
        feasible = value > -np.inf
        gain = 0.0
        if feasible:
            gain = value - self._value
            self._tokens, self._value = edited, value
        terminated = self._value >= 1.0
        info = {"value": self._value, "feasible": feasible}
        return self._tokens.copy(), gain, terminated, self._steps >= self.horizon and not terminated, info

    def render(self) -> str | None:
        """The sequence, its value and, unless a budget is in force, the motif elements found, as text."""
        if self.render_mode is None:
            gymnasium.logger.warn("render() was called without a render_mode; make the env with render_mode='ansi'")
            return None
        return render_text(self._tokens, self._value, self._steps, self._oracle.best_matches(self._tokens))

    def _checked(self, action: ArrayLike) -> tuple[int, int]:
        try:
            pair = np.asarray(action)
        except ValueError:  # ragged
            pair = np.empty(0)
        if pair.shape != (2,) or pair.dtype.kind not in "iu":
            raise InvalidSequence(f"the action is {action!r}; give two integers (position, token)")
        position, token = int(pair[0]), int(pair[1])
        if not (0 <= position < self.L and 0 <= token < self.V):
            raise InvalidSequence(f"the action is {action!r}; give 0 <= position < {self.L} and 0 <= token < {self.V}")
        return position, token


def resolve_task(task: str | None, numbers: dict[str, Any]) -> Task:
    """The named task, or the generated one of ``numbers`` and the paper's defaults."""
    if task is None:
        return generated_task(**{**PAPER_DEFAULTS, **numbers})
    if numbers:
        raise InvalidSpec(f"give task={task!r} or {', '.join(numbers)}, not both: the task fixes them")
    return load_task(task)


def _positive(value: int, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise InvalidSpec(f"{name} is {value!r}; give an integer of at least 1")
    return int(value)
