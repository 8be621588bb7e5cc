"""What ``score_batch`` looks up, made once for each function."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def forbidden_windows(forbidden: NDArray[np.bool_]) -> tuple[int, NDArray[np.uint8]]:
    """The bits of a token, and a table by window: 1 where a transition in it is forbidden.

    A window is three tokens, the first in the lowest bits, where the table stays small; beyond 32 states it is two
    tokens of 8 bits.
    """
    V = len(forbidden)
    bits = max(1, (V - 1).bit_length())
    if bits > 5:
        bits = 8
    pairs = np.zeros((2**bits, 2**bits), np.uint8)
    pairs[:V, :V] = forbidden.T
    windows = pairs if bits == 8 else np.bitwise_or(pairs[:, :, None], pairs)
    return bits, windows.reshape(-1)


def response_products(response: NDArray[np.float64], c: int) -> NDArray[np.float64]:
    """The products of the responses of the first few of c motifs, by their counts, the first in the lowest bits.

    As many motifs as make a table of at most 4096 entries, and one at least; multiplied in order, so that rounding is
    that of the formula.
    """
    bits = (len(response) - 1).bit_length()
    table = np.zeros(2**bits)
    table[: len(response)] = response
    products = table
    for _ in range(1, min(c, 12 // bits)):
        products = (products * table[:, None]).reshape(-1)
    return products
