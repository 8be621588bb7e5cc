"""Reproducing a submission: its agent is run again with its settings, and what comes out is compared.

It runs the agent's code, as verifying never does. The same seeds must give the same ledgers, byte for byte. Where they
don't, for another machine or another release of a package, the agent runs with other seeds too, and an exact test asks
whether these runs and the submission's may be of one distribution.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
import platform
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from random import SystemRandom
from typing import Any

import numpy as np

from bioseq_gym import __version__
from bioseq_gym.agent import Agent, check_config, load_agent
from bioseq_gym.errors import InvalidConfig
from bioseq_gym.files import write_whole
from bioseq_gym.runs import Result, Run, run_agent
from bioseq_gym.statistics import superiority
from bioseq_gym.submission import PackedRun, Submission, read_submission, verify
from bioseq_gym.submission.card import is_text
from bioseq_gym.submission.document import digest
from bioseq_gym.submission.reproduced import DIFFERENT, Reproduction
from bioseq_gym.suite import load_task

RECORD = "reproduced.json"
STARTED = "reproducing.json"
OTHER_SEEDS = 10_000
"""What is added to a seed for another one; no submission has so many."""


def reproduce(
    submission: Submission,
    agent: Agent,
    out: str | Path,
    *,
    cells: int | None = None,
    by: str = "",
    watch: Callable[[str], None] = lambda line: None,
) -> Reproduction:
    """Run the agent of a submission that verifies again, and write ``out/reproduced.json``.

    Args:
        submission: what is to come out again.
        agent: its agent; the settings are the submission's.
        out: where the run directories go, a folder of its own: new, empty, or that of the same command, which was cut
            and goes on. Runs that were there before would be taken for runs made again.
        cells: run so many of its runs again, by default all. They are drawn anew for each ``out``, so that nobody can
            know which, and make only these.
        by: who does it, for the record.
        watch: called with a line for each run.

    Raises:
        InvalidConfig: ``agent`` is another one, works elsewhere or has other settings; ``cells`` is below 1; or ``out``
            holds something else, or runs of another submission or of another version of the agent's file.
        InvalidRun, InvalidLedger: a run in ``out`` can't be gone on with.
    """
    config = _config(submission, agent)
    if by and not is_text(by):
        raise InvalidConfig("--by is not one line of at most 300 printable characters")
    if cells is not None and cells < 1:
        raise InvalidConfig(f"--cells is {cells}; give at least 1")
    order = _start(Path(out), submission, agent)
    chosen = [submission.runs[i] for i in sorted(order[:cells])]

    def again(run: PackedRun, seed: int) -> Run:
        manifest = run.manifest
        path = Path(out) / manifest["task"] / f"{agent.name}-seed{seed}"
        task, budget = load_task(manifest["task"]), manifest["budget"]
        return run_agent(agent, task, budget=budget, seed=seed, out=path, config=config, resume=True)

    same = 0
    for run in chosen:
        is_same = again(run, run.manifest["seed"]).manifest["ledger_sha256"] == run.manifest["ledger_sha256"]
        same += is_same
        watch(f"{run.title}: {'the same ledger' if is_same else 'another ledger'}")
    a12, p = None, None
    if same < len(chosen):
        others: dict[str, list[float]] = defaultdict(list)
        for run in chosen:
            made = again(run, run.manifest["seed"] + OTHER_SEEDS)
            others[run.manifest["task"]].append(Result.of(made).area)
            watch(f"{run.title}: run with the seed {made.manifest['seed']}")
        its = defaultdict(list)
        for result in submission.results():
            its[result.task].append(result.area)
        a12, p = superiority([(np.array(areas), np.array(its[task])) for task, areas in others.items()])
    numbers = len(chosen), len(submission.runs), same, a12, p
    found = Reproduction(digest(submission), by, *numbers, platform.python_version(), platform.machine())
    write_whole(Path(out) / RECORD, found.to_json())
    return found


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``bioseq-gym reproduce``."""
    parser.add_argument("file", metavar="FILE", help="a submission")
    parser.add_argument("--agent", metavar="AGENT", help="a .py file with its agent (default: the one of its name)")
    parser.add_argument("--cells", type=int, metavar="N", help="run only N of its runs again, drawn (default: all)")
    parser.add_argument("--by", metavar="NAME", default="", help="who you are, for the record")
    parser.add_argument("--out", metavar="DIR", help="where the runs go (default: runs/reproduced/AGENT)")


def main(options: argparse.Namespace) -> int:
    """``bioseq-gym reproduce``: exit status 1 where the results are not compatible."""
    submission = read_submission(options.file)
    verify(submission)
    agent = load_agent(options.agent or submission.agent)
    out = Path(options.out or Path("runs") / "reproduced" / submission.agent)
    found = reproduce(submission, agent, out, cells=options.cells, by=options.by, watch=print)
    print(f"{found.summary}: {out / RECORD}")
    return int(found.verdict == DIFFERENT)


def _start(out: Path, submission: Submission, agent: Agent) -> list[int]:
    """Note in ``out`` what is run again there, by which code, and in which order of its runs, which is returned.

    Refuses a folder that holds anything else.
    """
    code = inspect.getsourcefile(agent.run)
    facts = {
        "submission": digest(submission),
        "agent_sha256": hashlib.sha256(Path(code).read_bytes() if code else b"").hexdigest(),
        "bioseq_gym": __version__,
    }
    note = out / STARTED
    out.mkdir(parents=True, exist_ok=True)
    if not any(out.iterdir()):
        order = SystemRandom().sample(range(len(submission.runs)), len(submission.runs))
        write_whole(note, json.dumps(facts | {"order": order}, indent=2) + "\n")
    try:
        found = json.loads(note.read_bytes())
        order = found.pop("order")
    except (OSError, ValueError, TypeError, AttributeError, KeyError):  # another file, or none
        found, order = None, []
    if found != facts or sorted(order) != list(range(len(submission.runs))):
        raise InvalidConfig(
            f"{out} holds something else than this submission run again by this code of {agent.name}; "
            "give a new folder with --out, or delete that one"
        )
    return list(order)


def _config(submission: Submission, agent: Agent) -> Any:
    """The agent's settings as the submission has them."""
    manifest = submission.runs[0].manifest
    own = {"id": agent.env_id, "num_envs": agent.num_envs, "reveal_constraints": agent.reveal_constraints}
    if agent.name != submission.agent or own != manifest["environment"]:
        raise InvalidConfig(
            f"the submission is of {submission.agent}, in another environment or of another name than {agent.name}; "
            "give its agent with --agent"
        )
    settings = manifest["config"]
    if settings.keys() != asdict(agent.config).keys():
        raise InvalidConfig(f"{agent.name} has other settings than the submission; give that release with --agent")
    config = replace(agent.config, **settings)
    check_config(agent.name, config)
    return config
