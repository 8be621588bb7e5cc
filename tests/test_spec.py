"""The definition of a function: frozen, validated, with a digest."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bioseq_gym import Ehrlich, EhrlichSpec, InvalidSpec

# A ring of three states: 0 -> 1 -> 2 -> 0, each may repeat.
RING = [[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.5, 0.0, 0.5]]
SMALL: dict[str, Any] = {
    "transition_matrix": RING,
    "motifs": [[0, 1], [2, 0]],
    "spacings": [[1], [2]],
    "length": 6,
    "quantization": 2,
    "epistasis": 0.5,
    "initial_solution": [1, 1, 2, 0, 1, 1],
}
# Written by hand from SMALL: keys sorted, no spaces.
SMALL_JSON = (
    '{"epistasis":0.5,"initial_solution":[1,1,2,0,1,1],"length":6,"motifs":[[0,1],[2,0]],"quantization":2,'
    '"spacings":[[1],[2]],"transition_matrix":[[0.5,0.5,0.0],[0.0,0.5,0.5],[0.5,0.0,0.5]]}'
)


def small(**changes: Any) -> EhrlichSpec:
    return EhrlichSpec(**{**SMALL, **changes})


def matrix(row: int, values: list[Any]) -> list[list[Any]]:
    """RING with another row."""
    return [values if i == row else old for i, old in enumerate(RING)]


def test_fields_have_the_promised_shapes_and_dtypes() -> None:
    spec = small()
    fields = (spec.transition_matrix, spec.motifs, spec.spacings, spec.offsets, spec.initial_solution)
    assert [(f.shape, f.dtype.name) for f in fields] == [  # type: ignore[union-attr]
        ((3, 3), "float64"),
        ((2, 2), "int64"),
        ((2, 1), "int64"),
        ((2, 2), "int64"),
        ((6,), "int64"),
    ]
    assert (spec.V, spec.L, spec.c, spec.k, spec.q, spec.epistasis) == (3, 6, 2, 2, 2, 0.5)
    assert spec.offsets.tolist() == [[0, 1], [0, 2]]


def test_digest_is_the_sha256_of_the_canonical_json() -> None:
    assert small().digest == hashlib.sha256(SMALL_JSON.encode()).hexdigest()
    assert small(name="label").to_json() == SMALL_JSON.replace(',"quant', ',"name":"label","quant')


def test_optimum_is_the_motifs_joined_by_the_shortest_walks() -> None:
    # by hand: motif 0 1, one step to 2, wait there for the gap of two, 0, then repeat the last
    assert Ehrlich(small()).optimal_solution().tolist() == [0, 1, 2, 2, 0, 0]
    assert Ehrlich(small())([[0, 1, 2, 2, 0, 0]]).tolist() == [1.0]


def test_optimum_walks_through_other_states_where_a_motif_jumps() -> None:
    spec = small(motifs=[[1, 0], [0, 2]], spacings=[[3], [2]], length=8, initial_solution=None)
    # by hand: 1 -> 0 in three steps is 1 1 2 0; 0 follows itself; 0 -> 2 in two steps is 0 1 2; then repeat 2
    assert Ehrlich(spec).optimal_solution().tolist() == [1, 1, 2, 0, 0, 1, 2, 2]
    assert Ehrlich(spec)(Ehrlich(spec).optimal_solution()[None]).tolist() == [1.0]


def test_initial_solution_is_zeros_by_default() -> None:
    assert small(initial_solution=None).initial_solution.tolist() == [0] * 6  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["transition_matrix", "motifs", "spacings", "initial_solution"])
def test_arrays_are_read_only_copies(name: str) -> None:
    mine = np.array(SMALL[name])
    spec = small(**{name: mine})
    mine[...] = 9
    np.testing.assert_array_equal(getattr(spec, name), SMALL[name])
    with pytest.raises(ValueError, match="read-only"):
        getattr(spec, name)[...] = 0


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(EhrlichSpec)] + ["other"])
def test_fields_cannot_be_set_or_deleted(name: str) -> None:
    spec = small()
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(spec, name, None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        delattr(spec, name)


@pytest.mark.parametrize("name", ["V", "L", "c", "k", "q", "offsets"])
def test_derived_sizes_cannot_be_set(name: str) -> None:
    with pytest.raises((AttributeError, dataclasses.FrozenInstanceError)):
        setattr(small(), name, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"transition_matrix": matrix(0, [0.25, 0.75, 0.0])},
        {"motifs": [[0, 1], [2, 2]]},
        {"spacings": [[1], [1]]},
        {"length": 7, "initial_solution": [1, 1, 2, 0, 1, 1, 1]},
        {"quantization": 1},
        {"epistasis": 0.25},
        {"initial_solution": [0] * 6},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_every_field_but_the_name_is_part_of_the_digest(changes: dict[str, Any]) -> None:
    assert small(**changes).digest != small().digest
    assert small(**changes) != small()


def test_name_is_no_part_of_the_digest() -> None:
    assert small(name="label").digest == small().digest
    assert small(name="label") == small()
    assert len({small(name="label"), small()}) == 1
    assert small() != SMALL_JSON


@pytest.mark.parametrize(
    "changes",
    [
        {"transition_matrix": np.asfortranarray(RING)},
        {"transition_matrix": np.array(RING, np.float16)},
        {"transition_matrix": np.array(RING, ">f8")},
        {"motifs": np.asfortranarray(SMALL["motifs"]).astype(np.int8)},
        {"motifs": np.array(SMALL["motifs"], np.uint64)},
        {"spacings": np.array([[1, 0], [2, 0]])[:, :1]},
        {"length": np.int32(6), "quantization": np.uint8(2), "epistasis": np.float32(0.5)},
    ],
    ids=["fortran", "float16", "big-endian", "int8", "uint64", "strided", "numpy scalars"],
)
def test_memory_layout_and_width_do_not_matter(changes: dict[str, Any]) -> None:
    spec = small(**changes)
    assert spec.digest == small().digest
    assert spec.transition_matrix.flags.c_contiguous
    assert spec.motifs.flags.c_contiguous


def test_negative_zero_epistasis_is_zero() -> None:
    assert math.copysign(1.0, small(epistasis=-0.0).epistasis) == 1.0
    assert small(epistasis=-0.0).digest == small(epistasis=0).digest


COPIES: list[Callable[[EhrlichSpec], EhrlichSpec]] = [
    copy.copy,
    copy.deepcopy,
    lambda spec: pickle.loads(pickle.dumps(spec)),
    lambda spec: EhrlichSpec.from_json(spec.to_json()),
    lambda spec: EhrlichSpec.from_json(spec.to_json().encode()),
    lambda spec: EhrlichSpec.from_json(json.dumps(json.loads(spec.to_json()), indent=2)),
]


@pytest.mark.parametrize("copied", COPIES, ids=["copy", "deepcopy", "pickle", "json", "bytes", "indented"])
def test_a_copy_is_equal_and_read_only(copied: Callable[[EhrlichSpec], EhrlichSpec]) -> None:
    spec = small(name="label", transition_matrix=matrix(0, [0.1, 0.9, 0.0]))
    again = copied(spec)
    assert (again, again.name, hash(again)) == (spec, "label", hash(spec))
    np.testing.assert_array_equal(again.transition_matrix, spec.transition_matrix)
    with pytest.raises(ValueError, match="read-only"):
        again.motifs[0, 0] = 1


def test_optional_fields_may_be_left_out_of_json() -> None:
    data = {name: SMALL[name] for name in ("transition_matrix", "motifs", "spacings", "length", "quantization")}
    assert EhrlichSpec.from_json(json.dumps(data)) == EhrlichSpec(**data)


INVALID: dict[str, tuple[dict[str, Any], str]] = {
    "matrix of text": ({"transition_matrix": [["a"] * 3] * 3}, "transition_matrix must be a non-empty 2-dim.* of real"),
    "matrix of bools": ({"transition_matrix": np.eye(3) > 0}, "transition_matrix must be .* real numbers"),
    "complex matrix": ({"transition_matrix": np.eye(3) * 1j}, "transition_matrix must be .* real numbers"),
    "ragged matrix": ({"transition_matrix": matrix(1, [1.0])}, "transition_matrix must be .* real numbers"),
    "matrix None": ({"transition_matrix": None}, "transition_matrix must be .* real numbers"),
    "empty matrix": ({"transition_matrix": []}, "transition_matrix must be a non-empty"),
    "flat matrix": ({"transition_matrix": [1.0, 0.0]}, r"transition_matrix has shape \(2,\); give 2 dim"),
    "wide matrix": ({"transition_matrix": RING[:2]}, r"shape \(2, 3\); give \(V, V\) with V in 2 \.\. 256"),
    "V = 1": ({"transition_matrix": [[1.0]]}, r"shape \(1, 1\); give \(V, V\) with V in 2"),
    "V = 257": ({"transition_matrix": np.full((257, 257), 1 / 257)}, r"shape \(257, 257\); give \(V, V\)"),
    "NaN": ({"transition_matrix": matrix(0, [math.nan, 0.5, 0.5])}, "negative or not finite"),
    "infinity": ({"transition_matrix": matrix(0, [math.inf, 0.5, 0.5])}, "negative or not finite"),
    "negative": ({"transition_matrix": matrix(0, [1.5, -0.5, 0.0])}, "negative or not finite"),
    "row sum": ({"transition_matrix": matrix(1, [0.0, 0.7, 0.5])}, "row 1 of transition_matrix sums to 1.2, not 1"),
    "zero row": ({"transition_matrix": matrix(2, [0.0, 0.0, 0.0])}, "row 2 of transition_matrix sums to 0, not 1"),
    "no repeat": ({"transition_matrix": matrix(1, [0.5, 0.0, 0.5])}, r"transition_matrix\[1, 1\] is 0; every state"),
    "trap": ({"transition_matrix": matrix(2, [0.0, 0.0, 1.0])}, "not ergodic"),
    "identity": ({"transition_matrix": np.eye(3)}, "not ergodic"),
    "token V": ({"motifs": [[0, 3], [2, 0]]}, r"motifs hold a token outside 0 \.\. 2"),
    "token -1": ({"motifs": [[0, 1], [-1, 0]]}, r"motifs hold a token outside 0 \.\. 2"),
    "token 2**63": ({"motifs": np.array([[0, 1], [2**63, 0]], np.uint64)}, "motifs hold a token outside"),
    "token 2**64": ({"motifs": [[0, 1], [2**64, 0]]}, "motifs must be a non-empty 2-dimensional array of integers"),
    "float motifs": ({"motifs": [[0.0, 1.0], [2.0, 0.0]]}, "motifs must be .* integers"),
    "ragged motifs": ({"motifs": [[0, 1], [2]]}, "motifs must be .* integers"),
    "no motifs": ({"motifs": []}, "motifs must be a non-empty"),
    "motifs of nothing": ({"motifs": [[], []]}, "motifs must be a non-empty"),
    "flat motifs": ({"motifs": [0, 1]}, r"motifs has shape \(2,\)"),
    "spacing 0": ({"spacings": [[0], [2]]}, "spacings hold a gap below 1"),
    "spacing -1": ({"spacings": [[1], [-1]]}, "spacings hold a gap below 1"),
    "float spacings": ({"spacings": [[1.0], [2.0]]}, "spacings must be .* integers"),
    "offsets for spacings": ({"spacings": [[0, 1], [0, 2]]}, r"spacings has shape \(2, 2\); .* need \(2, 1\) gaps"),
    "too few spacings": ({"spacings": [[1]]}, r"spacings has shape \(1, 1\)"),
    "no spacings": ({"spacings": []}, "spacings must be a non-empty"),
    "spacings for k = 1": ({"motifs": [[0]], "spacings": [[1]], "quantization": 1}, r"need \(1, 0\) gaps"),
    "ragged spacings for k = 1": ({"motifs": [[0]], "spacings": [[1], [1, 2]], "quantization": 1}, "spacings must be"),
    "q not a divisor": ({"quantization": 3}, r"q=3 does not divide k=2; give one of \[1, 2\]"),
    "q = 0": ({"quantization": 0}, "q=0 does not divide"),
    "q = -1": ({"quantization": -1}, "q=-1 does not divide"),
    "bool q": ({"quantization": True}, "quantization must be an integer, not True"),
    "float q": ({"quantization": 2.0}, "quantization must be an integer, not 2.0"),
    "L too small": ({"length": 4}, "do not fit in L=4: one after the other they take 5 positions; give L >= 5"),
    "L = 0": ({"length": 0}, "length is 0; give 1 to 65535"),
    "L < 0": ({"length": -5}, "length is -5"),
    "L beyond memory": ({"length": 10**15}, "length is 1000000000000000; give 1 to 65535"),
    "bool L": ({"length": True}, "length must be an integer, not True"),
    "numpy bool L": ({"length": np.True_}, "length must be an integer"),
    "text L": ({"length": "6"}, "length must be an integer, not '6'"),
    "infeasible motif": (
        {"motifs": [[0, 1], [2, 1]], "spacings": [[1], [1]]},
        "motif 1 is infeasible: .* 1 steps from 2",
    ),
    "short initial": ({"initial_solution": [0] * 5}, r"initial_solution must be 6 tokens in 0 \.\. 2"),
    "initial token V": ({"initial_solution": [0, 0, 0, 0, 0, 3]}, "initial_solution must be 6 tokens"),
    "initial token -1": ({"initial_solution": [-1, 0, 0, 0, 0, 0]}, "initial_solution must be 6 tokens"),
    "infeasible initial": ({"initial_solution": [0, 1, 0, 0, 0, 0]}, "initial_solution is infeasible at position 1"),
    "2-D initial": ({"initial_solution": [[0] * 6]}, r"initial_solution has shape \(1, 6\)"),
    "float initial": ({"initial_solution": [0.0] * 6}, "initial_solution must be .* integers"),
    "epistasis < 0": ({"epistasis": -0.001}, r"epistasis is -0\.001; give a number in 0 \.\. 4"),
    "epistasis > 4": ({"epistasis": 4.001}, r"epistasis is 4\.001"),
    "epistasis NaN": ({"epistasis": math.nan}, "epistasis is nan"),
    "epistasis infinite": ({"epistasis": math.inf}, "epistasis is inf"),
    "epistasis beyond floats": ({"epistasis": 10**400}, "epistasis is too large"),
    "bool epistasis": ({"epistasis": True}, "epistasis must be a number, not True"),
    "text epistasis": ({"epistasis": "0"}, "epistasis must be a number, not '0'"),
    "epistasis None": ({"epistasis": None}, "epistasis must be a number, not None"),
    "number for a name": ({"name": 5}, "name must be a string or None, not int"),
}


@pytest.mark.parametrize(("changes", "message"), INVALID.values(), ids=INVALID)
def test_invalid_definition_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        small(**changes)


@pytest.mark.parametrize("epistasis", [0, 4, 4.0, np.float64(1.5)])
def test_the_bounds_of_epistasis_are_allowed(epistasis: float) -> None:
    assert small(epistasis=epistasis).epistasis == float(epistasis)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        (b"\xff\xfe\xfd", "not JSON"),
        (SMALL_JSON + "x", "not JSON: Extra data"),
        ("[" * 100_000, "not JSON: maximum recursion depth"),
        ('{"length":' + "9" * 5000 + "}", "not JSON"),
        ("null", "must be a JSON object with the fields epistasis, initial_solution, length"),
        ("[]", "must be a JSON object"),
        ('"text"', "must be a JSON object"),
        ("{}", "must be a JSON object"),
        (SMALL_JSON.replace('"length":6,', ""), "must be a JSON object with the fields"),
        (SMALL_JSON.replace('"length"', '"lenght"'), "must be a JSON object with the fields"),
        (SMALL_JSON.replace("{", '{"digest":"",', 1), "must be a JSON object with the fields"),
        (SMALL_JSON.replace("0.5,0.5,0.0", "0.5,NaN,0.0"), "negative or not finite"),
        (SMALL_JSON.replace('"length":6', '"length":{"a":[6]}'), "length must be an integer"),
        (SMALL_JSON.replace('"length":6', '"length":true'), "length must be an integer, not True"),
        (SMALL_JSON.replace("[[0,1],[2,0]]", '{"a":[[0,1],[2,0]]}'), "motifs must be"),
        (SMALL_JSON.replace("[[0,1],[2,0]]", '[[0,1],["2",0]]'), "motifs must be"),
        (SMALL_JSON.replace("[[0,1],[2,0]]", "[[0,1],[2,null]]"), "motifs must be"),
        (None, "the definition is not JSON"),
        (SMALL_JSON.replace("[[0,1],[2,0]]", "[" * 80 + "0" + "]" * 80), "motifs"),
        (SMALL_JSON.replace("[[0,1],[2,0]]", "5"), r"motifs has shape \(\)"),
        (SMALL_JSON.replace("[1,1,2,0,1,1]", "[[[]]]"), "initial_solution must be"),
    ],
)
def test_from_json_refuses_what_is_no_definition(text: Any, message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        EhrlichSpec.from_json(text)


def test_errors_are_value_errors_too() -> None:
    with pytest.raises(ValueError, match="does not divide"):
        small(quantization=3)


def test_a_spacing_beyond_the_sequence_is_refused_before_it_is_laid_out() -> None:
    with pytest.raises(InvalidSpec, match=r"a spacing of 10000000000 does not fit in L=32"):
        EhrlichSpec(np.full((4, 4), 0.25), [[0, 0]], [[10**10]], 32, 2)  # type: ignore[arg-type]


def test_a_negative_zero_is_a_zero() -> None:
    matrix = np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.5, 0.0, 0.5]])
    specs = [EhrlichSpec(np.where(matrix == 0, zero, matrix), [[0]], [[]], 4, 1) for zero in (0.0, -0.0)]  # type: ignore[arg-type]
    assert specs[0].digest == specs[1].digest
