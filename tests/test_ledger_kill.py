"""kill -9, fifty times: no answered evaluation is lost, none is invented, and the run goes on.

Run as a program, this module forks a child for each line of its input, so that a child starts in milliseconds.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import gymnasium
import numpy as np
import pytest

from bioseq_gym import EhrlichSpec, EvaluationBudget, Ledger
from bioseq_gym.suite import generated_task

TASK = generated_task(V=8, L=12, c=2, k=3)
BUDGET, KILLS = 12_000, 50


def agent(env: EvaluationBudget, report: IO[bytes]) -> None:
    """Ask small batches that depend on the answers; report each row before it asks and each value after it knows."""
    rng = np.random.default_rng(0)
    parent = env.initial_solution
    while env.remaining:
        batch = np.repeat(parent[None], min(env.remaining, int(rng.integers(1, 7))), axis=0)
        for row in batch:
            row[rng.integers(0, 12, 3)] = rng.integers(0, 8, 3)
        os.write(report.fileno(), f"ask {batch.astype(np.uint8).tobytes().hex()}\n".encode())
        values, _ = env.evaluate(batch)
        answer = values.tobytes().hex()
        os.write(report.fileno(), f"answer {batch.astype(np.uint8).tobytes().hex()} {answer}\n".encode())
        parent = batch[values.argmax()] if values.max() > -np.inf and rng.random() < 0.5 else env.initial_solution


def spend(path: str | Path, report: IO[bytes]) -> None:
    env = EvaluationBudget(gymnasium.make("Ehrlich-v0", task=TASK.name), BUDGET, path)
    agent(env, report)
    env.close()


def serve() -> None:
    env = EvaluationBudget(gymnasium.make("Ehrlich-v0", task=TASK.name), 10)
    env.evaluate(TASK.initial_solution[None])  # compiled before the forks
    Ledger.from_bytes(env.ledger.to_bytes())
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                spend(line.strip(), sys.stdout.buffer)
                os._exit(0)
            finally:
                os._exit(1)
        tell(f"child {child}")
        tell(f"dead {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}")


def tell(line: str) -> None:
    """In one write, since the child writes to the same pipe: print() may write a line in pieces."""
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


class Server:
    """The program side of this module, and all that its children ever reported."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        fcntl.fcntl(self.process.stdout, fcntl.F_SETPIPE_SZ, 4096)  # a child can't run far ahead of what was read
        self.asked: set[bytes] = set()
        self.answered: dict[bytes, float] = {}

    def run(self, path: Path, kill_after: int | None, delay: float = 0.0) -> int:
        """The exit status of a child that is killed ``delay`` seconds after its ``kill_after``-th new answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        child = 0
        known = len(self.answered)
        for line in self.process.stdout:
            word, *rest = line.split()
            if word == "child":
                child = int(rest[0])
            elif word == "dead":
                return int(rest[0])
            else:
                self._note(*rest)
            if child and kill_after is not None and len(self.answered) - known >= kill_after:
                time.sleep(delay)
                os.kill(child, signal.SIGKILL)
                kill_after = None
        raise AssertionError("the server is gone")

    def _note(self, rows: str, values: str | None = None) -> None:
        raw = bytes.fromhex(rows)
        split = [raw[i : i + TASK.spec.L] for i in range(0, len(raw), TASK.spec.L)]
        self.asked.update(split)
        if values is not None:
            self.answered.update(zip(split, np.frombuffer(bytes.fromhex(values)).tolist(), strict=True))


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.process.kill()
    server.process.communicate()


@pytest.mark.filterwarnings("ignore::bioseq_gym.LedgerRepaired")
def test_kill_9_loses_no_answer_and_invents_none(tmp_path: Path, server: Server) -> None:
    path, rng = tmp_path / "ledger", np.random.default_rng(7)
    spec: EhrlichSpec = TASK.spec
    lengths = []
    for _ in range(KILLS):
        status = server.run(path, kill_after=int(rng.integers(0, 200)), delay=rng.uniform(0, 0.0003))
        assert status == -signal.SIGKILL
        with Ledger(spec.digest, spec.V, spec.L, path) as ledger:
            held = dict(zip((row.tobytes() for row in ledger.sequences), ledger.values.tolist(), strict=True))
        assert {row: held.get(row) for row in server.answered} == server.answered
        assert held.keys() <= server.asked
        lengths.append(len(held))
    assert len(set(lengths)) > KILLS // 2, "kills that all fell at the same place"
    assert lengths[-1] < BUDGET, "the last kills found nothing left to do"

    assert server.run(path, kill_after=None) == 0
    assert len(server.answered) == BUDGET
    with open(os.devnull, "wb") as report:
        spend(tmp_path / "whole", report)
    assert path.read_bytes() == (tmp_path / "whole").read_bytes()


if __name__ == "__main__":
    serve()
