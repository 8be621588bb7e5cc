"""LLOME with a selection that cheats: it evaluates those of its model's edits that have the largest values.

What a perfect reward model would be worth in the choice of what is evaluated, beside a choice at random, which is
LLOME's with ``--quantile 1``, and by likelihood. It looks the function up by its digest, scores the whole pool without
charge, and so has no place on a leaderboard. Run it with a pool that is larger than a round:

    bioseq-gym run benchmarks/llome_true_value.py --samples 4 --budget 10000 --out runs/selection/true-0
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bioseq_gym import EvaluationBudget, load_task
from bioseq_gym.agent import Agent
from bioseq_gym.agents.determinism import threads
from bioseq_gym.agents.llome.proposals import Pool
from bioseq_gym.agents.llome_agent import SCRATCH, Config, Search, agent_folder
from bioseq_gym.errors import InvalidConfig
from bioseq_gym.functions import Ehrlich
from bioseq_gym.suite import load_suite, suite_names


class CheatingSearch(Search):
    """LLOME that is told the values of its pool."""

    def _select(self, pool: Pool, size: int) -> NDArray[np.int64]:
        values = _function(self._env.ledger.digest)(pool.sequences)
        order = self._state.rng.permutation(len(values))  # ties at random: the pool itself is in order of likelihood
        return order[np.argsort(-values[order], kind="stable")[:size]]


def _function(digest: str) -> Ehrlich:
    names = sorted({name for suite in suite_names() for name in load_suite(suite).tasks})
    for task in map(load_task, names):
        if task.digest == digest:
            return task.function
    raise InvalidConfig(
        "llome-cheating looks functions up in the suites, and this one is in none; give it one of those"
    )


def run(env: EvaluationBudget, seed: int, config: Config) -> None:
    """As LLOME does, but for the selection."""
    with threads(config.threads), agent_folder(env) as folder:
        CheatingSearch(env, seed, config, folder).run()


AGENT = Agent("llome-cheating", run, SCRATCH)

if __name__ == "__main__":
    AGENT.main()
