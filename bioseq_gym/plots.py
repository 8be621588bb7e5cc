"""Pictures of a study: regret, and running times to targets, against evaluations."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseq_gym.rounds import PANELS, Round
from bioseq_gym.statistics import ecdf
from bioseq_gym.study import PathLike, Study
from bioseq_gym.suite import TARGETS

Panel = Callable[[Any, Study, str, NDArray[np.int64], dict[str, Any]], None]
COLUMNS = 3
POINTS = 60  # spread over the axis, and as many again over the evaluations, where late steps are

_LOOK = {"font.size": 9.0, "axes.titlesize": 9.0, "axes.spines.top": False, "axes.spines.right": False}
_FILE: dict[str, Any] = {"format": "png", "dpi": 150, "metadata": {"Software": None}}

# One colour for each baseline, whatever else is in a picture, after Paul Tol's schemes for colour-blind readers.
_STYLES = {
    "genetic": ("#332288", "-"),
    "llome": ("#CC3311", "-"),
    "local-search": ("#117733", "-"),
    "adalead": ("#0077BB", "--"),
    "ppo": ("#AA4499", "-"),
    "maskable-ppo": ("#882255", "--"),
    "dqn": ("#999933", "-."),
    "neutral-drift": ("#44AA99", "--"),
    "genetic-small": ("#332288", "--"),
    "genetic-holo": ("#EE7733", "-."),
    "random": ("#777777", ":"),
    "random-walks": ("#777777", "--"),
}
_SPARE = (("#000000", "-"), ("#DDAA33", "-"), ("#66CCEE", "-"), ("#000000", "--"), ("#DDAA33", "--"), ("#66CCEE", "--"))
_MANY = [
    (color, ls) for ls in ("-", "--", ":", "-.") for color in ("#000000", "#DDAA33", "#66CCEE", "#FFAABB", "#4EB265")
]


def plot_regret(study: Study, agents: Sequence[str], path: PathLike, crowded: bool = False) -> Path:
    """Draw simple regret against evaluations into a PNG: interquartile mean over runs and its 95 % bootstrap interval.

    Args:
        study: the runs; there is a panel for each shape of function, and one for all where there are several.
        agents: all its agents, in the order of the legend.
        path: the file.
        crowded: whether to draw for some twenty agents: without bands, with as many looks, and with a legend beside.
    """
    return _draw(study, agents, path, partial(_regret_panel, band=not crowded), "simple regret", crowded)


def plot_ecdf(study: Study, agents: Sequence[str], path: PathLike, crowded: bool = False) -> Path:
    """Draw the share of pairs of a run and a target that are reached, against evaluations. Otherwise as plot_regret."""
    return _draw(study, agents, path, _ecdf_panel, "share of targets reached", crowded)


def plot_rounds(
    runs: Mapping[str, Sequence[Sequence[Round]]],
    styles: Mapping[str, Mapping[str, Any]],
    path: Path,
    crowded: bool = False,
) -> Path:
    """Draw into a PNG how calibrated each agent's likelihood is, and how various what it writes; a line for each run.

    Args:
        runs: the rounds of each run of each agent.
        styles: how each agent's lines look, as keywords of matplotlib.
        path: the file.
        crowded: as in plot_regret.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_LOOK):
        figure = Figure(figsize=(9.6, 5.4), layout="constrained")
        *panels, reliability = figure.subplots(2, 3).flat
        for axes, (field, title) in zip(panels, PANELS, strict=True):
            for agent, of_agent in runs.items():
                for run in of_agent:
                    numbers = [r.evaluations for r in run], [getattr(r, field) for r in run]
                    axes.plot(*numbers, **{**styles[agent], "lw": 0.8}, label=agent)
            axes.set_title(title, loc="left")
            axes.set_xlabel("distinct evaluations")
        panels[0].axhline(0.0, color="#777777", lw=0.6)
        for agent, of_agent in runs.items():
            for run in of_agent:
                if run and len(run[-1].reliability):
                    likelihoods, values, _ = np.array(run[-1].reliability).T
                    reliability.plot(likelihoods, values, marker=".", ms=3.0, **{**styles[agent], "lw": 0.8})
        reliability.set_title("last round: value by likelihood, tenths", loc="left")
        reliability.set_xlabel("mean log-likelihood per token")
        for axes in (*panels, reliability):
            axes.grid(alpha=0.25, lw=0.6)
        lines = dict(zip(*reversed(panels[0].get_legend_handles_labels()), strict=True))
        if crowded:
            _legend_beside(figure, [(line, agent) for agent, line in lines.items()])
        else:
            figure.legend(lines.values(), lines, loc="outside lower center", ncols=_columns(lines), frameon=False)
        figure.savefig(path, **_FILE)
    return path


def _regret_panel(
    axes: Any, study: Study, agent: str, grid: NDArray[np.int64], style: dict[str, Any], band: bool
) -> None:
    curves = np.array([result.curve.at(grid) for result in study.of_agent(agent)]).T
    means, ends = study.interquartile_means(agent, curves)
    axes.plot(grid, means, drawstyle="steps-post", **style)
    if band and ends is not None:
        axes.fill_between(grid, *ends, step="post", color=style["color"], alpha=0.15, lw=0)


def _ecdf_panel(axes: Any, study: Study, agent: str, grid: NDArray[np.int64], style: dict[str, Any]) -> None:
    times = np.array([result.curve.running_times(TARGETS) for result in study.of_agent(agent)])
    axes.plot(grid, ecdf(times, grid), drawstyle="steps-post", **style)


def _draw(study: Study, agents: Sequence[str], path: PathLike, panel: Panel, label: str, crowded: bool) -> Path:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    panels = study.groups()
    last = max(10, study.longest)
    first = 10 ** max(0, math.floor(math.log10(last)) - 2)  # before, all agents are near the initial solution
    spread = np.concatenate([np.geomspace(first, last, POINTS), np.linspace(first, last, POINTS)])
    grid = np.unique(np.rint(spread).astype(np.int64))
    styles = line_styles(agents, crowded)
    with rc_context(_LOOK):
        rows = -(-len(panels) // COLUMNS)
        single = len(panels) == 1
        figure = Figure(figsize=(7.6, 3.8) if single else (9.6, 0.5 + 2.3 * rows), layout="constrained")
        grid_of_axes = figure.subplots(rows, 1 if single else COLUMNS, sharex=True, sharey=True, squeeze=False)
        all_axes = list(grid_of_axes.flat)
        for axes, (title, part) in zip(all_axes, panels.items(), strict=False):
            for agent in reversed(agents):  # the best on top
                panel(axes, part, agent, grid, styles[agent])
            _dress(axes, title, grid)
        _label(figure, grid_of_axes, len(panels), label)
        lines = dict(zip(reversed(agents), all_axes[0].get_lines(), strict=True))
        entries = [(lines[agent], agent) for agent in agents]
        if crowded:
            _legend_beside(figure, entries)
        else:
            _legend(figure, all_axes[len(panels) :], entries, single)
        figure.savefig(path, **_FILE)
    return Path(path)


def _dress(axes: Any, title: str, grid: NDArray[np.int64]) -> None:
    axes.set_title(title, loc="left", fontweight="bold" if title.startswith("all ") else "normal")
    axes.set(xscale="log", ylim=(-0.02, 1.02), xlim=(grid[0], grid[-1]))
    axes.grid(alpha=0.25, lw=0.6)


def _label(figure: Any, grid_of_axes: Any, panels: int, label: str) -> None:
    """Axis labels and numbers where no panel is below or left of one."""
    figure.supxlabel("distinct evaluations", fontsize=9.0)
    figure.supylabel(label, fontsize=9.0)
    for i, axes in enumerate(grid_of_axes.flat):
        below = i + grid_of_axes.shape[1]
        axes.tick_params(labelbottom=below >= panels)
        if i >= panels:
            axes.set_axis_off()


def _legend(figure: Any, free: Sequence[Any], entries: Sequence[tuple[Any, str]], single: bool) -> None:
    """In the free cells of the last row, or beside a single panel, or else below."""
    handles, names = zip(*entries, strict=True)
    look = {"frameon": False, "handlelength": 2.6}
    if single:
        figure.legend(handles, names, loc="outside right center", **look)
    elif free:
        columns = len(free) if len(names) > 6 else 1
        legend = free[0].legend(handles, names, loc="upper left", ncols=columns, borderaxespad=0.0, **look)
        legend.set_in_layout(False)  # it is wider than its cell, and would push the columns apart
    else:
        figure.legend(handles, names, loc="outside lower center", ncols=_columns(names), **look)


def _columns(names: Collection[str]) -> int:
    """Of a legend below the panels, that its longest names fit."""
    return max(1, min(5, len(names), 120 // (8 + max(map(len, names)))))


def _legend_beside(figure: Any, entries: Sequence[tuple[Any, str]]) -> None:
    """In one column, on room that the figure gets for it."""
    handles, names = zip(*entries, strict=True)
    width, height = figure.get_size_inches()
    wider, higher = 0.6 + 0.08 * max(map(len, names)), 0.3 + 0.19 * len(names)  # inches, for a line, a letter, a row
    figure.set_size_inches(width + wider, max(height, higher))
    figure.legend(handles, names, loc="outside right upper", frameon=False, handlelength=2.6)


def line_styles(agents: Iterable[str], crowded: bool = False) -> dict[str, dict[str, Any]]:
    """The look of each agent's line; one that is no baseline, or a second setting of one, gets what is left.

    That is a few looks, again and again, or twenty if ``crowded``.
    """
    left, spare = dict(_STYLES), cycle(_MANY if crowded else _SPARE)
    looks = {}
    for agent in sorted(agents):
        name = agent.split(" ")[0]
        color, dashes = left.pop(name) if name in left else next(spare)
        looks[agent] = {"color": color, "ls": dashes, "lw": 1.6}
    return looks
