"""What a submission holds of each run: the manifest, and all records of the ledger or those that improved."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bioseq_gym.metrics import RegretCurve, distinct_share, diversity, feasible_share
from bioseq_gym.runs import Manifest, Result, Run
from bioseq_gym.submission.card import Card
from bioseq_gym.suite import Scope, Task, load_task

WHOLE, ABRIDGED = "whole", "abridged"


@dataclass(frozen=True, eq=False)
class PackedRun:
    """One run. The ledger is *whole* if there is a record for each evaluation, or else *abridged*.

    An abridged ledger holds the records at which the best value so far rises, so that the curve of regret is all
    there. Values are not kept: the function gives them.

    Attributes:
        manifest: what the run states, its outcome included.
        distinct, diversity: what it states beside the manifest, see :mod:`bioseq_gym.metrics`.
        places: (n,) uint32, from 1, increasing: which evaluation each record is.
        asked: (n,) uint64, rows asked, repeats included, up to and with each.
        calls: (n,) uint32, the call, from 1, that each came in.
        tokens: (n, L) uint8.
    """

    manifest: Manifest
    distinct: float
    diversity: float
    places: NDArray[np.uint32]
    asked: NDArray[np.uint64]
    calls: NDArray[np.uint32]
    tokens: NDArray[np.uint8]

    @classmethod
    def of(cls, run: Run, abridged: bool = False) -> PackedRun:
        """Pack a finished run, all of its ledger or what improved."""
        sequences, values = run.ledger.sequences, run.ledger.values
        asked, calls = run.ledger.asked_counts, run.ledger.call_numbers
        places = np.arange(1, len(values) + 1, dtype=np.uint32)
        packed = cls(run.manifest, distinct_share(asked), diversity(sequences, values), places, asked, calls, sequences)
        return packed.abridged() if abridged else packed

    def abridged(self) -> PackedRun:
        """The run with only the records that improved on all before."""
        kept = RegretCurve.of(self.values(), self.task.initial_value).evaluations[1:] - 1
        columns = self.places[kept], self.asked[kept], self.calls[kept], self.tokens[kept]
        return PackedRun(self.manifest, self.distinct, self.diversity, *columns)

    @property
    def task(self) -> Task:
        """What was run."""
        return run_task(self.manifest)

    @property
    def whole(self) -> bool:
        """Whether all of the ledger is there."""
        return len(self.places) == self.manifest.get("evaluations")

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"{self.manifest['task']} seed {self.manifest['seed']}"

    def values(self) -> NDArray[np.float64]:
        """(n,) the values of the records, from the function. Raises InvalidSequence where a token is none."""
        return self.task.function(self.tokens) if len(self.tokens) else np.empty(0)

    def curve(self, values: NDArray[np.float64]) -> RegretCurve:
        """The curve of regret, for ``values`` from :meth:`values`."""
        among = RegretCurve.of(values, self.task.initial_value)  # numbers the records, and not the evaluations
        places = np.concatenate([[0], self.places.astype(np.int64)])
        return RegretCurve(places[among.evaluations], among.regrets)

    def result(self, budget: int | None = None) -> Result:
        """The numbers of the run; of its first ``budget`` evaluations, if given.

        Shares and diversity of an abridged ledger are those that the run states, and unknown, NaN, of a part of it.
        """
        manifest, cut = self.manifest, budget is not None
        budget = manifest["budget"] if budget is None else budget
        kept = slice(int(np.searchsorted(self.places, budget, side="right")))
        values = self.values()
        part = PackedRun(
            manifest, np.nan, np.nan, self.places[kept], self.asked[kept], self.calls[kept], self.tokens[kept]
        )
        curve = part.curve(values[kept])
        if self.whole:
            shares = feasible_share(values[kept]), distinct_share(part.asked), diversity(part.tokens, values[kept])
        elif cut and budget < manifest["evaluations"]:
            shares = np.nan, np.nan, np.nan
        else:
            shares = manifest["feasible_share"], self.distinct, self.diversity
        best = int(np.searchsorted(part.places, curve.evaluations[-1]))
        return Result.stated(
            manifest,
            budget,
            evaluations=min(manifest["evaluations"], budget),
            curve=curve,
            solution=part.tokens[best].astype(np.int64) if len(curve.regrets) > 1 else self.task.initial_solution,
            **dict(zip(("feasible", "distinct", "diversity"), shares, strict=True)),
        )


@dataclass(frozen=True, eq=False)
class Submission:
    """The runs of one agent with one setting, as a file has them or is to have them; not yet verified.

    Attributes:
        name: what messages call it, for most the file's path.
        scope: what it is complete over, if it verifies.
        agent: the name of the agent.
        runs: sorted by task and seed.
        card: what its authors say of it, see :mod:`bioseq_gym.submission.card`; None if they said nothing.
    """

    name: str
    scope: Scope
    agent: str
    runs: tuple[PackedRun, ...]
    card: Card | None = None

    @property
    def constraints_known(self) -> bool:
        """Whether the agent was shown which actions are feasible, or its authors say that it knew."""
        shown = bool(self.runs[0].manifest["environment"]["reveal_constraints"])
        return shown or (self.card is not None and self.card["constraints_known"])

    @property
    def whole(self) -> bool:
        """Whether the ledgers of all runs are whole."""
        return all(run.whole for run in self.runs)

    @property
    def kind(self) -> str:
        """``whole`` or ``abridged``."""
        return WHOLE if self.whole else ABRIDGED

    @cached_property
    def setting(self) -> str:
        """Agent, settings, and whether it knew the constraints, as canonical JSON: a board has each once."""
        config = self.runs[0].manifest["config"]
        return json.dumps([self.agent, config, self.constraints_known], sort_keys=True)

    @cached_property
    def ledgers(self) -> frozenset[tuple[str, str]]:
        """Task and digest of each ledger that is not empty."""
        manifests = [run.manifest for run in self.runs]
        return frozenset((m["task"], m["ledger_sha256"]) for m in manifests if m["evaluations"])

    def results(self, budget: int | None = None) -> list[Result]:
        """The numbers of each run, see :meth:`PackedRun.result`."""
        known = self.constraints_known
        return [replace(run.result(budget), constraints_known=known) for run in self.runs]


def run_task(manifest: Manifest) -> Task:
    """The task that a manifest names."""
    return load_task(manifest["task"])
