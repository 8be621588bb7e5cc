"""What a ledger does with every row, compiled by Numba: find it, write its record, check its record.

A row is found by a 32-bit hash in a table with open addressing and linear probing. A slot is one word: the hash in its
upper half, in its lower half the place of the record + 1; 0 is a free slot. So the table can grow without a look at the
records, and a record is compared only where the hash is right. Slots are a power of two and at least half are free.

The rows of a submission come from strangers, who must not be able to choose rows that meet in a few slots. So the hash
is keyed: Multilinear-HM (Lemire and Kaser, "Strongly universal string hashing is fast", 2014), by which two rows meet
with a probability of 2^-32, whatever they are, for keys that are random and secret; after it comes a bijection, so that
rows that differ little lie far apart.

Arrays are flat and indices unsigned, as in the kernels of the function, and for the same reasons. They are filled in
loops, and viewed number by number, since ``zeros`` and ``view`` of an array take Numba a third of a second to compile.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bioseq_gym.compiled import compiled

U = np.uint64
Bytes = NDArray[np.uint8]
Words = NDArray[np.uint64]

HEADER = 64  # bytes before the first record
REST = 24  # bytes of a record after its tokens

_LOW = U(0xFFFF_FFFF)
_HEADER_CHECK = U(0x2144_DF1C)  # the CRC-32 of whatever ends in its own CRC-32, as the header does


def _crc_tables() -> NDArray[np.uint32]:
    """Flat (16, 256): the CRC-32 of a byte that has 0 .. 15 zero bytes behind it ("slicing by N", Kounavis 2005)."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> 1) ^ (table & 1) * np.uint32(0xEDB88320)
    tables = [table]
    for _ in range(15):
        tables.append(table[tables[-1] & 255] ^ (tables[-1] >> 8))
    return np.concatenate(tables)


_CRC = _crc_tables()


@compiled
def look_up(
    tokens: Bytes,  # (B, L)
    data: Bytes,  # the file's content
    slots: Words,
    keys: Words,  # (2 * ceil(L / 8) + 1,)
    count: int,  # records in data
    position: int,  # see Ledger.position
    work: Words,  # (3 * B,) out: hashes, places, and of each new row the index of its first occurrence
    answers: NDArray[np.float64],  # (B,) out, of rows that are known
) -> tuple[int, int, float]:
    """How many distinct rows are new; the position after the rows before the first of them; the largest answer.

    A new row's place is the one that its record will have. The answer is of use only where there is no new row.
    """
    B, L = U(tokens.shape[0]), U(tokens.shape[1])
    rows = tokens.reshape(-1)
    known, record = U(count), L + U(REST)
    size = U(2)
    while size < U(2) * B:
        size *= U(2)
    others = np.empty(size, U)  # a table of the new rows of this batch; the place in a slot is among them
    for s in range(size):
        others[s] = 0
    for i in range(B):  # in a loop of its own, so that the loads of the next one are in flight together
        work[i] = _hash(rows, i * L, L, keys)
    new, reached, best = U(0), U(position), -np.inf
    for i in range(B):
        hashed = work[i]
        mask = U(len(slots)) - U(1)
        index = hashed & mask
        slot = slots[index]
        while slot:
            at = U(HEADER) + ((slot & _LOW) - U(1)) * record
            if slot >> U(32) == hashed and _same(data, at, rows, i * L, L):
                break
            index = (index + U(1)) & mask
            slot = slots[index]
        if slot:
            place = (slot & _LOW) - U(1)
            answers[i] = U(_word(data, U(HEADER) + place * record + L)).view(np.float64)
            if i == U(0) or answers[i] > best:
                best = answers[i]
            if new == U(0) and place == reached:
                reached += U(1)
            work[B + i] = place
            continue
        mask = size - U(1)
        index = hashed & mask
        slot = others[index]
        while slot:
            at = work[U(2) * B + (slot & _LOW) - U(1)] * L
            if slot >> U(32) == hashed and _same(rows, at, rows, i * L, L):
                break
            index = (index + U(1)) & mask
            slot = others[index]
        if not slot:
            work[U(2) * B + new] = i
            new += U(1)
            slot = new
            others[index] = (hashed << U(32)) | new
        work[B + i] = known + (slot & _LOW) - U(1)
    return new, reached, best


@compiled
def write_records(
    data: Bytes, count: int, tokens: Bytes, work: Words, values: NDArray[np.float64], asked: int, call: int
) -> None:
    """Write the records of the new rows among ``tokens`` (B, L) after the ``count`` that are there.

    ``values`` are theirs and ``work`` is as from :func:`look_up`; ``asked`` rows were asked before the batch.
    """
    B, L = U(tokens.shape[0]), U(tokens.shape[1])
    rows = tokens.reshape(-1)
    record = L + U(REST)
    at = U(HEADER) + U(count) * record
    check = _check_before(data, at)
    for n in range(U(len(values))):
        first = work[U(2) * B + n]
        for t in range(L):
            data[at + t] = rows[first * L + t]
        _put(data, at + L, np.float64(values[n]).view(U), U(8))
        _put(data, at + L + U(8), U(asked) + first + U(1), U(8))
        _put(data, at + L + U(16), U(call), U(4))
        check = _crc(data, at, at + L + U(20), check)
        _put(data, at + L + U(20), check, U(4))
        at += record


@compiled
def commit(
    slots: Words,
    counter: Words,  # (1,) records that count
    base: int,  # the count that look_up was given
    work: Words,
    values: NDArray[np.float64],  # of the new rows
    answers: NDArray[np.float64],  # (B,) out, of the new rows
) -> float:
    """Let the records just written count, and give their answers too; return the largest of all answers."""
    B = U(len(answers))
    for n in range(U(len(values))):
        _insert(slots, work[work[U(2) * B + n]], counter[0] + n)
    counter[0] += U(len(values))
    best = -np.inf
    for i in range(B):
        if work[B + i] >= U(base):
            answers[i] = values[work[B + i] - U(base)]
        if i == U(0) or answers[i] > best:
            best = answers[i]
    return best


@compiled
def verify(data: Bytes, L: int, count: int) -> tuple[int, int]:
    """How many of ``count`` records stand in the chain of checksums, and the largest token in them."""
    length, highest = U(L), np.uint8(0)
    at = U(HEADER)
    check = _check_before(data, at)
    for n in range(U(count)):
        check = _crc(data, at, at + length + U(20), check)
        if check != _part(data, at + length + U(20), U(4)):
            return n, U(highest)
        for t in range(at, at + length):
            highest = max(highest, data[t])
        at += length + U(REST)
    return U(count), U(highest)


@compiled
def seal(data: Bytes, L: int, count: int) -> None:
    """Write the chain of checksums through ``count`` records that have all but it."""
    length = U(L)
    at = U(HEADER)
    check = _check_before(data, at)
    for _ in range(U(count)):
        check = _crc(data, at, at + length + U(20), check)
        _put(data, at + length + U(20), check, U(4))
        at += length + U(REST)


@compiled
def index_records(data: Bytes, L: int, count: int, slots: Words, keys: Words) -> bool:
    """Enter ``count`` records in an empty table; False where two hold the same tokens."""
    length, mask = U(L), U(len(slots)) - U(1)
    record = length + U(REST)
    for n in range(U(count)):
        at = U(HEADER) + n * record
        hashed = _hash(data, at, length, keys)
        index = hashed & mask
        slot = slots[index]
        while slot:
            other = U(HEADER) + ((slot & _LOW) - U(1)) * record
            if slot >> U(32) == hashed and _same(data, other, data, at, length):
                return False
            index = (index + U(1)) & mask
            slot = slots[index]
        slots[index] = (hashed << U(32)) | (n + U(1))
    return True


@compiled
def move(slots: Words, larger: Words) -> None:
    """Enter what is in ``slots`` in another table."""
    for i in range(U(len(slots))):
        if slots[i]:
            _insert(larger, slots[i] >> U(32), (slots[i] & _LOW) - U(1))


@compiled
def _insert(slots: Words, hashed: int, place: int) -> None:
    mask = U(len(slots)) - U(1)
    index = hashed & mask
    while slots[index]:
        index = (index + U(1)) & mask
    slots[index] = (hashed << U(32)) | (place + U(1))


@compiled
def _hash(data: Bytes, start: int, length: int, keys: Words) -> int:
    """32 bits: the upper half of the sum of (key + 4 tokens) * (key + 4 tokens), mixed as MurmurHash3 ends."""
    total = keys[U(0)]
    whole = length // U(8)
    for w in range(whole):
        word = _word(data, start + U(8) * w)
        total += (keys[U(2) * w + U(1)] + (word & _LOW)) * (keys[U(2) * w + U(2)] + (word >> U(32)))
    if U(8) * whole < length:
        word = _part(data, start + U(8) * whole, length - U(8) * whole)
        total += (keys[U(2) * whole + U(1)] + (word & _LOW)) * (keys[U(2) * whole + U(2)] + (word >> U(32)))
    mixed = total >> U(32)
    mixed = ((mixed ^ (mixed >> U(16))) * U(0x85EBCA6B)) & _LOW
    mixed = ((mixed ^ (mixed >> U(13))) * U(0xC2B2AE35)) & _LOW
    return mixed ^ (mixed >> U(16))


@compiled
def _same(left: Bytes, i: int, right: Bytes, j: int, length: int) -> bool:
    whole = length // U(8) * U(8)
    for t in range(U(0), whole, U(8)):
        if _word(left, i + t) != _word(right, j + t):
            return False
    rest = length - whole
    return _part(left, i + whole, rest) == _part(right, j + whole, rest)


@compiled
def _check_before(data: Bytes, at: int) -> int:
    """What the checksum of the record at ``at`` goes on from: that of the record before, or of the whole header."""
    return _HEADER_CHECK if at == U(HEADER) else _part(data, at - U(4), U(4))


@compiled
def _crc(data: Bytes, start: int, end: int, check: int) -> int:
    """``zlib.crc32(data[start:end], check)``."""
    crc, at = check ^ _LOW, start
    while at + U(16) <= end:  # the second word's look-ups need not wait for the first one's
        crc = _sliced(_word(data, at + U(8)), U(8)) ^ _sliced(_word(data, at) ^ crc, U(16))
        at += U(16)
    if at + U(8) <= end:
        crc = _sliced(_word(data, at) ^ crc, U(8))
        at += U(8)
    rest = end - at
    word = _part(data, at, rest) ^ crc
    crc = word >> (U(8) * rest)
    for i in range(rest):
        crc ^= U(_CRC[((rest - U(1) - i) << U(8)) + ((word >> (U(8) * i)) & U(255))])
    return crc ^ _LOW


@compiled
def _sliced(word: int, behind: int) -> int:
    """The CRC-32 of 8 bytes, of which the first has ``behind`` - 1 bytes behind it, all but these 8 zero."""
    crc = U(0)
    for i in range(U(8)):
        crc ^= U(_CRC[((behind - U(1) - i) << U(8)) + ((word >> (U(8) * i)) & U(255))])
    return crc


@compiled
def _word(data: Bytes, at: int) -> int:
    """8 bytes, little-endian; one load, once compiled."""
    word = U(0)
    for i in range(U(8)):
        word |= U(data[at + i]) << (U(8) * i)
    return word


@compiled
def _part(data: Bytes, at: int, size: int) -> int:
    """``size`` bytes, fewer than 8."""
    word = U(0)
    for i in range(size):
        word |= U(data[at + i]) << (U(8) * i)
    return word


@compiled
def _put(data: Bytes, at: int, word: int, size: int) -> None:
    for i in range(size):
        data[at + i] = np.uint8((word >> (U(8) * i)) & U(255))
