"""Packing: from run directories, and from the runs of other submissions, to a submission; all is replayed."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bioseq_gym.budget import Ledger
from bioseq_gym.errors import BioseqGymError, InvalidSubmission, UnknownName
from bioseq_gym.labels import agent_label, marked_labels
from bioseq_gym.replay import run_faults
from bioseq_gym.runs import Manifest, Run, outcome, read_manifest, read_run
from bioseq_gym.submission.card import Card
from bioseq_gym.submission.document import read_submission
from bioseq_gym.submission.packed import PackedRun, Submission, run_task
from bioseq_gym.submission.verify import faults
from bioseq_gym.suite import load_scope

Source = Path | PackedRun
Found = list[tuple[Source, Manifest]]


def pack(
    sources: Iterable[Path],
    suite: str,
    *,
    agent: str | None = None,
    settings: Mapping[str, Any] | None = None,
    abridged: bool = False,
    cut: bool = False,
    card: Card | None = None,
) -> Submission:
    """Pack the runs of one agent on a suite, or on one task.

    Args:
        sources: run directories, and files of submissions, whose runs are taken: so parts from several machines are
            joined, and a card is added later. Runs on other tasks are left out, and so are seeds and budgets beyond the
            suite's.
        suite: the name of a suite or of a task.
        agent: which agent's, by its name or, where it has several settings, by its label; needed where the runs are of
            several.
        settings: leave out runs with others than these.
        abridged: keep only the records that improved on all before.
        cut: of a run directory with a larger budget than the suite's, where there is none with that one, take the first
            evaluations. This is what a run on the suite's budget would be, if its agent looks at its budget only to
            shorten its last batch; who runs it again can tell. One whose last batch would have been refused has up to a
            batch more than it would have had. How long the part took nobody knows; tables have a dash there.
        card: what its authors say of the agent, from :func:`bioseq_gym.submission.card.read_card`.

    Returns:
        A submission that verifies.

    Raises:
        UnknownName: there is no such suite, task or agent, none with these settings, or there are several agents and
            none is given.
        InvalidSubmission: the runs are not complete over the suite, one is not finished, can't be read or does not
            replay. All that is wrong is named.
    """
    scope = load_scope(suite)
    found = [entry for source in sources for entry in _found(source) if entry[1]["task"] in scope.tasks]
    if not found:
        raise UnknownName(f"no run is on {'a task of ' if scope.seeds else ''}{suite}; give the folder of its runs")
    found = [entry for entry in found if settings is None or entry[1]["config"] == settings]
    if not found:
        raise UnknownName(f"no run on {suite} has these settings{f' of {agent}' if agent else ''}; sweep it with them")
    chosen = _of_one_agent(found, agent)
    seeded = [entry for entry in chosen if scope.seeds is None or entry[1]["seed"] < scope.seeds]
    fitting = [entry for entry in seeded if scope.budget in (None, entry[1]["budget"])]
    if cut and scope.budget is not None:
        there = set(map(_task_and_seed, fitting))
        longer = [entry for entry in seeded if isinstance(entry[0], Path) and entry[1]["budget"] > scope.budget]
        fitting += [entry for entry in longer if _task_and_seed(entry) not in there]
    if not fitting:
        raise InvalidSubmission(f"no run has the budget of {scope.budget:,} and the seeds of {suite}; sweep it")
    name = fitting[0][1]["agent"]
    runs, wrong = _replayed([source for source, _ in sorted(fitting, key=_task_and_seed)], abridged, scope.budget)
    submission = Submission(f"the submission of {name}", scope, name, tuple(runs), card)
    wrong += faults(submission) if runs else []
    if wrong:
        raise InvalidSubmission(f"{submission.name} on {suite} can't be packed: {'; '.join(wrong)}")
    if abridged:  # not before: what does not replay has no values to go by
        runs = [run.abridged() if run.whole else run for run in runs]
    return replace(submission, runs=tuple(runs))


def _found(source: Path) -> Found:
    if source.is_file():
        return [(run, run.manifest) for run in read_submission(source).runs]
    try:
        return [(source, read_manifest(source))]
    except BioseqGymError as error:
        raise InvalidSubmission(str(error)) from None


def _task_and_seed(entry: tuple[Source, Manifest]) -> tuple[str, int]:
    return entry[1]["task"], entry[1]["seed"]


def _first(run: Run, budget: int | None) -> Run:
    """The run of the first ``budget`` evaluations; as it is, if that is its own budget, or there is none."""
    if budget in (None, run.manifest["budget"]):
        return run
    ledger, kept = run.ledger, slice(budget)
    columns = ledger.sequences[kept], ledger.values[kept], ledger.asked_counts[kept], ledger.call_numbers[kept]
    part = Ledger.of_columns(ledger.digest, ledger.V, *columns)
    numbers = {"budget": budget, **outcome(run_task(run.manifest), part, budget)}
    if len(ledger) > budget:
        numbers |= {"asked": int(columns[2][-1]), "cut_from": len(ledger)}
    return Run(run.path, run.manifest | numbers, part)


def _replayed(sources: Iterable[Source], abridged: bool, budget: int | None) -> tuple[list[PackedRun], list[str]]:
    """The runs that replay, cut at ``budget`` and packed one by one, and what is wrong with the others.

    Packed ones stay as they are.
    """
    runs, wrong = [], []
    for source in sources:
        if isinstance(source, PackedRun):
            runs.append(source)
            continue
        try:
            run = read_run(source)
        except BioseqGymError as error:
            wrong.append(str(error))
            continue
        if found := run_faults(run):
            wrong += [f"{source}: {fault}" for fault in found]
        else:
            runs.append(PackedRun.of(_first(run, budget), abridged))
    return runs, wrong


def _of_one_agent(found: Found, agent: str | None) -> Found:
    """The runs of the agent of that name or label, or of the only one that there is."""
    pairs = [
        (agent_label(m["agent"], m["environment"]["reveal_constraints"]), json.dumps(m["config"], sort_keys=True))
        for _, m in found
    ]
    groups: dict[str, Found] = defaultdict(list)
    for label, entry in zip(marked_labels(pairs), found, strict=True):
        groups[label].append(entry)
    wanted = [label for label, runs in groups.items() if agent in (None, label, runs[0][1]["agent"])]
    if not wanted:
        raise UnknownName.of("agent", str(agent), groups, f"the runs, which are of {_listed(groups)}")
    if len(wanted) > 1:
        raise UnknownName(f"the runs are of {len(wanted)} agents: {_listed(wanted)}; choose with --agent")
    return groups[wanted[0]]


def _listed(labels: Iterable[str]) -> str:
    return ", ".join(repr(label) for label in sorted(labels))
