"""Every error that bioseq_gym raises on purpose. Each message names the cause and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BioseqGymError(Exception):
    """Base class of all errors of bioseq_gym."""


class InvalidSpec(BioseqGymError, ValueError):
    """The definition of a function is not one: it breaks a rule of its class."""


class InvalidSequence(BioseqGymError, ValueError):
    """A batch of sequences has a wrong dtype, shape or token."""


class InvalidBudget(BioseqGymError, ValueError):
    """A budget that can't be given: not positive, given twice, or copied."""


class BudgetExhausted(BioseqGymError, RuntimeError):
    """A batch did not fit in the budget; nothing of it was scored or charged.

    Attributes:
        remaining: evaluations that are left.
        requested: new evaluations that the refused batch needed.
    """

    def __init__(self, remaining: int, requested: int) -> None:
        self.remaining = remaining
        self.requested = requested
        super().__init__(
            f"the batch needs {requested} new evaluations and {remaining} are left; nothing was scored or charged. "
            f"Ask for at most {remaining} new sequences, or stop."
        )

    def __reduce__(self) -> tuple[type[BudgetExhausted], tuple[int, int]]:
        return type(self), (self.remaining, self.requested)


class InvalidLedger(BioseqGymError, ValueError):
    """A ledger file is damaged, in use, or belongs to another function."""


class LedgerRepaired(UserWarning):
    """A ledger ended in a half-written record (the process was killed while it wrote); the record was dropped."""


class InvalidRun(BioseqGymError, ValueError):
    """A run directory can't be used: it exists, is not a run, or holds another run's settings."""


class InvalidSubmission(BioseqGymError, ValueError):
    """A submission, or a run to be packed, was refused: it is no such file, not complete, or does not replay."""


class InvalidConfig(BioseqGymError, ValueError):
    """A setting, or the seed of an agent, is out of range."""


class MissingDependency(BioseqGymError, ImportError):
    """A package that this feature needs is not installed; the message gives the extra that brings it."""


class UnknownName(BioseqGymError, ValueError):
    """A task, agent or preset that does not exist; the message gives the near names."""

    @classmethod
    def of(cls, kind: str, name: str, known: Iterable[str], see: str) -> UnknownName:
        """The error for ``name``, which is no ``kind``; ``see`` is the command that lists them all."""
        near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.4)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        return cls(f"there is no {kind} {name!r}.{hint} See {see}.")
