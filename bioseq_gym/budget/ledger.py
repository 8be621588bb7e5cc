"""The ledger: what was asked and what was answered, on disk before anyone sees the answer.

Its file is in the format of :mod:`bioseq_gym.budget.records`.

A function with noise has another answer each time, so its ledger charges repeats: one record for each row, as if all
were distinct. A resumed run is answered from the records, place by place, as long as each batch asks what they hold;
the first batch that differs, and all after it, is new.
"""

from __future__ import annotations

import fcntl
import math
import os
import time
import warnings
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from bioseq_gym.budget.kernels import HEADER
from bioseq_gym.budget.records import Batch, Records, pack_header, parse_header, record_dtype
from bioseq_gym.errors import InvalidBudget, InvalidLedger, LedgerRepaired

_FSYNC_SECONDS = 1.0
_MOST_CALLS = 2**32 - 1


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
        self.diverged = False
        """Whether a resumed run asked something else than it did before it was cut: then it is part of two runs."""
        self._records = Records(pack_header(digest, V, L, repeats_charged), L, not repeats_charged)
        self._known = 0  # records at the last write: there are never fewer
        self._loaded = 0  # records that another process wrote
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
        digest, V, L, repeats_charged = parse_header(data, name)
        ledger = cls(digest, V, L, repeats_charged=repeats_charged)
        whole = ledger._load(data, name)
        if whole != len(data):
            raise InvalidLedger(f"{name} ends in a half-written record after {len(ledger)} whole ones; resume the run")
        ledger._count_all()
        return ledger

    @classmethod
    def of_columns(
        cls,
        digest: str,
        V: int,
        sequences: NDArray[np.uint8],
        values: NDArray[np.float64],
        asked_counts: NDArray[np.uint64],
        call_numbers: NDArray[np.uint32],
    ) -> Ledger:
        """The ledger, in memory and of a function without noise, of which these are the columns.

        Args:
            digest: as of the class.
            V: as of the class.
            sequences: (n, L), and the others (n,): see the properties of these names.
            values: their values.
            asked_counts: rows asked.
            call_numbers: calls.

        Raises:
            InvalidLedger: a token is not below ``V``, or a sequence is there twice.
        """
        ledger = cls(digest, V, sequences.shape[1])
        columns = sequences, values, asked_counts, call_numbers
        ledger._take(Records.of_columns(ledger.to_bytes(), *columns), int(sequences.max(initial=0)), "the ledger")
        ledger._count_all()
        return ledger

    def __len__(self) -> int:
        """Distinct rows that were answered: the evaluations charged."""
        return len(self._records)

    @property
    def repeats(self) -> int:
        """Rows asked in this process that the ledger had answered before: free."""
        return self.asked - self.position

    @property
    def sequences(self) -> NDArray[np.uint8]:
        """(n, L) the distinct rows, in the order asked. A copy, as are the other columns."""
        return self._records.column("tokens")

    @property
    def values(self) -> NDArray[np.float64]:
        """(n,) their values, -inf where infeasible."""
        return self._records.column("value")

    @property
    def asked_counts(self) -> NDArray[np.uint64]:
        """(n,) rows asked, repeats included, up to and with each distinct one."""
        return self._records.column("asked")

    @property
    def call_numbers(self) -> NDArray[np.uint32]:
        """(n,) the call, counted from 1, that each distinct row came in."""
        return self._records.column("call")

    def to_bytes(self) -> bytes:
        """The content of the ledger's file."""
        return self._records.to_bytes()

    def skip_to(self, position: int, asked: int, calls: int) -> None:
        """Take the first ``position`` records for asked again, as a resumed run that asks them would have it.

        For an agent that keeps a state of its own beside the ledger and goes on from there, instead of from the start.

        Args:
            position: :attr:`position` when the state was kept.
            asked: :attr:`asked` then.
            calls: :attr:`calls` then.

        Raises:
            InvalidLedger: something was asked in this process already, or the ledger does not go with these numbers.
        """
        held, counts, numbers = len(self), self.asked_counts, self.call_numbers
        fits = 0 <= position <= held
        if fits and position:
            fits = counts[position - 1] <= asked and numbers[position - 1] <= calls
        if fits and position < held:
            fits = asked < counts[position] and calls < numbers[position]
        if self.asked or not fits:
            raise InvalidLedger(
                f"the ledger {self.path or 'in memory'} is not the one that a kept state of {position} evaluations "
                "goes with; remove that state, and the run is resumed from its start"
            )
        self.asked, self.calls, self.position = asked, calls, position
        self.best_value = float(self.values[:position].max(initial=-np.inf))

    def close(self) -> None:
        """Force the file to disk and release it. New rows are then an error; without a file nothing changes."""
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

    def _look_up(self, tokens: NDArray[np.uint8]) -> Batch:
        """What the ledger knows of ``tokens`` (B, L), C-contiguous and writable; not where repeats are charged."""
        return self._records.look_up(tokens, self.position)

    def _unasked(self, batch: Batch) -> int:
        """The number of distinct rows that this process has not asked, in the ledger's order, before."""
        places = batch.places()
        return len(np.unique(places[places >= self.position]))

    def _answer(self, batch: Batch, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Record ``values`` of the new rows of ``batch``, then answer all of its rows."""
        best, position = batch.best, batch.reached
        if batch.new:
            # A killed process may have written the first part of this very batch: it re-asks, in order, all that is
            # left to replay before its first new row. If it does not, the run asks something else than before.
            behind = self.position < len(self) and batch.reached != len(self)
            if behind or (self._loaded == len(self) > 0 and self._counts_less(batch)):
                self._leave_replay()
            self._append(batch, values)
            best, position = self._records.commit(batch, values), len(self)
        self._count(batch.answers, best, position)
        return batch.answers

    def _counts_less(self, batch: Batch) -> bool:
        """Whether fewer rows or calls lead to the new rows of ``batch`` than to the last record, before them."""
        first = int(batch.work[2 * len(batch.tokens)])
        return bool(self.asked + first < self.asked_counts[-1] or self.calls + 1 < self.call_numbers[-1])

    def _count(self, answers: NDArray[np.float64], best: float, position: int) -> None:
        self.best_value = max(self.best_value, best)
        self.asked += len(answers)
        self.calls += 1
        self.position = position  # last: an interrupt before leaves it behind the records, and so in a replay

    def _held(self, tokens: NDArray[np.uint8]) -> NDArray[np.void]:
        """The records that are next to be replayed, as many as there are rows in ``tokens`` or as are left."""
        return self._records.between(self.position, min(self.position + len(tokens), len(self)))

    def _asks_again(self, tokens: NDArray[np.uint8]) -> bool:
        """Whether ``tokens`` are what the ledger holds next, as far as it goes. For repeats that are charged."""
        held = self._held(tokens)["tokens"]
        return np.array_equal(held, tokens[: len(held)])

    def _answer_in_order(self, tokens: NDArray[np.uint8], values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Answer rows that :meth:`_asks_again`; ``values`` (B,) are of all rows, and those held already don't count."""
        B, held = len(tokens), self._held(tokens)["value"].copy()
        answers: NDArray[np.float64] = np.concatenate([held, values[len(held) :]])
        new = B - len(held)
        if new:
            work = np.zeros(3 * B, np.uint64)
            work[2 * B : 2 * B + new] = np.arange(len(held), B)
            batch = Batch(tokens, work, len(self), new, len(self), answers, -math.inf)
            self._append(batch, answers[len(held) :])
            self._records.commit_unindexed(new)
        self._count(answers, max(answers.tolist()), self.position + B)
        return answers

    def _leave_replay(self) -> None:
        """The run asks something else than it did before it was cut."""
        self.diverged = True
        self._count_all()

    def _count_all(self) -> None:
        """Count all that the ledger holds as asked."""
        if len(self):
            self.asked = max(self.asked, int(self.asked_counts[-1]))
            self.calls = max(self.calls, int(self.call_numbers[-1]))
            self.best_value = float(self.values.max())
        self.position = len(self)

    def _append(self, batch: Batch, values: NDArray[np.float64]) -> None:
        """Write one record for each new row. They are known only when the records are told so: that is what counts."""
        if len(self) < self._known:
            raise InvalidLedger(f"the ledger {self.path or 'in memory'} lost records; its file was left as it is")
        self._known = len(self)
        if self.calls >= _MOST_CALLS:
            raise InvalidLedger(
                f"the ledger {self.path or 'in memory'} has no number for another call; ask more at once"
            )
        written = self._records.write(batch, values, self.asked, self.calls + 1)
        if self.path is not None:
            self._write(written, self._records.size)

    def _write(self, data: bytes | memoryview, size: int) -> None:
        """One write(2). If it fails, for a full disk say, the file is cut back to the ``size`` that it had."""
        if self._file is None:
            raise InvalidLedger(f"the ledger {self.path} is closed; open it again to go on")
        if os.lseek(self._file, 0, os.SEEK_END) != size:  # an interrupt came after a write, before it counted
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
        data, header = path.read_bytes(), self.to_bytes()
        if len(data) < HEADER and header.startswith(data):  # new, or killed while it was made
            os.ftruncate(self._file, 0)
            self._write(header, 0)
            return
        digest, V, L, repeats_charged = parse_header(data, str(path))
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
        record = record_dtype(self.L).itemsize
        count = (len(data) - HEADER) // record
        records = Records(data[: HEADER + count * record], self.L, not self.repeats_charged)
        highest = records.verify() if count else 0
        if len(records) < count:
            first = len(records)
            if first < count - 1 and data[HEADER + first * record :].strip(b"\0"):
                raise InvalidLedger(
                    f"{name} is damaged or was altered: record {first + 1} of {count} fails its checksum. "
                    "Restore the file, or start the run again"
                )  # else the last write never reached the disk, or in part
        self._take(records, highest, name)
        return records.size

    def _take(self, records: Records, highest: int, name: str) -> None:
        """Remember ``records``, whose largest token is ``highest``, if a ledger can have them."""
        if highest >= self.V:
            raise InvalidLedger(f"{name} holds a token outside 0 .. {self.V - 1}; it was not written by this library")
        if len(records) and not self.repeats_charged and not records.index():
            raise InvalidLedger(f"{name} holds a sequence twice; it was not written by this library")
        self._records, self._loaded = records, len(records)


def wrong_kind(ledger: str, repeats_charged: bool) -> InvalidLedger:
    """The error for a ledger of a noisy function where one without noise is needed, or the other way round."""
    kind, other = ("with", "without") if repeats_charged else ("without", "with")
    return InvalidLedger(f"{ledger} is of a function {kind} noise, not {other}; use a new one, or the same noise_std")
