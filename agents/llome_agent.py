"""LLOME: a language model as the optimizer (Chen et al., arXiv 2410.22296), with a small model trained from scratch.

The outer loop spends evaluations; the inner loop does not:

1. Round 0 collects data with a genetic algorithm.
2. Turn all that was evaluated into pairs (x, y) of near neighbours, y better or, unlike the paper, as good, and train
   pi(y|x) on them: by supervised fine-tuning in the first round, by MargE in the later ones, with the model at the
   round's start as the reference.
3. From the best sequences, let the model edit, again and again, following its most likely new edit of each, without
   asking for values.
4. Evaluate the candidates that the model finds likely, and go back to 2.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from bioseq_gym import EvaluationBudget
from bioseq_gym.agent import Agent, setting
from bioseq_gym.agents.feasibility import LearnedTransitions
from bioseq_gym.agents.genetic_agent import Config as GeneticConfig
from bioseq_gym.agents.genetic_agent import best_first, evolve
from bioseq_gym.agents.llome.objectives import marge_loss, sft_loss
from bioseq_gym.agents.llome.pairs import Pairs, near_pairs
from bioseq_gym.agents.llome.policy import Policy
from bioseq_gym.agents.threads import threads
from bioseq_gym.errors import InvalidConfig

logger = logging.getLogger("bioseq_gym.agents.llome")

Tokens = NDArray[np.uint8]
GENETIC = GeneticConfig()


@dataclass(frozen=True)
class Config:
    """Settings of LLOME."""

    warmup: int = setting(2000, "evaluations of the genetic algorithm in round 0", low=1)
    round_size: int = setting(200, "evaluations per later round", low=1)
    hidden_size: int = setting(64, "width of the GPT-NeoX", low=16)
    layers: int = setting(2, "transformer blocks", low=1)
    targets: int = setting(500, "best sequences that are a y in training pairs", low=1)
    neighbours: int = setting(30, "pairs per y at most", low=1)
    radius: float = setting(0.25, "largest Hamming distance in a pair, as a share of L", low=0.0, high=1.0)
    infeasible_share: float = setting(0.1, "largest share of pairs with an infeasible x", low=0.0, high=0.9)
    neutral: bool = setting(True, "also train on pairs of equal value")
    first_steps: int = setting(200, "optimizer steps of the first training", low=1)
    steps: int = setting(30, "optimizer steps of each later one", low=1)
    batch_size: int = setting(64, "pairs per step, over which MargE's weights are normalised", low=1)
    learning_rate: float = setting(2e-3, "of AdamW", low=0.0)
    alpha: float = setting(1.0, "weight of MargE's reverse KL", low=0.0)
    beta: float = setting(10.0, "weight of MargE's forward KL", low=0.0)
    seeds: int = setting(100, "best sequences that the inner loop edits", low=1)
    iterations: int = setting(2, "edits in a row without asking for values", low=1)
    samples: int = setting(6, "edits sampled per seed and iteration, the first one greedy", low=1)
    distance: float = setting(
        0.3, "mean Hamming distance of edits, as a share of L, that the temperature is steered to", low=0.0, high=1.0
    )
    explore: float = setting(1.0, "mean number of tokens per edit that are drawn uniformly", low=0.0)
    quantile: float = setting(0.5, "candidates are drawn from this most likely share of the pool", low=0.0, high=1.0)
    threads: int = setting(1, "threads of torch; more pay off for wider models only", low=1)


def run(env: EvaluationBudget, seed: int, config: Config) -> None:
    """The bilevel loop."""
    with threads(config.threads):
        optimize(env, seed, config)


def optimize(env: EvaluationBudget, seed: int, config: Config) -> None:
    """Round 0, then train, propose and evaluate until the budget is spent."""
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    V, L = env.vocabulary_size, env.length
    policy = Policy(V, L, hidden_size=config.hidden_size, layers=config.layers, seed=seed)
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr=config.learning_rate)
    transitions = LearnedTransitions(V)

    sequences, values = env.initial_solution[None].astype(np.uint8), np.array([env.initial_value])
    transitions.update(sequences, values > -np.inf)
    sequences, values = evolve(env, config.warmup, sequences, values, transitions, rng, GENETIC)
    temperature = 1.0
    marge = False  # the first training is supervised
    while not env.done:
        asked = len(sequences)
        pairs = near_pairs(
            sequences,
            values,
            targets=config.targets,
            neighbours=config.neighbours,
            radius=config.radius,
            infeasible_share=config.infeasible_share,
            neutral=config.neutral,
            rng=rng,
        )
        pool = sequences[:0]
        if len(pairs.x):
            loss = train(policy, optimizer, pairs, marge, config, rng)
            marge = True
            pool, temperature = propose(policy, sequences, values, transitions, temperature, config, generator)
            logger.info(
                "%d pairs, loss %.3f, temperature %.2f, %d candidates", len(pairs.x), loss, temperature, len(pool)
            )
        if len(pool):
            candidates = select(pool, min(config.round_size, env.remaining), config.quantile, rng)
            answers, feasible = env.evaluate(candidates)
            transitions.update(candidates, feasible)
            sequences, values = np.concatenate([sequences, candidates]), np.concatenate([values, answers])
        else:
            logger.info("no better pairs or nothing new proposed: a round of the genetic algorithm instead")
            sequences, values = evolve(env, config.round_size, sequences, values, transitions, rng, GENETIC)
        feasible = values[asked:] > -np.inf
        logger.info(
            "%d evaluated, %.0f %% feasible, best %.3f, so far %.3f",
            *(len(feasible), 100 * feasible.mean(), values[asked:].max(), values.max()),
        )


def train(
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    pairs: Pairs,
    marge: bool,
    config: Config,
    rng: np.random.Generator,
) -> float:
    """Train on ``pairs``, by MargE against the policy as it is now or by SFT; return the mean loss of the last half."""
    steps = config.steps if marge else config.first_steps
    drawn = rng.integers(len(pairs.x), size=steps * config.batch_size)
    x, y, rewards = policy.tensor(pairs.x[drawn]), policy.tensor(pairs.y[drawn]), policy.tensor(pairs.rewards[drawn])
    lengths = torch.full_like(rewards, policy.L)
    batches = [slice(i, i + config.batch_size) for i in range(0, len(drawn), config.batch_size)]
    with torch.no_grad():  # the policy at the round's start, asked once
        references = [policy.log_likelihood(x[b], y[b]) for b in batches] if marge else []
    losses = []
    for i, b in enumerate(batches):
        logps = policy.log_likelihood(x[b], y[b])
        if marge:
            loss = marge_loss(logps, references[i], rewards[b], lengths[b], config.alpha, config.beta).loss
        else:
            loss = sft_loss(logps, lengths[b])
        if not torch.isfinite(loss):
            raise InvalidConfig(f"llome's training diverged: its loss is {loss.item()}; give a smaller --learning-rate")
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return float(np.mean(losses[len(losses) // 2 :]))


def propose(
    policy: Policy,
    sequences: Tokens,
    values: NDArray[np.float64],
    transitions: LearnedTransitions,
    temperature: float,
    config: Config,
    generator: torch.Generator,
) -> tuple[Tokens, float]:
    """The inner loop: edit the best sequences again and again, without asking for values.

    The temperature rises while the edits change less than ``config.distance`` and falls while they change more, so that
    the model neither collapses to copies nor forgets what it edits.

    Returns:
        New sequences (n, L), the most likely first, and the temperature for the next round.
    """
    known = {row.tobytes() for row in sequences}
    forbidden = torch.from_numpy(transitions.forbidden).to(policy.device)
    explore = min(1.0, config.explore / policy.L)
    current = sequences[best_first(values)[: config.seeds]]
    likelihood_of: dict[bytes, float] = {}
    for _ in range(config.iterations):
        y, logps = policy.sample(policy.tensor(current), config.samples, temperature, explore, forbidden, generator)
        edits = y.cpu().numpy().astype(np.uint8)
        changed = float((edits != current[:, None]).mean())
        temperature = float(np.clip(temperature * (1.2 if changed < config.distance else 1 / 1.2), 0.2, 5.0))
        following = current.copy()
        for s, tokens in enumerate(edits):
            order = torch.argsort(logps[s], descending=True, stable=True).tolist()
            new = [i for i in order if tokens[i].tobytes() not in known]
            if new:  # copies and known sequences are no step forward
                following[s] = tokens[new[0]]
            for i in new:
                likelihood_of.setdefault(tokens[i].tobytes(), float(logps[s, i]))
        current = following
    ranked = sorted(likelihood_of, key=lambda key: (-likelihood_of[key], key))
    pool = np.frombuffer(b"".join(ranked), np.uint8).reshape(-1, policy.L)
    return pool[transitions.admits(pool)], temperature


def select(pool: Tokens, size: int, quantile: float, rng: np.random.Generator) -> Tokens:
    """Up to ``size`` sequences, at random from the most likely ``quantile`` of ``pool``, (n, L), best first."""
    likely = pool[: max(size, int(quantile * len(pool)))]
    return likely[rng.permutation(len(likely))[:size]]


AGENT = Agent("llome", run, Config())

if __name__ == "__main__":
    AGENT.main()
