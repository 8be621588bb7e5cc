"""What the model learns from: every test so far, and what the families came to believe."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bioseq_gym.agents.drift.family import Family
from bioseq_gym.agents.drift.laboratory import Floats, Mask, Positions, Tokens
from bioseq_gym.agents.llome_best.network import Network, noisy_or_loss

RECENT = 400  # newest ones, of which half of a batch is drawn
LIMIT = 6.0  # of log-odds


def log_odds(p: Floats) -> Floats:
    """Log-odds of probabilities, between -LIMIT and LIMIT."""
    p = np.clip(p, 1e-6, 1.0 - 1e-6)
    return np.clip(np.log(p / (1.0 - p)), -LIMIT, LIMIT)


class Trainer:
    """A network, its optimizer, and what it is trained on.

    Args:
        network: untrained.
        rng: of the draws.
        steps: of a round.
        minibatch: tests per step, and as many beliefs.
        learning_rate: of AdamW.
        distil: weight of the beliefs beside the tests.
    """

    def __init__(
        self,
        network: Network,
        rng: np.random.Generator,
        *,
        steps: int,
        minibatch: int,
        learning_rate: float,
        distil: float,
    ) -> None:
        self._network, self._rng = network, rng
        self._steps, self._minibatch, self._distil = steps, minibatch, distil
        self._optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate)
        self._tests: list[tuple[Tokens, Floats, Mask, bool]] = []
        self._watched: list[tuple[Tokens, Floats, Family]] = []

    def add(self, parent: Tokens, odds: Floats, changed: Mask, passed: bool) -> None:
        """Note whether a child kept the value of a parent, whose family believed in these log-odds, (L,)."""
        self._tests.append((parent, odds, changed, passed))

    def watch(self, family: Family) -> None:
        """Note what a family believes now, to be held against what it will."""
        self._watched.append((family.x, log_odds(family.critical), family))

    def train(self) -> None:
        """A round."""
        for _ in range(self._steps):
            loss = self._loss_of_tests()
            if self._distil > 0.0 and self._watched:
                loss = loss + self._distil * self._loss_of_beliefs()
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()

    @torch.no_grad()
    def predict(self, sequences: Sequence[Tokens], odds: Sequence[Floats]) -> Floats:
        """(n, L) log-odds that each position of n sequences is critical, from those of their families."""
        logits: NDArray[np.float32] = self._network(_tokens(sequences), _floats(odds)).numpy()
        return logits.astype(np.float64)

    def _loss_of_tests(self) -> Tensor:
        parents, odds, changed, passed = zip(*(self._tests[n] for n in self._drawn(len(self._tests))), strict=True)
        logits = self._network(_tokens(parents), _floats(odds))
        return noisy_or_loss(logits, torch.from_numpy(np.array(changed)), torch.tensor(passed))

    def _loss_of_beliefs(self) -> Tensor:
        """Cross-entropy to what the families believe now, a sum over positions."""
        x, odds, families = zip(*(self._watched[n] for n in self._drawn(len(self._watched))), strict=True)
        logits = self._network(_tokens(x), _floats(odds))
        beliefs = _floats([family.critical for family in families])
        return functional.binary_cross_entropy_with_logits(logits, beliefs, reduction="sum") / len(x)

    def _drawn(self, n: int) -> Positions:
        """A minibatch out of n, half of it out of the newest."""
        half = self._minibatch // 2
        return np.concatenate([self._rng.integers(max(0, n - RECENT), n, half), self._rng.integers(n, size=half)])


def _tokens(sequences: Sequence[Tokens]) -> Tensor:
    return torch.from_numpy(np.array(sequences, np.int64))


def _floats(rows: Sequence[Floats]) -> Tensor:
    return torch.from_numpy(np.array(rows, np.float32))
