"""The files of the page. Data are scripts that hand over JSON, since a page from disk may read nothing else.

They are written in place: a board is built in a folder aside, see :mod:`bioseq_gym.leaderboard`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from bioseq_gym.report import MARK, check_page
from bioseq_gym.site import content
from bioseq_gym.study import Study

INDEX, SITE = "index.html", "site"
_FIRST = f"<!doctype html>\n{MARK}"


def check_site(root: Path) -> None:
    """Raise InvalidRun if the page of ``root`` was not made by this program."""
    check_page(root / INDEX, _FIRST)


def write_front(root: Path, boards: Sequence[str], trust: str) -> None:
    """Write the page of the boards under ``root``; see :func:`bioseq_gym.site.content.index` for the arguments.

    Raises:
        InvalidRun: a page is there that was not made by this program.
    """
    check_site(root)
    _write_data(root / SITE, "index", content.index(boards, trust))
    for file in (files("bioseq_gym.site") / "static").iterdir():
        _write(root / INDEX if file.name == INDEX else root / SITE / file.name, file.read_bytes())


def write_board(root: Path, name: str, study: Study, entries: Mapping[str, content.Entry]) -> None:
    """Write the data of the board ``name``; see :func:`bioseq_gym.site.content.board` for the other arguments."""
    folder, groups = root / SITE, study.groups()
    _write_data(folder, f"{name}/board", content.board(name, study, groups, entries))
    _write_data(folder, f"{name}/tasks", content.tasks(study.tasks))
    for agent, entry in entries.items():
        _write_data(folder, f"{name}/of/{entry.id}", content.submission(study, groups, agent, entry))


def _write_data(folder: Path, name: str, data: Any) -> None:
    """A script that hands over ``data`` under ``name``: in ASCII and without a <, so that nothing in it is markup."""
    text = json.dumps([name, data], separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    _write(folder / f"{name}.js", f"bioseq.put({text[1:-1]});\n".encode("ascii"))


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
