"""Training pairs: a sequence and a better one near by, out of what was evaluated."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bioseq_gym.errors import InvalidConfig, MissingDependency

Tokens = NDArray[np.uint8]
Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

DISTANCES = ("hamming", "edit", "any")
EXACT = 200_000_000
"""Comparisons of sequences up to which Hamming neighbours are found exactly; beyond, approximately."""
LINKS = 32  # of a node of the graph of approximate neighbours


class Pairs(NamedTuple):
    """n pairs: indices of x and of y, (n,) each, and the rewards f(y) - f(x) >= 0, (n,), infeasible x counting 0."""

    x: Indices
    y: Indices
    rewards: Floats


def near_pairs(
    sequences: Tokens,
    values: Floats,
    *,
    targets: int,
    neighbours: int,
    distance: str,
    radius: float,
    infeasible_share: float,
    neutral: bool,
    rng: np.random.Generator,
) -> Pairs:
    """Pairs (x, y), y better than x or, with ``neutral``, as good, and near it.

    Args:
        sequences: (n, L) all that may be in a pair.
        values: (n,) their values, -inf where infeasible.
        targets: number of y, the best ones with a value above 0; ties at random, so that old data stays among them.
        neighbours: largest number of x for each y, the nearest ones; ties at random.
        distance: hamming; edit, by insertions, deletions and substitutions, for which a segment that moves by one is
            near; or any, which takes all for near.
        radius: largest distance, as a share of L.
        infeasible_share: largest share of pairs with an infeasible x.
        neutral: whether pairs of equal value count; they teach what may vary without loss.
        rng: of the ties and of the infeasible pairs that are kept.

    Returns:
        The pairs, in random order; none if nothing is worth more than 0.

    Raises:
        InvalidConfig: there is no such distance.
        MissingDependency: it needs a package that is not installed.
    """
    best = np.lexsort((rng.random(len(values)), -values))[:targets]
    best = best[values[best] > 0.0]
    xs, ys = [], []
    for target, near, apart in zip(best.tolist(), *_near(sequences, best, neighbours, distance, radius), strict=True):
        lower = values[near] < values[target]
        if neutral:
            lower |= (values[near] == values[target]) & (near != target)
        near, apart = near[lower], apart[lower]
        near = near[np.argsort(apart + rng.random(len(near)), kind="stable")[:neighbours]]
        xs.append(near)
        ys.append(np.full(len(near), target))
    x = np.concatenate([*xs, np.empty(0, np.int64)]).astype(np.int64)
    y = np.concatenate([*ys, np.empty(0, np.int64)]).astype(np.int64)
    order = rng.permutation(len(x))
    order = order[_fewer_infeasible(values[x[order]] == -np.inf, infeasible_share)]
    x, y = x[order], y[order]
    return Pairs(x, y, values[y] - np.maximum(values[x], 0.0))


def rejected(
    sequences: Tokens,
    values: Floats,
    pairs: Pairs,
    *,
    neighbours: int,
    distance: str,
    radius: float,
    rng: np.random.Generator,
) -> Indices:
    """For each pair (x, y) a sequence near x that is no better than x, or x itself: what DPO takes for the worse edit.

    Args:
        sequences: (n, L) as for :func:`near_pairs`.
        values: (n,) as there.
        pairs: of it.
        neighbours: of x among which it is drawn, the nearest; ties at random.
        distance: as for :func:`near_pairs`.
        radius: as there.
        rng: of the draws.

    Returns:
        (n,) indices of sequences.
    """
    unique, of_pair = np.unique(pairs.x, return_inverse=True)
    choices = []
    for x, near, apart in zip(unique.tolist(), *_near(sequences, unique, neighbours, distance, radius), strict=True):
        worse = near[np.argsort(apart + rng.random(len(near)), kind="stable")[:neighbours]]
        choices.append(np.append(worse[(values[worse] <= values[x]) & (worse != x)], x))
    return np.array([rng.choice(choices[i]) for i in of_pair], np.int64)


def _near(
    sequences: Tokens, centres: Indices, neighbours: int, distance: str, radius: float
) -> tuple[list[Indices], list[Floats]]:
    """Of each centre the sequences within ``radius`` L, and how far each is, as floats; of approximate ones not all."""
    if distance not in DISTANCES:
        raise InvalidConfig(f"--distance of llome is {distance!r}; give one of {', '.join(DISTANCES)}")
    if distance == "any":
        everything = np.arange(len(sequences))
        return [everything] * len(centres), [np.zeros(len(sequences))] * len(centres)
    if distance == "hamming" and len(centres) * len(sequences) > EXACT:
        return _approximate(sequences, centres, neighbours, radius * sequences.shape[1])
    measure = _edits if distance == "edit" else _hamming
    return _exact(sequences, centres, measure, radius * sequences.shape[1])


def _exact(
    sequences: Tokens, centres: Indices, measure: Callable[[Tokens, Tokens], Floats], most: float
) -> tuple[list[Indices], list[Floats]]:
    found, apart = [], []
    for first in range(0, len(centres), 64):
        for row in measure(sequences, sequences[centres[first : first + 64]]):
            near = np.flatnonzero(row <= most)
            found.append(near)
            apart.append(row[near])
    return found, apart


def _hamming(sequences: Tokens, centres: Tokens) -> Floats:
    """(c, n) the number of positions in which each of n ``sequences`` differs from each of c ``centres``."""
    return np.array([(sequences != centre).sum(axis=1) for centre in centres], np.float64)


def _edits(sequences: Tokens, centres: Tokens) -> Floats:
    """(c, n) Levenshtein distances."""
    try:
        from rapidfuzz.distance import Levenshtein
        from rapidfuzz.process import cdist
    except ModuleNotFoundError:
        raise MissingDependency("--distance edit of llome needs rapidfuzz; pip install 'bioseq-gym[agents]'") from None
    texts, middle = ([row.tobytes().decode("latin-1") for row in rows] for rows in (sequences, centres))
    return np.asarray(cdist(middle, texts, scorer=Levenshtein.distance, dtype=np.int32), np.float64)


def _approximate(
    sequences: Tokens, centres: Indices, neighbours: int, most: float
) -> tuple[list[Indices], list[Floats]]:
    """Most of the nearest neighbours in the Hamming distance, in a navigable graph (Malkov and Yashunin, 2016)."""
    try:
        import faiss
    except ModuleNotFoundError:
        raise MissingDependency(
            f"pairs among {len(sequences):,} sequences need faiss-cpu; pip install 'bioseq-gym[agents]', or give "
            "fewer --targets"
        ) from None
    n = len(sequences)
    states = np.arange(int(sequences.max()) + 1, dtype=np.uint8)
    bits = np.packbits((sequences[..., None] == states).reshape(n, -1), axis=1)  # one bit of a position's states is set
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # the order in which sequences enter the graph is part of the result
    try:
        graph = faiss.IndexBinaryHNSW(8 * bits.shape[1], LINKS)
        graph.add(bits)
        differing, nearest = graph.search(bits[centres], neighbours + 1)  # the first one is the sequence itself
    finally:
        faiss.omp_set_num_threads(threads)
    apart = differing / 2.0  # where tokens differ, two bits do
    within = (nearest >= 0) & (apart <= most)
    return [row[near] for row, near in zip(nearest, within, strict=True)], [
        row[near] for row, near in zip(apart, within, strict=True)
    ]


def _fewer_infeasible(infeasible: NDArray[np.bool_], share: float) -> Indices:
    """(m,) the places to keep, in their order, so that at most ``share`` of them are infeasible."""
    allowed = int(share / (1.0 - share) * (len(infeasible) - infeasible.sum()))
    return np.flatnonzero(~infeasible | (np.cumsum(infeasible) <= allowed))
