"""Submissions of small runs for the tests: made, taken apart, and made to state something else."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bioseq_gym import load_suite, load_task
from bioseq_gym.agent import load_agent
from bioseq_gym.runs import run_agent
from bioseq_gym.submission import Submission, to_bytes
from bioseq_gym.submission.archive import DOCUMENT, RECORDS

SMOKE = load_suite("smoke")
TASK, SECOND = SMOKE.tasks
AT = 2
"""The run that is tampered with: it improves twice."""
CARD = {"name": "A *strong* one", "authors": ["Ada", "Łukasz"], "constraints_known": False, "model_size": 2_000_000}
Edit = Callable[[dict[str, Any]], Any]


def sweep(folder: Path, agent: str = "genetic", seeds: int = 2, budget: int = 300) -> list[Path]:
    """The run directories of an agent on the smoke suite."""
    paths = [folder / agent / f"{n}-{seed}" for n in range(2) for seed in range(seeds)]
    for path in paths:
        n, seed = map(int, path.name.split("-"))
        run_agent(load_agent(agent), load_task(SMOKE.tasks[n]), budget=budget, seed=seed, out=path)
    return paths


def saved(submission: Submission, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_bytes(submission))
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def changed(submission: Submission, edit: Edit | None = None, at: int = AT, **fields: Any) -> Submission:
    """The submission with one run that states something else."""
    run = submission.runs[at]
    manifest = json.loads(json.dumps(run.manifest))
    if edit is not None:
        edit(manifest)
    columns = {name: make(getattr(run, name).copy()) if callable(make) else make for name, make in fields.items()}
    runs = list(submission.runs)
    runs[at] = replace(run, manifest=manifest, **columns)
    return replace(submission, runs=tuple(runs))


def stating(**fields: Any) -> Callable[[Submission], Submission]:
    return lambda submission: changed(submission, lambda manifest: manifest.update(fields))


def put(column: str, index: int, value: Any) -> Callable[[Submission], Submission]:
    def change(array: np.ndarray) -> np.ndarray:
        array[index] = value
        return array

    return lambda submission: changed(submission, **{column: change})


def opened(submission: Submission) -> tuple[dict[str, Any], bytes]:
    with zipfile.ZipFile(io.BytesIO(to_bytes(submission))) as archive:
        return json.loads(archive.read(DOCUMENT)), archive.read(RECORDS)


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED, comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, method)
        archive.comment = comment
    return buffer.getvalue()


def canonical(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
