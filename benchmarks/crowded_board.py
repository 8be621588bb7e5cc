"""A crowded board: how long it takes to build, and its page to open.

    python benchmarks/crowded_board.py --submissions 500

The submissions are copies of those on the board of llome-6 in this repository, each under a name, with settings, a card
and stated digests of its own. They verify: of an abridged submission the digests are only stated.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import wraps
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock
from urllib.parse import unquote, urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from pages import BOARDS, address, board_data, browsing, find_browser, opened
from submissions import saved

from bioseq_gym import leaderboard
from bioseq_gym.study import SUBMISSIONS
from bioseq_gym.submission import Submission, read_submission

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAME = "llome-6"
BUILT, THERE, LOADED = 30.0, 1.0, 2_000_000
"""The targets: seconds to build, seconds until the table is there, bytes before a submission is opened."""
OPENED = 5
PARTS = {"verified": "read_board", "page data": "write_board", "tables and pictures": "write_report"}
# When the first picture with the table in it was painted, in milliseconds after the page was asked for.
_WATCH = """
new MutationObserver((_, watch) => {
  if (!document.querySelector("tbody tr")) return;
  watch.disconnect();
  requestAnimationFrame(() => setTimeout(() => { window.there = performance.now(); }));
}).observe(document, { childList: true, subtree: true });
"""


def crowd(count: int) -> Iterator[Submission]:
    """So many submissions, no two of which are one by any rule of a board."""
    originals = [read_submission(path) for path in sorted((BOARDS / NAME / SUBMISSIONS).glob("*.zip"))]
    for number, original in enumerate(islice(cycle(originals), count)):
        agent = f"{original.agent}-{number:04}"
        runs = []
        for place, run in enumerate(original.runs):
            stated = {
                "agent": agent,
                "config": {**run.manifest["config"], "copy": number},
                "ledger_sha256": hashlib.sha256(f"{number} {place}".encode()).hexdigest(),
            }
            runs.append(replace(run, manifest={**run.manifest, **stated}))
        card = {
            "name": f"{original.agent}, copy {number}",
            "authors": ["nobody"],
            "constraints_known": original.constraints_known,
        }
        yield replace(original, agent=agent, runs=tuple(runs), card=card)


@contextmanager
def timed_parts() -> Iterator[dict[str, float]]:
    """The seconds that each of the parts of a build took."""
    seconds = dict.fromkeys(PARTS, 0.0)

    def timed(part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(work)
        def call(*arguments: Any) -> Any:
            started = time.perf_counter()
            try:
                return work(*arguments)
            finally:
                seconds[part] += time.perf_counter() - started

        return call

    parts = {name: timed(part, getattr(leaderboard, name)) for part, name in PARTS.items()}
    with mock.patch.multiple(leaderboard, **parts):
        yield seconds


def build(root: Path) -> bool:
    """Build the board, and print how long it took; whether that was short enough."""
    started = time.perf_counter()
    with timed_parts() as seconds:
        leaderboard.rebuild(root)
    took = time.perf_counter() - started
    parts = ", ".join(f"{part} {of:.1f} s" for part, of in seconds.items())
    print(f"built in {took:.1f} s, target {BUILT:g} s: {parts}, the rest {took - sum(seconds.values()):.1f} s")
    return took <= BUILT


def open_page(browser: Browser, root: Path) -> tuple[float, int, int]:
    """Seconds until the table is there, bytes that were read until then, and rows."""
    asked: set[str] = set()
    wide = {"width": 1280, "height": 900}
    with opened(browser, address(root), script=_WATCH, asked=asked.add, viewport=wide) as page:
        page.wait_for_function("window.there")
        files = [Path(unquote(urlsplit(url).path)) for url in asked if url.startswith("file:")]
        size = sum(file.stat().st_size for file in files)
        return page.evaluate("there") / 1000, size, page.locator("tbody tr").count()


def look(root: Path) -> bool:
    """Open the page, and print how long it took and what it read; whether it was short and little enough."""
    if (program := find_browser()) is None:
        print("the page was not opened: there is no browser")
        return True
    with browsing(program) as browser:
        times, sizes, rows = zip(*(open_page(browser, root) for _ in range(OPENED)), strict=True)
    middle = statistics.median(times)
    print(f"the table is there in {middle:.2f} s [{min(times):.2f}, {max(times):.2f}], target {THERE:g} s, of {OPENED}")
    print(f"read {max(sizes):,} bytes before a submission is opened, target {LOADED:,}")
    print(f"rows: {min(rows)}")
    return middle <= THERE and max(sizes) <= LOADED and set(rows) == {len(board_data(root, NAME)["rows"])}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--submissions", type=int, default=500, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--keep", metavar="DIR", help="build it here, and leave it (default: a temporary folder)")
    options = parser.parse_args()
    with nullcontext(options.keep) if options.keep else tempfile.TemporaryDirectory(prefix="crowded-") as folder:
        root = Path(folder)
        for submission in crowd(options.submissions):
            saved(submission, root / NAME / SUBMISSIONS / leaderboard.file_name(submission))
        met = [build(root), look(root)]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
