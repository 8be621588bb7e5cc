"""What asks: the budget, what is known of the transitions, and a random filling by them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bioseq_gym import EvaluationBudget
from bioseq_gym.agents.drift.refill import refill
from bioseq_gym.agents.feasibility import LearnedTransitions

Tokens = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Positions = NDArray[np.int64]
Floats = NDArray[np.float64]

# The share of feasible answers that the weight of unknown transitions is steered to: with 0.75 a missing element beside
# a known one waits for its transition to be tried; 0.4 did much the same as 0.5.
FEASIBLE = 0.5
STEP = 0.1  # how fast, for each answer
START, LEAST = 0.05, 1e-5  # of that weight
CAUTION = 1e-6  # their weight where a test should be feasible
FILLERS = 8  # tokens of which the quiet one is drawn
RARE = 1e-3  # weight of all others in a quiet sequence


class Finished(Exception):
    """The budget is spent or the optimum found."""


class Laboratory:
    """Asks, and draws sequences that are likely to be feasible by what the answers told.

    Attributes:
        V, L: states and length.
        rng: of all draws.
        asked: what was asked before.
    """

    def __init__(self, env: EvaluationBudget, rng: np.random.Generator) -> None:
        self.V, self.L, self.rng = env.vocabulary_size, env.length, rng
        self.asked: set[bytes] = set()
        self._env = env
        self._transitions = LearnedTransitions(self.V)
        self._transitions.update(env.initial_solution[None], np.array([True]))
        self._unknown = START
        self._weigh()

    def ask(self, sequences: Sequence[Tokens]) -> Floats:
        """Values (B,) of ``sequences``, -inf where infeasible. Raises Finished when it is over, also in the middle."""
        answers = np.empty(0)
        while len(answers) < len(sequences):  # repeats are free: what is cut off may still fit afterwards
            if self._env.done:
                raise Finished
            x = np.array(sequences[len(answers) : len(answers) + self._env.remaining])
            answers = np.append(answers, self._evaluated(x))
        if self._env.done:
            raise Finished
        return answers

    def refill(
        self, x: Tokens, free: Mask, tokens: Floats | None = None, change: Mask | None = None, safe: bool = False
    ) -> Tokens | None:
        """``x`` with its free positions drawn anew, or None where nothing fits.

        Args:
            x: (L,) tokens.
            free: (L,) what is drawn.
            tokens: (L, V) weights of the tokens; by default all alike.
            change: (L,) which of the free positions must not keep their token.
            safe: hardly ever use a transition that was never seen.
        """
        weights = np.ones((self.L, self.V)) if tokens is None else tokens.copy()
        if change is not None:
            weights[change, x[change]] = 0.0
        y = x.copy()
        transitions = self._safe if safe else self._exploring
        return y if refill(y, free, transitions, weights, self.rng.random(self.L)) else None

    def quiet(self, x: Tokens, keep: Mask) -> Tokens | None:
        """``x`` with one token, wherever the transitions allow it, at all positions but those to ``keep``.

        The token is drawn among those of which most transitions are known. Little happens by chance in such a sequence.
        """
        known = self._transitions.allowed.sum(axis=0) + self._transitions.allowed.sum(axis=1)
        filler = self.rng.choice(np.argsort(-known, kind="stable")[:FILLERS])
        tokens = np.full((self.L, self.V), RARE)
        tokens[:, filler] = 1.0
        return self.refill(x, ~keep, tokens, safe=True)

    def _evaluated(self, x: NDArray[np.uint8]) -> Floats:
        self.asked.update(row.tobytes() for row in x)
        values, feasible = self._env.evaluate(x)
        self._transitions.update(x, feasible)
        step = np.exp(STEP * len(x) * (feasible.mean() - FEASIBLE))
        self._unknown = float(np.clip(self._unknown * step, LEAST, 1.0))
        self._weigh()
        return values

    def _weigh(self) -> None:
        known = self._transitions
        self._exploring = np.where(known.allowed, 1.0, np.where(known.forbidden, 0.0, self._unknown))
        self._safe = np.where(known.allowed, 1.0, np.where(known.forbidden, 0.0, CAUTION))
