"""What agents say of their rounds: the file that is read, and the part of a report that shows it."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from studies import TASKS, result

from bioseq_gym import InvalidRun, load_task
from bioseq_gym.agent import load_agent
from bioseq_gym.plots import plot_rounds
from bioseq_gym.report import ROUNDS as PICTURE
from bioseq_gym.report import write_report
from bioseq_gym.rounds import ROUNDS, Round, read_rounds, rounds_table
from bioseq_gym.runs import run_agent
from bioseq_gym.study import Study, read_study

LINE = {"round": 1, "evaluations": 20, "spearman": 0.5, "distinct": 0.75, "loss": 0.1, "reliability": [[-1.0, 0.2, 1]]}
FIRST = Round(20, 0.5, 0.75, 0.5, 0.25, 2.0, 0.4, [[-1.0, 0.2, 1.0], [-0.5, 0.3, 1.0]])
LAST = Round(40, math.nan, 0.25, 0.125, 0.5, 1.0, 0.2, ())


def written(directory: Path, *lines: object) -> Path:
    path = directory / ROUNDS
    path.parent.mkdir(parents=True)
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return directory


def test_rounds_are_read_with_what_a_line_lacks_as_nan(tmp_path: Path) -> None:
    (full, sparse) = read_rounds(written(tmp_path, LINE, {"evaluations": 40, "spearman": None}))
    assert full[:3] == (20.0, 0.5, 0.75)
    assert full.reliability == [[-1.0, 0.2, 1.0]]
    assert sparse.evaluations == 40.0
    assert math.isnan(sparse.spearman)
    assert sparse.reliability == []


def test_a_run_without_the_file_has_none(tmp_path: Path) -> None:
    assert read_rounds(tmp_path) == []


@pytest.mark.parametrize(
    "line", ["{", "3\n", "[]\n", {"spearman": "high"}, {"reliability": [[1, 2]]}, {"reliability": 3}, b"\xff"]
)
def test_a_file_of_another_form_is_refused_by_its_path(tmp_path: Path, line: object) -> None:
    path = written(tmp_path) / ROUNDS
    path.write_bytes(
        line if isinstance(line, bytes) else (line if isinstance(line, str) else json.dumps(line)).encode()
    )
    with pytest.raises(InvalidRun, match=rf"{path} has lines that are no rounds; remove it, or run the agent again"):
        read_rounds(tmp_path)


def test_the_table_has_medians_of_the_first_rounds_and_of_the_last() -> None:
    header, rows = rounds_table({"a": [[FIRST, LAST], [FIRST._replace(distinct=0.85), LAST], []], "b": [[FIRST]]})
    assert header == ("agent", "rounds", "rank correlation", "distinct", "new", "entropy, bits", "pairwise distance")
    assert rows == [
        ("a", "2", "0.50 to -", "0.80 to 0.25", "0.50 to 0.12", "2.00 to 1.00", "0.40 to 0.20"),
        ("b", "1", "0.50 to 0.50", "0.75 to 0.75", "0.50 to 0.50", "2.00 to 2.00", "0.40 to 0.40"),
    ]


def report(folder: Path, rounds: Sequence[Round]) -> str:
    made = Study.of([replace(result("a", TASKS[0]), rounds=rounds), result("b", TASKS[0])])
    return write_report(made, folder).read_text()


def test_a_report_shows_the_rounds_of_the_agents_that_have_some(tmp_path: Path) -> None:
    page = report(tmp_path, [FIRST, LAST])
    assert f"]({PICTURE})" in page
    section = page[page.index("## Rounds") :].split("\n## ")[0]
    assert "| a | 2 | 0.50 to -" in section
    assert "| b |" not in section
    assert (tmp_path / PICTURE).read_bytes().startswith(b"\x89PNG")
    assert "## Rounds" not in report(tmp_path, [])
    assert not (tmp_path / PICTURE).exists()


def test_the_picture_is_the_same_for_the_same_rounds(tmp_path: Path) -> None:
    runs, styles = {"a": [[FIRST, LAST], []]}, {"a": {"color": "#000000", "ls": "-", "lw": 1.6}}
    first, second = (plot_rounds(runs, styles, tmp_path / name).read_bytes() for name in ("1.png", "2.png"))
    assert first == second


def test_a_study_reads_the_rounds_within_its_budget(tmp_path: Path) -> None:
    path = run_agent(load_agent("random"), load_task(TASKS[0]), budget=50, seed=0, out=tmp_path / "run").path
    written(path, LINE, {"evaluations": 50})
    assert [r.evaluations for r in read_study([path]).of_agent("random")[0].rounds] == [20.0, 50.0]
    assert [r.evaluations for r in read_study([path], budget=40).of_agent("random")[0].rounds] == [20.0]


def test_a_round_that_does_not_say_when_it_ended_is_within_any_budget(tmp_path: Path) -> None:
    path = run_agent(load_agent("random"), load_task(TASKS[0]), budget=50, seed=0, out=tmp_path / "run").path
    written(path, LINE, {"evaluations": 50}, {"spearman": 0.25})
    assert [r.spearman for r in read_study([path]).of_agent("random")[0].rounds][::2] == [0.5, 0.25]
    assert [r.spearman for r in read_study([path], budget=40).of_agent("random")[0].rounds] == [0.5, 0.25]
