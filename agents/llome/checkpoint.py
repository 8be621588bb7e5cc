"""The state of LLOME after a round, in one file beside the ledger, so that a run that was killed goes on from there."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from bioseq_gym import EvaluationBudget
from bioseq_gym.agents.llome.policy import Policy

_GENERATOR = "torch_generator"


@dataclass
class State:
    """What a round hands on to the next one, but for the model and what the ledger holds.

    Attributes:
        rng: of pairs and selection.
        generator: of the model's writing.
        ends: evaluations at the end of each round, round 0 first.
        distance: mean Hamming distance of the last round's edits, as a share of L; None before the first.
        trained: whether the model has learned from pairs.
    """

    rng: np.random.Generator
    generator: torch.Generator
    ends: list[int]
    distance: float | None = None
    trained: bool = False

    @classmethod
    def new(cls, seed: int) -> State:
        """The state at the start of a run."""
        return cls(np.random.default_rng(seed), torch.Generator().manual_seed(seed), [])


def save(path: Path, state: State, policy: Policy, env: EvaluationBudget) -> None:
    """Write the file, all or nothing."""
    ledger = env.ledger
    facts = {
        "rng": state.rng.bit_generator.state,
        "ends": state.ends,
        "distance": state.distance,
        "trained": state.trained,
        "position": ledger.position,
        "asked": ledger.asked,
        "calls": ledger.calls,
    }
    tensors = {**policy.state(), _GENERATOR: state.generator.get_state()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    save_file(tensors, temporary, metadata={"state": json.dumps(facts)})
    os.replace(temporary, path)


def load(path: Path, policy: Policy, env: EvaluationBudget) -> State:
    """Put the model and the ledger's position where they were when the file was written."""
    with safe_open(path, framework="pt") as file:
        facts: dict[str, Any] = json.loads(file.metadata()["state"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    generator = torch.Generator()
    generator.set_state(tensors.pop(_GENERATOR))
    policy.load_state(tensors)
    rng = np.random.default_rng()
    rng.bit_generator.state = facts["rng"]
    env.ledger.skip_to(facts["position"], facts["asked"], facts["calls"])
    return State(rng, generator, facts["ends"], facts["distance"], facts["trained"])
