"""That the bounds check of the first run of ``make test`` is on, and sees what it should."""

import numba
import numpy as np
import pytest


@pytest.mark.skipif(not numba.config.BOUNDSCHECK, reason="NUMBA_BOUNDSCHECK is not set; make test sets it for one run")
def test_a_kernel_that_reads_outside_of_its_array_is_caught() -> None:
    @numba.njit(nogil=True, boundscheck=False)  # no kernel can opt out
    def read(x: np.ndarray, i: int) -> int:
        return x[i]

    assert read(np.arange(3), 2) == 2
    with pytest.raises(IndexError, match="out of bounds"):
        read(np.arange(3), 3)
