"""Files that are no submission: each is refused with its fault, in little memory, and never with another error."""

from __future__ import annotations

import hashlib
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import checked
from submissions import AT, TASK, Edit, canonical, opened, zipped

from bioseq_gym import InvalidSubmission
from bioseq_gym.runs import sealed
from bioseq_gym.submission import Submission, faults, read_submission, to_bytes
from bioseq_gym.submission.archive import DOCUMENT, RECORDS
from bioseq_gym.submission.document import from_bytes

LARGE = 3 * 10**7


def with_document(edit: Edit) -> Callable[[Submission], bytes]:
    def make(submission: Submission) -> bytes:
        document, records = opened(submission)
        edit(document)
        return zipped((DOCUMENT, canonical(document)), (RECORDS, records))

    return make


def with_manifest(**fields: Any) -> Callable[[Submission], bytes]:
    def edit(document: dict[str, Any]) -> None:
        document["runs"][AT]["manifest"] = sealed({**document["runs"][AT]["manifest"], **fields})

    return with_document(edit)


def with_text(change: Callable[[bytes], bytes]) -> Callable[[Submission], bytes]:
    def make(submission: Submission) -> bytes:
        document, records = opened(submission)
        return zipped((DOCUMENT, change(canonical(document))), (RECORDS, records))

    return make


def with_records(change: Callable[[bytes], bytes]) -> Callable[[Submission], bytes]:
    def make(submission: Submission) -> bytes:
        document, records = opened(submission)
        return zipped((DOCUMENT, canonical(document)), (RECORDS, change(records)))

    return make


def members(*names: str, **options: Any) -> Callable[[Submission], bytes]:
    return lambda s: zipped(*((name, b"{}") for name in names), **options)


def encrypted(submission: Submission) -> bytes:
    data = bytearray(to_bytes(submission))
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    return bytes(data)


def run_entry(key: str, value: Any) -> Callable[[Submission], bytes]:
    return with_document(lambda document: document["runs"][AT].update({key: value}))


MALFORMED: dict[str, tuple[Callable[[Submission], bytes], str]] = {
    "nothing": (lambda s: b"", "is no submission, or was cut"),
    "no zip": (lambda s: b"PK" * 99, "is no submission, or was cut"),
    "a zip that was cut": (lambda s: to_bytes(s)[:-1], "is no submission, or was cut"),
    "its front cut off": (lambda s: to_bytes(s)[9:], "is refused"),
    "something before": (lambda s: b"#!/bin/sh\n" + to_bytes(s), "more than its two members"),
    "a comment": (members(DOCUMENT, RECORDS, comment=b"hello"), "is no submission, or was cut"),
    "no member": (members(), "does not hold exactly"),
    "one member": (members(DOCUMENT), "does not hold exactly"),
    "three members": (members(DOCUMENT, RECORDS, "more"), "does not hold exactly"),
    "another member": (members(DOCUMENT, "../../etc/passwd"), "does not hold exactly"),
    "two members in another order": (members(RECORDS, DOCUMENT), "does not hold exactly"),
    "another compression": (members(DOCUMENT, RECORDS, method=zipfile.ZIP_LZMA), "in another way than by deflate"),
    "encryption": (encrypted, "encrypted"),
    "no JSON": (with_text(lambda text: text[:-1]), "is not JSON"),
    "JSON that is nested": (with_text(lambda text: b"[" * 40 + b"]" * 40), "nested more than 16 deep"),
    "JSON that is nested beyond the stack": (with_text(lambda text: b"[" * 10**6 + b"]" * 10**6), "is not JSON"),
    "NaN": (with_text(lambda text: text.replace(b'"format":1', b'"format":NaN')), "is not JSON"),
    "infinity": (with_text(lambda text: text.replace(b'"format":1', b'"format":1e999')), "is not JSON"),
    "a number of a million digits": (with_text(lambda text: b"1" * 10**6), "is not JSON"),
    "a key twice": (with_text(lambda text: text.replace(b'"format":1', b'"format":1,"format":1')), "not canonical"),
    "blanks": (with_text(lambda text: text + b"\n"), "not canonical"),
    "no object": (with_text(lambda text: b"[]"), "not of format 1"),
    "another format": (with_document(lambda d: d.update(format=3)), "not of format 1 or 2; pack it again"),
    "a format that is true": (with_document(lambda d: d.update(format=True)), "not of format 1"),
    "a format with a point": (with_document(lambda d: d.update(format=1.0)), "not of format 1"),
    "a card and format 1": (with_document(lambda d: d.update(card={})), "does not have exactly the keys"),
    "format 2 without a card": (with_document(lambda d: d.update(format=2)), "does not have exactly the keys"),
    "a key more": (with_document(lambda d: d.update(more=1)), "does not have exactly the keys"),
    "a key less": (with_document(lambda d: d.pop("suite")), "does not have exactly the keys"),
    "no such suite": (with_document(lambda d: d.update(suite="smokes")), "no suite or task 'smokes'. Did you mean"),
    "a suite that is no text": (with_document(lambda d: d.update(suite=[])), "its suite is no string"),
    "a suite's name without end": (with_document(lambda d: d.update(suite="a" * 10**6)), "at most 200 characters"),
    "a task by another name": (
        with_document(lambda d: d.update(suite="ehrlich/ehr-V08-L12-c2-k3-q3-seed0")),
        "is called ehrlich/ehr-V8-L12-c2-k3-q3-seed0; give that name",
    ),
    "a task that takes seconds to make": (
        with_document(lambda d: d.update(suite="ehrlich/ehr-V256-L65535-c255-k256-q256-seed0")),
        "on a task of at most 4,096 tokens, not 65535; run a shorter one",
    ),
    "an agent that is no text": (with_document(lambda d: d.update(agent=None)), "is no string"),
    "no runs": (with_document(lambda d: d.update(runs=[])), "no list of 1 to 4"),
    "too many runs": (with_document(lambda d: d.update(runs=d["runs"] * 2)), "no list of 1 to 4"),
    "runs that are no list": (with_document(lambda d: d.update(runs={"a": 1})), "no list of 1 to 4"),
    "a run that is none": (with_document(lambda d: d["runs"].insert(0, 3) or d["runs"].pop()), "run 1: it does not"),
    "a manifest edited": (
        with_document(lambda d: d["runs"][AT]["manifest"].update(seed=9)),
        "run 3: its manifest was edited: its checksum does not fit",
    ),
    "another manifest's format": (with_manifest(format=1), "run 3: its manifest is not a manifest of format 2"),
    "a manifest's format with a point": (with_manifest(format=2.0), "its manifest is not a manifest of format 2"),
    "a manifest that is none": (run_entry("manifest", 7), "run 3: its manifest is not a manifest"),
    "an unfinished run": (with_manifest(status="running"), "run 3: the run is not finished; go on with"),
    "another function": (with_manifest(digest="\u001b[31m" * 99), r"another function than .* .digest '.x1b"),
    "a task of another suite": (with_manifest(task="../x"), "run 3: its task '../x' is none of smoke"),
    "markup as agent": (with_manifest(agent="<b>me</b>"), "no valid agent"),
    "a seed that is true": (with_manifest(seed=True), "no valid seed"),
    "a wall time without end": (with_manifest(wall_s=10**400), "no valid wall_s"),
    "a negative number of records": (run_entry("records", -1), "run 3: its records are -1, on a budget of 300"),
    "more records than the budget": (run_entry("records", 301), "run 3: its records are 301, on a budget of 300"),
    "records that are no integer": (run_entry("records", 1.0), "run 3: its records are 1.0"),
    "fewer records": (run_entry("records", 1), "records.bin has .* bytes, the runs need"),
    "a share beyond 1": (run_entry("outcome", {"distinct_share": 1.5, "diversity": 0}), "from 0 to 1"),
    "a share without end": (run_entry("outcome", {"distinct_share": 10**400, "diversity": 0}), "from 0 to 1"),
    "no share": (run_entry("outcome", {}), "its outcome is not"),
    "records cut": (with_records(lambda records: records[:-1]), "records.bin has .* bytes, the runs need"),
    "one bit of the records": (
        with_records(lambda records: bytes([records[0] ^ 1]) + records[1:]),
        "the SHA-256 of its records is not the one stated",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_file_that_is_no_submission_is_refused_with_its_fault(abridged: Submission, name: str) -> None:
    make, message = MALFORMED[name]
    with pytest.raises(InvalidSubmission, match=message) as refused:
        from_bytes(make(abridged), "it")
    assert str(refused.value).startswith("it is refused: ")
    assert str(refused.value).isprintable()


def test_what_is_wrong_with_several_runs_is_said_at_once(abridged: Submission) -> None:
    def edit(document: dict[str, Any]) -> None:
        document["runs"][0]["records"] = None
        document["runs"][3]["manifest"]["seed"] = 7

    with pytest.raises(InvalidSubmission, match=r"run 1: its records are None.*; run 4: its manifest was edited"):
        from_bytes(with_document(edit)(abridged), "it")


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InvalidSubmission, match="can't be read: "):
            read_submission(path)


def large_document(submission: Submission) -> bytes:
    return zipped((DOCUMENT, bytes(LARGE)), (RECORDS, opened(submission)[1]))


def large_records(submission: Submission) -> bytes:
    document, records = opened(submission)
    return zipped((DOCUMENT, canonical(document)), (RECORDS, records + bytes(LARGE)))


def records_larger_than_they_say(submission: Submission) -> bytes:
    lying = bytearray(large_records(submission))
    for size in (lying.index(RECORDS.encode()) - 8, lying.rindex(RECORDS.encode()) - 22):  # in both headers
        lying[size : size + 4] = len(opened(submission)[1]).to_bytes(4, "little")
    return bytes(lying)


def as_many_records_as_a_forger_likes(submission: Submission) -> bytes:
    document, _ = opened(submission)
    document["suite"] = TASK
    document["runs"] = document["runs"][:1]
    document["runs"][0]["manifest"] = sealed({**document["runs"][0]["manifest"], "budget": 2**40})
    document["runs"][0]["records"] = 2**31
    return zipped((DOCUMENT, canonical(document)), (RECORDS, bytes(LARGE)))


def records_that_shrink_too_much(submission: Submission) -> bytes:
    document, _ = opened(submission)
    document["suite"] = TASK
    document["runs"] = document["runs"][:1]
    document["runs"][0]["manifest"] = sealed({**document["runs"][0]["manifest"], "budget": 2**20})
    document["runs"][0]["records"] = 2**20
    return zipped((DOCUMENT, canonical(document)), (RECORDS, bytes(2**20 * 28)))


@pytest.mark.parametrize(
    ("bomb", "message"),
    [
        (records_that_shrink_too_much, "records.bin unpacks to more than 100 times its size, as no ledger does"),
        (large_document, "submission.json has 30,000,000 bytes, at most 2,097,152 are read"),
        (large_records, "records.bin has .* bytes, the runs need"),
        (records_larger_than_they_say, "records.bin is damaged"),
        (as_many_records_as_a_forger_likes, "its records take more than 1,073,741,824 bytes"),
    ],
)
def test_a_bomb_is_not_unpacked(abridged: Submission, bomb: Callable[[Submission], bytes], message: str) -> None:
    data = bomb(abridged)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidSubmission, match=message):
            from_bytes(data, "it")
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()


@checked(300)
@given(data=st.data())
def test_no_damaged_bytes_raise_another_error(abridged: Submission, data: st.DataObject) -> None:
    good = to_bytes(abridged)
    bad = bytearray(good if data.draw(st.booleans()) else canonical(opened(abridged)[0]))  # the file, or what is in it
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(bad) - 1))
        size = data.draw(st.integers(0, 8))
        bad[at : at + size] = data.draw(st.binary(max_size=8))
    content = bytes(bad)
    if content[:2] != good[:2]:
        content = zipped((DOCUMENT, content), (RECORDS, opened(abridged)[1]))
    try:
        found = faults(from_bytes(content, "it"))
    except InvalidSubmission as error:
        found = [str(error)]
    assert found or from_bytes(content, "it").results()  # the change made no difference


@checked(150)
@given(data=st.data())
def test_no_sealed_forgery_raises_another_error(whole: Submission, abridged: Submission, data: st.DataObject) -> None:
    """What a forger writes with checksums that fit reaches the replay."""
    document, records = opened(data.draw(st.sampled_from([whole, abridged])))
    run = document["runs"][data.draw(st.integers(0, 3))]
    values = st.sampled_from([None, True, -1, 0, 1, 0.5, 1e308, 2**62, 2**64, "", "\ud800", [], {}, [[1]], {"a": {}}])
    for _ in range(data.draw(st.integers(1, 3))):
        run["manifest"][data.draw(st.sampled_from(sorted(run["manifest"])))] = data.draw(values)
    run["manifest"] = sealed(run["manifest"])
    forged = bytearray(records)
    for _ in range(data.draw(st.integers(0, 3))):
        forged[data.draw(st.integers(0, len(forged) - 1))] = data.draw(st.integers(0, 255))
    document["records_sha256"] = hashlib.sha256(forged).hexdigest()
    try:
        found = faults(from_bytes(zipped((DOCUMENT, canonical(document)), (RECORDS, bytes(forged))), "it"))
    except InvalidSubmission as error:
        found = [str(error)]
    assert all(line.isprintable() for line in found)
