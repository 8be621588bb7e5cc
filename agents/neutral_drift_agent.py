"""Neutral drift: our specialist, which knows what kind of function it faces and nothing of the function.

It takes for granted that a value is a product over motifs, each of which counts wherever it stands, in steps, and that
some transitions are forbidden. A child of a genetic algorithm tests one new token or two. A child that keeps the
positions on which the value hangs, and draws all others anew, tests them all at once.

1. While the value is 0, draw whole sequences.
2. *Drift.* A family of neutral relatives learns which positions are critical: a child frees as many positions as leave
   it an even chance of keeping the value. They are drawn by the transitions learned so far, see ``drift/refill.py``.
3. *Survey.* When drifting brings nothing more, find the positions that are needed when all others are quiet, and which
   of them make up a motif, see ``drift/motifs.py``.
4. *Pack.* Put the known motifs in random new places, with random tokens between, so that none blocks another's missing
   element; when the value rises, find the new element and its motif, see ``drift/packing.py``.
5. *Hunt.* Where several elements are one step, leave one out: when the value stays, a token made up for it, which is
   an element that the value alone does not show.

Drifting is neutral evolution (Kimura) as a search, and a survey is group testing (Dorfman).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from bioseq_gym import EvaluationBudget
from bioseq_gym.agent import Agent, setting
from bioseq_gym.agents.drift.family import CRITICAL, Family, Record
from bioseq_gym.agents.drift.laboratory import Finished, Floats, Laboratory, Tokens
from bioseq_gym.agents.drift.motifs import Motif, distil, survey
from bioseq_gym.agents.drift.packing import Design, design, promoted, with_spare

Drawn = TypeVar("Drawn")

ATTEMPTS = 50  # per child, to find one that is new
CERTAIN = 0.9  # drift's word is taken for a critical position from this probability on
UNSEEN = 4.0  # positions that an incomplete set of motifs is expected to lack
ENOUGH = 20  # designs that show whether the motifs are right
RIGHT, COMPLETE = 0.3, 0.7  # shares of designs that keep the value: below, motifs are wrong, or one is not known


@dataclass(frozen=True)
class Config:
    """Settings of neutral drift."""

    batch_size: int = setting(20, "children per call", low=1)
    families: int = setting(10, "families that are kept", low=1)
    prior: float = setting(0.3, "probability that a position is critical before any test", low=0.01, high=0.99)
    keep: float = setting(0.5, "predicted chance that a child keeps its family's value", low=0.01, high=0.99)
    patience: int = setting(100, "tests of a family without a gain before its motifs are looked for", low=1)
    designs: int = setting(400, "designs without a gain before the family drifts again", low=1)
    hunt: float = setting(0.5, "share of designs without an element, while hunting", low=0.0, high=1.0)
    hunts: int = setting(100, "of them in a family without a gain", low=0)


def run(env: EvaluationBudget, seed: int, config: Config) -> None:
    """Drift, survey and pack until the budget is spent or the optimum found."""
    lab = Laboratory(env, np.random.default_rng(seed))
    start = env.initial_solution.astype(np.uint8)
    with suppress(Finished):
        Search(lab, config).run(Family(start, env.initial_value, np.full(lab.L, config.prior), lab.V))


class Search:
    """The five steps."""

    def __init__(self, lab: Laboratory, config: Config) -> None:
        self._lab, self._config = lab, config

    def run(self, start: Family) -> None:
        """Improve on ``start`` until Finished is raised."""
        families = [start]
        while True:
            best = families[0]
            if best.value <= 0.0:
                found = self._draw(best)
            elif best.motifs is not None:
                found = self._pack(best, best.motifs)
            elif best.tests < self._config.patience:
                found = self._drift([f for f in families if f.value == best.value and f.motifs is None])
            else:
                found = [self._surveyed(best)]
                families.remove(best)
            families = sorted(found + families, key=lambda f: (-f.value, -f.spares))[: self._config.families]

    def _draw(self, family: Family) -> list[Family]:
        everywhere = np.ones(self._lab.L, bool)
        drawn = self._new(lambda: self._lab.refill(family.x, everywhere), lambda x: x)
        values = self._lab.ask(drawn)
        return [self._founded(x, value) for x, value in zip(drawn, values, strict=True) if value > max(0, family.value)]

    def _founded(self, x: Tokens, value: float) -> Family:
        return Family(x, value, np.full(self._lab.L, self._config.prior), self._lab.V)

    def _drift(self, families: list[Family]) -> list[Family]:
        critical = self._beliefs(families)

        def child() -> tuple[Family, Tokens, Tokens] | None:
            n = self._lab.rng.integers(len(families))
            drawn = families[n].child(self._lab, self._config.keep, critical[n])
            return None if drawn is None else (families[n], *drawn)

        children = self._new(child, lambda drawn: drawn[2], may_fail=True)
        if not children:  # what was learned leaves nothing to try
            for family in families:
                family.forget(self._config.prior)
            return self._draw(families[0])
        values = self._lab.ask([x for _, _, x in children])
        found = []
        for (family, parent, x), value in zip(children, values, strict=True):
            if value > -np.inf:
                self._tested(family, parent, x, value)
            if value > family.value:
                found.append(family.heir(x, x != parent, value))
            elif value > -np.inf:
                family.learn(x, x != parent, value)
        return found

    def _beliefs(self, families: list[Family]) -> list[Floats]:
        """By which probabilities, (L,), that a position is critical each family makes children."""
        return [family.critical for family in families]

    def _tested(self, family: Family, parent: Tokens, x: Tokens, value: float) -> None:
        """Before a family learns from a feasible child: for those who learn on their own."""

    def _surveyed(self, family: Family) -> Family:
        x, needed = distil(self._lab, family.x, family.critical > CERTAIN, family.value)
        motifs = survey(self._lab, x, needed, family.value)
        return Family.distilled(x, family.value, needed, self._lab.V, motifs or None)

    def _pack(self, family: Family, motifs: list[Motif]) -> list[Family]:
        hunted = self._worth_hunting(family.record, motifs)

        def draw() -> Design | None:
            without = None
            if hunted and self._lab.rng.random() < self._config.hunt:
                without = int(self._lab.rng.choice(hunted))
            return design(self._lab, family.x, motifs, without)

        designs = self._new(draw, lambda drawn: drawn.x, may_fail=True)
        found: list[Family] = []
        for drawn, value in zip(designs, self._lab.ask([drawn.x for drawn in designs]), strict=True):
            family.record.add(drawn.x, drawn.placed, drawn.missing is not None, value, family.value)
            if value > family.value:
                better = promoted(self._lab, drawn, value)
                found.append(self._surveyed(better) if better.motifs is None else better)
            elif value == family.value and drawn.missing is not None and not found:
                found += filter(None, [with_spare(self._lab, drawn, value)])
        return found or self._doubted(family, certainly=not designs)

    def _worth_hunting(self, record: Record, motifs: list[Motif]) -> list[int]:
        """The motifs worth an attempt: of those without a hidden element, the ones that lose most without a known one.

        None while the shares show that each element counts, which a half or nothing does not; later on all the same.
        """
        plain = [n for n, motif in enumerate(motifs) if not motif.spare]
        coarse = all(motif.share in (0.0, 0.5) for motif in motifs)
        worth_it = coarse or record.made > self._config.designs // 2
        if not plain or not worth_it or record.hunts >= self._config.hunts:
            return []
        least = min(motifs[n].share for n in plain)
        return [n for n in plain if motifs[n].share == least]

    def _doubted(self, family: Family, certainly: bool) -> list[Family]:
        """Send a family back to drifting if its designs fail, or bring nothing more.

        If only some keep the value, there is a motif that random tokens hold as well; one that kept it goes on.
        """
        record = family.record
        whole = record.passed + record.failed
        wrong = whole >= ENOUGH and record.passed < RIGHT * whole
        if not (wrong or certainly or record.made > self._config.designs):
            return []
        family.motifs, family.tests, family.record = None, 0, Record()
        if record.kept is None or record.passed >= COMPLETE * whole:
            return []
        x, placed = record.kept
        unseen = min(self._config.prior, UNSEEN / max(1, (~placed).sum()))
        return [Family(x, family.value, np.where(placed, CRITICAL, unseen), self._lab.V)]

    def _new(
        self, draw: Callable[[], Drawn | None], tokens: Callable[[Drawn], Tokens], may_fail: bool = False
    ) -> list[Drawn]:
        """A batch of what ``draw`` gives, of which nothing was asked before."""
        batch: dict[bytes, Drawn] = {}
        for _ in range(ATTEMPTS * self._config.batch_size):
            drawn = draw()
            if drawn is not None and (key := tokens(drawn).tobytes()) not in self._lab.asked:
                batch.setdefault(key, drawn)
            if len(batch) == self._config.batch_size:
                break
        if not batch and not may_fail:
            raise Finished
        return list(batch.values())


AGENT = Agent("neutral-drift", run, Config(), {"by-5": Config(batch_size=5)})

if __name__ == "__main__":
    AGENT.main()
