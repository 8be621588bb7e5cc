"""LLOME's two loops in neutral drift: our attempt at the best of both, whose model brings nothing yet.

From LLOME (Chen et al., arXiv 2410.22296, see ``llome_agent.py``): the outer loop spends evaluations and trains a
sequence model on the answers; the inner loop drafts candidates by the model's word and asks for no values. From
``neutral_drift_agent.py``: all else, to draw, to drift in families, to survey, to pack and to hunt.

The model is a small bidirectional network of long convolutions, see ``llome_best/network.py``. It reads a sequence and
its family's table of beliefs, and corrects these log-odds that a position carries the value. The table knows positions
of one family; the model, tokens and their distances, wherever they stand, in all families. It is trained all the while,
in short rounds, on two things:

1. Every feasible child so far is a test: it keeps the value if no critical position changed, so that ``log p(pass) =
   sum over changed i of log(1 - critical_i(x))``, a noisy or.
2. What a family believed early is held against what it believes now.

Other than in LLOME:

- the model proposes no edit: it says what to leave, and a child draws all else by the transitions learned so far;
- it learns from passes and failures of its own children, from no pairs of better and worse, and has no genetic round;
- it is trained every 20 tests, in rounds of six steps;
- once the motifs are known, it is not asked any more.

Did it help? Not the search; its smaller batches do. On 36 functions that none of these was tuned on, six in each of six
shapes, two runs of 10,000 evaluations, the area over the convergence curve was .200 of neutral drift, .224 of this, and
.227 of ``neutral-drift --preset by-5``, which takes 0.4 s instead of 7; the intervals of the last two overlap
(``benchmarks/llome`` has the command). With ``--steps 0`` the model stays silent.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from bioseq_gym import EvaluationBudget
from bioseq_gym.agent import Agent, setting
from bioseq_gym.agents import neutral_drift_agent as drift
from bioseq_gym.agents.determinism import threads
from bioseq_gym.agents.drift.family import Family
from bioseq_gym.agents.drift.laboratory import Finished, Floats, Laboratory, Tokens
from bioseq_gym.agents.llome_best.network import Network
from bioseq_gym.agents.llome_best.trainer import Trainer, log_odds


@dataclass(frozen=True)
class Config(drift.Config):
    """Settings of neutral drift, in smaller batches, and of the model."""

    batch_size: int = setting(5, "children per call", low=1)
    width: int = setting(32, "width of the network", low=1)
    layers: int = setting(2, "layers of the network", low=1)
    round_size: int = setting(20, "tests between two rounds of training", low=1)
    steps: int = setting(6, "training steps per round; with 0 the model stays silent", low=0)
    minibatch: int = setting(16, "tests per training step, and as many beliefs", low=2)
    learning_rate: float = setting(5e-4, "of AdamW", low=0.0)
    distil: float = setting(1.0, "weight of what families came to believe, beside the tests", low=0.0)


def run(env: EvaluationBudget, seed: int, config: Config) -> None:
    """Drift by the model's word, survey and pack, until the budget is spent or the optimum found."""
    lab = Laboratory(env, np.random.default_rng(seed))
    network = Network(lab.V, width=config.width, layers=config.layers, seed=seed)
    trainer = Trainer(
        network,
        np.random.default_rng([seed, 1]),
        steps=config.steps,
        minibatch=config.minibatch,
        learning_rate=config.learning_rate,
        distil=config.distil,
    )
    start = env.initial_solution.astype(np.uint8)
    with suppress(Finished), threads(1):
        family = Family(start, env.initial_value, np.full(lab.L, config.prior), lab.V)
        Search(lab, trainer, config).run(family)


class Search(drift.Search):
    """The steps of neutral drift; a model has the last word on what is critical, and learns from every test."""

    def __init__(self, lab: Laboratory, trainer: Trainer, config: Config) -> None:
        super().__init__(lab, config)
        self._trainer, self._round_size = trainer, config.round_size
        self._tests = 0  # since the model was trained

    def _beliefs(self, families: list[Family]) -> list[Floats]:
        if self._tests >= self._round_size:
            self._trainer.train()
            self._tests = 0
        for family in families:
            self._trainer.watch(family)
        odds = self._trainer.predict([f.x for f in families], [log_odds(f.critical) for f in families])
        return list(1.0 / (1.0 + np.exp(-odds)))

    def _tested(self, family: Family, parent: Tokens, x: Tokens, value: float) -> None:
        self._tests += 1
        self._trainer.add(parent, log_odds(family.critical), x != parent, value >= family.value)


AGENT = Agent("llome-best", run, Config())

if __name__ == "__main__":
    AGENT.main()
