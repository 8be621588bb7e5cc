"""LLOME's objectives by hand arithmetic."""

import math

import pytest
import torch

from bioseq_gym.agents.llome import dpo_loss, marge_loss, sft_loss


def test_marge_loss_by_hand() -> None:
    """w = softmax([ln 3, 0]) = [3/4, 1/4]; logp/n - r is -1 - 0.5 and -2 - 0, so the reverse KL is -1.625."""
    policy = torch.tensor([-2.0, -4.0])
    reference = torch.tensor([-2.0 - math.log(3.0), -4.0])
    out = marge_loss(policy, reference, torch.tensor([0.5, 0.0]), torch.tensor([2.0, 2.0]), alpha=2.0, beta=3.0)
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


def test_marge_with_one_pair_is_rescaled_sft() -> None:
    """Its weight is 1, whatever the policy: what the authors' micro-batches of one compute."""
    logps = torch.tensor([-6.0], requires_grad=True)
    marge_loss(logps, torch.tensor([-2.0]), torch.tensor([0.7]), torch.tensor([3.0]), 1.0, 10.0).loss.backward()  # type: ignore[no-untyped-call]
    assert logps.grad is not None
    assert logps.grad.item() == pytest.approx((10.0 - 1.0) * -1.0 / 3.0)


def test_clipping_bounds_the_weights() -> None:
    policy, reference = torch.tensor([0.0, -50.0]), torch.tensor([-50.0, 0.0])
    out = marge_loss(policy, reference, torch.zeros(2), torch.ones(2), beta=0.0, clip=math.log(3.0) / 2)
    weights = [0.75, 0.25]  # e^(c) : e^(-c) = 3 : 1
    assert out.loss.item() == pytest.approx(0.25 * -50.0, rel=1e-5)
    assert out.effective_sample_size.item() == pytest.approx(1.0 / sum(w * w for w in weights), rel=1e-5)


def test_dpo_loss_by_hand() -> None:
    """Margins (1 - 0) - (-1 - 0) = 2 and 0; -log sigmoid of half of them."""
    out = dpo_loss(torch.tensor([1.0, -3.0]), torch.tensor([-1.0, -3.0]), torch.zeros(2), torch.zeros(2), beta=0.5)
    assert out.item() == pytest.approx((math.log1p(math.exp(-1.0)) + math.log(2.0)) / 2)


def test_dpo_raises_the_chosen_and_lowers_the_rejected() -> None:
    chosen, worse = torch.tensor([-2.0], requires_grad=True), torch.tensor([-2.0], requires_grad=True)
    dpo_loss(chosen, worse, torch.tensor([-2.0]), torch.tensor([-2.0]), beta=0.1).backward()  # type: ignore[no-untyped-call]
    assert chosen.grad is not None
    assert worse.grad is not None
    assert (chosen.grad.item(), worse.grad.item()) == pytest.approx((-0.05, 0.05))
