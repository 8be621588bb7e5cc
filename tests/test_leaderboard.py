"""Submitting, verifying by replay, and the table."""

import json
import lzma
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bioseq_gym import InvalidSubmission, Ledger, load_task
from bioseq_gym.agent import load_agent
from bioseq_gym.budget.records import record_dtype
from bioseq_gym.leaderboard import SUBMISSIONS, TABLE, read_board, submit, table, verify, write_table
from bioseq_gym.metrics import CHECKPOINTS, RegretCurve
from bioseq_gym.runs import LEDGER, MANIFEST, Result, Run, parse_manifest, read_run, run_agent, write_manifest

TASK = load_task("llome/ehr-V32-L32-c4-k4-q4")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run_agent(load_agent("random"), TASK, budget=120, seed=0, out=tmp_path / "run")
    return read_run(tmp_path / "run")


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def changed(run: Run, edit: Callable[[dict[str, Any]], Any]) -> Run:
    manifest = json.loads(json.dumps(run.manifest))
    edit(manifest)
    return Run(run.path, manifest, run.ledger)


def relabelled(run: Run, **columns: np.ndarray) -> Run:
    """The run with a ledger that is well-formed, checksums included, and tells another story."""
    data, dtype = run.ledger.to_bytes(), record_dtype(run.ledger.L)
    header, records = data[:64], np.frombuffer(data[64:], dtype).copy()
    for name, column in columns.items():
        records[name] = column
    check = zlib.crc32(header)
    for record in records:
        record["check"] = check = zlib.crc32(record.tobytes()[:-4], check)
    return Run(run.path, run.manifest, Ledger.from_bytes(header + records.tobytes()))


def test_a_submission_keeps_manifest_and_ledger_and_makes_the_table(run: Run, tmp_path: Path) -> None:
    (folder,) = submit([run], tmp_path / "board")
    assert folder.parent == tmp_path / "board" / SUBMISSIONS / TASK.name
    assert sorted(tree(tmp_path / "board")) == sorted(
        [TABLE, *(str((folder / name).relative_to(tmp_path / "board")) for name in (MANIFEST, f"{LEDGER}.xz"))]
    )
    assert lzma.decompress((folder / f"{LEDGER}.xz").read_bytes()) == run.ledger.to_bytes()
    assert parse_manifest((folder / MANIFEST).read_bytes(), "it") == run.manifest
    assert f"## {TASK.name}" in (tmp_path / "board" / TABLE).read_text()


def test_submitting_again_changes_no_byte(run: Run, tmp_path: Path) -> None:
    (folder,) = submit([run], tmp_path / "board")
    before = tree(tmp_path / "board")
    assert submit([run], tmp_path / "board") == [folder]
    assert tree(tmp_path / "board") == before


def change_one_value(run: Run) -> Run:
    values = run.ledger.values
    values[57] = 0.5
    return relabelled(run, value=values)


def infeasible_made_feasible(run: Run) -> Run:
    values = run.ledger.values
    values[int(np.isneginf(values).argmax())] = 0.0
    return relabelled(run, value=values)


FAULTS: dict[str, tuple[Callable[[Run], Run], str]] = {
    "one value changed": (change_one_value, r"1 of 120 values are not what the function gives, the first in record 58"),
    "an infeasible row made feasible": (infeasible_made_feasible, "1 of 120 values are not what the function gives"),
    "a better best value": (
        lambda r: changed(r, lambda m: m.update(best_value=1.0)),
        "states best_value = 1.0, the ledger",
    ),
    "a smaller regret": (
        lambda r: changed(r, lambda m: m["simple_regret_at"].update({"100": 0.0})),
        "simple_regret_at",
    ),
    "fewer evaluations": (
        lambda r: changed(r, lambda m: m.update(evaluations=9)),
        "states evaluations = 9, the ledger gives",
    ),
    "a budget overspent": (lambda r: changed(r, lambda m: m.update(budget=119)), "120 evaluations on a budget of 119"),
    "another function": (lambda r: changed(r, lambda m: m.update(digest="0" * 64)), "was run on another function"),
    "another task": (lambda r: changed(r, lambda m: m.update(task="llome/ehr-V32-L32-c4-k4-q2")), "another function"),
    "a name that is not canonical": (
        lambda r: changed(r, lambda m: m.update(task="ehrlich/ehr-V032-L32-c4-k4-q4-seed0")),
        "the task's name is ehrlich/ehr-V32-L32-c4-k4-q4-seed0",
    ),
    "a wall time that is none": (lambda r: changed(r, lambda m: m.update(wall_s=float("nan"))), "no valid wall_s"),
    "another ledger's digest": (
        lambda r: changed(r, lambda m: m.update(ledger_sha256="0")),
        "states ledger_sha256 = 0",
    ),
    "no such task": (lambda r: changed(r, lambda m: m.update(task="llome/ehr")), "there is no task 'llome/ehr'"),
    "a path as task": (lambda r: changed(r, lambda m: m.update(task="../../etc")), r"there is no task"),
    "a path as agent": (lambda r: changed(r, lambda m: m.update(agent="../me")), "no valid agent"),
    "markup as agent": (
        lambda r: changed(r, lambda m: m.update(agent="<b>me</b>")),
        "no valid agent",
    ),
    "an unfinished run": (lambda r: changed(r, lambda m: m.update(status="running")), "not finished; go on with"),
    "no environment": (lambda r: changed(r, lambda m: m.pop("environment")), "no valid environment"),
    "no seed": (lambda r: changed(r, lambda m: m.pop("seed")), "no valid seed"),
    "a budget that is a string": (lambda r: changed(r, lambda m: m.update(budget="120")), "no valid budget"),
    "rows asked that decrease": (
        lambda r: relabelled(r, asked=r.ledger.asked_counts[::-1]),
        "counts of rows asked and of calls do not increase",
    ),
    "a call number 0": (
        lambda r: relabelled(r, call=r.ledger.call_numbers * 0),
        "counts of rows asked and of calls do not increase",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_replay_is_refused_and_nothing_is_written(run: Run, tmp_path: Path, fault: str) -> None:
    tamper, message = FAULTS[fault]
    with pytest.raises(InvalidSubmission, match=message):
        submit([run, tamper(run)], tmp_path / "board")
    assert not (tmp_path / "board").exists()
    verify(run)  # the untouched one passes


def test_all_faults_are_named_at_once(run: Run) -> None:
    broken = changed(change_one_value(run), lambda m: m.update(budget=3, feasible_share=1.0))
    with pytest.raises(InvalidSubmission) as refused:
        verify(broken)
    for part in ("on a budget of 3", "values are not what the function gives", "states feasible_share"):
        assert part in str(refused.value)


def test_a_submission_altered_on_the_board_is_found(run: Run, tmp_path: Path) -> None:
    (folder,) = submit([run], tmp_path / "board")
    assert len(read_board(tmp_path / "board")) == 1
    data = bytearray(lzma.decompress((folder / f"{LEDGER}.xz").read_bytes()))
    data[64 + 40] ^= 1
    (folder / f"{LEDGER}.xz").write_bytes(lzma.compress(bytes(data)))
    with pytest.raises(InvalidSubmission, match=r"refused: .*record 1 of 120 fails its checksum"):
        read_board(tmp_path / "board")
    (folder / f"{LEDGER}.xz").write_bytes(b"not xz")
    with pytest.raises(InvalidSubmission, match="is refused"):
        read_board(tmp_path / "board")


def test_a_forged_submission_on_the_board_is_found(run: Run, tmp_path: Path) -> None:
    (folder,) = submit([run], tmp_path / "board")
    write_manifest(folder, {**run.manifest, "best_value": 1.0})  # with a checksum that fits
    with pytest.raises(InvalidSubmission, match="states best_value = 1"):
        read_board(tmp_path / "board")


def test_a_ledger_counts_once_under_one_label(run: Run, tmp_path: Path) -> None:
    submit([run], tmp_path / "board")
    before = tree(tmp_path / "board")
    for edit in ({"seed": 1}, {"agent": "other"}, {"budget": 200}):
        with pytest.raises(InvalidSubmission, match=r"its ledger is that of .* under another label"):
            submit([changed(run, lambda m, edit=edit: m.update(edit))], tmp_path / "board")  # type: ignore[misc]
    assert tree(tmp_path / "board") == before


def test_a_seed_counts_once(run: Run, tmp_path: Path) -> None:
    other = run_agent(load_agent("random"), TASK, budget=120, seed=1, out=tmp_path / "other")
    twin = changed(other, lambda m: m.update(seed=0))
    for runs in ([run, twin], [twin, run]):
        with pytest.raises(InvalidSubmission, match="has the same agent, settings and seed and another ledger"):
            submit(runs, tmp_path / "board")
    assert not (tmp_path / "board").exists()


def test_nothing_is_stored_on_a_board_that_does_not_verify(run: Run, tmp_path: Path) -> None:
    (folder,) = submit([run], tmp_path / "board")
    (folder / f"{LEDGER}.xz").write_bytes(b"not xz")
    other = run_agent(load_agent("random"), TASK, budget=120, seed=1, out=tmp_path / "other")
    before = tree(tmp_path / "board")
    with pytest.raises(InvalidSubmission, match=folder.name):
        submit([other], tmp_path / "board")
    assert tree(tmp_path / "board") == before


def test_a_compressed_ledger_is_never_unpacked_beyond_its_budget(run: Run, tmp_path: Path) -> None:
    (folder,) = submit([run], tmp_path / "board")
    bomb = lzma.compress(run.ledger.to_bytes() + bytes(10**8), preset=0)
    (folder / f"{LEDGER}.xz").write_bytes(bomb)
    tracemalloc.start()
    with pytest.raises(InvalidSubmission, match="is refused"):
        read_board(tmp_path / "board")
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()


def test_the_readme_shows_the_committed_table() -> None:
    root = Path(__file__).parents[1]
    lines = (root / "leaderboards" / TABLE).read_text().splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert "\n".join(rows) in (root / "README.md").read_text()


def test_an_unfinished_copy_of_a_killed_submit_is_not_read(run: Run, tmp_path: Path) -> None:
    (folder,) = submit([run], tmp_path / "board")
    (folder.parent / ".incoming-x").mkdir()
    (folder.parent / ".incoming-x" / MANIFEST).write_text("{")
    assert len(read_board(tmp_path / "board")) == 1


def result(
    agent: str = "a",
    seed: int = 0,
    regret: tuple[float, ...] = (0.9, 0.5, 0.1),
    budget: int = 10_000,
    config: str = "{}",
    constraints_known: bool = False,
) -> Result:
    return Result(
        task="t",
        agent=agent,
        config=config,
        constraints_known=constraints_known,
        seed=seed,
        budget=budget,
        evaluations=budget,
        curve=RegretCurve(np.array([0, *CHECKPOINTS])[: len(regret) + 1], np.array([1.0, *regret])),
        solution=np.zeros(4, np.int64),
        feasible=0.5,
        distinct=1.0,
        diversity=0.5,
        wall_s=1.25,
    )


def test_a_row_is_the_median_over_seeds_with_quartiles() -> None:
    header, rows = table([result(seed=s, regret=(0.9, 0.5, r)) for s, r in enumerate((0.0, 0.1, 0.2, 0.3, 0.4))])
    assert [dict(zip(header, row, strict=True)) for row in rows] == [
        {
            "agent": "a",
            "seeds": "5",
            "budget": "10,000",
            "regret @ 1k": "0.900 [0.900, 0.900]",
            "regret @ 3k": "0.500 [0.500, 0.500]",
            "regret @ 10k": "0.200 [0.100, 0.300]",
            "feasible": "50 %",
            "distinct": "100 %",
            "wall time": "1.2 s",
        }
    ]


def test_rows_are_sorted_by_regret_and_configs_told_apart() -> None:
    _, rows = table(
        [result("b"), result("a", regret=(0.9, 0.6, 0.1)), result("b", config='{"x": 1}', regret=(1.0, 1.0, 0.0))]
    )
    assert [row[0].split(" #")[0] for row in rows] == ["b", "b", "a"]
    assert len({row[0] for row in rows}) == 3


def test_who_is_shown_the_constraints_is_told_apart() -> None:
    _, rows = table([result("a"), result("a", seed=1, constraints_known=True, regret=(0.1, 0.1, 0.0))])
    assert [row[:2] for row in rows] == [("a (constraints known)", "1"), ("a", "1")]


def test_a_budget_that_ends_before_a_checkpoint_has_no_regret_there() -> None:
    header, rows = table([result("short", regret=(0.2,), budget=2000), result("long")])
    assert [(row[0], row[5]) for row in rows] == [("long", "0.100"), ("short", "-")]
    assert "regret @ 10k" in header
    assert "regret @ 30k" not in header  # which no budget reaches
    assert "regret @ 30k" in table([result(budget=30_000)])[0]


def test_the_committed_board_verifies_and_its_table_is_the_programs(tmp_path: Path) -> None:
    board = Path(__file__).parents[1] / "leaderboards"
    (tmp_path / SUBMISSIONS).symlink_to(board / SUBMISSIONS)
    assert write_table(tmp_path).read_bytes() == (board / TABLE).read_bytes()
    agents = {r.agent for r in read_board(board) if r.task == TASK.name}
    assert agents >= {"random", "genetic", "genetic-holo", "llome"}
