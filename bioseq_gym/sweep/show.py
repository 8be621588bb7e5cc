"""Live progress of a sweep: what is done, and what runs now."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bioseq_gym.budget.records import file_size
from bioseq_gym.runs import LEDGER
from bioseq_gym.suite import load_task
from bioseq_gym.sweep.cells import Cell, Outcome


@contextmanager
def sweep_progress(total: int, console: Console) -> Iterator[Callable[[Cell | Outcome], None]]:
    """Show, while the context lasts, how far a sweep of ``total`` cells is; what it gives is called with each event.

    On a terminal: a bar for all cells, and one for each that runs, filled as its ledger grows. Elsewhere: a line for
    each tenth of the cells.
    """
    started = time.monotonic()
    running: dict[Cell, float] = {}
    ended = failed = 0

    def state() -> str:
        return f"{ended} of {total} cells, {failed} failed, {time.monotonic() - started:.0f} s"

    def picture() -> Table:
        rows = Table.grid(padding=(0, 2))
        rows.add_row(ProgressBar(total=total, completed=ended, width=30), Text(state()))
        for cell, since in list(running.items()):
            bar = ProgressBar(total=cell.budget, completed=spent(cell), width=30)
            rows.add_row(bar, Text(f"{cell}, {time.monotonic() - since:.0f} s", overflow="ellipsis", no_wrap=True))
        return rows

    def watch(event: Cell | Outcome) -> None:
        nonlocal ended, failed
        if isinstance(event, Cell):
            running[event] = time.monotonic()
            return
        running.pop(event.cell, None)
        ended, failed = ended + 1, failed + (event.cause is not None)
        if not console.is_terminal and ended * 10 // total > (ended - 1) * 10 // total:
            console.print(state(), highlight=False)

    if console.is_terminal:
        with Live(console=console, get_renderable=picture, refresh_per_second=4):
            yield watch
    else:
        yield watch


def spent(cell: Cell) -> int:
    """The evaluations in the ledger of a cell, which another process may be writing."""
    L = load_task(cell.task).spec.L
    try:
        size = (cell.directory / LEDGER).stat().st_size
    except OSError:
        return 0  # not made yet
    return max(0, size - file_size(L, 0)) // (file_size(L, 1) - file_size(L, 0))
