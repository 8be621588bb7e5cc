"""The record of a reproduction: what someone states who ran the agent of a submission again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

from bioseq_gym.errors import InvalidSubmission
from bioseq_gym.runs import is_count, is_format
from bioseq_gym.submission.card import inert, is_text

IDENTICAL, COMPATIBLE, DIFFERENT = "identical", "compatible", "different"
LEVEL = 0.05
_FORMAT, _MOST_BYTES = 1, 2**14


@dataclass(frozen=True)
class Reproduction:
    """What came out. It is what ``by`` states: no replay can check it, and who doubts it runs the agent.

    Attributes:
        submission: :func:`bioseq_gym.submission.document.digest` of the submission.
        by: who ran it; empty if they did not say.
        runs: how many of its runs were run again.
        of: how many it has.
        same_ledgers: how many gave its ledger again.
        a12: how often a run with another seed has a larger area over its curve than one of the submission's on the
            same task, ties as half; None if all ledgers are the same.
        p: the exact two-sided p-value of that, see :func:`bioseq_gym.statistics.superiority`.
        python, machine: where it ran.
    """

    submission: str
    by: str
    runs: int
    of: int
    same_ledgers: int
    a12: float | None
    p: float | None
    python: str
    machine: str

    @property
    def verdict(self) -> str:
        """``identical`` if all ledgers are the same; else ``compatible`` or ``different`` by the test at 5 %."""
        if self.p is None:
            return IDENTICAL
        return COMPATIBLE if self.p >= LEVEL else DIFFERENT

    @property
    def summary(self) -> str:
        """The verdict in a few words."""
        tested = "" if self.p is None else f", p = {self.p:.2g}"
        return f"{self.verdict} ({self.same_ledgers} of {self.runs} ledgers{tested})"

    def as_markdown(self) -> str:
        """The verdict and who found it, in which nothing is markup."""
        return f"{self.summary}, {self.runs} of {self.of} runs" + (f", by {inert(self.by)}" if self.by else "")

    def to_json(self) -> str:
        """What :func:`read_record` reads."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=1, sort_keys=True, allow_nan=False) + "\n"


def read_record(path: str | os.PathLike[str]) -> Reproduction:
    """The record in a file. Raises InvalidSubmission if it can't be read or is none."""
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
        content = json.loads(data) if len(data) <= _MOST_BYTES else None
    except OSError as error:
        raise InvalidSubmission(f"{path} can't be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        content = None
    names = {field.name for field in fields(Reproduction)}
    if (
        not isinstance(content, dict)
        or content.keys() != names | {"format"}
        or not is_format(content.pop("format"), _FORMAT)
    ):
        raise InvalidSubmission(f"{path} is refused: it is no record of bioseq-gym reproduce; run that again")
    if wrong := [key for key, is_valid in _FIELDS.items() if not is_valid(content[key])]:
        raise InvalidSubmission(f"{path} is refused: it has no valid {', '.join(wrong)}; reproduce it again")
    found = Reproduction(**content)
    same = found.same_ledgers == found.runs
    if not found.same_ledgers <= found.runs <= found.of or same != (found.p is None) or same != (found.a12 is None):
        raise InvalidSubmission(f"{path} is refused: its numbers don't go together; reproduce it again")
    return found


def _is_count(value: Any) -> bool:
    return is_count(value) and value < 2**31


def _is_share(value: Any) -> bool:
    return value is None or (isinstance(value, float) and 0.0 <= value <= 1.0)


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "submission": lambda value: isinstance(value, str) and len(value) == 64,
    "by": lambda value: value == "" or is_text(value),
    "runs": lambda value: _is_count(value) and value > 0,
    "of": _is_count,
    "same_ledgers": _is_count,
    "a12": _is_share,
    "p": _is_share,
    "python": is_text,
    "machine": is_text,
}
