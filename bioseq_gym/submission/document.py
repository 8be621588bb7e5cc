"""The file of a submission: a zip of ``submission.json`` and ``records.bin``, written and read.

``submission.json`` is canonical JSON, keys sorted and no blank: ``format``; ``suite``, the name of a suite or of a
task; ``agent``; ``runs``, sorted by task and seed, each with its ``manifest`` as in the run directory, the number of
``records`` and an ``outcome`` of what the manifest lacks; and ``records_sha256``. With a ``card`` the format is 2, and
``sha256`` is that of the canonical document without it, and so of all that is there; else it is 1.

``records.bin`` holds for each run in that order, little-endian, four columns of n records: place (u32), rows asked
(u64), call (u32), tokens (L bytes a record).

Reading trusts nothing. What is no such file is refused with :class:`InvalidSubmission` and no other error, before more
is unpacked than the budgets allow.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

import numpy as np

from bioseq_gym.errors import InvalidRun, InvalidSpec, InvalidSubmission, UnknownName
from bioseq_gym.replay import manifest_faults, shown
from bioseq_gym.runs import Manifest, check_manifest, is_count, is_format, sealed
from bioseq_gym.submission.archive import MOST_RECORDS, Archive, pack_archive, read_file
from bioseq_gym.submission.card import card_faults
from bioseq_gym.submission.packed import PackedRun, Submission
from bioseq_gym.suite import Scope, load_scope, load_task

FORMAT, WITH_CARD = 1, 2
MOST_SEEDS = 100
"""Runs of one task that a submission may hold."""
_KEYS = {FORMAT: {"format", "suite", "agent", "runs", "records_sha256"}}
_KEYS[WITH_CARD] = _KEYS[FORMAT] | {"card", "sha256"}
_RUN_KEYS = {"manifest", "records", "outcome"}
_OUTCOME_KEYS = {"distinct_share", "diversity"}
_COLUMNS = (("places", "<u4"), ("asked", "<u8"), ("calls", "<u4"))
_FRONT = 16  # bytes of a record besides its tokens
_DEEPEST = 16
_LONGEST_NAME = 200


def to_bytes(submission: Submission) -> bytes:
    """The file; the same runs give the same bytes."""
    return pack_archive(*_members(submission))


def digest(submission: Submission) -> str:
    """Hex SHA-256 of all that a submission states: of its document, which has that of its records."""
    return hashlib.sha256(_members(submission)[0]).hexdigest()


def _members(submission: Submission) -> tuple[bytes, bytes]:
    """The document and the records."""
    records = b"".join(_columns_to_bytes(run) for run in submission.runs)
    content: dict[str, Any] = {
        "format": FORMAT,
        "suite": submission.scope.name,
        "agent": submission.agent,
        "runs": [
            {
                "manifest": sealed(run.manifest),
                "records": len(run.places),
                "outcome": {"distinct_share": run.distinct, "diversity": run.diversity},
            }
            for run in submission.runs
        ],
        "records_sha256": hashlib.sha256(records).hexdigest(),
    }
    if submission.card is not None:
        content |= {"format": WITH_CARD, "card": submission.card}
        content["sha256"] = _digest(content)
    return _canonical(content), records


def read_submission(path: str | os.PathLike[str]) -> Submission:
    """The submission in a file, as it states itself: :func:`bioseq_gym.submission.verify` replays it.

    Raises:
        InvalidSubmission: the file can't be read, or holds no well-formed submission.
    """
    name = os.fspath(path)
    return from_bytes(read_file(name), name)


def from_bytes(data: bytes, name: str) -> Submission:
    """The submission in ``data``, called ``name`` in errors. Raises InvalidSubmission if it is none."""
    try:
        archive = Archive(data, name)
        content = _parse(archive.document())
        scope = _scope(content)
        entries = _entries(content, scope)
        sizes = [entry["records"] * _record_size(entry["manifest"]) for entry in entries]
        if sum(sizes) > MOST_RECORDS:
            raise _Malformed(f"its records take more than {MOST_RECORDS:,} bytes; pack it --abridged")
        records = archive.records(sum(sizes))
    except _Malformed as fault:
        raise InvalidSubmission(f"{name} is refused: {fault}") from None
    if hashlib.sha256(records).hexdigest() != content["records_sha256"]:
        raise InvalidSubmission(f"{name} is refused: the SHA-256 of its records is not the one stated; pack it again")
    starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    runs = [_packed(entry, records, int(start)) for entry, start in zip(entries, starts, strict=False)]
    return Submission(name, scope, content["agent"], tuple(runs), content.get("card"))


class _Malformed(Exception):
    """What is wrong with a document, and the fix."""


def _canonical(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(_canonical({key: value for key, value in content.items() if key != "sha256"})).hexdigest()


def _parse(text: bytes) -> dict[str, Any]:
    """The document in ``text``, if it is one whose JSON is canonical and not nested for the sake of it."""
    try:
        content = json.loads(text)
        nested = _is_nested(content)
        canonical = not nested and _canonical(content) == text
    except (ValueError, RecursionError):
        raise _Malformed("submission.json is not JSON; pack it again") from None
    if nested:
        raise _Malformed(f"submission.json is nested more than {_DEEPEST} deep; pack it again")
    if not canonical:
        raise _Malformed("submission.json is not canonical JSON (keys sorted and once, no blanks); pack it again")
    version = content.get("format") if isinstance(content, dict) else None
    if not any(is_format(version, known) for known in _KEYS):
        raise _Malformed(f"submission.json is not of format {FORMAT} or {WITH_CARD}; pack it again with this version")
    assert isinstance(content, dict)
    if content.keys() != (keys := _KEYS[content["format"]]):
        raise _Malformed(f"submission.json does not have exactly the keys {', '.join(sorted(keys))}; pack it again")
    if version == WITH_CARD and (wrong := card_faults(content["card"])):
        raise _Malformed(f"{'; '.join(wrong)}; pack it again")
    if version == WITH_CARD and content["sha256"] != _digest(content):
        raise _Malformed("submission.json was edited: its digest does not fit; pack it again")
    return content


def _is_nested(content: Any) -> bool:
    level = [content]
    for _ in range(_DEEPEST):
        containers = [value for value in level if isinstance(value, (dict, list))]
        level = [v for values in containers for v in (values.values() if isinstance(values, dict) else values)]
    return any(isinstance(value, (dict, list)) for value in level)


def _scope(content: dict[str, Any]) -> Scope:
    if not isinstance(content["suite"], str) or len(content["suite"]) > _LONGEST_NAME:
        raise _Malformed(f"its suite is no string of at most {_LONGEST_NAME} characters; pack it again")
    try:
        return load_scope(content["suite"])
    except (UnknownName, InvalidSpec) as error:
        raise _Malformed(str(error)) from None


def _entries(content: dict[str, Any], scope: Scope) -> list[dict[str, Any]]:
    """The runs of the document, each with a manifest that can be used; all that is wrong with them at once."""
    runs, most = content["runs"], len(scope.tasks) * (scope.seeds or MOST_SEEDS)
    if not isinstance(content["agent"], str) or not isinstance(content["records_sha256"], str):
        raise _Malformed("its agent or its records_sha256 is no string; pack it again")
    if not isinstance(runs, list) or not 1 <= len(runs) <= most:
        raise _Malformed(f"its runs are no list of 1 to {most:,}, as {scope.name} has; pack it again")
    faults, entries = [], []
    for number, run in enumerate(runs, 1):
        try:
            entries.append(_entry(run, scope))
        except (_Malformed, InvalidRun) as error:
            faults.append(f"run {number}: {error}")
    if faults:
        raise _Malformed("; ".join(faults))
    return entries


def _entry(run: Any, scope: Scope) -> dict[str, Any]:
    if not isinstance(run, dict) or run.keys() != _RUN_KEYS:
        raise _Malformed(f"it does not have exactly the keys {', '.join(sorted(_RUN_KEYS))}; pack it again")
    manifest = check_manifest(run["manifest"], "its manifest")
    if manifest["task"] not in scope.tasks:
        raise _Malformed(f"its task {shown(manifest['task'])} is none of {scope.name}; leave it out")
    if faults := manifest_faults(manifest):
        raise _Malformed("; ".join(faults))
    if not is_count(run["records"]) or run["records"] > min(manifest["budget"], 2**32 - 1):
        raise _Malformed(
            f"its records are {shown(run['records'])}, on a budget of {manifest['budget']:,}; pack it again"
        )
    outcome = run["outcome"]
    if not isinstance(outcome, dict) or outcome.keys() != _OUTCOME_KEYS or not all(map(is_share, outcome.values())):
        raise _Malformed(f"its outcome is not {' and '.join(sorted(_OUTCOME_KEYS))}, from 0 to 1; pack it again")
    return {**run, "manifest": manifest}


def is_share(value: Any) -> bool:
    """Whether parsed JSON is a number from 0 to 1."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1  # not NaN


def _record_size(manifest: Manifest) -> int:
    return _FRONT + int(load_task(manifest["task"]).spec.L)


def _columns_to_bytes(run: PackedRun) -> bytes:
    columns = [getattr(run, name).astype(kind).tobytes() for name, kind in _COLUMNS]
    return b"".join([*columns, run.tokens.tobytes()])


def _packed(entry: dict[str, Any], data: bytes, start: int) -> PackedRun:
    """The run of a checked entry, whose columns begin at ``start`` of ``data``; its arrays are views."""
    count, L = entry["records"], load_task(entry["manifest"]["task"]).spec.L
    columns = {}
    for name, kind in _COLUMNS:
        columns[name] = np.frombuffer(data, kind, count, start)
        start += columns[name].nbytes
    tokens = np.frombuffer(data, np.uint8, count * L, start).reshape(count, L)
    outcome = entry["outcome"]
    return PackedRun(entry["manifest"], outcome["distinct_share"], outcome["diversity"], **columns, tokens=tokens)
