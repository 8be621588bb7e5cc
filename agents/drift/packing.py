"""Known motifs in new places: every design tests random tokens around another packing of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bioseq_gym.agents.drift.family import Family
from bioseq_gym.agents.drift.laboratory import Laboratory, Mask, Tokens
from bioseq_gym.agents.drift.motifs import EQUAL, Motif, distil, shares

PACKINGS = 20  # tried for a design
NEW = 2  # elements, at most, that a gain is put down to


@dataclass(frozen=True)
class Design:
    """A sequence made of motifs.

    Attributes:
        x: (L,) tokens.
        motifs: of the family, in its order, where they stand in ``x``.
        missing: the position of an element that was left out and its token; None if the design is whole.
    """

    x: Tokens
    motifs: list[Motif]
    missing: tuple[int, int] | None = None

    @property
    def placed(self) -> Mask:
        """(L,) the positions of the elements that are there."""
        mask = np.zeros(len(self.x), bool)
        mask[np.concatenate([motif.positions for motif in self.motifs])] = True
        if self.missing is not None:
            mask[self.missing[0]] = False
        return mask


def design(lab: Laboratory, x: Tokens, motifs: list[Motif], without: int | None = None) -> Design | None:
    """A random packing of the motifs of ``x`` with random tokens between, or None if none was found.

    Args:
        lab: what draws.
        x: (L,) where the motifs are.
        motifs: at least one.
        without: the index of a motif of which one random element is left out.
    """
    for _ in range(PACKINGS):
        if (packed := _packed(lab, x, motifs)) is None:
            continue
        y, placed = packed
        found = Design(y, placed)
        change = np.zeros(lab.L, bool)
        if without is not None:
            i = int(lab.rng.choice(placed[without].positions))
            found = replace(found, missing=(i, int(y[i])))
            change[i] = True
        if (filled := lab.refill(y, ~found.placed, change=change)) is not None:
            return replace(found, x=filled)
    return None


def _packed(lab: Laboratory, x: Tokens, motifs: list[Motif]) -> tuple[Tokens, list[Motif]] | None:
    """The motifs at random places, in a random order; two may have a position in common where their tokens agree."""
    y, taken = np.zeros_like(x), np.zeros(lab.L, bool)
    placed = list(motifs)
    for n in lab.rng.permutation(len(motifs)):
        source = motifs[n].positions
        for shift in lab.rng.permutation(np.arange(-source[0], lab.L - source[-1])):
            target = source + shift
            if not (taken[target] & (y[target] != x[source])).any():
                y[target], taken[target] = x[source], True
                placed[n] = replace(motifs[n], positions=target)
                break
        else:
            return None
    return y, placed


def promoted(lab: Laboratory, found: Design, value: float) -> Family:
    """The family of a design with a better ``value``: what made it better, and to which motif it belongs."""
    x, needed = distil(lab, found.x, found.placed, value)
    new = np.flatnonzero(needed & ~found.placed)
    motifs = None
    if found.missing is None and 0 < len(new) <= NEW:
        first = shares(lab, x, ~needed, value, [[int(motif.positions[0])] for motif in found.motifs])
        before = [1.0 if motif.spare else motif.share for motif in found.motifs]
        gained = [n for n, (a, b) in enumerate(zip(first, before, strict=True)) if abs(a - b) > EQUAL]
        if len(gained) == 1:
            motifs = list(found.motifs)
            positions = np.sort([*motifs[gained[0]].positions, *new])
            motifs[gained[0]] = Motif(positions, float(first[gained[0]]))
    return Family.distilled(x, value, needed, lab.V, motifs)


def with_spare(lab: Laboratory, found: Design, value: float) -> Family | None:
    """The family of a design that keeps the ``value`` although an element is missing, with that element put back.

    One token made up for it: the motif has one element more than counts, which a value in steps does not show. None if
    more than one did: that is a second copy of the motif, and no step.
    """
    assert found.missing is not None
    i, token = found.missing
    _, needed = distil(lab, found.x, found.placed, value)
    new = np.flatnonzero(needed & ~found.placed)
    if len(new) != 1 or new[0] == i:
        return None
    y = found.x.copy()
    y[i], needed[i] = token, True
    x = lab.quiet(y, needed)
    if x is None or lab.ask([x])[0] != value:
        return None
    motifs = [
        replace(motif, positions=np.sort([*motif.positions, new[0]]), spare=True) if i in motif.positions else motif
        for motif in found.motifs
    ]
    return Family.distilled(x, value, needed, lab.V, motifs)
