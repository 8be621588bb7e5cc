"""Which positions make up a motif: found by leaving them out, alone and in pairs, and by copying them elsewhere.

The value is a product over motifs, so positions of different motifs act independently: leaving out both keeps the
product of the shares that leaving out each keeps. Positions of one motif don't. And a motif counts wherever it stands:
a copy of all of it makes up for any position of the first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations

import numpy as np

from bioseq_gym.agents.drift.laboratory import Floats, Laboratory, Mask, Positions, Tokens

TRIALS = 3  # to find a feasible test
CHECKS = 2  # repeats of a test that may have passed by chance
SHARED = 40  # tests, at most, of which other positions belong to a motif too
ROOM = 2  # positions on each side that may change to let another token in
EQUAL = 1e-6


@dataclass(frozen=True)
class Motif:
    """Positions that count together.

    Attributes:
        positions: (n,) sorted.
        share: what is left of the value, as a share of it, without one of them.
        spare: whether it holds an element more than counts, so that one may be left out without a loss.
    """

    positions: Positions
    share: float
    spare: bool = False


def distil(lab: Laboratory, x: Tokens, needed: Mask, value: float) -> tuple[Tokens, Mask]:
    """Find the positions on which a value hangs, by making ever smaller parts of the others quiet.

    Args:
        lab: what asks.
        x: (L,) a sequence.
        needed: (L,) positions that are known to be needed.
        value: of ``x``.

    Returns:
        ``x`` with all other positions quiet, or as it was where that was not feasible; and (L,) what is needed.
    """
    keep = np.ones(lab.L, bool)

    def without(part: Positions) -> Mask:
        mask = keep.copy()
        mask[part] = False
        return mask

    def dispensable(parts: list[Positions]) -> list[Positions]:
        """Those of the parts without each of which the value stays."""
        tests = [(part, y) for part in parts if (y := lab.quiet(x, without(part))) is not None]
        values = lab.ask([y for _, y in tests])
        return [part for (part, _), answer in zip(tests, values, strict=True) if answer >= value]

    def surely_dispensable(part: Positions) -> bool:
        return len(dispensable([part] * CHECKS)) == CHECKS

    size = lab.L
    while size:
        open_positions = np.flatnonzero(keep & ~needed)
        parts = dispensable([open_positions[n : n + size] for n in range(0, len(open_positions), size)])
        if parts and surely_dispensable(np.concatenate(parts)):
            keep = without(np.concatenate(parts))
        else:  # two parts may stand in for each other
            for part in parts:
                keep = without(part) if surely_dispensable(part) else keep
        size //= 2
    for _ in range(TRIALS):
        y = lab.quiet(x, keep)
        if y is not None and lab.ask([y])[0] >= value:
            return y, keep
    return x, keep


def survey(lab: Laboratory, x: Tokens, needed: Mask, value: float) -> list[Motif]:
    """The motifs of a sequence.

    Positions without which nothing is left of the value tell nothing in pairs: those that can be copied alone or in
    pairs are motifs, and what remains is taken for one.

    Args:
        lab: what asks.
        x: (L,) a sequence, quiet but for what it needs.
        needed: (L,) the positions on which its value hangs.
        value: of ``x``.
    """
    positions = [int(i) for i in np.flatnonzero(needed)]
    context = _Context(lab, x, ~needed, value)
    alone = context.shares([[]] * len(positions), [[i] for i in positions])
    left = {i: share for i, share in zip(positions, alone, strict=True) if not share >= 1.0}
    vital = [i for i, share in left.items() if not share > 0.0]
    motifs = [context.completed(motif, left) for motif in context.by_pairs({i: left[i] for i in left if left[i] > 0.0})]
    return motifs + context.by_copies(vital)


def shares(lab: Laboratory, x: Tokens, free: Mask, value: float, sets: Sequence[Sequence[int]]) -> Floats:
    """(n,) what is left of a value without each of n sets of positions; NaN where no feasible test was found."""
    return _Context(lab, x, free, value).shares([[]] * len(sets), sets)


@dataclass(frozen=True)
class _Context:
    """A sequence ``x`` (L,) of that ``value``, of which the positions ``free`` (L,) don't matter."""

    lab: Laboratory
    x: Tokens
    free: Mask
    value: float

    def shares(self, copied: Sequence[Sequence[int]], broken: Sequence[Sequence[int]]) -> Floats:
        """(n,) what is left of the value with copies of positions elsewhere and others broken; NaN if not feasible."""
        tests: list[Callable[[], Tokens | None]] = [
            partial(self._variant, list(c), list(b)) for c, b in zip(copied, broken, strict=True)
        ]
        found = np.full(len(tests), np.nan)
        for _ in range(TRIALS):
            drawn = [(n, y) for n in np.flatnonzero(np.isnan(found)) if (y := tests[n]()) is not None]
            for (n, _), answer in zip(drawn, self.lab.ask([y for _, y in drawn]), strict=True):
                if answer > -np.inf:
                    found[n] = answer / self.value
        return found

    def by_pairs(self, share: dict[int, float]) -> list[Motif]:
        """Motifs of the positions without which a part of the value is left, each given with the part.

        A position may serve two motifs: its part is then the product of theirs. Those that serve one come first.
        """
        left = sorted(share, key=lambda i: -share[i])
        motifs: list[Motif] = []
        grouped: set[int] = set()
        for first in left:
            if first in grouped:
                continue
            products = {round(share[first] * other, 6) for other in share.values()}
            others = [
                i
                for i in left
                if i != first
                and ((abs(share[i] - share[first]) < EQUAL and i not in grouped) or round(share[i], 6) in products)
            ]
            both = dict(zip(others, self.shares([[]] * len(others), [[first, i] for i in others]), strict=True))
            mates = [i for i in others if abs(both[i] - share[first] * share[i]) > EQUAL]
            if any(both[i] > 0.0 for i in mates):  # then those with nothing left stand in for something else
                mates = [i for i in mates if both[i] > 0.0]
            motifs.append(Motif(np.sort([first, *mates]), share[first]))
            grouped |= {first, *mates}
        return motifs

    def completed(self, motif: Motif, share: dict[int, float]) -> Motif:
        """``motif`` with the positions that it has in common with others, of which pairs may tell nothing."""
        own = [int(i) for i in motif.positions]
        first = max(own, key=lambda i: share[i])
        if not self.shares([own], [[first]])[0] < 1.0:
            return motif
        near = [
            i for i in share if share[i] < motif.share - EQUAL and i not in own and abs(i - first) < self.lab.L // 4
        ]
        sets = [[*own, *more] for n in (1, 2) for more in combinations(near, n)][:SHARED]
        made_up = self.shares(sets, [[first]] * len(sets)) == 1.0
        return replace(motif, positions=np.sort(sets[int(made_up.argmax())])) if made_up.any() else motif

    def by_copies(self, vital: list[int]) -> list[Motif]:
        """Motifs of positions without which nothing is left."""
        motifs: list[Motif] = []
        for first in vital:
            if any(first in motif.positions for motif in motifs):
                continue
            sets = [[first], *([first, i] for i in vital if i != first)]
            for _ in range(CHECKS):
                made_up = self.shares(sets, [[first]] * len(sets)) == 1.0
                sets = [s for s, is_enough in zip(sets, made_up, strict=True) if is_enough]
            if sets:
                motifs.append(Motif(np.sort(sets[0]), 0.0))
        rest = [i for i in vital if not any(i in motif.positions for motif in motifs)]
        return [*motifs, Motif(np.array(rest), 0.0)] if rest else motifs

    def _variant(self, copied: list[int], broken: list[int]) -> Tokens | None:
        """``x`` with a copy of some of its tokens at free positions, and other tokens at the broken positions."""
        change = np.zeros(self.lab.L, bool)
        change[broken] = True
        source = np.array(copied, np.int64)
        shifts = np.arange(-source.min(), self.lab.L - source.max()) if copied else np.zeros(1, np.int64)
        for shift in self.lab.rng.permutation(shifts):
            target = source + shift
            if not self.free[target].all():
                continue
            y = self.x.copy()
            y[target] = self.x[source]
            touched = change.copy()
            touched[target] = True
            room = self.free & _within(ROOM, touched)
            room[target] = False
            if (variant := self.lab.refill(y, room | change, change=change, safe=True)) is not None:
                return variant
        return None


def _within(distance: int, mask: Mask) -> Mask:
    """(L,) the positions that are at most so far from one of ``mask`` (L,)."""
    near = mask.copy()
    for d in range(1, distance + 1):
        near[d:] |= mask[:-d]
        near[:-d] |= mask[d:]
    return near
