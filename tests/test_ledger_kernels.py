"""The compiled part of the ledger, held to zlib and to the ledger written in plain Python."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledgers import FUNCTION, HEADER, ROWS, SPEC, budgeted, opened, written
from numpy.typing import NDArray

from bioseq_gym import InvalidLedger, Ledger
from bioseq_gym.budget import kernels
from bioseq_gym.budget.records import Records, _slots_for

DIGEST = "00" * 32
U = np.uint64


class Model:
    """A ledger as its docstring has it, a row at a time."""

    def __init__(self, L: int) -> None:
        self.data = Ledger(DIGEST, 256, L).to_bytes()
        self.check = zlib.crc32(self.data)
        self.values: dict[bytes, float] = {}
        self.asked = self.calls = 0
        self.best = -np.inf

    def ask(self, batch: NDArray[np.uint8], score: Any) -> list[float]:
        self.calls += 1
        answers = []
        for i, row in enumerate(batch):
            raw = row.tobytes()
            if raw not in self.values:
                self.values[raw] = score(raw)
                record = raw + struct.pack("<dQI", self.values[raw], self.asked + i + 1, self.calls)
                self.check = zlib.crc32(record, self.check)
                self.data += record + struct.pack("<I", self.check)
            answers.append(self.values[raw])
        self.asked += len(batch)
        self.best = max(self.best, *answers)
        return answers


def score(raw: bytes) -> float:
    return -np.inf if raw[0] == 0 else zlib.crc32(raw) / 2**32


def ask(ledger: Ledger, batch: NDArray[np.uint8]) -> list[float]:
    found = ledger._look_up(batch.copy())
    answers: list[float] = ledger._answer(
        found, np.array([score(row.tobytes()) for row in found.new_tokens()])
    ).tolist()
    return answers


def hold(ledger: Ledger, model: Model) -> None:
    assert ledger.to_bytes() == model.data
    assert (len(ledger), ledger.asked, ledger.calls) == (len(model.values), model.asked, model.calls)
    assert (ledger.position, ledger.best_value) == (len(model.values), model.best)


@st.composite
def batches(draw: st.DrawFn) -> list[NDArray[np.uint8]]:
    """Batches over few rows, so that there are repeats of all kinds; long and short rows that differ in any byte."""
    L = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    pool = np.repeat(rng.integers(0, 256, (1, L)), 50, axis=0)
    pool[np.arange(50), rng.integers(0, L, 50)] = rng.integers(0, 256, 50)
    sizes = draw(st.lists(st.integers(1, 40), min_size=1, max_size=8))
    return [pool[rng.integers(0, rng.integers(1, 51), size)].astype(np.uint8) for size in sizes]


@settings(max_examples=150, deadline=None)
@given(batches())
def test_a_ledger_is_the_one_in_plain_python(asked: list[NDArray[np.uint8]]) -> None:
    L = asked[0].shape[1]
    ledger, model = Ledger(DIGEST, 256, L), Model(L)
    for batch in asked:
        assert ask(ledger, batch) == model.ask(batch, score)
        hold(ledger, model)
    again = Ledger.from_bytes(model.data)
    assert again.to_bytes() == model.data
    assert again._look_up(np.concatenate(asked)).new == 0


@settings(max_examples=150, deadline=None)
@given(batches(), st.data())
def test_a_replay_is_the_one_in_plain_python(asked: list[NDArray[np.uint8]], data: st.DataObject) -> None:
    """Cut after any record, the ledger takes the same batches to the same bytes and counts."""
    L = asked[0].shape[1]
    model, positions = Model(L), []
    answers = []
    for batch in asked:
        answers.append(model.ask(batch, score))
        positions.append(len(model.values))
    kept = data.draw(st.integers(0, len(model.values)))
    ledger = Ledger.from_bytes(model.data[: HEADER + kept * (L + 24)])
    ledger.position, ledger.asked, ledger.calls, ledger.best_value = 0, 0, 0, -np.inf  # as one that was opened
    for batch, expected, position in zip(asked, answers, positions, strict=True):
        assert ledger._unasked(ledger._look_up(batch)) == position - ledger.position
        assert ask(ledger, batch) == expected
        assert ledger.position == position
    hold(ledger, model)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 2**32 - 1), st.data())
def test_checksums_are_zlibs(data: bytes, check: int, where: st.DataObject) -> None:
    start = where.draw(st.integers(0, len(data)))
    end = where.draw(st.integers(start, len(data)))
    array = np.frombuffer(bytearray(data + b"\0"), np.uint8)  # no empty array: Numba has it read-only
    assert kernels._crc(array, U(start), U(end), U(check)) == zlib.crc32(data[start:end], check)


@pytest.mark.parametrize("front", [b"", b"x" * 60, bytes(range(60))])
def test_what_ends_in_its_checksum_has_the_checksum_of_the_header(front: bytes) -> None:
    assert zlib.crc32(front + zlib.crc32(front).to_bytes(4, "little")) == kernels._HEADER_CHECK


# The table


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_the_table_grows_and_forgets_nothing(batch: int) -> None:
    rows = np.random.default_rng(0).permutation(2**16)[:3000].astype("<u2").view(np.uint8).reshape(-1, 2)
    ledger, sizes = Ledger(DIGEST, 256, 2), set()
    for start in range(0, len(rows), batch):
        ask(ledger, rows[start : start + batch])
        slots = ledger._records._slots
        sizes.add(len(slots))
        assert np.count_nonzero(slots) == len(ledger) <= len(slots) / 2
    assert len(sizes) >= (3 if batch == 1000 else 9)
    assert ledger.sequences.tolist() == rows.tolist()
    assert ask(ledger, rows[::-1]) == [score(row.tobytes()) for row in rows[::-1]]
    assert len(ledger) == 3000


@pytest.mark.parametrize(("count", "slots"), [(0, 2), (1, 2), (2, 4), (3, 8), (4, 8), (5, 16), (2**20, 2**21)])
def test_half_of_the_slots_stay_free(count: int, slots: int) -> None:
    assert _slots_for(count) == slots


@pytest.mark.parametrize("keys", ["all rows meet", "few hashes"])
def test_rows_that_meet_are_told_apart(keys: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of 0 but for some: then the hash depends on nothing, or on one token alone."""

    def weak(records: Records) -> NDArray[np.uint64]:
        weak = np.zeros(2 * -(-records._L // 8) + 1, np.uint64)
        weak[2] = 0 if keys == "all rows meet" else 2**32
        return weak

    weak_keys: Any = cached_property(weak)
    weak_keys.__set_name__(Records, "_keys")
    monkeypatch.setattr(Records, "_keys", weak_keys)
    rng = np.random.default_rng(0)
    rows = np.unique(rng.integers(0, 4, (400, 12)), axis=0).astype(np.uint8)
    rows[:, 4:8] = 0  # the upper half of the first word: products of it and the lower half are 0
    rows = np.unique(rows, axis=0)
    if keys == "all rows meet":
        rows[:, 8:] = 0
        rows = np.unique(rows, axis=0)
    hashes = [kernels._hash(row, U(0), U(12), weak(Records(bytes(64), 12, True))) for row in rows]
    assert len(set(hashes)) == 1 if keys == "all rows meet" else 1 < len(set(hashes)) < len(rows)
    ledger, model = Ledger(DIGEST, 256, 12), Model(12)
    for _ in range(20):
        batch = rows[rng.integers(0, len(rows), 60)]
        assert ask(ledger, batch) == model.ask(batch, score)
        hold(ledger, model)
    assert Ledger.from_bytes(model.data).to_bytes() == model.data


@pytest.mark.parametrize("L", [1, 4, 7, 8, 9, 31, 32, 100])
def test_hashes_depend_on_every_token_and_on_the_keys(L: int) -> None:
    rows = np.full((L + 1, L), 3, np.uint8)
    rows[np.arange(L), np.arange(L)] = 4
    hashes = []
    for _ in range(2):
        keys = Records(bytes(64), L, True)._keys
        hashes += [kernels._hash(row, U(0), U(L), keys) for row in rows]
    assert len(set(hashes)) == 2 * (L + 1)


def test_no_two_ledgers_share_their_keys() -> None:
    keys = {Records(bytes(64), 32, True)._keys.tobytes() for _ in range(10)}
    assert len(keys) == 10
    assert all(len(key) == 8 * 9 for key in keys)


@pytest.mark.parametrize("kind", ["random", "one token differs", "counting"])
def test_rows_lie_near_their_slots(kind: str) -> None:
    """So that a look-up takes few probes, whichever rows a stranger chooses without the keys."""
    count, L = 2**14, 16
    rows = np.zeros((count, L), np.uint8)
    if kind == "random":
        rows[:] = np.random.default_rng(0).integers(0, 256, (count, L))
    elif kind == "counting":
        rows[:, 5:7] = np.arange(count, dtype=">u2").view(np.uint8).reshape(-1, 2)
    else:
        rows[:, [3, 11]] = np.stack(np.divmod(np.arange(count), 256), axis=1)
    ledger = Ledger(DIGEST, 256, L)
    ask(ledger, rows)
    slots = ledger._records._slots
    assert len(slots) == 2 * count
    taken = np.flatnonzero(slots)
    distance = (taken - (slots[taken] >> U(32)).astype(np.int64)) % len(slots)
    assert distance.mean() < 1.0  # 0.5 is expected of linear probing at this load
    assert distance.max() < 200


def test_a_header_alone_takes_no_memory() -> None:
    """Of a file from a stranger: its L may be anything."""
    data = Ledger(DIGEST, 256, 2**28).to_bytes()
    tracemalloc.start()
    ledger = Ledger.from_bytes(data)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
    assert len(ledger) == 0


# A large ledger


def test_a_large_ledger_is_opened_whole_and_its_damage_is_found() -> None:
    count, L = 200_000, 6
    rows = np.random.default_rng(0).permutation(2**24)[:count].astype("<u4").view(np.uint8).reshape(-1, 4)
    rows = np.concatenate([rows, rows[:, :2]], axis=1)
    ledger = Ledger(DIGEST, 256, L)
    values = np.random.default_rng(1).random(count)
    for start in range(0, count, 50_000):
        batch = ledger._look_up(rows[start : start + 50_000].copy())
        assert batch.new == 50_000
        ledger._answer(batch, values[start : start + 50_000])
    data = ledger.to_bytes()
    record = L + 24
    checks, check = np.frombuffer(data[HEADER:], np.uint8).reshape(count, record)[:, -4:].copy().view("<u4"), 0
    check = zlib.crc32(data[:HEADER])
    for i, stored in enumerate(checks[:, 0].tolist()):
        check = zlib.crc32(data[HEADER + i * record : HEADER + (i + 1) * record - 4], check)
        assert check == stored
    again = Ledger.from_bytes(data)
    assert (again.to_bytes(), len(again), again.position) == (data, count, count)
    order = np.random.default_rng(2).permutation(count)
    found = again._look_up(rows[order])
    assert (found.new, found.answers.tolist()) == (0, values[order].tolist())
    assert found.places().tolist() == order.tolist()
    for i in (0, 123_456, count - 2):
        damaged = bytearray(data)
        damaged[HEADER + i * record + 9] ^= 16
        with pytest.raises(InvalidLedger, match=f"record {i + 1} of {count} fails its checksum"):
            Ledger.from_bytes(bytes(damaged))


# What an exception leaves


@pytest.mark.parametrize("name", ["look_up", "write_records", "commit", "move"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interrupt_around_any_kernel_loses_and_invents_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, when: str
) -> None:
    """After the kernel that lets records count, they are answered from; before that, nothing has happened."""
    env = budgeted(tmp_path / "l")
    env.evaluate(ROWS[:3])
    kernel = getattr(kernels, name)

    def interrupted(*arguments: Any) -> Any:
        if when == "after":
            kernel(*arguments)
        raise KeyboardInterrupt

    before = env.ledger.to_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(kernels, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            env.evaluate(ROWS[[1, *range(3, 30), 4]])
    if (name, when) == ("commit", "after"):
        expected = written(tmp_path / "other", ROWS[:3], ROWS[[1, *range(3, 30), 4]])
        assert env.ledger.to_bytes() == expected == (tmp_path / "l").read_bytes()
        assert env.evaluate(ROWS[3:30])[0].tolist() == FUNCTION(ROWS[3:30]).tolist()
        assert env.remaining == 100 - len(env.ledger)
    else:
        assert env.ledger.to_bytes() == before
        assert (env.remaining, env.ledger.asked, env.ledger.calls) == (97, 3, 1)
        env.evaluate(ROWS[10:12])
        expected = written(tmp_path / "other", ROWS[:3], ROWS[10:12])
    env.close()
    assert (tmp_path / "l").read_bytes() == expected
    with opened(tmp_path / "l") as ledger:
        assert ledger.to_bytes() == expected


def test_as_many_values_as_new_rows() -> None:
    ledger = Ledger(SPEC.digest, 6, 8)
    found = ledger._look_up(ROWS[:3].astype(np.uint8))
    for values in (np.zeros(2), np.zeros(4)):
        with pytest.raises(ValueError, match="values for 3 rows"):
            ledger._answer(found, values)
    assert (len(ledger), ledger.asked) == (0, 0)


def test_a_call_that_has_no_number_is_refused() -> None:
    """A u32 in the file; a number that wrapped around would make an invalid ledger."""
    env = budgeted()
    env.evaluate(ROWS[:3])
    env.ledger.calls = 2**32 - 2
    env.evaluate(ROWS[3:5])
    assert env.ledger.call_numbers[-1] == 2**32 - 1
    before = env.ledger.to_bytes()
    with pytest.raises(InvalidLedger, match="has no number for another call"):
        env.evaluate(ROWS[5:7])
    assert env.ledger.to_bytes() == before
