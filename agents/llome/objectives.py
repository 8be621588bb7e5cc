"""LLOME's training objectives as pure functions of tensors (Chen et al., arXiv 2410.22296)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class MargeLoss(NamedTuple):
    """MargE, and the effective sample size of its weights, which is detached."""

    loss: Tensor
    effective_sample_size: Tensor


def sft_loss(policy_logps: Tensor, lengths: Tensor) -> Tensor:
    """Supervised fine-tuning: the mean negative log-likelihood per token, a scalar.

    Args:
        policy_logps: (B,) log pi(y|x), summed over the tokens of y.
        lengths: (B,) number of tokens of each y.
    """
    return -(policy_logps / lengths).mean()


def dpo_loss(
    policy_chosen: Tensor, policy_rejected: Tensor, reference_chosen: Tensor, reference_rejected: Tensor, beta: float
) -> Tensor:
    """Direct preference optimization: a scalar (Rafailov et al., arXiv 2305.18290, equation 7).

    ``-mean log sigmoid(beta * ((chosen - reference chosen) - (rejected - reference rejected)))``

    Args:
        policy_chosen: (B,) log pi(y|x) of the better y, summed over its tokens.
        policy_rejected: (B,) of the worse one.
        reference_chosen: (B,) the same under the reference policy.
        reference_rejected: (B,) the same under the reference policy.
        beta: how much the policy is held to the reference.
    """
    margin = (policy_chosen - reference_chosen) - (policy_rejected - reference_rejected)
    return -torch.nn.functional.logsigmoid(beta * margin).mean()


def marge_loss(
    policy_logps: Tensor,
    reference_logps: Tensor,
    rewards: Tensor,
    lengths: Tensor,
    alpha: float = 1.0,
    beta: float = 10.0,
    clip: float = 0.0,
) -> MargeLoss:
    """Margin-aligned expectation over the effective batch of (x, y) pairs.

    ``alpha * sum_b w_b (logp_b / n_b - r_b) + beta * mean_b(-logp_b / n_b)`` with ``w = softmax_b(logp - logp_ref)``:
    a reverse KL to the reward's distribution, estimated from samples of the reference by self-normalised importance
    sampling, and a forward KL to the reference.

    The weights are **not** detached. The rewards reach the gradient through the weights alone: with constant weights
    the derivative of the first sum is that of ``alpha * w_b * logp_b / n_b``, whatever the rewards are, and MargE
    would be a rescaled SFT. They come from a softmax over log-ratios, so that no ratio of full-sequence likelihoods is
    ever exponentiated by itself.

    With B = 1 the one weight is 1 and constant: the loss is ``(beta - alpha)`` times SFT's, up to a constant. That is
    what the authors' code computes, which normalises within micro-batches of one; see ``weights`` of the agent.

    Args:
        policy_logps: (B,) log pi(y|x), summed over the tokens of y; carries the gradient.
        reference_logps: (B,) the same under the reference policy, the model at the round's start.
        rewards: (B,) r = f(y) - f(x) >= 0, an infeasible x counting 0.
        lengths: (B,) number of tokens of each y.
        alpha: weight of the reverse KL.
        beta: weight of the forward KL.
        clip: log-ratios are clipped to -clip .. clip before the softmax (there they pass no gradient); 0: not at all.

    Returns:
        The scalar loss, and the effective sample size 1 / sum(w^2), in 1 .. B.
    """
    per_token = policy_logps / lengths
    ratios = policy_logps - reference_logps
    weights = torch.softmax(ratios.clamp(-clip, clip) if clip > 0.0 else ratios, dim=0)
    reverse_kl = (weights * (per_token - rewards)).sum()
    forward_kl = -per_token.mean()
    return MargeLoss(alpha * reverse_kl + beta * forward_kl, 1.0 / weights.detach().square().sum())
