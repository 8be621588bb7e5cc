"""The Ehrlich function, written from its formula (arXiv 2407.00236, section 4) in plain NumPy: slow, and the judge."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bioseq_gym.functions.spec import EhrlichSpec


def reference_values(spec: EhrlichSpec, x: NDArray[np.integer]) -> NDArray[np.float64]:
    """f(x) of each row of ``x`` (B, L): shape (B,), float64, -inf where the row is infeasible."""
    return np.array([_value(spec, row) for row in np.asarray(x)], np.float64)


def _value(spec: EhrlichSpec, x: NDArray[np.integer]) -> float:
    if (spec.transition_matrix[x[:-1], x[1:]] == 0.0).any():
        return -np.inf
    value = 1.0
    for motif, offsets in zip(spec.motifs, spec.offsets, strict=True):
        matches = [int((x[first + offsets] == motif).sum()) for first in range(spec.L - int(offsets[-1]))]
        h = (spec.q * max(matches) // spec.k) / spec.q
        value *= h * (1.0 + spec.epistasis * h * (h - 1.0))
    return value
