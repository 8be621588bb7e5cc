"""Fillings of gaps under transition constraints, against enumeration."""

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from bioseq_gym.agents.drift.laboratory import Tokens
from bioseq_gym.agents.drift.refill import refill


def drawn(
    x: Tokens, free: NDArray[np.bool_], transitions: NDArray[np.float64], tokens: NDArray[np.float64]
) -> dict[bytes, float]:
    """The probability of every filling: each token has an interval of its random number, whose ends bisection finds."""
    places = np.flatnonzero(free)
    uniform = np.full(len(x), 0.5)

    def filling() -> Tokens:
        y = x.copy()
        assert refill(y, free, transitions, tokens, uniform)
        return y

    def token(t: int, u: float) -> int:
        uniform[t] = u
        return int(filling()[t])

    def intervals(t: int) -> Iterator[tuple[float, float]]:
        start, last = 0.0, token(t, 1.0 - 1e-15)
        while True:
            here = token(t, start)
            if here == last:
                yield start, 1.0
                return
            low, high = start, 1.0
            for _ in range(45):
                middle = (low + high) / 2
                low, high = (middle, high) if token(t, middle) == here else (low, middle)
            yield start, high
            start = high

    def below(n: int, probability: float) -> Iterator[tuple[bytes, float]]:
        if n == len(places):
            yield filling().tobytes(), probability
            return
        for low, high in list(intervals(int(places[n]))):
            uniform[places[n]] = (low + high) / 2
            yield from below(n + 1, probability * (high - low))

    return dict(below(0, 1.0))


@pytest.mark.parametrize("free", [[1, 2, 3], [0, 1, 3, 4], [0, 2, 4], [0, 1, 2, 3, 4], [4]])
def test_a_filling_has_the_probability_of_its_weights(free: list[int]) -> None:
    rng = np.random.default_rng(sum(free))
    transitions, tokens = rng.random((3, 3)) + 0.1, rng.random((5, 3))
    transitions[0, 2] = transitions[2, 1] = tokens[3, 0] = 0.0
    x = np.array([1, 1, 0, 0, 2], np.uint8)
    x[2:4] = 1  # 1 1 1 1 2, feasible
    chosen = np.isin(np.arange(5), free)
    weights = {}
    for filling in product(range(3), repeat=len(free)):
        y = x.copy()
        y[free] = filling
        near = chosen[:-1] | chosen[1:]  # transitions between two fixed tokens are not the filling's
        weight = np.prod(transitions[y[:-1], y[1:]][near]) * np.prod(tokens[free, y[free]])
        if weight > 0.0:
            weights[y.tobytes()] = weight
    total = sum(weights.values())
    assert len(weights) > 1
    assert drawn(x, chosen, transitions, tokens) == pytest.approx({y: w / total for y, w in weights.items()}, abs=1e-9)


@pytest.mark.parametrize("fixed", [[0, 2], [0, 1, 2]])
def test_a_gap_that_nothing_fills_is_told(fixed: list[int]) -> None:
    """From 0 only 0 and 1 follow, from 1 only 1: no way from 1 back to 0."""
    transitions = np.array([[1.0, 1.0], [0.0, 1.0]])
    free = ~np.isin(np.arange(4), fixed)
    x = np.array([1, 1, 0, 0], np.uint8)
    possible = refill(x, free, transitions, np.ones((4, 2)), np.full(4, 0.5))
    assert possible == (fixed == [0, 1, 2])  # there the gap is the last position alone
    tokens = np.ones((4, 2))
    tokens[3] = 0.0
    assert not refill(np.zeros(4, np.uint8), np.ones(4, bool), transitions, tokens, np.zeros(4))


def test_a_filling_of_a_long_gap_neither_vanishes_nor_overflows() -> None:
    x = np.zeros(5000, np.uint8)
    assert refill(x, np.ones(5000, bool), np.full((4, 4), 1e-5), np.full((5000, 4), 1e-5), np.full(5000, 0.999999))
    assert (x == 3).all()
