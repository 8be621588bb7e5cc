"""Reproducing a submission: the same ledgers, compatible ones, and those of another agent under its name."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from submissions import SECOND, TASK, saved, stating

from bioseq_gym import InvalidSubmission, load_task
from bioseq_gym.agent import Agent, load_agent
from bioseq_gym.cli import main
from bioseq_gym.errors import InvalidConfig
from bioseq_gym.leaderboard import board_table, read_board, rebuild, submit
from bioseq_gym.report import PAGE
from bioseq_gym.reproduce import OTHER_SEEDS, RECORD, STARTED, reproduce
from bioseq_gym.runs import run_agent
from bioseq_gym.submission import Submission, pack
from bioseq_gym.submission.document import digest
from bioseq_gym.submission.reproduced import Reproduction, read_record

GENETIC = load_agent("genetic")


def test_the_same_agent_gives_the_same_ledgers(abridged: Submission, tmp_path: Path) -> None:
    lines: list[str] = []
    found = reproduce(abridged, GENETIC, tmp_path, by="Ada", watch=lines.append)
    assert (found.verdict, found.runs, found.of, found.same_ledgers, found.p) == ("identical", 4, 4, 4, None)
    assert lines == [f"{task} seed {seed}: the same ledger" for task in (TASK, SECOND) for seed in (0, 1)]
    assert read_record(tmp_path / RECORD) == found
    assert (found.submission, found.by) == (digest(abridged), "Ada")
    assert reproduce(abridged, GENETIC, tmp_path, by="Ada") == found  # what is finished is kept


def test_a_folder_that_holds_anything_else_is_refused(abridged: Submission, runs: list[Path], tmp_path: Path) -> None:
    """Finished runs in it would be taken for runs made again: here of an agent that can't run at all."""
    broken = replace(GENETIC, run=broken_run)
    sweep = runs[0].parent.parent
    with pytest.raises(InvalidConfig, match="something else than this submission run again by this code of genetic"):
        reproduce(abridged, broken, sweep)
    reproduce(abridged, GENETIC, tmp_path)
    with pytest.raises(InvalidConfig, match="give a new folder with --out, or delete that one"):
        reproduce(abridged, broken, tmp_path)
    with pytest.raises(InvalidConfig, match="holds something else"):
        reproduce(replace(abridged, runs=abridged.runs[:1]), GENETIC, tmp_path)
    facts = json.loads((note := tmp_path / STARTED).read_text())
    facts.pop("order")
    for text in ("", "{", "[]", "null", json.dumps(facts), json.dumps(facts | {"order": []})):
        note.write_text(text)
        with pytest.raises(InvalidConfig, match="holds something else"):
            reproduce(abridged, GENETIC, tmp_path)


def broken_run(env: Any, seed: int, config: Any) -> None:
    raise AssertionError("it is not run")


def test_a_few_runs_are_drawn_and_stay_chosen(
    abridged: Submission, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws = map(Random, range(10))
    monkeypatch.setattr("bioseq_gym.reproduce.SystemRandom", lambda: next(draws))

    def chosen(out: str, cells: int | None) -> set[str]:
        lines: list[str] = []
        assert reproduce(abridged, GENETIC, tmp_path / out, cells=cells, watch=lines.append).runs == len(lines)
        return {line.split(":")[0] for line in lines}

    found = [chosen(str(number), 2) for number in range(6)]
    assert set.union(*found) == {f"{task} seed {seed}" for task in (TASK, SECOND) for seed in (0, 1)}
    assert len({frozenset(names) for names in found}) > 2
    assert chosen("0", 2) == found[0]  # which was cut, say, and goes on
    assert chosen("0", 3) > found[0]
    assert len(chosen("0", 99)) == len(chosen("0", None)) == 4
    with pytest.raises(InvalidConfig, match="--cells is 0; give at least 1"):
        reproduce(abridged, GENETIC, tmp_path, cells=0)


@dataclass(frozen=True)
class Settings:
    rate: float = 1.0
    first: int | None = None


def test_settings_may_be_of_any_type_that_an_agent_takes(tmp_path: Path) -> None:
    agent = Agent("optional", lambda env, seed, config: idle(env, seed, config), Settings())
    made = run_agent(agent, load_task(TASK), budget=5, seed=0, out=tmp_path / "run", config=Settings(2, 3))
    submission = pack([made.path], TASK)
    assert reproduce(submission, agent, tmp_path / "again").verdict == "identical"
    manifest = {**made.manifest, "config": {"rate": "fast", "first": None}}
    wrong = replace(submission, runs=(replace(submission.runs[0], manifest=manifest),))
    with pytest.raises(InvalidConfig, match="--rate of optional is 'fast'; give a value of type float"):
        reproduce(wrong, agent, tmp_path / "more")


def shifted(env: Any, seed: int, config: Any) -> None:
    """As the same agent on another machine: other draws."""
    GENETIC.run(env, seed + 77, config)


def idle(env: Any, seed: int, config: Any) -> None:
    """Far worse."""
    env.evaluate(np.stack([env.initial_solution]))


@pytest.mark.parametrize(("run", "verdict"), [(shifted, "compatible"), (idle, "different")])
def test_other_ledgers_are_compared_by_runs_with_other_seeds(
    runs: list[Path], tmp_path: Path, run: Any, verdict: str
) -> None:
    made = _with_more_seeds(tmp_path)
    found = reproduce(made, replace(GENETIC, run=run), tmp_path / "again")
    assert (found.verdict, found.same_ledgers, found.runs) == (verdict, 0, 4)
    assert found.p is not None
    assert (found.p >= 0.05) == (verdict == "compatible")
    assert (tmp_path / "again" / TASK / f"genetic-seed{OTHER_SEEDS}").is_dir()
    assert not (tmp_path / "again" / SECOND).exists()


def _with_more_seeds(folder: Path) -> Submission:
    """Four runs on one task: of fewer no test can tell anything at 5 %."""
    paths = [run_agent(GENETIC, load_task(TASK), budget=300, seed=s, out=folder / str(s)).path for s in range(4)]
    return pack(paths, TASK, abridged=True)


def test_another_agent_or_other_settings_are_refused(abridged: Submission, tmp_path: Path) -> None:
    for agent in (load_agent("random"), replace(GENETIC, num_envs=2), replace(GENETIC, reveal_constraints=True)):
        with pytest.raises(InvalidConfig, match="give its agent with --agent"):
            reproduce(abridged, agent, tmp_path)
    with pytest.raises(InvalidConfig, match="has other settings than the submission"):
        reproduce(abridged, replace(GENETIC, config=load_agent("random").config), tmp_path)


def test_a_record_lies_beside_its_submission(abridged: Submission, others: list[Path], tmp_path: Path) -> None:
    files = [
        saved(pack(others, "smoke", abridged=True), tmp_path / "random.zip"),
        saved(abridged, tmp_path / "genetic.zip"),
    ]
    record = Reproduction(digest(abridged), "<b>Ada</b>", 2, 4, 1, 0.5, 0.25, "3.12", "x86_64")
    (tmp_path / RECORD).write_text(record.to_json())
    root = tmp_path / "board"
    with pytest.raises(InvalidSubmission, match="it is a record of another submission; give that too"):
        submit(files[:1], root, [tmp_path / RECORD])
    assert not root.exists()
    paths = submit(files, root, [tmp_path / RECORD])
    beside = paths[1].with_suffix(".reproduced.json")
    assert beside.read_text() == record.to_json()
    page = (root / "smoke" / PAGE).read_text()
    shown = "compatible (1 of 2 ledgers, p = 0.25), 2 of 4 runs, by &#60;b&#62;Ada&#60;/b&#62;"
    assert f"- genetic: {shown} ([record](submissions/{beside.name}))\n" in page
    header, rows = board_table(read_board(root, "smoke"))
    assert {row[0]: row[header.index("reproduced")] for row in rows} == {"genetic": "compatible (2 of 4)", "random": ""}
    submit(files[:1], root)
    rebuild(root)
    assert (root / "smoke" / PAGE).read_text() == page
    for other in (replace(record, submission="0" * 64), replace(record, of=3)):
        beside.write_text(other.to_json())
        with pytest.raises(InvalidSubmission, match="it is a record of another submission"):
            rebuild(root)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no record of bioseq-gym reproduce"),
        ("[" * 10**5, "no record"),
        (" " * 10**5, "no record"),
        ("[]", "no record"),
        ('"p": 0.25, "more": 1', "no record"),
        ('"p": NaN', "no valid p"),
        ('"p": 2.0', "no valid p"),
        ('"p": null', "its numbers don't go together"),
        ('"runs": 5', "its numbers don't go together"),
        ('"runs": true', "no valid runs"),
        ('"same_ledgers": 2', "its numbers don't go together"),
        ('"by": "a\\nb"', "no valid by"),
        ('"python": ""', "no valid python"),
    ],
)
def test_what_is_no_record_is_refused(tmp_path: Path, text: str, message: str) -> None:
    good = Reproduction("0" * 64, "", 2, 4, 1, 0.5, 0.25, "3.12", "x86_64").to_json()
    key = text.split(":")[0]
    lines = [f" {text}," if key and line.startswith(f" {key}") else line for line in good.splitlines()]
    (tmp_path / RECORD).write_text("\n".join(lines) if key.startswith('"') else text)
    with pytest.raises(InvalidSubmission, match=message):
        read_record(tmp_path / RECORD)


def test_command_line(abridged: Submission, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = saved(abridged, tmp_path / "a.zip")
    options = ["reproduce", str(file), "--cells", "1", "--out", str(tmp_path / "out")]
    assert main(options) == 0
    assert f"identical (1 of 1 ledgers): {tmp_path / 'out' / RECORD}" in capsys.readouterr().out
    assert main([*options, "--agent", "random"]) == 2
    bad = saved(stating(best_value=0.5)(abridged), tmp_path / "b.zip")
    assert main(["reproduce", str(bad), "--out", str(tmp_path / "out")]) == 1
    assert "states best_value = 0.5" in capsys.readouterr().err
