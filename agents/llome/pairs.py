"""Training pairs: a sequence and a better one near by, out of what was evaluated."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bioseq_gym.errors import InvalidConfig, MissingDependency

Tokens = NDArray[np.uint8]
Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

EXACT = 200_000_000
"""Comparisons of sequences up to which Hamming neighbours are found exactly; beyond, approximately."""
LINKS = 32  # of a node of the graph of approximate neighbours


class Pairs(NamedTuple):
    """n pairs: indices of x and of y, (n,) each, and the rewards f(y) - f(x) >= 0, (n,), infeasible x counting 0."""

    x: Indices
    y: Indices
    rewards: Floats


def check_distance(name: str) -> None:
    """Raise InvalidConfig if there is no distance of that name, and MissingDependency if it needs what is not here."""
    if name not in MEASURES:
        raise InvalidConfig(f"--distance of llome is {name!r}; give one of {', '.join(MEASURES)}")
    MEASURES[name](np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.uint8))


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
        radius: largest distance, as a share of L; one position is always near.
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
    order = np.argsort(values, kind="stable")
    lower = np.searchsorted(values[order], values[best], side="right" if neutral else "left")
    xs, ys = [], []
    found = _near(sequences, best, order, lower, neighbours, distance, radius)
    for target, near, apart in zip(best.tolist(), *found, strict=True):
        near, apart = near[near != target], apart[near != target]
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
    everything, n = np.arange(len(sequences)), np.full(len(unique), len(sequences))
    choices = []
    found = _near(sequences, unique, everything, n, neighbours, distance, radius)
    for x, near, apart in zip(unique.tolist(), *found, strict=True):
        worse = near[np.argsort(apart + rng.random(len(near)), kind="stable")[:neighbours]]
        choices.append(np.append(worse[(values[worse] <= values[x]) & (worse != x)], x))
    return np.array([rng.choice(choices[i]) for i in of_pair], np.int64)


def _near(
    sequences: Tokens,
    centres: Indices,
    order: Indices,
    counts: Indices,
    neighbours: int,
    distance: str,
    radius: float,
) -> tuple[list[Indices], list[Floats]]:
    """Of each of c centres the sequences within ``radius`` L, and how far each is, as floats.

    ``order`` is of all n sequences, and ``counts`` (c,) says how many of the first in it a centre may have. Where they
    are found approximately, these are most of the ``neighbours`` nearest, and the centre itself.
    """
    check_distance(distance)
    most = max(1.0, radius * sequences.shape[1])  # else a short sequence has no neighbour at all
    if distance == "hamming" and len(centres) * len(sequences) > EXACT:
        return _approximate(sequences, centres, order, counts, neighbours, most)
    place = np.argsort(order)
    found, apart = [], []
    for first in range(0, len(centres), 64):
        chunk = slice(first, first + 64)
        distances = MEASURES[distance](sequences, sequences[centres[chunk]])
        for row, count in zip(distances, counts[chunk], strict=True):
            near = np.flatnonzero((row <= most) & (place < count))
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


def _any(sequences: Tokens, centres: Tokens) -> Floats:
    """(c, n) nothing is apart."""
    return np.zeros((len(centres), len(sequences)))


MEASURES = {"hamming": _hamming, "edit": _edits, "any": _any}


def _approximate(
    sequences: Tokens, centres: Indices, order: Indices, counts: Indices, neighbours: int, most: float
) -> tuple[list[Indices], list[Floats]]:
    """:func:`_near` in the Hamming distance, in a navigable graph (Malkov and Yashunin, 2016).

    The graph grows along ``order``, and a centre is looked up when it holds what the centre may have: a search among
    all, of which the others are dropped, would find little where the best are many and alike.
    """
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
        differing, nearest = (np.full((len(centres), neighbours + 1), -1) for _ in range(2))
        for count in np.unique(counts[counts > 0]):
            graph.add(bits[order[graph.ntotal : count]])
            due = np.flatnonzero(counts == count)
            differing[due], nearest[due] = graph.search(bits[centres[due]], neighbours + 1)
    finally:
        faiss.omp_set_num_threads(threads)
    apart = differing / 2.0  # where tokens differ, two bits do
    within = (nearest >= 0) & (apart <= most)
    found = [order[row[near]] for row, near in zip(nearest, within, strict=True)]
    return found, [row[near] for row, near in zip(apart, within, strict=True)]


def _fewer_infeasible(infeasible: NDArray[np.bool_], share: float) -> Indices:
    """(m,) the places to keep, in their order, so that at most ``share`` of them are infeasible."""
    allowed = int(share / (1.0 - share) * (len(infeasible) - infeasible.sum()))
    return np.flatnonzero(~infeasible | (np.cumsum(infeasible) <= allowed))
