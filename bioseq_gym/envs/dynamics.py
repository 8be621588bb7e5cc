"""The transitions of the three environments, written once, over arrays of N episodes; a single environment is N = 1.

A step has three parts, with the function in between: ``checked`` actions become ``candidates``, the sequences to be
scored; whoever holds the function, or the ledger before it, scores them; ``settle`` moves the episodes on. Until then
nothing has changed, so that a refused or interrupted step leaves the state as it was.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from bioseq_gym.envs.transitions import EPISODE, append_tokens, first_out_of_range, place_tokens, settle_edits
from bioseq_gym.errors import InvalidSequence, InvalidSpec

Space = spaces.Space[Any]

_LARGEST = 2**31 - 1


class Dynamics(ABC):
    """N episodes of one environment: their state, and what an action does to it. It knows nothing of the function.

    Args:
        count: N.
        start: (L,) the initial solution, int64.
        start_value: its value.
        V: vocabulary size.
        allowed: (V, V) int8, 1 where token b may follow token a; None where that is not told.

    Attributes:
        episodes: (N,) records, see :data:`EPISODE`.
        tokens: (N, L) the sequences; V stands for an empty place, where there are any.
        horizon: the largest number of steps in an episode.
    """

    always_valued: ClassVar[bool] = True  # or only at the end
    arguments: ClassVar[tuple[str, ...]] = ()  # by keyword, beside the ones above
    horizon: int

    def __init__(
        self, count: int, start: NDArray[np.int64], start_value: float, V: int, allowed: NDArray[np.int8] | None
    ) -> None:
        self.count, self.V, self.L = count, V, len(start)
        self._start, self._start_value, self._allowed = start, start_value, allowed
        self.episodes: NDArray[np.void] = np.zeros(count, EPISODE)
        self.tokens: NDArray[Any] = np.zeros((count, self.L), self._token_dtype())
        self.action_space, self.observation_space = self._spaces()
        self._limits = np.array(self._action_limits(), np.int64)
        self._action_shape = self.action_space.shape or ()
        self.reset(np.ones(count, np.bool_))

    def _token_dtype(self) -> type[np.unsignedinteger]:
        return np.uint8

    @abstractmethod
    def _spaces(self) -> tuple[Space, Space]:
        """The spaces of actions and observations of one episode."""

    @abstractmethod
    def _action_limits(self) -> list[int]:
        """Each number of an action is at least 0 and less than this."""

    @abstractmethod
    def candidates(self, actions: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.intp] | None]:
        """The sequences (M, L) that ``actions`` ask for, and the episodes (M,) that ask; None: all do."""

    @abstractmethod
    def settle(self, actions: NDArray[np.int64], observed: NDArray[np.float64], exact: NDArray[np.float64]) -> None:
        """Take the step, given the values (M,) of its candidates: ``observed`` with noise, ``exact`` without."""

    @abstractmethod
    def masks(self) -> dict[str, NDArray[np.int8]]:
        """What the feasible next actions are, (N, ...) each; nothing unless constraints are revealed."""

    def checked(self, actions: ArrayLike, batch: tuple[int, ...]) -> NDArray[np.int64]:
        """``actions`` of shape ``batch``, () or (N,), followed by an action's own, as (N, ...) int64.

        Raises:
            InvalidSequence: another shape, no integers, or out of range.
        """
        try:
            array = np.asarray(actions)
        except ValueError:  # ragged
            array = np.empty(0)
        if array.shape != batch + self._action_shape or array.dtype.kind not in "iu":
            shape = f"an array of integers of shape {batch + self._action_shape}" if batch else "integers"
            raise InvalidSequence(f"the action is {actions!r}; give {shape}: {self._valid_action()}")
        rows = np.ascontiguousarray(array, np.int64).reshape(self.count, self._limits.size)
        bad = first_out_of_range(rows, self._limits)
        if bad >= 0:
            which = f" of sub-environment {bad}" if batch else ""
            action = array[bad] if batch else actions
            raise InvalidSequence(f"the action{which} is {action!r}; give {self._valid_action()}")
        return rows

    @abstractmethod
    def _valid_action(self) -> str:
        """What an action must be, for errors."""

    def exhaust(self) -> None:
        """End every episode, since the budget has nothing left for what was asked: no step was found infeasible."""
        self.episodes["reward"] = 0.0
        self.episodes["terminated"] = False
        self.episodes["truncated"] = True
        self.episodes["feasible"] = True

    def reset(self, which: NDArray[np.bool_]) -> None:
        """Start again the episodes where ``which`` (N,) is True; what the last step earned is left to be read."""
        self.tokens[which] = self._start
        self._begin(which, self._start_value)

    def _begin(self, which: NDArray[np.bool_], value: float) -> None:
        for name, begin in (("value", value), ("exact", value), ("steps", 0), ("feasible", True)):
            self.episodes[name][which] = begin

    def first(self) -> tuple[float, float, float, int, bool, bool, bool]:
        """The only episode, in the order of EPISODE."""
        episode: tuple[float, float, float, int, bool, bool, bool] = self.episodes.item()  # type: ignore[assignment]
        return episode

    def observations(self) -> NDArray[np.int64]:
        """(N, L) a copy of the tokens."""
        return self.tokens.astype(np.int64)


class EditDynamics(Dynamics):
    """``Ehrlich-v0``: an action (position, token) edits the sequence, or is refused where that is infeasible."""

    arguments = ("horizon",)

    def __init__(self, *arguments: Any, horizon: int | None = None) -> None:
        super().__init__(*arguments)
        self.horizon = 2 * self.L if horizon is None else positive(horizon, "horizon")

    def _spaces(self) -> tuple[Space, Space]:
        return spaces.MultiDiscrete([self.L, self.V]), spaces.MultiDiscrete([self.V] * self.L)

    def _action_limits(self) -> list[int]:
        return [self.L, self.V]

    def _valid_action(self) -> str:
        return f"(position, token) with 0 <= position < {self.L} and 0 <= token < {self.V}"

    def candidates(self, actions: NDArray[np.int64]) -> tuple[NDArray[np.uint8], None]:
        """See :class:`Dynamics`."""
        edited: NDArray[np.uint8] = self.tokens.copy()
        place_tokens(actions, edited)
        return edited, None

    def settle(self, actions: NDArray[np.int64], observed: NDArray[np.float64], exact: NDArray[np.float64]) -> None:
        """See :class:`Dynamics`."""
        settle_edits(actions, observed, exact, self.horizon, self.tokens, self.episodes)

    def exhaust(self) -> None:
        """See :class:`Dynamics`."""
        super().exhaust()
        self.episodes["steps"] += 1

    def masks(self) -> dict[str, NDArray[np.int8]]:
        """``action_mask`` (N, L, V): 1 where the edit leaves a feasible sequence."""
        if self._allowed is None:
            return {}
        mask = np.ones((self.count, self.L, self.V), np.int8)
        mask[:, 1:] &= self._allowed[self.tokens[:, :-1]]
        mask[:, :-1] &= self._allowed.T[self.tokens[:, 1:]]
        return {"action_mask": mask}


class BuildDynamics(Dynamics):
    """``EhrlichBuild-v0``: an action is the next token; the sequence is scored when it is full."""

    always_valued = False

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.horizon = self.L

    def _token_dtype(self) -> type[np.unsignedinteger]:
        return np.uint8 if self.V < 256 else np.uint16  # V itself stands for an empty place

    def _spaces(self) -> tuple[Space, Space]:
        return spaces.Discrete(self.V), spaces.MultiDiscrete([self.V + 1] * self.L)

    def _action_limits(self) -> list[int]:
        return [self.V]

    def _valid_action(self) -> str:
        return f"a token, 0 <= token < {self.V}"

    def candidates(self, actions: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
        """See :class:`Dynamics`."""
        steps = self.episodes["steps"]
        if steps.max() >= self.L:
            raise InvalidSequence(f"the sequence has its {self.L} tokens; call reset() to build another")
        asking = np.flatnonzero(steps == self.L - 1)
        built = self.tokens[asking].astype(np.uint8)
        built[:, -1] = actions[asking, 0]
        return built, asking

    def settle(self, actions: NDArray[np.int64], observed: NDArray[np.float64], exact: NDArray[np.float64]) -> None:
        """See :class:`Dynamics`."""
        append_tokens(actions, observed, exact, self.tokens, self.episodes)

    def reset(self, which: NDArray[np.bool_]) -> None:
        """See :class:`Dynamics`."""
        self.tokens[which] = self.V
        self._begin(which, 0.0)

    def masks(self) -> dict[str, NDArray[np.int8]]:
        """``action_mask`` (N, V): 1 for a token that may come next; all ones for the first."""
        if self._allowed is None:
            return {}
        steps = self.episodes["steps"]
        mask = np.ones((self.count, self.V), np.int8)
        begun = np.flatnonzero(steps)
        mask[begun] = self._allowed[self.tokens[begun, steps[begun] - 1]]
        return {"action_mask": mask}


class ProposeDynamics(Dynamics):
    """``EhrlichPropose-v0``: an action is a whole sequence, and the episode is over."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.horizon = 1

    def _spaces(self) -> tuple[Space, Space]:
        return spaces.MultiDiscrete([self.V] * self.L), spaces.MultiDiscrete([self.V] * self.L)

    def _action_limits(self) -> list[int]:
        return [self.V] * self.L

    def _valid_action(self) -> str:
        return f"{self.L} tokens, 0 <= token < {self.V}"

    def candidates(self, actions: NDArray[np.int64]) -> tuple[NDArray[np.uint8], None]:
        """See :class:`Dynamics`."""
        return actions.astype(np.uint8), None

    def settle(self, actions: NDArray[np.int64], observed: NDArray[np.float64], exact: NDArray[np.float64]) -> None:
        """See :class:`Dynamics`."""
        self.tokens[:] = actions
        feasible = exact > -np.inf
        for name, column in (
            ("value", observed),
            ("exact", exact),
            ("reward", np.where(feasible, observed, 0.0)),
            ("steps", 1),
            ("feasible", feasible),
            ("terminated", True),
            ("truncated", False),
        ):
            self.episodes[name] = column

    def masks(self) -> dict[str, NDArray[np.int8]]:
        """``feasible_successors`` (N, V, V), read-only: 1 where the second token may follow the first."""
        if self._allowed is None:
            return {}
        return {"feasible_successors": np.broadcast_to(self._allowed.copy(), (self.count, self.V, self.V))}


def positive(value: int, name: str) -> int:
    """``value`` as int if it is an integer of at least 1 that counts steps or episodes, or else InvalidSpec."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 1 <= value <= _LARGEST:
        raise InvalidSpec(f"{name} is {value!r}; give an integer of at least 1 and at most {_LARGEST}")
    return int(value)
