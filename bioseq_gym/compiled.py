"""How this package compiles a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, compiled by Numba when it is first called; without the lock, and kept on disk for the next process.

    Where nothing can be kept (a read-only installation without a writable home), each process compiles anew.
    """
    fast: Callable[..., Any]
    try:
        fast = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:
        fast = numba.njit(nogil=True)(function)
    return fast
