"""The definition of an Ehrlich function: frozen, validated, with a digest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bioseq_gym.errors import InvalidSpec
from bioseq_gym.functions.generator import sample_definition

MAX_STATES = 256  # tokens are stored as bytes
MAX_LENGTH = 65_535  # a name or a file from a stranger can't ask for all memory
_UNREACHABLE = np.iinfo(np.int64).max // 4


@dataclass(frozen=True, eq=False)
class EhrlichSpec:
    """The definition of one Ehrlich function, Ehr(V, L, c, k) with quantization q (arXiv 2407.00236, section 4).

    A sequence x of L tokens is feasible iff ``transition_matrix[x[t], x[t+1]] > 0`` for all t. The value of a
    feasible x is the product over motifs of the response to the best quantized match, see :class:`Ehrlich`.

    Every field is checked, copied and made read-only. Two specs are equal when their digests are.

    Args:
        transition_matrix: (V, V) row-stochastic, V in 2 .. 256, positive on the diagonal, ergodic. float64.
        motifs: (c, k) tokens, int64.
        spacings: (c, k-1) gaps between consecutive motif elements, each >= 1, int64.
        length: L, the number of tokens in a sequence, at most 65535.
        quantization: q, the number of levels of a motif's match; divides k.
        epistasis: e >= 0 in the response ``r(h) = h * (1 + e * h * (h - 1))``; at most 4, so that r >= 0.
        initial_solution: (L,) feasible tokens that every optimizer starts from; by default token 0, L times.
        name: a label; no part of the digest.

    Raises:
        InvalidSpec: with the rule that is broken. It also refuses motifs whose chain, in the order given and joined
            by allowed transitions, is longer than L: only then is an optimum of value 1 sure to exist.
    """

    transition_matrix: NDArray[np.float64]
    motifs: NDArray[np.int64]
    spacings: NDArray[np.int64]
    length: int
    quantization: int
    epistasis: float = 0.0
    initial_solution: NDArray[np.int64] | None = None
    name: str | None = None
    digest: str = field(init=False, repr=False)
    """Hex SHA-256 of the canonical JSON of every field but ``name``."""

    def __post_init__(self) -> None:
        put = object.__setattr__  # the dataclass is frozen for everyone but its own constructor
        put(self, "transition_matrix", _array(self.transition_matrix, np.float64, 2, "transition_matrix"))
        put(self, "motifs", _array(self.motifs, np.int64, 2, "motifs"))
        put(self, "spacings", _spacings(self.spacings, self.motifs))
        for name in ("length", "quantization"):
            put(self, name, _integer(getattr(self, name), name))
        put(self, "epistasis", _number(self.epistasis, "epistasis"))
        if self.name is not None and not isinstance(self.name, str):
            raise InvalidSpec(f"name must be a string or None, not {type(self.name).__name__}")
        if not 1 <= self.length <= MAX_LENGTH:
            raise InvalidSpec(f"length is {self.length}; give 1 to {MAX_LENGTH} tokens")
        _check_transitions(self.transition_matrix)
        _check_motifs(self)
        _optimum(self)  # raises when there is none
        start = np.zeros(self.length, np.int64) if self.initial_solution is None else self.initial_solution
        put(self, "initial_solution", _array(start, np.int64, 1, "initial_solution"))
        _check_initial_solution(self)
        put(self, "digest", hashlib.sha256(_canonical(self._definition())).hexdigest())

    V = property(lambda self: self.transition_matrix.shape[0], doc="Vocabulary size: the number of states.")
    L = property(lambda self: self.length, doc="Sequence length.")
    c = property(lambda self: self.motifs.shape[0], doc="Number of motifs.")
    k = property(lambda self: self.motifs.shape[1], doc="Motif length.")
    q = property(lambda self: self.quantization, doc="Quantization: the number of levels of a match.")

    @property
    def offsets(self) -> NDArray[np.int64]:
        """(c, k) positions of the motif elements relative to the first one: s in the paper, s[:, 0] = 0."""
        return np.concatenate([np.zeros((self.c, 1), np.int64), np.cumsum(self.spacings, axis=1)], axis=1)

    @classmethod
    def from_seed(
        cls, V: int, L: int, c: int, k: int, q: int | None = None, epistasis: float = 0.0, seed: int = 0
    ) -> EhrlichSpec:
        """The function that ``seed`` names: the same on every platform and with every NumPy release.

        The distribution is that of holo-bench's ``Ehrlich`` (its seeds name other functions: its bits depend on the
        CPU). ``q`` (default k) and ``epistasis`` change neither the motifs nor the transition matrix.

        Raises:
            InvalidSpec: a size is out of range, or c motifs of length k do not fit in L.
        """
        V, L, c, k = (_integer(size, name) for size, name in zip((V, L, c, k), "VLck", strict=True))
        q, seed = _integer(k if q is None else q, "q"), _integer(seed, "seed")
        epistasis = _number(epistasis, "epistasis")
        if not 2 <= V <= MAX_STATES:
            raise InvalidSpec(f"V is {V}; give 2 to {MAX_STATES} states")
        if L > MAX_LENGTH:
            raise InvalidSpec(f"L is {L}; give at most {MAX_LENGTH} tokens")
        if min(c, k) < 1:
            raise InvalidSpec(f"c is {c} and k is {k}; give at least one motif of at least one element")
        if c * k > L:
            raise InvalidSpec(f"c={c} motifs of length k={k} do not fit in L={L}; give L >= {c * k} or smaller motifs")
        if seed < 0:
            raise InvalidSpec(f"seed is {seed}; give an integer >= 0")
        matrix, motifs, spacings, start = sample_definition(V, L, c, k, seed)
        name = generated_name(V, L, c, k, q, epistasis, seed)
        return cls(matrix, motifs, spacings, L, q, epistasis, start, name)

    @classmethod
    def from_holo(cls, ehrlich: Any, name: str | None = None) -> EhrlichSpec:
        """The definition of a live ``holo.test_functions.closed_form.Ehrlich`` object.

        Values agree with holo's to 1e-6 (holo computes in float32). Noise and negation are no part of a definition.
        """
        motifs = [motif.tolist() for motif in ehrlich.motifs]
        return cls(
            ehrlich.transition_matrix.tolist(),
            np.array(motifs),
            np.reshape([spacing.tolist() for spacing in ehrlich.spacings], (len(motifs), len(motifs[0]) - 1)),
            ehrlich.dim,
            len(motifs[0]) if ehrlich._quantization is None else ehrlich._quantization,
            ehrlich._epistasis_factor,
            ehrlich.initial_solution().tolist(),
            name,
        )

    def to_json(self) -> str:
        """JSON text that :meth:`from_json` turns into an equal spec; floats round-trip exactly."""
        return _canonical({**self._definition(), "name": self.name}).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> EhrlichSpec:
        """The spec in ``text``. Raises InvalidSpec when it is no JSON object with exactly the fields of a spec."""
        try:
            data = json.loads(text)
        except (ValueError, TypeError, RecursionError) as error:
            raise InvalidSpec(f"the definition is not JSON: {error}") from None
        known = {f.name for f in fields(cls) if f.init}
        if not isinstance(data, dict) or not known - {"epistasis", "initial_solution", "name"} <= data.keys() <= known:
            raise InvalidSpec(f"the definition must be a JSON object with the fields {', '.join(sorted(known))}")
        return cls(**data)

    def __eq__(self, other: object) -> bool:
        return self.digest == other.digest if isinstance(other, EhrlichSpec) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return EhrlichSpec.from_json, (self.to_json(),)

    def _definition(self) -> dict[str, Any]:
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.init and f.name != "name"}
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in values.items()}


def generated_name(V: int, L: int, c: int, k: int, q: int, epistasis: float, seed: int) -> str:
    """The canonical name of a function of :meth:`EhrlichSpec.from_seed`."""
    e = f"-e{float(epistasis)!r}" if epistasis else ""
    return f"ehrlich/ehr-V{V}-L{L}-c{c}-k{k}-q{q}{e}-seed{seed}"


def optimal_solution(spec: EhrlichSpec) -> NDArray[np.int64]:
    """(L,) a feasible sequence of value 1: the motifs one after the other, joined by allowed transitions."""
    return _optimum(spec)


def _canonical(data: dict[str, Any]) -> bytes:
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _array(
    value: ArrayLike, dtype: type[np.generic], ndim: int, name: str, empty: tuple[int, int] | None = None
) -> NDArray[Any]:
    """A read-only copy of ``value``; a float where an integer belongs is refused, not rounded.

    ``empty`` is the shape of a ``value`` without elements, where that is allowed: an empty JSON list has no dtype.
    """
    try:
        raw = np.asarray(value)
        if raw.size == 0 and empty is not None:
            return np.empty(empty, dtype)
        if raw.size == 0 or raw.dtype.kind not in ("iu" if dtype is np.int64 else "iuf"):
            raise TypeError
        array = raw.astype(dtype, order="C", casting="safe" if raw.dtype != np.uint64 else "unsafe")
    except (TypeError, ValueError):
        kind = "integers" if dtype is np.int64 else "real numbers"
        raise InvalidSpec(f"{name} must be a non-empty {ndim}-dimensional array of {kind}") from None
    if array.ndim != ndim:
        raise InvalidSpec(f"{name} has shape {array.shape}; give {ndim} dimension(s)")
    array[array == 0] = 0  # -0.0 is the same entry as 0.0, and must have its digest
    array.setflags(write=False)
    return array


def _spacings(value: ArrayLike, motifs: NDArray[np.int64]) -> NDArray[np.int64]:
    c, k = motifs.shape
    array = _array(value, np.int64, 2, "spacings", empty=(c, 0) if k == 1 else None)
    if array.shape != (c, k - 1):
        raise InvalidSpec(f"spacings has shape {array.shape}; motifs of shape {(c, k)} need {(c, k - 1)} gaps")
    return array


def _integer(value: Any, name: str) -> int:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise InvalidSpec(f"{name} must be an integer, not {value!r}")
    return int(value)


def _number(value: Any, name: str) -> float:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise InvalidSpec(f"{name} must be a number, not {value!r}")
    try:
        return float(value) + 0.0  # -0.0 is the same function as 0.0, and must have its digest
    except OverflowError:
        raise InvalidSpec(f"{name} is too large for a float64") from None


def _check_transitions(matrix: NDArray[np.float64]) -> None:
    V = matrix.shape[0]
    if matrix.shape != (V, V) or not 2 <= V <= MAX_STATES:
        raise InvalidSpec(f"transition_matrix has shape {matrix.shape}; give (V, V) with V in 2 .. {MAX_STATES}")
    if not np.isfinite(matrix).all() or (matrix < 0).any():
        raise InvalidSpec("transition_matrix has an entry that is negative or not finite")
    sums = matrix.sum(axis=1)
    worst = int(np.abs(sums - 1.0).argmax())
    if abs(sums[worst] - 1.0) > 1e-4:  # published matrices are float32
        raise InvalidSpec(f"row {worst} of transition_matrix sums to {sums[worst]:g}, not 1")
    if (np.diagonal(matrix) <= 0).any():
        state = int((np.diagonal(matrix) <= 0).argmax())
        raise InvalidSpec(f"transition_matrix[{state}, {state}] is 0; every state must be allowed to repeat")
    if (_distances(matrix) == _UNREACHABLE).any():
        raise InvalidSpec("transition_matrix is not ergodic: some state can't be reached from some other")


def _check_motifs(spec: EhrlichSpec) -> None:
    if spec.motifs.min() < 0 or spec.motifs.max() >= spec.V:
        raise InvalidSpec(f"motifs hold a token outside 0 .. {spec.V - 1}")
    if spec.k > 1 and spec.spacings.min() < 1:
        raise InvalidSpec("spacings hold a gap below 1; consecutive motif elements stand at least one position apart")
    if spec.k > 1 and spec.spacings.max() >= spec.L:
        raise InvalidSpec(f"a spacing of {spec.spacings.max()} does not fit in L={spec.L}; give smaller spacings")
    if not 1 <= spec.q <= spec.k or spec.k % spec.q:
        raise InvalidSpec(f"quantization q={spec.q} does not divide k={spec.k}; give one of {_divisors(spec.k)}")
    if not 0.0 <= spec.epistasis <= 4.0:  # r(h) = h (1 + e h (h - 1)) is negative at h = 1/2 for e > 4; NaN fails too
        raise InvalidSpec(f"epistasis is {spec.epistasis}; give a number in 0 .. 4")


def _check_initial_solution(spec: EhrlichSpec) -> None:
    x = spec.initial_solution
    assert x is not None
    if x.shape != (spec.L,) or x.min() < 0 or x.max() >= spec.V:
        raise InvalidSpec(f"initial_solution must be {spec.L} tokens in 0 .. {spec.V - 1}")
    forbidden = spec.transition_matrix[x[:-1], x[1:]] <= 0
    if forbidden.any():
        raise InvalidSpec(f"initial_solution is infeasible at position {int(forbidden.argmax())}")


def _divisors(k: int) -> list[int]:
    return [d for d in range(1, k + 1) if k % d == 0]


def _distances(matrix: NDArray[np.float64]) -> NDArray[np.int64]:
    """(V, V) steps of the shortest walk over allowed transitions; _UNREACHABLE where there is none."""
    V = matrix.shape[0]
    allowed = (matrix > 0).astype(np.float32)
    distance = np.full((V, V), _UNREACHABLE)
    reached = np.eye(V, dtype=bool)
    for steps in range(V):
        distance[reached & (distance == _UNREACHABLE)] = steps
        grown = reached | (reached.astype(np.float32) @ allowed > 0)
        if (grown == reached).all():
            break
        reached = grown
    return distance


def _walk(start: int, stop: int, steps: int, matrix: NDArray[np.float64], distance: NDArray[np.int64]) -> list[int]:
    """The tokens strictly after ``start`` of a walk of ``steps`` steps to ``stop``: wait first, then go straight."""
    path = [start] * (steps - int(distance[start, stop]))
    while start != stop:
        start = int(np.flatnonzero((matrix[start] > 0) & (distance[:, stop] == distance[start, stop] - 1))[0])
        path.append(start)
    return path


def _optimum(spec: EhrlichSpec) -> NDArray[np.int64]:
    """See :func:`optimal_solution`. Every state may repeat, so a walk of d steps can be made as long as one likes."""
    matrix, distance = spec.transition_matrix, _distances(spec.transition_matrix)
    tokens: list[int] = [int(spec.motifs[0, 0])]
    for i, (motif, gaps) in enumerate(zip(spec.motifs.tolist(), spec.spacings.tolist(), strict=True)):
        if i:  # the shortest way from the last element of one motif to the first of the next
            tokens += _walk(tokens[-1], motif[0], max(1, int(distance[tokens[-1], motif[0]])), matrix, distance)
        for j, gap in enumerate(gaps):
            if distance[motif[j], motif[j + 1]] > gap:
                raise InvalidSpec(
                    f"motif {i} is infeasible: no allowed walk of {gap} steps from {motif[j]} to {motif[j + 1]}"
                )
            tokens += _walk(motif[j], motif[j + 1], gap, matrix, distance)
    if len(tokens) > spec.length:
        raise InvalidSpec(
            f"the motifs do not fit in L={spec.length}: one after the other they take {len(tokens)} positions; "
            f"give L >= {len(tokens)} or smaller spacings"
        )
    return np.array(tokens + [tokens[-1]] * (spec.length - len(tokens)), np.int64)
