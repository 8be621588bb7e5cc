"""Live progress of a run: best value, evaluations left, repeats, time."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.logging import RichHandler
from rich.progress_bar import ProgressBar
from rich.table import Table

from bioseq_gym.budget import AnyBudget


@contextmanager
def live_progress(env: AnyBudget, console: Console) -> Iterator[None]:
    """Show, while the context lasts, how the budget is spent, and what agents log under ``bioseq_gym``.

    On a terminal one line is redrawn four times a second, by a thread that only reads; elsewhere log records and the
    last state are lines.
    """
    started = time.monotonic()
    total = env.remaining

    def line() -> Table:
        left, best = env.remaining, max(env.ledger.best_value, env.initial_value)
        row = Table.grid(padding=(0, 2))
        row.add_row(
            ProgressBar(total=total, completed=total - left, width=20),
            f"best {best:.3f}",
            f"{left:,} evaluations left",
            f"{env.ledger.repeats:,} repeats",  # free: an agent that asks nothing new goes on for ever
            f"{time.monotonic() - started:.0f} s",
        )
        return row

    try:
        with (
            logging_to(RichHandler(console=console, show_path=False, show_level=False)),
            Live(console=console, get_renderable=line, refresh_per_second=4),
        ):
            yield
    finally:
        if not console.is_terminal:
            console.print()  # rich ends the line on terminals only


@contextmanager
def logging_to(handler: logging.Handler) -> Iterator[None]:
    """Hand what agents log under ``bioseq_gym``, from INFO up, to ``handler`` while the context lasts."""
    logger = logging.getLogger("bioseq_gym")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
