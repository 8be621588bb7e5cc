"""The selection that cheats, an upper bound of the experiments on LLOME."""

from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from bioseq_gym import EvaluationBudget, InvalidConfig, load_task
from bioseq_gym.agent import load_agent
from bioseq_gym.agents.llome.proposals import Pool
from bioseq_gym.agents.llome_agent import SCRATCH

FILE = Path(__file__).parents[1] / "benchmarks" / "llome_true_value.py"
TASK = "llome/ehr-V32-L32-c4-k4-q4"


def test_it_takes_the_best_of_the_pool_and_is_charged_for_those_alone(tmp_path: Path) -> None:
    cheating = load_agent(str(FILE)).run.__globals__["CheatingSearch"]
    function = load_task(TASK).function
    good = function.optimal_solution()
    sequences = np.tile(good, (9, 1)).astype(np.uint8)
    for row in range(9):
        sequences[row, : 3 * row] = sequences[row, 3 * row]  # ever more of it is one token, and its value falls
    order = np.random.default_rng(0).permutation(9)
    pool = Pool(sequences[order], np.zeros(9), 9, 9, 9, 0, 0.0)
    values = function(pool.sequences)
    assert len(set(values.tolist())) >= 3
    env = EvaluationBudget(gymnasium.make("Ehrlich-v0", task=TASK), 10)
    search = cheating(env, 0, SCRATCH, tmp_path)
    chosen = search._select(pool, 4)
    assert sorted(values[chosen]) == sorted(values)[-4:]
    equal = replace(pool, sequences=np.tile(good, (30, 1)).astype(np.uint8))  # else they would be the likeliest
    assert sorted(search._select(equal, 10)) != list(range(10))
    assert env.remaining == 10


def test_its_name_says_so(tmp_path: Path) -> None:
    agent = load_agent(str(FILE))
    assert agent.name == "llome-cheating"
    assert agent.config == SCRATCH
    env = EvaluationBudget(gymnasium.make("Ehrlich-v0", V=8, L=12, c=2, k=3, seed=77), 10)
    search = agent.run.__globals__["CheatingSearch"](env, 0, SCRATCH, tmp_path)
    with pytest.raises(InvalidConfig, match="this one is in none; give it one of those"):
        search._select(None, 1)
