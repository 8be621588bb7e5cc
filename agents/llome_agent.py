"""LLOME: a language model as the optimizer (Chen et al., arXiv 2410.22296), with a small model trained from scratch.

The outer loop spends evaluations; the inner loop does not:

1. Round 0 collects data with a genetic algorithm.
2. Turn all that was evaluated into pairs (x, better y) of near neighbours and train pi(y|x) on them: by supervised
   fine-tuning in the first round, by MargE in the later ones, with the model at the round's start as the reference.
3. From the best sequences, let the model edit, again and again, following its most likely new edit of each, without
   asking for values.
4. Evaluate the candidates that the model finds likely, and go back to 2.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from bioseq_gym.agents.feasibility import LearnedTransitions
from bioseq_gym.agents.genetic_agent import Config as GeneticConfig
from bioseq_gym.agents.genetic_agent import best_first, evolve
from bioseq_gym.agents.llome.objectives import marge_loss, sft_loss
from bioseq_gym.agents.llome.pairs import Pairs, near_pairs
from bioseq_gym.agents.llome.policy import Policy
from numpy.typing import NDArray

from bioseq_gym import EvaluationBudget
from bioseq_gym.agent import Agent, setting

logger = logging.getLogger("bioseq_gym.agents.llome")

Tokens = NDArray[np.uint8]


@dataclass(frozen=True)
class Config:
    """Settings of LLOME."""

    warmup: int = setting(2000, "evaluations of the genetic algorithm in round 0", low=1)
    round_size: int = setting(1000, "evaluations per later round", low=1)
    hidden_size: int = setting(64, "width of the GPT-NeoX", low=16)
    layers: int = setting(2, "transformer blocks", low=1)
    targets: int = setting(500, "best sequences that are a y in training pairs", low=1)
    neighbours: int = setting(30, "pairs per y at most", low=1)
    radius: float = setting(0.25, "largest Hamming distance in a pair, as a share of L", low=0.0, high=1.0)
    infeasible_share: float = setting(0.1, "largest share of pairs with an infeasible x", low=0.0, high=0.9)
    steps: int = setting(100, "optimizer steps per round", low=1)
    batch_size: int = setting(128, "pairs per step, over which MargE's weights are normalised", low=1)
    learning_rate: float = setting(2e-3, "of AdamW", low=0.0)
    alpha: float = setting(1.0, "weight of MargE's reverse KL", low=0.0)
    beta: float = setting(10.0, "weight of MargE's forward KL", low=0.0)
    seeds: int = setting(100, "best sequences that the inner loop edits", low=1)
    iterations: int = setting(4, "edits in a row without asking for values", low=1)
    samples: int = setting(20, "edits sampled per seed and iteration, the first one greedy", low=1)
    temperature: float = setting(1.2, "of the sampling", low=0.01)
    quantile: float = setting(0.5, "candidates are drawn from this most likely share of the pool", low=0.0, high=1.0)


def run(env: EvaluationBudget, seed: int, config: Config) -> None:
    """The bilevel loop."""
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    V, L = env.vocabulary_size, env.length
    policy = Policy(V, L, hidden_size=config.hidden_size, layers=config.layers, seed=seed)
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr=config.learning_rate)
    transitions = LearnedTransitions(V)

    sequences, values = evolve(env, config.warmup, rng, GeneticConfig())
    transitions.update(sequences, values > -np.inf)
    for round_number in count(1):
        if env.done:
            return
        pairs = near_pairs(
            sequences,
            values,
            targets=config.targets,
            neighbours=config.neighbours,
            radius=config.radius,
            infeasible_share=config.infeasible_share,
            rng=rng,
        )
        losses = train(policy, optimizer, pairs, round_number > 1, config, rng)
        seeds = sequences[best_first(values)[: config.seeds]]
        known = {row.tobytes() for row in sequences}
        candidates = propose(policy, seeds, known, transitions, config, generator)
        top = candidates[: max(config.round_size, int(config.quantile * len(candidates)))]
        candidates = top[rng.permutation(len(top))[: min(config.round_size, env.remaining)]]
        if not len(candidates):
            raise RuntimeError
        new_values, feasible = env.evaluate(candidates)
        sequences, values = np.concatenate([sequences, candidates]), np.concatenate([values, new_values])
        transitions.update(candidates, feasible)
        logger.info(
            "round %d: %d pairs, loss %.3f to %.3f, %d candidates, %.0f %% feasible, best %.3f, of all %.3f",
            round_number,
            len(pairs.x),
            losses[0],
            losses[-1],
            len(candidates),
            100 * feasible.mean(),
            new_values.max(),
            values.max(),
        )


def train(
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    pairs: Pairs,
    marge: bool,
    config: Config,
    rng: np.random.Generator,
) -> list[float]:
    """Train on ``pairs``: by MargE against the policy as it is now, or by SFT. Return the loss of each step."""
    x, y, rewards = policy.tensor(pairs.x), policy.tensor(pairs.y), policy.tensor(pairs.rewards)
    lengths = torch.full_like(rewards, policy.L)
    with torch.no_grad():
        parts = range(0, len(x), 1024)
        reference = torch.cat([policy.log_likelihood(x[i : i + 1024], y[i : i + 1024]) for i in parts])
    losses = []
    for _ in range(config.steps):
        batch = torch.from_numpy(rng.integers(len(x), size=config.batch_size)).to(policy.device)
        logps = policy.log_likelihood(x[batch], y[batch])
        if marge:
            loss = marge_loss(logps, reference[batch], rewards[batch], lengths[batch], config.alpha, config.beta).loss
        else:
            loss = sft_loss(logps, lengths[batch])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def propose(
    policy: Policy,
    seeds: Tokens,
    known: set[bytes],
    transitions: LearnedTransitions,
    config: Config,
    generator: torch.Generator,
) -> Tokens:
    """The inner loop: new sequences (n, L) that the policy reaches from ``seeds``, the most likely ones first."""
    forbidden = torch.from_numpy(transitions.forbidden).to(policy.device)
    current = seeds
    pool: dict[bytes, float] = {}
    for _ in range(config.iterations):
        edits, logps = policy.sample(policy.tensor(current), config.samples, config.temperature, forbidden, generator)
        tokens, likelihood = edits.cpu().numpy().astype(np.uint8), logps.cpu().numpy()
        following = current.copy()
        for s in range(len(current)):
            best = -np.inf
            for candidate, logp in zip(tokens[s], likelihood[s].tolist()):
                key = candidate.tobytes()
                if key in known:
                    continue
                pool[key] = max(pool.get(key, -np.inf), logp)
                if logp > best:
                    best, following[s] = logp, candidate
        current = following
    ranked = sorted(pool, key=lambda key: (-pool[key], key))
    candidates = np.frombuffer(b"".join(ranked), np.uint8).reshape(-1, seeds.shape[1])
    return candidates[transitions.admits(candidates)]


AGENT = Agent("llome", run, Config())

if __name__ == "__main__":
    AGENT.main()
