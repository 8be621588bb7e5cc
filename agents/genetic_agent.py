"""Genetic algorithms: holo-bench's published setting, and a strong elitist one, the default.

``genetic`` breeds from the best of everything evaluated. An Ehrlich motif counts wherever it stands, so besides
substitutions and crossover it moves segments by one position; and it never asks for a sequence twice.

``genetic-holo`` is the discrete evolution of holo-bench (Stanton et al., arXiv 2407.00236, appendix), the genetic
algorithm that both papers compare with: truncation selection, uniform crossover of survivors, mutation of everyone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bioseq_gym import EvaluationBudget
from bioseq_gym.agent import Agent

Tokens = NDArray[np.uint8]


@dataclass(frozen=True)
class Config:
    """Settings of the elitist genetic algorithm."""

    parents: int = field(default=50, metadata={"help": "best sequences, of all evaluated, that breed"})
    children: int = field(default=200, metadata={"help": "new sequences per generation"})
    crossover: float = field(default=0.5, metadata={"help": "share of children with two parents"})
    shift: float = field(default=0.5, metadata={"help": "share of children with a segment moved by one position"})
    mutations: float = field(default=1.0, metadata={"help": "mean number of substitutions per child"})


def run(env: EvaluationBudget, seed: int, config: Config) -> None:
    """Breed from the best of everything evaluated, the newest first among equals, until the budget is spent."""
    rng = np.random.default_rng(seed)
    start = env.initial_solution.astype(np.uint8)
    sequences, values = start[None], np.array([env.initial_value])
    seen = {start.tobytes()}
    while not env.done:
        newest_first = np.arange(len(values))[::-1]
        best = newest_first[np.argsort(-values[::-1], kind="stable")][: config.parents]
        children = breed(sequences[best], min(config.children, env.remaining), seen, env.vocabulary_size, config, rng)
        child_values, _ = env.evaluate(children)
        sequences = np.concatenate([sequences[best[::-1]], children])
        values = np.concatenate([values[best[::-1]], child_values])


def breed(
    parents: Tokens, count: int, seen: set[bytes], V: int, config: Config, rng: np.random.Generator
) -> Tokens:
    """``count`` children (count, L) of ``parents`` (n, L), none of which is in ``seen``; they are added to it."""
    children: list[Tokens] = []
    while len(children) < count:
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
    return np.stack(children)


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

    population: int = field(default=1000, metadata={"help": "sequences per generation"})
    survival: float = field(default=0.1, metadata={"help": "quantile of the population that survives"})
    mutation: float = field(default=0.005, metadata={"help": "probability of a substitution at each position"})
    recombination: float = field(default=0.5, metadata={"help": "probability of a token from the second parent"})


def run_holo(env: EvaluationBudget, seed: int, config: HoloConfig) -> None:
    """Evolve a population that starts as copies of the initial solution, until the next generation does not fit."""
    rng = np.random.default_rng(seed)
    population = np.repeat(env.initial_solution[None].astype(np.uint8), config.population, axis=0)
    while not env.done:
        loss = -env.evaluate(population)[0]
        survives = loss <= np.quantile(loss, config.survival, method="lower")
        survivors = population[survives]
        missing = config.population - len(survivors)
        first, second = survivors[rng.integers(len(survivors), size=(2, missing))]
        mixed = np.where(rng.random(first.shape) < config.recombination, second, first)
        population[~survives] = mixed
        mutate = rng.random(population.shape) < config.mutation
        population[mutate] = rng.integers(env.vocabulary_size, size=mutate.sum())


AGENT = Agent("genetic", run, Config())
HOLO = Agent("genetic-holo", run_holo, HoloConfig())

if __name__ == "__main__":
    AGENT.main()
