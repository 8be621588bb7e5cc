"""The table of ``make bench``: what it says of given figures. Nothing is timed here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.delitem(sys.modules, "table", raising=False)
    import table

    return table


def cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


@pytest.mark.parametrize(
    ("key", "value", "shown", "met"),
    [
        ("batch-32-128-4-4", 300.0, "300x [290, 310]", "yes"),
        ("batch-32-128-4-4", 299.9, "300x [290, 310]", "**missed**"),
        ("batch-32-128-8-8", 1012.4, "1012x [290, 310]", "yes"),
        ("import", 1.25, "1.25x [290, 310]", "yes"),
        ("import", 1.26, "1.26x [290, 310]", "**missed**"),
        ("cold", 6.1, "", "**missed**"),
        ("vector-speed", 3.1, "", "yes"),
    ],
)
def test_a_target_is_met_or_missed(bench: Any, key: str, value: float, shown: str, met: str) -> None:
    text = bench.table({key: bench.Measured(value, "1 ms", "2 ms", (290.0, 310.0))})
    (row,) = [row for row in bench.ROWS if row.key == key]
    (line,) = [line for line in cells(text) if line[0] == row.what]
    assert line == [row.what, "1 ms", "2 ms", shown, row.target, met]


def test_a_row_without_a_result_is_not_met(bench: Any) -> None:
    assert {line[-1] for line in cells(bench.table({}))[2:]} == {"not measured"}


def test_the_page_holds_table_circumstances_and_notes(bench: Any) -> None:
    results = {row.key: bench.Measured(1.0, "1 ms", note=f"note of {row.key}") for row in bench.ROWS}
    page = bench.page(results, {"machine": "abacus"})
    assert "- machine: abacus\n" in page
    assert bench.table(results) in page
    assert all(f"- {row.what}: note of {row.key}.\n" in page for row in bench.ROWS)


def test_a_ratio_is_that_of_the_medians_with_the_quartiles_of_the_rounds(bench: Any) -> None:
    assert bench.ratio([10.0, 30.0, 20.0, 40.0, 90.0], [1.0, 1.0, 1.0, 2.0, 2.0]) == (30.0, (20.0, 30.0))


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.0, "2 s"), (0.01234, "12.3 ms"), (5e-6, "5 µs"), (3.21e-7, "321 ns"), (1e-10, "0.1 ns")]
)
def test_durations(bench: Any, seconds: float, text: str) -> None:
    assert bench.duration(seconds) == text


def test_rows_have_names_of_their_own(bench: Any) -> None:
    assert len({row.key for row in bench.ROWS}) == len({row.what for row in bench.ROWS}) == len(bench.ROWS)


def test_the_page_in_the_repository_has_the_rows_of_the_program(bench: Any) -> None:
    lines = cells((BENCHMARKS / "README.md").read_text(encoding="utf-8"))
    assert lines[0] == list(bench.COLUMNS)
    assert [(line[0], line[4]) for line in lines[2:]] == [(row.what, row.target) for row in bench.ROWS]
    assert {line[-1] for line in lines[2:]} <= {"yes", "**missed**"}
