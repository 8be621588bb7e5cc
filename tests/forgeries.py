"""Submissions that a stranger might send: small real ones, changed in all the ways that come to mind."""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st
from submissions import SECOND, TASK, canonical, opened, zipped

from bioseq_gym.functions.reference import reference_values
from bioseq_gym.runs import sealed
from bioseq_gym.submission import PackedRun, Submission, to_bytes
from bioseq_gym.submission.archive import DOCUMENT, RECORDS

MARKUP = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[a](javascript:alert(1))",
    "`|`</td>| a |",
    "Zoë \u202e<b>",
    "=HYPERLINK(1)",
)
PATHS = ("../../x", "/etc/passwd", "C:\\x", "..", "", "submission.json/", "record.bin\0.png", "réçords.bin", "a" * 300)
LONG_TASKS = ("ehrlich/ehr-V256-L65535-c255-k256-q256-seed0", "ehrlich/ehr-V256-L4097-c1-k1-q1-seed0")
NUMBERS = (0, 1, -1, 0.0, 1.0, 0.5, -0.0, 1e308, 5e-324, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, 10**400, -(10**400))
TEXTS = ("", "x", "\ud800", "\0", "9" * 5000, "finished", "genetic", TASK, SECOND, *LONG_TASKS, *MARKUP, *PATHS)
DEEP: Any = json.loads("[" * 30 + "]" * 30)
VALUES = st.sampled_from([None, True, False, *NUMBERS, *TEXTS, [], {}, [[1]], {"a": {}}, DEEP, {"1000": True}])
RAW = (
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"1E5",
    b"1.0",
    b"true",
    b"01",
    b"[" * 10**5,
    b'"\\u0041"',
    b'{"a":1,"a":1}',
    b" 1",
)
Draw = st.DrawFn


class Originals(tuple[Submission, ...]):
    """What is changed; shown in a word, and not with all of its arrays."""

    def __repr__(self) -> str:
        return "originals"


@cache
def _file(submission: Submission) -> bytes:
    return to_bytes(submission)


@cache
def _text_and_records(submission: Submission) -> tuple[str, bytes]:
    document, records = opened(submission)
    return json.dumps(document), records


def _opened(submission: Submission) -> tuple[dict[str, Any], bytes]:
    """A document that may be changed, and the records."""
    text, records = _text_and_records(submission)
    return json.loads(text), records


@st.composite
def forgeries(draw: Draw, originals: Originals) -> tuple[str, bytes]:
    """What was done, and the file."""
    name = draw(st.sampled_from(sorted(_FORGERS)))
    return name, _FORGERS[name](draw, draw(st.sampled_from(list(originals))), originals)


def _flips(draw: Draw, submission: Submission, _: Originals) -> bytes:
    data = bytearray(_file(submission))
    for bit in draw(st.lists(st.integers(0, 8 * len(data) - 1), min_size=1, max_size=6)):
        data[bit // 8] ^= 1 << bit % 8
    return bytes(data)


def _pieces(draw: Draw, submission: Submission, _: Originals) -> bytes:
    """Truncated, shortened, lengthened or doubled in parts."""
    data = _file(submission)
    first, last = sorted(draw(st.integers(0, len(data))) for _ in range(2))
    inside = draw(st.sampled_from([b"", data[first:last] * 2, draw(st.binary(max_size=40)), bytes(1000)]))
    return draw(st.sampled_from([data[:first], data[last:], data[:first] + inside + data[last:], inside + data]))


def _headers(draw: Draw, submission: Submission, _: Originals) -> bytes:
    """Fields of the headers of the container that say something else: sizes, offsets, names, methods, flags."""
    data = bytearray(_file(submission))
    starts = [data.index(b"PK\3\4"), data.rindex(b"PK\3\4"), data.index(b"PK\1\2"), data.rindex(b"PK\1\2")]
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.sampled_from([*starts, len(data) - 22]))
        at = min(start + 2 * draw(st.integers(2, 22)), len(data) - 4)
        value = draw(st.sampled_from([0, 1, 8, 9, 12, 14, 99, 255, 2**16 - 1, 2**31, 2**32 - 1]))
        kind = draw(st.sampled_from(["<H", "<I"]))
        struct.pack_into(kind, data, at, value & (2 ** (8 * struct.calcsize(kind)) - 1))
    return bytes(data)


def _members(draw: Draw, submission: Submission, _: Originals) -> bytes:
    """Other names, more members, other compression, a comment."""
    document, records = _opened(submission)
    names = draw(st.lists(st.sampled_from([DOCUMENT, RECORDS, *PATHS]), min_size=0, max_size=4))
    content = {DOCUMENT: canonical(document), RECORDS: records}
    method = draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]))
    unique = list(dict.fromkeys(names))
    comment = draw(st.sampled_from([b"", b"", b"#!/bin/sh"]))
    return zipped(*((name, content.get(name, b"x")) for name in unique), method=method, comment=comment)


def _bomb(draw: Draw, submission: Submission, _: Originals) -> bytes:
    """Much in little: a document, or records, as many as a budget allows, with sizes that may lie."""
    document, records = _opened(submission)
    size = draw(st.sampled_from([10**5, 3 * 10**6, 2 * 10**7]))
    filler = draw(st.sampled_from([b"\0", b"[],", b"{},", b'"",', b" "]))
    if draw(st.booleans()):
        text = b"[" + (filler * (size // len(filler)))[:-1] + b"]"
        return zipped((DOCUMENT, text), (RECORDS, records))
    run = document["runs"][0]
    L = submission.runs[0].task.spec.L
    count = size // (16 + L)
    document.update(suite=run["manifest"]["task"], runs=[run])
    run["manifest"] = sealed({**run["manifest"], "budget": count, "evaluations": count, "asked": count})
    run["records"] = count
    body = bytes(count * (16 + L))
    if draw(st.booleans()):
        numbers = np.arange(1, count + 1)
        columns = [numbers.astype(kind).tobytes() for kind in ("<u4", "<u8", "<u4")]
        body = b"".join([*columns, np.random.default_rng(0).integers(0, 8, (count, L), np.uint8).tobytes()])
    document["records_sha256"] = hashlib.sha256(body).hexdigest()
    data = bytearray(zipped((DOCUMENT, canonical(document)), (RECORDS, body)))
    if draw(st.booleans()):
        for at in (data.index(RECORDS.encode()) - 8, data.rindex(RECORDS.encode()) - 22):
            struct.pack_into("<I", data, at, draw(st.sampled_from([0, len(records), 2**31])))
    return bytes(data)


def _places_in(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to all that is in parsed JSON."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, below in inside for place in _places_in(below, (*path, key)))]


def _json(draw: Draw, submission: Submission, _: Originals) -> bytes:
    """Values that are others, gone or too many anywhere in the document, with checksums that fit or not."""
    document, records = _opened(submission)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(_places_in(document)[1:]))
        holder = document
        for key in path[:-1]:
            holder = holder[key]
        if draw(st.integers(0, 3)):
            holder[path[-1]] = deepcopy(draw(VALUES))
        elif isinstance(holder, dict):
            del holder[path[-1]]
            if draw(st.booleans()):
                holder[draw(st.sampled_from(TEXTS))] = deepcopy(draw(VALUES))
    return _closed(document, records, draw(st.integers(0, 4)) > 0)


def _text(draw: Draw, submission: Submission, _: Originals) -> bytes:
    """JSON that another reader might read in another way."""
    document, records = _opened(submission)
    places = [path for path in _places_in(document)[1:] if path[-1] != "sha256"]
    holder, path = document, draw(st.sampled_from(places))
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = "@@"
    text = canonical(_sealed_runs(document)).replace(b'"@@"', draw(st.sampled_from(RAW)))
    return zipped((DOCUMENT, text), (RECORDS, records))


def _numbers(draw: Draw, submission: Submission, _: Originals) -> bytes:
    """Numbers of the outcome that are a little better, or of another type."""
    document, records = _opened(submission)
    for _ in range(draw(st.integers(1, 2))):
        run = draw(st.sampled_from(document["runs"]))
        holder = draw(st.sampled_from([run["manifest"], run["outcome"], run["manifest"]["simple_regret_at"]]))
        if numbers := sorted(key for key, value in holder.items() if type(value) in (int, float)):
            key = draw(st.sampled_from(numbers))
            number = holder[key]
            near = [number + 1, number - 1, number / 2, 0.999 * number, np.nextafter(number, 2.0).item()]
            holder[key] = draw(st.sampled_from([*near, int(number), float(number), bool(number), str(number), 1, 0.0]))
    return _closed(document, records)


def _columns(draw: Draw, submission: Submission, _: Originals) -> bytes:
    """Records that are others, in another order or of another dtype, with a digest that fits."""
    document, records = _opened(submission)
    starts = np.cumsum([0, *(16 * len(run.places) + run.tokens.size for run in submission.runs)]).tolist()
    at = draw(st.integers(0, len(submission.runs) - 1))
    run, head, tail = submission.runs[at], records[: starts[at]], records[starts[at + 1] :]
    columns = {name: getattr(run, name).copy() for name in ("places", "asked", "calls", "tokens")}
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(sorted(columns)))
        array = columns[name]
        if array.size:
            where = draw(st.integers(0, array.size - 1))
            change = draw(st.sampled_from([1, 2, 7, 255, 2**31 - 1]))
            array.flat[where] = (int(array.flat[where]) + change) % 2 ** (8 * array.itemsize)
    way = draw(st.sampled_from(["", "", "", "reversed", "big-endian", "floats", "swapped", "rows"]))
    if way == "reversed":
        columns = {name: array[::-1] for name, array in columns.items()}
    elif way == "big-endian":
        columns = {name: array.astype(array.dtype.newbyteorder(">")) for name, array in columns.items()}
    elif way == "floats":
        columns["asked"] = columns["asked"].astype("<f8")
    elif way == "swapped":
        columns["places"], columns["calls"] = columns["calls"], columns["places"]
    elif way == "rows":
        columns["tokens"] = np.random.default_rng(draw(st.integers(0, 9))).permutation(columns["tokens"])
    return _closed(document, head + b"".join(array.tobytes() for array in columns.values()) + tail)


def _swapped(draw: Draw, submission: Submission, originals: Originals) -> bytes:
    """Manifests, outcomes and ledgers of one run under another, of this submission or of another one."""
    document, records = _opened(submission)
    other, others = _opened(draw(st.sampled_from(list(originals))))
    runs = document["runs"]
    one, two = draw(st.sampled_from(runs)), draw(st.sampled_from(other["runs"] + runs))
    what = draw(st.sampled_from(["seed", "manifest", "outcome", "records", "run", "all records", "kept identity"]))
    if what == "seed":
        one["manifest"]["seed"] = two["manifest"]["seed"]
    elif what == "run":
        runs[runs.index(one)] = json.loads(json.dumps(two))
    elif what == "all records":
        records = others
    elif what == "kept identity":
        identity = {key: one["manifest"][key] for key in ("task", "digest", "seed", "agent")}
        one["manifest"] = {**two["manifest"], **identity}
    else:
        one[what] = two[what]
    return _closed(document, records)


def _card(draw: Draw, submission: Submission, _: Originals) -> bytes:
    """A card with anything on it, and a digest that fits or not."""
    document, records = _opened(submission)
    text = st.one_of(VALUES, st.text(max_size=40), st.sampled_from(MARKUP), st.lists(st.text(max_size=9), max_size=3))
    good = st.sampled_from(["https://a.org/b_c", "Ada", "Łukasz", ["Ada", "Bo"], 7, True, False])
    keys = ("name", "authors", "paper", "code", "command", "model_size", "pretrained", "constraints_known", "hardware")
    card = {"name": draw(st.text(min_size=1, max_size=20)), "authors": ["Ada"], "constraints_known": False}
    for _ in range(draw(st.integers(0, 3))):
        card[draw(st.sampled_from([*keys, "more"]))] = draw(st.one_of(good, text))
    document.update(format=2, card=card)
    return _closed(document, records, draw(st.integers(0, 4)) > 0)


_FORGERS: dict[str, Callable[[Draw, Submission, Originals], bytes]] = {
    "flips": _flips,
    "pieces": _pieces,
    "headers": _headers,
    "members": _members,
    "bomb": _bomb,
    "json": _json,
    "text": _text,
    "numbers": _numbers,
    "columns": _columns,
    "swapped": _swapped,
    "card": _card,
}


def _sealed_runs(document: Any) -> Any:
    """The document with manifests whose checksums fit, where it has any."""
    runs = document.get("runs") if isinstance(document, dict) else None
    for run in runs if isinstance(runs, list) else ():
        if isinstance(run, dict) and isinstance(run.get("manifest"), dict):
            run["manifest"] = sealed(run["manifest"])
    return document


def _closed(document: Any, records: bytes, fitting: bool = True) -> bytes:
    """The file of a document and its records, with checksums that fit as a forger would make them."""
    if fitting:
        document = _sealed_runs(document)
        document["records_sha256"] = hashlib.sha256(records).hexdigest()
        if document.get("format") == 2:
            rest = {key: value for key, value in document.items() if key != "sha256"}
            document["sha256"] = hashlib.sha256(canonical(rest)).hexdigest()
    return zipped((DOCUMENT, canonical(document)), (RECORDS, records))


def untruths(submission: Submission, originals: Originals) -> list[str]:
    """What is not as the page says of a submission that was accepted, found by plain means and not by the library's."""
    known = {run.manifest["ledger_sha256"]: run for original in originals for run in original.runs if run.whole}
    found = []
    for run in submission.runs:
        found += [f"{run.title}: {fault}" for fault in _untruths(run, known)]
    if (ids := [(run.manifest["task"], run.manifest["seed"]) for run in submission.runs]) != sorted(set(ids)):
        found.append("its runs are not each there once")
    expected = [(task, seed) for task in sorted(submission.scope.tasks) for seed in range(submission.scope.seeds or 0)]
    if expected and ids != expected:
        found.append("its runs are not those of the suite")
    if len({run.manifest["budget"] for run in submission.runs} | {submission.scope.budget} - {None}) > 1:
        found.append("its budgets differ")
    return found


def _untruths(run: PackedRun, known: dict[str, PackedRun]) -> list[str]:
    manifest, budget, places = run.manifest, run.manifest["budget"], run.places.tolist()
    spec, start = run.task.spec, run.task.initial_solution[None]
    values = reference_values(spec, run.tokens).tolist() if len(places) else []
    best = [max(0.0, *reference_values(spec, start).tolist())]
    for value in values:
        best.append(max(best[-1], value))
    at = {str(n): 1.0 - best[sum(place <= n for place in places)] for n in (1000, 3000, 10_000, 30_000) if n <= budget}
    stated = [manifest["best_value"], manifest["simple_regret"], manifest["simple_regret_at"]]
    found = []
    if json.dumps(stated) != json.dumps([1.0 - (1.0 - best[-1]), 1.0 - best[-1], at]):
        found.append("its regret is not that of its sequences")
    if places != sorted(set(places)) or (places and not 1 <= places[0] <= places[-1] <= manifest["evaluations"]):
        found.append("its places are none")
    if not manifest["evaluations"] <= budget or manifest["asked"] < manifest["evaluations"]:
        found.append("its evaluations are more than were allowed or asked")
    if manifest["digest"] != run.task.digest or run.tokens.max(initial=0) >= spec.V:
        found.append("it is of another function")
    if run.whole:
        if len({row.tobytes() for row in run.tokens}) < len(places):
            found.append("a sequence is there twice")
        if json.dumps(manifest["feasible_share"]) != json.dumps(float(np.mean(np.array(values) > -np.inf))):
            found.append("its feasible share is another")
        if (original := known.get(manifest["ledger_sha256"])) is None or any(
            not np.array_equal(getattr(run, name), getattr(original, name))
            for name in ("places", "asked", "calls", "tokens")
        ):
            found.append("its ledger is not the one of its digest")
        elif json.dumps([run.distinct, run.diversity]) != json.dumps([original.distinct, original.diversity]):
            found.append("its shares are others")
    return found
