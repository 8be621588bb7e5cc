"""How an agent of reinforcement learning spends a budget: reproducibly, and no step longer than there is one."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback

from bioseq_gym import VectorEvaluationBudget
from bioseq_gym.agents.determinism import own_generators, threads
from bioseq_gym.errors import InvalidConfig

logger = logging.getLogger("bioseq_gym.agents.rl")

ENDLESS = 2**40
"""Steps to learn for: it is :class:`UntilSpent` that ends learning."""

DEVICES = ("cpu", "cuda", "auto")
FRESH = 100  # one in so many rows asked must be new


class UntilSpent(BaseCallback):
    """Ends learning once the budget is spent or the optimum is found; and when the policy only repeats itself.

    Repeats are answered free, so that a policy which always does the same would go on for ever: of every ``patience``
    rows asked, one in a hundred must be new.
    """

    def __init__(self, envs: VectorEvaluationBudget, patience: int) -> None:
        super().__init__()
        self._envs = envs
        self._patience = patience
        self._asked, self._position = envs.ledger.asked, envs.ledger.position
        self._report_at = envs.remaining

    def _on_step(self) -> bool:
        """False ends learning at once: what the step brought is not learned from."""
        ledger = self._envs.ledger
        if self._envs.done or any("budget_exhausted" in info for info in self.locals["infos"]):
            return False
        if ledger.asked - self._asked < self._patience:
            return True
        new = ledger.position - self._position
        self._asked, self._position = ledger.asked, ledger.position
        if FRESH * new < self._patience:
            logger.info("gave up: %d of the last %d sequences were new", new, self._patience)
            return False
        return True

    def _on_rollout_end(self) -> None:
        """Twenty lines in a run."""
        remaining, episodes = self._envs.remaining, self.model.ep_info_buffer
        if remaining > self._report_at or not episodes:
            return
        self._report_at = remaining - (remaining + self._envs.ledger.position) // 20
        mean = np.mean([episode["r"] for episode in episodes])
        logger.info("%d steps, mean return of the last %d episodes %.4f", self.num_timesteps, len(episodes), mean)


@contextmanager
def reproducible(agent: str, device: str) -> Iterator[None]:
    """Let SB3, which draws from the global generators, seed and move them, and put them back as they were.

    Torch uses one thread and deterministic algorithms: sums, and so the ledger, then do not depend on the number of
    cores. They still depend on the kind of processor.

    Raises:
        InvalidConfig: there is no such device.
    """
    if device not in DEVICES or (device == "cuda" and not torch.cuda.is_available()):
        raise InvalidConfig(
            f"--device of {agent} is {device!r}; give one of {', '.join(DEVICES)} that this machine has"
        )
    if device != "cpu":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS is not deterministic
    deterministic = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        with threads(1), own_generators(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="You are trying to run")  # a small network on a GPU: as asked
            yield
    finally:
        torch.use_deterministic_algorithms(deterministic)


def short_seed(seed: int) -> int:
    """A seed of 32 bits, all that SB3 takes, that differs from seed to seed."""
    return int(np.random.SeedSequence(seed).generate_state(1)[0])
