"""The hot path: feasibility and motif matches of a batch of sequences, compiled by Numba.

The kernel works on ``LANES`` sequences at a time, copied into a block of bytes with one row per position, so that
"does position t hold token a" is one comparison of ``LANES`` neighbouring bytes, which LLVM turns into a few vector
instructions whatever the CPU. ``reference.py`` says the same in plain NumPy; the tests hold one to the other.
"""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np
from numpy.typing import NDArray

LANES = 64


def _compiled(function: Callable[..., None]) -> Callable[..., None]:
    compiled: Callable[..., None]
    try:
        compiled = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # a read-only installation without a writable home: compiled anew in each process
        compiled = numba.njit(nogil=True)(function)
    return compiled


@_compiled
def score_batch(
    x: NDArray[np.uint8],  # (B, L) tokens in 0 .. V-1
    forbidden: NDArray[np.uint8],  # (V, V) 1 where token b must not follow token a
    motifs: NDArray[np.uint8],  # (c, k)
    offsets: NDArray[np.int64],  # (c, k) positions of the elements relative to the first
    response: NDArray[np.float64],  # (k + 1,) r(h) for 0 .. k matching elements
    count: NDArray[np.unsignedinteger],  # (LANES,) scratch, wide enough for k
    best: NDArray[np.unsignedinteger],  # (LANES,) scratch
    values: NDArray[np.float64],  # (B,) out
) -> None:
    """Write f(x) into ``values``, -inf where x is infeasible."""
    B, L = x.shape
    c, k = motifs.shape
    block = np.zeros((L, LANES), np.uint8)
    for start in range(0, B, LANES):
        lanes = min(LANES, B - start)

        for b in range(lanes):
            previous = 0
            infeasible = 0
            for t in range(L):
                token = x[start + b, t]
                if t > 0:
                    infeasible |= forbidden[previous, token]
                block[t, b] = token
                previous = token
            values[start + b] = -np.inf if infeasible else 1.0

        for i in range(c):
            best[:] = 0
            for first in range(L - offsets[i, k - 1]):
                count[:] = 0
                for j in range(k):
                    tokens = block[first + offsets[i, j]]
                    for b in range(LANES):
                        count[b] += tokens[b] == motifs[i, j]
                for b in range(LANES):
                    best[b] = max(best[b], count[b])
            for b in range(lanes):
                if values[start + b] >= 0.0:  # not -inf * 0
                    values[start + b] *= response[best[b]]
