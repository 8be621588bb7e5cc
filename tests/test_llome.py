"""LLOME's objectives by hand arithmetic, its policy, pairs and loop."""

import math
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch

from bioseq_gym import EvaluationBudget, InvalidConfig
from bioseq_gym.agents.feasibility import LearnedTransitions
from bioseq_gym.agents.llome import marge_loss, sft_loss
from bioseq_gym.agents.llome.pairs import near_pairs
from bioseq_gym.agents.llome.policy import Policy
from bioseq_gym.agents.llome_agent import AGENT, propose, select

ALL_PAIRS = {"targets": 10, "neighbours": 10, "radius": 1.0, "infeasible_share": 0.5, "neutral": True}


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy(6, 5, hidden_size=16, layers=1, seed=0)


def test_marge_loss_by_hand() -> None:
    """w = softmax([ln 3, 0]) = [3/4, 1/4]; terms logp/n - r: -1 - 0.5 and -2 - 0."""
    policy = torch.tensor([-2.0, -4.0])
    reference = torch.tensor([-2.0 - math.log(3.0), -4.0])
    out = marge_loss(policy, reference, torch.tensor([0.5, 0.0]), torch.tensor([2.0, 2.0]), alpha=2.0, beta=3.0)
    assert out.reverse_kl.item() == pytest.approx(0.75 * -1.5 + 0.25 * -2.0)
    assert out.forward_kl.item() == pytest.approx(1.5)
    assert out.loss.item() == pytest.approx(2.0 * -1.625 + 3.0 * 1.5)
    assert out.effective_sample_size.item() == pytest.approx(1.0 / (0.75**2 + 0.25**2))


def test_marge_gradient_by_hand() -> None:
    """With equal weights 1/B: d/dlogp_b = alpha/B (g_b - mean g + 1/n_b) - beta / (B n_b), g = logp/n - r."""
    logps = torch.tensor([-2.0, -4.0], requires_grad=True)
    loss = marge_loss(logps, logps.detach(), torch.tensor([0.5, 0.0]), torch.tensor([2.0, 2.0]), 1.0, 10.0).loss
    loss.backward()  # type: ignore[no-untyped-call]
    g = [-1.0 - 0.5, -2.0 - 0.0]
    expected = [0.5 * (g_b + 1.75 + 0.5) - 10.0 / 4.0 for g_b in g]
    assert logps.grad is not None
    assert logps.grad.tolist() == pytest.approx(expected)


def test_marge_rewards_reach_the_gradient() -> None:
    """They do so through the weights alone: detached weights would make MargE a rescaled SFT."""
    gradients = []
    for rewards in ([0.0, 0.0], [1.0, 0.0]):
        logps = torch.tensor([-2.0, -2.0], requires_grad=True)
        marge_loss(logps, logps.detach(), torch.tensor(rewards), torch.tensor([2.0, 2.0])).loss.backward()  # type: ignore[no-untyped-call]
        assert logps.grad is not None
        gradients.append(logps.grad.tolist())
    assert gradients[1][0] < gradients[0][0] == gradients[0][1] < gradients[1][1]


def test_marge_weights_do_not_overflow() -> None:
    out = marge_loss(torch.tensor([0.0, -5000.0]), torch.tensor([-5000.0, 0.0]), torch.zeros(2), torch.ones(2))
    assert out.loss.isfinite()
    assert out.effective_sample_size.item() == 1.0


def test_sft_loss_is_the_mean_negative_log_likelihood_per_token() -> None:
    assert sft_loss(torch.tensor([-2.0, -9.0]), torch.tensor([2.0, 3.0])).item() == pytest.approx(2.0)


def test_likelihoods_add_up_to_one() -> None:
    policy = Policy(2, 3, hidden_size=16, layers=1, seed=0)
    every = torch.cartesian_prod(*[torch.arange(2)] * 3)
    x = torch.tensor([[0, 1, 1]]).expand(8, -1)
    with torch.no_grad():
        assert policy.log_likelihood(x, every).exp().sum().item() == pytest.approx(1.0, abs=1e-5)


def test_sampling_with_a_cache_scores_as_a_full_pass_does(policy: Policy) -> None:
    x = torch.tensor([[0, 1, 2, 3, 4], [5, 5, 0, 0, 1]])
    y, logps = policy.sample(x, 7, 1.3, 0.1, torch.zeros(6, 6, dtype=torch.bool), torch.Generator().manual_seed(0))
    assert y.shape == (2, 7, 5)
    with torch.no_grad():
        again = policy.log_likelihood(x.repeat_interleave(7, dim=0), y.view(14, 5)).view(2, 7)
    torch.testing.assert_close(logps, again, atol=1e-4, rtol=1e-4)


def test_the_first_sample_is_greedy(policy: Policy) -> None:
    x = torch.tensor([[0, 1, 2, 3, 4]])
    mask = torch.zeros(6, 6, dtype=torch.bool)
    draws = [policy.sample(x, 2, 5.0, 0.5, mask, torch.Generator().manual_seed(s))[0][0] for s in (0, 1)]
    assert draws[0][0].tolist() == draws[1][0].tolist()
    assert draws[0][1].tolist() != draws[1][1].tolist()


def test_forbidden_transitions_are_never_written(policy: Policy) -> None:
    mask = torch.ones(6, 6, dtype=torch.bool)
    mask[torch.arange(6), (torch.arange(6) + 1) % 6] = False  # a token can only be followed by the next one
    y, _ = policy.sample(torch.tensor([[0, 1, 2, 3, 4]]), 50, 1.0, 0.5, mask, torch.Generator().manual_seed(0))
    assert (y[..., 1:] == (y[..., :-1] + 1) % 6).all()


def test_exploring_draws_uniformly_whatever_the_model_prefers(policy: Policy) -> None:
    y, _ = policy.sample(
        torch.zeros(1, 5, dtype=torch.int64),
        6001,
        0.2,
        1.0,
        torch.zeros(6, 6, dtype=torch.bool),
        torch.Generator().manual_seed(0),
    )
    counts = torch.bincount(y[0, 1:, 2], minlength=6)
    assert (counts - 1000).abs().max() < 5 * math.sqrt(1000 * 5 / 6)


def test_a_width_that_has_no_heads_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="--hidden-size of llome is 17; give a multiple of 16"):
        Policy(6, 5, hidden_size=17, layers=1, seed=0)


def test_training_that_diverges_is_reported() -> None:
    env = EvaluationBudget(gymnasium.make("Ehrlich-v0", L=32), 400)
    config = replace(AGENT.config, warmup=200, hidden_size=16, layers=1, first_steps=5, learning_rate=1e30)
    with pytest.raises(InvalidConfig, match="diverged: its loss is nan; give a smaller --learning-rate"):
        AGENT.run(env, 0, config)


def test_the_policy_is_made_from_its_seed() -> None:
    weights = [next(Policy(6, 5, hidden_size=16, layers=1, seed=s).model.parameters()) for s in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


SEQUENCES = np.array([[0, 0, 0, 0], [0, 0, 0, 1], [1, 1, 1, 1], [0, 0, 1, 1], [0, 2, 0, 0]], np.uint8)
VALUES = np.array([0.0, 0.5, 0.25, 0.5, -np.inf])


def pairs_of(rng_seed: int = 0, **changes: float) -> list[tuple[list[int], list[int], float]]:
    pairs = near_pairs(SEQUENCES, VALUES, rng=np.random.default_rng(rng_seed), **{**ALL_PAIRS, **changes})  # type: ignore[arg-type]
    return sorted(zip(pairs.x.tolist(), pairs.y.tolist(), pairs.rewards.tolist(), strict=True))


def test_pairs_go_to_what_is_at_least_as_good_and_near() -> None:
    assert pairs_of(radius=0.25, infeasible_share=0.0) == [
        ([0, 0, 0, 0], [0, 0, 0, 1], 0.5),
        ([0, 0, 0, 1], [0, 0, 1, 1], 0.0),
        ([0, 0, 1, 1], [0, 0, 0, 1], 0.0),
    ]


def test_pairs_of_equal_value_can_be_left_out() -> None:
    assert {reward for _, _, reward in pairs_of(neutral=False)} == {0.25, 0.5}


def test_an_infeasible_x_counts_zero() -> None:
    infeasible = [reward for x, _, reward in pairs_of() if x == [0, 2, 0, 0]]
    assert set(infeasible) == {0.5, 0.25}


@pytest.mark.parametrize("share", [0.0, 0.1, 0.2, 0.5])
def test_the_share_of_infeasible_x_is_bounded(share: float) -> None:
    pairs = pairs_of(infeasible_share=share)
    assert sum(x == [0, 2, 0, 0] for x, _, _ in pairs) <= share * len(pairs)


def test_neighbours_are_the_nearest() -> None:
    assert pairs_of(neighbours=1, targets=1, infeasible_share=0.0) == [([0, 0, 0, 1], [0, 0, 1, 1], 0.0)]


def test_no_pairs_where_everything_is_worth_nothing() -> None:
    pairs = near_pairs(SEQUENCES, np.zeros(5), rng=np.random.default_rng(0), **ALL_PAIRS)  # type: ignore[arg-type]
    assert pairs.x.shape == pairs.y.shape == (0, 4)
    assert pairs.rewards.shape == (0,)


def test_the_inner_loop_proposes_new_admissible_sequences_and_asks_nothing(policy: Policy) -> None:
    rng = np.random.default_rng(0)
    sequences = rng.integers(6, size=(20, 5)).astype(np.uint8)
    transitions = LearnedTransitions(6)
    transitions.forbidden[2, 3] = True
    config = replace(AGENT.config, seeds=5, samples=8, iterations=2)
    pool, _ = propose(policy, sequences, np.zeros(20), transitions, 1.0, config, torch.Generator().manual_seed(0))
    assert len({row.tobytes() for row in pool} | {row.tobytes() for row in sequences}) == len(pool) + len(
        {row.tobytes() for row in sequences}
    )
    assert not ((pool[:, :-1] == 2) & (pool[:, 1:] == 3)).any()


def test_selection_takes_the_likely_part_and_fills_the_round() -> None:
    pool = np.arange(10, dtype=np.uint8)[:, None]
    rng = np.random.default_rng(0)
    assert sorted(select(pool, 4, 0.5, rng)[:, 0].tolist()) != [0, 1, 2, 3]
    assert select(pool, 4, 0.5, rng).max() < 5
    assert sorted(select(pool, 8, 0.1, rng)[:, 0].tolist()) == list(range(8))
    assert len(select(pool, 20, 1.0, rng)) == 10


@pytest.mark.parametrize(("distance", "rises"), [(0.0, False), (1.0, True)])
def test_the_temperature_is_steered_to_the_distance(policy: Policy, distance: float, rises: bool) -> None:
    sequences = np.zeros((3, 5), np.uint8)
    config = replace(AGENT.config, samples=4, iterations=1, distance=distance)
    generator = torch.Generator().manual_seed(0)
    _, temperature = propose(policy, sequences, np.zeros(3), LearnedTransitions(6), 1.0, config, generator)
    assert (temperature > 1.0) == rises
    assert temperature != 1.0


def test_a_task_whose_values_are_all_zero_falls_back_to_the_genetic_algorithm(caplog: pytest.LogCaptureFixture) -> None:
    """With q = 1 whole motifs of 8 are needed before anything is worth more than 0."""
    env = EvaluationBudget(gymnasium.make("Ehrlich-v0", V=32, L=128, c=4, k=8, q=1), 300)
    with caplog.at_level("INFO", logger="bioseq_gym"):
        AGENT.run(env, 0, replace(AGENT.config, warmup=100, round_size=100, hidden_size=16, layers=1))
    assert (env.remaining, env.ledger.best_value) == (0, 0.0)
    assert "a round of the genetic algorithm instead" in caplog.text
