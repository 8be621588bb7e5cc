"""What takes a process of its own: imports, first scores, peak memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from statistics import median

from table import Measured, Record, duration, ratio

IMPORT = """
from time import perf_counter
start = perf_counter()
import {}
print(perf_counter() - start)
"""

FIRST_SCORE = """
import sys
from time import perf_counter
import numpy as np
import bioseq_gym
start = perf_counter()
function = bioseq_gym.load_task("llome/ehr-V32-L128-c4-k4-q4").function
function(np.repeat(function.initial_solution()[None], int(sys.argv[1]), axis=0))
print(perf_counter() - start)
"""

# VmHWM counts this program alone; ru_maxrss starts at what the parent had. The input stays, so that the peak before is
# what is in use.
EXTRA_MEMORY = """
import resource, sys
import numpy as np
import bioseq_gym

def peak():
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

function = bioseq_gym.Ehrlich(bioseq_gym.EhrlichSpec.from_seed(V=32, L=32, c=4, k=4))
start = function.initial_solution()[None].astype(sys.argv[1])
function(start)
x = np.repeat(start, 1_000_000, axis=0)
before = peak()
function(x)
print(peak() - before)
"""


def run(program: str, *arguments: str, cache: Path | None = None) -> float:
    """What a new Python prints, a number."""
    environment = dict(os.environ) if cache is None else {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def test_import(record: Record) -> None:
    modules = ("bioseq_gym", "gymnasium, numba")
    rounds = [[run(IMPORT.format(names)) for names in modules] for _ in range(16)][1:]
    ours, theirs = zip(*rounds, strict=True)
    value, spread = ratio(ours, theirs)
    note = "inside of a new process, without the start of Python, 15 rounds"
    record("import", Measured(value, duration(median(ours)), duration(median(theirs)), spread, note))


def test_first_score(tmp_path: Path, record: Record) -> None:
    cold, warm = {}, {}
    for rows in (1, 1000):  # each has kernels of its own
        caches = [tmp_path / f"{rows}-{i}" for i in range(3)]
        cold[rows] = median([run(FIRST_SCORE, str(rows), cache=cache) for cache in caches])
        warm[rows] = median([run(FIRST_SCORE, str(rows), cache=cache) for cache in caches for _ in range(3)])
    counted = (
        "from after `import bioseq_gym` to the values, int64 tokens: `load_task(...)` at L=128, compiling, scoring"
    )
    for key, seconds, processes in (
        ("cold", cold, "no cache, 3 processes"),
        ("warm", warm, "Numba's cache, 9 processes"),
    ):
        each = f"{duration(seconds[1])} for one sequence, {duration(seconds[1000])} for 1000"
        worst = max(seconds.values())
        record(key, Measured(worst, duration(worst), note=f"{counted}; {each}; {processes}"))


def test_extra_memory(record: Record) -> None:
    extra = {dtype: run(EXTRA_MEMORY, dtype) / 1e6 for dtype in ("int64", "uint8")}
    note = (
        "growth of the process's peak resident memory at L=32: the input is not counted, the result of 8 MB is; "
        + ", ".join(f"{megabytes:.0f} MB with {dtype}" for dtype, megabytes in extra.items())
    )
    worst = max(extra.values())
    record("memory", Measured(worst, f"{worst:.0f} MB", note=note))
