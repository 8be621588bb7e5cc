"""The recipe for pull requests that add rows to a leaderboard: its commands are run here, on a small board."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from submissions import sweep

from bioseq_gym.leaderboard import submit
from bioseq_gym.submission import pack, to_bytes

WORKFLOW = Path(__file__).parents[1] / ".github" / "workflows" / "submission.yml"
COMMANDS = [line.split("- run: ")[1] for line in WORKFLOW.read_text().splitlines() if "- run: " in line]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository with one row on its board, as a pull request brings it."""
    project = tmp_path / "project"
    runs = sweep(tmp_path / "runs", "random")
    file = tmp_path / "random.zip"
    file.write_bytes(to_bytes(pack(runs, "smoke")))
    submit([file], project / "leaderboards")
    (project / ".venv").mkdir()
    (project / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    (project / ".gitignore").write_text(".venv\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "feat: a row"]):
        subprocess.run([*git, *command], cwd=project, check=True)
    return project


def statuses(project: Path) -> list[int]:
    """The exit status of each command but the set-up, up to the first that fails."""
    assert COMMANDS[0] == "make setup"
    found: list[int] = []
    for command in COMMANDS[1:]:
        shell = ["bash", "-eo", "pipefail", "-c", command]
        found.append(subprocess.run(shell, cwd=project, capture_output=True, check=False).returncode)
        if found[-1]:
            break
    return found


def test_a_row_with_its_pages_passes(clone: Path) -> None:
    assert statuses(clone) == [0, 0, 0]


def test_a_row_that_does_not_replay_fails(clone: Path) -> None:
    (file,) = clone.glob("leaderboards/smoke/submissions/*.zip")
    file.write_bytes(file.read_bytes()[:-40])
    assert statuses(clone)[0] != 0


def test_pages_that_are_not_those_of_the_submissions_fail(clone: Path) -> None:
    page = clone / "leaderboards" / "smoke" / "README.md"
    page.write_text(page.read_text().replace("random", "my agent"))
    subprocess.run(shlex.split("git -c user.name=a -c user.email=a@example.org commit -qam x"), cwd=clone, check=True)
    assert statuses(clone)[-1] == 1
