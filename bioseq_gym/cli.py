"""The command line: ``bioseq-gym tasks | run | sweep | report | pack | verify | reproduce | submit | leaderboard``."""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console
from rich.progress import track

import bioseq_gym
from bioseq_gym import report
from bioseq_gym.agent import Agent, agent_names, load_agent, setting_types
from bioseq_gym.board_commands import add_board_commands
from bioseq_gym.budget import AnyBudget
from bioseq_gym.errors import BioseqGymError, InvalidSequence, InvalidSubmission, UnknownName
from bioseq_gym.iohprofiler import export
from bioseq_gym.progress import live_progress
from bioseq_gym.runs import run_agent
from bioseq_gym.study import find_runs, read_study
from bioseq_gym.suite import DEFAULT_BUDGET, load_suite, load_task, suite_names, task_names
from bioseq_gym.sweep.cells import DEFAULT_SEEDS, make_cells
from bioseq_gym.sweep.plan import sweep_command
from bioseq_gym.sweep.run import HEADER, run_cells, table
from bioseq_gym.sweep.show import sweep_progress
from bioseq_gym.terminal import fail, print_table

DEFAULT_TASK = "llome/ehr-V32-L32-c4-k4-q4"
EPILOG = "Exit status: 0, 2 for bad use or bad input, 1 for a check or an agent that failed, 130 when interrupted."


class Parser(argparse.ArgumentParser):
    """argparse with errors of one line."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(argv: Sequence[str] | None = None, agent: Agent | None = None) -> int:
    """Run the command line and return its exit status.

    Args:
        argv: the arguments; by default those of the process.
        agent: the agent to run, for an agent's own command line.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        options, unknown = _parser(arguments, agent).parse_known_args(arguments)
        if unknown:
            options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")  # that of the command, not of all
        return options.command(options) or 0
    except InvalidSubmission as error:
        return fail(error, 1)
    except InvalidSequence as error:  # of an agent that asks for what is no batch
        return fail(f"{error} ({_place(error)})", 2)
    except BioseqGymError as error:
        return fail(error, 2)
    except OSError as error:
        parts = [str(part) for part in (error.strerror, error.filename2 or error.filename) if part]
        return fail(": ".join(parts) or repr(error), 2)
    except KeyboardInterrupt:
        return fail("stopped; a run that was cut goes on with --resume", 130)


def _place(error: BaseException) -> str:
    """The line outside of this package that led to ``error``."""
    own = str(Path(bioseq_gym.__file__).parent)
    frame = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(own)][-1]
    return f"{frame.filename}, line {frame.lineno}"


def _parser(arguments: list[str], agent: Agent | None) -> Parser:
    parser = Parser(prog="bioseq-gym", description="Black-box optimization of biological sequences.", epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"bioseq-gym {bioseq_gym.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, function: Any, help: str, **kwargs: Any) -> Parser:
        sub = commands.add_parser(name, help=help, description=kwargs.pop("description", help), epilog=EPILOG, **kwargs)
        sub.set_defaults(command=function, parser=sub)
        return sub

    tasks = command("tasks", _tasks, "list the tasks and the suites")
    tasks.add_argument(
        "suite", nargs="?", metavar="SUITE", help="the tasks of this suite (default: all published ones)"
    )
    tasks.add_argument("--json", action="store_true", help="print JSON")

    help = "let an agent spend a budget on a task"
    if agent is not None:
        program = Path(sys.argv[0]).name
        run = command("run", _run, help, prog=program, usage=f"{program} [options]")
    else:
        run = command("run", _run, help, usage="bioseq-gym run AGENT [options]")
        names = ", ".join(agent_names())
        run.add_argument("agent", metavar="AGENT", help=f"{names}, or the path of a .py file that defines AGENT")
        if len(arguments) > 1 and arguments[0] == "run" and not arguments[1].startswith("-"):
            agent = load_agent(arguments[1])  # its settings are options too
            run.prog += f" {arguments[1]}"  # whose --help lists them
    run.set_defaults(loaded=None)
    _add_run_options(run)
    if agent is not None:
        _add_config_options(run, agent)

    _add_sweep_options(command("sweep", _sweep, "run agents on tasks with several seeds, in parallel"))

    show = command("report", _report, "compare runs: a page of tables and pictures")
    show.add_argument(
        "runs", nargs="+", metavar="RUN", help="run directories, folders that hold some at any depth, or submissions"
    )
    show.add_argument("--out", metavar="DIR", default="runs/report", help="where it goes (default: %(default)s)")
    show.add_argument("--budget", type=int, metavar="N", help="only the first N evaluations of each run (default: all)")
    show.add_argument("--ioh", action="store_true", help="write DIR/ioh too, the runs in the format of IOHprofiler")

    add_board_commands(command)
    return parser


def _add_run_options(run: Parser) -> None:
    run.add_argument("--task", default=DEFAULT_TASK, help="a name from bioseq-gym tasks (default: %(default)s)")
    run.add_argument(
        "--budget",
        type=int,
        metavar="N",
        help=f"distinct sequences that may be scored (default: the task's, {DEFAULT_BUDGET})",
    )
    run.add_argument("--seed", type=int, metavar="S", default=0, help="seed of the agent (default: %(default)s)")
    run.add_argument("--out", metavar="DIR", help="the run directory (default: runs/TASK/AGENT-seedS)")
    run.add_argument("--resume", action="store_true", help="go on with the run in DIR if there is one")
    run.add_argument("--quiet", action="store_true", help="no live progress")
    run.add_argument("--json", action="store_true", help="end standard output with one line of JSON")


def _add_sweep_options(sweep: Parser) -> None:
    sweep.description = (
        "Run every agent on every task with every seed, each in the run directory DIR/TASK/AGENT-seedS. The same "
        "command again keeps what is finished and goes on with the rest."
    )
    names = ", ".join(agent_names())
    add = sweep.add_argument
    add("--agents", nargs="+", required=True, metavar="AGENT", help=f"{names}, AGENT:PRESET, or paths of .py files")
    add("--tasks", nargs="+", required=True, metavar="TASK", help=f"tasks, and suites: {', '.join(suite_names())}")
    add("--seeds", type=int, metavar="N", help=f"seeds per task (default: the suite's, or {DEFAULT_SEEDS})")
    add("--first-seed", type=int, metavar="S", default=0, help="the first seed (default: %(default)s)")
    add("--budget", type=int, metavar="N", help="evaluations of each run (default: the suite's, or the task's)")
    add("--out", required=True, metavar="DIR", help="where the run directories and the logs go")
    add("--workers", type=int, metavar="N", help="processes on this machine (default: one for each core)")
    add("--ray-address", metavar="ADDRESS", help="run on this Ray cluster instead; all its nodes must share DIR")
    add("--quiet", action="store_true", help="no live progress")
    add("--json", action="store_true", help="end standard output with one line of JSON")


def _add_config_options(run: Parser, agent: Agent) -> None:
    """An option for each field of the agent's config; those that are not given come from the preset."""
    run.set_defaults(loaded=agent)
    group = run.add_argument_group(f"settings of {agent.name}")
    if agent.presets:
        group.add_argument("--preset", choices=sorted(agent.presets), help="named settings to start from")
    types = setting_types(agent.config)
    for field in fields(agent.config):
        kind = types[field.name][0]
        group.add_argument(
            f"--{field.name.replace('_', '-')}",
            dest=f"config_{field.name}",
            default=argparse.SUPPRESS,
            help=f"{field.metadata.get('help', '')} (default: {getattr(agent.config, field.name)})".replace("%", "%%"),
            **(
                {"action": argparse.BooleanOptionalAction} if kind is bool else {"type": kind, "metavar": kind.__name__}
            ),
        )


def _config(options: argparse.Namespace) -> Any:
    agent = options.loaded
    preset = getattr(options, "preset", None)
    given = {k.removeprefix("config_"): v for k, v in vars(options).items() if k.startswith("config_")}
    return replace(agent.presets[preset] if preset else agent.config, **given)


def _run(options: argparse.Namespace) -> None:
    if options.loaded is None:
        raise UnknownName("the agent comes first: bioseq-gym run AGENT [options]")
    agent, task = options.loaded, load_task(options.task)
    out = Path(options.out or Path("runs") / task.name / f"{agent.name}-seed{options.seed}")
    budget = task.budget if options.budget is None else options.budget
    console = Console(stderr=True)

    def monitor(env: AnyBudget) -> AbstractContextManager[Any]:
        if options.quiet:
            return nullcontext()
        console.print(f"[bold]{agent.name}[/] on {task.name}, {budget:,} evaluations, seed {options.seed}")
        return live_progress(env, console)

    run = run_agent(
        agent,
        task,
        budget=budget,
        seed=options.seed,
        out=out,
        config=_config(options),
        resume=options.resume,
        monitor=monitor,
    )
    if not options.quiet:
        m = run.manifest
        regret, evaluations = f"simple regret {m['simple_regret']:.3f}", f"{m['evaluations']:,} evaluations"
        console.print(f"{regret} after {evaluations}, {m['wall_s']:.1f} s: {out}", markup=False, soft_wrap=True)
    if options.json:
        keys = (
            "task",
            "agent",
            "seed",
            "evaluations",
            "calls",
            "simple_regret",
            "best_value",
            "feasible_share",
            "wall_s",
        )
        print(json.dumps({key: run.manifest[key] for key in keys}))


def _sweep(options: argparse.Namespace) -> int:
    names = ("agents", "tasks", "out", "seeds", "first_seed", "budget")
    given = {name: getattr(options, name) for name in names}
    cells = make_cells(**given)
    started = time.monotonic()
    progress = nullcontext(lambda event: None) if options.quiet else sweep_progress(len(cells), Console(stderr=True))
    try:
        with progress as watch:
            outcomes = run_cells(cells, sweep_command(**given), options.workers, options.ray_address, watch)
    except KeyboardInterrupt:
        return fail("stopped; the same command goes on from here", 130)
    print_table(HEADER, table(outcomes))
    failed = [outcome for outcome in outcomes if outcome.cause is not None]
    for outcome in failed:
        log = f" (log: {outcome.cell.log})" if outcome.cell.log.exists() else ""
        print(f"failed: {outcome.cell}: {outcome.cause}{log}", file=sys.stderr)
    if options.json:
        summary = {
            "cells": len(cells),
            "finished": len(cells) - len(failed),
            "kept": sum(outcome.kept for outcome in outcomes),
            "failed": [
                {"agent": o.cell.label, "task": o.cell.task, "seed": o.cell.seed, "cause": o.cause} for o in failed
            ],
            "wall_s": round(time.monotonic() - started, 3),
        }
        print(json.dumps(summary))
    return 1 if failed else 0


def _tasks(options: argparse.Namespace) -> None:
    names = task_names() if options.suite is None else load_suite(options.suite).tasks
    tasks = [load_task(name) for name in names]
    columns = ("V", "L", "c", "k", "q", "epistasis")
    numbers = [{column: getattr(t.spec, column) for column in columns} for t in tasks]
    if options.json:
        print(json.dumps([{"name": t.name, **n, "digest": t.digest} for t, n in zip(tasks, numbers, strict=True)]))
        return
    rows = [(t.name, *(f"{number:g}" for number in n.values())) for t, n in zip(tasks, numbers, strict=True)]
    print_table(("task", *columns), rows)
    if options.suite is not None:
        return
    suites = [(s.name, str(len(s.tasks)), str(s.seeds), f"{s.budget:,}") for s in map(load_suite, suite_names())]
    print_table(("suite", "tasks", "seeds", "budget"), suites)
    print("and any function of our own generator, for example ehrlich/ehr-V32-L128-c4-k4-q4-seed7")


def _report(options: argparse.Namespace) -> None:
    report.require_packages()  # before minutes of reading
    directories = find_runs(options.runs)
    console = Console(stderr=True)
    hidden = not console.is_terminal
    progress = track(directories, "reading runs", console=console, transient=True, disable=hidden)
    study = read_study(progress, options.budget)
    page = report.write_report(study, options.out)
    title = study.tasks[0] if len(study.tasks) == 1 else f"{len(study.tasks)} tasks"
    print_table(*report.regret_table(study, report.ranked(study)), title=title)
    pictures = [name for name in (report.REGRET, report.ECDF, report.ROUNDS) if page.with_name(name).exists()]
    print(f"report: {page}, with {', '.join(pictures)}")
    if options.ioh:
        print(f"for IOHprofiler: {export(study, page.parent / 'ioh')}")


if __name__ == "__main__":
    sys.exit(main())
