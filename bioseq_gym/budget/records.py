"""The records of a ledger: the bytes of its file, and where each row is among them.

File format, little-endian. A header of 64 bytes: ``BSGLEDG1``, V (u32), L (u32), the function's SHA-256 (32 bytes),
1 where repeats are charged or else 0 (u8), 11 zero bytes, CRC-32 of those 60 bytes. Then one record of L + 24 bytes for
each distinct sequence, in the order asked: the tokens (L bytes), the value (f64), how many rows had been asked up to
and with this one (u64; more than its index where repeats came between), the call it came in (u32), and a CRC-32 (u32)
of the record that goes on from the CRC of the one before, so that a record altered, moved or removed breaks the chain.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bioseq_gym.budget import kernels
from bioseq_gym.errors import InvalidLedger

_MAGIC = b"BSGLEDG1"
_HEADER = struct.Struct("<8sII32sB11xI")
_AHEAD = 2**26  # bytes: data grow eightfold up to here, then twofold; what is not touched takes no memory


def record_dtype(L: int) -> np.dtype[np.void]:
    """The packed dtype of one record of a ledger over sequences of L tokens."""
    return np.dtype([("tokens", "u1", (L,)), ("value", "<f8"), ("asked", "<u8"), ("call", "<u4"), ("check", "<u4")])


def file_size(L: int, records: int) -> int:
    """Bytes of the file of a ledger with so many records over sequences of L tokens."""
    return kernels.HEADER + records * record_dtype(L).itemsize


def pack_header(digest: str, V: int, L: int, repeats_charged: bool) -> bytes:
    """The first bytes of the file; :class:`InvalidLedger` where no function has these."""
    if not re.fullmatch("[0-9a-f]{64}", digest) or not 2 <= V <= 256 or L < 1:
        raise InvalidLedger(
            f"no function has V={V}, L={L} and the digest {digest!r}; give 2 to 256, at least 1, and 64 hex digits"
        )
    front = _HEADER.pack(_MAGIC, V, L, bytes.fromhex(digest), repeats_charged, 0)[:-4]
    return front + zlib.crc32(front).to_bytes(4, "little")


def parse_header(data: bytes, name: str) -> tuple[str, int, int, bool]:
    """What :func:`pack_header` was given for the head of ``data``, the content of a file called ``name`` in errors.

    Raises:
        InvalidLedger: they are no header, or a damaged one.
    """
    if len(data) < kernels.HEADER or not data.startswith(_MAGIC):
        raise InvalidLedger(f"{name} is not a ledger of bioseq_gym; give the ledger.bin of a run")
    _, V, L, digest, repeats_charged, check = _HEADER.unpack_from(data)
    if zlib.crc32(data[: kernels.HEADER - 4]) != check or not 2 <= V <= 256 or L < 1 or repeats_charged > 1:
        raise InvalidLedger(f"{name} is damaged: its header fails its checksum. Restore the file, or start again")
    return digest.hex(), V, L, bool(repeats_charged)


class Batch(NamedTuple):
    """Rows that are asked, and what the records say of them; good until the next record is written."""

    tokens: NDArray[np.uint8]
    """(B, L) a copy of what was asked."""
    work: NDArray[np.uint64]
    """(3 * B,) hashes; places; and of each new row the index of its first occurrence. See :func:`kernels.look_up`."""
    known: int
    """Records when the rows were looked up: a place below is that of a record."""
    new: int
    """Distinct rows that there is no record of."""
    reached: int
    """The ledger's position after the rows before the first new one."""
    answers: NDArray[np.float64]
    """(B,) values; those of new rows are not there yet."""
    best: float
    """The largest answer, where no row is new."""

    def new_tokens(self) -> NDArray[np.uint8]:
        """(new, L) the first occurrences of the new rows, in their order."""
        B = len(self.tokens)
        if self.new == B:
            return self.tokens
        rows: NDArray[np.uint8] = self.tokens[self.work[2 * B : 2 * B + self.new].astype(np.intp)]
        return rows

    def places(self) -> NDArray[np.uint64]:
        """(B,) the places of the rows' records; new rows follow on those that are there."""
        return self.work[len(self.tokens) : 2 * len(self.tokens)]


class Records:
    """Append-only records in memory: first written, which changes nothing that is known, and then counted.

    Args:
        content: header and whole records; an array, which must be writable, is taken over.
        L: sequence length.
        indexed: whether rows can be looked up.
    """

    def __init__(self, content: bytes | NDArray[np.uint8], L: int, indexed: bool) -> None:
        self._dtype = record_dtype(L)
        self._L, self._indexed, self._record = L, indexed, self._dtype.itemsize
        count, rest = divmod(len(content) - kernels.HEADER, self._record)
        assert rest == 0
        # What is beyond the records that count is undefined.
        data: Any = content if isinstance(content, np.ndarray) else np.frombuffer(content, np.uint8).copy()
        self._data = data
        self._counter = np.array([count], np.uint64)
        self._slots = np.zeros(2, np.uint64)

    @classmethod
    def of_columns(
        cls,
        header: bytes,
        tokens: NDArray[np.uint8],
        values: NDArray[np.float64],
        asked: NDArray[np.uint64],
        calls: NDArray[np.uint32],
    ) -> Records:
        """The records, not yet indexed, whose fields are ``tokens`` (n, L) and the others (n,), after ``header``."""
        count, L = tokens.shape
        data = np.empty(kernels.HEADER + count * record_dtype(L).itemsize, np.uint8)
        data[: kernels.HEADER] = np.frombuffer(header, np.uint8)
        records = np.frombuffer(data, record_dtype(L), count, kernels.HEADER)
        for name, column in {"tokens": tokens, "value": values, "asked": asked, "call": calls}.items():
            records[name] = column
        kernels.seal(data, L, count)
        return cls(data, L, True)

    def __len__(self) -> int:
        return self._counter.item()

    @property
    def size(self) -> int:
        """Bytes of the content."""
        return kernels.HEADER + len(self) * self._record

    def to_bytes(self) -> bytes:
        """The content."""
        content: bytes = self._data[: self.size].tobytes()
        return content

    def column(self, name: str) -> NDArray[Any]:
        """A copy of one field of all records."""
        count = len(self)  # first: another thread may add records, and put larger data in the place of the old
        column: NDArray[Any] = np.frombuffer(self._data, self._dtype, count, kernels.HEADER)[name].copy()
        return column

    def between(self, first: int, end: int) -> NDArray[np.void]:
        """A view of the records ``first`` .. ``end`` - 1. Drop it soon."""
        return np.frombuffer(self._data, self._dtype, end - first, kernels.HEADER + first * self._record)

    def verify(self) -> int:
        """Count only the records up to the first that breaks the chain of checksums; return their largest token."""
        count, highest = kernels.verify(self._data, self._L, len(self))
        self._counter[0] = count
        return int(highest)

    def index(self) -> bool:
        """Make it possible to look up what is there; False where two records hold the same tokens."""
        self._slots = np.zeros(_slots_for(len(self)), np.uint64)
        return bool(kernels.index_records(self._data, self._L, len(self), self._slots, self._keys))

    def look_up(self, tokens: NDArray[np.uint8], position: int) -> Batch:
        """What is known of ``tokens`` (B, L), C-contiguous and writable; ``position`` is the ledger's."""
        B, known = len(tokens), self._counter.item()
        work, answers = np.empty(3 * B, np.uint64), np.empty(B)
        found = kernels.look_up(tokens, self._data, self._slots, self._keys, known, position, work, answers)
        return Batch(tokens, work, known, found[0], found[1], answers, found[2])

    def write(self, batch: Batch, values: NDArray[np.float64], asked: int, call: int) -> memoryview:
        """Write a record for each new row, which does not count yet, and return their bytes.

        ``values`` are theirs; ``asked`` rows were asked before the batch, and ``call`` is its number.
        """
        if len(values) != batch.new:
            raise ValueError(f"{len(values)} values for {batch.new} rows")
        count = len(self)
        size = kernels.HEADER + count * self._record
        end = size + len(values) * self._record
        if end > len(self._data):
            data = np.empty(max(2 * end, min(8 * end, _AHEAD)), np.uint8)
            data[:size] = self._data[:size]
            self._data = data
        if self._indexed and 2 * (count + len(values)) > len(self._slots):
            slots = np.zeros(_slots_for(count + len(values)), np.uint64)
            kernels.move(self._slots, slots)
            self._slots = slots
        kernels.write_records(self._data, count, batch.tokens, batch.work, values, asked, call)
        return memoryview(self._data)[size:end]

    def commit(self, batch: Batch, values: NDArray[np.float64]) -> float:
        """Count the records just written, complete ``batch.answers``, and return the largest of them.

        All in one call of a kernel, which no signal interrupts.
        """
        best: float = kernels.commit(self._slots, self._counter, batch.known, batch.work, values, batch.answers)
        return best

    def commit_unindexed(self, count: int) -> None:
        """Count ``count`` records just written."""
        self._counter[0] = len(self) + count

    @cached_property
    def _keys(self) -> NDArray[np.uint64]:
        """Of the hash; secret, and made when rows of this length were seen, so that no header alone takes memory."""
        return np.frombuffer(bytearray(os.urandom(8 * (2 * -(-self._L // 8) + 1))), np.uint64)


def _slots_for(count: int) -> int:
    """The least power of two that leaves half of the slots free."""
    return 1 << max(1, 2 * count - 1).bit_length()
