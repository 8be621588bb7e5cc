"""The page of the leaderboards without a browser: its data, its files, and the server."""

from __future__ import annotations

import re
import shutil
import socket
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import (
    BOARDS,
    LIVE,
    SETTINGS,
    board_data,
    label,
    markdown_tables,
    read_data,
    served,
    shown,
    strange_board,
    submission_data,
)
from submissions import TASK, saved, tree

from bioseq_gym import InvalidRun, load_task
from bioseq_gym.cli import main
from bioseq_gym.errors import UnknownName
from bioseq_gym.leaderboard import board_names, rebuild, submit
from bioseq_gym.report import regret_table
from bioseq_gym.site import INDEX, SITE, serve
from bioseq_gym.site.content import _spans
from bioseq_gym.study import SUBMISSIONS, Study, read_study
from bioseq_gym.submission import Submission, pack
from bioseq_gym.suite import TARGETS

STATIC = Path(str(files("bioseq_gym.site"))) / "static"
NAMES = board_names(BOARDS)


@pytest.fixture(scope="module")
def made_once(abridged: Submission, others: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("boards")
    root = strange_board(home, abridged, pack(others, "smoke"))
    submit([saved(pack(others, TASK, abridged=True), home / "task.zip")], root)
    return root


@pytest.fixture
def board(made_once: Path, tmp_path: Path) -> Path:
    """A board on the smoke suite with two submissions, one of them strange, and one on a task."""
    return Path(shutil.copytree(made_once, tmp_path / "board"))


def study_of(root: Path, name: str) -> Study:
    return read_study(sorted((root / name / SUBMISSIONS).glob("*.zip")))


# What is shown


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_pages_give_the_numbers_of_the_committed_tables(name: str) -> None:
    data, tables = board_data(BOARDS, name), markdown_tables(BOARDS / name / "README.md")
    headings = ["Regret", *(f"Regret by shape: {group['name']}" for group in data["groups"][1:])]
    for number, heading in enumerate(headings):
        header, *rows = tables[heading]
        assert {row[0] for row in rows} == {label(row) for row in data["rows"]}
        cells = {row[0]: row[2 : header.index("AOCC") + 1] for row in rows}
        for row in data["rows"]:
            numbers = row["numbers"][number]
            assert cells[label(row)] == [shown(cell) for cell in (*numbers["regret"], numbers["aocc"][-1])]


@pytest.mark.parametrize("name", ["smoke", TASK])
def test_numbers_are_those_of_the_report(made_once: Path, name: str) -> None:
    study, data = study_of(made_once, name), board_data(made_once, name)
    parts = study.by_shape()
    parts = parts if len(parts) == 1 else {f"all {len(study.tasks)} tasks": study, **parts}
    assert [(group["name"], group["tasks"]) for group in data["groups"]] == [(n, p.tasks) for n, p in parts.items()]
    assert data["budgets"] == study.checkpoints == [300]
    for number, part in enumerate(parts.values()):
        rows = {row[0]: row[2:] for row in regret_table(part, part.agents)[1]}
        for row in data["rows"]:
            numbers = row["numbers"][number]
            assert rows[row["label"]] == tuple(shown(cell) for cell in (*numbers["regret"], *numbers["aocc"]))


def test_curves_are_those_of_the_runs_and_targets_are_counted(made_once: Path) -> None:
    study, data = study_of(made_once, "smoke"), board_data(made_once, "smoke")
    grid = np.array(data["grid"])
    assert (grid[0], grid[-1]) == (1, 300)
    for row in data["rows"]:
        of_row = submission_data(made_once, "smoke", row["id"])
        for curves, group in zip(of_row["curves"], data["groups"], strict=True):
            curved = [r.curve for r in study.of_agent(row["label"]) if r.task in group["tasks"]]
            regrets = np.sort([curve.at(grid) for curve in curved], axis=0)
            cut = len(curved) // 4
            middle = regrets[cut : len(curved) - cut].mean(axis=0)
            low, high = np.array(curves["band"])
            assert curves["regret"] == pytest.approx(middle, abs=0.00051)
            assert (low <= curves["regret"]).all()
            assert (curves["regret"] <= high).all()
            assert (regrets[0] - 0.001 < low).all()
            assert (high < regrets[-1] + 0.001).all()
            reached = [1 - curve.at(n) >= target for n in grid for curve in curved for target in TARGETS]
            assert curves["ecdf"] == pytest.approx(np.reshape(reached, (len(grid), -1)).mean(axis=1), abs=0.00051)


def test_rows_are_of_the_submissions_and_the_best_first(made_once: Path) -> None:
    rows = board_data(made_once, "smoke")["rows"]
    assert [(row["label"], row["ledgers"], row["reproduced"], row["again"], row["runs"]) for row in rows] == [
        ("genetic", "abridged", "compatible", "(2 of 4)", 4),
        ("random", "whole", "", "", 4),
    ]
    assert all((made_once / "smoke" / SUBMISSIONS / f"{row['id']}.zip").exists() for row in rows)
    for name in NAMES:
        areas = [row["numbers"][0]["aocc"][-1][0] for row in board_data(BOARDS, name)["rows"]]
        assert areas == sorted(areas, reverse=True)


def test_runs_and_designs_are_those_of_the_ledgers(made_once: Path) -> None:
    study = study_of(made_once, "smoke")
    for row in board_data(made_once, "smoke")["rows"]:
        runs = submission_data(made_once, "smoke", row["id"])["runs"]
        for run, result in zip(runs, study.of_agent(row["label"]), strict=True):
            assert (run["task"], run["seed"], run["evaluations"]) == (result.task, result.seed, result.evaluations)
            assert run["best"] == result.solution.tolist()
            assert run["regret"] == [pytest.approx(result.curve.at(300), abs=0.00051)]


def assert_matches(root: Path, name: str) -> None:
    tasks = read_data(root / SITE / name / "tasks.js")[1]
    for row in board_data(root, name)["rows"]:
        for run in submission_data(root, name, row["id"])["runs"]:
            spec, best = load_task(run["task"]).spec, np.array(run["best"])
            function, shape = load_task(run["task"]).function, tasks[run["task"]]
            value, expected = 1.0, function.best_matches(best)
            for (first, found), match, motif, offsets in zip(
                run["matches"], expected, shape["motifs"], shape["offsets"], strict=True
            ):
                assert [first + offset for offset in offsets] == match.positions.tolist()
                assert [mark == "1" for mark in found] == match.found.tolist()
                assert (best[match.positions] == motif).tolist() == match.found.tolist()
                value *= found.count("1") * spec.q // spec.k / spec.q
            assert value == pytest.approx(function(best[None])[0])  # without epistasis, which no suite has
            assert value == pytest.approx(1 - run["regret"][-1], abs=0.00051)


def test_the_motifs_of_designs_make_their_values(made_once: Path) -> None:
    assert_matches(made_once, "smoke")
    assert_matches(BOARDS, "llome-6")


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("plain", [["", "plain"]]),
        ("**a b**, *c* and `d*`.", [["b", "a b"], ["", ", "], ["i", "c"], ["", " and "], ["code", "d*"], ["", "."]]),
        ("<b>2 * 3</b>", [["", "<b>2 * 3</b>"]]),
        ("", []),
    ],
)
def test_spans(text: str, spans: list[list[str]]) -> None:
    assert _spans(text) == spans


# Files


def test_data_of_strangers_are_values(made_once: Path) -> None:
    data = {path: read_data(path) for path in (made_once / SITE).rglob("*.js") if not (STATIC / path.name).exists()}
    data |= {path: read_data(path) for path in (made_once / SITE).rglob("*/board.js")}
    assert {name for name, _ in data.values()} == {
        path.relative_to(made_once / SITE).with_suffix("").as_posix() for path in data
    }
    (strange,) = (value for name, value in data.values() if "/of/" in name and value["card"])
    assert dict(strange["card"])["name"] == LIVE
    assert strange["links"] == {"paper": "https://example.org/a?b=%3Cscript%3E#javascript:ran"}
    assert strange["reproduction"] == f"compatible (1 of 2 ledgers, p = 0.25), {LIVE}"
    assert all(key in strange["config"] for key in SETTINGS)
    assert strange["config"].isascii()
    assert len(data) == 1 + 2 * 2 + 3


def test_committed_data_are_ascii_json_without_markup() -> None:
    index = read_data(BOARDS / SITE / "index.js")
    assert (index[0], index[1]["boards"]) == ("index", NAMES)
    for name in NAMES:
        for path in (BOARDS / SITE / name).rglob("*.js"):
            assert read_data(path)[0] == path.relative_to(BOARDS / SITE).with_suffix("").as_posix()
        ids = {path.stem for path in (BOARDS / name / SUBMISSIONS).glob("*.zip")}
        assert {row["id"] for row in board_data(BOARDS, name)["rows"]} == ids
        assert {path.stem for path in (BOARDS / SITE / name / "of").iterdir()} == ids


def test_the_page_makes_no_markup_and_may_run_nothing_else() -> None:
    live = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|style=|\.style\b")
    for path in STATIC.iterdir():
        assert live.findall(path.read_text(encoding="utf-8")) == [], path.name
    page = (STATIC / INDEX).read_text(encoding="utf-8")
    assert "content=\"default-src 'none'; script-src 'self'; style-src 'self';" in page
    assert re.findall("<script>|https?://", page) == []


def test_all_that_the_page_needs_is_shipped_and_is_what_is_committed() -> None:
    shipped = {file.name: file.read_bytes() for file in (files("bioseq_gym.site") / "static").iterdir()}
    needed = set(re.findall(r'(?:src|href)="site/([^"]+)"', shipped[INDEX].decode()))
    assert needed == shipped.keys() - {INDEX} | {"index.js"}
    assert {name: (BOARDS / ("" if name == INDEX else SITE) / name).read_bytes() for name in shipped} == shipped


def test_the_same_submissions_give_the_same_bytes_and_a_removed_one_goes(board: Path) -> None:
    before = tree(board)
    rebuild(board)
    assert tree(board) == before
    shutil.rmtree(board / SITE)
    (board / INDEX).unlink()
    rebuild(board)
    assert tree(board) == before
    (gone,) = (board / "smoke" / SUBMISSIONS).glob("random-*.zip")
    gone.unlink()
    rebuild(board)
    after = tree(board)
    assert before.keys() - after.keys() == {
        f"{SITE}/smoke/of/{gone.stem}.js",
        gone.relative_to(board).as_posix(),
    }
    assert [row["label"] for row in board_data(board, "smoke")["rows"]] == ["genetic"]
    others = [name for name in before if name.startswith((f"{SITE}/{TASK}", TASK))]
    assert [after[name] for name in others] == [before[name] for name in others]


def test_a_submit_leaves_the_data_of_other_boards(board: Path, others: list[Path], tmp_path: Path) -> None:
    before = tree(board)
    submit([saved(pack(others, "smoke"), tmp_path / "again.zip")], board)
    assert tree(board) == before


@pytest.mark.parametrize("act", [rebuild, lambda root: submit([*(root / "smoke" / SUBMISSIONS).glob("*.zip")], root)])
def test_the_page_of_someone_else_is_left_alone(board: Path, act: Any) -> None:
    (board / INDEX).write_text("<h1>Mine</h1>")
    before = tree(board)
    with pytest.raises(InvalidRun, match=r"index\.html is there and was not made by bioseq-gym"):
        act(board)
    assert tree(board) == before


# The server


@pytest.fixture(scope="module")
def port(made_once: Path) -> Iterator[int]:
    (made_once / ".hidden").write_text("secret")
    (made_once / SITE / ".new.index.js").write_text("secret")
    addresses: list[str] = []
    ready = threading.Event()
    threading.Thread(
        target=serve, args=(made_once, 0, lambda address: (addresses.append(address), ready.set())), daemon=True
    ).start()
    assert ready.wait(10)
    match = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/", addresses[0])
    assert match is not None
    yield int(match[1])
    (made_once / ".hidden").unlink()
    (made_once / SITE / ".new.index.js").unlink()


def asked(port: int, path: str) -> tuple[int, str | None, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    status, kind, body = answer.status, answer.getheader("Content-Type"), answer.read()
    connection.close()
    return status, kind, body


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        (f"/{SITE}/data.js?x=1", "text/javascript"),
        (f"/{SITE}/{TASK}/board.js", "text/javascript"),
        ("/README.md", "text/plain"),
    ],
)
def test_what_is_there_is_served(port: int, path: str, kind: str) -> None:
    assert asked(port, path)[:2] == (200, kind)


@pytest.mark.parametrize(
    "path",
    [
        "/.hidden",
        "/%2ehidden",
        "/%2Ehidden",
        f"/{SITE}/.new.index.js",
        f"/{SITE}%2f.new.index.js",
        f"//{SITE}//%2enew.index.js",
        "/../strange.zip",
        "/%2e%2e/strange.zip",
        "/..%2fstrange.zip",
        "/smoke/../../strange.zip",
        "/..%5cstrange.zip",
        "//etc/passwd",
        "/nothing",
        "/index.html%00.js",
    ],
)
def test_what_is_hidden_or_elsewhere_is_not_found(port: int, path: str, capfd: pytest.CaptureFixture[str]) -> None:
    status, _, body = asked(port, path)
    assert status == 404
    assert b"secret" not in body
    assert capfd.readouterr().err == ""


def test_other_machines_are_not_served(port: int) -> None:
    with pytest.raises(OSError, match=r"refused|timed out|unreachable|assign"):
        socket.create_connection(("127.0.0.2", port), timeout=2)


def test_there_must_be_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnknownName, match=r"there is no page in .*; build it with bioseq-gym leaderboard --rebuild"):
        serve(tmp_path, 0, print)
    for folder, message in ((tmp_path, "there is no page in"), (tmp_path / "none", "there is no leaderboard in")):
        assert main(["leaderboard", "--serve", "--board", str(folder)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"bioseq-gym: {message} {folder}")


def test_a_port_that_cannot_be_had_is_an_error_of_one_line(made_once: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for port in (str(taken.getsockname()[1]), "70000", "-1"):
            assert main(["leaderboard", "--serve", "--board", str(made_once), "--port", port]) == 2
            (line,) = capsys.readouterr().err.splitlines()
            assert line.startswith(f"bioseq-gym: port {port} can't be had: ")
            assert line.endswith("; give another with --port, or 0 for any")


def test_a_browser_that_stays_open_does_not_keep_the_page_from_it(
    made_once: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()

    def text_browser(address: str) -> None:
        asked(int(address.rstrip("/").rsplit(":", 1)[1]), "/")
        answered.set()

    monkeypatch.setattr("webbrowser.open", text_browser)
    threading.Thread(target=serve, args=(made_once, 0, lambda address: None, True), daemon=True).start()
    assert answered.wait(10)


def test_the_command_serves_until_it_is_interrupted(made_once: Path) -> None:
    with served(made_once) as address:
        port = int(address.rstrip("/").rsplit(":", 1)[1])
        assert asked(port, "/")[0] == 200
