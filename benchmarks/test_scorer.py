"""The scorer beside holo-bench's, and how its cost grows."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from statistics import median
from typing import NamedTuple

import numpy as np
import pytest
import torch
from conftest import InTurns
from holo.test_functions.closed_form import Ehrlich as HoloEhrlich
from numpy.typing import NDArray
from table import Measured, Record, duration, ratio

from bioseq_gym import Ehrlich, EhrlichSpec

SIZES = [(32, 32, 4, 4), (32, 128, 4, 4), (32, 128, 8, 8), (32, 256, 4, 8)]


class Pair(NamedTuple):
    """One function as both libraries have it, and a batch as each of them likes it best."""

    holo: HoloEhrlich
    ours: Ehrlich
    int64: torch.Tensor
    uint8: NDArray[np.uint8]


def pair(V: int, L: int, c: int, k: int, B: int = 10_000) -> Pair:
    """The same function and feasible batch for both, once their values were found equal."""
    holo = HoloEhrlich(num_states=V, dim=L, num_motifs=c, motif_length=k, random_seed=0)
    x = holo.initial_solution(B).reshape(B, L).contiguous()
    both = Pair(holo, Ehrlich(EhrlichSpec.from_holo(holo)), x, x.numpy().astype(np.uint8))
    mutants, rng = x.numpy().copy(), np.random.default_rng(0)
    mutants[np.arange(B), rng.integers(L, size=B)] = rng.integers(V, size=B)
    for asked in (x.numpy(), mutants):
        np.testing.assert_allclose(both.ours(asked), holo(torch.tensor(asked)).numpy(), rtol=0, atol=1e-6)
    return both


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_batch(size: tuple[int, int, int, int], in_turns: InTurns, record: Record) -> None:
    both = pair(*size)
    programs = (partial(both.ours, both.uint8), 10), (partial(both.holo, both.int64), 1)
    ours, theirs, as_int64 = in_turns(7, *programs, (partial(both.ours, both.int64.numpy()), 10))
    value, spread = ratio(theirs, ours)
    note = f"uint8 tokens; with int64 ours takes {duration(median(as_int64))}, {ratio(theirs, as_int64)[0]:.3g}x"
    key = "batch-{}-{}-{}-{}".format(*size)
    record(key, Measured(value, duration(median(ours)), duration(median(theirs)), spread, note))


def test_one_sequence(in_turns: InTurns, record: Record) -> None:
    both = pair(32, 128, 4, 4, B=1)
    ours, theirs, as_int64 = in_turns(
        15,
        (partial(both.ours, both.uint8), 2000),
        (partial(both.holo, both.int64), 20),
        (partial(both.ours, both.int64.numpy()), 2000),
    )
    value, spread = ratio(theirs, ours)
    note = f"an array (1, L) from Python, checks included; {duration(median(as_int64))} with int64"
    record("one", Measured(value, duration(median(ours)), duration(median(theirs)), spread, note))


def walks(function: Ehrlich, B: int) -> NDArray[np.uint8]:
    """Random feasible sequences (B, L)."""
    rng, spec = np.random.default_rng(0), function.spec
    successors = np.array([rng.choice(spec.V, 256, p=row / row.sum()) for row in spec.transition_matrix], np.uint8)
    x = np.empty((B, spec.L), np.uint8)
    x[:, 0] = rng.integers(spec.V, size=B)
    for t in range(1, spec.L):
        x[:, t] = successors[x[:, t - 1], rng.integers(256, size=B)]
    assert function.is_feasible(x).all()
    return x


def of_length(L: int) -> Ehrlich:
    return Ehrlich(EhrlichSpec.from_seed(V=32, L=L, c=4, k=4))


SCORE_FOR_TWO_SECONDS = """
from time import perf_counter
import numpy as np
import bioseq_gym
function = bioseq_gym.Ehrlich(bioseq_gym.EhrlichSpec.from_seed(V=32, L=128, c=4, k=4))
x = np.repeat(function.initial_solution()[None].astype(np.uint8), 10_000, axis=0)
function(x)
start, calls = perf_counter(), 0
while perf_counter() < start + 2.0:
    function(x)
    calls += 1
print(calls)
"""


def calls_of(processes: int) -> int:
    """How often so many processes, which share nothing, score a batch in two seconds, in all."""
    command = [sys.executable, "-c", SCORE_FOR_TWO_SECONDS]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    return sum(int(each.communicate()[0]) for each in running)


def test_two_threads(in_turns: InTurns, record: Record) -> None:
    function = of_length(128)
    x = walks(function, 100_000)
    two, one = in_turns(15, (partial(function, x, threads=2), 3), (partial(function, x), 3))
    np.testing.assert_array_equal(function(x, threads=2), function(x))
    value, spread = ratio(one, two)
    shares = [calls_of(2) / calls_of(1) for _ in range(3)]
    note = (
        f"what the machine gives: two processes that share nothing score {median(shares):.3g}x as much as one "
        f"({min(shares):.3g} to {max(shares):.3g} in three tries)"
    )
    record("threads", Measured(value, duration(median(two)), duration(median(one)), spread, note))


def test_length(in_turns: InTurns, record: Record) -> None:
    lengths = (4096, 32, 128, 512, 2048)
    programs = []
    for L in lengths:
        function = of_length(L)
        programs.append((partial(function, walks(function, 1000)), 4096 // L))
    costs = dict(zip(lengths, in_turns(15, *programs), strict=True))
    per_row = {L: duration(median(costs[L]) / 1000) for L in sorted(lengths)}
    value, spread = ratio(costs[4096], costs[32])
    note = "c=k=4, batches of 1000; per sequence " + ", ".join(f"{cost} at L={L}" for L, cost in per_row.items())
    record("length", Measured(value, per_row[4096], per_row[32], spread, note))


def test_rows(in_turns: InTurns, record: Record) -> None:
    function = of_length(32)
    x = walks(function, 1_000_000)
    calls = {1_000_000: 1, 1: 1000, 1000: 200, 10_000: 20, 100_000: 2}
    seconds = in_turns(15, *((partial(function, x[:B]), n) for B, n in calls.items()))
    per_row = {B: [second / B for second in batch] for B, batch in sorted(zip(calls, seconds, strict=True))}
    dearest = max((10_000, 100_000, 1_000_000), key=lambda B: median(per_row[B]))
    value, spread = ratio(per_row[dearest], per_row[1000])
    note = "L=32, c=k=4, uint8; per row " + ", ".join(f"{duration(median(s))} at B={B:,}" for B, s in per_row.items())
    figures = duration(median(per_row[dearest])), duration(median(per_row[1000]))
    record("rows", Measured(value, *figures, spread, note))
