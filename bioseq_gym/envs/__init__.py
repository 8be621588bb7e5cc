"""Gymnasium environments, registered when bioseq_gym is imported."""

from __future__ import annotations

import gymnasium

_ENVIRONMENTS = {
    "Ehrlich-v0": ("ehrlich:EhrlichEnv", "vector:EhrlichVectorEnv"),
    "EhrlichBuild-v0": ("build:EhrlichBuildEnv", "vector:EhrlichBuildVectorEnv"),
    "EhrlichPropose-v0": ("propose:EhrlichProposeEnv", "vector:EhrlichProposeVectorEnv"),
}

ENVIRONMENTS = tuple(_ENVIRONMENTS)
"""The ids of the environments."""


def register_environments() -> None:
    """Register every environment of bioseq_gym with Gymnasium."""
    for name, (single, vector) in _ENVIRONMENTS.items():
        gymnasium.register(
            id=name, entry_point=f"bioseq_gym.envs.{single}", vector_entry_point=f"bioseq_gym.envs.{vector}"
        )
