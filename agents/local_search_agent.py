"""Iterated local search: move to a better single edit while there is one, then kick and climb again.

The neighbours of a sequence are its single substitutions, up to L (V - 1). They are asked in random order, a batch at a
time, and the search moves to the best of a batch if that is an improvement: a batch of one is first improvement, a
batch as large as the neighbourhood is steepest ascent. Left out are neighbours that were asked before and those that
the answers so far prove infeasible.

An Ehrlich function is a staircase with wide steps, so a limited number of moves in a row may go to a neighbour of equal
value. Where there is no move left the search starts again from the best local optimum, the newest among equals, after
some random substitutions (Lourenço, Martin and Stützle, 2003). These use transitions proven allowed and no others, so
that each new climb starts from a feasible sequence, for one evaluation. A long kick is a restart from anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bioseq_gym import EvaluationBudget
from bioseq_gym.agent import Agent, setting
from bioseq_gym.agents.feasibility import LearnedTransitions

Tokens = NDArray[np.uint8]
RESTARTS = 100  # in a row that find nothing new to ask: then there is nothing left


@dataclass(frozen=True)
class Config:
    """Settings of local search."""

    batch_size: int = setting(5, "neighbours per call, the best of which is moved to", low=1)
    sideways: int = setting(100, "moves in a row to a neighbour of equal value", low=0)
    kick: int = setting(4, "random substitutions from a local optimum to the next start", low=1)


def run(env: EvaluationBudget, seed: int, config: Config) -> None:
    """Climb, kick, climb again, until the budget is spent."""
    search = Search(env, np.random.default_rng(seed), config)
    best, best_value = search.climb(env.initial_solution.astype(np.uint8), env.initial_value)
    idle = 0
    while not env.done and idle < RESTARTS:
        known = len(search.seen)
        start = search.kick(best)
        optimum, value = search.climb(start, search.ask(start[None])[0])
        if value >= best_value:
            best, best_value = optimum, value
        idle = idle + 1 if len(search.seen) == known else 0


class Search:
    """The moves of a search, and what it has learned so far.

    Attributes:
        seen: the sequences asked, as bytes.
        transitions: what their answers prove about the constraints.
    """

    def __init__(self, env: EvaluationBudget, rng: np.random.Generator, config: Config) -> None:
        self.env, self.rng, self.config = env, rng, config
        start = env.initial_solution[None].astype(np.uint8)
        self.seen = {start.tobytes()}
        self.transitions = LearnedTransitions(env.vocabulary_size)
        self.transitions.update(start, np.array([True]))

    def ask(self, x: Tokens) -> NDArray[np.float64]:
        """The values (B,) of ``x`` (B, L), which are learned from."""
        values, feasible = self.env.evaluate(x)
        self.seen.update(row.tobytes() for row in x)
        self.transitions.update(x, feasible)
        return values

    def climb(self, x: Tokens, value: float) -> tuple[Tokens, float]:
        """Move on from ``x`` (L,), feasible and of that value, while there is a move; the end (L,) and its value."""
        sideways = 0
        untried = np.ones((len(x), self.env.vocabulary_size), bool)
        while not self.env.done:
            edits = np.argwhere(single_edits(x, ~self.transitions.forbidden) & untried)
            if not len(edits):
                break
            count = min(self.config.batch_size, self.env.remaining, len(edits))
            positions, tokens = self.rng.choice(edits, count, replace=False).T
            untried[positions, tokens] = False
            neighbours = np.repeat(x[None], count, axis=0)
            neighbours[np.arange(count), positions] = tokens
            neighbours = neighbours[[row.tobytes() not in self.seen for row in neighbours]]
            if not len(neighbours):
                continue
            values = self.ask(neighbours)
            best = values.argmax()
            if values[best] > value or (values[best] == value and sideways < self.config.sideways):
                sideways = 0 if values[best] > value else sideways + 1
                x, value = neighbours[best], values[best]
                untried[:] = True
        return x, value

    def kick(self, x: Tokens) -> Tokens:
        """``x`` (L,) after random substitutions that use transitions proven allowed and no others."""
        x = x.copy()
        for _ in range(self.config.kick):
            edits = np.argwhere(single_edits(x, self.transitions.allowed))
            if len(edits):
                position, token = self.rng.choice(edits)
                x[position] = token
        return x


def single_edits(x: Tokens, allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(L, V) where a token is another than in ``x`` (L,), and ``allowed``, (V, V), beside its neighbours."""
    edits = np.ones((len(x), len(allowed)), bool)
    edits[1:] &= allowed[x[:-1]]  # from the token before
    edits[:-1] &= allowed.T[x[1:]]  # to the token behind
    edits[np.arange(len(x)), x] = False
    return edits


AGENT = Agent("local-search", run, Config())

if __name__ == "__main__":
    AGENT.main()
