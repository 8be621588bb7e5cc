"""A sweep on a Ray cluster of two nodes, one of which dies."""

from __future__ import annotations

import fcntl
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sweeps import TROUBLE, WALK, agent_file, sessions

from bioseq_gym import InvalidConfig
from bioseq_gym.replay import verify
from bioseq_gym.runs import LEDGER, read_run
from bioseq_gym.sweep import Cell, make_cells, run_cell, sweep
from bioseq_gym.sweep import cluster as ray_engine
from bioseq_gym.sweep.show import spent

TINY = "ehrlich/ehr-V8-L12-c2-k3-q3-seed0"


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head with one core and no dashboard, which reports to nobody."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield started
    started.shutdown()


def test_every_cell_ends_once_though_a_node_dies(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_engine, "RETRIES", 1)
    node = cluster.add_node(num_cpus=1, wait=False)
    gate, out = tmp_path / "gate", tmp_path / "out"
    walk = agent_file(tmp_path / "walk.py", WALK, gate=gate, hold=100)
    trouble = agent_file(tmp_path / "trouble.py", TROUBLE)
    cells = make_cells([walk], [TINY], out, seeds=3, budget=200)

    def kill_a_node() -> None:
        wait_until(lambda: sum(spent(cell) > 100 for cell in cells) == 2)  # one on each node, both at the gate
        cluster.remove_node(node, allow_graceful=False)
        wait_until(lambda: sum(is_held(cell) for cell in cells) == 1)
        gate.touch()

    killer = threading.Thread(target=kill_a_node, daemon=True)
    killer.start()
    outcomes = sweep([walk, trouble], [TINY], out, seeds=3, budget=200, ray_address=cluster.address)
    killer.join()
    assert [(outcome.cell, outcome.cause) for outcome in outcomes[:3]] == [(cell, None) for cell in cells]
    assert sorted(sessions(out)[cell.directory.name] for cell in cells) == [1, 1, 2]
    assert not list(out.glob(".sweep*"))
    for cell, whole in zip(cells, make_cells([walk], [TINY], tmp_path / "whole", seeds=3, budget=200), strict=True):
        run_cell(whole)
        assert (cell.directory / LEDGER).read_bytes() == (whole.directory / LEDGER).read_bytes()
        verify(read_run(cell.directory))

    finished, raised, killed = outcomes[3:]
    assert (finished.cause, raised.cause) == (None, "RuntimeError: out of luck")
    assert (killed.cause or "").startswith("Ray gave up: The worker died unexpectedly")
    assert read_run(killed.cell.directory).manifest["sessions"] == 2  # it was tried again


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_held(cell: Cell) -> bool:
    """Whether a living process is at work on the cell."""
    if not cell.log.exists():
        return False
    with open(cell.log, "a") as log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_no_cluster_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(InvalidConfig, match=rf"can't join the Ray cluster at {address}: .*Connection refused"):
        sweep(["random"], [TINY], tmp_path / "out", ray_address=address)
    assert list(tmp_path.iterdir()) == []
