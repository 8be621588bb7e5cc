"""Boards: what is put on them and what is refused, their pages, and studies of submissions."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from submissions import TASK, changed, saved, stating, tree

from bioseq_gym import InvalidRun, InvalidSubmission, load_task
from bioseq_gym.agent import load_agent
from bioseq_gym.leaderboard import board_names, file_name, read_board, rebuild, submit
from bioseq_gym.report import PAGE, ranked, regret_table, running_time_table
from bioseq_gym.runs import run_agent
from bioseq_gym.site import INDEX, SITE
from bioseq_gym.study import SUBMISSIONS, find_runs, read_study
from bioseq_gym.submission import Submission, pack

BOARDS = Path(__file__).parents[1] / "leaderboards"


def test_submitting_makes_the_board_and_its_pages(abridged: Submission, others: list[Path], tmp_path: Path) -> None:
    first, second = saved(abridged, tmp_path / "a.zip"), saved(pack(others, "smoke"), tmp_path / "b.zip")
    on_task = saved(pack(others, TASK, abridged=True), tmp_path / "c.zip")
    root = tmp_path / "board"
    paths = submit([first, second, on_task], root)
    assert paths[0] == root / "smoke" / SUBMISSIONS / file_name(abridged)
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in (first, second, on_task)]
    assert sorted(path for path in tree(root) if not path.startswith(SITE)) == sorted(
        [
            PAGE,
            INDEX,
            *(f"{board}/{name}" for board in ("smoke", TASK) for name in (PAGE, "regret.png", "ecdf.png")),
            *(str(path.relative_to(root)) for path in paths),
        ]
    )
    index = (root / PAGE).read_text()
    assert "- [smoke](smoke/README.md): 2 submissions; 2 tasks, 2 seeds each, 300 evaluations a run\n" in index
    assert f"- [{TASK}]({TASK}/README.md): 1 submission\n" in index
    page = (root / "smoke" / PAGE).read_text()
    assert "# smoke\n" in page
    assert "**What it cannot prove:**" in page
    assert f"| [abridged]({SUBMISSIONS}/{paths[0].name}) |" in page
    assert f"| [whole]({SUBMISSIONS}/{paths[1].name}) |" in page
    before = tree(root)
    assert submit([second, first], root) == [paths[1], paths[0]]  # again
    assert rebuild(root) == [root / TASK / PAGE, root / "smoke" / PAGE]
    assert tree(root) == before


@pytest.fixture(scope="module")
def made_once(abridged: Submission, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("boards")
    submit([saved(abridged, home / "genetic.zip")], home / "board")
    return home / "board"


@pytest.fixture
def board(made_once: Path, tmp_path: Path) -> Path:
    """A board with one submission."""
    return Path(shutil.copytree(made_once, tmp_path / "board"))


def renamed(submission: Submission, agent: str, runs: int = 4) -> Submission:
    """The submission under another agent's name; all but the first ``runs`` with digests of their own."""
    packed = [
        replace(
            run,
            manifest={
                **run.manifest,
                "agent": agent,
                "ledger_sha256": run.manifest["ledger_sha256"] if i < runs else f"{i:064x}",
            },
        )
        for i, run in enumerate(submission.runs)
    ]
    return replace(submission, agent=agent, runs=tuple(packed))


def with_budget(budget: int) -> Callable[[Submission], Submission]:
    def make(submission: Submission) -> Submission:
        runs = tuple(replace(run, manifest={**run.manifest, "budget": budget}) for run in submission.runs)
        return replace(renamed(submission, "other", 0), runs=runs)

    return make


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda s: renamed(s, "mine"), r"it and .*genetic-.*\.zip share 4 ledgers, of 4 at most"),
        (lambda s: renamed(s, "mine", 2), "share 2 ledgers, of 4 at most"),
        (lambda s: changed(s, lambda m: m.update(wall_s=9.0)), "is of the same agent and settings, which count once"),
        (stating(best_value=0.5), "states best_value = 0.5"),
        (lambda s: replace(s, runs=s.runs[:3]), "1 of 4 runs of smoke are missing"),
    ],
)
def test_what_the_board_refuses_changes_nothing(
    board: Path, abridged: Submission, tmp_path: Path, make: Callable[[Submission], Submission], message: str
) -> None:
    good = saved(renamed(abridged, "good", 0), tmp_path / "good.zip")
    before = tree(board)
    with pytest.raises(InvalidSubmission, match=message):
        submit([good, saved(make(abridged), tmp_path / "bad.zip")], board)
    assert tree(board) == before


def test_names_of_files_that_meet_are_seen(
    board: Path, abridged: Submission, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bioseq_gym.leaderboard.file_name", lambda submission: file_name(abridged))
    with pytest.raises(InvalidSubmission, match=r"genetic-.*\.zip is there, of other settings; rename the agent"):
        submit([saved(renamed(abridged, "mine", 0), tmp_path / "a.zip")], board)


def test_an_agent_may_share_a_run_with_another(board: Path, abridged: Submission, tmp_path: Path) -> None:
    submit([saved(renamed(abridged, "parts-early", 1), tmp_path / "a.zip")], board)
    assert [s.agent for s in read_board(board, "smoke")] == ["genetic", "parts-early"]


def test_who_packs_few_runs_keeps_nobody_off_the_board(runs: list[Path], tmp_path: Path) -> None:
    more = [run_agent(load_agent("genetic"), load_task(TASK), budget=300, seed=2, out=tmp_path / "2").path]
    mine, theirs = renamed(pack(runs[:1], TASK), "mine"), pack([*runs, *more], TASK)
    for number, order in enumerate(([mine, theirs], [theirs, mine])):  # one of three ledgers is shared
        for submission in order:
            submit([saved(submission, tmp_path / "a.zip")], tmp_path / str(number))
    two = pack(runs, TASK)
    for number, order in enumerate(([mine, two], [two, mine]), 2):
        submit([saved(order[0], tmp_path / "a.zip")], tmp_path / str(number))
        with pytest.raises(InvalidSubmission, match=r"share 1 ledgers, of 2 at most, under two names"):
            submit([saved(order[1], tmp_path / "a.zip")], tmp_path / str(number))


def test_a_board_of_a_task_has_one_budget(runs: list[Path], others: list[Path], tmp_path: Path) -> None:
    root = tmp_path / "board"
    submit([saved(pack(runs, TASK), tmp_path / "a.zip")], root)
    short = [run_agent(load_agent("random"), load_task(TASK), budget=20, seed=0, out=tmp_path / "short").path]
    with pytest.raises(InvalidSubmission, match="have a budget of 20, and those of the board 300; run it with that"):
        submit([saved(pack(short, TASK), tmp_path / "b.zip")], root)
    submit([saved(pack(others[:1], TASK), tmp_path / "c.zip")], root)  # with another number of seeds, though
    assert [len(s.runs) for s in read_board(root, TASK)] == [2, 1]


def test_a_board_that_was_altered_is_not_built_upon(board: Path, others: list[Path], tmp_path: Path) -> None:
    good = saved(pack(others, "smoke", abridged=True), tmp_path / "good.zip")
    (path,) = (board / "smoke" / SUBMISSIONS).iterdir()
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    for act in (lambda: submit([good], board), lambda: rebuild(board), lambda: read_board(board, "smoke")):
        with pytest.raises(InvalidSubmission, match=f"{path.name} is refused: it is no submission, or was cut"):
            act()
    path.write_bytes(content)
    for name in ("twin.zip", "x) |\n| godlike | 0.zip"):
        (twin := path.with_name(name)).write_bytes(content)
        with pytest.raises(InvalidSubmission, match=f"is refused: call it {path.name}, as bioseq-gym submit does"):
            read_board(board, "smoke")
        twin.unlink()
    for name in ("page.html", "x.reproduced.json"):
        (stray := path.with_name(name)).write_bytes(b"")
        with pytest.raises(InvalidSubmission, match=f"{name}' is neither a submission nor a record beside one"):
            read_board(board, "smoke")
        stray.unlink()
    (elsewhere := board / TASK / SUBMISSIONS).mkdir(parents=True)
    (elsewhere / "a.zip").write_bytes(content)
    with pytest.raises(InvalidSubmission, match=rf"a.zip is refused: it is on smoke, not on {TASK}"):
        read_board(board, TASK)


@pytest.mark.parametrize("page", [PAGE, f"smoke/{PAGE}"])
def test_pages_of_someone_else_are_left_alone(abridged: Submission, tmp_path: Path, page: str) -> None:
    root = tmp_path / "board"
    (root / page).parent.mkdir(parents=True)
    (root / page).write_text("# Mine")
    with pytest.raises(InvalidRun, match="was not made by bioseq-gym"):
        submit([saved(abridged, tmp_path / "a.zip")], root)
    assert tree(root) == {page: b"# Mine"}


class Killed(BaseException):
    """Stands for a signal: what follows does not happen."""


def test_killed_at_any_instant_a_submission_is_there_whole_or_not_at_all(
    board: Path, others: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = saved(pack(others, "smoke", abridged=True), tmp_path / "random.zip")
    before, left = tree(board), [0]

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return real(*arguments)

        return call

    monkeypatch.setattr(os, "replace", counted(os.replace))
    monkeypatch.setattr(os, "fsync", counted(os.fsync))
    roots = []
    # A sync; renames of two pictures, page and index; of the submission; of these four and of two files of the site.
    for steps in range(12):
        root, left[0] = Path(shutil.copytree(board, tmp_path / str(steps))), steps
        with pytest.raises(Killed):
            submit([file], root)
        assert [s.agent for s in read_board(root, "smoke")] == ["genetic", *(["random"] if steps > 5 else [])]
        if steps < 6:
            assert tree(root) == before
        shutil.copytree(board, root / ".bioseq-gym-new-left")  # as a signal does, which no block outlives
        assert board_names(root) == ["smoke"]
        assert all(".bioseq-gym" not in str(path) for path in find_runs([root]))
        roots.append(root)
    left[0] = 12
    submit([file], board)
    for root in roots[5::4]:
        left[0] = 12
        submit([file], root)
        assert tree(root) == tree(board)


# Studies of submissions


def test_whole_abridged_and_the_runs_themselves_give_the_same_regret(
    runs: list[Path], whole: Submission, abridged: Submission, tmp_path: Path
) -> None:
    studies = [
        read_study(runs),
        read_study([saved(whole, tmp_path / "whole.zip")]),
        read_study([saved(abridged, tmp_path / "abridged.zip")]),
    ]
    for table in (regret_table, running_time_table):
        assert len({str(table(study, ranked(study))) for study in studies}) == 1
    for results in zip(*(study.of_agent("genetic") for study in studies), strict=True):
        assert len({tuple(r.curve.evaluations.tolist()) for r in results}) == 1
        for name in ("evaluations", "feasible", "distinct", "diversity", "wall_s", "config", "budget", "seed"):
            assert len({getattr(result, name) for result in results}) == 1, name
        assert len({tuple(result.solution.tolist()) for result in results}) == 1


def test_a_study_may_be_cut(runs: list[Path], whole: Submission, abridged: Submission, tmp_path: Path) -> None:
    files = saved(whole, tmp_path / "whole.zip"), saved(abridged, tmp_path / "abridged.zip")
    cut, of_whole, of_abridged = (read_study(paths, budget=20) for paths in (runs, files[:1], files[1:]))
    assert len({str(regret_table(study, ["genetic"])) for study in (cut, of_whole, of_abridged)}) == 1
    for one, other, short in zip(*(s.of_agent("genetic") for s in (cut, of_whole, of_abridged)), strict=True):
        assert (one.feasible, one.distinct, one.diversity) == (other.feasible, other.distinct, other.diversity)
        assert short.evaluations == one.evaluations == 20
        assert np.isnan([short.feasible, short.distinct, short.diversity]).all()  # which its records can't tell
    with pytest.raises(InvalidRun, match="has a budget of 300, so it can't be cut at 301"):
        read_study(files[1:], budget=301)


def test_submissions_are_found_on_boards_and_verified(board: Path, abridged: Submission, tmp_path: Path) -> None:
    (path,) = find_runs([board])
    assert path.name == file_name(abridged)
    assert read_study([path]).agents == ["genetic"]
    with pytest.raises(InvalidSubmission, match="states best_value"):
        read_study([saved(stating(best_value=0.5)(abridged), tmp_path / "b.zip")])


# The boards of this repository


def test_the_committed_boards_verify_and_their_pages_are_the_programs(tmp_path: Path) -> None:
    assert "llome/ehr-V32-L32-c4-k4-q4" in board_names(BOARDS)
    for path in BOARDS.rglob(f"{SUBMISSIONS}/*"):
        (copy := tmp_path / path.relative_to(BOARDS)).parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    rebuild(tmp_path)
    built, committed = tree(tmp_path), tree(BOARDS)
    assert built.keys() == {path for path in committed if not path.startswith("cards/")}
    pages = [name for name in built if not name.endswith(".png")]  # which hang on the release of matplotlib
    assert [built[name] for name in pages] == [committed[name] for name in pages]
    agents = {submission.agent for submission in read_board(BOARDS, "llome/ehr-V32-L32-c4-k4-q4")}
    assert agents >= {"random", "genetic", "genetic-holo", "llome"}
