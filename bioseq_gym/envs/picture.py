"""The state as a small picture, drawn with NumPy alone: the sequence, the motifs found and missing, the value.

Found is blue, solid and marked below the sequence; missing is orange and hollow: the colours are Okabe and Ito's, told
apart by everyone, and the shapes say the same without colour.
"""

from __future__ import annotations

import colorsys
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bioseq_gym.envs.glyphs import GLYPH_HEIGHT, put_text, text_width
from bioseq_gym.functions.ehrlich import MotifMatch

Image = NDArray[np.uint8]
Color = tuple[int, int, int]

TRACE_POINTS = 320
"""Points of the curve of values over an episode."""

_WHITE, _INK, _GREY, _PALE = (255, 255, 255), (40, 40, 48), (150, 150, 158), (236, 236, 240)
_FOUND, _MISSING = (0, 114, 178), (213, 94, 0)
_WIDTH, _MARGIN = 640, 16
_CURVE_HEIGHT, _BAR_HEIGHT = 72, 12
_MOTIF_CELL, _MOTIF_PITCH = 20, 28


def draw(
    tokens: NDArray[np.integer],
    V: int,
    value: float | None,
    steps: int,
    matches: list[MotifMatch] | None,
    trace: NDArray[np.float64] | None,
) -> Image:
    """A picture (H, W, 3), H and W even; its size depends on the lengths of the arguments alone.

    Args:
        tokens: (L,) the sequence; V where it is empty.
        V: vocabulary size.
        value: f of the sequence, or None where it is not known yet.
        steps: steps taken in this episode.
        matches: the best match of each motif, or None where motifs are hidden.
        trace: (TRACE_POINTS,) the values of the episode so far, NaN where there is none; None for no curve.
    """
    parts = [
        _header(value, steps),
        _bar(value) if trace is None else _curve(trace),
        _strip(tokens, V, matches or []),
        *([] if matches is None else [_motifs(matches, V)]),
    ]
    height = sum(len(part) + _MARGIN for part in parts) + _MARGIN
    image = _blank(height + height % 2, _WIDTH + 2 * _MARGIN)
    top = _MARGIN
    for part in parts:
        image[top : top + len(part), _MARGIN:-_MARGIN] = part
        top += len(part) + _MARGIN
    return image


def _blank(height: int, width: int = _WIDTH) -> Image:
    return np.full((height, width, 3), _WHITE, np.uint8)


def _header(value: float | None, steps: int) -> Image:
    image = _blank(2 * GLYPH_HEIGHT)
    put_text(image, 0, 0, f"STEP {steps}", 2, _INK)
    if value is not None:
        label = value_label(value).upper()
        put_text(image, 0, _WIDTH - text_width(label, 2), label, 2, _MISSING if value == -np.inf else _FOUND)
    return image


def _bar(value: float | None) -> Image:
    """The value from 0, left, to 1, right."""
    image = _blank(_BAR_HEIGHT)
    image[:] = _PALE
    image[:, : _pixels(0.0 if value is None else value, _WIDTH)] = _FOUND
    return image


def _curve(trace: NDArray[np.float64]) -> Image:
    """The values of the episode so far, from 0 to 1, with a line at each quarter; time goes to the right."""
    image = _blank(_CURVE_HEIGHT)
    image[:] = _PALE
    for quarter in (0.25, 0.5, 0.75):
        image[_CURVE_HEIGHT - _pixels(quarter, _CURVE_HEIGHT)] = _WHITE
    known = np.flatnonzero(~np.isnan(trace))
    point = _WIDTH // len(trace)
    for first, last in zip(known, [*(known[1:] - 1), known[-1]] if len(known) else [], strict=True):
        height = max(2, _pixels(float(trace[first]), _CURVE_HEIGHT))
        columns = slice(first * point, (last + 1) * point)
        shade = image[_CURVE_HEIGHT - height :, columns]
        shade[:] = shade // 2 + np.array(_FOUND, np.uint8) // 2
        shade[:3] = _FOUND
    return image


def _pixels(value: float, size: int) -> int:
    return round(min(max(value, 0.0), 1.0) * size)


def _strip(tokens: NDArray[np.integer], V: int, matches: list[MotifMatch]) -> Image:
    """The sequence in lines of colored cells; below each cell, what motifs it is an element of."""
    cell = 20 if len(tokens) <= 256 else 10 if len(tokens) <= 2048 else 4
    below = {20: 10, 10: 5, 4: 3}[cell]
    per_line = _WIDTH // cell
    image = _blank(-(-len(tokens) // per_line) * (cell + below))
    letters = [""] * len(tokens)
    for i, match in enumerate(matches):
        for position in match.positions[match.found]:
            letters[position] += motif_letter(i)
    for position, token in enumerate(tokens.tolist()):
        line, column = divmod(position, per_line)
        top, left = line * (cell + below), column * cell
        _cell(image, top, left, cell, token, V)
        if letters[position]:
            _mark(image, top + cell, left, cell, letters[position])
    return image


def _cell(image: Image, top: int, left: int, size: int, token: int, V: int) -> None:
    """A token: its color and, where there is room, its number. An empty place is pale."""
    gap = 1 if size > 4 else 0
    image[top : top + size - gap, left : left + size - gap] = _PALE if token >= V else _palette(V)[token]
    if size >= 20 and token < V:
        _center(image, top, left, size - gap, str(token), 2 if V <= 100 else 1, _INK)


def _mark(image: Image, top: int, left: int, cell: int, letters: str) -> None:
    """A blue bar and, where there is room, the letters of the motifs."""
    image[top : top + 2, left : left + cell - (cell > 4)] = _FOUND
    if cell >= 20:
        _center(image, top + 3, left, cell - 1, letters[:4], 1, _FOUND, height=GLYPH_HEIGHT)


def _motifs(matches: list[MotifMatch], V: int) -> Image:
    """Each motif's elements: solid where found, hollow where missing."""
    k = len(matches[0].elements)
    size = min(_MOTIF_CELL, max(4, (_WIDTH - 2 * _MOTIF_CELL) // k))
    across = max(1, _WIDTH // (2 * _MOTIF_CELL + size * k))
    image = _blank(-(-len(matches) // across) * _MOTIF_PITCH)
    for i, match in enumerate(matches):
        line, column = divmod(i, across)
        top, left = line * _MOTIF_PITCH, column * (_WIDTH // across)
        put_text(image, top + 5, left, motif_letter(i), 2, _FOUND if match.found.all() else _INK)
        left += _MOTIF_CELL
        for element, found in zip(match.elements.tolist(), match.found.tolist(), strict=True):
            _element(image, top, left, size, element, V, found)
            left += size
    return image


def _element(image: Image, top: int, left: int, size: int, token: int, V: int, found: bool) -> None:
    box = image[top : top + _MOTIF_CELL, left : left + size - 1]
    if found:
        box[:] = _palette(V)[token]
        image[top + _MOTIF_CELL + 1 : top + _MOTIF_CELL + 4, left : left + size - 1] = _FOUND
    else:
        box[:] = _MISSING
        box[1:-1, 1:-1] = _WHITE
    if size >= _MOTIF_CELL:
        ink = _INK if found else _MISSING
        _center(image, top, left, size - 1, str(token), 2 if V <= 100 else 1, ink, height=_MOTIF_CELL)


def _center(
    image: Image, top: int, left: int, width: int, text: str, scale: int, color: Color, height: int | None = None
) -> None:
    down = ((width if height is None else height) - GLYPH_HEIGHT * scale) // 2
    put_text(image, top + down, left + max(0, (width - text_width(text, scale)) // 2), text, scale, color)


def value_label(value: float) -> str:
    """The value in words: rounded, short however large noise makes it."""
    if value == -np.inf:
        return "infeasible"
    return f"value {value:.4f}" if abs(value) < 1e4 else f"value {value:.4g}"


def motif_letter(i: int) -> str:
    """A, B, ... Z, then A1, B1, ..."""
    return chr(ord("A") + i % 26) + (str(i // 26) if i >= 26 else "")


@lru_cache(maxsize=8)
def _palette(V: int) -> NDArray[np.uint8]:
    """(V, 3) light colors, on which dark numbers can be read; neighbours in number are far apart in hue."""
    golden = (5**0.5 - 1) / 2
    colors = [colorsys.hls_to_rgb(i * golden % 1.0, (0.74, 0.86, 0.66)[i % 3], 0.65) for i in range(V)]
    return np.round(np.array(colors) * 255).astype(np.uint8)
