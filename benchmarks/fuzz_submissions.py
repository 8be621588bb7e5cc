"""Fuzz what a stranger may send: changed submissions are read, replayed and, where they verify, put on a board.

    python benchmarks/fuzz_submissions.py --structured 20000 --bytes 20000

Hypothesis changes small real submissions in ways that know the format (`tests/forgeries.py`); atheris, if it is
installed (`pip install atheris`), changes bytes under the guidance of coverage. A case fails if it raises another error
than the library's own, verifies although something that the replay vouches for is not so, takes more than two seconds
or 512 MB, or opens a file for writing while it is read. Of the cases that verify, some are put on a board: nothing may
be written outside of its folder, and no markup of theirs may be on its pages. The files of failed cases are kept.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path.insert(0, str(TESTS))

if "--atheris" in sys.argv:  # before all else imports what it is to watch, and after the kernels, which it would break
    import atheris

    import bioseq_gym

    with atheris.instrument_imports(include=["bioseq_gym.submission", "bioseq_gym.replay"]):
        import bioseq_gym.submission  # noqa: F401

from forgeries import MARKUP, Originals, forgeries, untruths  # noqa: E402
from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: E402
from submissions import CARD, TASK, canonical, opened, sweep, zipped  # noqa: E402

from bioseq_gym.errors import BioseqGymError, InvalidSubmission  # noqa: E402
from bioseq_gym.leaderboard import submit  # noqa: E402
from bioseq_gym.site import SITE  # noqa: E402
from bioseq_gym.submission import Submission, faults, pack, to_bytes  # noqa: E402
from bioseq_gym.submission.archive import DOCUMENT, RECORDS  # noqa: E402
from bioseq_gym.submission.document import from_bytes  # noqa: E402

SECONDS, MEGABYTES = 2.0, 512
SUBMITTED = 25
"""Cases that verify are put on a board, up to so many: each draws pictures."""
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
LIVE = re.compile(r"<(?!!-- Made by)|\]\(javascript:", re.IGNORECASE)


@dataclass
class Figures:
    """What came out so far."""

    kinds: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    submitted: int = 0
    slowest: float = 0.0
    memory: float = 0.0
    failures: Counter[str] = field(default_factory=Counter)

    def text(self, name: str) -> str:
        lines = [
            f"{name}: {counted(self.kinds)}",
            f"  verified: {counted(self.accepted)}; put on a board: {self.submitted}",
            f"  slowest {self.slowest:.2f} s, most memory {self.memory:.0f} MB; failures: {self.failures.total()}",
        ]
        return "\n".join(lines + [f"  FAILED {n:,} times: {what}" for what, n in self.failures.most_common(20)])


def counted(counts: Counter[str]) -> str:
    return f"{sum(counts.values()):,} cases ({', '.join(f'{name} {count:,}' for name, count in counts.items())})"


class Judge:
    """Reads, replays and judges one case after the other; keeps the files that fail in ``kept``."""

    def __init__(self, originals: Originals, kept: Path) -> None:
        self.figures, self._originals, self._kept = Figures(), originals, kept
        self._root = Path(tempfile.mkdtemp(prefix="fuzz-")).resolve()
        self._allowed: Path | None = self._root
        self._writes: list[str] = []
        self._seen: set[str] = set()
        self._put(originals[0], to_bytes(originals[0]))  # what Matplotlib writes once is none of a case's
        self.figures = Figures()
        sys.addaudithook(self._audit)

    def judge(self, kind: str, data: bytes) -> None:
        figures = self.figures
        figures.kinds[kind] += 1
        reset_peak()
        self._writes, self._allowed = [], None
        started = time.perf_counter()
        found: list[str] = []
        submission = None
        try:
            submission = from_bytes(data, "it")
            found += [] if (lines := faults(submission)) else self._accepted(kind, submission)
        except InvalidSubmission as error:
            lines = [str(error)]
        except Exception as error:
            lines = []
            found.append(f"raised {type(error).__name__}: {error}"[:200])
        self._allowed = self._root
        took, memory = time.perf_counter() - started, peak()
        figures.slowest, figures.memory = max(figures.slowest, took), max(figures.memory, memory)
        found += ["took more than two seconds"] if took > SECONDS else []
        found += ["took more than 512 MB"] if memory > MEGABYTES else []
        found += [f"wrote {path}" for path in self._writes]
        found += ["said what is not printable"] if not all(map(str.isprintable, lines)) else []
        found += ["said more than a screen"] if len("".join(lines)) > 100_000 else []
        if submission is not None and not lines:
            found += self._put(submission, data)
        for what in found:
            figures.failures[f"{kind}: {what}"] += 1
        if found:
            (self._kept / f"{kind}-{hashlib.sha256(data).hexdigest()[:12]}.zip").write_bytes(data)

    def close(self) -> None:
        shutil.rmtree(self._root)

    def _accepted(self, kind: str, submission: Submission) -> list[str]:
        self.figures.accepted[kind] += 1
        submission.results()
        again = from_bytes(to_bytes(submission), "it")
        return [*untruths(submission, self._originals), *(["does not survive its file"] if faults(again) else [])]

    def _put(self, submission: Submission, data: bytes) -> list[str]:
        content = hashlib.sha256(to_bytes(submission)).hexdigest()
        if self.figures.submitted >= SUBMITTED or content in self._seen:
            return []
        self._seen.add(content)
        self.figures.submitted += 1
        file, board = self._root / "case.zip", self._root / "board"
        shutil.rmtree(board, ignore_errors=True)
        file.write_bytes(data)
        self._writes, self._allowed = [], board
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                submit([file], board)
        except BioseqGymError:
            return []
        except Exception as error:
            return [f"submit raised {type(error).__name__}: {error}"[:200]]
        finally:
            self._allowed = self._root
        pages = [path.read_text(encoding="utf-8") for path in board.rglob("*.md")]
        live = any(LIVE.search(page) or any(text in page for text in MARKUP) for page in pages)
        live = live or not all(_is_data(path.read_bytes()) for path in (board / SITE).glob("*/**/*.js"))
        return (["put live markup on a page"] if live else []) + [f"wrote {path}" for path in self._writes]

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], (str, bytes)) and arguments[2] & WRITES:
            paths = arguments[:1]
        elif event in ("os.mkdir", "os.remove", "os.rename", "os.symlink", "os.link"):
            paths = arguments[: 2 if event in ("os.rename", "os.symlink", "os.link") else 1]
        else:
            return
        for path in map(os.fsdecode, paths):
            inside = self._allowed is not None and Path(os.path.abspath(path)).is_relative_to(self._allowed)
            if not inside and path != os.devnull:
                self._writes.append(path)


def reset_peak() -> None:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def peak() -> float:
    """Megabytes that this process held at most since :func:`reset_peak`, the interpreter and Numba included."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def originals(folder: Path) -> Originals:
    """Small real submissions: whole and abridged, on a suite and on a task."""
    runs, longer = sweep(folder), sweep(folder / "longer", "random", budget=1200)
    return Originals(
        [
            *(pack(runs, "smoke", abridged=abridged) for abridged in (False, True)),
            pack(runs, "smoke", abridged=True, card=CARD),
            *(pack(longer, TASK, abridged=abridged) for abridged in (False, True)),
        ]
    )


def structured(judge: Judge, samples: Originals, cases: int, first: int) -> None:
    @seed(first)
    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=forgeries(samples))
    def run(case: tuple[str, bytes]) -> None:
        judge.judge(*case)

    run()


def by_atheris(cases: int, first: int, kept: Path) -> None:
    """Never returns: libFuzzer ends the process."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as home:
        folder = Path(home)
        samples = originals(folder)
        judge = Judge(samples, kept)
        (folder / "corpus").mkdir()
        small = [submission for submission in samples if not submission.whole]
        for number, submission in enumerate(samples):
            document, records = opened(submission)
            for mark, content in enumerate((to_bytes(submission), canonical(document), records)):
                (folder / "corpus" / f"{number}-{mark}").write_bytes(bytes([mark]) + content)
        document, records = opened(small[0])

        def one(data: bytes) -> None:
            if sum(judge.figures.kinds.values()) >= cases:
                print(judge.figures.text("bytes, by atheris"), flush=True)
                shutil.rmtree(folder)
                judge.close()
                os._exit(1 if judge.figures.failures else 0)
            mark, content = data[:1], data[1:]
            if mark == b"\1":
                content = zipped((DOCUMENT, content), (RECORDS, records))
            elif mark == b"\2":
                fitting = {**document, "records_sha256": hashlib.sha256(content).hexdigest()}
                content = zipped((DOCUMENT, canonical(fitting)), (RECORDS, content))
            judge.judge({b"\1": "document", b"\2": "records"}.get(mark, "file"), content)

        atheris.Setup([sys.argv[0], f"-seed={first}", "-max_len=20000", "-verbosity=0", str(folder / "corpus")], one)
        atheris.Fuzz()


def _is_data(script: bytes) -> bool:
    """Whether a script of the page hands over JSON and nothing else, with nothing in it that could end the script."""
    call = re.fullmatch(rb"bioseq\.put\((.*)\);\n", script)
    if call is None or b"<" in script or not script.isascii():
        return False
    json.loads(b"[" + call[1] + b"]")
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz submissions.")
    parser.add_argument("--structured", type=int, default=20_000, metavar="N", help="cases by Hypothesis")
    parser.add_argument("--bytes", type=int, default=20_000, metavar="N", help="cases by atheris")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    parser.add_argument("--keep", type=Path, default=Path("runs/fuzz"), metavar="DIR", help="for files of failed cases")
    parser.add_argument("--atheris", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.keep.mkdir(parents=True, exist_ok=True)
    if options.atheris:
        by_atheris(options.bytes, options.seed, options.keep)
    status = 0
    if options.structured:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as home:
            samples = originals(Path(home))
            judge = Judge(samples, options.keep)
            structured(judge, samples, options.structured, options.seed)
            print(judge.figures.text("structured, by Hypothesis"), flush=True)
            status = int(bool(judge.figures.failures))
            judge.close()
    if options.bytes:
        try:
            import atheris  # noqa: F401
        except ImportError:
            print("bytes: atheris is not installed, or has no release for this Python; nothing was done")
            return status
        status |= subprocess.run([sys.executable, __file__, *sys.argv[1:], "--atheris"]).returncode
    return status


if __name__ == "__main__":
    sys.exit(main())
