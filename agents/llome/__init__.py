"""The parts of LLOME: objectives, policy, pairs, training, proposals. The agent itself is ``agents/llome_agent.py``."""
