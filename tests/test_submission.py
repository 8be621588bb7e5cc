"""Packing runs into a submission, and verifying it by replay: what is refused, and why."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from submissions import AT, CARD, SECOND, TASK, Edit, changed, put, saved, stating

from bioseq_gym import InvalidSubmission, Ledger, UnknownName, load_task
from bioseq_gym.agent import load_agent
from bioseq_gym.replay import stated_faults
from bioseq_gym.replay import verify as verify_run
from bioseq_gym.report import write_report
from bioseq_gym.runs import MANIFEST, Run, read_run, run_agent, write_manifest
from bioseq_gym.study import Study
from bioseq_gym.submission import PackedRun, Submission, faults, pack, read_submission, to_bytes, verify
from bioseq_gym.submission.archive import DOCUMENT, RECORDS
from bioseq_gym.submission.document import from_bytes


@pytest.mark.parametrize("kind", ["whole", "abridged"])
def test_a_submission_survives_its_file(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    made: Submission = request.getfixturevalue(kind)
    read = read_submission(saved(made, tmp_path / "a.zip"))
    assert (read.kind, read.agent, read.scope, read.setting) == (kind, "genetic", made.scope, made.setting)
    for one, other in zip(read.runs, made.runs, strict=True):
        assert (one.manifest, one.distinct, one.diversity) == (other.manifest, other.distinct, other.diversity)
        for column in ("places", "asked", "calls", "tokens"):
            np.testing.assert_array_equal(getattr(one, column), getattr(other, column))
    assert faults(read) == []
    assert to_bytes(read) == to_bytes(made)


def test_the_same_runs_give_the_same_bytes_in_any_order(runs: list[Path], whole: Submission) -> None:
    assert to_bytes(pack(runs[::-1], "smoke")) == to_bytes(whole)
    with zipfile.ZipFile(io.BytesIO(to_bytes(whole))) as archive:
        assert [(entry.filename, entry.date_time[0]) for entry in archive.infolist()] == [
            (DOCUMENT, 1980),
            (RECORDS, 1980),
        ]
        document = json.loads(archive.read(DOCUMENT))
        assert document["records_sha256"] == hashlib.sha256(archive.read(RECORDS)).hexdigest()
    manifests = [json.loads((path / MANIFEST).read_text()) for path in sorted(runs)]
    assert [run["manifest"] for run in document["runs"]] == manifests


def test_a_whole_ledger_is_there_byte_for_byte(runs: list[Path], whole: Submission) -> None:
    for path, run in zip(runs, whole.runs, strict=True):
        task, ledger = run.task, read_run(path).ledger
        columns = run.tokens, run.values(), run.asked, run.calls
        again = Ledger.of_columns(task.digest, task.spec.V, *columns)
        assert again.to_bytes() == ledger.to_bytes()
        assert (again.asked, again.calls, again.best_value) == (ledger.asked, ledger.calls, ledger.best_value)


def test_an_abridged_ledger_holds_what_improved(runs: list[Path], abridged: Submission) -> None:
    for path, run in zip(runs, abridged.runs, strict=True):
        values = np.append(run.task.initial_value, read_run(path).ledger.values)
        rises = [i for i in range(1, len(values)) if values[i] > max(values[:i])]
        assert run.places.tolist() == rises != []
        np.testing.assert_array_equal(run.tokens, read_run(path).ledger.sequences[np.array(rises) - 1])
    assert len(to_bytes(abridged)) < 6000


def test_a_longer_run_is_cut_to_what_a_run_on_the_suites_budget_is(
    runs: list[Path], whole: Submission, tmp_path: Path
) -> None:
    """``genetic`` does not look at its budget but for the last batch, so 300 evaluations are the same of 300 or 400."""
    genetic, scope = load_agent("genetic"), whole.scope
    longer = [tmp_path / f"{n}-{seed}" for n in range(2) for seed in range(2)]
    for path in longer:
        n, seed = map(int, path.name.split("-"))
        run_agent(genetic, load_task(scope.tasks[n]), budget=400, seed=seed, out=path)
    with pytest.raises(InvalidSubmission, match="no run has the budget of 300"):
        pack(longer, "smoke")
    made = pack(longer, "smoke", cut=True)
    assert faults(made) == []
    for cut, run in zip(made.runs, whole.runs, strict=True):
        clock = {"wall_s", "cut_from", "asked"}  # rows that are asked again behind the last new one
        assert {k: v for k, v in cut.manifest.items() if k not in clock} == {
            k: v for k, v in run.manifest.items() if k not in clock
        }
        assert run.asked[-1] == cut.manifest["asked"] <= run.manifest["asked"]
        is_part = run.manifest["evaluations"] == 300  # else it was done before
        assert cut.manifest.get("cut_from") == (400 if is_part else None)
        assert np.isnan(cut.result().wall_s) == is_part  # nobody knows how long the part took
        assert run.result().wall_s == run.manifest["wall_s"]
        assert np.isnan(run.result(9).wall_s)
    page = write_report(Study.of(made.results()), tmp_path / "page").read_text()
    assert re.search(r"\| genetic \| \d+ \| \d+ % \| \d+ % \| \d+ % \| - \|\n", page)
    mixed = pack([*longer, *runs[:2]], "smoke", cut=True)
    assert [run.manifest for run in mixed.runs[:2]] == [run.manifest for run in whole.runs[:2]]
    assert to_bytes(pack(longer, "smoke", cut=True, abridged=True)) == to_bytes(
        replace(made, runs=tuple(run.abridged() for run in made.runs))
    )


def test_a_task_is_a_suite_of_itself(runs: list[Path], tmp_path: Path) -> None:
    made = read_submission(saved(pack(runs, TASK), tmp_path / "a.zip"))
    assert (made.scope.name, made.scope.tasks, len(made.runs)) == (TASK, (TASK,), 2)
    assert faults(made) == []
    with pytest.raises(UnknownName, match=r"no suite or task 'smok'. Did you mean 'smoke'"):
        pack(runs, "smok")


def test_a_run_without_an_evaluation_is_packed(tmp_path: Path) -> None:
    idle = replace(load_agent("random"), name="idle", run=lambda env, seed, config: None)
    paths = [run_agent(idle, load_task(TASK), budget=9, seed=s, out=tmp_path / str(s)).path for s in range(2)]
    for short in (False, True):
        made = from_bytes(to_bytes(pack(paths, TASK, abridged=short)), "it")
        assert (faults(made), made.kind, [r.evaluations for r in made.results()]) == ([], "whole", [0, 0])


def edited(path: Path, target: Path, **fields: Any) -> Path:
    """A copy of a run directory with another manifest, whose checksum fits."""
    target.mkdir(parents=True)
    (target / "ledger.bin").write_bytes((path / "ledger.bin").read_bytes())
    write_manifest(target, {**read_run(path).manifest, **fields})
    return target


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"status": "running"}, "0-1: the run is not finished; go on with"),
        ({"evaluations": 7}, "0-1: it states evaluations = 7, the replay gives"),
        ({"budget": 200}, f"1 of 4 runs of smoke are missing: {TASK} seed 1"),
        ({"seed": 5}, f"1 of 4 runs of smoke are missing: {TASK} seed 1"),
        ({"seed": 0}, rf"it holds more than one run of {TASK} seed 0.*missing: {TASK} seed 1"),
        ({"environment": {"id": "Ehrlich-v0", "num_envs": 9, "reveal_constraints": False}}, "environment of .* seed 1"),
        ({"asked": 3}, "it states 3 rows asked in"),
        ({"digest": "0" * 64}, "another function than"),
    ],
)
def test_what_is_not_complete_and_true_is_not_packed(
    runs: list[Path], tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidSubmission, match=message):
        pack([runs[0], edited(runs[1], tmp_path / "0-1", **fields), *runs[2:]], "smoke")


def test_one_agent_of_several_is_chosen_by_its_label(runs: list[Path], others: list[Path], tmp_path: Path) -> None:
    everything = [*runs, *others]
    with pytest.raises(UnknownName, match=r"the runs are of 2 agents: 'genetic', 'random'; choose with --agent"):
        pack(everything, "smoke")
    with pytest.raises(UnknownName, match=r"no agent 'genetc'\. Did you mean 'genetic'"):
        pack(everything, "smoke", agent="genetc")
    assert pack(everything, "smoke", agent="random").agent == "random"
    small = [edited(path, tmp_path / path.name, config={"children": 7}) for path in runs]
    several = "the runs are of 2 agents: 'genetic children=100', 'genetic children=7'"
    with pytest.raises(UnknownName, match=several) as refused:
        pack([*runs, *small], "smoke", agent="genetic")
    labels = str(refused.value).split("'")[1:4:2]
    assert {pack([*runs, *small], "smoke", agent=label).setting for label in labels} == {
        pack(runs, "smoke").setting,
        pack(small, "smoke").setting,
    }


def without(*numbers: int) -> Callable[[Submission], Submission]:
    return lambda s: replace(s, runs=tuple(run for i, run in enumerate(s.runs) if i not in numbers))


def swapped(submission: Submission) -> Submission:
    return replace(submission, runs=submission.runs[::-1])


def doubled(submission: Submission) -> Submission:
    first, *rest = submission.runs
    return replace(submission, runs=(first, replace(first, manifest={**first.manifest, "seed": 1}), *rest[1:]))


def repeated_sequence(submission: Submission) -> Submission:
    return put("tokens", 5, submission.runs[AT].tokens[4])(submission)


def spread(run: PackedRun, *columns: str) -> dict[str, Any]:
    return {name: getattr(run, name)[np.r_[0, 0 : len(run.places)]] for name in columns}


def with_a_flat_record(submission: Submission) -> Submission:
    """One more record, which asks what the first one asks."""
    run = submission.runs[AT]
    places = np.insert(run.places, 1, run.places[0] + 1).astype(np.uint32)
    asked = np.insert(run.asked, 1, run.asked[0] + 1).astype(np.uint64)
    return changed(submission, places=places, asked=asked, **spread(run, "calls", "tokens"))


SETTINGS: list[Edit] = [lambda m, x=x: m["config"].update(x=x) for x in (1, 1, True, 1)]
BOTH: dict[str, tuple[Callable[[Submission], Submission], str]] = {
    "a better best value": (stating(best_value=1.5), "it states best_value = 1.5, the replay gives"),
    "a smaller regret": (stating(simple_regret=-1.0), "it states simple_regret = -1.0"),
    "a regret at a checkpoint": (stating(simple_regret_at={"1000": 0.0}), "it states simple_regret_at"),
    "a huge budget": (stating(budget=1200), "the budget of .* is not 300"),
    "more evaluations than the budget": (stating(evaluations=301), "301 evaluations on a budget of 300"),
    "no evaluations": (stating(evaluations=0), "records of 0 evaluations"),
    "an evaluation that is no number": (stating(evaluations="many"), "no valid evaluations"),
    "a digest that is none": (stating(ledger_sha256="\ud800"), "no valid ledger_sha256"),
    "a share that is none": (stating(feasible_share=2.0), "no valid feasible_share"),
    "fewer calls": (stating(calls=0), "it states .* rows asked in 0 calls, fewer than its records count"),
    "fewer rows asked": (stating(asked=1), "it states 1 rows asked in"),
    "other settings": (stating(config={"children": 1}), f"the config of {SECOND} seed 0 is not that of the first"),
    "settings of another type": (
        lambda s: functools.reduce(lambda made, at: changed(made, SETTINGS[at], at), range(4), s),
        f"the config of {SECOND} seed 0 is not that of the first run",
    ),
    "another agent": (stating(agent="mine"), "it is of the agent 'genetic', and some runs are of mine"),
    "a token out of range": (put("tokens", (0, 0), 8), r"it holds the token 8, outside of 0 \.\. 7"),
    "a place 0": (put("places", 0, 0), "not in increasing places from 1 to"),
    "a place twice": (lambda s: put("places", 1, s.runs[AT].places[0])(s), "not in increasing places"),
    "a place beyond the end": (put("places", -1, 301), "not in increasing places"),
    "rows asked that fall": (put("asked", 1, 0), "counts of rows asked and of calls do not increase"),
    "rows asked beyond all bounds": (put("asked", -1, 2**64 - 1), "counts of rows asked and of calls do not increase"),
    "a call 0": (put("calls", 0, 0), "counts of rows asked and of calls do not increase"),
    "calls that fall": (put("calls", 0, 99), "counts of rows asked and of calls do not increase"),
    "a seed missing": (without(1), f"1 of 4 runs of smoke are missing: {TASK} seed 1"),
    "a task missing": (without(0, 1), "2 of 4 runs of smoke are missing"),
    "a seed too high": (stating(seed=2), f"{SECOND} seed 2 are not among the seeds 0 to 1"),
    "a seed twice": (stating(seed=1), f"it holds more than one run of {SECOND} seed 1"),
    "another order": (swapped, "its runs are not sorted by task and seed"),
    "a run under two seeds": (doubled, f"{TASK} seed 1: its ledger is that of {TASK} seed 0; each seed counts once"),
}
WHOLE = {
    "another sequence": (lambda s: changed(s, tokens=lambda rows: rows[::-1].copy()), "it states ledger_sha256 = "),
    "a sequence twice": (repeated_sequence, "holds a sequence twice"),
    "one row more asked": (lambda s: changed(s, asked=lambda asked: asked + np.uint64(1)), "it states ledger_sha256"),
    "another share of feasible ones": (stating(feasible_share=0.5), "it states feasible_share = 0.5, the replay"),
    "another distinct share": (lambda s: changed(s, distinct=0.25), "it states distinct_share = 0.25, the replay"),
    "another diversity": (lambda s: changed(s, diversity=0.25), "it states diversity = 0.25, the replay"),
    "a call more": (lambda s: stating(calls=s.runs[AT].manifest["calls"] + 1)(s), "it states calls = "),
}
ABRIDGED = {
    "a sequence that is worse": (lambda s: put("tokens", -1, s.runs[AT].tokens[0])(s), "do not improve on what came"),
    "a record that does not improve": (with_a_flat_record, "1 of .* do not improve .*, the first of them record 2"),
    "too few distinct ones": (lambda s: changed(s, distinct=0.001), "its distinct share of 0.001 is not that of"),
    "too few feasible ones": (stating(feasible_share=0.0), "its feasible share of 0 is less than that of its records"),
}
CASES = [
    *(("whole", name, *case) for name, case in {**BOTH, **WHOLE}.items()),
    *(("abridged", name, *case) for name, case in {**BOTH, **ABRIDGED}.items()),
]


@pytest.mark.parametrize(("kind", "name", "tamper", "message"), CASES, ids=[f"{kind}: {n}" for kind, n, *_ in CASES])
def test_a_fault_is_found_and_named(
    kind: str,
    name: str,
    tamper: Callable[[Submission], Submission],
    message: str,
    request: pytest.FixtureRequest,
) -> None:
    good: Submission = request.getfixturevalue(kind)
    with pytest.raises(InvalidSubmission, match=message):
        verify(tamper(good))
    assert faults(good) == []  # nothing that the cases share was changed


def test_a_budget_that_nobody_could_follow_is_refused(runs: list[Path]) -> None:
    def with_budget(budget: int) -> Submission:
        return changed(pack(runs[:1], TASK, abridged=True), lambda manifest: manifest.update(budget=budget), at=0)

    assert not any("give at most" in fault for fault in faults(with_budget(10_000_000)))
    with pytest.raises(InvalidSubmission, match="the budget is 10,000,001; give at most 10,000,000"):
        verify(with_budget(10_000_001))


def test_a_number_of_another_type_is_another_number() -> None:
    assert stated_faults({"a": 1.0, "b": {"1000": 0.0}}, {"a": 1.0, "b": {"1000": 0.0}}) == []
    for stated in ({"a": True}, {"a": 1}, {"a": "1.0"}, {}):
        assert len(stated_faults(stated, {"a": 1.0})) == 1
    assert len(stated_faults({"b": {"1000": False}}, {"b": {"1000": 0.0}})) == 1


def test_all_faults_are_named_at_once(abridged: Submission) -> None:
    broken = swapped(put("calls", 0, 0)(stating(best_value=0.5, simple_regret=0.5)(changed(abridged, distinct=0.0))))
    found = "\n".join(faults(broken))
    for part in ("not sorted", "best_value", "simple_regret", "calls do not increase", "distinct share"):
        assert part in found
    assert len(found.splitlines()) == 5


def test_a_run_directory_is_verified_too(runs: list[Path]) -> None:
    run = read_run(runs[0])
    verify_run(run)
    for fields, message in (
        ({"budget": 3}, r"evaluations on a budget of 3; it states simple_regret_at|evaluations on a budget of 3"),
        ({"task": "../../etc"}, "there is no task"),
        ({"task": "ehrlich/ehr-V08-L12-c2-k3-q3-seed0"}, "the task's name is ehrlich/ehr-V8"),
        ({"agent": "<b>"}, "no valid agent"),
        ({"wall_s": float("nan")}, "no valid wall_s"),
        ({"ledger_sha256": "0"}, "it states ledger_sha256 = '0', the replay gives"),
        ({"status": "running"}, "not finished; go on with"),
    ):
        with pytest.raises(InvalidSubmission, match=message):
            verify_run(Run(run.path, {**run.manifest, **fields}, run.ledger))
    values = run.ledger.values
    values[4] = 0.999
    forged = Ledger.of_columns(
        run.ledger.digest, run.ledger.V, run.ledger.sequences, values, run.ledger.asked_counts, run.ledger.call_numbers
    )
    with pytest.raises(InvalidSubmission, match=r"1 of .* not what the function gives, the first in record 5"):
        verify_run(Run(run.path, run.manifest, forged))


def test_parts_are_joined_and_a_card_is_added_later(
    runs: list[Path], whole: Submission, abridged: Submission, tmp_path: Path
) -> None:
    parts = [saved(pack(runs[:2], TASK), tmp_path / "a.zip"), saved(pack(runs[2:], SECOND), tmp_path / "b.zip")]
    for short, same in ((False, whole), (True, abridged)):
        assert to_bytes(pack(parts[::-1], "smoke", abridged=short)) == to_bytes(same)
    assert to_bytes(pack([parts[0], *runs[2:]], "smoke")) == to_bytes(whole)
    carded = pack([saved(abridged, tmp_path / "c.zip")], "smoke", card=CARD)
    assert (carded.card, to_bytes(replace(carded, card=None))) == (CARD, to_bytes(abridged))
    with pytest.raises(InvalidSubmission, match="it holds more than one run of"):
        pack([*parts, runs[0]], "smoke")
    forged = saved(stating(best_value=0.5)(whole), tmp_path / "d.zip")
    with pytest.raises(InvalidSubmission, match=r"states best_value = 0\.5"):
        pack([forged], "smoke")
    forged = saved(put("tokens", 0, 200)(whole), tmp_path / "e.zip")
    for short in (False, True):
        with pytest.raises(InvalidSubmission, match="it holds the token 200, outside of"):
            pack([forged], "smoke", abridged=short)
