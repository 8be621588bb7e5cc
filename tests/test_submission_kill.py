"""kill -9 of submits, and two at once: ``benchmarks/kill_submit.py`` with few of each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).resolve().parents[1] / "benchmarks" / "kill_submit.py"


def test_killed_submits_leave_before_or_after_and_two_at_once_both_land() -> None:
    done = subprocess.run([sys.executable, PROGRAM, "--kills=5", "--pairs=1"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["kills"].get("before", 0) + found["kills"].get("after", 0) == 5
    assert found["pairs"] == {"both landed": 1}
