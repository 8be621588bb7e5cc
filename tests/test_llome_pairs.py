"""What LLOME trains on: pairs of near neighbours, and what DPO takes for the worse edit."""

from typing import Any

import numpy as np
import pytest

from bioseq_gym import InvalidConfig
from bioseq_gym.agents.llome import pairs as pairs_module
from bioseq_gym.agents.llome.pairs import Pairs, near_pairs, rejected

ALL = {
    "targets": 10, "neighbours": 10, "distance": "hamming", "radius": 1.0, "infeasible_share": 0.5, "neutral": True
}  # fmt: skip
SEQUENCES = np.array([[0, 0, 0, 0], [0, 0, 0, 1], [1, 1, 1, 1], [0, 0, 1, 1], [0, 2, 0, 0]], np.uint8)
VALUES = np.array([0.0, 0.5, 0.25, 0.5, -np.inf])


def pairs_of(rng_seed: int = 0, **changes: Any) -> list[tuple[int, int, float]]:
    pairs = near_pairs(SEQUENCES, VALUES, rng=np.random.default_rng(rng_seed), **{**ALL, **changes})
    return sorted(zip(pairs.x.tolist(), pairs.y.tolist(), pairs.rewards.tolist(), strict=True))


def test_pairs_go_to_what_is_at_least_as_good_and_near() -> None:
    assert pairs_of(radius=0.25, infeasible_share=0.0) == [(0, 1, 0.5), (1, 3, 0.0), (3, 1, 0.0)]


def test_pairs_of_equal_value_can_be_left_out() -> None:
    assert {reward for _, _, reward in pairs_of(neutral=False)} == {0.25, 0.5}


def test_an_infeasible_x_counts_zero() -> None:
    assert {reward for x, _, reward in pairs_of() if x == 4} == {0.5, 0.25}


@pytest.mark.parametrize("share", [0.0, 0.1, 0.2, 0.5])
def test_the_share_of_infeasible_x_is_bounded(share: float) -> None:
    pairs = pairs_of(infeasible_share=share)
    assert sum(x == 4 for x, _, _ in pairs) <= share * len(pairs)
    assert any(x == 4 for x, _, _ in pairs_of(infeasible_share=0.5))


def test_neighbours_are_the_nearest() -> None:
    assert pairs_of(neighbours=1, targets=1, infeasible_share=0.0) == [(0, 1, 0.5)] or pairs_of(
        neighbours=1, targets=1, infeasible_share=0.0
    ) == [(1, 3, 0.0)]


def test_no_pairs_where_everything_is_worth_nothing() -> None:
    pairs = near_pairs(SEQUENCES, np.zeros(5), rng=np.random.default_rng(0), **ALL)  # type: ignore[arg-type]
    assert [len(column) for column in pairs] == [0, 0, 0]


def test_a_segment_that_moves_by_one_is_near_in_edits_only() -> None:
    x = np.array([[1, 2, 3, 4, 5, 6, 0, 0]], np.uint8)
    y = np.array([[0, 1, 2, 3, 4, 5, 6, 0]], np.uint8)
    found = {
        distance: near_pairs(
            np.concatenate([x, y]), np.array([0.25, 0.5]), rng=np.random.default_rng(0),
            **{**ALL, "radius": 0.25, "distance": distance},
        ).y.tolist()
        for distance in ("hamming", "edit", "any")
    }  # fmt: skip
    assert found == {"hamming": [], "edit": [1], "any": [1]}


def test_the_radius_bounds_edits() -> None:
    pairs = near_pairs(
        SEQUENCES, VALUES, rng=np.random.default_rng(0), **{**ALL, "distance": "edit", "radius": 0.25, "neutral": False}
    )
    assert set(zip(pairs.x.tolist(), pairs.y.tolist(), strict=True)) == {(0, 1)}


def test_another_distance_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="--distance of llome is 'cosine'; give one of hamming, edit, any"):
        pairs_of(distance="cosine")


def test_what_is_rejected_is_near_x_and_no_better() -> None:
    pairs = near_pairs(SEQUENCES, VALUES, rng=np.random.default_rng(0), **ALL)  # type: ignore[arg-type]
    drawn: set[tuple[int, int]] = set()
    for seed in range(30):
        worse = rejected(
            SEQUENCES, VALUES, pairs, neighbours=5, distance="hamming", radius=0.25, rng=np.random.default_rng(seed)
        )
        drawn |= set(zip(pairs.x.tolist(), worse.tolist(), strict=True))
    # within one position: 0 has 4 (infeasible), 1 has 0 and, as good, 3; each x may be its own copy
    assert drawn == {(0, 0), (0, 4), (1, 1), (1, 0), (1, 3), (2, 2), (3, 3), (3, 1), (4, 4)}


def test_what_is_rejected_comes_from_all_that_is_as_near() -> None:
    sequences = np.arange(100, dtype=np.uint8)[:, None].repeat(8, axis=1)
    pairs = Pairs(np.zeros(50, np.int64), np.zeros(50, np.int64), np.zeros(50))
    worse = {
        int(i)
        for seed in range(10)
        for i in rejected(
            sequences, np.zeros(100), pairs, neighbours=5, distance="any", radius=1.0, rng=np.random.default_rng(seed)
        )
    }
    assert len(worse) > 30
    assert max(worse) > 50


def test_many_sequences_are_searched_approximately(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    start = rng.integers(8, size=12)
    copies = np.where(rng.random((300, 12)) < 0.2, rng.integers(8, size=(300, 12)), start)
    sequences = np.unique(copies.astype(np.uint8), axis=0)
    values = rng.integers(5, size=len(sequences)) / 4
    settings = {**ALL, "targets": 300, "neighbours": len(sequences), "radius": 0.25, "neutral": False}
    found = []
    for exact in (10**9, 0):
        monkeypatch.setattr(pairs_module, "EXACT", exact)
        pairs = near_pairs(sequences, values, rng=np.random.default_rng(0), **settings)  # type: ignore[arg-type]
        assert ((sequences[pairs.x] != sequences[pairs.y]).sum(axis=1) <= 3).all()
        found.append(set(zip(pairs.x.tolist(), pairs.y.tolist(), strict=True)))
    assert len(found[0]) > 500
    assert len(found[0] & found[1]) > 0.95 * len(found[0])
    assert found[1] <= found[0]


@pytest.mark.parametrize("neutral", [False, True])
def test_what_is_worse_is_found_approximately_among_many_that_are_as_good(
    neutral: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A family of 200 equals, and 60 worse ones that are all farther from each of them than 30 of the equals are."""
    sequences = np.zeros((260, 16), np.uint8)
    sequences[:200, 0] = np.arange(200)
    sequences[200:, 1:4] = np.arange(1, 61)[:, None]
    values = np.where(np.arange(260) < 200, 1.0, 0.5)
    settings = {**ALL, "targets": 100, "neighbours": 30, "radius": 0.25, "neutral": neutral}
    found = []
    for exact in (10**9, 0):
        monkeypatch.setattr(pairs_module, "EXACT", exact)
        pairs = near_pairs(sequences, values, rng=np.random.default_rng(0), **settings)  # type: ignore[arg-type]
        assert (pairs.x != pairs.y).all()
        found.append(((values[pairs.x] < 1.0).sum(), (values[pairs.x] == 1.0).sum()))
    assert found[0] == ((0, 3000) if neutral else (3000, 0))
    assert found[1] == pytest.approx(found[0], rel=0.05)
