"""A callable Ehrlich function over batches of sequences."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bioseq_gym.errors import InvalidSequence
from bioseq_gym.functions.kernels import LANES, score_batch
from bioseq_gym.functions.spec import EhrlichSpec, optimal_solution


class MotifMatch(NamedTuple):
    """One motif laid on a sequence; every field has shape (k,)."""

    positions: NDArray[np.int64]
    elements: NDArray[np.int64]
    found: NDArray[np.bool_]


class Ehrlich:
    """The black-box function that an :class:`EhrlichSpec` defines (arXiv 2407.00236, section 4).

    ``f(x) = prod_i r(h_i(x))`` for a feasible x and -inf otherwise, with
    ``h_i(x) = max_l floor(q * #{j : x[l + s_i[j]] == a_i[j]} / k) / q`` over the positions l where motif i fits, and
    ``r(h) = h * (1 + e * h * (h - 1))``. f lies in [0, 1] where feasible; 1 is optimal.

    Example:
        >>> fn = Ehrlich(EhrlichSpec.from_seed(V=32, L=32, c=4, k=4))
        >>> fn(fn.optimal_solution()[None])
        array([1.])
    """

    def __init__(self, spec: EhrlichSpec) -> None:
        self.spec = spec
        self._forbidden = (spec.transition_matrix <= 0.0).astype(np.uint8)
        self._motifs = spec.motifs.astype(np.uint8)
        self._offsets = spec.offsets
        h = (spec.q * np.arange(spec.k + 1) // spec.k) / spec.q
        self._response = h * (1.0 + spec.epistasis * h * (h - 1.0))
        self._count_dtype = np.uint8 if spec.k < 256 else np.uint16

    def __call__(self, x: ArrayLike) -> NDArray[np.float64]:
        """Values (B,), float64, of the sequences ``x``, (B, L) of any integer dtype; -inf where infeasible.

        Raises:
            InvalidSequence: ``x`` is empty, has another shape, is no integer array, or holds a token outside 0 .. V-1.
        """
        return self.score(check_sequences(x, self.spec.V, self.spec.L))

    def is_feasible(self, x: ArrayLike) -> NDArray[np.bool_]:
        """(B,) whether each row of ``x`` (B, L) makes allowed transitions only. Raises as ``__call__`` does."""
        tokens = check_sequences(x, self.spec.V, self.spec.L)
        return self._score(tokens, self._motifs[:0], self._offsets[:0]) > 0.0  # the empty product is 1

    def score(self, tokens: NDArray[np.uint8]) -> NDArray[np.float64]:
        """``__call__`` without its checks, for tokens that :func:`check_sequences` has returned."""
        return self._score(tokens, self._motifs, self._offsets)

    def optimal_solution(self) -> NDArray[np.int64]:
        """(L,) one of the sequences of value 1."""
        return optimal_solution(self.spec)

    def initial_solution(self) -> NDArray[np.int64]:
        """(L,) the feasible sequence that every optimizer starts from."""
        assert self.spec.initial_solution is not None
        start: NDArray[np.int64] = self.spec.initial_solution.copy()
        return start

    def best_matches(self, x: NDArray[np.integer]) -> list[MotifMatch]:
        """Where each motif matches ``x`` (L,) best; the leftmost place among equals. For people, not for speed."""
        matches = []
        for motif, offsets in zip(self.spec.motifs, self.spec.offsets, strict=True):
            found = [x[first + offsets] == motif for first in range(self.spec.L - int(offsets[-1]))]
            first = int(np.argmax([f.sum() for f in found]))
            matches.append(MotifMatch(first + offsets, motif, found[first]))
        return matches

    def __repr__(self) -> str:
        s = self.spec
        return f"Ehrlich(V={s.V}, L={s.L}, c={s.c}, k={s.k}, q={s.q}, epistasis={s.epistasis}, digest={s.digest[:12]})"

    def _score(
        self, tokens: NDArray[np.uint8], motifs: NDArray[np.uint8], offsets: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        values = np.empty(len(tokens), np.float64)
        count, best = np.empty((2, LANES), self._count_dtype)
        score_batch(tokens, self._forbidden, motifs, offsets, self._response, count, best, values)
        return values


def check_sequences(x: ArrayLike, V: int, L: int) -> NDArray[np.uint8]:
    """``x`` as read-only, C-contiguous bytes (B, L) in 0 .. V-1 with B >= 1, if it can be as a view.

    Raises:
        InvalidSequence: it is not that.
    """
    try:
        batch = np.ascontiguousarray(x)
    except ValueError:  # rows of different lengths
        raise InvalidSequence(f"sequences must all have {L} tokens; pad or drop the others") from None
    if batch.ndim != 2 or batch.shape[1] != L:
        fix = "; for one sequence pass x[None]" if np.shape(x) == (L,) else ""
        raise InvalidSequence(f"sequences have shape {np.shape(x)}; give (B, {L}){fix}")
    if batch.dtype.kind not in "iu":
        raise InvalidSequence(f"sequences have dtype {batch.dtype}; give integers, for example x.astype(np.uint8)")
    if not len(batch):
        raise InvalidSequence("the batch is empty; give at least one sequence")
    batch = batch.astype(batch.dtype.newbyteorder("="), copy=False)
    unsigned = batch.view(f"u{batch.itemsize}")  # a negative token is a large one: one pass finds both
    if unsigned.max() >= V:
        row, position = np.unravel_index(int((unsigned >= V).argmax()), batch.shape)
        raise InvalidSequence(f"row {row} holds token {batch[row, position]} at position {position}; give 0 .. {V - 1}")
    tokens: NDArray[np.uint8] = batch.astype(np.uint8, copy=False).view()
    tokens.setflags(write=False)  # always, since the kernel is compiled for one kind of array
    return tokens
