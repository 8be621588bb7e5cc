"""A sweep's cells on a Ray cluster.

Every node needs this package, the agents, and the sweep's directory at the same path, on a file system whose locks hold
between nodes: NFS 4 has them, Lustre if it is mounted with ``flock``. Each cell checks that before it runs.

A node that dies: Ray runs its cells again on another. Its locks died with it, and each run goes on from its ledger.

A node that is cut off and yet alive: Ray takes it for dead and runs its cells again, while their first processes may
still be at work and hold their locks. The second run waits for the lock, ``PATIENCE`` seconds at most. If it is still
held then (Ray ends the processes of a node about a minute after that lost its cluster, KubeRay after ten), the cell
counts as failed, and the same sweep started later ends it. No cell is ever written by two processes.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bioseq_gym.errors import InvalidConfig, InvalidRun, MissingDependency
from bioseq_gym.sweep.cells import Cell, Outcome, run_cell
from bioseq_gym.sweep.local import ONE_THREAD

RETRIES = 5
"""How often Ray starts a cell again whose node or process died."""
PATIENCE = 120.0
"""Seconds that a cell waits for another process that is at work on it."""


def run_on_ray(cells: Sequence[Cell], address: str) -> Generator[Outcome, None, None]:
    """Run ``cells`` as tasks of the Ray cluster at ``address``, a core each; yield each outcome when it comes.

    Raises:
        MissingDependency: Ray is not installed.
        InvalidConfig: the cluster can't be joined.
    """
    ray = _connected(address)
    try:
        with _shared_mark(cells[0].out) as mark:
            task = ray.remote(num_cpus=1, max_retries=RETRIES)(_run_there)
            cell_of = {task.remote(cell, mark): cell for cell in cells}
            waiting = list(cell_of)
            while waiting:
                (done,), waiting = ray.wait(waiting)
                try:
                    yield ray.get(done)
                except ray.exceptions.RayError as error:
                    yield Outcome(cell_of[done], cause=f"Ray gave up: {' '.join(str(error).split())[:400]}")
    finally:
        ray.shutdown()


def _connected(address: str) -> Any:
    try:
        import ray
    except ImportError:
        raise MissingDependency("a sweep on a cluster needs Ray; pip install 'bioseq-gym[ray]'") from None
    try:
        host, colon, port = address.removeprefix("ray://").rpartition(":")
        if colon:  # Ray itself would go on trying for minutes
            socket.create_connection((host.strip("[]"), int(port)), timeout=10.0).close()
        threads = {name: os.environ.get(name, one) for name, one in ONE_THREAD.items()}
        ray.init(address, log_to_driver=False, logging_level=logging.WARNING, runtime_env={"env_vars": threads})
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise InvalidConfig(f"can't join the Ray cluster at {address}: {' '.join(str(error).split())}") from None
    return ray


def _run_there(cell: Cell, mark: Path) -> Outcome:
    try:
        check_shared(mark)
    except InvalidRun as error:
        return Outcome(cell, cause=str(error))
    return run_cell(cell, PATIENCE)


@contextmanager
def _shared_mark(out: Path) -> Iterator[Path]:
    """A file in ``out`` that is locked by this process."""
    mark = out / f".sweep-{os.getpid()}-{os.urandom(4).hex()}"
    out.mkdir(parents=True, exist_ok=True)
    with open(mark, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield mark
        finally:
            mark.unlink()


def check_shared(mark: Path) -> None:
    """Check that this node sees ``mark`` and the lock that another process has on it.

    Raises:
        InvalidRun: it does not; a run here would be lost, or be at the mercy of a second one.
    """
    node = os.uname().nodename
    try:
        with open(mark, "r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    except OSError as error:
        raise InvalidRun(
            f"{node} can't use {mark.parent} ({error.strerror}); give an --out that all nodes share"
        ) from None
    raise InvalidRun(f"locks on {mark.parent} don't hold on {node}; mount it with locks that hold on all nodes")
