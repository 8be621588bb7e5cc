"""Agents for the tests of sweeps, as files, and how the results of two sweeps are compared."""

from __future__ import annotations

from pathlib import Path

from bioseq_gym.replay import verify
from bioseq_gym.runs import LEDGER, read_run

WALK = """
import os, time
import numpy as np
from bioseq_gym.agent import Agent

def run(env, seed, config):
    rng = np.random.default_rng(seed)
    print("threads", os.environ.get("OMP_NUM_THREADS"), os.environ.get("NUMBA_NUM_THREADS"))
    while env.remaining:
        while env.remaining < {hold} and not os.path.exists({gate!r}):
            time.sleep(0.01)
        x = np.tile(env.initial_solution, (min(10, env.remaining), 1))
        x[:, rng.integers(env.length)] = rng.integers(env.vocabulary_size, size=len(x))
        x[:, rng.integers(env.length)] = rng.integers(env.vocabulary_size, size=len(x))
        env.evaluate(x)
        time.sleep({pause})

AGENT = Agent("walk", run)
"""
"""Goes on after it found the optimum, so that every run is as long. Waits at its gate, a file that opens it."""

TROUBLE = """
import os, signal
from bioseq_gym.agent import Agent

def run(env, seed, config):
    env.evaluate(env.initial_solution[None])
    if seed == 1:
        raise RuntimeError("out of\\nluck")
    if seed == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if seed == 3:
        raise SystemExit(7)

AGENT = Agent("trouble", run)
"""


def agent_file(path: Path, source: str, *, pause: float = 0.0, gate: Path | None = None, hold: int = 0) -> str:
    """Write an agent; while ``gate`` does not exist, it stops with less than ``hold`` evaluations left."""
    path.write_text(
        source.replace("{pause}", str(pause)).replace("{gate!r}", repr(str(gate))).replace("{hold}", str(hold))
    )
    return str(path)


def ledgers(out: Path) -> dict[str, bytes]:
    """The ledger of each run under ``out``; every one is finished and replays."""
    found = {}
    for path in out.glob(f"*/*/*/{LEDGER}"):
        verify(read_run(path.parent))
        found[str(path.parent.relative_to(out))] = path.read_bytes()
    return found


def sessions(out: Path) -> dict[str, int]:
    """How often each run under ``out`` was started."""
    return {run.name: read_run(run).manifest["sessions"] for run in out.glob("*/*/*") if run.is_dir()}
