"""The ledger: what was asked and what was answered, on disk before anyone sees the answer.

File format, little-endian. A header of 64 bytes: ``BSGLEDG1``, V (u32), L (u32), the function's SHA-256 (32 bytes),
1 where repeats are charged or else 0 (u8), 11 zero bytes, CRC-32 of those 60 bytes. Then one record of L + 24 bytes for
each distinct sequence, in the order asked: the tokens (L bytes), the value (f64), how many rows had been asked up to
and with this one (u64; more than its index where repeats came between), the call it came in (u32), and a CRC-32 (u32)
of the record that goes on from the CRC of the one before, so that a record altered, moved or removed breaks the chain.

A function with noise has another answer each time, so its ledger charges repeats: one record for each row, as if all
were distinct. A resumed run is answered from the records, place by place, as long as each batch asks what they hold;
the first batch that differs, and all after it, is new.
"""

from __future__ import annotations

import fcntl
import math
import os
import struct
import time
import warnings
import zlib
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from bioseq_gym.errors import InvalidBudget, InvalidLedger, LedgerRepaired

_MAGIC = b"BSGLEDG1"
_HEADER = struct.Struct("<8sII32sB11xI")
_REST = struct.Struct("<dQI")  # of a record, after the tokens and before the checksum
_VALUE = struct.Struct("<d")
_FSYNC_SECONDS = 1.0


def file_size(L: int, records: int) -> int:
    """Bytes of the file of a ledger with so many records over sequences of L tokens."""
    return _HEADER.size + records * record_dtype(L).itemsize


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
        repeats_charged: whether a row asked again is a new one, as for a function with noise.

    Raises:
        InvalidLedger: the file is damaged, belongs to another function, with noise or without, or is open in another
            process.
    """

    def __init__(
        self,
        digest: str,
        V: int,
        L: int,
        path: str | os.PathLike[str] | None = None,
        *,
        repeats_charged: bool = False,
    ) -> None:
        self.digest, self.V, self.L, self.repeats_charged = digest, V, L, repeats_charged
        self.path = None if path is None else Path(path)
        self.asked = 0
        """Rows that were asked in this process, repeats included."""
        self.calls = 0
        """Calls that asked them."""
        self.position = 0
        """Distinct rows that were asked in this process, in the ledger's own order. It is ``len(self)`` but in a run
        that was resumed and is still re-asking what the ledger holds."""
        self.best_value = -math.inf
        """The largest value that was answered in this process."""
        self._index: dict[bytes, int] = {}  # where repeats are charged, a key is a row and its place: all are distinct
        self._data = bytearray(_header(digest, V, L, repeats_charged))  # up to self._size, the content of the file
        self._record_size = record_dtype(L).itemsize
        self._known = 0  # records at the last write: there are never fewer
        self._file: int | None = None
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
        digest, V, L, repeats_charged = _parse_header(data, name)
        ledger = cls(digest, V, L, repeats_charged=repeats_charged)
        whole = ledger._load(data, name)
        if whole != len(data):
            raise InvalidLedger(f"{name} ends in a half-written record after {len(ledger)} whole ones; resume the run")
        ledger._leave_replay()
        return ledger

    def __len__(self) -> int:
        """Distinct rows that were answered: the evaluations charged."""
        return len(self._index)

    @property
    def repeats(self) -> int:
        """Rows asked in this process that the ledger had answered before: free."""
        return self.asked - self.position

    @property
    def sequences(self) -> NDArray[np.uint8]:
        """(n, L) the distinct rows, in the order asked. A copy, as are the other columns."""
        return self._column("tokens")

    @property
    def values(self) -> NDArray[np.float64]:
        """(n,) their values, -inf where infeasible."""
        return self._column("value")

    @property
    def asked_counts(self) -> NDArray[np.uint64]:
        """(n,) rows asked, repeats included, up to and with each distinct one."""
        return self._column("asked")

    @property
    def call_numbers(self) -> NDArray[np.uint32]:
        """(n,) the call, counted from 1, that each distinct row came in."""
        return self._column("call")

    def to_bytes(self) -> bytes:
        """The content of the ledger's file."""
        return bytes(self._data[: self._size])

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

    @property
    def _size(self) -> int:
        return _HEADER.size + len(self) * self._record_size

    def _column(self, name: str) -> NDArray[Any]:
        records = np.frombuffer(self._data, record_dtype(self.L), len(self), _HEADER.size)
        column: NDArray[Any] = records[name].copy()  # a view would keep the data from growing
        return column

    @property
    def _check(self) -> int:
        end = self._size
        return int.from_bytes(self._data[end - 4 : end], "little") if len(self) else zlib.crc32(self._data[:end])

    def _new_rows(self, rows: list[bytes]) -> dict[bytes, int]:
        """The rows that the ledger has no answer to, each with the index of its first occurrence in ``rows``."""
        new: dict[bytes, int] = {}
        for i, row in enumerate(rows):
            if row not in self._index and row not in new:
                new[row] = i
        return new

    def _unasked(self, rows: list[bytes]) -> int:
        """The number of distinct rows that this process has not asked, in the ledger's order, before."""
        return len({row for row in rows if self._index.get(row, self.position) >= self.position})

    def _answer(self, rows: list[bytes], new: dict[bytes, int], values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Record ``values`` of the ``new`` ones among ``rows``, then answer all rows."""
        if new:
            if self.position < len(self) and not self._goes_on_from_replay(rows, new):
                self._leave_replay()
            self._append(new, values)
        answers, position = [], self.position
        for row in rows:
            place = self._index[row]
            position += place == position
            answers.append(_VALUE.unpack_from(self._data, _HEADER.size + place * self._record_size + self.L)[0])
        self.best_value = max(self.best_value, max(answers))
        self.asked += len(rows)
        self.calls += 1
        self.position = position
        return np.array(answers)

    def _placed(self, rows: list[bytes]) -> list[bytes]:
        """The keys of ``rows`` where repeats are charged: each with the place of its record, if it is asked next."""
        return [row + place.to_bytes(8, "little") for place, row in enumerate(rows, self.position)]

    def _asks_again(self, rows: list[bytes]) -> bool:
        """Whether ``rows`` are what the ledger holds next, as far as it goes. For repeats that are charged."""
        return all(key in self._index for key in self._placed(rows[: len(self) - self.position]))

    def _answer_in_order(self, rows: list[bytes], values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Answer rows that :meth:`_asks_again`; ``values`` (B,) are of all rows, and those held already don't count."""
        keys = self._placed(rows)
        new = self._new_rows(keys)
        return self._answer(keys, new, values[list(new.values())])

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
        if len(self):
            self.asked = max(self.asked, int(self.asked_counts[-1]))
            self.calls = max(self.calls, int(self.call_numbers[-1]))
            self.best_value = float(self.values.max())
        self.position = len(self)

    def _append(self, new: dict[bytes, int], values: NDArray[np.float64]) -> None:
        """Write one record for each new row, and only then know them: the update of the index is what counts."""
        if len(self) < self._known:
            raise InvalidLedger(f"the ledger {self.path or 'in memory'} lost records; its file was left as it is")
        self._known = len(self)
        old, size, check, records = len(self), self._size, self._check, bytearray()
        for (row, i), value in zip(new.items(), values.tolist(), strict=True):
            content = row[: self.L] + _REST.pack(value, self.asked + i + 1, self.calls + 1)
            check = zlib.crc32(content, check)
            records += content + check.to_bytes(4, "little")
        if self.path is not None:
            self._write(records, size)
        self._data[size:] = records
        self._index.update(zip(new, range(old, old + len(new)), strict=True))

    def _write(self, data: bytes | bytearray, size: int) -> None:
        """One write(2). If it fails, for a full disk say, the file is cut back to the ``size`` that it had."""
        if self._file is None:
            raise InvalidLedger(f"the ledger {self.path} is closed; open it again to go on")
        if os.lseek(self._file, 0, os.SEEK_END) != size:  # an interrupt came between a write and its entry in the index
            os.ftruncate(self._file, size)
        try:
            cause = "the disk is full" if os.write(self._file, data) < len(data) else None
            now = time.monotonic()
            if cause is None and now - self._synced >= _FSYNC_SECONDS:
                os.fsync(self._file)
                self._synced = now
        except OSError as error:
            cause = error.strerror
        if cause is not None:
            os.ftruncate(self._file, size)
            raise InvalidLedger(f"can't write to the ledger {self.path}: {cause}; nothing was charged. Free some space")

    def _open(self, path: Path) -> None:
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._recover(path)
        except BaseException as error:
            if self._file is not None:
                os.close(self._file)  # not through close(): a file that is refused is not touched
                self._file = None
            if isinstance(error, BlockingIOError):
                raise InvalidLedger(f"the ledger {path} is in use; wait for its run to end or give another") from None
            if isinstance(error, OSError):
                raise InvalidLedger(f"can't open the ledger {path}: {error.strerror}") from None
            raise

    def _recover(self, path: Path) -> None:
        assert self._file is not None
        data = path.read_bytes()
        if len(data) < _HEADER.size and self._data.startswith(data):  # new, or killed while it was made
            os.ftruncate(self._file, 0)
            self._write(self._data, 0)
            return
        digest, V, L, repeats_charged = _parse_header(data, str(path))
        if (digest, V, L) != (self.digest, self.V, self.L):
            raise InvalidLedger(
                f"the ledger {path} is of another function: V={V}, L={L}, digest {digest[:12]} and not "
                f"{self.digest[:12]}; use a new file"
            )
        if repeats_charged != self.repeats_charged:
            raise wrong_kind(f"the ledger {path}", repeats_charged)
        whole = self._load(data, str(path))
        if whole != len(data):
            os.ftruncate(self._file, whole)
            message = f"the ledger {path} ended in a half-written record, dropped; {len(self)} evaluations are whole"
            warnings.warn(message, LedgerRepaired, stacklevel=4)

    def _load(self, data: bytes, name: str) -> int:
        """Remember the whole records of ``data``; return the number of bytes up to the end of the last one."""
        dtype = record_dtype(self.L)
        count = (len(data) - _HEADER.size) // dtype.itemsize
        body = data[_HEADER.size : _HEADER.size + count * dtype.itemsize]
        records = np.frombuffer(body, dtype)
        chain = _chain(body, dtype.itemsize, self._check)
        wrong = np.flatnonzero(records["check"] != np.array(chain, np.uint32))
        if wrong.size:
            first = int(wrong[0])
            if first < count - 1 and data[_HEADER.size + first * dtype.itemsize :].strip(b"\0"):
                raise InvalidLedger(
                    f"{name} is damaged or was altered: record {first + 1} of {count} fails its checksum. "
                    "Restore the file, or start the run again"
                )
            records = records[:first]  # the last write never reached the disk, or in part
        if (records["tokens"] >= self.V).any():
            raise InvalidLedger(f"{name} holds a token outside 0 .. {self.V - 1}; it was not written by this library")
        raw = records["tokens"].tobytes()
        rows = [raw[i : i + self.L] for i in range(0, len(raw), self.L)]
        self._index = {key: i for i, key in enumerate(self._placed(rows) if self.repeats_charged else rows)}
        if len(self._index) != len(records):
            raise InvalidLedger(f"{name} holds a sequence twice; it was not written by this library")
        self._data = bytearray(data[: self._size])
        return self._size


def wrong_kind(ledger: str, repeats_charged: bool) -> InvalidLedger:
    """The error for a ledger of a noisy function where one without noise is needed, or the other way round."""
    kind, other = ("with", "without") if repeats_charged else ("without", "with")
    return InvalidLedger(f"{ledger} is of a function {kind} noise, not {other}; use a new one, or the same noise_std")


def _header(digest: str, V: int, L: int, repeats_charged: bool) -> bytes:
    front = _HEADER.pack(_MAGIC, V, L, bytes.fromhex(digest), repeats_charged, 0)[:-4]
    return front + zlib.crc32(front).to_bytes(4, "little")


def _parse_header(data: bytes, name: str) -> tuple[str, int, int, bool]:
    if len(data) < _HEADER.size or not data.startswith(_MAGIC):
        raise InvalidLedger(f"{name} is not a ledger of bioseq_gym; give the ledger.bin of a run")
    _, V, L, digest, repeats_charged, check = _HEADER.unpack_from(data)
    if zlib.crc32(data[: _HEADER.size - 4]) != check or not 2 <= V <= 256 or L < 1 or repeats_charged > 1:
        raise InvalidLedger(f"{name} is damaged: its header fails its checksum. Restore the file, or start again")
    return digest.hex(), V, L, bool(repeats_charged)


def _chain(data: bytes, size: int, check: int) -> list[int]:
    """The CRC-32 of each record in ``data``, without its last 4 bytes, going on from the one before."""
    view, checks = memoryview(data), []
    for start in range(0, len(data), size):
        check = zlib.crc32(view[start : start + size - 4], check)
        checks.append(check)
    return checks
