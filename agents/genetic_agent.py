"""Genetic algorithms: holo-bench's published setting, and a strong elitist one, the default.

``genetic`` breeds from the best of everything evaluated. An Ehrlich motif counts wherever it stands, so besides
substitutions and crossover it moves segments by one position; and it never asks for a sequence twice.

``genetic-holo`` is the discrete evolution of holo-bench (Stanton et al., arXiv 2407.00236, appendix), the genetic
algorithm that both papers compare with: truncation selection, uniform crossover of survivors, mutation of everyone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bioseq_gym import EvaluationBudget
from bioseq_gym.agent import Agent, setting

Tokens = NDArray[np.uint8]
ATTEMPTS = 100  # per child, to find one that is new


@dataclass(frozen=True)
class Config:
    """Settings of the elitist genetic algorithm."""

    parents: int = setting(50, "best sequences, of all evaluated, that breed", low=1)
    children: int = setting(200, "new sequences per generation", low=1)
    crossover: float = setting(0.5, "share of children with two parents", low=0.0, high=1.0)
    shift: float = setting(0.5, "share of children with a segment moved by one position", low=0.0, high=1.0)
    mutations: float = setting(1.0, "mean number of substitutions per child", low=0.01)


def run(env: EvaluationBudget, seed: int, config: Config) -> None:
    """Breed until the budget is spent."""
    start = env.initial_solution.astype(np.uint8)
    evolve(env, env.remaining, start[None], np.array([env.initial_value]), np.random.default_rng(seed), config)


def evolve(
    env: EvaluationBudget,
    evaluations: int,
    sequences: Tokens,
    values: NDArray[np.float64],
    rng: np.random.Generator,
    config: Config,
) -> tuple[Tokens, NDArray[np.float64]]:
    """Breed, for so many evaluations, from the best of everything evaluated, the newest first among equals.

    Args:
        env: what answers.
        evaluations: how many to spend; fewer if the budget ends or the optimum is found.
        sequences: (n, L) what was evaluated before, at least one.
        values: (n,) their values.
        rng: of all draws.
        config: the settings.

    Returns:
        ``sequences`` and ``values`` with the children behind them.
    """
    seen = {row.tobytes() for row in sequences}
    asked, answered = [sequences], [values]
    stop = max(0, env.remaining - evaluations)
    while env.remaining > stop and not env.done:
        best = np.sort(best_first(values)[: config.parents])  # in the order asked, so that the newest stay the newest
        sequences, values = sequences[best], values[best]
        parents = sequences[best_first(values)]
        children = breed(parents, min(config.children, env.remaining - stop), seen, env.vocabulary_size, config, rng)
        if not len(children):
            break
        asked.append(children)
        answered.append(env.evaluate(children)[0])
        sequences, values = np.concatenate([sequences, children]), np.concatenate([values, answered[-1]])
    return np.concatenate(asked), np.concatenate(answered)


def best_first(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,) the indices of ``values`` from the largest to the smallest, the newest first among equals."""
    return len(values) - 1 - np.argsort(-values[::-1], kind="stable")


def breed(parents: Tokens, count: int, seen: set[bytes], V: int, config: Config, rng: np.random.Generator) -> Tokens:
    """Up to ``count`` children (m, L) of ``parents`` (n, L), none of which is in ``seen``; they are added to it.

    There are fewer only where hardly any sequence is left that was not asked for.
    """
    children: list[Tokens] = []
    for _ in range(ATTEMPTS * count):
        if len(children) == count:
            break
        child = parents[rng.integers(len(parents))].copy()
        if rng.random() < config.crossover:
            left, right = np.sort(rng.integers(len(child) + 1, size=2))
            child[left:right] = parents[rng.integers(len(parents)), left:right]
        if rng.random() < config.shift:
            child = shift_segment(child, V, rng)
        mutate = rng.random(len(child)) < config.mutations / len(child)
        child[mutate] = rng.integers(V, size=mutate.sum())
        if (key := child.tobytes()) not in seen:
            seen.add(key)
            children.append(child)
    return np.array(children, np.uint8).reshape(-1, parents.shape[1])


def shift_segment(x: Tokens, V: int, rng: np.random.Generator) -> Tokens:
    """``x`` (L,) with one position deleted and a token inserted elsewhere: what lies between moves by one."""
    shorter = np.delete(x, rng.integers(len(x)))
    position = rng.integers(len(x))
    # a repeat of the neighbour is always feasible on its left side, a random token seldom on either
    token = shorter[max(position - 1, 0)] if rng.random() < 0.5 else rng.integers(V)
    return np.insert(shorter, position, token)


@dataclass(frozen=True)
class HoloConfig:
    """Settings of holo-bench's discrete evolution, as published."""

    population: int = setting(1000, "sequences per generation", low=2, high=1_000_000)
    survival: float = setting(0.1, "quantile of the population that survives", low=0.001, high=1.0)
    mutation: float = setting(0.005, "probability of a substitution at each position", low=0.0001, high=1.0)
    recombination: float = setting(0.5, "probability of a token from the second parent", low=0.0, high=1.0)


def run_holo(env: EvaluationBudget, seed: int, config: HoloConfig) -> None:
    """Evolve a population that starts as copies of the initial solution, until the next generation does not fit."""
    rng = np.random.default_rng(seed)
    n = config.population
    worst = n - 1 - int((n - 1) * config.survival)  # the last survivor's place, from the smallest value up
    population = np.repeat(env.initial_solution[None].astype(np.uint8), n, axis=0)
    while not env.done:
        values = env.evaluate(population)[0]
        survivors = np.flatnonzero(values >= np.partition(values, worst)[worst])
        parents = survivors[rng.integers(len(survivors), size=(2, n))]
        parents[:, survivors] = survivors  # who survives is both of its own parents
        first, second = population.take(parents, axis=0)
        population = first ^ (first ^ second) * coin_flips(config.recombination, first.shape, rng)  # 1: of the second
        # a coin flip at every position, of which few are heads: first how many are, then which
        count = rng.binomial(population.size, config.mutation)
        mutate = rng.choice(population.size, count, replace=False, shuffle=False)
        population.ravel()[mutate] = rng.integers(env.vocabulary_size, size=count)


def coin_flips(probability: float, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.uint8]:
    """``shape`` of independent 0 and 1; each is 1 with exactly this probability, in [0, 1].

    A flip is 1 if a uniform number is below the probability. Binary digits of the two are compared, from the first on
    and for 64 flips in a word, until no number is equal so far: one round for 1/2, about twenty in general.
    """
    size = math.prod(shape)
    flips = np.zeros((size + 63) // 64, np.uint64)
    equal = ~flips
    while probability > 0.0 and equal.any():
        digits = rng.integers(2**64, size=len(flips), dtype=np.uint64)
        probability *= 2.0
        if probability >= 1.0:
            flips |= equal & ~digits
            equal &= digits
            probability -= 1.0
        else:
            equal &= ~digits
    return np.unpackbits(flips.astype("<u8").view(np.uint8), count=size).reshape(shape)


AGENT = Agent("genetic", run, Config())
HOLO = Agent("genetic-holo", run_holo, HoloConfig())

if __name__ == "__main__":
    AGENT.main()
