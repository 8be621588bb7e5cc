"""The parts of LLOME: objectives, policy, pairs, training, proposals. The agent itself is ``agents/llome_agent.py``."""

from bioseq_gym.agents.llome.objectives import MargeLoss, dpo_loss, marge_loss, sft_loss

__all__ = ["MargeLoss", "dpo_loss", "marge_loss", "sft_loss"]
