"""Measuring in turns, and the table at the end."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import cpuinfo
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from table import ROWS, Measured, Record, page, table

PAGE = Path(__file__).with_name("README.md")
RESULTS = pytest.StashKey[dict[str, Measured]]()
Timed = Callable[[], Any]
InTurns = Callable[..., list[list[float]]]

torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write", action="store_true", help=f"write the table to {PAGE.name}, if all rows were measured")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RESULTS] = {}


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """Put a result into the table."""

    def put(key: str, measured: Measured) -> None:
        assert key in {row.key for row in ROWS}
        request.config.stash[RESULTS][key] = measured

    return put


@pytest.fixture
def in_turns(benchmark: BenchmarkFixture) -> InTurns:
    """Time programs one after the other, round by round: the seconds per call of each, a list over the rounds.

    A program is a call and how often to call it in a round. pytest-benchmark times the first, the others run in its
    set-up of the round, so that all see the same noise. One round of warm-up is not counted.
    """

    def measure(rounds: int, *programs: tuple[Timed, int]) -> list[list[float]]:
        first, *others = programs
        seconds: list[list[float]] = [[] for _ in others]

        def run_others() -> None:
            for (call, calls), spent in zip(others, seconds, strict=True):
                start = perf_counter()
                _repeat(call, calls)
                spent.append((perf_counter() - start) / calls)

        benchmark.pedantic(_repeat, args=first, setup=run_others, rounds=rounds, warmup_rounds=1)
        return [[spent / first[1] for spent in benchmark.stats.stats.data], *(spent[1:] for spent in seconds)]

    return measure


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    results = config.stash[RESULTS]
    terminalreporter.section("benchmark")
    terminalreporter.write_line(table(results))
    if not config.getoption("write"):
        return
    if len(results) == len(ROWS):
        PAGE.write_text(page(results, _circumstances()), encoding="utf-8")
        terminalreporter.write_line(f"{PAGE} is written")
    else:
        terminalreporter.write_line(f"{PAGE} is left as it was: not all rows were measured")


def _repeat(call: Timed, calls: int) -> None:
    for _ in range(calls):
        call()


def _circumstances() -> dict[str, str]:
    packages = ("bioseq-gym", "pytorch-holo", "torch", "numba", "numpy", "gymnasium")
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{cpuinfo.get_cpu_info()['brand_raw']}, {os.cpu_count()} cores, {platform.system()}",
        "versions": ", ".join([f"Python {platform.python_version()}", *(f"{p} {version(p)}" for p in packages)]),
        "command": "`make bench`",
    }
