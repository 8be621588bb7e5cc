"""Gymnasium environments, registered when bioseq_gym is imported."""

from __future__ import annotations

import gymnasium


def register_environments() -> None:
    """Register every environment of bioseq_gym with Gymnasium."""
    gymnasium.register(id="Ehrlich-v0", entry_point="bioseq_gym.envs.ehrlich:EhrlichEnv")
