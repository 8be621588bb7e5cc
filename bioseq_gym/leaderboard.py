"""The leaderboard: submissions that were replayed, and the table that a program builds from them.

A submission is a run's manifest and its compressed ledger. Verifying it runs no code of the agent: every sequence in
the ledger is scored again, and every number in the table is computed from the ledger.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from bioseq_gym.budget import Ledger
from bioseq_gym.budget.ledger import file_size
from bioseq_gym.errors import InvalidLedger, InvalidRun, InvalidSpec, InvalidSubmission, UnknownName
from bioseq_gym.metrics import CHECKPOINTS, median_and_quartiles
from bioseq_gym.runs import (
    LEDGER,
    MANIFEST,
    Manifest,
    Result,
    Run,
    agent_labels,
    invalid_fields,
    outcome,
    parse_manifest,
    write_manifest,
)
from bioseq_gym.suite import Task, load_task

SUBMISSIONS, TABLE = "submissions", "README.md"


def verify(run: Run) -> None:
    """Replay a run's ledger through its task and check what its manifest states of the outcome.

    Raises:
        InvalidSubmission: with every fault found.
    """
    if faults := _faults(run.manifest, run.ledger):
        raise InvalidSubmission(f"{run.path} is refused: {'; '.join(faults)}")


def submit(runs: Sequence[Run], board: str | os.PathLike[str]) -> list[Path]:
    """Verify runs, put them under ``board``/submissions and rebuild the table.

    Submitting a run again changes nothing. The same ledger under another label, and a second ledger for an agent with
    the same settings and seed, are refused: each seed counts once.

    Returns:
        The folder of each submission.

    Raises:
        InvalidSubmission: a run is not finished, its ledger does not replay, it repeats another submission, or one on
            the board does not verify; nothing was written, of no run.
    """
    present = _read_submissions(board)
    for run in runs:
        verify(run)
        _refuse_twins(run, present)
        present.append(run)
    folders = [_store(run, Path(board)) for run in runs]
    write_table(board)
    return folders


def read_board(board: str | os.PathLike[str]) -> list[Result]:
    """The results of all submissions under ``board``, each verified again, sorted by task, agent and seed.

    Raises:
        InvalidSubmission: the first submission that does not verify or repeats another.
    """
    runs = _read_submissions(board)
    return sorted((Result.of(run) for run in runs), key=lambda r: (r.task, r.agent, r.config, r.seed))


def table(results: Iterable[Result]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The header, and a row of text for each agent, config and budget, the smallest regret first.

    Simple regret is the median over seeds with its quartiles; the rest are medians. Checkpoints that no budget reaches
    have no column.
    """
    results = list(results)
    checkpoints = [n for n in CHECKPOINTS if any(result.budget >= n for result in results)]
    groups: dict[tuple[str, int], list[Result]] = defaultdict(list)
    for result, label in zip(results, agent_labels(results), strict=True):
        groups[label, result.budget].append(result)
    rows = []
    for (label, budget), group in groups.items():
        regrets = [_summary([result.regret_at(n) for result in group]) for n in checkpoints]
        shares = [f"{100 * np.median([getattr(r, share) for r in group]):.0f} %" for share in ("feasible", "distinct")]
        wall = f"{np.median([r.wall_s for r in group]):.1f} s"
        order = [(2.0 if median is None else median) for median, _ in reversed(regrets)]
        rows.append((order, (label, str(len(group)), f"{budget:,}", *(text for _, text in regrets), *shares, wall)))
    header = ("agent", "seeds", "budget", *(f"regret @ {n // 1000}k" for n in checkpoints))
    return (*header, "feasible", "distinct", "wall time"), [row for _, row in sorted(rows)]


def write_table(board: str | os.PathLike[str]) -> Path:
    """Rebuild ``board``/README.md from the submissions; the same submissions give the same bytes."""
    results = read_board(board)
    lines = [_PREFACE]
    for task in sorted({result.task for result in results}):
        header, rows = table(r for r in results if r.task == task)
        lines += [f"## {task}", "", f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
        lines += [*(f"| {' | '.join(row)} |" for row in rows), ""]
    path = Path(board) / TABLE
    temporary = path.with_name(f".{TABLE}.{os.getpid()}")
    temporary.write_text("\n".join(lines), encoding="utf-8")
    os.replace(temporary, path)
    return path


_PREFACE = """# Leaderboard

Built by `bioseq-gym submit` from the folder `submissions`; not edited by hand. Each row is one agent with one
setting: simple regret after so many distinct evaluations, as median [first quartile, third quartile] over seeds, then
medians. An agent marked "constraints known" was shown which tokens may follow which; all others had to learn that from
infeasible answers.

**What a row proves.** Every submission holds its ledger. Each sequence in it was scored again, every number but the
wall time was computed from that replay, and the number of distinct sequences is within the budget.

**What it cannot prove:** that nobody looked at the function's definition, which is public; that the agent named is the
one that asked, with that seed; that the ledger holds everything that was asked, in the order in which it was asked, and
was not picked from more; that the run was not picked from several; and how long it took.
"""


def _summary(values: Sequence[float | None]) -> tuple[float | None, str]:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None, "-"
    median, low, high = median_and_quartiles(known)
    return median, f"{median:.3f}" if len(known) == 1 else f"{median:.3f} [{low:.3f}, {high:.3f}]"


def _label(run: Run) -> str:
    """What a submission claims to be; with the task's name, one label has one ledger."""
    return json.dumps({key: run.manifest[key] for key in ("agent", "config", "budget", "seed")}, sort_keys=True)


def _ledger_digest(run: Run) -> str:
    return str(run.manifest["ledger_sha256"])


def _refuse_twins(run: Run, others: Iterable[Run]) -> None:
    """Refuse a run that repeats one of ``others``; all are verified, so the digests that they state are true."""
    for other in others:
        if other.manifest["task"] != run.manifest["task"]:
            continue
        same_label, same_ledger = (get(other) == get(run) for get in (_label, _ledger_digest))
        if same_ledger and not same_label:
            raise InvalidSubmission(f"{run.path} is refused: its ledger is that of {other.path} under another label")
        if same_label and not same_ledger:
            raise InvalidSubmission(
                f"{run.path} is refused: {other.path} has the same agent, settings and seed and another ledger; "
                "run another seed"
            )


def _store(run: Run, board: Path) -> Path:
    manifest, content = run.manifest, run.ledger.to_bytes()
    digest = hashlib.sha256(_label(run).encode() + content).hexdigest()
    name = f"{manifest['agent']}-seed{manifest['seed']}-{digest[:8]}"
    folder = board / SUBMISSIONS / str(manifest["task"]) / name
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    incoming = Path(tempfile.mkdtemp(prefix=".incoming-", dir=folder.parent))
    try:
        incoming.chmod(0o755)
        write_manifest(incoming, manifest)
        (incoming / f"{LEDGER}.xz").write_bytes(lzma.compress(content, preset=9))
        os.rename(incoming, folder)  # a submission is there whole or not at all
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    return folder


def _read_submissions(board: str | os.PathLike[str]) -> list[Run]:
    runs: list[Run] = []
    for path in sorted((Path(board) / SUBMISSIONS).glob(f"*/*/[!.]*/{MANIFEST}")):
        run = read_submission(path.parent)
        verify(run)
        _refuse_twins(run, runs)
        runs.append(run)
    return runs


def read_submission(folder: Path) -> Run:
    """The run in a folder of the board, not verified. Raises InvalidSubmission if it can't be read."""
    try:
        manifest = parse_manifest((folder / MANIFEST).read_bytes(), str(folder / MANIFEST))
        largest = file_size(load_task(manifest["task"]).spec.L, manifest["budget"])  # no more is ever unpacked
        content = lzma.LZMADecompressor().decompress((folder / f"{LEDGER}.xz").read_bytes(), max_length=largest + 1)
        return Run(folder, manifest, Ledger.from_bytes(content, str(folder / LEDGER)))
    except (InvalidRun, InvalidLedger, UnknownName, InvalidSpec, OSError, lzma.LZMAError) as error:
        raise InvalidSubmission(f"{folder} is refused: {error}") from None


def _faults(manifest: Manifest, ledger: Ledger) -> list[str]:
    if wrong := invalid_fields(manifest):
        return [f"its manifest has no valid {', '.join(wrong)}"]
    if manifest["status"] != "finished":
        return ["the run is not finished; go on with bioseq-gym run ... --resume"]
    try:
        task = load_task(manifest["task"])
    except (UnknownName, InvalidSpec) as error:
        return [str(error)]
    if manifest["task"] != task.name:
        return [f"the task's name is {task.name}, not {manifest['task']}"]
    if manifest["digest"] != task.digest:
        return [f"it was run on another function than {task.name} (digest {manifest['digest'][:12]})"]
    if ledger.repeats_charged:
        return ["its ledger is of a function with noise, whose values no replay gives; run it without noise"]
    if (ledger.digest, ledger.V, ledger.L) != (task.digest, task.spec.V, task.spec.L):
        return [f"its ledger is of another function (digest {ledger.digest[:12]})"]
    return _replay_faults(manifest, ledger, task)


def _replay_faults(manifest: Manifest, ledger: Ledger, task: Task) -> list[str]:
    faults = []
    if len(ledger) > manifest["budget"]:
        faults.append(f"its ledger holds {len(ledger)} evaluations on a budget of {manifest['budget']}")
    if len(ledger):
        differs = ledger.values != task.function(ledger.sequences)
        if differs.any():
            first = int(differs.argmax())
            faults.append(
                f"{differs.sum()} of {len(ledger)} values are not what the function gives, the first in record "
                f"{first + 1}: {ledger.values[first]} instead of {task.function(ledger.sequences[[first]])[0]}"
            )
        asked = ledger.asked_counts.astype(np.int64)
        if asked[0] < 1 or (np.diff(asked) < 1).any() or ledger.call_numbers[0] < 1 or _decreases(ledger.call_numbers):
            faults.append("its counts of rows asked and of calls do not increase from record to record")
    faults += [
        f"its manifest states {key} = {manifest.get(key)}, the ledger gives {value}"
        for key, value in outcome(task, ledger, manifest["budget"]).items()
        if manifest.get(key) != value
    ]
    return faults


def _decreases(values: np.ndarray) -> bool:
    return bool((np.diff(values.astype(np.int64)) < 0).any())
