"""Replay: what a run's ledger says, held against the task's function; and what its manifest says, against both.

It runs no code of an agent, and nothing that a run states of itself is believed.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseq_gym.budget import Ledger
from bioseq_gym.errors import InvalidSpec, InvalidSubmission, UnknownName
from bioseq_gym.runs import Manifest, Run, invalid_fields, outcome
from bioseq_gym.suite import Task, load_task

_SHOWN = 60  # characters of a value that a message quotes


def verify(run: Run) -> None:
    """Replay a run's ledger through its task and check what its manifest states of the outcome.

    Raises:
        InvalidSubmission: with every fault found.
    """
    if faults := run_faults(run):
        raise InvalidSubmission(f"{run.path} is refused: {'; '.join(faults)}")


def run_faults(run: Run) -> list[str]:
    """All that :func:`verify` finds, a line for each."""
    manifest, ledger = run.manifest, run.ledger
    if faults := manifest_faults(manifest):
        return faults
    task = load_task(manifest["task"])
    if ledger.repeats_charged:
        return ["its ledger is of a function with noise, whose values no replay gives; run it without noise"]
    if (ledger.digest, ledger.V, ledger.L) != (task.digest, task.spec.V, task.spec.L):
        return [f"its ledger is of another function (digest {ledger.digest[:12]})"]
    if len(ledger) > manifest["budget"]:
        faults.append(f"its ledger holds {len(ledger)} evaluations on a budget of {manifest['budget']}")
    faults += _value_faults(ledger, task)
    places = np.arange(1, len(ledger) + 1)
    if not counts_rise(places, ledger.asked_counts, ledger.call_numbers):
        faults.append("its counts of rows asked and of calls do not increase from record to record")
    return faults + stated_faults(manifest, outcome(task, ledger, manifest["budget"]))


def manifest_faults(manifest: Manifest) -> list[str]:
    """Why a manifest is not that of a finished run on a published function."""
    if wrong := invalid_fields(manifest):
        return [f"its manifest has no valid {', '.join(wrong)}"]
    try:
        task = load_task(manifest["task"])
    except (UnknownName, InvalidSpec) as error:
        return [str(error)]
    faults = []
    if manifest["status"] != "finished":
        faults.append("the run is not finished; go on with bioseq-gym run ... --resume")
    if manifest["task"] != task.name:
        faults.append(f"the task's name is {task.name}, not {manifest['task']}")
    if manifest["digest"] != task.digest:
        faults.append(f"it was run on another function than {task.name} (digest {shown(manifest['digest'])})")
    return faults


def stated_faults(stated: Manifest, found: Manifest) -> list[str]:
    """A line for each number of ``found`` that is another in ``stated``, of another type, or not there."""
    return [
        f"it states {key} = {shown(stated.get(key))}, the replay gives {shown(value)}"
        for key, value in found.items()
        if not same_json(stated.get(key), value)
    ]


def same_json(one: Any, other: Any) -> bool:
    """Whether parsed JSON is the same text too: true is not 1, and 1 is not 1.0."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def counts_rise(places: NDArray[Any], asked: NDArray[np.uint64], calls: NDArray[np.uint32]) -> bool:
    """Whether records can have these counts.

    Args:
        places: (n,) the increasing numbers, from 1, that the records have among the evaluations.
        asked: (n,) rows asked up to and with each: at least one for each evaluation.
        calls: (n,) the call, from 1, that each came in.
    """
    if not len(places):
        return True
    if asked.max() >= 2**62:  # more than anyone asks, and so that differences fit
        return False
    spare = asked.astype(np.int64) - places.astype(np.int64)  # repeats up to each record
    never_less = (np.diff(column.astype(np.int64)) >= 0 for column in (spare, calls))
    return bool(spare[0] >= 0 and calls[0] >= 1 and all(steps.all() for steps in never_less))


def shown(value: Any) -> str:
    """A value that a stranger stated, in few printable characters."""
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _value_faults(ledger: Ledger, task: Task) -> list[str]:
    if not len(ledger):
        return []
    sequences, values = ledger.sequences, ledger.values
    differs = values != task.function(sequences)
    if not differs.any():
        return []
    first = int(differs.argmax())
    return [
        f"{differs.sum()} of {len(ledger)} values are not what the function gives, the first in record {first + 1}: "
        f"{values[first]} instead of {task.function(sequences[[first]])[0]}"
    ]
