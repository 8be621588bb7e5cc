"""A family of neutral relatives: sequences of one value, and what is known of the positions that carry it."""

from __future__ import annotations

import numpy as np

from bioseq_gym.agents.drift.laboratory import Floats, Laboratory, Mask, Tokens
from bioseq_gym.agents.drift.motifs import Motif

KEPT = 0.1  # what the odds of a position are multiplied by when it changes and the value stays
CRITICAL, CLEAR = 0.999, 0.01  # probabilities where tests have shown that a position is critical, or is not
JITTER = (0.6, 1.6)  # of the predicted chance of keeping the value
MEMBERS = 10


class Family:
    """Sequences of one value, each made from another by changes that kept it.

    Attributes:
        members: the newest of them, (L,) each.
        value: of all of them.
        critical: (L,) the probability that the value falls when the position changes.
        tried: (L, V) how often each token was tried at each position.
        tests: answers to children since the family was founded.
        motifs: of the newest member, once they are known.
        record: of the designs that were made of the motifs.
    """

    def __init__(self, x: Tokens, value: float, critical: Floats, V: int, motifs: list[Motif] | None = None) -> None:
        self.members = [x]
        self.value = value
        self.critical = critical
        self.tried = np.zeros((len(x), V))
        self.tests = 0
        self.motifs = motifs
        self.record = Record()

    @classmethod
    def distilled(cls, x: Tokens, value: float, needed: Mask, V: int, motifs: list[Motif] | None = None) -> Family:
        """A family of which it is known which positions it needs, (L,)."""
        return cls(x, value, np.where(needed, CRITICAL, CLEAR), V, motifs)

    @property
    def x(self) -> Tokens:
        """The newest member."""
        return self.members[-1]

    @property
    def spares(self) -> int:
        """Motifs that hold an element more than counts: a step that the value does not show."""
        return sum(motif.spare for motif in self.motifs or [])

    def child(self, lab: Laboratory, keep: float, critical: Floats) -> tuple[Tokens, Tokens] | None:
        """A member, and a sequence made of it that keeps the value with a chance of about ``keep``.

        The positions that are the least ``critical``, (L,), are drawn anew, with tokens that were seldom tried there
        before others.
        """
        parent = self.members[lab.rng.integers(len(self.members))]
        order = np.argsort(critical + 1e-6 * lab.rng.random(lab.L))
        chance = np.cumprod(1.0 - critical[order])
        free = np.zeros(lab.L, bool)
        free[order[: max(1, int((chance > keep * lab.rng.uniform(*JITTER)).sum()))]] = True
        x = lab.refill(parent, free, 1.0 / (1.0 + self.tried))
        return None if x is None else (parent, x)

    def learn(self, x: Tokens, changed: Mask, value: float) -> None:
        """Take in the value of a child that is feasible and no better than the family."""
        self.tests += 1
        self.tried[changed, x[changed]] += 1.0
        p = self.critical[changed]
        if value == self.value:
            self.critical[changed] = KEPT * p / (1.0 - p + KEPT * p)
            self.members = [*self.members[1 - MEMBERS :], x]
        else:  # Bayes' rule: a child in which a critical position changed was certain to fail
            self.critical[changed] = np.minimum(CRITICAL, p / max(1e-9, 1.0 - np.prod(1.0 - p)))

    def forget(self, prior: float) -> None:
        """Take every position for critical with the probability ``prior`` again."""
        self.critical = np.full(len(self.critical), prior)

    def heir(self, x: Tokens, changed: Mask, value: float) -> Family:
        """The family of a child that is better, by one or two of the positions that changed."""
        critical = self.critical.copy()
        critical[changed] = np.maximum(critical[changed], min(0.5, 1.5 / max(1, changed.sum())))
        return Family(x, value, critical, self.tried.shape[1])


class Record:
    """How a family's designs did.

    Attributes:
        made: all of them.
        passed, failed: how many whole ones kept the value, and how many lost it.
        hunts: how many were made without one element.
        kept: the last whole one that kept the value, and the positions of its motifs.
    """

    def __init__(self) -> None:
        self.made = self.passed = self.failed = self.hunts = 0
        self.kept: tuple[Tokens, Mask] | None = None

    def add(self, x: Tokens, placed: Mask, hunting: bool, value: float, before: float) -> None:
        """Note a design of that ``value``, which had the value ``before`` where its motifs come from."""
        self.made += 1
        self.hunts += hunting
        if hunting or value == -np.inf:
            return
        if value >= before:
            self.passed, self.kept = self.passed + 1, (x, placed)
        else:
            self.failed += 1
