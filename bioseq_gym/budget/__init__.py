"""The ledger (what was asked and answered) and the budget that all agents share."""

from bioseq_gym.budget.ledger import Ledger
from bioseq_gym.budget.wrapper import EvaluationBudget, VectorEvaluationBudget

AnyBudget = EvaluationBudget | VectorEvaluationBudget

__all__ = ["AnyBudget", "EvaluationBudget", "Ledger", "VectorEvaluationBudget"]
