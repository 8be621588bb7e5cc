"""A sweep's cells on the cores of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait

from bioseq_gym.sweep.cells import Cell, Outcome, run_cell

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)
"""Environment of a worker, where the user's own says nothing else: cells share the cores, not the threads of one."""
_GRACE = 5.0  # seconds that a stopped run has to write its manifest; its ledger needs none
_SPAWN = multiprocessing.get_context("spawn")  # a forked child would have torch's and Numba's threads half


def run_local(cells: Sequence[Cell], workers: int) -> Generator[Cell | Outcome, None, None]:
    """Run ``cells`` in ``workers`` processes; yield each cell when it starts and its outcome when it ends.

    A process runs one cell after another. If one dies, its cell fails and another process takes its place. When the
    iterator is closed, or fails, the processes are stopped.
    """
    waiting = deque(cells)
    crew: list[_Worker] = []
    try:
        while True:
            while waiting and (worker := _idle_one(crew, workers)):
                worker.begin(cell := waiting.popleft())
                yield cell
            busy = [worker for worker in crew if worker.cell is not None]
            if not busy:
                return
            wait([worker.pipe for worker in busy], timeout=1.0)
            for worker in busy:
                if outcome := worker.outcome():
                    yield outcome
    finally:
        for worker in crew:
            worker.process.terminate()
        deadline = time.monotonic() + _GRACE
        for worker in crew:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            worker.process.kill()


def _idle_one(crew: list[_Worker], most: int) -> _Worker | None:
    """A worker without a cell, a new one if need be; None if there are ``most`` and all are busy."""
    crew[:] = [worker for worker in crew if worker.process.is_alive() or worker.cell is not None]
    idle = next((worker for worker in crew if worker.cell is None), None)
    if idle is None and len(crew) < most:
        crew.append(idle := _Worker())
    return idle


class _Worker:
    """A process that runs cells. Not one of a pool: when that of a pool dies, it takes the others' cells with it."""

    def __init__(self) -> None:
        self.pipe, theirs = _SPAWN.Pipe()
        self.process = _SPAWN.Process(target=_work, args=(theirs,))
        with _environment(ONE_THREAD):
            self.process.start()
        theirs.close()  # so that the pipe ends with the process
        self.cell: Cell | None = None

    def begin(self, cell: Cell) -> None:
        self.cell = cell
        with suppress(BrokenPipeError):  # it died while idle: that is the cell's outcome
            self.pipe.send(cell)

    def outcome(self) -> Outcome | None:
        """How the cell ended; None while it has not."""
        assert self.cell is not None
        outcome, dead = None, not self.process.is_alive()  # asked first: what it sent before it died is in the pipe
        with suppress(EOFError, ConnectionResetError):
            if self.pipe.poll():
                outcome = self.pipe.recv()
            elif not dead:
                return None
        if outcome is None:
            self.process.join()
            outcome = Outcome(self.cell, cause=_cause_of_death(self.process.exitcode or 0))
        self.cell = None
        return outcome


def _cause_of_death(exitcode: int) -> str:
    if exitcode == -signal.SIGKILL:
        return "its process was killed by SIGKILL; was the memory full? Give fewer --workers"
    if exitcode < 0:
        return f"its process was killed by {signal.Signals(-exitcode).name}"
    return f"its process ended with exit status {exitcode}"


@contextmanager
def _environment(defaults: dict[str, str]) -> Iterator[None]:
    """``defaults`` in the environment of processes that start meanwhile: libraries read it when they are loaded."""
    added = {name: value for name, value in defaults.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def _work(pipe: Connection) -> None:
    """The worker's process: run the cells that come through ``pipe`` until it is stopped."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches all its processes; one decides for all
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_end_with_the_sweep, daemon=True).start()
    with suppress(KeyboardInterrupt, EOFError):
        while True:
            pipe.send(run_cell(pipe.recv()))


def _end_with_the_sweep() -> None:
    """A sweep that was killed leaves no run behind that holds the lock of its ledger."""
    sweep = multiprocessing.parent_process()
    assert sweep is not None
    sweep.join()
    os._exit(1)
