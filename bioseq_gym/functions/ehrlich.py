"""A callable Ehrlich function over batches of sequences."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bioseq_gym.errors import InvalidConfig, InvalidSequence
from bioseq_gym.functions.kernels import narrow, score_batch, score_rows
from bioseq_gym.functions.spec import EhrlichSpec, optimal_solution
from bioseq_gym.functions.tables import forbidden_windows, response_products

_FEW = 12  # rows that score_rows scores in less time than score_batch
_CHUNK = 2**20  # tokens that are converted at a time
_PART = 2**17  # tokens that a thread takes at a time, at least


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
        forbidden = spec.transition_matrix <= 0.0
        h = (spec.q * np.arange(spec.k + 1) // spec.k) / spec.q
        response = h * (1.0 + spec.epistasis * h * (h - 1.0))
        motifs = spec.motifs, spec.offsets, response
        self._row_tables = (forbidden.astype(np.uint8), *motifs)
        self._batch_tables = (spec.V, *forbidden_windows(forbidden), *motifs, response_products(response, spec.c))

    def __call__(self, x: ArrayLike, threads: int = 1) -> NDArray[np.float64]:
        """Values of a batch of sequences.

        Args:
            x: (B, L) tokens of any integer dtype, B >= 1; fastest as C-contiguous uint8.
            threads: threads that share the rows, at least 1. They change nothing but the time.

        Returns:
            (B,) float64; -inf where infeasible.

        Raises:
            InvalidSequence: ``x`` is empty, has another shape, is no integer array, or holds a token outside 0 .. V-1.
            InvalidConfig: ``threads`` is no integer of at least 1.
        """
        batch = _as_batch(x, self.spec.L)
        values = np.empty(len(batch))
        if not self._score(batch, values, threads):
            raise _bad_token(batch, self.spec.V)
        return values

    def is_feasible(self, x: ArrayLike) -> NDArray[np.bool_]:
        """(B,) whether each row of ``x`` (B, L) makes allowed transitions only. Raises as ``__call__`` does."""
        return self(x) > -np.inf

    def score(self, tokens: NDArray[np.uint8]) -> NDArray[np.float64]:
        """``__call__`` for what :func:`check_sequences` returned: only the tokens are checked again, by the kernel."""
        values = np.empty(len(tokens))
        if not self._score_part(tokens, values):
            raise _bad_token(tokens, self.spec.V)
        return values

    def optimal_solution(self) -> NDArray[np.int64]:
        """(L,) one of the sequences of value 1."""
        return optimal_solution(self.spec)

    def initial_solution(self) -> NDArray[np.int64]:
        """(L,) the feasible sequence that every optimizer starts from."""
        assert self.spec.initial_solution is not None
        start: NDArray[np.int64] = self.spec.initial_solution.copy()
        return start

    def best_matches(self, x: NDArray[np.integer]) -> list[MotifMatch]:
        """Where each motif matches ``x`` (L,) best; the leftmost place among equals. For people."""
        x, matches = _as_batch([x], self.spec.L)[0], []
        for motif, offsets in zip(self.spec.motifs, self.spec.offsets, strict=True):
            places = np.arange(self.spec.L - int(offsets[-1]))[:, None] + offsets  # (l, k)
            found = x[places] == motif
            first = int(found.sum(axis=1).argmax())
            matches.append(MotifMatch(places[first], motif, found[first]))
        return matches

    def __repr__(self) -> str:
        s = self.spec
        return f"Ehrlich(V={s.V}, L={s.L}, c={s.c}, k={s.k}, q={s.q}, epistasis={s.epistasis}, digest={s.digest[:12]})"

    def _score(self, batch: NDArray[Any], values: NDArray[np.float64], threads: int) -> bool:
        """Write the values of ``batch``; False where a token is not in 0 .. V-1."""
        if isinstance(threads, bool) or not isinstance(threads, (int, np.integer)) or threads < 1:
            raise InvalidConfig(f"threads is {threads!r}; give an integer of at least 1")
        # parts small enough that the threads end together, and large enough to be worth their start
        share = len(batch) if threads == 1 else max(len(batch) // (16 * int(threads)) + 1, _PART // self.spec.L)
        size = max(64, min(share, _CHUNK // self.spec.L))
        if threads == 1 and (len(batch) <= size or _is_bytes(batch)):
            return self._score_part(batch, values)
        starts = iter(range(0, len(batch), size))  # shared by the threads: next() is atomic
        done: list[bool | BaseException] = []

        def work() -> None:
            try:
                done.append(all(self._score_part(batch[i : i + size], values[i : i + size]) for i in starts))
            except BaseException as error:
                done.append(error)

        parts = -(-len(batch) // size)
        others = [threading.Thread(target=work) for _ in range(min(int(threads), parts) - 1)]
        for other in others:
            other.start()
        work()
        for other in others:
            other.join()
        for outcome in done:
            if isinstance(outcome, BaseException):
                raise outcome
        return all(done)

    def _score_part(self, rows: NDArray[Any], values: NDArray[np.float64]) -> bool:
        if len(rows) < _FEW:
            rows = _read_only(rows) if _is_bytes(rows) else _as_int64(rows)
            return bool(score_rows(rows, *self._row_tables, values))
        tokens = _read_only(rows) if _is_bytes(rows) else _as_bytes(rows, self.spec.V)
        return tokens is not None and bool(score_batch(tokens, *self._batch_tables, values))


def check_sequences(x: ArrayLike, V: int, L: int) -> NDArray[np.uint8]:
    """``x`` as read-only, C-contiguous bytes (B, L) in 0 .. V-1 with B >= 1, if it can be as a view.

    Raises:
        InvalidSequence: it is not that.
    """
    batch = _as_batch(x, L)
    tokens = _as_bytes(batch, V)
    if tokens is None:
        raise _bad_token(batch, V)
    return tokens


def _as_batch(x: ArrayLike, L: int) -> NDArray[Any]:
    """``x`` as an array of integers (B, L), B >= 1; as a view where it is an array already."""
    try:
        batch = np.asarray(x)
    except ValueError:  # rows of different lengths
        raise InvalidSequence(f"sequences must all have {L} tokens; pad or drop the others") from None
    if batch.ndim != 2 or batch.shape[1] != L:
        fix = "; for one sequence pass x[None]" if np.shape(x) == (L,) else ""
        raise InvalidSequence(f"sequences have shape {np.shape(x)}; give (B, {L}){fix}")
    if batch.dtype.kind not in "iu":
        raise InvalidSequence(f"sequences have dtype {batch.dtype}; give integers, for example x.astype(np.uint8)")
    if not len(batch):
        raise InvalidSequence("the batch is empty; give at least one sequence")
    return batch


def _as_bytes(batch: NDArray[Any], V: int) -> NDArray[np.uint8] | None:
    """``batch`` as read-only, C-contiguous bytes; None where a token is not in 0 .. V-1."""
    if batch.dtype == np.uint8:
        tokens = np.ascontiguousarray(batch)
        return _read_only(tokens) if tokens.max() < V else None
    tokens = np.empty(batch.shape, np.uint8)
    return _read_only(tokens) if narrow(_as_int64(batch), V, tokens) else None


def _as_int64(batch: NDArray[Any]) -> NDArray[np.int64]:
    """``batch`` as read-only, C-contiguous int64; what is beyond int64 becomes negative, which is no token either."""
    return _read_only(np.ascontiguousarray(batch, np.int64))


def _bad_token(batch: NDArray[Any], V: int) -> InvalidSequence:
    row, position = np.unravel_index(int(((batch < 0) | (batch >= V)).argmax()), batch.shape)
    return InvalidSequence(f"row {row} holds token {batch[row, position]} at position {position}; give 0 .. {V - 1}")


def _is_bytes(rows: NDArray[Any]) -> bool:
    return rows.dtype == np.uint8 and rows.flags.c_contiguous


def _read_only(rows: NDArray[Any]) -> NDArray[Any]:
    """A view of ``rows`` that can't be written: always, since the kernels are compiled for one kind of array."""
    view = rows.view(np.ndarray)
    view.setflags(write=False)
    return view
