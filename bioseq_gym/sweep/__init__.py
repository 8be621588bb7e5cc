"""A sweep: every agent on every task with every seed, in parallel, on this machine or on a Ray cluster."""

from bioseq_gym.sweep.cells import Cell, Outcome, make_cells, run_cell
from bioseq_gym.sweep.run import sweep

__all__ = ["Cell", "Outcome", "make_cells", "run_cell", "sweep"]
