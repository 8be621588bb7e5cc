"""Hypothesis strategies: random definitions of Ehrlich functions, and sequences that are worth scoring."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bioseq_gym import EhrlichSpec
from bioseq_gym.functions.spec import optimal_solution

ALPHABETS = (2, 3, 5, 20, 63, 64, 65, 130, 255, 256)

seeds = st.integers(0, 2**32 - 1)


def checked(examples: int) -> settings:
    """The same ``examples`` on every run, and no clock."""
    return settings(max_examples=examples, derandomize=True, deadline=None, database=None)


@st.composite
def definitions(draw: st.DrawFn, longest_motif: int = 20) -> EhrlichSpec:
    """A random valid definition; often one whose motifs fill the sequence to its last position."""
    V, c = draw(st.sampled_from(ALPHABETS)), draw(st.integers(1, 4))
    k = draw(st.sampled_from([size for size in (1, 2, 3, 4, 6, 16, 17, 20) if size <= longest_motif]))
    q = draw(st.sampled_from([d for d in range(1, k + 1) if k % d == 0]))
    epistasis = draw(st.sampled_from([0.0, 0.5, 1.0, 4.0]))
    density, widest_gap = draw(st.sampled_from([0.05, 0.3, 0.9])), draw(st.integers(1, 4))
    spare = draw(st.sampled_from([0, 0, 1, 7, 70]))
    return random_definition(np.random.default_rng(draw(seeds)), V, c, k, q, epistasis, density, widest_gap, spare)


def random_definition(
    rng: np.random.Generator,
    V: int,
    c: int,
    k: int,
    q: int,
    epistasis: float = 0.0,
    density: float = 0.3,
    widest_gap: int = 3,
    spare: int = 0,
) -> EhrlichSpec:
    """A spec whose allowed transitions are a random cycle, the diagonal and others with probability ``density``.

    All motifs lie on one random walk, so that their chain takes L - ``spare`` positions.
    """
    allowed = (rng.random((V, V)) < density) | np.eye(V, dtype=bool)
    cycle = rng.permutation(V)
    allowed[cycle, np.roll(cycle, 1)] = True
    weights = np.where(allowed, rng.random((V, V)) + 0.1, 0.0)
    spacings = rng.integers(1, widest_gap + 1, (c, k - 1))
    walk = random_walk(rng, allowed, c + int(spacings.sum()))
    elements = np.cumsum(np.concatenate([np.ones((c, 1), int), spacings], axis=1).ravel()) - 1
    return EhrlichSpec(
        weights / weights.sum(axis=1, keepdims=True),
        walk[elements].reshape(c, k),
        spacings,
        len(walk) + spare,
        q,
        epistasis,
        random_walk(rng, allowed, len(walk) + spare),
    )


def random_walk(rng: np.random.Generator, allowed: NDArray[np.bool_], steps: int) -> NDArray[np.int64]:
    """(steps,) tokens that make allowed transitions only."""
    walk = [int(rng.integers(len(allowed)))]
    while len(walk) < steps:
        walk.append(int(rng.choice(np.flatnonzero(allowed[walk[-1]]))))
    return np.array(walk)


def sequences(rng: np.random.Generator, spec: EhrlichSpec, count: int) -> NDArray[np.int64]:
    """(count, L) a mix: the optimum after a few feasible edits, feasible walks, and noise, most of it infeasible."""
    allowed = spec.transition_matrix > 0
    optimum, rows = optimal_solution(spec), []
    for kind in rng.choice(3, size=count, p=[0.5, 0.25, 0.25]):
        if kind == 0:
            rows.append(edited(rng, allowed, optimum, int(rng.integers(0, 6))))
        elif kind == 1:
            rows.append(random_walk(rng, allowed, spec.L))
        else:
            rows.append(rng.integers(0, spec.V, spec.L))
    return np.array(rows)


def edited(rng: np.random.Generator, allowed: NDArray[np.bool_], x: NDArray[np.int64], edits: int) -> NDArray[np.int64]:
    """``x`` (L,), feasible, after ``edits`` random edits of one token that keep it so."""
    y: NDArray[np.int64] = x.copy()
    for position in rng.integers(0, len(x), edits):
        fits = np.ones(len(allowed), bool)
        if position > 0:
            fits &= allowed[y[position - 1]]
        if position < len(x) - 1:
            fits &= allowed[:, y[position + 1]]
        y[position] = rng.choice(np.flatnonzero(fits))
    return y
