"""The rows of the benchmark, their targets, and the table made of what was measured. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Literal

Record = Callable[[str, "Measured"], None]
COLUMNS = ("what", "ours", "beside it", "ratio", "target", "met")


@dataclass(frozen=True)
class Row:
    """One line of the table: what is measured, what stands beside it, and what it should reach."""

    key: str
    what: str
    sense: Literal[">=", "<="]
    bound: float
    unit: str = "x"

    @property
    def target(self) -> str:
        return f"{self.sense} {self.bound:g}{self.unit if self.unit == 'x' else ' ' + self.unit}"

    def is_met(self, value: float) -> bool:
        return value >= self.bound if self.sense == ">=" else value <= self.bound


@dataclass(frozen=True)
class Measured:
    """What a row came to. Figures are text, since each row has units of its own."""

    value: float
    """What the target judges, in the target's unit."""
    ours: str
    theirs: str = ""
    spread: tuple[float, float] | None = None
    """The quartiles of ``value`` over the rounds."""
    note: str = ""


ROWS = (
    Row("batch-32-32-4-4", "10,000 sequences, one thread, (V,L,c,k)=(32,32,4,4), against holo-bench", ">=", 150),
    Row("batch-32-128-4-4", "the same at (32,128,4,4)", ">=", 300),
    Row("batch-32-128-8-8", "the same at (32,128,8,8)", ">=", 400),
    Row("batch-32-256-4-8", "the same at (32,256,4,8)", ">=", 400),
    Row("threads", "100,000 sequences at (32,128,4,4), two threads against one", ">=", 1.8),
    Row("one", "one sequence at (32,128,4,4), against holo-bench", ">=", 400),
    Row("length", "growth of the cost per sequence from L=32 to L=4096, a 128-fold", "<=", 128),
    Row("rows", "cost per row, the dearest of B=10^4, 10^5, 10^6 against B=1000", "<=", 1.2),
    Row("memory", "extra memory for 1,000,000 sequences", "<=", 64, "MB"),
    Row("env", "Ehrlich-v0 of gym.make, L=128, against CartPole-v1 of gym.make", ">=", 0.8),
    Row("vector-speed", "gym.make_vec of Ehrlich-v0, L=128, 1024 environments, one core", ">=", 3, "million steps/s"),
    Row("vector", "the same against CartPole-v1's own vector environment", ">=", 0.3),
    Row("import", "import bioseq_gym, against import gymnasium, numba", "<=", 1.25),
    Row("warm", "first score after import, the slower of one sequence and of 1000, warm cache", "<=", 0.3, "s"),
    Row("cold", "the same, cold cache", "<=", 6, "s"),
    Row("genetic", "genetic-holo, 60 generations of 1000 at (32,128,4,4), against DiscreteEvolution", ">=", 50),
)


def ratio(dividend: Sequence[float], divisor: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """The ratio of the medians of two lists measured in turns, and the quartiles of the rounds' own ratios."""
    low, _, high = quantiles((a / b for a, b in zip(dividend, divisor, strict=True)), n=4, method="inclusive")
    return median(dividend) / median(divisor), (low, high)


def duration(seconds: float) -> str:
    """Three digits and the unit that suits: 0.00123 is ``1.23 ms``."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def table(results: Mapping[str, Measured]) -> str:
    """The Markdown table; a row without a result says so."""
    lines = [_line(COLUMNS), _line(["---"] * len(COLUMNS))]
    lines += [_line(_cells(row, results.get(row.key))) for row in ROWS]
    return "\n".join(lines)


def notes(results: Mapping[str, Measured]) -> str:
    """What was counted, a line for each row that says it."""
    said = [(row.what, results[row.key].note) for row in ROWS if row.key in results]
    return "\n".join(f"- {what}: {note}." for what, note in said if note)


def page(results: Mapping[str, Measured], circumstances: Mapping[str, str]) -> str:
    """``benchmarks/README.md``."""
    facts = "\n".join(f"- {name}: {value}" for name, value in circumstances.items())
    return PAGE.format(facts=facts, table=table(results), notes=notes(results))


PAGE = """# Benchmarks

`make bench` measures this table anew and writes this page. It takes about two minutes, needs Python 3.10 to 3.12, and
first makes an environment of its own, `.venv-bench`, since [holo-bench](https://github.com/prescient-design/holo-bench)
needs NumPy 1. A target that is missed is shown and fails nothing: a time is the machine's too.

{facts}

{table}

Both sides of a ratio run in one process, in turns, after a warm-up, so that noise hits both; what needs a process of
its own, such as an import, takes turns too. A figure is the median of the rounds, a ratio is that of the medians, and
in brackets are the quartiles of the rounds' own ratios.

holo-bench is called as a function, which is its faster way, with int64 tokens and one torch thread. Both score the
same random walks that holo-bench drew, all feasible, so that nobody leaves early. Their values are first found equal to
1e-6, and so are those of the same rows with one token changed, -inf included.

{notes}
"""


def _cells(row: Row, measured: Measured | None) -> list[str]:
    if measured is None:
        return [row.what, "", "", "", row.target, "not measured"]
    shown = ""
    if row.unit == "x":
        spread = "" if measured.spread is None else " [{}, {}]".format(*map(_digits, measured.spread))
        shown = f"{_digits(measured.value)}x{spread}"
    met = "yes" if row.is_met(measured.value) else "**missed**"
    return [row.what, measured.ours, measured.theirs, shown, row.target, met]


def _digits(value: float) -> str:
    """Three digits, and all before the point: never 1.01e+03."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
