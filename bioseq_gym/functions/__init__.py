"""What is scored: definitions, their generator, the compiled kernel and its slow reference. Arrays in, arrays out."""

from bioseq_gym.functions.ehrlich import Ehrlich
from bioseq_gym.functions.spec import EhrlichSpec

__all__ = ["Ehrlich", "EhrlichSpec"]
