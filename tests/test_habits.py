"""What holds for every file: lint, types, which room may import which, and no trace of anyone's machine."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bioseq_gym.agent import agent_names
from bioseq_gym.cli import main

REPOSITORY = Path(__file__).resolve().parents[1]
Make = Callable[[str, Path], "subprocess.CompletedProcess[str]"]

# each imports none of those behind it
ROOMS = ("budget", "envs", "agent", "runs", "submission", "study", "report", "site", "leaderboard", "reproduce")
VERIFIERS = ("leaderboard", "replay", "submission/")
# (room, what it must never import, what of that is allowed all the same); a name covers what is below it
RULES: list[tuple[str, set[str], set[str]]] = [
    ("bioseq_gym/", {"bioseq_gym.agents", "torch", "transformers", "sb3_contrib", "stable_baselines3"}, set()),
    (
        "bioseq_gym/functions/",
        {"bioseq_gym", "gymnasium"},
        {"bioseq_gym.compiled", "bioseq_gym.errors", "bioseq_gym.functions"},
    ),
    ("bioseq_gym/envs/", {"bioseq_gym.functions.kernels"}, set()),
    *((f"bioseq_gym/{room}", {f"bioseq_gym.{later}" for later in ROOMS[i:]}, set()) for i, room in enumerate(ROOMS, 1)),
    *((f"bioseq_gym/{room}", {"bioseq_gym.agent", "importlib", "runpy"}, set()) for room in VERIFIERS),
    (
        "agents/",
        {"bioseq_gym"},
        {
            "bioseq_gym.BudgetExhausted",
            "bioseq_gym.EvaluationBudget",
            "bioseq_gym.VectorEvaluationBudget",
            "bioseq_gym.agent",
            "bioseq_gym.agents",
            "bioseq_gym.compiled",
            "bioseq_gym.errors",
        },
    ),
]


def imported_names(source: str, package: str) -> set[str]:
    """Dotted names of all that ``source``, a module of ``package``, imports, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: -node.level + 1 or None] if node.level else []
            module = ".".join([*parents, *filter(None, [node.module])])
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def forbidden_imports(path: str, source: str) -> set[str]:
    """The imports of ``source``, the file at ``path``, that break a rule."""
    package = ".".join(Path(path).parts[:-1])
    names = imported_names(source, f"bioseq_gym.{package}" if path.startswith("agents/") else package)
    return {
        name
        for room, never, allowed in RULES
        if path.startswith(room)
        for name in names
        if _covers(never, name) and not _covers(allowed, name)
    }


def _covers(names: set[str], name: str) -> bool:
    return any(f"{name}.".startswith(f"{above}.") for above in names)


SOURCES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for folder in ("agents", "bioseq_gym")
    for path in (REPOSITORY / folder).rglob("*.py")
)


@pytest.mark.parametrize("path", SOURCES)
def test_imports_go_one_way(path: str) -> None:
    assert forbidden_imports(path, (REPOSITORY / path).read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize(
    ("path", "source", "found"),
    [
        ("bioseq_gym/runs.py", "def f():\n    import torch.nn", {"torch.nn"}),
        ("bioseq_gym/cli.py", "from bioseq_gym.agents import llome_agent", {"bioseq_gym.agents.llome_agent"}),
        ("bioseq_gym/cli.py", "from . import agents", {"bioseq_gym.agents"}),
        ("bioseq_gym/runs.py", "from bioseq_gym.study import Study", {"bioseq_gym.study.Study"}),
        ("bioseq_gym/study.py", "from bioseq_gym.runs import Run", set()),
        ("bioseq_gym/cli.py", "from bioseq_gym.agent import load_agent", set()),
        ("bioseq_gym/functions/spec.py", "from ..budget import Ledger", {"bioseq_gym.budget.Ledger"}),
        ("bioseq_gym/functions/spec.py", "import gymnasium as g", {"gymnasium"}),
        ("bioseq_gym/functions/spec.py", "from ..errors import InvalidSpec\nfrom .kernels import narrow", set()),
        ("bioseq_gym/envs/build.py", "from bioseq_gym.functions import kernels", {"bioseq_gym.functions.kernels"}),
        ("bioseq_gym/leaderboard/verify.py", "import importlib.util", {"importlib.util"}),
        ("bioseq_gym/leaderboard.py", "from bioseq_gym.agent import load_agent", {"bioseq_gym.agent.load_agent"}),
        ("bioseq_gym/submission/verify.py", "import bioseq_gym.agent", {"bioseq_gym.agent"}),
        ("agents/new_agent.py", "import bioseq_gym", {"bioseq_gym"}),
        (
            "agents/new_agent.py",
            "from bioseq_gym import load_task, Ehrlich",
            {"bioseq_gym.load_task", "bioseq_gym.Ehrlich"},
        ),
        ("agents/new_agent.py", "from bioseq_gym.functions.spec import *", {"bioseq_gym.functions.spec.*"}),
        ("agents/llome/new.py", "from ...suite import Task", {"bioseq_gym.suite.Task"}),
        (
            "agents/llome/new.py",
            "import torch\nfrom bioseq_gym import EvaluationBudget\nfrom ..x_agent import y",
            set(),
        ),
    ],
)
def test_a_forbidden_import_is_seen(path: str, source: str, found: set[str]) -> None:
    assert forbidden_imports(path, source) == found


def test_leaderboards_hold_no_code() -> None:
    assert not [path for path in (REPOSITORY / "leaderboards").rglob("*") if path.suffix in {".py", ".sh", ".pkl"}]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Run a target of a checkout's Makefile on this environment; one cache for all, so that mypy reads NumPy once."""
    home = tmp_path_factory.mktemp("make")
    environment = {**os.environ, "MYPY_CACHE_DIR": str(home / "cache")}

    def run(target: str, checkout: Path) -> subprocess.CompletedProcess[str]:
        command = ["make", target, f"VENV={sys.prefix}", f"TYPES={home / 'types'}"]
        return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)

    return run


@pytest.mark.parametrize("target", ["style", "types"])
def test_make_finds_nothing(make: Make, target: str) -> None:
    done = make(target, REPOSITORY)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_type_error_in_an_agent_is_seen(make: Make, tmp_path: Path) -> None:
    for name in ("agents", "bioseq_gym"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    (tmp_path / "agents" / "wrong.py").write_text('COUNT: int = "one"\n')
    done = make("types", tmp_path)
    assert done.returncode != 0
    assert "agents/wrong.py:1: error" in done.stdout


COMMAND_LINE = re.compile(r"^(?:\.venv/bin/)?((?:make|bioseq-gym) [^#\n]*[^#\s])", re.MULTILINE)
COMMANDS = sorted({line for path in REPOSITORY.glob("*.md") for line in COMMAND_LINE.findall(path.read_text("utf-8"))})


@pytest.mark.parametrize("line", COMMANDS)
def test_documents_name_commands_and_options_that_exist(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    program, command, *rest = line.split()
    if program == "make":
        assert f"\n{command}:" in (REPOSITORY / "Makefile").read_text("utf-8")
        return
    agent = rest[:1] if rest[:1] and rest[0] in agent_names() else ["random"]
    with pytest.raises(SystemExit) as stopped:
        main([command, *(agent if command == "run" else []), "--help"])
    assert stopped.value.code == 0
    assert {word for word in rest if word.startswith("--")} <= set(re.findall("--[a-z-]+", capsys.readouterr().out))


# The brackets keep this line from matching itself.
PLACES = r"/(wor[k]|op[t]|roo[t]|hom[e]|tm[p]/w)/|share[d]/|DESIGN[.]md|(index-ur[l]|find-link[s])|pyp[i]\.(org|python)"


@pytest.mark.skipif(not (REPOSITORY / ".git").exists(), reason="not a git checkout")
def test_no_file_names_a_place_outside_of_the_project() -> None:
    done = subprocess.run(["git", "grep", "-nIE", PLACES], cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr  # 1: nothing was found
