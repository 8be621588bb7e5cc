"""The export to IOHprofiler: what IOHexperimenter writes, and what iohinspector reads from it."""

import json
from pathlib import Path

import numpy as np
import pytest
from iohinspector import DataManager
from iohinspector.metrics import aggregate_running_time, get_aocc
from studies import TASKS, result, study

from bioseq_gym import InvalidRun, load_task
from bioseq_gym.iohprofiler import export
from bioseq_gym.statistics import expected_running_time
from bioseq_gym.study import Study


@pytest.fixture
def exported(tmp_path: Path) -> tuple[Study, DataManager]:
    made = study()
    manager = DataManager()
    manager.add_folder(str(export(made, tmp_path / "ioh")))
    return made, manager


def test_the_files_are_those_of_iohexperimenter(tmp_path: Path) -> None:
    folder = export(Study.of([result("a", seed=3, values=[-np.inf, 0.5, 0.25, 1e-9], budget=9)]), tmp_path / "ioh")
    name = f"f1_{TASKS[0].replace('/', '_')}"
    description = json.loads((folder / "a" / f"IOHprofiler_{name}.json").read_text())
    solution = [1] * load_task(TASKS[0]).spec.L
    assert description == {  # the keys in this order and nesting, as the Analyzer logger of ioh 0.3.22 writes them
        "version": "0.3.22",
        "suite": "bioseq_gym",
        "function_id": 1,
        "function_name": TASKS[0],
        "maximization": True,
        "algorithm": {"name": "a", "info": "{}"},
        "experiment_attributes": [{"budget": "9"}],
        "run_attributes": ["seed"],
        "attributes": ["evaluations", "raw_y"],
        "scenarios": [
            {
                "dimension": len(solution),
                "path": f"data_{name}/IOHprofiler_f1_DIM{len(solution)}.dat",
                "runs": [{"instance": 1, "evals": 4, "best": {"evals": 2, "y": 0.5, "x": solution}, "seed": 3}],
            }
        ],
    }
    data = folder / "a" / description["scenarios"][0]["path"]
    assert data.read_text() == "evaluations raw_y\n1 0.0\n2 0.5\n4 0.5\n"


def test_iohinspector_reads_every_improvement(exported: tuple[Study, DataManager]) -> None:
    made, manager = exported
    assert manager.n_runs == made.runs
    frame = manager.load(monotonic=True, include_columns=["function_name", "algorithm_name"])
    for agent, task in ((agent, task) for agent in made.agents for task in made.tasks):
        rows = frame.filter((frame["algorithm_name"] == agent) & (frame["function_name"] == task)).sort(
            "run_id", "evaluations"
        )
        for own, of_run in zip(
            rows.partition_by("run_id", maintain_order=True), made.results[agent][task], strict=True
        ):
            evaluations, best = own["evaluations"].to_list(), own["raw_y"].to_list()
            assert evaluations == np.unique([1, *of_run.curve.evaluations[1:]]).tolist()
            assert best == (1 - of_run.curve.at(evaluations)).tolist()


def test_iohinspector_finds_the_same_running_times_and_areas(exported: tuple[Study, DataManager]) -> None:
    made, manager = exported
    frame = manager.load(monotonic=True, include_columns=["function_name", "algorithm_name"])
    columns = ["function_name", "algorithm_name"]
    theirs = aggregate_running_time(
        frame, free_vars=columns, f_min=0.5, f_max=1.0, scale_f_log=False, eval_max=made.budget, maximization=True
    )  # fmt: skip
    areas = get_aocc(frame, made.budget, "raw_y", columns, scale_eval_log=True)
    checked = 0
    for agent, task in ((agent, task) for agent in made.agents for task in made.tasks):
        own = theirs[(theirs["algorithm_name"] == agent) & (theirs["function_name"] == task)]
        results = made.results[agent][task]
        for target, ert in zip(own["raw_y"], own["ERT"], strict=True):
            times = np.array([r.curve.running_times([target])[0] for r in results])
            assert expected_running_time(times, np.full(len(results), made.budget)) == ert
            checked += np.isfinite(ert)
        (area,) = areas[(areas["algorithm_name"] == agent) & (areas["function_name"] == task)]["AOCC"]
        assert area == pytest.approx(np.mean([r.curve.area_over(made.budget) for r in results]))
    assert checked > 20


def test_what_the_format_can_not_say_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRun, match=r"a made no evaluation on .* with seed 7; leave that run out"):
        export(Study.of([result("a", seed=7, values=[])]), tmp_path / "ioh")
    (tmp_path / "ioh").mkdir(exist_ok=True)
    with pytest.raises(InvalidRun, match="exists already; remove it, or give another --out"):
        export(study(), tmp_path / "ioh")
    assert list((tmp_path / "ioh").iterdir()) == []
