"""The hot path: feasibility and motif matches of a batch of sequences, compiled by Numba.

``score_batch`` gives each of 64 sequences one bit of a 64-bit word, so that one instruction answers for 64 sequences
(bit slicing: Biham, FSE 1997), and for more of them where LLVM finds vector registers. It takes a *tile*, W blocks of
64 sequences, through these steps:

1. ``_load``: the bytes, 8 tokens to a word.
2. ``_mark_infeasible``: look up whether the transitions within each window of three tokens are allowed.
3. ``_transpose`` and ``_digits``: ``digit[d, v, t]``, whether digit d of token t is v, in each sequence. A token has
   three digits, of two bits or of three.
4. ``_count``: how many elements of a motif match if it starts at position l, in binary: ``count[p, l]``.
5. ``_maximum``: the largest count over l.
6. ``_multiply``: turn the counts of all motifs into the value.

``score_rows`` takes one sequence after the other, which is faster for a few. ``reference.py`` says the same in plain
NumPy; the tests hold both to it. In ``score_batch`` arrays are flat and indices unsigned: Numba would test signed ones
for being negative, and count references to slices, and that takes longer than what is computed here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bioseq_gym.compiled import compiled

U = np.uint64
Words = NDArray[np.uint64]
Rows = tuple[int, int, int]

_TILE = 32  # words of 8 tokens that a tile is wide: its arrays then fit the innermost cache
_FIELDS = U(0x0001_0001_0001_0001)  # a word as four fields of 16 bits
_FIELD = U(0xFFFF)


@compiled
def score_rows(
    x: NDArray[np.integer],  # (B, L), uint8 or int64
    forbidden: NDArray[np.uint8],  # (V, V) 1 where token b must not follow token a
    motifs: NDArray[np.int64],  # (c, k)
    offsets: NDArray[np.int64],  # (c, k) positions of the elements relative to the first
    response: NDArray[np.float64],  # (k + 1,) r(h) for 0 .. k matching elements
    values: NDArray[np.float64],  # (B,) out
) -> bool:
    """Write f(x) into ``values``, -inf where x is infeasible; False where a token is not in 0 .. V-1."""
    B, L = x.shape
    c, k = motifs.shape
    V = U(len(forbidden))
    row, count = np.empty(L, np.uint8), np.empty(L, np.uint16)
    for b in range(B):
        highest = U(0)
        for t in range(L):
            token = x[b, t]
            highest = max(highest, U(token))  # a negative token is a large one
            row[t] = token
        if highest >= V:
            return False
        infeasible = 0
        for t in range(L - 1):
            infeasible |= forbidden[row[t], row[t + 1]]
        if infeasible:
            values[b] = -np.inf
            continue
        value = 1.0
        for i in range(c):
            starts = L - offsets[i, k - 1]
            count[:starts] = 0
            for j in range(k):
                element, tokens = motifs[i, j], row[offsets[i, j] :]
                for first in range(starts):
                    count[first] += tokens[first] == element
            best = 0
            for first in range(starts):
                best = max(best, count[first])
            value *= response[best]
        values[b] = value
    return True


@compiled
def narrow(x: NDArray[np.int64], V: int, tokens: NDArray[np.uint8]) -> bool:
    """Copy ``x`` (B, L) into ``tokens`` (B, L); False where it is not in 0 .. V-1."""
    wide, bytes_ = x.reshape(-1), tokens.reshape(-1)
    highest = U(0)
    for t in range(len(wide)):
        token = wide[t]
        highest = max(highest, U(token))  # a negative token is a large one
        bytes_[t] = token
    return highest < U(V)


@compiled
def score_batch(
    x: NDArray[np.uint8],  # (B, L)
    V: int,
    bits: int,  # of a token
    forbidden: NDArray[np.uint8],  # see tables.py
    motifs: NDArray[np.int64],  # (c, k)
    offsets: NDArray[np.int64],  # (c, k) positions of the elements relative to the first
    response: NDArray[np.float64],  # (k + 1,) r(h) for 0 .. k matching elements
    products: NDArray[np.float64],  # see tables.py
    values: NDArray[np.float64],  # (B,) out
) -> bool:
    """Write f(x) into ``values``, -inf where x is infeasible; False where a token is not in 0 .. V-1."""
    B, L = U(x.shape[0]), U(x.shape[1])
    tokens = x.reshape(-1)
    c, k = U(motifs.shape[0]), U(motifs.shape[1])
    G = (L + U(7)) // U(8)  # words to a sequence
    W = max(U(1), min(U(_TILE) // G, (B + U(63)) // U(64)))  # blocks to a tile
    T = W * U(8) * G  # positions in a row of a bit-sliced array: those of the first block, then of the next
    width = U(2) if bits <= 5 else U(3)  # bits of a digit of a token
    P = U(1)  # bits of a count
    while k >> P:
        P += U(1)

    words, windows = np.zeros(U(8) * T + U(1), U), np.empty(U(8) * T, U)
    infeasible = np.empty(U(64) * W, np.uint8)
    planes, digit = np.zeros(U(3) * width * T, U), np.zeros(((U(3) << width) + U(1)) * T, U)
    count, scratch = np.empty(max(P, U(3)) * T, U), np.empty(T, U)
    best = np.zeros(U(64) * W, U)

    for start in range(U(0), B, U(64) * W):
        rows = min(U(64) * W, B - start)
        highest = np.uint8(0)
        for t in range(start * L, (start + rows) * L):
            highest = max(highest, tokens[t])
        if highest >= V:
            return False
        _load(tokens, start, rows, L, G, W, words)
        _mark_infeasible(words, G, W, U(bits), forbidden, windows, infeasible)
        _transpose(words, W * G, U(bits))
        _digits(words, U(bits), width, W * G, planes, digit)
        done = U(0)
        while done < c:  # as many motifs at a time as their counts fit in 64 bits
            group = min(U(64) // P, c - done)
            for i in range(group):
                _count(digit, width, T, motifs[done + i], offsets[done + i], P, count, scratch)
                starts = L - U(offsets[done + i, k - U(1)])
                for w in range(W):
                    _maximum(count, P, T, w * U(8) * G, starts, scratch, best, i * P * W + w, W)
            _transpose(best, W, U(8))  # now best[s, w] holds all the counts of sequence s in block w
            _multiply(best, W, P, group, done == U(0), response, products, start, rows, values)
            done += group
        for s in range(rows):
            if infeasible[s]:
                values[start + s] = -np.inf
    return True


@compiled
def _load(tokens: NDArray[np.uint8], start: int, rows: int, L: int, G: int, W: int, words: Words) -> None:
    """``words[s, w, g]``: tokens 8g .. 8g+7 of row start + 64w + s; beyond the ends, the last token or row."""
    whole = L // U(8)
    for w in range(W):
        for s in range(U(64)):
            row = (start + min(w * U(64) + s, rows - U(1))) * L
            out = (s * W + w) * G
            for g in range(whole):
                word = U(0)
                for i in range(U(8)):
                    word |= U(tokens[row + U(8) * g + i]) << (U(8) * i)
                words[out + g] = word
            if whole < G:
                word = U(0)
                for i in range(U(8)):
                    word |= U(tokens[row + min(U(8) * whole + i, L - U(1))]) << (U(8) * i)
                words[out + whole] = word


@compiled
def _mark_infeasible(
    words: Words, G: int, W: int, bits: int, forbidden: NDArray[np.uint8], windows: Words, infeasible: NDArray[np.uint8]
) -> None:
    """``infeasible[w, s]``: whether sequence s of block w holds a forbidden window."""
    infeasible[:] = 0
    n = U(len(windows))
    if bits <= U(5):
        for f in range(n):
            windows[f] = _triples(words[f], words[f + U(1)], bits)
        for f in range(G - U(1), n, G):  # a sequence's last token is followed by itself, which is always allowed
            windows[f] = _triples(words[f], words[f] >> U(56), bits)
    else:
        _look_up(words, G, W, forbidden, infeasible)
        for f in range(n):
            windows[f] = (words[f] >> U(8)) | (words[f + U(1)] << U(56))
        for f in range(G - U(1), n, G):
            windows[f] = (words[f] >> U(8)) | (words[f] >> U(56) << U(56))
    _look_up(windows, G, W, forbidden, infeasible)


@compiled
def _triples(word: int, following: int, bits: int) -> int:
    """The four windows of three tokens that begin at tokens 0, 2, 4 and 6 of ``word``, as fields of 16 bits."""
    first = _FIELDS * ((U(1) << bits) - U(1))
    second, third = first << bits, first << (U(2) * bits)
    shifted = (word >> (U(16) - U(2) * bits)) | (following << (U(48) + U(2) * bits))
    return (word & first) | ((word >> (U(8) - bits)) & second) | (shifted & third)


@compiled
def _look_up(windows: Words, G: int, W: int, forbidden: NDArray[np.uint8], infeasible: NDArray[np.uint8]) -> None:
    for w in range(W):
        for s in range(U(64)):
            first = (s * W + w) * G
            for f in range(first, first + G):
                window = windows[f]
                if (forbidden[window & _FIELD] | forbidden[(window >> U(16)) & _FIELD]) | (
                    forbidden[(window >> U(32)) & _FIELD] | forbidden[window >> U(48)]
                ):  # four look-ups at once, then a way out: the loads are in flight together
                    infeasible[w * U(64) + s] = 1
                    break


@compiled
def _transpose(words: Words, n: int, bits: int) -> None:
    """Swap rows and bits of ``words[64, n]``: each of the n columns is a matrix of 64 x 64 bits.

    Row r and bit b are swapped one binary digit of r and b at a time, two digits in each pass over the memory
    (Warren, Hacker's Delight, section 7-3). If at most five ``bits`` of each byte are in use, then of the rows 4
    to 7 that a byte becomes only row 4 is not 0, and the others are left as they are.
    """
    j, low = U(32), U(0xFFFFFFFF)  # low: the bits b in which the digit j of b is 0
    while j:
        i = j >> U(1)
        low_i = low ^ (low << i)
        for r in range(U(0), U(64), U(2) * j):
            if bits <= U(5) and j == U(2) and r & U(4):
                for f in range(r * n, (r + i) * n):
                    w0, w1, w2, w3 = words[f], words[f + n], words[f + U(2) * n], words[f + U(3) * n]
                    words[f] = (w0 | (w1 << U(1))) | ((w2 << U(2)) | (w3 << U(3)))
                continue
            for f in range(r * n, (r + i) * n):
                w0, w1, w2, w3 = words[f], words[f + i * n], words[f + j * n], words[f + (i + j) * n]
                swap = ((w0 >> j) ^ w2) & low
                w0, w2 = w0 ^ (swap << j), w2 ^ swap
                swap = ((w1 >> j) ^ w3) & low
                w1, w3 = w1 ^ (swap << j), w3 ^ swap
                swap = ((w0 >> i) ^ w1) & low_i
                words[f], words[f + i * n] = w0 ^ (swap << i), w1 ^ swap
                swap = ((w2 >> i) ^ w3) & low_i
                words[f + j * n], words[f + (i + j) * n] = w2 ^ (swap << i), w3 ^ swap
        j = i >> U(1)
        low = low_i ^ (low_i << j)


@compiled
def _digits(words: Words, bits: int, width: int, n: int, planes: Words, digit: Words) -> None:
    """``planes[p, t]``: bit p of token t, from the transposed words; ``digit[d, v, t]``: whether digit d of it is v."""
    T = U(8) * n
    for p in range(bits):  # the other planes stay 0
        for f in range(n):
            for i in range(U(8)):
                planes[p * T + U(8) * f + i] = words[(U(8) * i + p) * n + f]
    for d in range(U(3)):
        p0, p1, p2 = d * width * T, (d * width + U(1)) * T, (d * width + U(2)) * T
        values = U(1) << (width if d < U(2) else max(bits, U(2) * width) - U(2) * width)
        for v in range(values):
            f0, f1, f2 = (v & U(1)) - U(1), ((v >> U(1)) & U(1)) - U(1), (v >> U(2)) - U(1)  # all ones for a bit of 0
            out = ((d << width) + v) * T
            if width == 2:
                for t in range(T):
                    digit[out + t] = (planes[p0 + t] ^ f0) & (planes[p1 + t] ^ f1)
            else:
                for t in range(T):
                    digit[out + t] = (planes[p0 + t] ^ f0) & (planes[p1 + t] ^ f1) & (planes[p2 + t] ^ f2)


@compiled
def _element(motif: NDArray[np.int64], offsets: NDArray[np.int64], j: int, width: int, T: int) -> Rows:
    """Where in ``digit`` the three digits of element j are, for a motif that starts at 0; zeros beyond the last."""
    if j >= U(len(motif)):
        zeros = (U(3) << width) * T
        return zeros, zeros, zeros
    token, offset, low = U(motif[j]), U(offsets[j]), (U(1) << width) - U(1)
    return (
        (token & low) * T + offset,
        ((U(1) << width) + ((token >> width) & low)) * T + offset,
        ((U(2) << width) + (token >> (width + width))) * T + offset,
    )


@compiled
def _four(digit: Words, e0: Rows, e1: Rows, e2: Rows, e3: Rows, t: int) -> Rows:
    """How many of four elements match at t, as ones, twos and fours: a full adder for three, a half adder for one."""
    m0 = digit[e0[0] + t] & digit[e0[1] + t] & digit[e0[2] + t]
    m1 = digit[e1[0] + t] & digit[e1[1] + t] & digit[e1[2] + t]
    m2 = digit[e2[0] + t] & digit[e2[1] + t] & digit[e2[2] + t]
    m3 = digit[e3[0] + t] & digit[e3[1] + t] & digit[e3[2] + t]
    odd = m0 ^ m1
    three, carry = odd ^ m2, (m0 & m1) | (odd & m2)
    carry_3 = three & m3
    return three ^ m3, carry ^ carry_3, carry & carry_3


@compiled
def _count(
    digit: Words,
    width: int,
    T: int,
    motif: NDArray[np.int64],
    offsets: NDArray[np.int64],
    P: int,
    count: Words,
    carries: Words,
) -> None:
    """``count[p, l]``: bit p of the number of elements that match if the motif starts at l; four elements at a time."""
    k = U(len(motif))
    n = T - U(offsets[k - U(1)])
    for j in range(U(0), k, U(4)):
        e0, e1 = _element(motif, offsets, j, width, T), _element(motif, offsets, j + U(1), width, T)
        e2, e3 = _element(motif, offsets, j + U(2), width, T), _element(motif, offsets, j + U(3), width, T)
        if j == U(0):
            for t in range(n):
                count[t], count[T + t], count[U(2) * T + t] = _four(digit, e0, e1, e2, e3, t)
            count[U(3) * T : P * T] = 0
            continue
        for t in range(n):  # add them to the count
            ones, twos, fours = _four(digit, e0, e1, e2, e3, t)
            c0, c1, c2 = count[t], count[T + t], count[U(2) * T + t]
            carry = c0 & ones
            count[t] = c0 ^ ones
            odd = c1 ^ twos
            count[T + t] = odd ^ carry
            carry = (c1 & twos) | (odd & carry)
            odd = c2 ^ fours
            count[U(2) * T + t] = odd ^ carry
            carries[t] = (c2 & fours) | (odd & carry)
        for p in range(U(3), P):
            for t in range(n):
                carry = carries[t]
                carries[t] = carry & count[p * T + t]
                count[p * T + t] ^= carry


@compiled
def _maximum(
    count: Words, P: int, T: int, start: int, n: int, largest: Words, best: Words, out: int, stride: int
) -> None:
    """``best[p]``: bit p of the largest count, in each sequence, over the n positions from ``start``.

    From the highest bit down: if it is 1 at a position that can still be the largest, those where it is 0 drop out.
    """
    all_left = True  # then ``largest``, the positions that can still be the largest, is not filled yet
    for q in range(P):
        p = P - U(1) - q
        row = p * T + start
        found = U(0)
        if all_left:
            for t in range(n):
                found |= count[row + t]
        else:
            for t in range(n):
                found |= count[row + t] & largest[t]
        best[out + p * stride] = found
        if found and p:
            if all_left:
                for t in range(n):
                    largest[t] = count[row + t] | ~found
            else:
                for t in range(n):
                    largest[t] &= count[row + t] | ~found
            all_left = False


@compiled
def _multiply(
    best: Words,
    W: int,
    P: int,
    motifs: int,
    first: bool,
    response: NDArray[np.float64],
    products: NDArray[np.float64],
    start: int,
    rows: int,
    values: NDArray[np.float64],
) -> None:
    """Multiply the responses to the counts in ``best[s, w]`` into the values of the tile's rows."""
    tabled = U(0)
    while (U(len(products)) >> (tabled * P)) > U(1):
        tabled += U(1)
    for row in range(rows):
        counts = best[(row & U(63)) * W + (row >> U(6))]
        value = products[counts & U(len(products) - 1)] if first else values[start + row]
        for i in range(tabled if first else U(0), motifs):
            value *= response[(counts >> (i * P)) & ((U(1) << P) - U(1))]
        values[start + row] = value
