"""What an environment asks for values: the function itself, or, under a budget, a ledger in front of it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from types import NoneType
from typing import NoReturn
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bioseq_gym.budget.ledger import Ledger, wrong_kind
from bioseq_gym.errors import BudgetExhausted, InvalidBudget
from bioseq_gym.functions import Ehrlich
from bioseq_gym.functions.ehrlich import MotifMatch, check_sequences

Values = NDArray[np.float64]
_NO_VALUES = np.empty(0)
Draw = Callable[[int], "Values | None"]


class Oracle:
    """A function without a budget: every call is scored, nothing is kept. ``noisy`` says whether noise will come."""

    def __init__(self, function: Ehrlich, noisy: bool = False) -> None:
        self._function = function
        self._noisy = noisy

    def ask(self, tokens: NDArray[np.uint8], noise: Values | None) -> tuple[Values, Values]:
        """Values (B,), -inf where infeasible: as observed, with ``noise`` (B,) if there is any; and as they are.

        ``tokens`` (B, L) are C-contiguous and in 0 .. V-1: they are not checked.
        """
        exact = self._function.score(tokens)
        return (exact if noise is None else exact + noise), exact

    def best_matches(self, x: NDArray[np.integer]) -> list[MotifMatch] | None:
        """Where the motifs match ``x`` (L,) best, for rendering."""
        return self._function.best_matches(x)

    def metered(self, max_evaluations: int, ledger: Ledger | str | os.PathLike[str] | None) -> MeteredOracle:
        """The same function behind a ledger and a budget."""
        _check_budget(max_evaluations)  # before a file is made
        spec = self._function.spec
        if isinstance(ledger, Ledger):
            if (ledger.digest, ledger.V, ledger.L) != (spec.digest, spec.V, spec.L):
                raise InvalidBudget(f"the ledger is of the function {ledger.digest[:12]}, not {spec.digest[:12]}")
            if ledger.repeats_charged != self._noisy:
                raise wrong_kind("the ledger", ledger.repeats_charged)
            return MeteredOracle(self._function, max_evaluations, ledger)
        if not isinstance(ledger, (str, os.PathLike, NoneType)):
            raise InvalidBudget(f"ledger is {ledger!r}; give a Ledger, the path of its file, or None")
        opened = Ledger(spec.digest, spec.V, spec.L, ledger, repeats_charged=self._noisy)
        try:
            return MeteredOracle(self._function, max_evaluations, opened)
        except InvalidBudget:
            opened.close()
            raise


class MeteredOracle:
    """A function behind a ledger and a budget; motifs and transition matrix are in none of its attributes.

    Threads may share it. It keeps honest code honest: Python has no walls inside a process, and code that goes through
    a function's globals finds everything. What holds against that is the replay of the ledger.
    """

    def __init__(self, function: Ehrlich, max_evaluations: int, ledger: Ledger) -> None:
        if len(ledger) > max_evaluations:
            raise InvalidBudget(
                f"the ledger holds {len(ledger)} evaluations already, more than the budget of {max_evaluations}; "
                "give the budget that the run was started with"
            )
        self._max_evaluations = int(max_evaluations)
        self._ledger = ledger
        self._process = os.getpid()
        self._lock = threading.Lock()
        _FUNCTIONS[self] = function

    @property
    def remaining(self) -> int:
        """Evaluations that are left; 0 where another budget on the same ledger has spent more than this one allows."""
        return max(0, self._max_evaluations - self._ledger.position)

    @property
    def ledger(self) -> Ledger:
        """What was asked and answered so far."""
        return self._ledger

    def evaluate(self, x: ArrayLike, draw: Draw) -> Values:
        """Values (B,) of ``x`` (B, L), as observed; ``draw`` gives the noise of so many rows.

        New rows are scored, charged and recorded, known ones answered free; with noise, all are new.

        Raises:
            InvalidSequence: see :meth:`Ehrlich.__call__`.
            BudgetExhausted: the new rows do not fit; nothing was scored or charged.
        """
        tokens = check_sequences(x, self._ledger.V, self._ledger.L)
        return self.ask(tokens, draw(len(tokens)))[0]

    def ask(self, tokens: NDArray[np.uint8], noise: Values | None) -> tuple[Values, Values]:
        """See :meth:`Oracle.ask`; charges and raises as :meth:`evaluate` does."""
        if os.getpid() != self._process:
            raise InvalidBudget("the environment belongs to another process; make one in this process")
        tokens = tokens.copy()  # what is scored is what is recorded, whatever the caller does to x meanwhile
        with self._lock:
            if noise is not None:
                return self._answer_noisy(tokens, noise)
            values = self._answer(tokens)
            return values, values

    def _answer(self, tokens: NDArray[np.uint8]) -> Values:
        ledger = self._ledger
        batch = ledger._look_up(tokens)
        if batch.new > self._max_evaluations - batch.known:
            requested = ledger._unasked(batch)
            if requested <= self.remaining:  # a resumed run that asks something else than before it was cut
                ledger._leave_replay()
                requested = batch.new
            raise BudgetExhausted(self.remaining, requested)
        values = _FUNCTIONS[self].score(batch.new_tokens()) if batch.new else _NO_VALUES
        return ledger._answer(batch, values)

    def _answer_noisy(self, tokens: NDArray[np.uint8], noise: Values) -> tuple[Values, Values]:
        """Every row is new. A resumed run is answered what it was before as long as it asks what it did before."""
        ledger = self._ledger
        if len(tokens) <= self.remaining and not ledger._asks_again(tokens):
            ledger._leave_replay()
        if len(tokens) > self.remaining:
            raise BudgetExhausted(self.remaining, len(tokens))
        exact = _FUNCTIONS[self].score(tokens)
        return ledger._answer_in_order(tokens, exact + noise), exact

    def best_matches(self, _: NDArray[np.integer]) -> None:
        """None: under a budget the motifs are not shown."""

    def metered(self, *_: object) -> NoReturn:
        """Refused: a budget is given once."""
        raise InvalidBudget("this environment has a budget already; make a new one with gym.make to start again")

    def __reduce_ex__(self, _: object) -> NoReturn:
        raise InvalidBudget("an environment under a budget can't be copied or pickled: a copy would be a second budget")


def _check_budget(max_evaluations: int) -> None:
    if isinstance(max_evaluations, bool) or not isinstance(max_evaluations, (int, np.integer)):
        raise InvalidBudget(f"max_evaluations must be an integer, not {max_evaluations!r}")
    if max_evaluations <= 0:
        raise InvalidBudget(f"max_evaluations is {max_evaluations}; give a budget of at least 1")


# Kept beside the objects, not in them, so that no chain of attributes leads from what an agent holds to the function.
_FUNCTIONS: WeakKeyDictionary[MeteredOracle, Ehrlich] = WeakKeyDictionary()
