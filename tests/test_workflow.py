"""The workflow for pull requests that add a row: its commands, run in a repository with a board."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image
from submissions import saved, stating

from bioseq_gym.leaderboard import file_name, submit
from bioseq_gym.report import PAGE
from bioseq_gym.submission import Submission, pack, to_bytes

WORKFLOW = Path(__file__).resolve().parents[1] / ".github" / "workflows" / "submission.yml"
STEP = re.compile(r"^      - name: (\w+)\n        run: \|\n((?:          .*\n)+)", re.MULTILINE)
COMMANDS = {name: dedent(text) for name, text in STEP.findall(WORKFLOW.read_text(encoding="utf-8"))}


def git(repository: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false")
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def repository(abridged: Submission, tmp_path: Path) -> Path:
    """A repository with a board of one row."""
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "-q")
    submit([saved(abridged, tmp_path / "a.zip")], root / "leaderboards")
    commit(root)
    return root


def commit(repository: Path) -> str:
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "one")
    return git(repository, "rev-parse", "HEAD")


def run(step: str, repository: Path, base: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = ["bash", "-e", "-o", "pipefail", "-c", COMMANDS[step]]
    environment = {**os.environ, "PATH": path, "BASE": base}
    return subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True)


def test_it_installs_what_the_pull_request_goes_to() -> None:
    assert list(COMMANDS) == ["install", "verify", "pages"]
    assert 'git worktree add ../base "$BASE"\ncd ../base' in COMMANDS["install"]
    assert "    shell: bash" in WORKFLOW.read_text(encoding="utf-8")  # with pipefail, as run() has it
    assert "python -I -m pip install" in COMMANDS["install"]  # not a pip.py of the pull request
    assert "pull_request_target" not in WORKFLOW.read_text(encoding="utf-8")
    assert "${{" not in "".join(COMMANDS.values())  # nothing of a stranger's is pasted into a shell


def test_a_row_that_was_submitted_passes(repository: Path, others: list[Path], tmp_path: Path) -> None:
    base = git(repository, "rev-parse", "HEAD")
    submit([saved(pack(others, "smoke", abridged=True), tmp_path / "b.zip")], repository / "leaderboards")
    commit(repository)
    done = run("verify", repository, base)
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1), done.stdout
    assert "4 runs of random on smoke, abridged" in done.stdout
    done = run("pages", repository, base)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_row_that_does_not_verify_fails(repository: Path, abridged: Submission) -> None:
    base = git(repository, "rev-parse", "HEAD")
    bad = repository / "leaderboards" / "smoke" / "submissions" / "a b;$(touch x).zip"
    bad.write_bytes(to_bytes(stating(best_value=0.5)(abridged)))
    commit(repository)
    done = run("verify", repository, base)
    assert done.returncode != 0
    assert "it states best_value = 0.5, the replay gives" in done.stderr
    assert not (repository / "x").exists()


def test_a_page_that_was_edited_or_not_built_fails(repository: Path, others: list[Path]) -> None:
    base = git(repository, "rev-parse", "HEAD")
    page = repository / "leaderboards" / "smoke" / PAGE
    page.write_text(page.read_text().replace("# smoke", "# Mine"))
    submission = pack(others, "smoke", abridged=True)
    new = repository / "leaderboards" / "smoke" / "submissions" / file_name(submission)
    new.write_bytes(to_bytes(submission))
    commit(repository)
    assert run("verify", repository, base).returncode == 0
    done = run("pages", repository, base)
    assert done.returncode == 1
    assert "M leaderboards/smoke/README.md" in done.stderr


def test_pages_and_pictures_that_no_submission_is_behind_fail(repository: Path) -> None:
    base = git(repository, "rev-parse", "HEAD")
    board = repository / "leaderboards"
    strays = [
        *("holo-4/README.md", "smoke/more.png", "smoke/.hidden.html", "cards/card.html", "submissions/README.md"),
        *("holo-4/submissions/index.html", "smoke/submissions/.hidden.zip", "smoke/submissions/page.html"),
    ]
    for path in strays:
        (board / path).parent.mkdir(parents=True, exist_ok=True)
        (board / path).write_bytes((board / "smoke" / PAGE).read_bytes())
    (board / "link.md").symlink_to("smoke/README.md")
    commit(repository)
    done = run("pages", repository, base)
    assert done.returncode == 1
    assert {line[3:] for line in done.stderr.splitlines()[1:]} == {f"leaderboards/{p}" for p in [*strays, "link.md"]}


def test_a_picture_may_differ_in_bytes_but_not_in_what_it_shows(repository: Path) -> None:
    base = git(repository, "rev-parse", "HEAD")
    picture = repository / "leaderboards" / "smoke" / "regret.png"
    pixels = plt.imread(picture)
    plt.imsave(picture, pixels, metadata={"Software": "another"})
    commit(repository)
    assert run("pages", repository, base).returncode == 0
    git(repository, "reset", "-q", "--hard", base)
    first = Image.open(picture).convert("RGBA")
    first.save(picture, save_all=True, append_images=[Image.new("RGBA", first.size, "white")])
    commit(repository)
    done = run("pages", repository, base)
    assert (done.returncode, "it moves" in done.stderr) == (1, True)
    git(repository, "reset", "-q", "--hard", base)
    plt.imsave(picture, np.where(pixels.std(axis=-1, keepdims=True) > 0.2, 1.0, pixels))  # no curve
    commit(repository)
    done = run("pages", repository, base)
    assert done.returncode == 1
    assert "RMS" in done.stderr


def test_rows_of_others_are_not_touched(repository: Path) -> None:
    board = repository / "leaderboards"
    (row,) = (board / "smoke" / "submissions").iterdir()
    (record := row.with_suffix(".reproduced.json")).write_text("{}")
    (card := board / "cards" / "genetic.toml").parent.mkdir()
    card.write_text("")
    base = commit(repository)
    for file in (row, record, card):
        for change in (file.unlink, lambda f=file: f.rename(f.with_name("mine")), lambda f=file: f.write_text("x")):
            change()
            commit(repository)
            done = run("verify", repository, base)
            named = f"by hand:\n{file.relative_to(repository)}\n"
            assert (done.returncode, named in done.stderr) == (1, True)
            git(repository, "reset", "-q", "--hard", base)
