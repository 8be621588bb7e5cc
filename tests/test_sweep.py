"""Sweeps: all cells, each once, whatever happens to some of them."""

from __future__ import annotations

import fcntl
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from sweeps import TROUBLE, WALK, agent_file, ledgers, sessions

from bioseq_gym import InvalidBudget, InvalidConfig, InvalidRun, Ledger, MissingDependency, UnknownName, load_task
from bioseq_gym.agent import Agent, NoConfig
from bioseq_gym.cli import main
from bioseq_gym.report import regret_table
from bioseq_gym.runs import LEDGER, MANIFEST, read_run
from bioseq_gym.study import find_runs, read_study
from bioseq_gym.sweep import Cell, Outcome, make_cells, run_cell, sweep
from bioseq_gym.sweep.cluster import _shared_mark, check_shared
from bioseq_gym.sweep.local import _cause_of_death
from bioseq_gym.sweep.plan import PLAN, sweep_command
from bioseq_gym.sweep.run import table
from bioseq_gym.sweep.show import spent, sweep_progress

TINY, SMALL = "ehrlich/ehr-V8-L12-c2-k3-q3-seed0", "ehrlich/ehr-V8-L16-c2-k4-q4-seed0"


def cell(out: Path, agent: str = "random", seed: int = 0, budget: int = 50) -> Cell:
    (one,) = make_cells([agent], [TINY], out, seeds=1, first_seed=seed, budget=budget)
    return one


def in_this_process(cells: list[Cell]) -> list[Outcome]:
    return [run_cell(one) for one in cells]


# What is run


def test_cells_are_agents_by_tasks_by_seeds_the_longest_first(tmp_path: Path) -> None:
    cells = make_cells(["random", "genetic"], ["smoke"], tmp_path)
    assert [(c.agent, c.task, c.seed, c.budget) for c in cells] == [
        (agent, task, seed, 300) for agent in ("random", "genetic") for task in (SMALL, TINY) for seed in (0, 1)
    ]
    assert cells[0].directory == tmp_path / SMALL / "random-seed0"
    assert list(tmp_path.iterdir()) == []


def test_a_suite_gives_defaults_and_what_is_given_holds_for_all(tmp_path: Path) -> None:
    assert len(make_cells(["random"], ["smoke", "llome-6"], tmp_path)) == 2 * 2 + 6 * 5
    assert {(c.seed, c.budget) for c in make_cells(["random"], [TINY], tmp_path)} == {(s, 30_000) for s in range(5)}
    given = make_cells(
        ["random"], ["smoke", TINY, "holo/ehr-V5-L7-c1-k3-q3-seed0"], tmp_path, seeds=1, first_seed=7, budget=9
    )
    assert sorted((c.task, c.seed, c.budget) for c in given) == [
        (TINY, 7, 9), (SMALL, 7, 9), ("holo/ehr-V5-L7-c1-k3-q3-seed0", 7, 9),
    ]  # fmt: skip
    both = make_cells(["random", "random"], ["smoke", TINY], tmp_path, budget=9)
    assert [c.seed for c in both if c.task == TINY] == [0, 1, 2, 3, 4]


def test_an_agent_with_a_preset_has_directories_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = NoConfig()
    agent = Agent("tuned", lambda env, seed, config: None, presets={"fast": fast})
    monkeypatch.setattr("bioseq_gym.sweep.cells.load_agent", lambda name: agent)
    cells = make_cells(["tuned", "tuned:fast"], [TINY], tmp_path, seeds=1, budget=9)
    assert [c.directory.name for c in cells] == ["tuned-seed0", "tuned-fast-seed0"]
    assert [run_cell(c).cause for c in cells] == [None, None]
    with pytest.raises(UnknownName, match=r"no preset of tuned 'fats'\. Did you mean 'fast'"):
        make_cells(["tuned:fats"], [TINY], tmp_path)


def test_two_agents_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    paths = [agent_file(folder / "walk.py", WALK) for folder in (tmp_path, tmp_path / "copy")]
    with pytest.raises(UnknownName, match="are both called walk; give one of them another name"):
        make_cells(paths, [TINY], tmp_path / "out")


def test_what_cannot_be_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidBudget, match="comes with budgets of 300 and 30000; give --budget"):
        make_cells(["random"], ["smoke", TINY], tmp_path)
    with pytest.raises(InvalidConfig, match="at least one seed"):
        make_cells(["random"], [TINY], tmp_path, seeds=0)
    with pytest.raises(InvalidConfig, match="at least one agent and one task"):
        make_cells(["random"], [], tmp_path)
    with pytest.raises(InvalidConfig, match="the number of workers is 0"):
        sweep(["random"], [TINY], tmp_path, workers=0)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / MANIFEST).touch()
    with pytest.raises(InvalidConfig, match="run is the directory of a run; give the sweep another with --out"):
        make_cells(["random"], [TINY], tmp_path / "run")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--agents", "random", "genetc", "--tasks", "smoke"], "no agent 'genetc'. Did you mean 'genetic'"),
        (["--agents", "random", "--tasks", "smoke", "ehrlich60"], "no task or suite 'ehrlich60'. Did you mean 'ehrl"),
        (["--agents", "random", "--tasks", "smoke", "--budget", "0"], "the budget is 0; give an integer of at least 1"),
        (["--agents", "random", "--tasks", "smoke", "--seeds", "0"], "at least one seed"),
        (["--agents", "random", "--tasks", "smoke", "--first-seed", "-1"], "only seeds of at least 0"),
        (["--agents", "random", "--tasks", "smoke", "--workers", "0"], "the number of workers is 0"),
        (["--agents", "random"], "the following arguments are required: --tasks"),
    ],
)
def test_bad_use_runs_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], message: str
) -> None:
    try:
        status = main(["sweep", *arguments, "--out", str(tmp_path / "out")])
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    captured = capsys.readouterr()
    assert (status, captured.out, captured.err.count("\n")) == (2, "", 1)
    assert message in captured.err
    assert list(tmp_path.iterdir()) == []


# One cell


def test_a_cell_keeps_a_finished_run_and_says_how_others_ended(tmp_path: Path) -> None:
    first = run_cell(cell(tmp_path))
    assert (first.cause, first.kept) == (None, False)
    assert first.simple_regret == read_run(first.cell.directory).manifest["simple_regret"]
    before = (first.cell.directory / MANIFEST).read_bytes()
    again = run_cell(cell(tmp_path))
    assert (again.cause, again.kept, again.simple_regret) == (None, True, first.simple_regret)
    other = run_cell(cell(tmp_path, budget=51))
    assert (other.cause or "").startswith(f"the run in {first.cell.directory} has another budget; resume it")
    assert "InvalidRun" in other.cell.log.read_text()
    assert (first.cell.directory / MANIFEST).read_bytes() == before


def test_a_run_that_another_process_has_open_is_a_failed_cell(tmp_path: Path) -> None:
    walk = agent_file(tmp_path / "walk.py", WALK.replace("env.evaluate(x)", "env.evaluate(x); 1 / (len(x) - 10)"))
    one = cell(tmp_path / "out", walk)
    assert run_cell(one).cause == "ZeroDivisionError: division by zero"
    agent_file(tmp_path / "walk.py", WALK)
    spec = load_task(TINY).spec
    with Ledger(spec.digest, spec.V, spec.L, one.directory / LEDGER) as ledger:
        assert 0 < len(ledger) <= 10
        cause = run_cell(one).cause
    assert cause == f"the ledger {one.directory / LEDGER} is in use; wait for its run to end or give another"
    run_cell(one)
    run_cell(cell(tmp_path / "whole", walk))
    assert ledgers(tmp_path / "out") == ledgers(tmp_path / "whole")


def test_a_cell_that_another_process_is_at_work_on_is_waited_for_and_then_failed(tmp_path: Path) -> None:
    one = cell(tmp_path)
    one.log.parent.mkdir()
    with open(one.log, "w") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        assert (run_cell(one).cause or "").startswith(f"another process is at work on {one.directory}")
        assert not one.directory.exists()
        threading.Timer(0.2, fcntl.flock, (log, fcntl.LOCK_UN)).start()
        assert run_cell(one, patience=30.0).cause is None


# Many cells


def test_a_sweep_is_the_same_with_any_number_of_workers_and_started_again(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    walk = agent_file(tmp_path / "walk.py", WALK)
    command = ["sweep", "--agents", "random", walk, "--tasks", "smoke", "--budget", "90", "--json"]
    assert main([*command, "--out", str(tmp_path / "a"), "--workers", "2"]) == 0
    captured = capsys.readouterr()
    summary = json.loads(captured.out.splitlines()[-1])
    assert list(summary) == ["cells", "finished", "kept", "failed", "wall_s"]
    assert (summary["cells"], summary["finished"], summary["kept"], summary["failed"]) == (8, 8, 0, [])
    assert captured.out.count("2 of 2") == 4
    assert captured.err.splitlines()[-1].startswith("8 of 8 cells, 0 failed")
    assert "threads 1 2" in next((tmp_path / "a" / "logs").glob("*walk*")).read_text()
    assert "OMP_NUM_THREADS" not in os.environ

    in_this_process(make_cells(["random", walk], ["smoke"], tmp_path / "b", budget=90))
    assert len(ledgers(tmp_path / "a")) == 8
    assert ledgers(tmp_path / "a") == ledgers(tmp_path / "b")

    manifests = {path: path.read_bytes() for path in tmp_path.rglob(MANIFEST)}
    assert main([*command, "--out", str(tmp_path / "a"), "--workers", "1", "--quiet"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out.splitlines()[-1])["kept"] == 8
    assert captured.err == ""
    assert {path: path.read_bytes() for path in tmp_path.rglob(MANIFEST)} == manifests


def test_a_cell_that_fails_in_any_way_stops_no_other(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    trouble, out = agent_file(tmp_path / "trouble.py", TROUBLE), tmp_path / "out"
    command = ["sweep", "--agents", trouble, "random", "--tasks", TINY, "--seeds", "5", "--budget", "50"]
    assert main([*command, "--out", str(out), "--workers", "2", "--quiet", "--json"]) == 1
    captured = capsys.readouterr()
    summary = json.loads(captured.out.splitlines()[-1])
    assert (summary["cells"], summary["finished"]) == (10, 7)
    causes = {
        1: "RuntimeError: out of luck",
        2: "its process was killed by SIGKILL; was the memory full? Give fewer --workers",
        3: "SystemExit: 7",
    }
    assert [(f["agent"], f["task"], f["seed"], f["cause"]) for f in summary["failed"]] == [
        ("trouble", TINY, seed, cause) for seed, cause in causes.items()
    ]
    logs = [cell(out, trouble, seed).log for seed in range(5)]
    assert captured.err.splitlines() == [
        f"failed: trouble on {TINY}, seed {seed}: {cause} (log: {logs[seed]})" for seed, cause in causes.items()
    ]
    assert [("Traceback" in log.read_text()) for log in logs] == [False, True, False, True, False]
    assert set(sessions(out).values()) == {1}  # none lost its process to another's end
    with pytest.raises(InvalidRun) as unfinished:
        find_runs([tmp_path])
    assert str(unfinished.value) == (
        f"the sweep in {out} is not finished: 3 of 10 runs are missing, as {TINY}/trouble-seed1; go on with: "
        f"bioseq-gym {shlex.join(command)} --out {out}"
    )

    agent_file(Path(trouble), TROUBLE.replace("seed ==", "-1 =="))
    again = in_this_process(make_cells([trouble, "random"], [TINY], out, budget=50))
    assert [(o.cell.label, o.cell.seed) for o in again if not o.kept] == [("trouble", seed) for seed in causes]
    assert sessions(out) == {o.cell.directory.name: 2 - o.kept for o in again}
    assert len(ledgers(out)) == 10
    assert read_study(find_runs([out])).runs == 10
    (out / PLAN).write_text("[]")
    with pytest.raises(InvalidRun, match=r"sweep\.json is no plan of a sweep; start the sweep again, or remove it"):
        find_runs([out])


def test_the_summary_is_that_of_the_report(tmp_path: Path) -> None:
    summary = table(in_this_process(make_cells(["random", "genetic"], ["smoke"], tmp_path, seeds=5, budget=60)))
    parts = read_study(find_runs([tmp_path])).by_shape().values()
    reported = {
        (agent, *part.tasks, f"{runs} of {runs}", regret.split()[0])
        for part in parts
        for agent, runs, regret, _ in regret_table(part, part.agents)[1]
    }
    assert reported == set(summary)
    assert len(reported) == 4


def test_the_command_of_a_sweep_has_what_was_given_and_no_more(tmp_path: Path) -> None:
    assert sweep_command(["a:b", "my agent.py"], ["smoke"], tmp_path, None, 0, None) == (
        f"bioseq-gym sweep --agents a:b 'my agent.py' --tasks smoke --out {tmp_path}"
    )
    assert sweep_command(["a"], ["x", "y"], "out", 3, 7, 90) == (
        "bioseq-gym sweep --agents a --tasks x y --seeds 3 --first-seed 7 --budget 90 --out out"
    )


@pytest.mark.parametrize(
    ("exitcode", "cause"),
    [(9, "its process ended with exit status 9"), (-signal.SIGSEGV, "its process was killed by SIGSEGV")],
)
def test_the_cause_of_a_process_that_died(exitcode: int, cause: str) -> None:
    assert _cause_of_death(exitcode) == cause


def test_a_sweep_stopped_by_ctrl_c_and_then_by_kill_9_goes_on_to_the_same_result(tmp_path: Path) -> None:
    walk, out = agent_file(tmp_path / "walk.py", WALK, pause=0.01), tmp_path / "out"
    command = [sys.executable, "-m", "bioseq_gym.cli", "sweep", "--agents", walk, "--tasks", TINY, "--quiet"]
    command += ["--seeds", "3", "--budget", "400", "--out", str(out), "--workers", "1"]
    cells = make_cells([walk], [TINY], out, seeds=3, budget=400)

    process = start(command, until=lambda: spent(cells[0]) > 50)
    os.killpg(process.pid, signal.SIGINT)  # to all its processes, as from a terminal
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, b"bioseq-gym: stopped; the same command goes on from here\n")
    stopped = read_run(cells[0].directory).manifest
    assert (stopped["status"], stopped["wall_s"] > 0.0) == ("running", True)  # the run was told, and noted its time

    process = start(command, until=lambda: spent(cells[1]) > 50)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)  # its pipe ends with the last of its workers
    assert read_run(cells[1].directory).manifest["status"] == "running"

    agent_file(tmp_path / "walk.py", WALK)
    outcomes = in_this_process(cells)
    assert [(outcome.cause, outcome.kept) for outcome in outcomes] == [(None, True), (None, False), (None, False)]
    assert sessions(out) == {"walk-seed0": 2, "walk-seed1": 2, "walk-seed2": 1}
    in_this_process(make_cells([walk], [TINY], tmp_path / "whole", seeds=3, budget=400))
    assert ledgers(out) == ledgers(tmp_path / "whole")


def start(command: list[str], until: Callable[[], bool]) -> subprocess.Popen[bytes]:
    """A command in a session of its own, which came so far."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 60.0
    while not until():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


# What is shown


def test_progress_on_a_terminal_names_what_runs(tmp_path: Path) -> None:
    done, now = cell(tmp_path), cell(tmp_path, seed=1)
    screen = io.StringIO()
    with sweep_progress(2, Console(file=screen, force_terminal=True, width=120)) as watch:
        watch(done)
        watch(run_cell(done))
        watch(now)
    last = screen.getvalue().rsplit("1 of 2 cells, 0 failed", 1)[1]
    assert str(now) in last
    assert str(done) not in last
    assert (spent(done), spent(now)) == (len(read_run(done.directory).ledger), 0)


def test_progress_elsewhere_is_a_few_lines(tmp_path: Path) -> None:
    lines = io.StringIO()
    with sweep_progress(100, Console(file=lines)) as watch:
        for seed in range(100):
            watch(Outcome(Cell("random", None, "random", TINY, seed, 50, tmp_path), cause="bad" if seed < 3 else None))
    assert len(lines.getvalue().splitlines()) == 10
    assert lines.getvalue().startswith("10 of 100 cells, 3 failed, 0 s\n")


# A cluster's nodes; a cluster itself is in test_sweep_ray.py


def test_a_cluster_needs_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependency, match=r"pip install 'bioseq-gym\[ray\]'"):
        sweep(["random"], [TINY], tmp_path / "out", ray_address="auto")
    assert list(tmp_path.iterdir()) == []


def test_a_node_must_see_the_directory_and_its_locks(tmp_path: Path) -> None:
    with _shared_mark(tmp_path / "out") as mark:
        check_shared(mark)
        (tmp_path / "local").mkdir()
        with pytest.raises(
            InvalidRun, match=r"can't use .*local \(No such file or directory\); give an --out that all"
        ):
            check_shared(tmp_path / "local" / mark.name)
        (tmp_path / "local" / mark.name).touch()
        with pytest.raises(InvalidRun, match=r"locks on .*local don't hold on"):
            check_shared(tmp_path / "local" / mark.name)
    assert list((tmp_path / "out").iterdir()) == []
