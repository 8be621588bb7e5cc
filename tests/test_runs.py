"""Run directories: what they hold, how they go on, what they refuse."""

import json
import multiprocessing
import os
import signal
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bioseq_gym import (
    EvaluationBudget,
    InvalidBudget,
    InvalidConfig,
    InvalidLedger,
    InvalidRun,
    Ledger,
    Task,
    VectorEvaluationBudget,
    load_task,
    runs,
)
from bioseq_gym.agent import Agent, setting
from bioseq_gym.runs import LEDGER, MANIFEST, Result, parse_manifest, read_run, run_agent, write_manifest

TASK = load_task("llome/ehr-V32-L32-c4-k4-q4")


@dataclass(frozen=True)
class Config:
    """Settings of the agent under test."""

    batch: int = setting(10, "rows per call", low=1)
    pause: float = setting(0.0, "seconds between calls")


def walk(env: EvaluationBudget, seed: int, config: Config) -> None:
    """Ask for random neighbours of the start, some of them twice, until refused."""
    rng = np.random.default_rng(seed)
    while True:
        x = np.tile(env.initial_solution, (config.batch, 1))
        x[np.arange(config.batch), rng.integers(env.length, size=config.batch)] = rng.integers(8, size=config.batch)
        env.evaluate(x)
        time.sleep(config.pause)


AGENT = Agent("walk", walk, Config())


def run(out: Path, agent: Agent = AGENT, **changes: Any) -> Any:
    return run_agent(agent, TASK, **{"budget": 95, "seed": 1, "out": out, **changes})


def test_a_run_directory_holds_all_that_the_result_needs(tmp_path: Path) -> None:
    done = run(tmp_path / "a" / "b")
    assert sorted(p.name for p in (tmp_path / "a" / "b").iterdir()) == [LEDGER, MANIFEST]
    again = read_run(tmp_path / "a" / "b")
    assert again.ledger.to_bytes() == done.ledger.to_bytes() == (tmp_path / "a" / "b" / LEDGER).read_bytes()
    manifest = again.manifest
    assert manifest == {key: value for key, value in done.manifest.items() if key != "sha256"}
    assert {k: manifest[k] for k in ("task", "digest", "agent", "config", "seed", "budget", "status", "sessions")} == {
        "task": TASK.name,
        "digest": TASK.digest,
        "agent": "walk",
        "config": {"batch": 10, "pause": 0.0},
        "seed": 1,
        "budget": 95,
        "status": "finished",
        "sessions": 1,
    }
    values = again.ledger.values
    assert manifest["evaluations"] == len(values) <= 95
    assert manifest["best_value"] == max(0.0, values.max()) == 1.0 - manifest["simple_regret"]
    assert manifest["feasible_share"] == np.isfinite(values).mean()
    assert manifest["asked"] == 10 * manifest["calls"] > manifest["evaluations"]
    assert manifest["versions"].keys() >= {"python", "numpy", "numba", "gymnasium"}
    assert manifest["wall_s"] > 0.0


def test_a_directory_that_exists_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    with pytest.raises(InvalidRun, match="exists already; give another --out, or --resume"):
        run(tmp_path / "run")
    with pytest.raises(InvalidRun, match="is not a run directory"):
        run(tmp_path / "run", resume=True)
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["thesis.txt"]


def test_resuming_a_finished_run_returns_it(tmp_path: Path) -> None:
    first = run(tmp_path / "run")
    stamp = (tmp_path / "run" / MANIFEST).stat().st_mtime_ns
    assert run(tmp_path / "run", resume=True).ledger.to_bytes() == first.ledger.to_bytes()
    assert (tmp_path / "run" / MANIFEST).stat().st_mtime_ns == stamp


def crash(env: Any) -> nullcontext[None]:
    """A monitor under which nothing is asked."""
    raise RuntimeError("cut")


def test_a_run_in_use_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with pytest.raises(RuntimeError, match="cut"):
        run(path, monitor=crash)
    before = (path / MANIFEST).read_bytes()
    with Ledger(TASK.digest, TASK.spec.V, TASK.spec.L, path / LEDGER), pytest.raises(InvalidLedger, match="is in use"):
        run(path, resume=True)
    assert (path / MANIFEST).read_bytes() == before
    assert run(path, resume=True).manifest["sessions"] == 2


def test_a_run_killed_before_it_had_a_ledger_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with pytest.raises(RuntimeError, match="cut"):
        run(path, monitor=crash)
    (path / LEDGER).unlink()
    assert run(path, resume=True).ledger.to_bytes() == run(tmp_path / "whole").ledger.to_bytes()


def test_a_run_that_another_process_ends_meanwhile_is_returned_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, make_env = tmp_path / "run", runs.make_env

    def late(*arguments: Any) -> Any:
        monkeypatch.setattr(runs, "make_env", make_env)
        run(path, resume=True)
        return make_env(*arguments)

    monkeypatch.setattr(runs, "make_env", late)
    done = run(path, resume=True, monitor=crash)
    assert (done.manifest["status"], done.manifest["sessions"]) == ("finished", 1)
    assert done.manifest == read_run(path).manifest


def test_resuming_nothing_starts_a_run(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty", resume=True).manifest["sessions"] == 1
    assert run(tmp_path / "new", resume=True).manifest["sessions"] == 1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 2}, "seed"),
        ({"budget": 96}, "budget"),
        ({"config": Config(batch=5)}, "config"),
        ({"agent": Agent("other", walk, Config())}, "agent"),
        ({"agent": Agent("walk", walk, Config(), env_id="EhrlichPropose-v0")}, "environment"),
        ({"agent": Agent("walk", walk, Config(), num_envs=2)}, "environment"),
        ({"agent": Agent("walk", walk, Config(), reveal_constraints=True)}, "environment"),
    ],
)
def test_a_run_is_not_resumed_with_other_settings(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    before = run(tmp_path / "run").ledger.to_bytes()
    with pytest.raises(InvalidRun, match=f"has another {named}; resume it with the settings"):
        run(tmp_path / "run", resume=True, **change)
    assert read_run(tmp_path / "run").ledger.to_bytes() == before


@pytest.mark.parametrize(
    ("budget", "kind"), [(0, InvalidBudget), (-3, InvalidBudget), (1.5, InvalidBudget), (True, InvalidBudget)]
)
def test_a_budget_that_is_none_writes_nothing(tmp_path: Path, budget: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="give an integer of at least 1"):
        run(tmp_path / "run", budget=budget)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("change", [{"seed": -1}, {"seed": 0.5}, {"config": Config(batch=0)}])
def test_a_setting_out_of_range_writes_nothing(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfig, match="give"):
        run(tmp_path / "run", **change)
    assert not (tmp_path / "run").exists()


def test_an_agent_that_fails_leaves_a_run_that_can_go_on(tmp_path: Path) -> None:
    def fail_late(env: EvaluationBudget, seed: int, config: Config) -> None:
        env.evaluate(env.initial_solution[None])
        if fail:
            raise RuntimeError("a bug in the agent")

    fail = True
    with pytest.raises(RuntimeError, match="a bug in the agent"):
        run(tmp_path / "run", agent=Agent("walk", fail_late, Config()))
    assert read_run(tmp_path / "run").manifest["status"] == "running"
    fail = False
    done = run(tmp_path / "run", agent=Agent("walk", fail_late, Config()), resume=True)
    assert (done.manifest["status"], done.manifest["sessions"], done.manifest["evaluations"]) == ("finished", 2, 1)


@pytest.mark.parametrize(("change", "warnings"), [(0, 0), (1, 1)])
def test_a_resumed_run_of_changed_code_is_said_to_be_of_two(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: int, warnings: int
) -> None:
    def crash_late(env: EvaluationBudget, seed: int, config: Config) -> None:
        env.evaluate(np.tile(env.initial_solution, (40, 1)) % (1 + np.arange(40)[:, None]))
        raise RuntimeError("a bug in the agent")

    def mended(env: EvaluationBudget, seed: int, config: Config) -> None:
        env.evaluate(np.tile(env.initial_solution, (40, 1)) % (1 + change + np.arange(40)[:, None]))
        walk(env, seed, config)

    with pytest.raises(RuntimeError, match="a bug in the agent"):
        run(tmp_path / "run", agent=Agent("walk", crash_late, Config()))
    done = run(tmp_path / "run", agent=Agent("walk", mended, Config()), resume=True)
    assert done.manifest["status"] == "finished"
    assert caplog.text.count("asked something else than before: was its code changed?") == warnings


def test_a_run_killed_at_any_instant_goes_on_to_the_same_result(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole").manifest
    slow = {"config": Config(pause=0.01)}
    child = multiprocessing.get_context("fork").Process(target=run, args=(tmp_path / "cut",), kwargs=slow)
    child.start()
    while not (tmp_path / "cut" / LEDGER).exists() or (tmp_path / "cut" / LEDGER).stat().st_size < 1000:
        time.sleep(0.005)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert read_run(tmp_path / "cut").manifest["status"] == "running"
    done = run(tmp_path / "cut", resume=True, **slow).manifest
    same = ("evaluations", "calls", "asked", "simple_regret_at", "feasible_share", "ledger_sha256", "status")
    assert {key: done[key] for key in same} == {key: whole[key] for key in same}
    assert done["sessions"] == 2


def test_a_refused_batch_ends_a_run_as_it_should(tmp_path: Path) -> None:
    def greedy(env: EvaluationBudget, seed: int, config: Config) -> None:
        x = np.zeros((96, 32), int)
        x[np.arange(96), np.arange(96) % 32] = 1 + np.arange(96) // 32
        env.evaluate(x)

    done = run(tmp_path / "run", agent=Agent("greedy", greedy, Config()))
    assert (done.manifest["status"], done.manifest["evaluations"]) == ("finished", 0)


def edit_manifest(path: Path, edit: Any) -> None:
    manifest = json.loads((path / MANIFEST).read_text())
    edit(manifest)
    (path / MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda m: m.update(best_value=1.0), "was edited: its checksum does not fit"),
        (lambda m: m.pop("seed"), "was edited"),
        (lambda m: m.pop("sha256"), "was edited"),
        (lambda m: m.update(format=99), "is not a manifest of format 2"),
        (lambda m: m.clear(), "is not a manifest"),
    ],
)
def test_a_manifest_edited_by_hand_is_refused(tmp_path: Path, edit: Any, message: str) -> None:
    run(tmp_path / "run")
    edit_manifest(tmp_path / "run", edit)
    with pytest.raises(InvalidRun, match=message):
        read_run(tmp_path / "run")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00", "[" * 100_000, '{"format": NaN}'])
def test_what_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(InvalidRun, match="the file is not"):
        parse_manifest(text, "the file")


def test_a_manifest_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = run(tmp_path / "run").path
    before = (path / MANIFEST).read_bytes()
    with pytest.raises(ValueError, match="Out of range float"):
        write_manifest(path, {**parse_manifest(before, "it"), "wall_s": float("nan")})
    assert (path / MANIFEST).read_bytes() == before
    assert sorted(p.name for p in path.iterdir()) == [LEDGER, MANIFEST]


def test_a_manifest_with_a_fitting_checksum_and_without_its_fields_is_refused(tmp_path: Path) -> None:
    write_manifest(tmp_path, {"format": 2, "task": 3})
    with pytest.raises(
        InvalidRun, match="has no valid status, task, digest, agent, environment, config, seed, budget, wall_s"
    ):
        read_run(tmp_path)
    made = run(tmp_path / "run")
    write_manifest(made.path, {**made.manifest, "wall_s": True})
    with pytest.raises(InvalidRun, match=r"has no valid wall_s; "):
        read_run(made.path)


PLAIN = {"id": "Ehrlich-v0", "num_envs": 0, "reveal_constraints": False}


@pytest.mark.parametrize(
    "environment",
    [
        None,
        [],
        {},
        {**PLAIN, "id": "CartPole-v1"},
        {**PLAIN, "id": ["Ehrlich-v0"]},
        {**PLAIN, "num_envs": -1},
        {**PLAIN, "num_envs": True},
        {**PLAIN, "reveal_constraints": 1},
        {**PLAIN, "horizon": 5},
    ],
)
def test_an_environment_that_is_none_of_ours_is_refused(tmp_path: Path, environment: Any) -> None:
    manifest = run(tmp_path / "run").manifest
    assert manifest["environment"] == PLAIN
    write_manifest(tmp_path / "run", {**manifest, "environment": environment})
    with pytest.raises(InvalidRun, match="has no valid environment; run the agent again"):
        read_run(tmp_path / "run")


@pytest.mark.parametrize(
    ("wanted", "kind", "masked"),
    [
        ({}, EvaluationBudget, False),
        ({"num_envs": 3}, VectorEvaluationBudget, False),
        ({"env_id": "EhrlichBuild-v0", "reveal_constraints": True}, EvaluationBudget, True),
        ({"env_id": "EhrlichBuild-v0", "num_envs": 3, "reveal_constraints": True}, VectorEvaluationBudget, True),
    ],
)
def test_an_agent_gets_the_environment_that_it_wants(
    tmp_path: Path, wanted: dict[str, Any], kind: type[Any], masked: bool
) -> None:
    def look(env: Any, seed: int, config: Config) -> None:
        seen.append(env)
        masks.append("action_mask" in env.reset(seed=0)[1])
        env.evaluate(env.initial_solution[None])

    seen: list[Any] = []
    masks: list[bool] = []
    done = run(tmp_path / "run", agent=Agent("look", look, Config(), **wanted))
    assert type(seen[0]) is kind
    assert type(seen[0].unwrapped).__name__.startswith(wanted.get("env_id", "Ehrlich-v0").split("-")[0])
    assert getattr(seen[0], "num_envs", 0) == wanted.get("num_envs", 0)
    assert masks == [masked]
    assert done.manifest["environment"] == {
        "id": wanted.get("env_id", "Ehrlich-v0"),
        "num_envs": wanted.get("num_envs", 0),
        "reveal_constraints": masked,
    }
    assert Result.of(done).constraints_known is masked


def test_settings_of_another_class_write_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match=r"must be an instance of a dataclass, not \{'n': 3\}"):
        run(tmp_path / "run", config={"n": 3})
    assert not (tmp_path / "run").exists()


def test_a_task_is_played_as_published_or_not_at_all(tmp_path: Path) -> None:
    other = Task(TASK.name, load_task("llome/ehr-V32-L32-c4-k4-q2").spec)
    with pytest.raises(InvalidRun, match="is another function than the published one"):
        run_agent(AGENT, other, budget=10, seed=0, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", [MANIFEST, LEDGER])
def test_a_file_that_is_missing_is_named(tmp_path: Path, name: str) -> None:
    run(tmp_path / "run")
    (tmp_path / "run" / name).unlink()
    with pytest.raises((InvalidRun, InvalidLedger), match=name):
        read_run(tmp_path / "run")
