"""The ledger: what was asked and what was answered, on disk before anyone sees the answer.

File format, little-endian. A header of 64 bytes: ``BSGLEDG1``, V (u32), L (u32), the function's SHA-256 (32 bytes),
12 zero bytes, CRC-32 of those 60 bytes. Then one record of L + 24 bytes for each distinct sequence, in the order asked:
the tokens (L bytes), the value (f64), how many rows had been asked up to and with this one (u64; more than its index
where repeats came between), the call it came in (u32), and a CRC-32 (u32) of the record that goes on from the CRC of
the one before, so that a record altered, moved or removed breaks the chain.
"""

from __future__ import annotations

import fcntl
import math
import os
import struct
import time
import warnings
import zlib
from array import array
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from bioseq_gym.errors import InvalidBudget, InvalidLedger, LedgerRepaired

_MAGIC = b"BSGLEDG1"
_HEADER = struct.Struct("<8sII32s12xI")
_FSYNC_SECONDS = 1.0


def record_dtype(L: int) -> np.dtype[np.void]:
    """The packed dtype of one record of a ledger over sequences of L tokens."""
    return np.dtype([("tokens", "u1", (L,)), ("value", "<f8"), ("asked", "<u8"), ("call", "<u4"), ("check", "<u4")])


class Ledger:
    """An append-only record of the evaluations of one function, in memory and, with a ``path``, in a file.

    Args:
        digest: hex SHA-256 of the function's definition.
        V: vocabulary size, at most 256.
        L: sequence length.
        path: the file. One that exists is opened: a half-written last record, which a killed process may leave, is
            dropped with a :class:`LedgerRepaired` warning, and the run can go on, see :attr:`position`.

    Raises:
        InvalidLedger: the file is damaged, belongs to another function, or is open in another process.
    """

    def __init__(self, digest: str, V: int, L: int, path: str | os.PathLike[str] | None = None) -> None:
        self.digest, self.V, self.L = digest, V, L
        self.path = None if path is None else Path(path)
        self.asked = 0
        """Rows that were asked in this process, repeats included."""
        self.calls = 0
        """Calls that asked them."""
        self.position = 0
        """Distinct rows that were asked in this process, in the ledger's own order. It is ``len(self)`` but in a run
        that was resumed and is still re-asking what the ledger holds."""
        self.best_value = -math.inf
        """The largest value so far."""
        self._rows: list[bytes] = []
        self._index: dict[bytes, int] = {}
        self._values, self._asked, self._call = array("d"), array("Q"), array("I")
        self._file: int | None = None
        self._size = 0
        self._check = 0
        self._synced = 0.0
        if self.path is not None:
            self._open(self.path)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Ledger:
        """The ledger in a file, in memory only: the file is neither locked, repaired nor written.

        Raises:
            InvalidLedger: the file can't be read, is damaged, or ends in a half-written record.
        """
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise InvalidLedger(f"can't read the ledger {path}: {error.strerror}") from None
        return cls.from_bytes(data, str(path))

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "ledger") -> Ledger:
        """The ledger in ``data``, the content of a file, called ``name`` in errors. Raises as :meth:`read` does."""
        digest, V, L = _parse_header(data, name)
        ledger = cls(digest, V, L)
        whole = ledger._load(data, name)
        if whole != len(data):
            raise InvalidLedger(f"{name} ends in a half-written record after {len(ledger)} whole ones; resume the run")
        ledger.position = len(ledger)
        ledger.asked = int(ledger._asked[-1]) if len(ledger) else 0
        ledger.calls = int(ledger._call[-1]) if len(ledger) else 0
        return ledger

    def __len__(self) -> int:
        """Distinct rows that were answered: the evaluations charged."""
        return len(self._rows)

    @property
    def repeats(self) -> int:
        """Rows asked in this process that the ledger had answered before: free."""
        return self.asked - self.position

    @property
    def sequences(self) -> NDArray[np.uint8]:
        """(n, L) the distinct rows, in the order asked. Read-only."""
        return np.frombuffer(b"".join(self._rows), np.uint8).reshape(-1, self.L)

    @property
    def values(self) -> NDArray[np.float64]:
        """(n,) their values, -inf where infeasible. A copy."""
        return np.array(self._values, np.float64)

    @property
    def asked_counts(self) -> NDArray[np.uint64]:
        """(n,) rows asked, repeats included, up to and with each distinct one. A copy."""
        return np.array(self._asked, np.uint64)

    @property
    def call_numbers(self) -> NDArray[np.uint32]:
        """(n,) the call, counted from 1, that each distinct row came in. A copy."""
        return np.array(self._call, np.uint32)

    def to_bytes(self) -> bytes:
        """The content of the ledger's file."""
        header = _header(self.digest, self.V, self.L)
        return header + self._records(self._rows, self._values, self._asked, self._call, zlib.crc32(header)).tobytes()

    def close(self) -> None:
        """Force the file to disk and release it. Asking again is then an error; reading is not."""
        if self._file is not None:
            os.fsync(self._file)
            os.close(self._file)
            self._file = None

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            self.close()

    def __reduce_ex__(self, _: object) -> NoReturn:
        raise InvalidBudget("a ledger can't be copied or pickled: a copy would be a second budget")

    def _new_rows(self, rows: list[bytes]) -> dict[bytes, int]:
        """The rows that the ledger has no answer to, each with the index of its first occurrence in ``rows``."""
        new: dict[bytes, int] = {}
        for i, row in enumerate(rows):
            if row not in self._index and row not in new:
                new[row] = i
        return new

    def _answer(self, rows: list[bytes], new: dict[bytes, int], values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Record ``values`` of the ``new`` ones among ``rows``, then answer all rows."""
        if new and self.position < len(self) and not self._goes_on_from_replay(rows, new):
            self._leave_replay()
        if new:
            asked = array("Q", (self.asked + i + 1 for i in new.values()))
            self._append(list(new), array("d", values.tolist()), asked, array("I", [self.calls + 1]) * len(new))
        answers, position = [], self.position
        for row in rows:
            i = self._index[row]
            answers.append(self._values[i])
            if i == position:
                position += 1
        self.asked += len(rows)
        self.calls += 1
        self.position = position
        return np.array(answers, np.float64)

    def _goes_on_from_replay(self, rows: list[bytes], new: dict[bytes, int]) -> bool:
        """Whether the batch re-asks, in order, all that is left to replay before its first new row.

        So it does when a killed process had written the first part of this very batch.
        """
        position = self.position
        for row in rows[: min(new.values())]:
            position += self._index[row] == position
        return position == len(self)

    def _leave_replay(self) -> None:
        """The run asks something else than it did before it was cut: count all that the ledger holds as asked."""
        self.position = len(self)
        self.asked = max(self.asked, int(self._asked[-1]))
        self.calls = max(self.calls, int(self._call[-1]))

    def _append(self, rows: list[bytes], values: array[float], asked: array[int], call: array[int]) -> None:
        if self.path is not None:
            if self._file is None:
                raise InvalidLedger(f"the ledger {self.path} is closed; open it again to go on")
            records = self._records(rows, values, asked, call, self._check)
            self._write(records.tobytes())
            self._check = int(records["check"][-1])
        self._remember(rows, values, asked, call)

    def _remember(self, rows: list[bytes], values: array[float], asked: array[int], call: array[int]) -> None:
        self._index.update(zip(rows, range(len(self._rows), len(self._rows) + len(rows)), strict=True))
        self._rows += rows
        self.best_value = max(self.best_value, max(values, default=-math.inf))
        self._values += values
        self._asked += asked
        self._call += call

    def _records(
        self, rows: list[bytes], values: array[float], asked: array[int], call: array[int], check: int
    ) -> NDArray[np.void]:
        records = np.empty(len(rows), record_dtype(self.L))
        records["tokens"] = np.frombuffer(b"".join(rows), np.uint8).reshape(-1, self.L)
        records["value"], records["asked"], records["call"] = values, asked, call
        records["check"] = _chain(records.tobytes(), records.itemsize, check)
        return records

    def _write(self, data: bytes) -> None:
        """One write(2). If it fails half-way, for a full disk say, the file is put back to what it was."""
        assert self._file is not None
        try:
            written = os.write(self._file, data)
            cause = "the disk is full" if written < len(data) else ""
        except OSError as error:
            cause = str(error.strerror)
        if cause:
            os.ftruncate(self._file, self._size)
            raise InvalidLedger(f"can't write to the ledger {self.path}: {cause}; nothing was charged. Free some space")
        self._size += len(data)
        now = time.monotonic()
        if now - self._synced >= _FSYNC_SECONDS:
            os.fsync(self._file)
            self._synced = now

    def _open(self, path: Path) -> None:
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            self._file = None
            raise InvalidLedger(f"the ledger {path} is open in another process; wait for it or use another") from None
        except OSError as error:
            raise InvalidLedger(f"can't open the ledger {path}: {error.strerror}") from None
        try:
            self._recover(path)
        except InvalidLedger:
            os.close(self._file)  # not through close(): a file that is refused is not touched
            self._file = None
            raise

    def _recover(self, path: Path) -> None:
        assert self._file is not None
        header = _header(self.digest, self.V, self.L)
        data = path.read_bytes()
        if len(data) < len(header) and header.startswith(data):  # new, or killed while it was made
            os.ftruncate(self._file, 0)
            self._size, self._check = 0, zlib.crc32(header)
            self._write(header)
            return
        digest, V, L = _parse_header(data, str(path))
        if (digest, V, L) != (self.digest, self.V, self.L):
            raise InvalidLedger(
                f"the ledger {path} is of another function (V={V}, L={L}, digest {digest[:12]}, not {self.digest[:12]}); "
                "use a new file"
            )
        self._size = self._load(data, str(path))
        if self._size != len(data):
            os.ftruncate(self._file, self._size)
            message = f"the ledger {path} ended in a half-written record, dropped; {len(self)} evaluations are whole"
            warnings.warn(message, LedgerRepaired, stacklevel=4)

    def _load(self, data: bytes, name: str) -> int:
        """Remember the whole records of ``data``; return the number of bytes up to the end of the last one."""
        dtype = record_dtype(self.L)
        count = (len(data) - _HEADER.size) // dtype.itemsize
        body = data[_HEADER.size : _HEADER.size + count * dtype.itemsize]
        records = np.frombuffer(body, dtype)
        chain = _chain(body, dtype.itemsize, zlib.crc32(data[: _HEADER.size]))
        wrong = np.flatnonzero(records["check"] != np.array(chain, np.uint32))
        if wrong.size:
            first = int(wrong[0])
            if first < count - 1 and (data[_HEADER.size + first * dtype.itemsize :].strip(b"\0")):
                raise InvalidLedger(
                    f"{name} is damaged or was altered: record {first + 1} of {count} fails its checksum. "
                    "Restore the file, or start the run again"
                )
            count = first  # the tail of a file whose last write never reached the disk
            records, chain = records[:count], chain[:count]
        self._check = chain[-1] if chain else zlib.crc32(data[: _HEADER.size])
        if (records["tokens"] >= self.V).any():
            raise InvalidLedger(f"{name} holds a token outside 0 .. {self.V - 1}; it was not written by this library")
        raw = records["tokens"].tobytes()
        rows = [raw[i : i + self.L] for i in range(0, len(raw), self.L)]
        columns = (array("d", records["value"].tolist()), array("Q", records["asked"].tolist()))
        self._remember(rows, *columns, array("I", records["call"].tolist()))
        if len(self._index) != len(rows):
            raise InvalidLedger(f"{name} holds a sequence twice; it was not written by this library")
        return _HEADER.size + count * dtype.itemsize


def _header(digest: str, V: int, L: int) -> bytes:
    front = _HEADER.pack(_MAGIC, V, L, bytes.fromhex(digest), 0)[:-4]
    return front + zlib.crc32(front).to_bytes(4, "little")


def _parse_header(data: bytes, name: str) -> tuple[str, int, int]:
    if len(data) < _HEADER.size or not data.startswith(_MAGIC):
        raise InvalidLedger(f"{name} is not a ledger of bioseq_gym; give the ledger.bin of a run")
    _, V, L, digest, check = _HEADER.unpack_from(data)
    if zlib.crc32(data[: _HEADER.size - 4]) != check or not 2 <= V <= 256 or L < 1:
        raise InvalidLedger(f"{name} is damaged: its header fails its checksum. Restore the file, or start again")
    return digest.hex(), V, L


def _chain(data: bytes, size: int, check: int) -> list[int]:
    """The CRC-32 of each record in ``data``, without its last 4 bytes, going on from the one before."""
    view, checks = memoryview(data), []
    for start in range(0, len(data), size):
        check = zlib.crc32(view[start : start + size - 4], check)
        checks.append(check)
    return checks
