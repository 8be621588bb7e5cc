"""What the networks see of a sequence."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

EMBEDDING = 16


class TokenFeatures(BaseFeaturesExtractor):
    """Learned token embeddings, side by side, in a dense layer that sees all positions.

    Args:
        observation_space: (L,) integers from 0 up.
        width: of the dense layer, and of the result.
    """

    def __init__(self, observation_space: spaces.Box, width: int) -> None:
        super().__init__(observation_space, width)
        (L,) = observation_space.shape
        self.embed = nn.Embedding(int(observation_space.high.max()) + 1, EMBEDDING)
        self.dense = nn.Linear(L * EMBEDDING, width)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """(B, L) tokens, as floats since SB3 makes them so, to (B, width)."""
        x = self.embed(observations.long())  # (B, L, EMBEDDING)
        return torch.relu(self.dense(x.flatten(1)))


def token_policy(width: int, **networks: Any) -> dict[str, Any]:
    """The ``policy_kwargs`` of SB3 for :class:`TokenFeatures` of that width; ``networks`` are its own settings."""
    return {
        "features_extractor_class": TokenFeatures,
        "features_extractor_kwargs": {"width": width},
        **networks,
    }
