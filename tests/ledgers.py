"""A small function, its rows, and ledgers of it, for the tests of the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from bioseq_gym import (
    Ehrlich,
    EhrlichSpec,
    EvaluationBudget,
    Ledger,
    LedgerRepaired,
)

SIZES: dict[str, Any] = {"V": 6, "L": 8, "c": 2, "k": 2}
SPEC = EhrlichSpec.from_seed(**SIZES)
FUNCTION = Ehrlich(SPEC)
HEADER, RECORD = 64, 8 + 24
ROWS = np.random.default_rng(0).integers(0, 6, (60, 8))
ROWS[::2] = FUNCTION.optimal_solution()
ROWS[np.arange(0, 60, 2), np.arange(30) % 8] = np.arange(30) // 8  # near the optimum, so that values differ


def budgeted(path: Path | Ledger | None = None, budget: int = 100) -> EvaluationBudget:
    return EvaluationBudget(gymnasium.make("Ehrlich-v0", **SIZES), budget, path)


def opened(path: Path) -> Ledger:
    return Ledger(SPEC.digest, 6, 8, path)


def written(path: Path, *batches: Any) -> bytes:
    env = budgeted(path)
    for batch in batches:
        env.evaluate(batch)
    env.close()
    return path.read_bytes()


@contextmanager
def expected_repair(repair: bool) -> Iterator[None]:
    if repair:
        with pytest.warns(LedgerRepaired, match="half-written record, dropped"):
            yield
    else:
        yield


def walker(env: EvaluationBudget, seed: int = 0) -> list[tuple[Any, ...]]:
    """A deterministic agent that steps."""
    rng = np.random.default_rng(seed)
    env.reset(seed=seed)
    seen: list[tuple[Any, ...]] = []
    while env.remaining:
        observation, reward, terminated, truncated, info = env.step(rng.integers(0, [8, 6]))
        seen.append((observation.tolist(), reward, info, env.remaining, env.ledger.asked, env.ledger.repeats))
        if terminated or truncated:
            env.reset()
    return seen
