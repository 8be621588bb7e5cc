"""What the three environments have in common, single and vectorised: arguments, oracle, dynamics, noise, pictures."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import gymnasium
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bioseq_gym.budget.oracle import MeteredOracle, Oracle
from bioseq_gym.envs.dynamics import Dynamics
from bioseq_gym.envs.picture import TRACE_POINTS, draw
from bioseq_gym.envs.rendering import render_text
from bioseq_gym.errors import BudgetExhausted, InvalidSpec
from bioseq_gym.suite import Task, generated_task, load_task

PAPER_DEFAULTS = {"V": 32, "L": 32, "c": 4, "k": 4}
RENDER_MODES = ["ansi", "rgb_array"]

_Init = TypeVar("_Init", bound=Callable[..., None])
_LARGEST_NOISE = 1e6
_NO_VALUES = np.empty(0)


class Episodes:
    """N episodes over one function.

    Args:
        count: N.
        task: a name for :func:`bioseq_gym.load_task`, or None.
        V, L, c, k, q, epistasis, seed: the numbers of a generated function; None for the paper's, or for a task's.
        noise_std: standard deviation of the noise on observed values, at most a million.
        reveal_constraints: whether infos say which actions are feasible.
        render_mode: None or one of RENDER_MODES.
        own: what the dynamics take.

    Raises:
        InvalidSpec: an argument is out of range, or there is none of its name.
        UnknownName: there is no such task.
    """

    dynamics_class: ClassVar[type[Dynamics]]

    def __init__(
        self,
        count: int,
        /,
        task: str | None = None,
        *,
        V: int | None = None,
        L: int | None = None,
        c: int | None = None,
        k: int | None = None,
        q: int | None = None,
        epistasis: float | None = None,
        seed: int | None = None,
        noise_std: float = 0.0,
        reveal_constraints: bool = False,
        render_mode: str | None = None,
        **own: Any,
    ) -> None:
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise InvalidSpec(f"render_mode is {render_mode!r}; give None or one of {RENDER_MODES}")
        if not isinstance(reveal_constraints, bool):
            raise InvalidSpec(f"reveal_constraints is {reveal_constraints!r}; give True or False")
        self.render_mode = render_mode
        self.reveal_constraints = reveal_constraints
        self.noise_std = _checked_noise(noise_std)
        self._check_names(own)
        numbers = {"V": V, "L": L, "c": c, "k": k, "q": q, "epistasis": epistasis, "seed": seed}
        resolved = resolve_task(task, {name: value for name, value in numbers.items() if value is not None})
        self._oracle: Oracle | MeteredOracle = Oracle(resolved.function, noisy=self.noise_std > 0.0)
        self.initial_solution: NDArray[np.int64] = resolved.initial_solution
        self.initial_solution.setflags(write=False)
        self.initial_value = resolved.initial_value
        self.V, self.L = resolved.spec.V, resolved.spec.L
        allowed = (resolved.spec.transition_matrix > 0.0).astype(np.int8) if reveal_constraints else None
        self._dynamics = self.dynamics_class(count, self.initial_solution, self.initial_value, self.V, allowed, **own)
        self.horizon = self._dynamics.horizon
        self._trace: NDArray[np.float64] | None = None
        if render_mode == "rgb_array" and self._dynamics.always_valued and self.horizon > 1:
            self._trace = np.full((count, TRACE_POINTS), np.nan)

    def _check_names(self, own: dict[str, Any]) -> None:
        taken = self.dynamics_class.arguments
        for name in own:
            if name == "max_episode_steps" and "horizon" in taken:
                raise InvalidSpec("there is no argument 'max_episode_steps'; give horizon instead")
            if name not in taken:
                known = ["task", *(parameter.name for parameter in _keywords()), *taken]
                raise InvalidSpec(f"there is no argument {name!r}; there are {', '.join(known)}")

    def draw_noise(self, rows: NDArray[np.intp] | None, count: int) -> NDArray[np.float64] | None:
        """Noise (count,) for the episodes ``rows``, all where it is None; None where values have no noise."""
        raise NotImplementedError

    def draw_noise_of_first(self, count: int) -> NDArray[np.float64] | None:
        """Noise (count,) from the generator of the first episode: for a batch that no episode asks."""
        return self.draw_noise(np.zeros(count, np.intp), count)

    def _advance(self, actions: NDArray[np.int64]) -> bool:
        """Take one step of every episode; False, and every episode is truncated, if the budget has not enough left."""
        dynamics = self._dynamics
        candidates, rows = dynamics.candidates(actions)
        observed = exact = _NO_VALUES
        if len(candidates):
            try:
                observed, exact = self._oracle.ask(candidates, self.draw_noise(rows, len(candidates)))
            except BudgetExhausted:
                dynamics.exhaust()
                return False
        dynamics.settle(actions, observed, exact)
        self._follow()
        return True

    def _begin(self, which: NDArray[np.bool_]) -> None:
        """Start again the episodes where ``which`` (N,) is True."""
        self._dynamics.reset(which)
        if self._trace is not None:
            self._trace[which] = np.nan
            self._follow()

    def _follow(self) -> None:
        """Note the values for the curve in the picture, if there is one."""
        if self._trace is not None:
            episodes = self._dynamics.episodes
            points = np.minimum(episodes["steps"] * (TRACE_POINTS - 1) // self.horizon, TRACE_POINTS - 1)
            self._trace[np.arange(len(points)), points] = episodes["value"]

    def _frame(self, i: int) -> str | NDArray[np.uint8]:
        """A picture of episode ``i``, as ``render_mode`` says."""
        episode, tokens = self._dynamics.episodes[i], self._dynamics.tokens[i].astype(np.int64)
        known = self._dynamics.always_valued or bool(episode["steps"] == self.horizon)
        value, steps = float(episode["value"]) if known else None, int(episode["steps"])
        matches = self._oracle.best_matches(tokens)
        if self.render_mode == "ansi":
            return render_text(tokens[tokens < self.V], value, steps, matches)
        return draw(tokens, self.V, value, steps, matches, None if self._trace is None else self._trace[i])


def _keywords() -> list[inspect.Parameter]:
    """The arguments of every environment that are given by keyword."""
    parameters = inspect.signature(Episodes.__init__).parameters.values()
    return [parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]


def documented(init: _Init) -> _Init:
    """``init``, which passes its ``**arguments`` on to :class:`Episodes`; help() then shows what that takes."""
    *own, arguments = inspect.signature(init).parameters.values()
    init.__signature__ = inspect.Signature([*own, *_keywords(), arguments])  # type: ignore[attr-defined]
    return init


class SequenceEnv(Episodes, gymnasium.Env[NDArray[np.int64], Any]):
    """One episode: the base of the single environments."""

    metadata = {"render_modes": RENDER_MODES, "render_fps": 4}

    @documented
    def __init__(self, task: str | None = None, **arguments: Any) -> None:
        super().__init__(1, task, **arguments)
        self.action_space = self._dynamics.action_space
        self.observation_space = self._dynamics.observation_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.int64], dict[str, Any]]:
        """Start an episode; free of charge. Only ``seed`` seeds the noise; ``options`` are not used."""
        gymnasium.Env.reset(self, seed=seed)
        self._begin(_THE_ONE)
        info = {"value": self.initial_value, "feasible": True} if self._dynamics.always_valued else {}
        return self._dynamics.observations()[0], self._with_masks(info)

    def step(self, action: ArrayLike) -> tuple[NDArray[np.int64], float, bool, bool, dict[str, Any]]:
        """Take ``action``. Raises InvalidSequence for one that is not in the action space."""
        dynamics = self._dynamics
        funded = self._advance(dynamics.checked(action, ()))
        value, _, reward, _, feasible, terminated, truncated = dynamics.first()
        info = {"value": value, "feasible": feasible} if dynamics.always_valued or terminated else {}
        if not funded:
            info["budget_exhausted"] = True
        return dynamics.observations()[0], reward, terminated, truncated, self._with_masks(info)

    def render(self) -> Any:
        """A picture of the state as ``render_mode`` says; motifs are in it unless a budget is in force."""
        if self.render_mode is None:
            gymnasium.logger.warn("render() was called without a render_mode; make the env with render_mode='ansi'")
            return None
        return self._frame(0)

    def draw_noise(self, rows: NDArray[np.intp] | None, count: int) -> NDArray[np.float64] | None:
        """See :class:`Episodes`."""
        return self.noise_std * self.np_random.standard_normal(count) if self.noise_std else None

    def _with_masks(self, info: dict[str, Any]) -> dict[str, Any]:
        if self.reveal_constraints:
            info |= {name: mask[0] for name, mask in self._dynamics.masks().items()}
        return info


_THE_ONE = np.ones(1, np.bool_)


def resolve_task(task: str | None, numbers: dict[str, Any]) -> Task:
    """The named task, or the generated one of ``numbers`` and the paper's defaults."""
    if task is None:
        return generated_task(**{**PAPER_DEFAULTS, **numbers})
    if numbers:
        raise InvalidSpec(f"give task={task!r} or {', '.join(numbers)}, not both: the task fixes them")
    return load_task(task)


def _checked_noise(noise_std: float) -> float:
    real = isinstance(noise_std, (int, float, np.integer, np.floating)) and not isinstance(noise_std, bool)
    if not (real and 0.0 <= noise_std <= _LARGEST_NOISE):
        raise InvalidSpec(f"noise_std is {noise_std!r}; give a number of at least 0 and at most {_LARGEST_NOISE:.0f}")
    return float(noise_std)
