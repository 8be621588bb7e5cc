"""The package as a user gets it: what is in the wheel, and that it works with its core dependencies alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest
from conftest import Run

import bioseq_gym
from bioseq_gym.agent import agent_names, load_agent

REPOSITORY = Path(__file__).resolve().parents[1]
AGENT_FILES = sorted(path.name for path in (REPOSITORY / "agents").glob("*_agent.py"))
# Not all of scipy, of which Numba imports some.
HEAVY = ("matplotlib", "rich", "sb3_contrib", "scipy.stats", "stable_baselines3", "torch", "transformers")
TASK = "llome/ehr-V32-L32-c4-k4-q4"
RESULT_KEYS = ["task", "agent", "seed", "evaluations", "calls"]
RESULT_KEYS += ["simple_regret", "best_value", "feasible_share", "wall_s"]

SMOKE = """
import gymnasium, bioseq_gym
env = gymnasium.make("Ehrlich-v0", L=128)
env.reset(seed=0)
env.step(env.action_space.sample())
for name in bioseq_gym.task_names():
    task = bioseq_gym.load_task(name)
    assert task.function(task.function.optimal_solution()[None])[0] == 1.0, name
print(len(bioseq_gym.task_names()))
"""


def test_wheel_holds_the_source_and_nothing_else(wheel: Path, source: Path) -> None:
    files = [path for folder in ("agents", "bioseq_gym") for path in (source / folder).rglob("*") if path.is_file()]
    expected = {re.sub("^agents/", "bioseq_gym/agents/", path.relative_to(source).as_posix()) for path in files}
    assert {"bioseq_gym/py.typed", f"bioseq_gym/functions/instances/{TASK}.json"} <= expected
    with ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if ".dist-info/" not in name} == expected


def test_metadata(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        info = f"bioseq_gym-{bioseq_gym.__version__}.dist-info"
        metadata = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
        assert f"{info}/licenses/LICENSE" in archive.namelist()
    assert metadata["License-Expression"] == "MIT"
    core = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    names = sorted(re.split("[<>=]", line)[0] for line in core)
    assert names == ["gymnasium", "numba", "numpy", "rich", "tomli"]  # the last before Python 3.11


def test_works_with_core_dependencies_alone(run_installed: Run) -> None:
    done = run_installed("python", "-W", "error", "-c", SMOKE)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) == len(bioseq_gym.task_names())


@pytest.mark.parametrize(
    ("argument", "shown"), [("tasks", TASK), ("--help", "leaderboard"), ("--version", bioseq_gym.__version__)]
)
def test_command_line(run_installed: Run, argument: str, shown: str) -> None:
    done = run_installed("bioseq-gym", argument)
    assert (done.returncode, done.stderr) == (0, "")
    assert shown in done.stdout


def test_command_line_runs_an_agent(run_installed: Run, tmp_path: Path) -> None:
    options = ("--task", TASK, "--budget", "200", "--seed", "0", "--out", str(tmp_path / "run"), "--json")
    done = run_installed("bioseq-gym", "run", "random", *options)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert list(result) == RESULT_KEYS
    assert [result[key] for key in RESULT_KEYS[:4]] == [TASK, "random", 0, 200]


def test_submissions_are_verified_with_core_dependencies_alone(run_installed: Run, tmp_path: Path) -> None:
    run, file = str(tmp_path / "run"), str(tmp_path / "a.zip")
    assert run_installed("bioseq-gym", "run", "random", "--budget", "20", "--out", run, "--quiet").returncode == 0
    assert run_installed("bioseq-gym", "pack", run, "--suite", TASK, "--out", file).returncode == 0
    done = run_installed("bioseq-gym", "verify", file)
    assert (done.returncode, done.stderr) == (0, "")
    done = run_installed("bioseq-gym", "submit", file, "--board", str(tmp_path / "board"))
    assert (done.returncode, "pip install 'bioseq-gym[report]'" in done.stderr) == (2, True)
    assert not (tmp_path / "board").exists()


def test_a_missing_extra_is_named(run_installed: Run) -> None:
    done = run_installed("bioseq-gym", "run", "llome", "--budget", "10")
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["bioseq-gym: llome needs torch; pip install 'bioseq-gym[agents]'"]


def test_a_report_names_its_extra_before_it_reads(run_installed: Run) -> None:
    done = run_installed("bioseq-gym", "report", "nowhere")
    assert done.returncode == 2
    needed = "bioseq-gym: a report needs matplotlib and scipy; pip install 'bioseq-gym[report]'"
    assert done.stderr.splitlines() == [needed]


def test_import_is_light() -> None:
    script = f"import sys, bioseq_gym; print(*sys.modules.keys() & {set(HEAVY)})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


@pytest.mark.parametrize("file", AGENT_FILES)
def test_agent_file_is_a_program(file: str) -> None:
    done = subprocess.run([sys.executable, f"agents/{file}", "--help"], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--budget" in done.stdout


def test_every_entry_point_is_an_agent_of_that_name() -> None:
    expected = {"adalead", "dqn", "genetic", "genetic-holo", "genetic-small", "llome", "local-search", "maskable-ppo"}
    assert expected | {"ppo", "random", "random-walks"} <= set(agent_names())
    assert [load_agent(name).name for name in agent_names()] == agent_names()
