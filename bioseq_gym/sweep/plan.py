"""The plan of a sweep: a file in its directory that names all its runs, so that a report knows which are missing."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from bioseq_gym.errors import BioseqGymError, InvalidRun
from bioseq_gym.files import write_whole
from bioseq_gym.runs import read_manifest
from bioseq_gym.sweep.cells import Cell

PLAN = "sweep.json"


def sweep_command(
    agents: Sequence[str],
    tasks: Sequence[str],
    out: str | os.PathLike[str],
    seeds: int | None,
    first_seed: int,
    budget: int | None,
) -> str:
    """The shell command of a sweep, with the arguments of :func:`bioseq_gym.sweep.make_cells`."""
    words = ["bioseq-gym", "sweep", "--agents", *agents, "--tasks", *tasks]
    options = {"--seeds": seeds, "--first-seed": first_seed or None, "--budget": budget, "--out": os.fspath(out)}
    words += [word for option, value in options.items() if value is not None for word in (option, str(value))]
    return shlex.join(words)


def write_plan(cells: Sequence[Cell], command: str) -> None:
    """Write down what ``command`` runs; the plan of an earlier sweep of the same directory gives way to it."""
    out = cells[0].out
    out.mkdir(parents=True, exist_ok=True)
    plan = {"command": command, "runs": [cell.directory.relative_to(out).as_posix() for cell in cells]}
    write_whole(out / PLAN, json.dumps(plan, indent=1) + "\n")


def check_finished(path: Path) -> None:
    """Check that every run of the plan ``path`` is finished.

    Raises:
        InvalidRun: one is not, with the command that goes on; or the file is no plan.
    """
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
        command, runs = str(plan["command"]), [str(name) for name in plan["runs"]]
    except (ValueError, KeyError, TypeError):
        raise InvalidRun(f"{path} is no plan of a sweep; start the sweep again, or remove it") from None
    if missing := [name for name in runs if not _is_finished(path.parent / name)]:
        raise InvalidRun(
            f"the sweep in {path.parent} is not finished: {len(missing)} of {len(runs)} runs are missing, as "
            f"{missing[0]}; go on with: {command}"
        )


def _is_finished(directory: Path) -> bool:
    try:
        return bool(read_manifest(directory)["status"] == "finished")
    except BioseqGymError:
        return False
