"""What makes a torch agent reproducible: its threads, and generators that libraries share with everyone else."""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use so many threads: sums, and so the ledger, then do not depend on the number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def own_generators() -> Iterator[None]:
    """Let a library seed and move the global generators, and put them back as they were."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - libraries draw from it
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002


@contextmanager
def young_garbage() -> Iterator[None]:
    """Let a library that collects garbage, as ``Trainer`` does, look only at what was made within."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
