"""The report of a study: a Markdown page with tables and pictures. The same runs give the same bytes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bioseq_gym.errors import InvalidRun, MissingDependency
from bioseq_gym.files import write_whole
from bioseq_gym.plots import line_styles, plot_ecdf, plot_regret, plot_rounds
from bioseq_gym.rounds import Round, rounds_table
from bioseq_gym.statistics import (
    RESAMPLES,
    draw,
    expected_running_time,
    holm,
    mean_ranks,
    superiority,
)
from bioseq_gym.study import SEED, PathLike, Study
from bioseq_gym.suite import TARGETS

PAGE, REGRET, ECDF, ROUNDS = "README.md", "regret.png", "ecdf.png", "rounds.png"
Table = tuple[Sequence[str], list[tuple[str, ...]]]
SHOWN = 20
"""How many agents a page compares; the first table has all."""
MARK = "<!-- Made by bioseq-gym; not edited by hand. -->"
_LEVEL = 0.05


@dataclass(frozen=True)
class Front:
    """What a page says before its tables.

    Attributes:
        title: the heading.
        text: Markdown.
        end: Markdown for the end of the page.
        columns: the headings of more columns of the first table, and what they hold for each agent.
    """

    title: str = "Report"
    text: str = ""
    end: str = ""
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def require_packages() -> None:
    """Raise MissingDependency if a package of the extra is not installed."""
    if missing := [name for name in ("matplotlib", "scipy") if find_spec(name) is None]:
        raise MissingDependency(f"a report needs {' and '.join(missing)}; pip install 'bioseq-gym[report]'")


def write_report(study: Study, folder: PathLike, front: Front = Front()) -> Path:
    """Write the page, ``README.md``, and its pictures into ``folder``, which is made; each file at once, the page last.

    Of more than :data:`SHOWN` agents, the first table has all, and the rest of the page the best.

    Returns:
        The page.

    Raises:
        InvalidRun: there is another README.md in the folder.
        MissingDependency: matplotlib or scipy is not installed.
    """
    require_packages()
    page = Path(folder) / PAGE
    check_page(page)
    page.parent.mkdir(parents=True, exist_ok=True)
    agents = ranked(study)
    shown, crowded = agents[:SHOWN], len(agents) > SHOWN
    best = study.only(shown)
    for plot, name in ((plot_regret, REGRET), (plot_ecdf, ECDF)):
        os.replace(plot(best, shown, page.with_name(f".new.{name}"), crowded), page.with_name(name))
    if rounds := _rounds(best, shown):
        picture = plot_rounds(rounds, line_styles(shown, crowded), page.with_name(f".new.{ROUNDS}"), crowded)
        os.replace(picture, page.with_name(ROUNDS))
    else:
        page.with_name(ROUNDS).unlink(missing_ok=True)
    write_whole(page, "\n".join(_page(study, agents, best, front, rounds)))
    return page


def check_page(page: Path, start: str = MARK) -> None:
    """Raise InvalidRun if there is a page that this program did not make, which begins with ``start``."""
    if page.exists() and not page.read_text(encoding="utf-8", errors="replace").startswith(start):
        raise InvalidRun(f"{page} is there and was not made by bioseq-gym; give another folder, or move it away")


def ranked(study: Study) -> list[str]:
    """The agents, the best mean rank first."""
    ranks = dict(zip(study.agents, mean_ranks(_medians(study)), strict=True))
    return sorted(study.agents, key=lambda agent: (ranks[agent], agent))


def regret_table(study: Study, agents: Sequence[str]) -> Table:
    """Simple regret at the checkpoints and the area over the curve: interquartile means with their intervals."""
    rows = []
    for agent in agents:
        results = study.of_agent(agent)
        columns = np.array([[*result.curve.at(study.checkpoints), result.area] for result in results]).T
        rows.append((agent, str(len(results)), *_means(columns, study, agent)))
    return ("agent", "runs", *(f"regret @ {_count(n)}" for n in study.checkpoints), "AOCC"), rows


def effort_table(study: Study, agents: Sequence[str]) -> Table:
    """Medians over runs of what they asked for, and of how long they took."""
    rows = []
    for agent in agents:
        results = study.of_agent(agent)
        evaluations, wall = (np.median([getattr(r, name) for r in results]) for name in ("evaluations", "wall_s"))
        shares = [_share([getattr(r, name) for r in results]) for name in ("feasible", "distinct", "diversity")]
        rows.append((agent, f"{evaluations:,.0f}", *shares, "-" if np.isnan(wall) else f"{wall:.1f} s"))
    return ("agent", "evaluations", "feasible", "distinct", "diversity", "wall time"), rows


def running_time_table(study: Study, agents: Sequence[str]) -> Table:
    """The expected running time to each target, and how many of the runs reached it."""
    rows = []
    for agent in agents:
        results = study.of_agent(agent)
        times = np.array([result.curve.running_times(TARGETS) for result in results])
        spent = np.array([result.evaluations for result in results])
        cells = []
        for column in times.T:
            ert = expected_running_time(column, spent)
            cells.append(f"{f'{ert:,.0f}' if np.isfinite(ert) else '∞'} ({np.isfinite(column).sum()}/{len(results)})")
        rows.append((agent, *cells))
    return ("agent", *(f"value {target:g}" for target in TARGETS)), rows


def rank_table(study: Study, agents: Sequence[str]) -> Table:
    """The mean rank over tasks by the median area over the curve, with its bootstrap interval."""
    ranks = dict(zip(study.agents, mean_ranks(_medians(study)), strict=True))
    low, high = np.quantile(mean_ranks(_medians(study, RESAMPLES)), [_LEVEL / 2, 1 - _LEVEL / 2], axis=0)
    ends = dict(zip(study.agents, zip(low, high, strict=True), strict=True))
    rows: list[tuple[str, ...]]
    rows = [(a, _interval(ranks[a], ends[a] if study.repeats(a) else None, 2)) for a in agents]
    return ("agent", f"mean rank of {len(agents)}"), rows


def comparison_table(study: Study, agents: Sequence[str]) -> Table:
    """For each pair of agents A12 of the row's over the column's, and the p-value after Holm's correction."""
    pairs = list(combinations(agents, 2))
    areas = {a: [np.array([r.area for r in group]) for group in study.results[a].values()] for a in agents}
    found = [superiority(list(zip(areas[a], areas[b], strict=True))) for a, b in pairs]
    adjusted = holm(np.array([p for _, p in found]))
    cells = {(a, a): "" for a in agents}
    for (a, b), (effect, _), p in zip(pairs, found, adjusted, strict=True):
        cells[a, b], cells[b, a] = _effect(effect, p), _effect(1 - effect, p)
    return ("", *agents), [(a, *(cells[a, b] for b in agents)) for a in agents]


def with_columns(table: Table, columns: Mapping[str, Mapping[str, str]]) -> Table:
    """The table of agents with more columns, of each its heading and its cells by the agent."""
    header, rows = table
    return (*header, *columns), [(*row, *(cells[row[0]] for cells in columns.values())) for row in rows]


def _page(
    study: Study, agents: Sequence[str], best: Study, front: Front, rounds: Mapping[str, Sequence[Sequence[Round]]]
) -> list[str]:
    regret = regret_table(study, agents)
    shown, parts = agents[:SHOWN], best.by_shape()
    sizes = sorted({len(group) for of_task in study.results.values() for group in of_task.values()})
    several = len(agents) > 1
    return [
        MARK,
        f"# {front.title}",
        "",
        *([front.text, ""] if front.text else ()),
        f"{_plural(study.runs, 'run')} of {_plural(len(agents), 'agent')} on {_plural(len(study.tasks), 'task')}, "
        f"{'–'.join(str(n) for n in {sizes[0]: 0, sizes[-1]: 0})} of each agent on each task, with a budget of "
        f"{study.budget:,} distinct evaluations.",
        "",
        *((_SHORTENED, "") if len(shown) < len(agents) else ()),
        *_section("Regret", with_columns(regret, front.columns)),
        f"![Simple regret against distinct evaluations]({REGRET})",
        "",
        f"![Share of targets reached against distinct evaluations]({ECDF})",
        "",
        *(_parts("Regret by shape", {n: regret_table(s, shown) for n, s in parts.items()}) if len(parts) > 1 else ()),
        *_running_times(parts, shown),
        *_section("Sequences", effort_table(best, shown)),
        *_rounds_section(rounds),
        *(_section("Ranks", rank_table(best, shown)) if several else ()),
        *(_section("Comparisons", comparison_table(best, shown)) if several else ()),
        *_DEFINITIONS,
        "",
        "## Tasks",
        "",
        *(f"- {name}: {', '.join(f'`{task}`' for task in part.tasks)}" for name, part in parts.items()),
        "",
        *([front.end, ""] if front.end else ()),
    ]


_SHORTENED = f"""The first table has all agents, the best mean rank first. All else is of its first {SHOWN}, in that
order; they are ranked and compared anew among themselves, and their curves are drawn without bands."""

_DEFINITIONS = f"""## How the numbers are defined

- **Evaluations** are distinct sequences, infeasible ones included; a sequence asked again is free.
- **Regret** is 1 minus the best value so far, which starts at that of the initial solution. A run that ended before its
  budget, for most agents because it found the optimum, keeps its last regret.
- **Constraints known** marks an agent that was shown which tokens may follow which, or whose card says that it knew;
  all others state that they were not shown it.
- **A [b, c]** is the interquartile mean over all runs, the mean of the middle half, and its 95 % percentile-bootstrap
  interval from {RESAMPLES:,} resamples of the runs within each task ([Agarwal et al.](https://arxiv.org/abs/2108.13264)),
  each of one run less than there are, without which it would be too narrow for few runs of a task ([Rao and
  Wu](https://doi.org/10.1080/01621459.1988.10478591)). It says what other seeds would give on the same tasks, not on
  others; from fewer than about ten runs in all it is still somewhat narrow. The band of the picture is the same. With
  one run of each task there is no interval.
- **AOCC**, the area over the convergence curve, is the mean of 1 minus regret over log10(evaluations) from 1 to the
  budget: from 0 to 1, larger is better ([López-Ibáñez et al.](https://arxiv.org/abs/2404.02031)).
- **Expected running time** to a target value: all evaluations until each run reached it or ended, over the number of
  runs that reached it, which is in brackets; ∞ if none did ([Hansen et al.](https://arxiv.org/abs/1605.03560)). Tasks
  of one shape are taken together.
- **The second picture** is the share of all pairs of a run and a target, of the values
  {", ".join(f"{target:g}" for target in TARGETS)}, that are reached after so many evaluations.
- **Sequences** are described by medians over runs: evaluations spent; the feasible share of the distinct sequences; the
  distinct share of all that was asked; diversity, the mean share of positions in which two of a run's hundred best
  feasible sequences differ, the newest first among equals; and the wall time that the run states. A dash is a share
  that an abridged submission does not tell, or the time of a part of a run.
- **Ranks**: on each task agents are ranked by the median AOCC of their runs, equals sharing the mean of their ranks;
  the mean over tasks, with an interval as above. 1 is the best. Tables are in this order. A rank, and so the order of
  two agents, depends on who else is there; AOCC, by which the page with switches sorts at first, does not.
- **Comparisons** are of AOCC: the share of pairs of runs on the same task that the row's agent wins over the column's,
  ties as half (Vargha and Delaney's A12), and in brackets the p-value of the exact stratified Mann-Whitney test,
  two-sided, after Holm's correction for all pairs; bold below {_LEVEL:g}. Few runs of few tasks can't give a small one.
""".splitlines()


_ROUNDS_DEFINED = """What the agents that work in rounds state of each, in the first round and in the last, medians over
runs; no replay can check it. *Rank correlation* (Spearman) of likelihood and value, over the sequences that were
evaluated, infeasible ones counting 0: at 0 the likelihood tells nothing. *Distinct*, *new*: shares of what the model
wrote that differ from each other, and that were never evaluated. *Entropy* of a position of the new ones, mean over
positions, and their mean *pairwise distance*, as a share of the length: a generator that has collapsed has neither.
""".splitlines()


def _section(title: str, table: Table) -> list[str]:
    return [f"## {title}", "", *_markdown(table), ""]


def _parts(title: str, tables: dict[str, Table]) -> list[str]:
    lines = [f"## {title}", ""]
    for name, table in tables.items():
        lines += [f"### {name}", "", *_markdown(table), ""] if len(tables) > 1 else [*_markdown(table), ""]
    return lines


def _running_times(parts: dict[str, Study], agents: Sequence[str]) -> Iterable[str]:
    """The tables without the agents that reached nothing, whose names are enough."""
    yield from ("## Expected running time", "")
    for name, part in parts.items():
        if len(parts) > 1:
            yield from (f"### {name}", "")
        header, rows = running_time_table(part, agents)
        reached = [row for row in rows if any("∞" not in cell for cell in row[1:])]
        if reached:
            yield from (*_markdown((header, reached)), "")
        if missed := [row[0] for row in rows if row not in reached]:
            yield from (f"No run of {', '.join(missed)} reached a target.", "")


def _rounds(study: Study, agents: Sequence[str]) -> dict[str, list[Sequence[Round]]]:
    """The rounds of each run of the agents that work in rounds and say so."""
    found = {agent: [result.rounds for result in study.of_agent(agent)] for agent in agents}
    return {agent: rounds for agent, rounds in found.items() if any(rounds)}


def _rounds_section(rounds: Mapping[str, Sequence[Sequence[Round]]]) -> list[str]:
    if not rounds:
        return []
    picture = f"![Calibration and collapse of the generators, round by round]({ROUNDS})"
    return [*_section("Rounds", rounds_table(rounds)), picture, "", *_ROUNDS_DEFINED, ""]


def _markdown(table: Table) -> Iterable[str]:
    header, rows = table
    yield f"| {' | '.join(header)} |"
    yield f"|---|{'---:|' * (len(header) - 1)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def _means(columns: NDArray[np.float64], study: Study, agent: str) -> list[str]:
    means, ends = study.interquartile_means(agent, columns)
    return [_interval(mean, None if ends is None else ends[:, i]) for i, mean in enumerate(means)]


def _medians(study: Study, resamples: int | None = None) -> NDArray[np.float64]:
    """(tasks, agents) the median area over the curve; (resamples, tasks, agents) of runs drawn with replacement."""
    rng = np.random.default_rng(SEED)
    medians = np.empty((*(() if resamples is None else (resamples,)), len(study.tasks), len(study.agents)))
    for a, of_task in enumerate(study.results.values()):
        for t, group in enumerate(of_task.values()):
            areas = np.array([result.area for result in group])
            if resamples is not None:
                areas = areas[draw(len(areas), rng, resamples)]
            medians[..., t, a] = np.median(areas, axis=-1)
    return medians


def _interval(value: float, ends: Sequence[float] | NDArray[np.float64] | None, digits: int = 3) -> str:
    text = f"{value:.{digits}f}"
    return text if ends is None else f"{text} [{ends[0]:.{digits}f}, {ends[1]:.{digits}f}]"


def _share(shares: Sequence[float]) -> str:
    """The median; none where one is unknown."""
    return "-" if np.isnan(shares).any() else f"{100 * np.median(shares):.0f} %"


def _effect(effect: float, p: float) -> str:
    text = f"{effect:.2f} ({'<0.001' if p < 0.001 else f'{p:.3f}'})"
    return f"**{text}**" if p < _LEVEL else text


def _count(n: int) -> str:
    return f"{n // 1000}k" if n % 1000 == 0 else f"{n:,}"


def _plural(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
