"""Letters and digits of 3 x 5 pixels, for pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GLYPH_HEIGHT, _GLYPH_WIDTH = 5, 3

_ROWS = {  # each glyph's rows from the top, each row's pixels from the left as the bits of an octal digit
    "0": "75557",
    "1": "26227",
    "2": "71747",
    "3": "71717",
    "4": "55711",
    "5": "74717",
    "6": "74757",
    "7": "71122",
    "8": "75757",
    "9": "75717",
    "A": "25755",
    "B": "65656",
    "C": "34443",
    "D": "65556",
    "E": "74647",
    "F": "74644",
    "G": "34553",
    "H": "55755",
    "I": "72227",
    "J": "11152",
    "K": "55655",
    "L": "44447",
    "M": "57755",
    "N": "65555",
    "O": "25552",
    "P": "65644",
    "Q": "25563",
    "R": "65655",
    "S": "34216",
    "T": "72222",
    "U": "55557",
    "V": "55552",
    "W": "55775",
    "X": "55255",
    "Y": "55222",
    "Z": "71247",
    ".": "00002",
    "-": "00700",
    "+": "02720",
    " ": "00000",
}
_GLYPHS = {
    character: np.array([[int(row) >> bit & 1 for bit in (2, 1, 0)] for row in rows], np.bool_)
    for character, rows in _ROWS.items()
}


def text_width(text: str, scale: int) -> int:
    """Pixels that ``text`` takes."""
    return ((_GLYPH_WIDTH + 1) * len(text) - 1) * scale


def put_text(image: NDArray[np.uint8], top: int, left: int, text: str, scale: int, color: tuple[int, int, int]) -> None:
    """Write ``text`` into ``image`` (H, W, 3); what does not fit is cut."""
    for i, character in enumerate(text):
        glyph = np.kron(_GLYPHS[character], np.ones((scale, scale), np.bool_))
        start = left + i * (_GLYPH_WIDTH + 1) * scale
        box = image[top : top + len(glyph), start : start + glyph.shape[1]]
        box[glyph[: box.shape[0], : box.shape[1]]] = color
