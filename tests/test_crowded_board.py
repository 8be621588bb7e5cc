"""``benchmarks/crowded_board.py`` in small: its submissions are ones, and it says what it measured."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from pages import board_data, find_browser

from bioseq_gym.leaderboard import read_board
from bioseq_gym.submission import faults

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
pytestmark = pytest.mark.timeout(120)  # a browser that hangs


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import crowded_board

    monkeypatch.setattr(crowded_board, "BUILT", 300.0)  # this machine may be busy
    monkeypatch.setattr(crowded_board, "THERE", 60.0)
    monkeypatch.setattr(crowded_board, "OPENED", 2)
    return crowded_board


def test_a_crowd_verifies_and_no_two_are_one(program: Any) -> None:
    crowd = list(program.crowd(12))
    assert len({submission.setting for submission in crowd}) == len({s.agent for s in crowd}) == 12
    digests = [run.manifest["ledger_sha256"] for submission in crowd for run in submission.runs]
    assert len(set(digests)) == len(digests)
    assert [faults(submission) for submission in crowd] == [[]] * 12


def test_a_board_is_built_and_its_page_opened(
    program: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["crowded_board.py", "--submissions", "3", "--keep", str(tmp_path)])
    assert program.main() == 0
    built, *opened = capsys.readouterr().out.splitlines()
    assert re.match(r"built in [\d.]+ s, target 300 s: verified [\d.]+ s, page data [\d.]+ s, tables and", built)
    assert len(read_board(tmp_path, "llome-6")) == len(board_data(tmp_path, "llome-6")["rows"]) == 3
    if find_browser() is None:
        assert opened == ["the page was not opened: there is no browser"]
        return
    there, read, rows = opened
    assert re.match(r"the table is there in [\d.]+ s \[[\d.]+, [\d.]+\], target 60 s, of 2", there)
    size = re.match(r"read ([\d,]+) bytes before a submission is opened, target 2,000,000", read)
    assert size is not None
    assert 50_000 < int(size[1].replace(",", "")) < 200_000
    assert rows == "rows: 3"
    for target in ("THERE", "LOADED"):
        with monkeypatch.context() as patch:
            patch.setattr(program, target, 0)
            assert not program.look(tmp_path)
