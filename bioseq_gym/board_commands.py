"""The commands around the leaderboards: ``pack | verify | reproduce | submit | leaderboard``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bioseq_gym import leaderboard, reproduce, site
from bioseq_gym.errors import InvalidSubmission, UnknownName
from bioseq_gym.files import write_whole
from bioseq_gym.study import find_runs
from bioseq_gym.submission import Submission, faults, pack, read_submission, to_bytes
from bioseq_gym.submission.card import card_lines, read_card
from bioseq_gym.suite import load_scope, suite_names
from bioseq_gym.sweep.cells import load_preset, parse_agent
from bioseq_gym.terminal import fail, print_table


def add_board_commands(command: Callable[..., Any]) -> None:
    """Add them; ``command(name, function, help)`` makes the parser of one."""
    names = ", ".join(suite_names())
    bundle = command("pack", _pack, "replay the runs of one agent and pack them into a submission, one file")
    bundle.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="run directories, folders that hold some at any depth, or submissions, whose runs are taken",
    )
    bundle.add_argument("--suite", required=True, metavar="NAME", help=f"{names}, or a task by its name")
    bundle.add_argument("--agent", metavar="LABEL", help="which agent's runs, by its name in tables, or AGENT:PRESET")
    bundle.add_argument("--agent-card", metavar="FILE", help="who made the agent and of what, a .toml: see the README")
    bundle.add_argument(
        "--abridged", action="store_true", help="keep only the evaluations that improved: a thousandth of the bytes"
    )
    bundle.add_argument(
        "--cut", action="store_true", help="take the first evaluations of runs with a larger budget than the suite's"
    )
    bundle.add_argument(
        "--out", required=True, metavar="FILE", help="the submission, a .zip; one that is there gives way"
    )

    check = command("verify", _verify, "replay submissions and print all that is wrong with them")
    check.add_argument("files", nargs="+", metavar="FILE", help="submissions")

    reproduce.add_options(
        command("reproduce", _reproduce, "run the agent of a submission again and compare: this runs its code")
    )

    put = command("submit", _submit, "verify submissions, put them on the leaderboard and rebuild its pages")
    put.add_argument("files", nargs="+", metavar="FILE", help="submissions, from bioseq-gym pack")
    put.add_argument("--reproduced", nargs="+", default=[], metavar="RECORD", help="records of bioseq-gym reproduce")
    board = command("leaderboard", _leaderboard, "verify all submissions on the leaderboard and print the tables")
    board.add_argument("suite", nargs="?", metavar="SUITE", help=f"{names}, or a task by its name (default: all)")
    board.add_argument("--rebuild", action="store_true", help="build the pages anew, all of them")
    board.add_argument("--serve", action="store_true", help="show the page in a browser, from 127.0.0.1, until Ctrl-C")
    board.add_argument("--port", type=int, metavar="N", default=8000, help="of --serve; 0: any (default: %(default)s)")
    for sub in (put, board):
        sub.add_argument(
            "--board", metavar="DIR", default="leaderboards", help="the leaderboard (default: %(default)s)"
        )


def _pack(options: argparse.Namespace) -> None:
    load_scope(options.suite)  # before a look at thousands of files
    card = None if options.agent_card is None else read_card(options.agent_card)
    given = set(map(Path, options.runs))  # a folder's own boards are no runs of it
    sources = [path for path in find_runs(options.runs, unfinished=True) if path.is_dir() or path in given]
    agent, settings = options.agent, None
    name, preset = parse_agent(agent or "")
    if preset is not None:
        known, config = load_preset(name, preset)
        agent, settings = known.name, asdict(config)
    packed = pack(
        sources, options.suite, agent=agent, settings=settings, abridged=options.abridged, cut=options.cut, card=card
    )
    out = Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    content = to_bytes(packed)
    write_whole(out, content)
    print(f"packed {_summary(packed)}: {out}, {len(content):,} bytes")


def _verify(options: argparse.Namespace) -> int:
    failed = False
    for path in map(_existing, options.files):
        try:
            submission = read_submission(path)
            found = [f"{path}: {fault}" for fault in faults(submission)]
        except InvalidSubmission as error:
            found = [str(error)]
        for line in found:
            fail(line, 1)
        failed = failed or bool(found)
        if not found:
            print(f"verified {path}: {_summary(submission)}")
            for key, text in card_lines(submission.card) if submission.card is not None else ():
                print(f"  {key}: {text}")
    return int(failed)


def _submit(options: argparse.Namespace) -> None:
    files = [_existing(path) for path in options.files]
    records = [_existing(path) for path in options.reproduced]
    for file, path in zip(files, leaderboard.submit(files, options.board, records), strict=True):
        print(f"verified {file}: {path}")


def _reproduce(options: argparse.Namespace) -> int:
    _existing(options.file)
    return reproduce.main(options)


def _existing(path: str) -> str:
    """The path of a file; that there is none is bad use, while a file that is no submission is a failed check."""
    if not Path(path).is_file():
        raise UnknownName(f"there is no file {path}; give a submission, which bioseq-gym pack makes of runs")
    return path


def _summary(submission: Submission) -> str:
    runs = f"{len(submission.runs)} run{'s' if len(submission.runs) > 1 else ''}"
    return f"{runs} of {submission.agent} on {submission.scope.name}, {submission.kind}"


def _leaderboard(options: argparse.Namespace) -> None:
    if options.suite is not None:
        load_scope(options.suite)
    if not Path(options.board).is_dir():
        raise UnknownName(f"there is no leaderboard in {options.board}; give --board, or submit first")
    if options.rebuild:
        for page in leaderboard.rebuild(options.board):
            print(f"built {page}")
    if options.serve:
        return _serve(Path(options.board), options.port)
    names = [name for name in leaderboard.board_names(options.board) if options.suite in (None, name)]
    if not names:
        print(f"no submission on {options.suite or 'any board'} yet")
    for name in names:
        print_table(*leaderboard.board_table(leaderboard.read_board(options.board, name)), title=name)


def _serve(root: Path, port: int) -> None:
    try:
        site.serve(root, port, lambda address: print(f"serving {root} at {address}", flush=True), sys.stdout.isatty())
    except KeyboardInterrupt:
        print("stopped")
