"""What the commands print: tables, and errors of one line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table


def fail(error: Exception | str, status: int) -> int:
    """Print an error, and return the exit status."""
    print(f"bioseq-gym: {error}", file=sys.stderr)
    return status


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> None:
    """Print a table; all of its columns but the first are aligned to the right."""
    table = Table(title=title, title_justify="left")
    for i, name in enumerate(header):
        table.add_column(name, justify="left" if i == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console()
    if not console.is_terminal:  # a file or a pipe has no width: don't cut the table to 80 columns
        console = Console(width=200)
    console.print(table)
