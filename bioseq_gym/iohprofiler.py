"""Export to the data format of IOHprofiler, for IOHanalyzer, iohinspector and their kin.

The format is that of IOHexperimenter 0.3.22 (de Nobel et al., "IOHexperimenter: benchmarking platform for iterative
optimization heuristics", arXiv 2111.04077): for each agent and task a JSON file that describes its runs, and a text
file with a line for every evaluation that improved on all before, for the first and for the last.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bioseq_gym.errors import InvalidRun
from bioseq_gym.metrics import OPTIMUM
from bioseq_gym.runs import Result
from bioseq_gym.study import PathLike, Study

_VERSION = "0.3.22"


def export(study: Study, folder: PathLike) -> Path:
    """Write a study into a new ``folder``, a folder in it for each agent.

    A function is a task, numbered from 1 by name; its dimension is the sequence length, its instance 1. Runs stand in
    the order of their seeds, which are a run attribute. ``evaluations`` are distinct sequences, and ``raw_y`` is the
    best value so far, to be maximised: it counts the initial solution, which is given free, from the first evaluation
    on, so that it is finite where everything asked so far was infeasible.

    Returns:
        The folder.

    Raises:
        InvalidRun: the folder exists, or a run made no evaluation, which the format can't say.
    """
    folder = Path(folder)
    if folder.exists():
        raise InvalidRun(f"{folder} exists already; remove it, or give another --out")
    for r in (result for agent in study.agents for result in study.of_agent(agent) if not result.evaluations):
        raise InvalidRun(f"{r.agent} made no evaluation on {r.task} with seed {r.seed}; leave that run out")
    for agent, of_task in study.results.items():
        home = folder / re.sub("[ #()]+", "-", agent).strip("-")
        for number, (task, results) in enumerate(of_task.items(), 1):
            name = f"f{number}_{task.replace('/', '_')}"
            data = Path(f"data_{name}") / f"IOHprofiler_f{number}_DIM{len(results[0].solution)}.dat"
            (home / data).parent.mkdir(parents=True)
            (home / data).write_text("".join(map(_lines, results)), encoding="utf-8")
            text = json.dumps(_description(agent, number, task, data, results), indent=1)
            (home / f"IOHprofiler_{name}.json").write_text(text + "\n", encoding="utf-8")
    return folder


def _description(agent: str, number: int, task: str, data: Path, results: tuple[Result, ...]) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "suite": "bioseq_gym",
        "function_id": number,
        "function_name": task,
        "maximization": True,
        "algorithm": {"name": agent, "info": results[0].config},
        "experiment_attributes": [{"budget": str(results[0].budget)}],
        "run_attributes": ["seed"],
        "attributes": ["evaluations", "raw_y"],
        "scenarios": [
            {
                "dimension": len(results[0].solution),
                "path": data.as_posix(),
                "runs": [
                    {
                        "instance": 1,
                        "evals": result.evaluations,
                        "best": {
                            "evals": max(1, int(result.curve.evaluations[-1])),
                            "y": OPTIMUM - result.curve.last,
                            "x": result.solution.tolist(),
                        },
                        "seed": result.seed,
                    }
                    for result in results
                ],
            }
        ],
    }


def _lines(result: Result) -> str:
    return "".join(_records(result))


def _records(result: Result) -> Iterator[str]:
    yield "evaluations raw_y\n"
    for evaluation in np.unique([1, *result.curve.evaluations[1:], result.evaluations]):
        value = OPTIMUM - float(result.curve.at(evaluation))
        yield f"{evaluation} {np.format_float_positional(value, trim='0')}\n"  # readers differ in what else they know
