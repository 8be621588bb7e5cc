"""The genetic agent with holo-bench's setting beside holo-bench's own optimizer, on one function."""

from __future__ import annotations

from statistics import median
from typing import Any

import gymnasium
import numpy as np
import torch
from conftest import InTurns
from holo.optim import DiscreteEvolution
from holo.test_functions.closed_form import Ehrlich as HoloEhrlich
from numpy.typing import NDArray
from table import Measured, Record, duration, ratio

from bioseq_gym import EhrlichSpec, EvaluationBudget, load_task
from bioseq_gym.agents.genetic_agent import HOLO

TASK = "llome/ehr-V32-L128-c4-k4-q4"
GENERATIONS = 60
ROWS = GENERATIONS * HOLO.config.population
ROUNDS = 7


class Generations(EvaluationBudget):
    """The budget that agents work under, ended after so many batches: repeats are free, so no budget says that."""

    asked = 0

    def evaluate(self, x: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        self.asked += len(x)
        return super().evaluate(x)

    @property
    def done(self) -> bool:
        return self.asked >= ROWS


def evolve_ours(env: Generations) -> None:
    HOLO.run(env, 0, HOLO.config)
    assert env.asked == ROWS


def holo_twin(spec: EhrlichSpec) -> HoloEhrlich:
    """holo-bench's object of ``spec``, negated for its minimizer."""
    twin = HoloEhrlich(spec.V, spec.L, spec.c, spec.k, spec.q, spec.epistasis, negate=True)
    twin.transition_matrix = torch.tensor(spec.transition_matrix, dtype=torch.float32)
    twin.motifs = tuple(torch.tensor(motif) for motif in spec.motifs)
    twin.spacings = [torch.tensor(spacing) for spacing in spec.spacings]
    return twin


def evolve_holo(function: HoloEhrlich, start: NDArray[np.int64]) -> None:
    """As in holo-bench's README, with the settings of ours."""
    config = HOLO.config
    optimizer = DiscreteEvolution(
        [torch.nn.Parameter(torch.tensor(start).float())],
        list(range(function.num_states)),
        mutation_prob=config.mutation,
        recombine_prob=config.recombination,
        num_particles=config.population,
        survival_quantile=config.survival,
    )
    for _ in range(GENERATIONS):
        optimizer.step(lambda particles: function(particles[0]))


def test_the_genetic_agent(in_turns: InTurns, record: Record) -> None:
    task = load_task(TASK)
    twin = holo_twin(task.spec)
    envs = [Generations(gymnasium.make("Ehrlich-v0", task=TASK), ROWS) for _ in range(ROUNDS + 1)]
    fresh = iter(envs)
    programs = (lambda: evolve_ours(next(fresh)), 1), (lambda: evolve_holo(twin, task.initial_solution), 1)
    ours, theirs = in_turns(ROUNDS, *programs)
    asked = envs[0].ledger.sequences.astype(np.int64)
    np.testing.assert_allclose(envs[0].ledger.values, -twin(torch.tensor(asked)).numpy(), rtol=0, atol=1e-6)
    value, spread = ratio(theirs, ours)
    note = (
        f"one thread, {TASK} in both; ours asks through EvaluationBudget with its ledger in memory, which answers "
        f"repeats: it scores {len(asked):,} of the 60,000 rows, holo-bench all"
    )
    record("genetic", Measured(value, duration(median(ours)), duration(median(theirs)), spread, note))
