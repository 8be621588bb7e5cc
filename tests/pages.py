"""The page of the leaderboards in a browser, for tests: nothing that it says or asks for goes unseen."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode

from submissions import saved

from bioseq_gym.leaderboard import submit
from bioseq_gym.submission import Submission
from bioseq_gym.submission.document import digest
from bioseq_gym.submission.reproduced import Reproduction

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BOARDS = Path(__file__).resolve().parents[1] / "leaderboards"
SERIES = ("agent", "regret", "aocc", "constraints", "reproduced", "ledgers", "runs", "wall")
BROWSERS = ("chromium-headless-shell", "chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
PATIENCE = 10_000
"""Milliseconds that anything may take, so that a dead browser fails a test soon."""
LIVE = "</script><script>window.ran = 1</script><img src=x onerror='window.ran = 1'>"
STRANGE = {
    "name": LIVE,
    "authors": ['<b onclick="ran = 1">Ada</b>', "javascript:window.ran=1", "Łukasz 🧬 &lt;"],
    "constraints_known": False,
    "paper": "https://example.org/a?b=%3Cscript%3E#javascript:ran",
    "command": "x" * 300,
}
# Unlike a card, settings may hold any text.
SETTINGS = {"line": "\u2028\u2029", "text": LIVE + "<!--<script>", "quotes": "\"'`\\", "half": "\ud800"}


def strange(submission: Submission) -> Submission:
    """The submission with a card and settings that try to be more than text."""
    runs = tuple(replace(run, manifest={**run.manifest, "config": SETTINGS}) for run in submission.runs)
    return replace(submission, runs=runs, card=STRANGE)


def strange_board(home: Path, submission: Submission, other: Submission) -> Path:
    """A board with the ``submission`` made strange, which somebody reproduced, and with the ``other``."""
    made = strange(submission)
    files = [saved(made, home / "strange.zip"), saved(other, home / "other.zip")]
    record = Reproduction(digest(made), LIVE, 2, len(made.runs), 1, 0.5, 0.25, "3.12", "x86_64")
    (home / "record.json").write_text(record.to_json())
    submit(files, home / "board", [home / "record.json"])
    return home / "board"


def read_data(path: Path) -> tuple[str, Any]:
    """What a data file hands over, and under which name. It is ASCII, and nothing in it is markup."""
    text = path.read_text(encoding="ascii")
    assert "<" not in text, path
    call = re.fullmatch(r"bioseq\.put\((.*)\);\n", text)
    assert call is not None, path
    name, value = json.loads(f"[{call[1]}]")
    return name, value


def board_data(root: Path, board: str) -> dict[str, Any]:
    """What the page knows of a board."""
    data: dict[str, Any] = read_data(root / "site" / board / "board.js")[1]
    return data


def submission_data(root: Path, board: str, row: str) -> dict[str, Any]:
    """What the page knows of a submission, whose row has this id."""
    data: dict[str, Any] = read_data(root / "site" / board / "of" / f"{row}.js")[1]
    return data


def shown(cell: list[float]) -> str:
    """A number of the data as tables show it: its mean, and the interval if there is one."""
    mean, *ends = cell
    return f"{mean:.3f}" + (f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else "")


def label(row: dict[str, Any]) -> str:
    """What the Markdown page calls a row of the data."""
    return row["label"] + (" (constraints known)" if row["constraints"] == "known" else "")


def markdown_tables(page: Path) -> dict[str, list[list[str]]]:
    """The cells of the tables of a Markdown page, by the headings above them; the row of dashes is left out."""
    tables: dict[str, list[list[str]]] = {}
    section = heading = ""
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = heading = line[3:]
        elif line.startswith("### "):
            heading = f"{section}: {line[4:]}"
        if line.startswith("|") and not line.startswith("|---"):
            tables.setdefault(heading, []).append([cell.strip() for cell in line.strip("|").split(" | ")])
    return tables


def find_browser() -> str | None:
    """The program of a browser of this machine."""
    return next((path for path in map(shutil.which, BROWSERS) if path), None)


@contextmanager
def browsing(program: str) -> Iterator[Browser]:
    """A browser that asks for nothing of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=FLAGS, timeout=PATIENCE)
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Browser,
    address: str,
    *,
    allowed: str = "(?!)",
    script: str = "",
    asked: Callable[[str], object] = lambda url: None,
    **options: Any,
) -> Iterator[Page]:
    """A page in a context of its own; at the end it must not have complained, nor asked for anything elsewhere.

    Args:
        browser: where to open it.
        address: of the folder's index.html, or of the folder at a server.
        allowed: a pattern of complaints that are expected.
        script: what runs in the page before its own.
        asked: called with the address of each file that it asks for.
        options: of the context.
    """
    home = address.split("#")[0].removesuffix("index.html")
    complaints: list[str] = []
    context = browser.new_context(**options)
    try:
        context.set_default_timeout(PATIENCE)
        if script:
            context.add_init_script(script)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        page.on("response", lambda answer: answer.status < 400 or complaints.append(f"{answer.status}: {answer.url}"))
        page.on("request", lambda ask: ask.url.startswith((home, "data:")) or complaints.append(f"asked: {ask.url}"))
        page.on("request", lambda ask: asked(ask.url))
        page.goto(address)
        yield page
        settle(page)  # what it has said until now has arrived then
    finally:
        context.close()
    found = [complaint for complaint in complaints if not re.search(allowed, complaint)]
    assert not found, found


_SETTLED = """async () => {
  const turn = () => new Promise((done) => setTimeout(done));
  await turn();  // what the last action caused
  for (let asked = -1; asked !== bioseq.asked.size; await turn()) {
    asked = bioseq.asked.size;
    await Promise.allSettled(bioseq.asked.values());
  }
}"""


def settle(page: Page) -> None:
    """Wait until the page shows what was last asked of it."""
    page.evaluate(_SETTLED)


_SERVER = """
import signal, sys
from bioseq_gym.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a process in the background is started without
sys.exit(main())
"""


@contextmanager
def served(root: Path) -> Iterator[str]:
    """The address at which the command line serves the boards, until it is interrupted as by Ctrl-C."""
    command = [sys.executable, "-c", _SERVER, "leaderboard", "--board", str(root), "--serve", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield line.rsplit(maxsplit=1)[-1] if line else ""
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (0, "stopped\n", "")
    finally:
        process.kill()
        process.communicate()


def address(root: Path) -> str:
    """Of the page from disk."""
    return (root / "index.html").as_uri()


def at(home: str, **state: str) -> str:
    """The address of a view."""
    return f"{home}#{urlencode(state)}" if state else home


def state(page: Page) -> dict[str, str]:
    """What the address says of the view."""
    return {key: values[0] for key, values in parse_qs(page.url.partition("#")[2]).items()}


def cells(page: Page) -> list[list[str]]:
    """The table, its column of boxes left out."""
    settle(page)
    rows: list[list[str]] = page.eval_on_selector_all(
        "tbody tr",
        "rows => rows.map((row) => [...row.cells].filter((c) => !c.querySelector('input')).map((c) => c.innerText))",
    )
    return rows


def column(page: Page, key: str) -> list[str]:
    """A column of the table of a board."""
    return [row[SERIES.index(key)] for row in cells(page)]


def drawn(page: Page, figure: int = 0) -> list[str]:
    """The points of the curves of a figure, the one on top last."""
    settle(page)
    lines: list[str] = (
        page.locator("figure")
        .nth(figure)
        .locator("polyline.curve")
        .evaluate_all("lines => lines.map((line) => line.getAttribute('points'))")
    )
    return lines


def status(page: Page) -> str:
    """How many rows are there and drawn."""
    settle(page)
    return page.get_by_role("status").inner_text()
