"""The parts of LLOME: objectives, policy, training pairs. The agent itself is ``agents/llome_agent.py``."""

from bioseq_gym.agents.llome.objectives import MargeLoss, marge_loss, sft_loss

__all__ = ["MargeLoss", "marge_loss", "sft_loss"]
