"""Draw the definition of an Ehrlich function from a seed, with the same bits on every machine and for ever.

Two rules make that so. Randomness is the raw 64-bit output of PCG64 seeded through SeedSequence, both of which NumPy
promises to keep (NEP 19); none of NumPy's distributions, which it may change. Arithmetic is integers, the four float64
operations in a fixed order, ``math.fsum`` and ``decimal``, whose results are correctly rounded by specification; no
BLAS, no libm, no vectorised sums, and no built-in ``sum`` of floats, which adds up in another way since Python 3.12.
"""

from __future__ import annotations

import math
from decimal import ROUND_HALF_EVEN, Context, Decimal

import numpy as np
from numpy.typing import NDArray

from bioseq_gym.errors import InvalidSpec

SOFTMAX_TEMPERATURE = Decimal("0.5")  # holo-bench's, as is the band of 0.4 V on either side
BAND = (2, 5)
_ATTEMPTS = 1000

Definition = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


class _Stream:
    """Uniform integers, floats and normal deviates from raw PCG64 words."""

    def __init__(self, *entropy: int) -> None:
        self._words = np.random.PCG64(np.random.SeedSequence(entropy))
        self._context = Context(prec=20, rounding=ROUND_HALF_EVEN)
        self._spare: Decimal | None = None

    def below(self, n: int) -> int:
        """Uniform in 0 .. n-1, by rejection."""
        limit = 2**64 - 2**64 % n
        while (word := int(self._words.random_raw())) >= limit:
            pass
        return word % n

    def uniform(self) -> float:
        """Uniform in [0, 1): 53 bits, exact."""
        return (int(self._words.random_raw()) >> 11) * 2.0**-53

    def choice(self, weights: list[float]) -> int:
        """An index with probability proportional to its weight."""
        target = self.uniform() * math.fsum(weights)
        total = 0.0
        last = 0
        for index, weight in enumerate(weights):
            if weight > 0.0:
                last = index
                total += weight
                if target < total:
                    break
        return last  # rounding can leave target == total: then the last one that is possible

    def permutation(self, n: int) -> list[int]:
        """Fisher and Yates."""
        order = list(range(n))
        for i in range(n - 1, 0, -1):
            j = self.below(i + 1)
            order[i], order[j] = order[j], order[i]
        return order

    def normal(self) -> Decimal:
        """A standard normal deviate, by Marsaglia's polar method."""
        if self._spare is not None:
            deviate, self._spare = self._spare, None
            return deviate
        while True:
            u, v = 2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0
            s = u * u + v * v
            if 0.0 < s < 1.0:
                break
        ctx, square = self._context, Decimal(s)
        radius = ctx.sqrt(ctx.divide(ctx.multiply(Decimal(-2), ctx.ln(square)), square))
        self._spare = ctx.multiply(Decimal(v), radius)
        return ctx.multiply(Decimal(u), radius)

    def lognormal(self) -> float:
        """exp(z / temperature), z standard normal: the numerator of a softmax over normal logits."""
        return float(self._context.exp(self._context.divide(self.normal(), SOFTMAX_TEMPERATURE)))


def sample_definition(V: int, L: int, c: int, k: int, seed: int) -> Definition:
    """A random transition matrix (V, V), motifs (c, k), spacings (c, k-1) and initial solution (L,).

    Sizes are taken as checked. The distribution follows holo-bench's ``Ehrlich``: a band matrix with shuffled rows and
    a free diagonal masks a softmax of normal logits; all motifs are one stationary walk, cut in c pieces, so that they
    can follow each other; the slack of each motif is split at random between its gaps.
    """
    stream = _Stream(seed, V, L, c, k)
    rows = _transition_rows(stream, V)
    walk = _stationary_walk(stream, rows, c * k)
    slack = (L - c * k) // c
    spacings = [_spacing(stream, k - 1, slack) for _ in range(c)]
    start = _stationary_walk(stream, rows, L)
    return (
        np.array(rows, np.float64),
        np.array(walk, np.int64).reshape(c, k),
        np.array(spacings, np.int64).reshape(c, k - 1),
        np.array(start, np.int64),
    )


def _transition_rows(stream: _Stream, V: int) -> list[list[float]]:
    half = V * BAND[0] // BAND[1]
    for _ in range(_ATTEMPTS):
        band_of_row = stream.permutation(V)
        allowed = [
            [i == j or min((j - b) % V, (b - j) % V) <= half for j in range(V)] for i, b in enumerate(band_of_row)
        ]
        if _strongly_connected(allowed):
            break
    else:
        raise InvalidSpec(f"no ergodic transition matrix of {V} states was found; give a larger V")
    rows = []
    for mask in allowed:
        weights = [stream.lognormal() if ok else 0.0 for ok in mask]
        total = math.fsum(weights)
        rows.append([weight / total for weight in weights])
    return rows


def _strongly_connected(allowed: list[list[bool]]) -> bool:
    """Whether every state reaches every other; with a free diagonal that is ergodicity (Perron and Frobenius)."""

    def reaches_all(successors: list[list[int]]) -> bool:
        seen, queue = {0}, [0]
        while queue:
            for state in successors[queue.pop()]:
                if state not in seen:
                    seen.add(state)
                    queue.append(state)
        return len(seen) == len(allowed)

    forward = [[j for j, ok in enumerate(row) if ok] for row in allowed]
    backward = [[i for i, row in enumerate(allowed) if row[j]] for j in range(len(allowed))]
    return reaches_all(forward) and reaches_all(backward)


def _stationary_walk(stream: _Stream, rows: list[list[float]], steps: int) -> list[int]:
    """A walk of ``steps`` tokens from close to the stationary distribution: 10 V steps are walked first.

    Solving for the distribution would need LAPACK, whose bits differ between machines.
    """
    state = stream.below(len(rows))
    for _ in range(10 * len(rows)):
        state = stream.choice(rows[state])
    walk = [state]
    while len(walk) < steps:
        walk.append(stream.choice(rows[walk[-1]]))
    return walk


def _spacing(stream: _Stream, gaps: int, slack: int) -> list[int]:
    """``gaps`` gaps >= 1 that add up to at most ``gaps + slack``."""
    weights = [stream.uniform() for _ in range(gaps)]
    total = math.fsum(weights) or 1.0
    return [1 + int(slack * (weight / total)) for weight in weights]
