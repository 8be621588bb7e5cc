"""kill -9 of `submit` at random instants, and two submits at once.

    python benchmarks/kill_submit.py --kills 50 --pairs 10

After each kill the submissions of the board must be those of before or those of after, whole. Its pages may be behind
them, and the next submit or `leaderboard --rebuild` must then make the tree that an undisturbed submit makes. Of two
submits at once both must land, and the pages be of both.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from submissions import saved, sweep, tree

from bioseq_gym.leaderboard import read_board, rebuild, submit
from bioseq_gym.study import SUBMISSIONS
from bioseq_gym.submission import pack

HIDDEN = ".bioseq-gym-new-"


def forked(work: Callable[[], object]) -> int:
    """The process id of a child that does the work and ends, with status 0 if it raised nothing."""
    if child := os.fork():
        return child
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def shown(root: Path, *, submissions: bool) -> dict[str, bytes]:
    """The files under ``root``: those of the submissions or all others, without what a killed process left."""
    return {
        name: data for name, data in tree(root).items() if (SUBMISSIONS in name) == submissions and HIDDEN not in name
    }


def kills(home: Path, file: Path, board: Path, count: int, seed: int) -> Counter[str]:
    """Kill so many submits of ``file`` to copies of ``board``, and name what was found after each."""
    after = Path(shutil.copytree(board, home / "after"))
    started = time.perf_counter()
    os.waitpid(forked(lambda: submit([file], after)), 0)
    whole, rng, found = time.perf_counter() - started, random.Random(seed), Counter[str]()
    for number in range(count):
        root = Path(shutil.copytree(board, home / f"killed-{number}"))
        child = forked(lambda root=root: submit([file], root))
        time.sleep(rng.random() * whole)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        held = shown(root, submissions=True)
        states = [held == shown(tree_of, submissions=True) for tree_of in (board, after)]
        found["before" if states[0] else "after" if states[1] else "FAILED: neither before nor after"] += 1
        pages = shown(root, submissions=False)
        if pages != shown(after if states[1] else board, submissions=False):
            found["pages behind, until the next submit"] += 1
        if any(HIDDEN in name for name in tree(root)):
            found["a hidden folder left, until the next submit"] += 1
        read_board(root, "smoke")
        if number % 2:
            submit([file], root)
            healed = after
        else:
            rebuild(root)
            healed = after if states[1] else board
        if tree(root) != tree(healed):
            found["FAILED: not healed"] += 1
        shutil.rmtree(root)
    return found


def pairs(home: Path, files: list[Path], count: int) -> Counter[str]:
    """Submit both files at once, so many times."""
    found = Counter[str]()
    together = home / "together"
    submit(files, together)
    for number in range(count):
        root = home / f"pair-{number}"
        children = [forked(lambda file=file, root=root: submit([file], root)) for file in files]
        done = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        landed = done == [0, 0] and tree(root) == tree(together)
        found["both landed" if landed else "FAILED: one is lost, or a page is not of both"] += 1
        shutil.rmtree(root)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill submits, and run two at once.")
    parser.add_argument("--kills", type=int, default=50, metavar="N")
    parser.add_argument("--pairs", type=int, default=10, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        home = Path(folder)
        files = [
            saved(pack(sweep(home / "runs", agent), "smoke", abridged=True), home / f"{agent}.zip")
            for agent in ("genetic", "random")
        ]
        submit(files[:1], home / "board")
        found = {
            "kills": dict(kills(home, files[1], home / "board", options.kills, options.seed)),
            "pairs": dict(pairs(home, files, options.pairs)),
        }
    print(json.dumps(found))
    return int("FAILED" in json.dumps(found))


if __name__ == "__main__":
    sys.exit(main())
