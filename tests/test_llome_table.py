"""``benchmarks/llome_table.py``: medians over runs of several budgets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bioseq_gym import load_task
from bioseq_gym.agent import load_agent
from bioseq_gym.runs import run_agent
from bioseq_gym.study import find_runs, read_study

TASK = "llome/ehr-V32-L32-c4-k4-q4"


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[1] / "benchmarks")
    import llome_table

    return llome_table


def test_longer_runs_count_for_shorter_budgets_and_once(program: Any, tmp_path: Path) -> None:
    """Seed 0 with two budgets, seeds 1 and 2 with one: a column has the runs whose budget reaches it."""
    for name, seed, budget in (("a", 0, 1000), ("b", 0, 2000), ("c", 1, 2000), ("d", 2, 1000)):
        run_agent(load_agent("genetic"), load_task(TASK), budget=budget, seed=seed, out=tmp_path / name)
    of = program.read([str(tmp_path)])
    assert [(r.seed, r.budget) for r in of[TASK]["genetic"]] == [(0, 2000), (1, 2000), (2, 1000)]
    regrets = sorted(float(r.curve.at(1000)) for r in of[TASK]["genetic"])
    low, high = (regrets[0] + regrets[1]) / 2, (regrets[1] + regrets[2]) / 2
    title, _, row = program.table(of).splitlines()
    assert title == "| function | agent | 1,000 | 2,000 | 5,000 | 10,000 | 30,000 |"
    cells = row.strip("| ").split(" | ")
    assert cells[:2] == ["V=32, L=32, c=4, k=4, q=4", "genetic"]
    assert cells[2] == f"{regrets[1]:.3f} [{low:.3f}, {high:.3f}] (3)"
    assert cells[3].endswith("(2)")
    assert cells[4:] == ["–"] * 3


def test_functions_of_a_shape_are_taken_together(program: Any, tmp_path: Path) -> None:
    for task in (0, 1):
        for seed in (0, 1):
            name = f"ehrlich/ehr-V8-L12-c2-k3-q3-seed{task}"
            run_agent(load_agent("random"), load_task(name), budget=1000, seed=seed, out=tmp_path / f"{task}-{seed}")
    study = read_study(find_runs([str(tmp_path)]))
    title, _, row = program.shapes(study).splitlines()
    assert title == "| shape | agent | runs | 1,000 |"
    regrets = np.sort([result.curve.at(1000) for result in study.of_agent("random")])
    assert row.startswith(f"| V=8, L=12, c=2, k=3, q=3 | random | 4 | {regrets[1:3].mean():.3f} [")
