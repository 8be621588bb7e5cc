"""How long `verify` takes for a million evaluations: whole ledgers of 34 runs of 30,000 on one task.

python benchmarks/verify_million.py
"""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

import numpy as np

from bioseq_gym import Ledger, load_task
from bioseq_gym.metrics import distinct_share, diversity
from bioseq_gym.runs import outcome
from bioseq_gym.submission import PackedRun, Submission, faults, to_bytes
from bioseq_gym.submission.document import from_bytes
from bioseq_gym.suite import Task, load_scope

RUNS, BUDGET, ROUNDS = 34, 30_000, 5
TASKS = ("llome/ehr-V32-L32-c4-k4-q4", "llome/ehr-V32-L128-c4-k4-q4")


def walk(task: Task, rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(30,000, L) distinct sequences, each a few edits from the best of those before, as an optimizer asks them."""
    spec, best, batches = task.spec, task.initial_solution.astype(np.uint8), []
    for _ in range(BUDGET // 1000 + 4):
        batch = np.tile(best, (1000, 1))
        for _ in range(6):
            batch[np.arange(1000), rng.integers(0, spec.L, 1000)] = rng.integers(0, spec.V, 1000)
        values = task.function(batch)
        best = batch[values.argmax()] if values.max() > -np.inf else best
        batches.append(batch)
    found = np.concatenate(batches)
    _, first = np.unique(found.view(f"V{spec.L}"), return_index=True)
    assert len(first) >= BUDGET
    return found[np.sort(first)[:BUDGET]]


def make(task: Task) -> bytes:
    """The file of a whole submission on the task."""
    runs = []
    for seed in range(RUNS):
        tokens = walk(task, np.random.default_rng(seed))
        values, asked = task.function(tokens), np.arange(1, BUDGET + 1, dtype=np.uint64)
        calls = (1 + np.arange(BUDGET) // 1000).astype(np.uint32)
        ledger = Ledger.of_columns(task.digest, task.spec.V, tokens, values, asked, calls)
        manifest = {
            "format": 2,
            "status": "finished",
            "task": task.name,
            "digest": task.digest,
            "agent": "walk",
            "environment": {"id": "Ehrlich-v0", "num_envs": 0, "reveal_constraints": False},
            "config": {},
            "seed": seed,
            "budget": BUDGET,
            "wall_s": 1.0,
            "asked": BUDGET,
            **outcome(task, ledger, BUDGET),
        }
        shares = distinct_share(asked), diversity(tokens, values)
        runs.append(PackedRun(manifest, *shares, asked.astype(np.uint32), asked, calls, tokens))
    return to_bytes(Submission("walk", load_scope(task.name), "walk", tuple(runs)))


def main() -> int:
    missed = False
    for name in TASKS:
        data = make(load_task(name))
        times, work = [], []
        for _ in range(1 + ROUNDS):
            started, worked = time.perf_counter(), time.process_time()
            submission = from_bytes(data, "it")
            assert faults(submission) == []
            times.append(time.perf_counter() - started)
            work.append(time.process_time() - worked)
        count = sum(len(run.places) for run in submission.runs)
        middle, (low, high) = float(np.median(times[1:])), (min(times[1:]), max(times[1:]))
        shown = f"{middle:.2f} s [{low:.2f}, {high:.2f}], of one core {float(np.median(work[1:])):.2f} s"
        print(f"{name}: {count:,} evaluations, {len(data):,} bytes, {shown}")
        missed = missed or middle >= 2.0
    print(f"most memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB, making included")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
