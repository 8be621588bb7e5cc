"""Genetic algorithms: holo-bench's, and a strong elitist one, the default, in two sizes.

``genetic`` breeds from the best of everything evaluated. An Ehrlich motif counts wherever it stands, so besides
substitutions and crossover it moves segments by one position. It never asks for a sequence twice, nor for one that the
answers so far prove infeasible. ``genetic-small`` is the same, ten at a time: mostly ahead up to 10,000 evaluations,
in ten times as many rounds.

``genetic-holo`` is the discrete evolution of holo-bench (Stanton et al., arXiv 2407.00236, appendix), the genetic
algorithm that both papers compare with: truncation selection, uniform crossover of survivors, mutation of everyone.
Population, survival and mutation are those of LLOME's own configuration, recombination is the default of its class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from bioseq_gym import EvaluationBudget
from bioseq_gym.agent import Agent, setting
from bioseq_gym.agents.feasibility import LearnedTransitions

Tokens = NDArray[np.uint8]
ATTEMPTS = 100  # to fill a generation with what may be asked


@dataclass(frozen=True)
class Config:
    """Settings of the elitist genetic algorithm."""

    parents: int = setting(30, "best sequences, of all evaluated, that breed", low=1)
    children: int = setting(100, "new sequences per generation", low=1)
    crossover: float = setting(0.5, "share of children with two parents", low=0.0, high=1.0)
    shift: float = setting(0.5, "share of children with a segment moved by one position", low=0.0, high=1.0)
    mutations: float = setting(1.0, "mean number of substitutions per child", low=0.01)


def run(env: EvaluationBudget, seed: int, config: Config) -> None:
    """Breed until the budget is spent."""
    start = env.initial_solution[None].astype(np.uint8)
    transitions = LearnedTransitions(env.vocabulary_size)
    transitions.update(start, np.array([True]))
    rng = np.random.default_rng(seed)
    evolve(env, env.remaining, start, np.array([env.initial_value]), transitions, rng, config)


def evolve(
    env: EvaluationBudget,
    evaluations: int,
    sequences: Tokens,
    values: NDArray[np.float64],
    transitions: LearnedTransitions,
    rng: np.random.Generator,
    config: Config,
) -> tuple[Tokens, NDArray[np.float64]]:
    """Breed, for so many evaluations, from the best of everything evaluated, the newest first among equals.

    Args:
        env: what answers.
        evaluations: how many to spend; fewer if the budget ends or the optimum is found.
        sequences: (n, L) what was evaluated before, at least one.
        values: (n,) their values.
        transitions: what is known of the constraints; learns from the answers.
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
        children = breed(sequences, min(config.children, env.remaining - stop), seen, transitions, config, rng)
        if not len(children):
            break
        asked.append(children)
        answered.append(env.evaluate(children)[0])
        transitions.update(children, answered[-1] > -np.inf)
        sequences, values = np.concatenate([sequences, children]), np.concatenate([values, answered[-1]])
    return np.concatenate(asked), np.concatenate(answered)


def best_first(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,) the indices of ``values`` from the largest to the smallest, the newest first among equals."""
    return len(values) - 1 - np.argsort(-values[::-1], kind="stable")


def breed(
    parents: Tokens,
    count: int,
    seen: set[bytes],
    transitions: LearnedTransitions,
    config: Config,
    rng: np.random.Generator,
) -> Tokens:
    """Up to ``count`` children (m, L) of ``parents`` (n, L), none of which is in ``seen``; they are added to it.

    None holds a transition proven forbidden. There are fewer only where hardly any such sequence is left.
    """
    children: list[Tokens] = []
    for _ in range(ATTEMPTS):
        offspring = vary(parents, count, len(transitions.forbidden), config, rng)
        for child in offspring[transitions.admits(offspring)]:
            if len(children) < count and (key := child.tobytes()) not in seen:
                seen.add(key)
                children.append(child)
        if len(children) == count:
            break
    return np.array(children, np.uint8).reshape(-1, parents.shape[1])


def vary(parents: Tokens, count: int, V: int, config: Config, rng: np.random.Generator) -> Tokens:
    """(count, L) children of ``parents`` (n, L), drawn at random: crossover, then shift, then substitution."""
    first, second = parents[rng.integers(len(parents), size=(2, count))]
    children = np.where(rng.random((count, 1)) < config.crossover, cross(first, second, rng), first)
    children = np.where(rng.random((count, 1)) < config.shift, shift(children, V, rng), children)
    substitute = rng.random(children.shape) < config.mutations / children.shape[1]
    children[substitute] = rng.integers(V, size=substitute.sum())
    return children


def cross(first: Tokens, second: Tokens, rng: np.random.Generator) -> Tokens:
    """``first`` (B, L) with a segment of ``second`` (B, L) in each row, between two cuts drawn at random."""
    B, L = first.shape
    left, right = np.sort(rng.integers(L + 1, size=(2, B, 1)), axis=0)
    position = np.arange(L)
    return np.where((left <= position) & (position < right), second, first)


def shift(x: Tokens, V: int, rng: np.random.Generator) -> Tokens:
    """``x`` (B, L) with one position deleted and a token inserted elsewhere: what lies between moves by one."""
    B, L = x.shape
    deleted, inserted = rng.integers(L, size=(2, B, 1))
    source = np.arange(L) - (np.arange(L) > inserted)  # the place among those that are left
    source += source >= deleted
    y = np.take_along_axis(x, np.minimum(source, L - 1), axis=1)
    # a repeat of the neighbour is always feasible on its left side, a random token seldom on either
    repeat = np.take_along_axis(y, np.maximum(inserted - 1, 0), axis=1)
    token = np.where(rng.random((B, 1)) < 0.5, repeat, rng.integers(V, size=(B, 1), dtype=np.uint8))
    np.put_along_axis(y, inserted, token, axis=1)
    return y


@dataclass(frozen=True)
class HoloConfig:
    """Settings of holo-bench's discrete evolution, as LLOME's authors have it."""

    population: int = setting(1000, "sequences per generation", low=2, high=1_000_000)
    survival: float = setting(0.1, "quantile of the population that survives", low=0.001, high=1.0)
    mutation: float = setting(0.005, "probability of a substitution at each position", low=0.0001, high=1.0)
    recombination: float = setting(0.5, "probability of a token from the second parent", low=0.0, high=1.0)


def run_holo(env: EvaluationBudget, seed: int, config: HoloConfig) -> None:
    """Evolve until the next generation does not fit."""
    evolve_holo(env, None, np.random.default_rng(seed), config)


def evolve_holo(env: EvaluationBudget, generations: int | None, rng: np.random.Generator, config: HoloConfig) -> None:
    """Evolve a population that starts as copies of the initial solution.

    Args:
        env: what answers; the ledger keeps all that it answered.
        generations: how many are evaluated; None: as many as fit. Fewer if the optimum is found.
        rng: of all draws.
        config: the settings.

    Raises:
        BudgetExhausted: the next generation does not fit.
    """
    n = config.population
    worst = n - 1 - int((n - 1) * config.survival)  # the last survivor's place, from the smallest value up
    population = np.repeat(env.initial_solution[None].astype(np.uint8), n, axis=0)
    for _ in count() if generations is None else range(generations):
        if env.done:
            break
        values = env.evaluate(population)[0]
        survivors = np.flatnonzero(values >= np.partition(values, worst)[worst])
        parents = survivors[rng.integers(len(survivors), size=(2, n))]
        parents[:, survivors] = survivors  # who survives is both of its own parents
        first, second = population.take(parents, axis=0)
        population = first ^ (first ^ second) * coin_flips(config.recombination, first.shape, rng)  # 1: of the second
        # a coin flip at every position, of which few are heads: first how many are, then which
        heads = rng.binomial(population.size, config.mutation)
        mutate = rng.choice(population.size, heads, replace=False, shuffle=False)
        population.ravel()[mutate] = rng.integers(env.vocabulary_size, size=heads)


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
SMALL = Agent("genetic-small", run, Config(parents=10, children=10))
HOLO = Agent("genetic-holo", run_holo, HoloConfig())

if __name__ == "__main__":
    AGENT.main()
