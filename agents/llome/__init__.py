"""The parts of LLOME: objectives, policy, pairs, training, proposals. The agent itself is ``agents/llome_agent.py``."""

from bioseq_gym.agents.llome.objectives import dpo_loss, marge_loss, sft_loss

__all__ = ["dpo_loss", "marge_loss", "sft_loss"]
