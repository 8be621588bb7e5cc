"""The ledger's file: its bytes, its repair, and what a failed write leaves."""

from __future__ import annotations

import copy
import errno
import os
import pickle
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from ledgers import FUNCTION, HEADER, RECORD, ROWS, SIZES, SPEC, budgeted, expected_repair, opened, written
from numpy.typing import NDArray

from bioseq_gym import (
    EvaluationBudget,
    InvalidBudget,
    InvalidLedger,
    Ledger,
    LedgerRepaired,
)

# The format


def test_file_is_what_the_format_says(tmp_path: Path) -> None:
    """Two calls, the second with a repeat and a row twice, packed here by hand from the format's description."""
    data = written(tmp_path / "l", ROWS[:2], ROWS[[1, 2, 2, 3]])
    front = struct.pack("<8sII32s12x", b"BSGLEDG1", 6, 8, bytes.fromhex(SPEC.digest))
    expected = front + struct.pack("<I", zlib.crc32(front))
    check = zlib.crc32(expected)
    for row, asked, call in [(0, 1, 1), (1, 2, 1), (2, 4, 2), (3, 6, 2)]:
        record = struct.pack("<8BdQI", *ROWS[row], FUNCTION(ROWS[row][None])[0], asked, call)
        check = zlib.crc32(record, check)
        expected += record + struct.pack("<I", check)
    assert data == expected
    assert len(data) == HEADER + 4 * RECORD


def test_golden_bytes(tmp_path: Path) -> None:
    """Written by the library as first released: files of that time must stay readable."""
    golden = bytes.fromhex(
        "4253474c454447310600000008000000eb892f4d1c04f3bcb0c7a7f1afeb586d"
        "0b7742fba71e5c269b61d62250963c9a000000000000000000000000387df8b8"
        "00000000000000000000000000000000010000000000000001000000a77e133a"
        "0505050505050505000000000000000002000000000000000100000014b4bd20"
    )
    assert written(tmp_path / "l", [[0] * 8, [5] * 8]) == golden
    ledger = Ledger.from_bytes(golden)
    assert ledger.sequences.tolist() == [[0] * 8, [5] * 8]
    assert (ledger.values.tolist(), ledger.digest) == ([0.0, 0.0], SPEC.digest)


def test_columns_and_counters(tmp_path: Path) -> None:
    written(tmp_path / "l", ROWS[:2], ROWS[[1, 2, 2, 3]], ROWS[:1])
    ledger = Ledger.read(tmp_path / "l")
    expected = FUNCTION(ROWS[:4])
    columns: tuple[NDArray[Any], ...] = (ledger.sequences, ledger.values, ledger.asked_counts, ledger.call_numbers)
    for column, values, dtype in zip(
        columns, (ROWS[:4], expected, [1, 2, 4, 6], [1, 1, 2, 2]), ("uint8", "float64", "uint64", "uint32"), strict=True
    ):
        np.testing.assert_array_equal(column, values)
        assert column.dtype == dtype
    # the last repeat, in a call of its own, is not in the file
    assert (len(ledger), ledger.asked, ledger.calls, ledger.position, ledger.repeats) == (4, 6, 2, 4, 2)
    assert ledger.best_value == expected.max()


def test_empty_ledger_reads_as_empty(tmp_path: Path) -> None:
    assert len(written(tmp_path / "l")) == HEADER
    ledger = Ledger.read(tmp_path / "l")
    assert (ledger.sequences.shape, ledger.values.shape, ledger.best_value) == ((0, 8), (0,), -np.inf)
    assert (len(ledger), ledger.asked, ledger.calls, ledger.repeats) == (0, 0, 0, 0)


def test_ledger_in_memory_has_the_bytes_of_a_file(tmp_path: Path) -> None:
    env = budgeted()
    env.evaluate(ROWS[:5])
    env.evaluate(ROWS[3:9])
    data = written(tmp_path / "l", ROWS[:5], ROWS[3:9])
    assert env.ledger.to_bytes() == data == Ledger.from_bytes(data).to_bytes()


def test_columns_are_copies() -> None:
    env = budgeted()
    env.evaluate(ROWS[:3])
    before = env.ledger.to_bytes()
    for column in (env.ledger.sequences, env.ledger.values, env.ledger.asked_counts, env.ledger.call_numbers):
        column[:] = 0
    assert env.ledger.to_bytes() == before


def test_all_256_tokens_are_kept(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"V": 256, "L": 256, "c": 1, "k": 1, "seed": 0}
    env = EvaluationBudget(gymnasium.make("Ehrlich-v0", **sizes), 5, tmp_path / "l")
    env.evaluate(np.arange(256)[None])
    env.close()
    assert Ledger.read(tmp_path / "l").sequences.tolist() == [list(range(256))]


# Opening what is there


def test_reopening_gives_the_same_and_writes_nothing(tmp_path: Path) -> None:
    data = written(tmp_path / "l", ROWS[:5])
    with opened(tmp_path / "l") as ledger:
        assert ledger.to_bytes() == data
        assert (len(ledger), ledger.position, ledger.asked, ledger.calls) == (5, 0, 0, 0)
    assert (tmp_path / "l").read_bytes() == data


@pytest.mark.parametrize("length", range(HEADER + 3 * RECORD + 1))
def test_a_cut_at_any_byte_loses_the_half_record_only(tmp_path: Path, length: int) -> None:
    data = written(tmp_path / "l", ROWS[:3])
    (tmp_path / "l").write_bytes(data[:length])
    whole, half = divmod(max(0, length - HEADER), RECORD)
    with expected_repair(half > 0), opened(tmp_path / "l") as ledger:
        assert ledger.sequences.tolist() == ROWS[:whole].tolist()
    assert (tmp_path / "l").read_bytes() == data[: HEADER + whole * RECORD]


@pytest.mark.parametrize("zeros", [1, RECORD - 1, RECORD, RECORD + 1, 3 * RECORD, 4096])
@pytest.mark.parametrize("kept", [HEADER, HEADER + 2 * RECORD, HEADER + 2 * RECORD + 5])
def test_a_tail_of_zeros_is_dropped(tmp_path: Path, kept: int, zeros: int) -> None:
    """As after a power cut: the file had its new length, and the data had not reached the disk."""
    data = written(tmp_path / "l", ROWS[:3])
    (tmp_path / "l").write_bytes(data[:kept] + bytes(zeros))
    whole = (kept - HEADER) // RECORD
    if kept % RECORD and zeros >= RECORD:  # a torn record, then zeros
        (tmp_path / "l").write_bytes(data[:kept].ljust(HEADER + (whole + 1) * RECORD, b"\0"))
    with expected_repair(True), opened(tmp_path / "l") as ledger:
        assert len(ledger) == whole
    assert (tmp_path / "l").read_bytes() == data[: HEADER + whole * RECORD]


@pytest.mark.parametrize("length", [HEADER + 1, HEADER + RECORD - 1, HEADER + 2 * RECORD + 8])
def test_reading_a_cut_ledger_is_refused_and_repairs_nothing(tmp_path: Path, length: int) -> None:
    data = written(tmp_path / "l", ROWS[:3])[:length]
    (tmp_path / "l").write_bytes(data)
    whole = (length - HEADER) // RECORD
    with pytest.raises(InvalidLedger, match=f"half-written record after {whole} whole ones; resume the run"):
        Ledger.read(tmp_path / "l")
    assert (tmp_path / "l").read_bytes() == data


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def record(data: bytes, i: int) -> bytes:
    return data[HEADER + i * RECORD : HEADER + (i + 1) * RECORD]


def forged(*records: tuple[Any, ...]) -> bytes:
    """A ledger with right checksums, as anyone can write."""
    data = Ledger(SPEC.digest, 6, 8).to_bytes()
    check = zlib.crc32(data)
    for content in records:
        check = zlib.crc32(struct.pack("<8BdQI", *content), check)
        data += struct.pack("<8BdQII", *content, check)
    return data


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "token altered": (lambda d: flipped(d, HEADER + 2), "record 1 of 4 fails its checksum"),
    "value altered": (lambda d: flipped(d, HEADER + RECORD + 8 + 7), "record 2 of 4 fails its checksum"),
    "count altered": (lambda d: flipped(d, HEADER + RECORD + 16), "record 2 of 4 fails"),
    "call altered": (lambda d: flipped(d, HEADER + RECORD + 24), "record 2 of 4 fails"),
    "checksum altered": (lambda d: flipped(d, HEADER + 3 * RECORD - 1), "record 3 of 4 fails"),
    "record zeroed": (lambda d: d[:HEADER] + bytes(RECORD) + d[HEADER + RECORD :], "record 1 of 4 fails"),
    "record removed": (lambda d: d.replace(record(d, 1), b""), "record 2 of 3 fails"),
    "records swapped": (
        lambda d: d[:HEADER] + record(d, 1) + record(d, 0) + d[HEADER + 2 * RECORD :],
        "record 1 of 4 fails",
    ),
    "record twice": (lambda d: d[: HEADER + RECORD] + d[HEADER:], "record 2 of 5 fails"),
    "byte inserted": (lambda d: d[:100] + b"x" + d[100:], "record 2 of 4 fails"),
    "version": (lambda d: d.replace(b"BSGLEDG1", b"BSGLEDG2"), "is not a ledger of bioseq_gym"),
    "header altered": (lambda d: flipped(d, 20), "header fails its checksum"),
    "header padding": (lambda d: flipped(d, 50), "header fails its checksum"),
    "header checksum": (lambda d: flipped(d, 62), "header fails its checksum"),
    "foreign file": (lambda d: b"%PDF-1.7 " * 40, "is not a ledger of bioseq_gym"),
    "short foreign file": (lambda d: b"x", "is not a ledger of bioseq_gym"),
    "zeros": (lambda d: bytes(200), "is not a ledger of bioseq_gym"),
    "forged token": (lambda d: forged((*[6] * 8, 0.0, 1, 1)), "token outside 0"),
    "forged twice": (lambda d: forged((*[1] * 8, 0.0, 1, 1), (*[1] * 8, 0.5, 2, 1)), "holds a sequence twice"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_refused_and_the_file_is_left_as_it_is(
    tmp_path: Path, damage: Callable[[bytes], bytes], message: str
) -> None:
    data = damage(written(tmp_path / "l", ROWS[:4]))
    (tmp_path / "l").write_bytes(data)
    for attempt in (
        lambda: opened(tmp_path / "l"),
        lambda: Ledger.read(tmp_path / "l"),
        lambda: budgeted(tmp_path / "l"),
    ):
        with pytest.raises(InvalidLedger, match=message):
            attempt()
    with pytest.raises(InvalidLedger, match=f"submission {message}" if message.startswith("is not") else message):
        Ledger.from_bytes(data, "submission")
    assert (tmp_path / "l").read_bytes() == data


def test_an_altered_last_record_is_a_half_written_one(tmp_path: Path) -> None:
    """It can't be told from a torn write; the run that goes on asks it again."""
    data = written(tmp_path / "l", ROWS[:3])
    (tmp_path / "l").write_bytes(flipped(data, len(data) - 20))
    with pytest.raises(InvalidLedger, match="half-written record after 2 whole ones"):
        Ledger.read(tmp_path / "l")
    with expected_repair(True), opened(tmp_path / "l"):
        pass
    assert (tmp_path / "l").read_bytes() == data[:-RECORD]


@pytest.mark.parametrize("other", [{"seed": 1}, {"L": 9}, {"V": 7}, {"q": 1}], ids=str)
def test_ledger_of_another_function_is_refused(tmp_path: Path, other: dict[str, int]) -> None:
    data = written(tmp_path / "l", ROWS[:3])
    env = gymnasium.make("Ehrlich-v0", **{**SIZES, **other})
    with pytest.raises(InvalidLedger, match=f"of another function: V=6, L=8, digest {SPEC.digest[:12]}"):
        EvaluationBudget(env, 10, tmp_path / "l")
    assert (tmp_path / "l").read_bytes() == data


def test_an_empty_file_is_a_new_ledger_to_write_and_none_to_read(tmp_path: Path) -> None:
    (tmp_path / "l").touch()
    with pytest.raises(InvalidLedger, match="is not a ledger"):
        Ledger.read(tmp_path / "l")
    assert written(tmp_path / "l", ROWS[:1])[HEADER:] != b""


def test_paths_that_hold_no_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidLedger, match=r"can't open the ledger .*: Is a directory"):
        opened(tmp_path)
    with pytest.raises(InvalidLedger, match=r"can't open the ledger .*: No such file"):
        opened(tmp_path / "no" / "l")
    with pytest.raises(InvalidLedger, match=r"can't read the ledger .*: No such file"):
        Ledger.read(tmp_path / "l")


def test_a_ledger_can_be_open_once_only(tmp_path: Path) -> None:
    with opened(tmp_path / "l"):
        program = f"from bioseq_gym import Ledger; Ledger({SPEC.digest!r}, 6, 8, {str(tmp_path / 'l')!r})"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
        assert done.returncode == 1
        assert "InvalidLedger: the ledger" in done.stderr
        assert "is in use" in done.stderr
        with pytest.raises(InvalidLedger, match="is in use"):
            opened(tmp_path / "l")
        assert len(Ledger.read(tmp_path / "l")) == 0
    opened(tmp_path / "l").close()


@pytest.mark.parametrize("of", [("zz", 6, 8), ("00" * 32, 257, 8), ("00" * 32, 6, 0)], ids=str)
def test_a_ledger_is_of_a_function(of: tuple[str, int, int]) -> None:
    with pytest.raises(InvalidLedger, match="give 2 to 256, at least 1, and 64 hex digits"):
        Ledger(*of)


def test_refused_files_are_not_kept_open(tmp_path: Path) -> None:
    written(tmp_path / "l", ROWS[:3])
    (tmp_path / "cut").write_bytes((tmp_path / "l").read_bytes()[:-1])
    with pytest.raises(LedgerRepaired) as repaired:  # warnings are errors here
        opened(tmp_path / "cut")
    with pytest.raises(InvalidLedger) as refused:
        Ledger("00" * 32, 6, 8, tmp_path / "l")
    with pytest.raises(InvalidBudget) as too_small:
        budgeted(tmp_path / "l", budget=2)
    with opened(tmp_path / "l") as ledger, opened(tmp_path / "cut"):  # while the three tracebacks are alive
        assert (len(ledger), repaired, refused, too_small) == (3, repaired, refused, too_small)


def test_a_closed_ledger_answers_what_it_knows_and_records_nothing(tmp_path: Path) -> None:
    env = budgeted(tmp_path / "l")
    values, _ = env.evaluate(ROWS[:3])
    env.close()
    env.close()
    data = (tmp_path / "l").read_bytes()
    with pytest.raises(InvalidLedger, match="is closed; open it again to go on"):
        env.evaluate(ROWS[2:5])
    assert (env.remaining, len(env.ledger), (tmp_path / "l").read_bytes()) == (97, 3, data)
    assert env.evaluate(ROWS[:3])[0].tolist() == values.tolist()
    assert env.ledger.values.tolist() == values.tolist()


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_ledger_cannot_be_copied(tmp_path: Path, copied: Callable[[Ledger], object]) -> None:
    with opened(tmp_path / "l") as ledger, pytest.raises(InvalidBudget, match="a copy would be a second budget"):
        copied(ledger)


# Writes that fail


def full(file: int, data: bytes) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def half(file: int, data: bytes) -> int:
    return os.pwrite(file, data[: len(data) // 2], os.lseek(file, 0, os.SEEK_END))


def nothing(file: int, data: bytes) -> int:
    return 0


@pytest.mark.parametrize(
    ("write", "cause"), [(full, "No space left on device"), (half, "the disk is full"), (nothing, "the disk is full")]
)
def test_a_failed_write_charges_nothing(
    tmp_path: Path, write: Any, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = budgeted(tmp_path / "l")
    env.evaluate(ROWS[:3])
    before = (tmp_path / "l").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr("bioseq_gym.budget.ledger.os.write", write)
        with pytest.raises(InvalidLedger, match=f"can't write to the ledger .*: {cause}; nothing was charged"):
            env.evaluate(ROWS[2:7])
    assert (tmp_path / "l").read_bytes() == before == env.ledger.to_bytes()
    assert (env.remaining, env.ledger.asked, env.ledger.calls) == (97, 3, 1)
    env.evaluate(ROWS[2:7])
    env.close()
    assert (tmp_path / "l").read_bytes() == written(tmp_path / "other", ROWS[:3], ROWS[2:7])


def test_a_failed_fsync_charges_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = budgeted(tmp_path / "l")
    env.evaluate(ROWS[:3])
    before = (tmp_path / "l").read_bytes()

    def broken(file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr("bioseq_gym.budget.ledger.os.fsync", broken)
        patched.setattr("bioseq_gym.budget.ledger._FSYNC_SECONDS", 0.0)
        with pytest.raises(InvalidLedger, match="Input/output error; nothing was charged"):
            env.evaluate(ROWS[3:5])
    assert (tmp_path / "l").read_bytes() == before
    env.evaluate(ROWS[3:5])
    env.close()
    assert (tmp_path / "l").read_bytes() == written(tmp_path / "other", ROWS[:3], ROWS[3:5])


def test_an_interrupt_right_after_a_write_breaks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C, and then the run goes on in the same process, with another batch: that answer was seen by nobody."""
    env = budgeted(tmp_path / "l")
    env.evaluate(ROWS[:3])
    write = os.write

    def interrupted(file: int, data: bytes) -> int:
        write(file, data)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("bioseq_gym.budget.ledger.os.write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            env.evaluate(ROWS[3:8])
    assert len(env.ledger) == 3
    env.evaluate(ROWS[10:12])
    env.close()
    assert (tmp_path / "l").read_bytes() == written(tmp_path / "other", ROWS[:3], ROWS[10:12])
