"""Baselines: each file is one agent, readable alone, and a program (``python agents/genetic_agent.py --help``)."""
