"""LLOME's training objectives as pure functions of tensors (Chen et al., arXiv 2410.22296)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class MargeLoss(NamedTuple):
    """MargE and its parts; all but ``loss`` are detached."""

    loss: Tensor
    reverse_kl: Tensor
    forward_kl: Tensor
    effective_sample_size: Tensor


def sft_loss(policy_logps: Tensor, lengths: Tensor) -> Tensor:
    """Supervised fine-tuning: the mean negative log-likelihood per token, a scalar.

    Args:
        policy_logps: (B,) log pi(y|x), summed over the tokens of y.
        lengths: (B,) number of tokens of each y.
    """
    return -(policy_logps / lengths).mean()


def marge_loss(
    policy_logps: Tensor,
    reference_logps: Tensor,
    rewards: Tensor,
    lengths: Tensor,
    alpha: float = 1.0,
    beta: float = 10.0,
) -> MargeLoss:
    """Margin-aligned expectation over the effective batch of (x, y) pairs.

    ``alpha * sum_b w_b (logp_b / n_b - r_b) + beta * mean_b(-logp_b / n_b)`` with ``w = softmax_b(logp - logp_ref)``:
    a reverse KL to the reward's distribution, estimated from samples of the reference by self-normalised importance
    sampling, and a forward KL to the reference.

    The weights are **not** detached. The rewards reach the gradient through the weights alone: with constant weights
    the derivative of the first sum is that of ``alpha * w_b * logp_b / n_b``, whatever the rewards are, and MargE
    would be a rescaled SFT. They come from a softmax over log-ratios, so that no ratio of full-sequence likelihoods is
    ever exponentiated by itself.

    Args:
        policy_logps: (B,) log pi(y|x), summed over the tokens of y; carries the gradient.
        reference_logps: (B,) the same under the reference policy, the model at the round's start.
        rewards: (B,) r = f(y) - f(x) >= 0, an infeasible x counting 0.
        lengths: (B,) number of tokens of each y.
        alpha: weight of the reverse KL.
        beta: weight of the forward KL.

    Returns:
        The scalar loss, its two parts before alpha and beta, and the effective sample size 1 / sum(w^2), in 1 .. B.
    """
    per_token = policy_logps / lengths
    weights = torch.softmax(policy_logps - reference_logps, dim=0)
    reverse_kl = (weights * (per_token - rewards)).sum()
    forward_kl = -per_token.mean()
    loss = alpha * reverse_kl + beta * forward_kl
    return MargeLoss(loss, reverse_kl.detach(), forward_kl.detach(), 1.0 / weights.detach().square().sum())
