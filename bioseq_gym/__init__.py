"""bioseq_gym: black-box optimization of biological sequences, as a benchmark suite.

Importing it registers the Gymnasium environments, so that ``gymnasium.make("Ehrlich-v0", L=128)`` works.
"""

from bioseq_gym.budget import EvaluationBudget, Ledger, VectorEvaluationBudget
from bioseq_gym.envs import register_environments
from bioseq_gym.errors import (
    BioseqGymError,
    BudgetExhausted,
    InvalidBudget,
    InvalidConfig,
    InvalidLedger,
    InvalidRun,
    InvalidSequence,
    InvalidSpec,
    InvalidSubmission,
    LedgerRepaired,
    MissingDependency,
    UnknownName,
)
from bioseq_gym.functions import Ehrlich, EhrlichSpec
from bioseq_gym.suite import Suite, Task, load_suite, load_task, suite_names, task_names

__version__ = "0.1.0"

__all__ = [
    "BioseqGymError",
    "BudgetExhausted",
    "Ehrlich",
    "EhrlichSpec",
    "EvaluationBudget",
    "InvalidBudget",
    "InvalidConfig",
    "InvalidLedger",
    "InvalidRun",
    "InvalidSequence",
    "InvalidSpec",
    "InvalidSubmission",
    "Ledger",
    "LedgerRepaired",
    "MissingDependency",
    "Suite",
    "Task",
    "UnknownName",
    "VectorEvaluationBudget",
    "load_suite",
    "load_task",
    "suite_names",
    "task_names",
]

register_environments()
