"""Regret of each agent after five numbers of evaluations, as a page of Markdown.

    python benchmarks/llome_table.py RUN [RUN ...] > benchmarks/llome/regret.md
    python benchmarks/llome_table.py --shapes RUN [RUN ...] > benchmarks/llome/best/regret.md

For each function: medians. The runs may have several budgets: a run of 30,000 also counts after 10,000, for agents that
do not look at their budget but for the last batch. Of two runs of one agent, task and seed the longer counts.

With ``--shapes``, for all functions of a shape together: interquartile means of runs of one budget.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from bioseq_gym.runs import Result
from bioseq_gym.study import Study, agent_labels, find_runs, read_study
from bioseq_gym.suite import load_task

MARK = "<!-- Made by benchmarks/llome_table.py; not edited by hand. -->"
HEAD = f"""{MARK}
# Median regret

After so many distinct evaluations, with the quartiles and, in round brackets, how many runs there are.
"""
SHAPES_HEAD = f"""{MARK}
# Regret by shape

After so many distinct evaluations: interquartile means over all runs on the functions of a shape, with their 95 %
bootstrap intervals from resamples of the runs within each function.
"""
EVALUATIONS = (1_000, 2_000, 5_000, 10_000, 30_000)


def read(paths: Sequence[str]) -> dict[str, dict[str, list[Result]]]:
    """The results of each task and agent, of each seed that of the largest budget."""
    studies = [read_study([path]) for path in find_runs(paths, unfinished=True)]
    results = [result for study in studies for agent in study.agents for result in study.of_agent(agent)]
    found: dict[tuple[str, str, int], Result] = {}
    for label, result in sorted(zip(agent_labels(results), results, strict=True), key=lambda pair: pair[1].budget):
        found[result.task, label, result.seed] = result
    of: dict[str, dict[str, list[Result]]] = defaultdict(lambda: defaultdict(list))
    for (task, label, _), result in sorted(found.items()):
        of[task][label].append(result)
    return of


def cell(results: Sequence[Result], evaluations: int) -> str:
    """Median, quartiles, and how many runs, of those whose budget is so large."""
    regrets = [float(r.curve.at(evaluations)) for r in results if r.budget >= evaluations]
    if not regrets:
        return "–"
    low, median, high = (f"{q:.3f}" for q in np.quantile(regrets, (0.25, 0.5, 0.75)))
    return f"{median} [{low}, {high}] ({len(regrets)})"


def table(of: Mapping[str, Mapping[str, Sequence[Result]]]) -> str:
    """A line for each function and agent."""
    lines = [
        "| function | agent | " + " | ".join(f"{n:,}" for n in EVALUATIONS) + " |",
        "|---|---|" + "---:|" * len(EVALUATIONS),
    ]
    for task, of_task in of.items():
        s = load_task(task).spec
        for agent, results in of_task.items():
            cells = [cell(results, n) for n in EVALUATIONS]
            lines.append(f"| V={s.V}, L={s.L}, c={s.c}, k={s.k}, q={s.q} | {agent} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def shapes(study: Study) -> str:
    """A line for each shape and agent."""
    evaluations = [n for n in EVALUATIONS if n <= study.budget]
    lines = [
        "| shape | agent | runs | " + " | ".join(f"{n:,}" for n in evaluations) + " |",
        "|---|---|---:|" + "---:|" * len(evaluations),
    ]
    for title, part in study.groups().items():
        for agent in part.agents:
            results = part.of_agent(agent)
            columns = np.array([result.curve.at(evaluations) for result in results]).T
            means, ends = part.interquartile_means(agent, columns)
            assert ends is not None, "of one run of each task there is no interval"
            cells = [f"{mean:.3f} [{low:.3f}, {high:.3f}]" for mean, low, high in zip(means, *ends, strict=True)]
            lines.append(f"| {title} | {agent} | {len(results)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run directories, folders of them, or submissions")
    parser.add_argument("--shapes", action="store_true", help="interquartile means of all functions of a shape")
    options = parser.parse_args()
    if options.shapes:
        print(SHAPES_HEAD, shapes(read_study(find_runs(options.runs))), sep="\n")
    else:
        print(HEAD, table(read(options.runs)), sep="\n")


if __name__ == "__main__":
    main()
