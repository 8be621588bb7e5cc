"""LLOME's inner loop: what the model writes, and what is done with it, without the oracle."""

from typing import Any

import numpy as np
import pytest
import torch

from bioseq_gym.agents.llome.policy import Policy
from bioseq_gym.agents.llome.proposals import Pool, propose, temperatures


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy.make(6, 5, model="", size="0.1M", lora_rank=0, device="cpu", seed=0)


def proposals(policy: Policy, known: set[bytes], forbidden: Any = None, seed: int = 0, **changes: Any) -> Pool:
    seeds = np.random.default_rng(0).integers(6, size=(4, 5)).astype(np.uint8)
    settings = {"heat": np.array([0.0, 1.0, 1.4]), "iterations": 2, "samples": 20, **changes}
    return propose(policy, seeds, known, forbidden=forbidden, rng=torch.Generator().manual_seed(seed), **settings)


def test_the_pool_is_new_admissible_distinct_and_ranked(policy: Policy) -> None:
    forbidden = np.zeros((6, 6), bool)
    forbidden[2, 3] = True
    known = {row.tobytes() for row in proposals(policy, set(), forbidden).sequences[::2]}
    pool = proposals(policy, known, forbidden, seed=1)
    keys = [row.tobytes() for row in pool.sequences]
    assert len(keys) > 20
    assert len(set(keys)) == len(keys)
    assert not known & set(keys)
    assert not ((pool.sequences[:, :-1] == 2) & (pool.sequences[:, 1:] == 3)).any()
    assert (np.diff(pool.likelihoods) <= 0.0).all()
    assert pool.written == pool.parsed == 2 * 4 * (1 + 2 * 20)
    assert len(keys) < pool.distinct <= pool.written


def test_without_a_mask_what_is_no_sequence_is_dropped(policy: Policy) -> None:
    pool = proposals(policy, set())
    assert 0 < pool.parsed < pool.written
    assert pool.sequences.max() < 6


def test_text_with_a_forbidden_transition_is_dropped(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a codec can't bar while it is written, and the loop leaves in no pool."""
    monkeypatch.setattr(policy.codec, "impossible", lambda *_: None)
    forbidden = np.zeros((6, 6), bool)
    forbidden[2, 3] = True
    barred, free = (
        {row.tobytes() for row in proposals(policy, set(), mask, iterations=1).sequences} for mask in (forbidden, None)
    )
    assert barred == {key for key in free if b"\x02\x03" not in key} < free


def test_trajectories_follow_new_edits(policy: Policy) -> None:
    """One greedy trajectory: its second edit is of its first."""
    first = proposals(policy, set(), np.zeros((6, 6), bool), heat=np.array([0.0]), iterations=1)
    both = proposals(policy, set(), np.zeros((6, 6), bool), heat=np.array([0.0]), iterations=2)
    assert both.written == 2 * first.written == 8
    assert len(both.sequences) > len(first.sequences)  # an edit of the seeds again would be the same one
    stuck = {row.tobytes() for row in first.sequences}
    known = proposals(policy, stuck, np.zeros((6, 6), bool), heat=np.array([0.0]), iterations=2)
    assert not len(known.sequences)  # what is known is not followed, so the same edit comes again


@pytest.mark.parametrize(
    ("distance", "expected"),
    [
        (None, [0.0, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6]),
        (0.2, [0.0, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6]),
        (0.149, [0.0, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8]),
        (0.099, [0.0, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0]),
        (0.074, [0.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.2]),
    ],
)
def test_temperatures_rise_as_in_the_paper(distance: float | None, expected: list[float]) -> None:
    assert temperatures(6, distance).tolist() == pytest.approx(expected)


class Scripted:
    """Writes what it is told, with the likelihoods that it is told."""

    def __init__(self, answers: dict[tuple[int, ...], list[tuple[tuple[int, ...] | None, float]]]) -> None:
        self.answers, self.asked = answers, []  # type: ignore[var-annotated]

    def sample(self, x: Any, count: int, temperatures: Any, forbidden: Any, rng: Any) -> Any:
        self.asked += x.tolist()
        found = [self.answers[tuple(row)][:count] for row in x.tolist()]
        edits = [[None if y is None else np.array(y, np.uint8) for y, _ in row] for row in found]
        return edits, np.array([[logp for _, logp in row] for row in found]).reshape(len(x), count)


def test_a_trajectory_goes_to_its_likeliest_new_edit_and_distances_are_to_what_is_edited() -> None:
    model: Any = Scripted(
        {
            (0, 0): [((1, 1), -1.0), ((0, 1), -2.0), ((0, 0), 0.0)],
            (1, 1): [((1, 1), 0.0), ((1, 2), -3.0), (None, 0.0)],
        }
    )
    settings: dict[str, Any] = {"heat": np.array([1.0]), "iterations": 2, "samples": 3, "forbidden": None}
    pool = propose(model, np.zeros((1, 2), np.uint8), {b"\0\0"}, rng=torch.Generator(), **settings)
    assert model.asked == [[0, 0], [1, 1]]
    assert pool.sequences.tolist() == [[1, 1], [0, 1], [1, 2]]
    assert pool.likelihoods.tolist() == [-1.0, -2.0, -3.0]
    assert pool.distance == pytest.approx((0.5 + 1.0 + 0.0 + 0.0 + 0.5) / 5)
    assert (pool.copies, pool.written, pool.parsed, pool.distinct) == (2, 6, 5, 4)


def test_where_nothing_parsed_there_is_no_distance_and_so_no_more_heat() -> None:
    settings: dict[str, Any] = {"heat": np.array([0.0]), "iterations": 1, "samples": 1, "forbidden": None}
    pool = propose(
        Scripted({(0,): [(None, 0.0)]}), np.zeros((1, 1), np.uint8), set(), rng=torch.Generator(), **settings
    )  # type: ignore[arg-type]
    assert (pool.distance, len(pool.sequences)) == (None, 0)
