"""Whether a submission proves what it states: every record is scored again, every number computed again.

Of a whole ledger the file itself is built anew, byte for byte, and its digest compared. Of an abridged one the records
are replayed, and with them all that the curve of regret gives; its shares, diversity, digest, and how much was asked
in all, are only held against each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseq_gym.budget import Ledger
from bioseq_gym.errors import InvalidLedger, InvalidSubmission
from bioseq_gym.metrics import RegretCurve, distinct_share, diversity
from bioseq_gym.replay import counts_rise, same_json, shown, stated_faults
from bioseq_gym.runs import is_count, outcome, regret_numbers
from bioseq_gym.submission.document import is_share
from bioseq_gym.submission.packed import PackedRun, Submission

_DIGEST = re.compile("[0-9a-f]{64}")
_MOST_NAMED = 3
_MOST_EVALUATIONS = 10_000_000  # whoever is first on a task's board sets the budget of all who follow
_STATED: dict[str, Callable[[Any], bool]] = {
    "evaluations": is_count,
    "calls": is_count,
    "asked": is_count,
    "feasible_share": is_share,
    "ledger_sha256": lambda value: isinstance(value, str) and _DIGEST.fullmatch(value) is not None,
}


def verify(submission: Submission) -> None:
    """Replay a submission.

    Raises:
        InvalidSubmission: with every fault found.
    """
    if found := faults(submission):
        raise InvalidSubmission(f"{submission.name} is refused: {'; '.join(found)}")


def faults(submission: Submission) -> list[str]:
    """All that is wrong with a submission that was read or packed, a line for each; nothing if it verifies."""
    found = _setting_faults(submission) + _scope_faults(submission)
    for run in submission.runs:
        found += [f"{run.title}: {fault}" for fault in _run_faults(run)]
    return found + _twin_faults(submission)


def _setting_faults(submission: Submission) -> list[str]:
    manifests = [run.manifest for run in submission.runs]
    found = []
    if agents := sorted({m["agent"] for m in manifests} - {submission.agent}):
        found.append(f"it is of the agent {shown(submission.agent)}, and some runs are of {', '.join(agents)}")
    for key in ("config", "environment"):
        if others := [run.title for run in submission.runs if not same_json(run.manifest[key], manifests[0][key])]:
            found.append(f"the runs have several settings: the {key} of {_named(others)} is not that of the first run")
    if submission.card is not None and submission.constraints_known != submission.card["constraints_known"]:
        found.append("its card says that the constraints were not known, and the agent was shown them")
    return found


def _scope_faults(submission: Submission) -> list[str]:
    scope, runs = submission.scope, submission.runs
    found = []
    order = [(run.manifest["task"], run.manifest["seed"]) for run in runs]
    if order != sorted(order):
        found.append("its runs are not sorted by task and seed")
    if twice := [f"{task} seed {seed}" for (task, seed), group in groupby(sorted(order)) if len(list(group)) > 1]:
        found.append(f"it holds more than one run of {_named(twice)}")
    seeds = scope.seeds or len(set(order))
    expected = {(task, seed) for task in scope.tasks for seed in range(seeds)}
    if missing := [f"{task} seed {seed}" for task, seed in sorted(expected - set(order))]:
        found.append(f"{len(missing)} of {len(expected)} runs of {scope.name} are missing: {_named(missing)}")
    if extra := [f"{task} seed {seed}" for task, seed in sorted(set(order) - expected)]:
        found.append(f"{_named(extra)} are not among the seeds 0 to {seeds - 1}")
    budget = scope.budget or runs[0].manifest["budget"]
    if budget > _MOST_EVALUATIONS:
        found.append(f"the budget is {budget:,}; give at most {_MOST_EVALUATIONS:,}")
    if others := [run.title for run in runs if run.manifest["budget"] != budget]:
        found.append(f"the budget of {_named(others)} is not {budget:,}")
    return found


def _twin_faults(submission: Submission) -> list[str]:
    """Seeds of a task with one ledger are one run; runs that asked nothing aside."""
    seen: dict[tuple[str, str], str] = {}
    found = []
    for run in submission.runs:
        key = run.manifest["task"], str(run.manifest.get("ledger_sha256"))
        if run.manifest.get("evaluations") and seen.setdefault(key, run.title) != run.title:
            found.append(f"{run.title}: its ledger is that of {seen[key]}; each seed counts once")
    return found


def _run_faults(run: PackedRun) -> list[str]:
    manifest = run.manifest
    if wrong := [key for key, is_valid in _STATED.items() if not is_valid(manifest.get(key))]:
        return [f"its manifest has no valid {', '.join(wrong)}"]
    found = _count_faults(run)
    highest, V = int(run.tokens.max(initial=0)), run.task.spec.V
    if highest >= V:
        return [*found, f"it holds the token {highest}, outside of 0 .. {V - 1}"]
    values = run.values()
    return found + (_whole_faults(run, values) if run.whole else _abridged_faults(run, values))


def _count_faults(run: PackedRun) -> list[str]:
    """Where records stand, and how much was asked, in all and up to each."""
    manifest, n = run.manifest, len(run.places)
    evaluations, asked = manifest["evaluations"], manifest["asked"]
    found = []
    if evaluations > manifest["budget"]:
        found.append(f"it states {evaluations:,} evaluations on a budget of {manifest['budget']:,}")
    if n > evaluations:
        found.append(f"it holds {n:,} records of {evaluations:,} evaluations")
    places = run.places.astype(np.int64)
    if n and (places[0] < 1 or (np.diff(places) < 1).any() or places[-1] > evaluations):
        found.append(f"its records are not in increasing places from 1 to {evaluations:,}")
    elif not counts_rise(places, run.asked, run.calls):
        found.append("its counts of rows asked and of calls do not increase from record to record")
    last_asked, last_call, last_place = (int(column[-1]) if n else 0 for column in (run.asked, run.calls, places))
    if asked - last_asked < evaluations - last_place or manifest["calls"] < last_call:
        found.append(f"it states {asked:,} rows asked in {manifest['calls']:,} calls, fewer than its records count")
    return found


def _whole_faults(run: PackedRun, values: NDArray[np.float64]) -> list[str]:
    try:
        ledger = Ledger.of_columns(run.task.digest, run.task.spec.V, run.tokens, values, run.asked, run.calls)
    except InvalidLedger as error:
        return [str(error)]
    found = stated_faults(run.manifest, outcome(run.task, ledger, run.manifest["budget"]))
    stated = {"distinct_share": run.distinct, "diversity": run.diversity}
    replayed = {"distinct_share": distinct_share(run.asked), "diversity": diversity(run.tokens, values)}
    return found + stated_faults(stated, replayed)


def _abridged_faults(run: PackedRun, values: NDArray[np.float64]) -> list[str]:
    manifest, curve = run.manifest, run.curve(values)
    found = stated_faults(manifest, regret_numbers(curve, manifest["budget"]))
    improved = RegretCurve.of(values, run.task.initial_value).evaluations[1:] - 1
    if len(flat := np.delete(np.arange(len(values)), improved)):
        found.append(
            f"it is abridged, and {len(flat)} of {len(values)} records do not improve on what came before, "
            f"the first of them record {flat[0] + 1}"
        )
    evaluations, asked = manifest["evaluations"], manifest["asked"]
    if not run.distinct * asked >= evaluations * (1 - 1e-9):  # the share is of the rows up to the last new one
        found.append(f"its distinct share of {run.distinct:g} is not that of {evaluations:,} out of {asked:,} rows")
    if round(manifest["feasible_share"] * evaluations) < len(values):
        found.append(f"its feasible share of {manifest['feasible_share']:g} is less than that of its records")
    return found


def _named(titles: list[str]) -> str:
    rest = len(titles) - _MOST_NAMED
    return ", ".join(titles[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")
