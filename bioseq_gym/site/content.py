"""What the page shows, as plain JSON: the table of a board, and of each submission its card, curves and runs.

All text of strangers is a value here. The page puts it into the document as text, never as markup.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseq_gym.functions.ehrlich import MotifMatch
from bioseq_gym.runs import Result
from bioseq_gym.statistics import ecdf, interquartile_mean
from bioseq_gym.study import SUBMISSIONS, Study
from bioseq_gym.submission import PackedRun, Submission
from bioseq_gym.submission.card import card_lines
from bioseq_gym.submission.document import digest
from bioseq_gym.submission.reproduced import Reproduction
from bioseq_gym.suite import TARGETS, load_task

Data = dict[str, Any]
POINTS = 60
"""Of a curve, evenly spread on the logarithmic axis."""
_ADDRESSES = ("paper", "code")
_MARKUP = re.compile(r"(?:\*\*(?P<b>.+?)\*\*|\*(?P<i>.+?)\*|`(?P<code>.+?)`)", re.DOTALL)


@dataclass(frozen=True, eq=False)
class Entry:
    """A row of a board.

    Attributes:
        submission: what was replayed.
        reproduction: what someone states who ran it again; None if nobody did.
    """

    submission: Submission
    reproduction: Reproduction | None

    @property
    def id(self) -> str:
        """Its name in addresses: that of its file."""
        return Path(self.submission.name).stem

    @property
    def file(self) -> str:
        """Its file, from the folder of the board."""
        return f"{SUBMISSIONS}/{Path(self.submission.name).name}"

    @property
    def constraints(self) -> str:
        """``known`` to the agent, or ``not shown`` to it."""
        return "known" if self.submission.constraints_known else "not shown"

    @property
    def reproduced(self) -> tuple[str, str]:
        """The verdict, and of how many runs, as ``(2 of 30)``; empty if nobody ran it again."""
        record = self.reproduction
        return ("", "") if record is None else (record.verdict, f"({record.runs} of {record.of})")


def index(boards: Sequence[str], trust: str) -> Data:
    """What the page needs at once.

    Args:
        boards: their names.
        trust: Markdown of paragraphs in bold, italics and code: what a row proves and what it can't.
    """
    return {
        "boards": list(boards),
        "trust": [_spans(" ".join(paragraph.split("\n"))) for paragraph in trust.split("\n\n")],
    }


def board(name: str, study: Study, groups: Mapping[str, Study], entries: Mapping[str, Entry]) -> Data:
    """The table of a board; its rows, the best first, are in the order of numbers that are not rounded.

    Args:
        name: of the suite or task.
        study: the results of all its submissions.
        groups: of the study, see :meth:`Study.groups`.
        entries: the submission of each of the study's agents.
    """
    areas = {agent: interquartile_mean(np.array([r.area for r in study.of_agent(agent)])) for agent in entries}
    best_first = sorted(entries, key=lambda agent: (-areas[agent], agent))
    return {
        "name": name,
        "budgets": study.checkpoints,
        "grid": grid(study.budget).tolist(),
        "groups": [{"name": title, "tasks": part.tasks} for title, part in groups.items()],
        "rows": [_row(study, agent, entries[agent], groups) for agent in best_first],
    }


def submission(study: Study, groups: Mapping[str, Study], agent: str, entry: Entry) -> Data:
    """All that the page shows of one submission: of ``agent`` in the ``study`` of its board and in its ``groups``."""
    card = entry.submission.card or {}
    return {
        "card": [[key, text] for key, text in card_lines(card) if key not in _ADDRESSES],
        "links": {key: card[key] for key in _ADDRESSES if key in card},
        "file": entry.file,
        "digest": digest(entry.submission),
        "reproduction": entry.reproduction and f"{entry.reproduction.summary}, {entry.reproduction.by or 'unsigned'}",
        "config": json.dumps(entry.submission.runs[0].manifest["config"], indent=1, sort_keys=True),
        "curves": [_curves(part, agent) for part in groups.values()],
        "runs": [
            _run(run, result, study.checkpoints)
            for run, result in zip(entry.submission.runs, study.of_agent(agent), strict=True)
        ],
    }


def tasks(names: Sequence[str]) -> Data:
    """Of each task what a picture of a sequence needs: its motifs and their offsets."""
    specs = {name: load_task(name).spec for name in names}
    return {name: {"motifs": s.motifs.tolist(), "offsets": s.offsets.tolist()} for name, s in specs.items()}


def grid(budget: int) -> NDArray[np.int64]:
    """(g,) the numbers of evaluations of the points of curves: two and a half decades up to the budget."""
    return np.unique(np.rint(np.geomspace(max(1.0, budget / 300), budget, POINTS)).astype(np.int64))


def _row(study: Study, agent: str, entry: Entry, groups: Mapping[str, Study]) -> Data:
    results = study.of_agent(agent)
    at = {r: _at(r, study.checkpoints) for r in results}  # each is in two groups, with all tasks and with its shape
    return {
        "id": entry.id,
        "label": agent.removesuffix(" (constraints known)"),
        "constraints": entry.constraints,
        "reproduced": entry.reproduced[0],
        "again": entry.reproduced[1],
        "ledgers": entry.submission.kind,
        "runs": len(results),
        "wall": _seconds(float(np.median([result.wall_s for result in results]))),
        "numbers": [_numbers(part, agent, at) for part in groups.values()],
    }


def _at(result: Result, budgets: Sequence[int]) -> list[float]:
    """Regret at each budget, and then the area over the curve up to each."""
    return [*result.curve.at(budgets).tolist(), *map(result.curve.area_over, budgets)]


def _numbers(study: Study, agent: str, at: Mapping[Result, list[float]]) -> Data:
    """Regret and area over the curve at each budget: [interquartile mean, and the ends of its interval if any]."""
    means, ends = study.interquartile_means(agent, np.array([at[result] for result in study.of_agent(agent)]).T)
    cells = [[_short(mean), *([] if ends is None else map(_short, ends[:, i]))] for i, mean in enumerate(means)]
    return {"regret": cells[: len(cells) // 2], "aocc": cells[len(cells) // 2 :]}


def _curves(study: Study, agent: str) -> Data:
    results, points = study.of_agent(agent), grid(study.budget)
    means, ends = study.interquartile_means(agent, np.array([r.curve.at(points) for r in results]).T)
    times = np.array([r.curve.running_times(TARGETS) for r in results])
    return {
        "regret": [_short(x) for x in means],
        "band": None if ends is None else [[_short(x) for x in end] for end in ends],
        "ecdf": [_short(x) for x in ecdf(times, points)],
    }


def _run(run: PackedRun, result: Result, budgets: Sequence[int]) -> Data:
    best = load_task(result.task).function.best_matches(result.solution)
    return {
        "task": result.task,
        "seed": result.seed,
        "evaluations": result.evaluations,
        "regret": [_short(x) for x in result.curve.at(budgets)],
        "wall": _seconds(result.wall_s),
        "ledger": run.manifest["ledger_sha256"],
        "best": result.solution.tolist(),
        "matches": [_match(match) for match in best],
    }


def _match(match: MotifMatch) -> list[Any]:
    """Where the motif begins, and which of its elements are there."""
    return [int(match.positions[0]), "".join("01"[found] for found in match.found.tolist())]


def _seconds(x: float) -> float | None:
    """None where it is not known."""
    return None if np.isnan(x) else round(x, 1)


def _short(x: float) -> float:
    """To the digits that are shown, here and not in JavaScript, which rounds 0.5625 up where the report rounds down."""
    return round(float(x), 3)


def _spans(text: str) -> list[list[str]]:
    """Markdown as a list of [tag, text], whose tag is empty for plain text."""
    spans, end = [], 0
    for match in _MARKUP.finditer(text):
        tag = str(match.lastgroup)
        spans += [["", text[end : match.start()]], [tag, match[tag]]]
        end = match.end()
    return [span for span in [*spans, ["", text[end:]]] if span[1]]
