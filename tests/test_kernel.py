"""The compiled function against the plain one, and what it refuses."""

from __future__ import annotations

import threading
import tracemalloc
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import checked, definitions, random_definition, seeds, sequences

from bioseq_gym import Ehrlich, EhrlichSpec, InvalidConfig, InvalidSequence
from bioseq_gym.compiled import compiled
from bioseq_gym.functions import ehrlich
from bioseq_gym.functions.reference import reference_values

INTEGERS = ("u1", "i1", "<u2", ">u2", "<i2", ">i2", "<u4", ">u4", "<i4", ">i4", "<u8", ">u8", "<i8", ">i8")
BATCHES = (1, 11, 12, 63, 64, 65, 200, 600)


def assert_same(spec: EhrlichSpec, x: NDArray[np.integer]) -> None:
    """Exactly: the same bits, -inf included."""
    function = Ehrlich(spec)
    expected = reference_values(spec, x)
    values = function(x)
    assert (values.dtype.name, values.shape) == ("float64", (len(x),))
    assert values.tolist() == expected.tolist()
    assert function.is_feasible(x).tolist() == (expected > -np.inf).tolist()


@checked(120)
@given(definitions(), seeds, st.sampled_from(BATCHES))
def test_kernel_is_the_formula(spec: EhrlichSpec, seed: int, count: int) -> None:
    assert_same(spec, sequences(np.random.default_rng(seed), spec, count))


@pytest.mark.parametrize(
    "sizes",
    [
        {"V": 2, "c": 1, "k": 1, "q": 1},
        {"V": 2, "c": 8, "k": 2, "q": 2, "widest_gap": 1},
        {"V": 256, "c": 4, "k": 16, "q": 4, "epistasis": 4.0},
        {"V": 20, "c": 1, "k": 255, "q": 255, "widest_gap": 1},
        {"V": 20, "c": 1, "k": 256, "q": 128, "widest_gap": 2, "spare": 3},
        {"V": 64, "c": 2, "k": 300, "q": 100, "widest_gap": 1},
        {"V": 33, "c": 3, "k": 7, "q": 7, "spare": 11},
        {"V": 5, "c": 50, "k": 4, "q": 2, "epistasis": 1.0},  # the counts of 50 motifs take more than one word
        {"V": 2, "c": 70, "k": 1, "q": 1},
        {"V": 6, "c": 9, "k": 130, "q": 10, "widest_gap": 1},
    ],
    ids=str,
)
def test_kernel_is_the_formula_at_the_edges(sizes: dict[str, Any]) -> None:
    rng = np.random.default_rng(1)
    spec = random_definition(rng, **sizes)
    assert_same(spec, sequences(rng, spec, 70))


@pytest.mark.parametrize("L", [*range(1, 18), 31, 33, 63, 64, 65, 127, 129, 255, 256, 257, 300])
def test_every_length_of_a_sequence(L: int) -> None:
    rng = np.random.default_rng(L)
    k = min(L, 3)
    spec = random_definition(rng, V=3, c=1, k=k, q=k, widest_gap=1, spare=L - k)
    assert spec.L == L
    assert_same(spec, sequences(rng, spec, 66))


@pytest.mark.parametrize("count", [*range(1, 16), 63, 64, 65, 127, 128, 129, 511, 512, 513, 1100])
def test_every_size_of_a_batch(count: int) -> None:
    assert_same(SPEC, np.resize(BATCH, (count, SPEC.L)))


@pytest.mark.parametrize("position", [0, 1, 2, 7, 8, 9, 15, 16, -9, -8, -2])
@pytest.mark.parametrize("V", [5, 32, 33, 256])
def test_one_forbidden_transition_is_found_anywhere(V: int, position: int) -> None:
    """In each of 20 sequences in turn, with all others feasible."""
    allowed = np.ones((V, V))
    allowed[V - 1, V - 2] = 0
    spec = EhrlichSpec(allowed / allowed.sum(axis=1, keepdims=True), [[0]], np.empty((1, 0), int), 37, 1)  # type: ignore[arg-type]
    x = np.full((20, 20, spec.L), V - 1)
    x[range(20), range(20), position] = V - 2
    x[:, :, position - 1 if position else 36] = V - 1
    found = ~Ehrlich(spec).is_feasible(x.reshape(400, -1)).reshape(20, 20)
    assert found.tolist() == (np.eye(20, dtype=bool) & (position != 0)).tolist()


def test_sequences_of_the_strategy_are_worth_scoring() -> None:
    """Else every test above compared -inf with -inf."""
    rng = np.random.default_rng(0)
    spec = random_definition(rng, V=20, c=2, k=4, q=4, spare=3)
    values = reference_values(spec, sequences(rng, spec, 400))
    assert np.count_nonzero(values > -np.inf) > 200
    assert np.count_nonzero(values == -np.inf) > 50
    assert {0.0, 0.5, 0.75, 1.0} <= set(values.tolist())


def test_values_by_hand() -> None:
    """Every sequence is feasible here but those with 0 -> 2; motif 1 . 2 with q = 2, k = 2, e = 1."""
    matrix = np.array([[0.5, 0.5, 0.0], [0.25, 0.5, 0.25], [0.25, 0.25, 0.5]])
    function = Ehrlich(EhrlichSpec(matrix, [[1, 2]], [[2]], 4, 2, epistasis=1.0))  # type: ignore[arg-type]
    x = [[1, 1, 2, 2], [0, 1, 1, 2], [1, 2, 1, 1], [0, 0, 0, 0], [2, 1, 0, 0], [2, 2, 1, 0], [1, 0, 2, 2]]
    # one of two elements: h = 1/2, r(h) = h (1 + h (h - 1)) = 3/8. Row 4: a 1 too late for the gap, and a 2 too early.
    # the last row holds the motif, and 0 -> 2
    assert function(x).tolist() == [1.0, 1.0, 0.375, 0.0, 0.375, 0.0, -np.inf]


def test_quantization_rounds_down() -> None:
    matrix = np.full((4, 4), 0.25)
    x = [[0, 1, 2, 3], [0, 1, 2, 0], [0, 1, 0, 0], [0, 0, 0, 0], [3, 3, 3, 0]]
    by_q = {q: Ehrlich(EhrlichSpec(matrix, [[0, 1, 2, 3]], [[1, 1, 1]], 4, q))(x).tolist() for q in (4, 2, 1)}  # type: ignore[arg-type]
    assert by_q == {4: [1, 0.75, 0.5, 0.25, 0], 2: [1, 0.5, 0.5, 0, 0], 1: [1, 0, 0, 0, 0]}


SPEC = random_definition(np.random.default_rng(3), V=100, c=3, k=4, q=4, epistasis=0.5, spare=5)
FUNCTION = Ehrlich(SPEC)
BATCH = sequences(np.random.default_rng(4), SPEC, 150)
VALUES = reference_values(SPEC, BATCH).tolist()


@pytest.mark.parametrize("dtype", INTEGERS)
def test_every_integer_dtype_gives_the_same(dtype: str) -> None:
    assert FUNCTION(BATCH.astype(dtype)).tolist() == VALUES


@pytest.mark.parametrize("dtype", ["u1", ">u2", "<i8"])
def test_all_256_tokens_are_tokens(dtype: str) -> None:
    rng = np.random.default_rng(5)
    spec = random_definition(rng, V=256, c=2, k=4, q=4, density=0.9, spare=300)
    x = np.concatenate([sequences(rng, spec, 20), np.resize(np.arange(256), (1, spec.L))])
    assert Ehrlich(spec)(x.astype(dtype)).tolist() == reference_values(spec, x).tolist()


def read_only(x: NDArray[np.int64]) -> NDArray[np.int64]:
    x = x.copy()
    x.setflags(write=False)
    return x


LAYOUTS: dict[str, Any] = {
    "fortran": np.asfortranarray,
    "every second column": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "every second row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "backwards": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    "read-only": read_only,
    "read-only bytes": lambda x: read_only(x.astype(np.uint8)),
    "unaligned": lambda x: np.frombuffer(b"\0" + x.tobytes(), "u1")[1:].view("<i8").reshape(x.shape),
    "list of lists": lambda x: x.tolist(),
    "list of rows": list,
    "matrix": lambda x: x.view(np.matrix),
}


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_memory_layout_does_not_matter(layout: Any) -> None:
    x = layout(BATCH)
    assert FUNCTION(x).tolist() == VALUES
    assert FUNCTION.is_feasible(x).tolist() == [value > -np.inf for value in VALUES]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_input_is_not_modified_and_stays_writable(dtype: str) -> None:
    x = BATCH.astype(dtype)
    before = x.tobytes()
    FUNCTION(x)
    FUNCTION.is_feasible(x)
    assert x.tobytes() == before
    assert x.flags.writeable


def test_a_row_scores_the_same_in_any_company() -> None:
    assert [FUNCTION(row[None])[0] for row in BATCH] == VALUES
    order = np.random.default_rng(6).permutation(len(BATCH))
    assert FUNCTION(BATCH[order]).tolist() == [VALUES[i] for i in order]
    assert FUNCTION(np.repeat(BATCH, 3, axis=0)).tolist() == np.repeat(VALUES, 3).tolist()


@pytest.mark.parametrize("threads", [2, 3, np.int64(8)])
@pytest.mark.parametrize("dtype", ["u1", "<i8"])
def test_threads_change_nothing(threads: int, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ehrlich, "_PART", 64 * SPEC.L)
    x = np.resize(BATCH, (1000, SPEC.L)).astype(dtype)
    assert FUNCTION(x, threads=threads).tolist() == np.resize(VALUES, 1000).tolist()
    x[[900, 500], 3] = 100  # the first in the batch is named, whichever thread meets it first
    with pytest.raises(InvalidSequence, match="row 500 holds token 100 at position 3"):
        FUNCTION(x, threads=threads)


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, None, "2"])
def test_threads_must_be_a_number_of_threads(threads: Any) -> None:
    with pytest.raises(InvalidConfig, match=f"threads is {threads!r}; give an integer of at least 1"):
        FUNCTION(BATCH, threads=threads)


@pytest.mark.parametrize("layout", ["<i8", ">i4", "columns"])
def test_conversion_takes_little_memory(layout: str) -> None:
    """What is not bytes in a row is converted a part at a time, and rows keep their numbers."""
    rows = 200_000
    x = np.zeros((rows, 2 * SPEC.L), np.uint8)[:, ::2] if layout == "columns" else np.zeros((rows, SPEC.L), layout)
    x[:150] = BATCH
    FUNCTION(x[:100])  # compiles
    tracemalloc.start()
    values = FUNCTION(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert values[:150].tolist() == VALUES
    assert peak < values.nbytes + 2**24
    x[199_999, 2] = 111
    with pytest.raises(InvalidSequence, match="row 199999 holds token 111 at position 2"):
        FUNCTION(x)


def test_no_more_threads_than_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ehrlich, "_PART", 64 * SPEC.L)
    started: list[threading.Thread] = []
    monkeypatch.setattr(threading.Thread, "start", lambda self: started.append(self))
    monkeypatch.setattr(threading.Thread, "join", lambda _: None)
    x = np.resize(BATCH, (130, SPEC.L)).astype(np.uint8)
    assert FUNCTION(x[:64], threads=10**9).tolist() == VALUES[:64]
    assert not started
    assert FUNCTION(x, threads=10**9).tolist() == VALUES[:130]
    assert len(started) == 2


def test_tokens_that_were_not_checked_are_refused() -> None:
    x = BATCH.astype(np.uint8)
    x[1, 2] = 100
    for count in (2, 150):
        with pytest.raises(InvalidSequence, match="row 1 holds token 100 at position 2"):
            FUNCTION.score(x[:count])


def test_results_of_two_calls_are_not_the_same_memory() -> None:
    first = FUNCTION(BATCH)
    FUNCTION(BATCH[::-1])
    assert first.tolist() == VALUES


@checked(60)
@given(definitions(longest_motif=6), seeds)
def test_best_matches_explain_the_value(spec: EhrlichSpec, seed: int) -> None:
    function = Ehrlich(spec)
    for x in sequences(np.random.default_rng(seed), spec, 4):
        product = 1.0
        for i, match in enumerate(function.best_matches(x)):
            np.testing.assert_array_equal(match.found, x[match.positions] == match.elements)
            np.testing.assert_array_equal(match.elements, spec.motifs[i])
            np.testing.assert_array_equal(np.diff(match.positions), spec.spacings[i])
            h = (spec.q * int(match.found.sum()) // spec.k) / spec.q
            product *= h * (1.0 + spec.epistasis * h * (h - 1.0))
        assert function(x[None])[0] in (product, -np.inf)
        assert function.is_feasible(x[None])[0] == (function(x[None])[0] == product)


def test_best_match_is_the_leftmost() -> None:
    function = Ehrlich(EhrlichSpec(np.full((2, 2), 0.5), [[1, 1]], [[1]], 6, 2))  # type: ignore[arg-type]
    (match,) = function.best_matches(np.array([0, 1, 1, 0, 1, 1]))
    assert (match.positions.tolist(), match.found.tolist()) == ([1, 2], [True, True])
    with pytest.raises(InvalidSequence, match=r"give \(B, 6\)"):
        function.best_matches(np.array([0, 1]))


def with_token(token: int, dtype: str) -> NDArray[Any]:
    x = BATCH.astype(dtype)
    x[70, 7] = token
    x[71, 0] = token
    return x


L = SPEC.L
INVALID: dict[str, tuple[Any, str]] = {
    "float": (BATCH.astype(float), r"dtype float64; give integers, for example x\.astype\(np\.uint8\)"),
    "NaN": (np.full((2, L), np.nan), "dtype float64"),
    "bool": (BATCH > 3, "dtype bool"),
    "object": (BATCH.astype(object), "dtype object"),
    "text": (BATCH.astype(str), "dtype <U"),
    "complex": (BATCH.astype(complex), "dtype complex128"),
    "time": (BATCH.astype("m8[s]"), "dtype timedelta64"),
    "beyond 64 bits": ([[2**64] * L], "dtype object"),
    "one sequence": (BATCH[0], rf"shape \({L},\); give \(B, {L}\); for one sequence pass x\[None\]"),
    "one list": (BATCH[0].tolist(), r"for one sequence pass x\[None\]"),
    "1-D of another length": (BATCH[0, 1:], rf"shape \({L - 1},\); give \(B, {L}\)$"),
    "too short": (BATCH[:, 1:], rf"shape \(150, {L - 1}\); give \(B, {L}\)$"),
    "too long": (np.zeros((2, L + 1), int), rf"shape \(2, {L + 1}\)"),
    "transposed": (BATCH[:5].T, rf"shape \({L}, 5\)"),
    "3-D": (BATCH[None], rf"shape \(1, 150, {L}\)"),
    "scalar": (3, r"shape \(\); give"),
    "None": (None, r"shape \(\); give"),
    "ragged": ([[0] * L, [0] * (L - 1)], f"must all have {L} tokens"),
    "empty": (np.zeros((0, L), int), "the batch is empty; give at least one sequence"),
    "empty list": ([], r"shape \(0,\)"),
    "token -1": (with_token(-1, "i1"), r"row 70 holds token -1 at position 7; give 0 \.\. 99"),
    "token V": (with_token(100, "u1"), r"row 70 holds token 100 at position 7; give 0 \.\. 99"),
    "token 256": (with_token(256, "i2"), "row 70 holds token 256 at position 7"),
    "big-endian 256": (with_token(256, ">i2"), "row 70 holds token 256 at position 7"),
    "big-endian -1": (with_token(-1, ">i4"), "row 70 holds token -1 at position 7"),
    "token -256": (with_token(-256, "i8"), "row 70 holds token -256 at position 7"),
    "token 2**32": (with_token(2**32, "i8"), "row 70 holds token 4294967296 at position 7"),
    "token 2**63": (with_token(2**63, "u8"), "row 70 holds token 9223372036854775808 at position 7"),
    "token -2**63": (with_token(-(2**63), "i8"), "row 70 holds token -9223372036854775808 at position 7"),
}


@pytest.mark.parametrize(("x", "message"), INVALID.values(), ids=INVALID)
def test_bad_input_is_refused(x: Any, message: str) -> None:
    with pytest.raises(InvalidSequence, match=message):
        FUNCTION(x)
    with pytest.raises(InvalidSequence, match=message):
        FUNCTION.is_feasible(x)


def test_token_v_is_refused_where_all_bytes_are_tokens() -> None:
    spec = random_definition(np.random.default_rng(5), V=256, c=1, k=2, q=2)
    with pytest.raises(InvalidSequence, match=r"row 0 holds token 256 at position 0; give 0 \.\. 255"):
        Ehrlich(spec)(np.full((1, spec.L), 256))


def test_solutions_are_given_as_copies() -> None:
    for solution in (FUNCTION.initial_solution, FUNCTION.optimal_solution):
        expected = solution().tolist()
        solution()[:] = 0
        assert solution().tolist() == expected
        assert solution().dtype == np.int64


def test_repr_names_the_function() -> None:
    function = Ehrlich(EhrlichSpec.from_seed(8, 16, 2, 4))
    start = "Ehrlich(V=8, L=16, c=2, k=4, q=4, epistasis=0.0, digest="
    assert repr(function) == f"{start}{function.spec.digest[:12]})"


def test_the_kernel_compiles_where_no_cache_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    njit = numba.njit

    def without_cache(*, cache: bool = False, **options: bool) -> Any:
        if cache:
            raise RuntimeError("cannot cache function: no locator available for file")
        return njit(**options)

    monkeypatch.setattr(numba, "njit", without_cache)
    assert compiled(lambda x: x + 1)(2) == 3


def test_what_happens_in_a_thread_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = threading.Event()

    def fails(*_: object) -> bool:
        if threading.current_thread() is threading.main_thread():
            return failed.wait(60)
        failed.set()
        raise MemoryError("no room for the copy")

    monkeypatch.setattr(ehrlich, "_PART", 64 * SPEC.L)
    monkeypatch.setattr(ehrlich, "score_batch", fails)
    with pytest.raises(MemoryError, match="no room"):
        FUNCTION(np.resize(BATCH, (2000, SPEC.L)).astype(np.uint8), threads=2)
