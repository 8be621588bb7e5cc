"""Studies and their report: what is read and refused, and the page."""

import json
import random
import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studies import TASKS, large, result, results, study

from bioseq_gym import InvalidRun, MissingDependency, load_task
from bioseq_gym.agent import Agent, load_agent
from bioseq_gym.labels import marked_labels
from bioseq_gym.plots import line_styles, plot_ecdf
from bioseq_gym.report import (
    ECDF,
    PAGE,
    REGRET,
    SHOWN,
    comparison_table,
    effort_table,
    rank_table,
    ranked,
    regret_table,
    running_time_table,
    write_report,
)
from bioseq_gym.rounds import Round
from bioseq_gym.runs import MANIFEST, read_run, run_agent, write_manifest
from bioseq_gym.study import Study, find_runs, read_study

BOARD = Path(__file__).parents[1] / "leaderboards" / "llome" / "ehr-V32-L32-c4-k4-q4"
RANDOM = load_agent("random")


def run(path: Path, agent: Agent = RANDOM, task: str = TASKS[0], budget: int = 30, seed: int = 0) -> Path:
    return run_agent(agent, load_task(task), budget=budget, seed=seed, out=path).path


def test_runs_are_found_at_any_depth_and_once(tmp_path: Path) -> None:
    first, second = run(tmp_path / "sweep" / "x" / "y" / "a"), run(tmp_path / "sweep" / "b", seed=1)
    (tmp_path / "sweep" / ".incoming").mkdir()
    (tmp_path / "sweep" / ".incoming" / MANIFEST).write_text("{")
    assert sorted(find_runs([first, tmp_path / "sweep", tmp_path / "sweep" / "x"])) == sorted([first, second])
    made = read_study([first, second])
    assert (made.runs, made.agents, made.tasks, made.budget) == (2, ["random"], [TASKS[0]], 30)


def test_a_result_is_that_of_the_ledger(tmp_path: Path) -> None:
    path = run(tmp_path / "run", load_agent("genetic"), budget=300)
    ledger, manifest = read_run(path).ledger, read_run(path).manifest
    (found,) = read_study([path]).of_agent("genetic")
    assert (found.evaluations, found.curve.last) == (len(ledger), manifest["simple_regret"])
    assert load_task(TASKS[0]).function(found.solution[None])[0] == manifest["best_value"] > 0.0
    (cut,) = read_study([path], budget=20).of_agent("genetic")
    assert (cut.evaluations, cut.budget) == (20, 20)
    assert cut.curve.last == found.curve.at(20)
    assert cut.feasible == np.isfinite(ledger.values[:20]).mean()


def test_submissions_are_runs_too() -> None:
    made = read_study(find_runs([BOARD]))
    published = made.of_agent("genetic-holo")
    assert sorted(r.seed for r in published) == list(range(8))
    assert np.median([r.curve.at(10_000) for r in published]) == 0.8671875


def test_what_is_no_finished_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidRun, match="empty is not a run directory and holds none"):
        find_runs([tmp_path / "empty"])
    path = run(tmp_path / "run")
    manifest = read_run(path).manifest
    write_manifest(path, {**manifest, "status": "running"})
    with pytest.raises(InvalidRun, match=r"run is not finished; go on with bioseq-gym run \.\.\. --resume"):
        read_study([path])
    write_manifest(path, {**manifest, "task": TASKS[1]})
    with pytest.raises(InvalidRun, match=r"was run on another function than .*seed1 is now"):
        read_study([path])


def test_budgets_are_never_mixed(tmp_path: Path) -> None:
    paths = [run(tmp_path / "short", budget=20), run(tmp_path / "long", budget=30, seed=1)]
    with pytest.raises(InvalidRun, match=r"budgets of 20, 30, which are not comparable; .* --budget 20"):
        read_study(paths)
    assert [r.evaluations for r in read_study(paths, budget=20).of_agent("random")] == [20, 20]
    for budget in (0, 21):
        with pytest.raises(
            InvalidRun, match=f"short has a budget of 20, so it can't be cut at {budget}; give a --budget from 1"
        ):
            read_study(paths, budget=budget)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (lambda: [result("d", TASKS[1])], r"d has no run on 2 of 3 tasks, as .*L12-c2-k3-q3-seed0; run it there"),
        (lambda: [result("a", TASKS[1], seed=2)], "two runs are of a, the same settings and seed on .*seed1; leave"),
    ],
)
def test_a_study_that_is_not_balanced_is_refused(more: Any, message: str) -> None:
    with pytest.raises(InvalidRun, match=message):
        Study.of([*results(), *more()])


@pytest.mark.parametrize(
    ("settings", "labels"),
    [
        ([{"x": 1, "y": 2}, {"x": 1, "y": 3}], ["a y=2", "a y=3"]),
        ([{}, {"x": -0.5, "z": "by-5"}], ["a", "a x=-0.5"]),  # one is enough
        ([{"x": 1, "z": "u"}, {"x": 2, "z": "v"}], ["a z=u", "a z=v"]),  # words before numbers
        ([{"x": 1, "y": 1}, {"x": 1, "y": 2}, {"x": 2, "y": 1}], ["a x=1 y=1", "a x=1 y=2", "a x=2 y=1"]),
        ([{"x": None}, {}], ["a #", "a #"]),  # a setting that is not there is as null
        ([{"x": True}, {"x": "true"}], ["a #", "a #"]),  # which read alike
        ([{"x": "<b>"}, {"x": 1}], ["a #", "a #"]),
        ([{"*x*": 0}, {"*x*": 1}], ["a #", "a #"]),
        ([{"x": [1]}, {"x": 1}], ["a #", "a #"]),
        ([{key: int(key == one) for key in "wxyz"} for one in "wxyz-"], ["a #"] * 5),  # which takes four
    ],
)
def test_settings_of_one_agent_are_told_apart(settings: list[dict[str, Any]], labels: list[str]) -> None:
    made = Study.of([*(result("a", **one) for one in settings), result("b", x="*")])
    assert [re.sub(" #[0-9a-f]{4}", " #", agent) for agent in made.agents] == [*labels, "b"]


def test_many_settings_of_one_agent_are_told_apart() -> None:
    configs = [json.dumps({"text": f"<{i}>"}) for i in range(500)]
    labels = marked_labels([("a", config) for config in configs])
    assert len(set(labels)) == 500
    assert {len(label) for label in labels} == {len("a #01234")}  # with four digits two would be the same
    assert marked_labels([("a", config) for config in configs[:2]])[0] == labels[0][:7]


def test_lines_of_one_agent_are_told_apart() -> None:
    styles = line_styles(["genetic #1", "genetic #2", "mine", "yours"])
    assert len({(look["color"], look["ls"]) for look in styles.values()}) == 4
    assert (
        line_styles(["genetic"])["genetic"]
        == styles["genetic #1"]
        == line_styles(["genetic (constraints known)"]).popitem()[1]
    )


def test_tables_by_hand() -> None:
    times = {"fast": (2, 4, 6), "slow": (50, 60, None)}  # when a run jumps from 0 to the optimum
    made = Study.of(
        [
            result(agent, seed=seed, values=[0.0] * 100 if n is None else [0.0] * (n - 1) + [1.0])
            for agent, ns in times.items()
            for seed, n in enumerate(ns)
        ]
    )
    areas = {agent: np.mean([0.0 if n is None else 1 - np.log10(n) / 2 for n in ns]) for agent, ns in times.items()}
    agents = ranked(made)
    assert agents == ["fast", "slow"]
    header, rows = regret_table(made, agents)
    assert header == ("agent", "runs", "regret @ 100", "AOCC")
    assert rows[0][:3] == ("fast", "3", "0.000 [0.000, 0.000]")
    assert rows[1][:3] == ("slow", "3", "0.333 [0.000, 1.000]")
    assert [row[3].split()[0] for row in rows] == [f"{areas[agent]:.3f}" for agent in agents]
    ert = ("fast", *["4 (3/3)"] * 4), ("slow", *["105 (2/3)"] * 4)  # 12 / 3 and (50 + 60 + 100) / 2
    assert running_time_table(made, agents)[1] == list(ert)
    assert effort_table(made, agents)[1][1] == ("slow", "60", "100 %", "100 %", "50 %", "2.0 s")
    assert rank_table(made, agents)[1] == [("fast", "1.00 [1.00, 1.00]"), ("slow", "2.00 [2.00, 2.00]")]
    assert comparison_table(made, agents)[1] == [("fast", "", "1.00 (0.100)"), ("slow", "0.00 (0.100)", "")]


def test_the_same_runs_give_the_same_page_in_any_order(tmp_path: Path) -> None:
    runs = results(seeds=2)
    write_report(Study.of(runs), tmp_path / "a")
    random.Random(1).shuffle(runs)
    write_report(Study.of(runs), tmp_path / "b")
    for name in (PAGE, REGRET, ECDF):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    page = (tmp_path / "a" / PAGE).read_text()
    assert "18 runs of 3 agents on 3 tasks, 2 of each agent on each task, with a budget of 100" in page
    assert [line for line in page.splitlines() if line.startswith("#")] == [
        "# Report",
        "## Regret",
        "## Regret by shape",
        *(shapes := ["### V=8, L=12, c=2, k=3, q=3", "### V=8, L=16, c=2, k=4, q=4"]),
        "## Expected running time",
        *shapes,
        "## Sequences",
        "## Ranks",
        "## Comparisons",
        "## How the numbers are defined",
        "## Tasks",
    ]
    assert "\n| c | 1.0" in page.split("## Ranks")[1]
    for row in (line for line in page.splitlines() if line.startswith("|")):
        assert row.endswith("|")
        assert "nan" not in row


def test_a_run_for_each_task_has_no_interval_and_one_agent_no_rank(tmp_path: Path) -> None:
    page = write_report(study(["a"], seeds=1), tmp_path).read_text()
    assert "## Ranks" not in page
    assert "## Comparisons" not in page
    assert re.search(r"^\| a \| 3 \| 0\.\d{3} \| 0\.\d{3} \|$", page, re.MULTILINE)


def test_agents_that_reached_no_target_are_named_once(tmp_path: Path) -> None:
    page = write_report(Study.of([result("a"), result("b", values=[0.0, 1.0])]), tmp_path).read_text()
    section = page.split("## Expected running time")[1].split("##")[0]
    assert [line for line in section.splitlines() if line][2:] == [
        "| b | 2 (1/1) | 2 (1/1) | 2 (1/1) | 2 (1/1) |",
        "No run of a reached a target.",
    ]


def test_a_report_of_many_agents_shows_all_in_the_first_table_and_else_the_best(tmp_path: Path) -> None:
    made = large(SHOWN + 3, seeds=2)
    runs = [replace(r, rounds=[Round(10.0, *[0.5] * 6)]) for agent in made.agents for r in made.of_agent(agent)]
    page = write_report(made := Study.of(runs), tmp_path).read_text()
    agents = ranked(made)
    _, regret, *others, _, _ = re.split("^## ", page, flags=re.MULTILINE)
    named = re.compile(r"^\| (agent-\d+) \|", re.MULTILINE)
    assert named.findall(regret) == agents
    assert [section.splitlines()[0] for section in others] == [
        "Regret by shape",
        "Expected running time",
        "Sequences",
        "Rounds",
        "Ranks",
        "Comparisons",
    ]
    for section in others:
        assert set(re.findall(r"agent-\d+", section)) == set(agents[:SHOWN])
    assert named.findall(others[-2]) == agents[:SHOWN]
    for name, rank in rank_table(made.only(agents[:SHOWN]), agents[:SHOWN])[1]:
        assert f"| {name} | {rank} |" in others[-2]
    assert page.count("All else is of its first 20, in that\norder; they are ranked") == 1


def test_there_are_looks_and_room_for_as_many_agents_as_a_report_shows(tmp_path: Path) -> None:
    strangers = [f"agent-{i}" for i in range(SHOWN)]
    for agents in (strangers, [*strangers[2:], "genetic", "llome #1234"]):
        looks = line_styles(agents, crowded=True).values()
        assert len({(look["color"], look["ls"]) for look in looks}) == SHOWN
    made = Study.of([result(agent) for agent in strangers])
    plain, crowded = (size(plot_ecdf(made, made.agents, tmp_path / "ecdf.png", flag)) for flag in (False, True))
    assert crowded[0] > plain[0]
    assert crowded[1] >= 150 * 0.19 * SHOWN


def size(png: Path) -> tuple[int, int]:
    """Width and height in pixels, which the header of a PNG holds."""
    width, height = struct.unpack(">II", png.read_bytes()[16:24])
    return width, height


def test_a_page_of_someone_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / PAGE).write_text("# Mine")
    with pytest.raises(InvalidRun, match=r"README.md is there and was not made by bioseq-gym; give another folder"):
        write_report(study(), tmp_path)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [(PAGE, "# Mine")]
    (tmp_path / PAGE).unlink()
    write_report(study(seeds=1), tmp_path)
    write_report(study(["a"], seeds=1), tmp_path)  # its own is renewed


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bioseq_gym.report.find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=r"needs matplotlib and scipy; pip install 'bioseq-gym\[report\]'"):
        write_report(study(), tmp_path / "new")
    assert not (tmp_path / "new").exists()
