"""Random search: mutants of random feasible sequences found so far. The floor that every optimizer must beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bioseq_gym import EvaluationBudget, VectorEvaluationBudget
from bioseq_gym.agent import Agent, NoConfig, setting


@dataclass(frozen=True)
class Config:
    """Settings of random search."""

    batch_size: int = setting(100, "sequences per call", low=1)
    mutations: float = setting(2.0, "mean number of substitutions per child", low=0.01)


def run(env: EvaluationBudget, seed: int, config: Config) -> None:
    """Mutate sequences drawn uniformly from the feasible answers so far, whatever their value."""
    rng = np.random.default_rng(seed)
    feasible = [env.initial_solution.astype(np.uint8)]
    while not env.done:
        drawn = rng.integers(len(feasible), size=min(config.batch_size, env.remaining))
        children = np.array([feasible[i] for i in drawn])
        mutate = rng.random(children.shape) < config.mutations / env.length
        children[mutate] = rng.integers(env.vocabulary_size, size=mutate.sum())
        _, is_feasible = env.evaluate(children)
        feasible.extend(children[is_feasible])


def run_walks(envs: VectorEvaluationBudget, seed: int, config: NoConfig) -> None:
    """Write sequences token by token, each drawn uniformly from those that may come next.

    All are feasible, as of an agent that is shown the constraints and learns nothing: the floor for the others that
    are. The last walks, fewer than there are environments, are not taken.
    """
    rng = np.random.default_rng(seed)
    _, infos = envs.reset()
    while not envs.done and "budget_exhausted" not in infos:
        mask = infos["action_mask"]
        _, _, _, _, infos = envs.step((rng.random(mask.shape) * mask).argmax(axis=1))


AGENT = Agent("random", run, Config())
WALKS = Agent("random-walks", run_walks, env_id="EhrlichBuild-v0", num_envs=100, reveal_constraints=True)

if __name__ == "__main__":
    AGENT.main()
