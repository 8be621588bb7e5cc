"""The container of a submission: a zip file of two members, read with bounds and never unpacked to disk.

It is of the plainest kind that there is: two members in their order, nothing before, between or behind them, no
comment, no encryption, no zip64. So what is not plain is refused before the standard library reads it.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

from bioseq_gym.errors import InvalidSubmission

DOCUMENT, RECORDS = "submission.json", "records.bin"
MOST_RECORDS = 2**30
"""Bytes that the records of a submission may have in all."""
_MOST_DOCUMENT = 2**21
_MOST_TIMES, _SMALL = 100, 2**24  # real ledgers shrink to a tenth; up to so many bytes any may
_MOST_FILE = MOST_RECORDS + 2 * _MOST_DOCUMENT  # what does not compress grows a little
_TIME = (1980, 1, 1, 0, 0, 0)
_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_LOCAL, _CENTRAL, _END = 30, 46, 22  # bytes of the headers of a zip file, besides the names
_BROKEN = (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, OSError, struct.error)


def pack_archive(document: bytes, records: bytes) -> bytes:
    """The file; the same content gives the same bytes, with the same release of zlib."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in ((DOCUMENT, document), (RECORDS, records)):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # the same on every system
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED, 9)
    return buffer.getvalue()


def read_file(path: str) -> bytes:
    """The content of a file that may be a submission. Raises InvalidSubmission if it can't be read or is too large."""
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST_FILE + 1)
    except OSError as error:
        raise InvalidSubmission(f"{path} can't be read: {error.strerror}") from None
    if len(data) > _MOST_FILE:
        raise InvalidSubmission(f"{path} is refused: it is larger than {_MOST_FILE:,} bytes; pack it --abridged")
    return data


class Archive:
    """A submission's container in memory.

    Args:
        data: the file's content.
        name: what errors call it.

    Raises:
        InvalidSubmission: it is no such container; here and from each method.
    """

    def __init__(self, data: bytes, name: str) -> None:
        self._name = name
        end = data[-_END:]
        if len(data) < _END or not end.startswith(b"PK\5\6") or end[-2:] != b"\0\0" or b"PK\6\7" in data[-42:-_END]:
            raise self._error("it is no submission, or was cut")
        if end[8:12] != b"\2\0\2\0":
            raise self._error(f"it does not hold exactly {DOCUMENT} and {RECORDS}")
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except _BROKEN as error:
            raise self._error(f"it is damaged ({error})") from None
        entries = self._zip.infolist()
        if [entry.orig_filename for entry in entries] != [DOCUMENT, RECORDS]:
            raise self._error(f"it does not hold exactly {DOCUMENT} and {RECORDS}")
        if any(entry.compress_type not in _PLAIN or entry.flag_bits for entry in entries):
            raise self._error("its members are encrypted, or compressed in another way than by deflate")
        size = sum(_LOCAL + _CENTRAL + 2 * len(entry.filename) + entry.compress_size for entry in entries) + _END
        if size != len(data):
            raise self._error("it holds more than its two members, or less")
        self._entries = entries

    def document(self) -> bytes:
        """The content of the first member."""
        size = self._entries[0].file_size
        if size > _MOST_DOCUMENT:
            raise self._error(f"{DOCUMENT} has {size:,} bytes, at most {_MOST_DOCUMENT:,} are read")
        return self._read(0)

    def records(self, size: int) -> bytes:
        """The content of the second member, if it has ``size`` bytes: else nothing of it is unpacked."""
        if self._entries[1].file_size != size:
            raise self._error(f"{RECORDS} has {self._entries[1].file_size:,} bytes, the runs need {size:,}")
        if size > max(_SMALL, _MOST_TIMES * self._entries[1].compress_size):
            raise self._error(f"{RECORDS} unpacks to more than {_MOST_TIMES} times its size, as no ledger does")
        return self._read(1)

    def _read(self, number: int) -> bytes:
        entry = self._entries[number]
        try:
            with self._zip.open(entry) as member:
                content = member.read(entry.file_size + 1)  # one more: only at the end is the checksum compared
        except (*_BROKEN, zlib.error) as error:
            raise self._error(f"{entry.filename} is damaged ({error})") from None
        if len(content) != entry.file_size:
            raise self._error(f"{entry.filename} is damaged: it ends early")
        return content

    def _error(self, fault: str) -> InvalidSubmission:
        return InvalidSubmission(f"{self._name} is refused: {fault}; make it with bioseq-gym pack")
