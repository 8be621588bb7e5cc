"""The state as text."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bioseq_gym.envs.picture import motif_letter, value_label
from bioseq_gym.functions.ehrlich import MotifMatch

_TOKENS_PER_LINE = 20


def render_text(tokens: NDArray[np.integer], value: float | None, steps: int, matches: list[MotifMatch] | None) -> str:
    """The sequence in lines of 20 tokens; below each token, a letter for the motif whose element it supplies.

    Args:
        tokens: (n,) the sequence, or what there is of it.
        value: f of the sequence, or None where it is not known yet.
        steps: steps taken in this episode.
        matches: the best match of each motif, or None where motifs are hidden.
    """
    lines = [f"step {steps}" + ("" if value is None else f"  {value_label(value)}")]
    marks = [""] * len(tokens)
    for i, match in enumerate(matches or []):
        letter = motif_letter(i)
        for position in match.positions[match.found]:
            marks[position] += letter
        elements = " ".join(
            f"[{element}]" if found else f"{element}"
            for element, found in zip(match.elements, match.found, strict=True)
        )
        gaps = ", ".join(map(str, match.positions - match.positions[0]))
        lines.append(
            f"motif {letter}: {match.found.sum()}/{len(match.found)} of {elements} at {match.positions[0]} + ({gaps})"
        )
    width = max([4, *(len(mark) + 1 for mark in marks)])
    for start in range(0, len(tokens), _TOKENS_PER_LINE):
        part = slice(start, start + _TOKENS_PER_LINE)
        lines.append(f"{start:5d} |" + "".join(f"{token:{width}d}" for token in tokens[part]))
        if any(marks[part]):
            lines.append("      |" + "".join(f"{mark:>{width}}" for mark in marks[part]))
    return "\n".join(line.rstrip() for line in lines)
