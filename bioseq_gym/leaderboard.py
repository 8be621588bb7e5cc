"""The leaderboards: submissions that were replayed, a board for each suite or task, and the pages built from them.

A board is the folder of its suite's or task's name: ``submissions``, and a page and its pictures, which can be built
anew from them at any time. All writing is done under one lock and in a hidden folder, from where the files then move to
their places, each at once and the submissions first. So who is killed leaves the tree of before or of after; at worst,
in the instant in which files move, pages behind their submissions, until the board's next submit or the next rebuild.
"""

from __future__ import annotations

import fcntl
import filecmp
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bioseq_gym.errors import InvalidSubmission
from bioseq_gym.files import write_whole
from bioseq_gym.report import (
    MARK,
    PAGE,
    Front,
    Table,
    check_page,
    ranked,
    regret_table,
    require_packages,
    with_columns,
    write_report,
)
from bioseq_gym.site import INDEX, SITE, Entry, check_site, write_board, write_front
from bioseq_gym.study import SUBMISSIONS, SUFFIX, PathLike, Study, agent_labels
from bioseq_gym.submission import Submission, read_submission, to_bytes, verify
from bioseq_gym.submission.card import as_markdown
from bioseq_gym.submission.document import digest
from bioseq_gym.submission.reproduced import Reproduction, read_record
from bioseq_gym.suite import load_scope

_STAGE = ".bioseq-gym-new-"


def submit(files: Iterable[PathLike], root: PathLike, reproduced: Iterable[PathLike] = ()) -> list[Path]:
    """Verify submissions, put each on the board of its suite or task under ``root``, and rebuild the pages.

    Submitting a file again changes nothing. ``reproduced`` are records of :mod:`bioseq_gym.reproduce`, each of one of
    the submissions; it lies beside it, in the place of an older one.

    Returns:
        Each submission on its board.

    Raises:
        InvalidSubmission: a file does not verify, repeats what is on the board, or has another budget than it; a record
            is of none of the files; or something on the board does not verify. Nothing was written, of no file.
        InvalidRun: a page is there that was not made by this program.
        MissingDependency: matplotlib or scipy is not installed.
    """
    require_packages()
    submissions = [read_submission(file) for file in files]
    for submission in submissions:
        verify(submission)
    records = [_matching(submissions, read_record(record), record) for record in reproduced]
    with _locked(Path(root)):
        names = sorted({submission.scope.name for submission in submissions})
        boards = {name: {Path(s.name): s for s in read_board(root, name)} for name in names}
        for page in (PAGE, *(f"{name}/{PAGE}" for name in names)):
            check_page(Path(root) / page)
        check_site(Path(root))
        paths = [_place(submission, boards[submission.scope.name], Path(root)) for submission in submissions]
        with _staged(Path(root), names) as stage:
            for submission, path in zip(submissions, paths, strict=True):
                if not path.exists():
                    # What was verified; the file may be another by now.
                    _write(stage / path.relative_to(root), to_bytes(submission))
            for number, record in records:
                _write(_record_of(stage / paths[number].relative_to(root)), record.to_json().encode())
            for name in names:
                _write_pages(stage, name, read_board(stage, name))
            _write_front(stage)
    return paths


def rebuild(root: PathLike) -> list[Path]:
    """Build all pages under ``root`` anew from the submissions; the same submissions give the same bytes.

    Returns:
        The page of each board.

    Raises:
        InvalidSubmission: a submission does not verify or repeats another.
        InvalidRun: a page is there that was not made by this program.
        MissingDependency: matplotlib or scipy is not installed.
    """
    require_packages()
    with _locked(Path(root)):
        names = board_names(root)
        boards = {name: read_board(root, name) for name in names}
        with _staged(Path(root), names) as stage:
            pages = [_write_pages(stage, name, board) for name, board in boards.items()]
            _write_front(stage)
        return [Path(root) / page.relative_to(stage) for page in pages]


def board_names(root: PathLike) -> list[str]:
    """The suites and tasks whose boards under ``root`` have submissions, sorted."""
    folders = [
        path for depth in ("[!.]*", "[!.]*/[!.]*") for path in Path(root).glob(f"{depth}/{SUBMISSIONS}") if _files(path)
    ]
    return sorted(folder.parent.relative_to(root).as_posix() for folder in folders)


def read_board(root: PathLike, name: str) -> list[Submission]:
    """The submissions on a board, each verified again, sorted by the names of their files.

    Raises:
        UnknownName: there is no suite or task ``name``.
        InvalidSubmission: the first submission that does not verify, repeats another, has another name than
            :func:`file_name`, or belongs elsewhere; or a file that is neither a submission nor the record of one.
    """
    scope = load_scope(name)
    found: list[Submission] = []
    files = _files(Path(root) / name / SUBMISSIONS)
    there = set((Path(root) / name / SUBMISSIONS).glob("[!.]*"))
    if stray := sorted(there - {*files, *map(_record_of, files)}):
        raise InvalidSubmission(f"{os.fspath(stray[0])!r} is neither a submission nor a record beside one; remove it")
    for path in files:
        submission = read_submission(path)
        if submission.scope != scope:
            raise InvalidSubmission(f"{path} is refused: it is on {submission.scope.name}, not on {name}")
        verify(submission)
        if path.name != (own := file_name(submission)):  # a stranger's name would be text of the page
            raise InvalidSubmission(f"{os.fspath(path)!r} is refused: call it {own}, as bioseq-gym submit does")
        _refuse(submission, found)
        _reproduction(submission)
        found.append(submission)
    return found


def board_table(submissions: Sequence[Submission]) -> Table:
    """The report's table of regret, the best agent first, with what else is to be known of each row."""
    study, entries = _study(submissions)
    return with_columns(regret_table(study, ranked(study)), _columns(entries))


def file_name(submission: Submission) -> str:
    """What a submission's file is called on a board: the agent and a mark of its settings, one file for each."""
    return f"{submission.agent}-{hashlib.sha256(submission.setting.encode()).hexdigest()[:8]}{SUFFIX}"


def _matching(submissions: Sequence[Submission], record: Reproduction, path: PathLike) -> tuple[int, Reproduction]:
    """A record, and the number of the submission that it is of."""
    for number, submission in enumerate(submissions):
        if digest(submission) == record.submission and len(submission.runs) == record.of:
            return number, record
    raise InvalidSubmission(f"{path} is refused: it is a record of another submission; give that too")


def _record_of(path: Path) -> Path:
    """Where the record of the submission at ``path`` is, if there is one."""
    return path.with_suffix(".reproduced.json")


def _reproduction(submission: Submission) -> Reproduction | None:
    """The record beside a submission on a board. Raises InvalidSubmission if it is none, or of another submission."""
    if not (path := _record_of(Path(submission.name))).exists():
        return None
    return _matching([submission], read_record(path), path)[1]


def _place(submission: Submission, board: dict[Path, Submission], root: Path) -> Path:
    """Where a submission is on its board; or, if the ``board`` admits it, will be, and it is entered there."""
    for path, other in board.items():
        if submission.setting == other.setting and to_bytes(submission) == to_bytes(other):
            return path
    _refuse(submission, board.values())
    path = root / submission.scope.name / SUBMISSIONS / file_name(submission)
    if path in board:
        raise InvalidSubmission(f"{submission.name} is refused: {path} is there, of other settings; rename the agent")
    board[path] = submission
    return path


def _refuse(submission: Submission, others: Iterable[Submission]) -> None:
    """Refuse a submission that does not go with ``others``; all are verified."""
    for other in others:
        if submission.setting == other.setting:
            raise InvalidSubmission(
                f"{submission.name} is refused: {other.name} is of the same agent and settings, which count once; "
                "remove that one first"
            )
        own, its = (s.runs[0].manifest["budget"] for s in (submission, other))
        if own != its:
            raise InvalidSubmission(
                f"{submission.name} is refused: its runs have a budget of {own:,}, and those of the board {its:,}; "
                "run it with that"
            )
        # Some may be shared in all honesty: an agent may begin as another does, and be done before they part.
        # Of the larger one half, or who packs little could keep another's many runs off the board.
        shared, runs = len(submission.ledgers & other.ledgers), max(len(submission.runs), len(other.runs))
        if 2 * shared >= runs:
            raise InvalidSubmission(
                f"{submission.name} is refused: it and {other.name} share {shared} ledgers, of {runs} at most, under "
                "two names; leave one out"
            )


def _study(submissions: Sequence[Submission]) -> tuple[Study, dict[str, Entry]]:
    """The study of the submissions, and which row of the board each of its agents is."""
    pairs = [(result, entry) for entry in map(_entry, submissions) for result in entry.submission.results()]
    results = [result for result, _ in pairs]
    return Study.of(results), dict(zip(agent_labels(results), (entry for _, entry in pairs), strict=True))


def _entry(submission: Submission) -> Entry:
    return Entry(submission, _reproduction(submission))


def _write_pages(root: Path, name: str, board: Sequence[Submission]) -> Path:
    study, entries = _study(board)
    write_board(root, name, study, entries)
    columns = _columns(entries)
    columns["ledgers"] = {label: f"[{entry.submission.kind}]({entry.file})" for label, entry in entries.items()}
    return write_report(study, root / name, Front(name, f"{_ROWS}\n\n{_TRUST}", _cards(entries), columns))


def _columns(entries: Mapping[str, Entry]) -> dict[str, dict[str, str]]:
    """What a board's table says of each row beside its numbers."""
    return {
        "constraints": {label: entry.constraints for label, entry in entries.items()},
        "reproduced": {label: " ".join(filter(None, entry.reproduced)) for label, entry in entries.items()},
        "ledgers": {label: entry.submission.kind for label, entry in entries.items()},
    }


def _write_front(root: Path) -> None:
    """The pages that lead to the boards: one of Markdown, and the one that shows them all."""
    counts = {name: len(_files(root / name / SUBMISSIONS)) for name in board_names(root)}
    check_page(root / PAGE)
    lines = [MARK, "# Leaderboards", "", _INDEX, *(_line(*board) for board in counts.items()), ""]
    write_whole(root / PAGE, "\n".join(lines))
    write_front(root, list(counts), _TRUST)


def _cards(entries: Mapping[str, Entry]) -> str:
    """What the authors of each row say of it, and who ran it again, if any did."""
    rows = sorted(entries.items())
    cards = [f"- {label}: {as_markdown(card)}" for label, entry in rows if (card := entry.submission.card) is not None]
    records = [
        f"- {label}: {record.as_markdown()} ([record]({_record_of(Path(entry.file))}))"
        for label, entry in rows
        if (record := entry.reproduction) is not None
    ]
    parts = [(_CARDS, cards), (_REPRODUCED, records)]
    return "\n\n".join(text + "\n\n" + "\n".join(lines) for text, lines in parts if lines)


def _line(name: str, count: int) -> str:
    scope = load_scope(name)
    line = f"- [{name}]({name}/{PAGE}): {count} submission{'s' if count > 1 else ''}"
    if scope.budget is None:
        return line
    return f"{line}; {len(scope.tasks)} tasks, {scope.seeds} seeds each, {scope.budget:,} evaluations a run"


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"[!.]*{SUFFIX}"))


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _staged(root: Path, names: Iterable[str]) -> Iterator[Path]:
    """A hidden folder with the boards ``names`` and the submissions of the others, whose changes move to ``root``.

    Nothing moves if the block raises. What a killed process left is removed: under the lock nobody is at work on it.
    """
    for left in root.glob(f"{_STAGE}*"):
        shutil.rmtree(left)
    with TemporaryDirectory(prefix=_STAGE, dir=root) as folder:
        stage = Path(folder)
        boards = [root / name for name in names]
        submissions = [file for name in board_names(root) for file in (root / name / SUBMISSIONS).glob("[!.]*")]
        for file in [*submissions, *_pages(root, boards)]:
            (copy := stage / file.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        yield stage
        built = sorted((file for file in stage.rglob("*") if file.is_file()), key=_moves)
        for file in built:
            target = root / file.relative_to(stage)
            target.parent.mkdir(parents=True, exist_ok=True)
            if not (target.exists() and filecmp.cmp(file, target, shallow=False)):
                os.replace(file, target)
        kept = {root / file.relative_to(stage) for file in built}
        for file in [file for name in names for file in (root / SITE / name).rglob("*.js")]:
            if file not in kept:
                file.unlink()  # of a submission that was removed


def _pages(root: Path, boards: Iterable[Path]) -> list[Path]:
    """The files that are no submissions, and so are built: of the boards all, beside other things in ``root`` pages."""
    found = [path for board in boards for path in board.glob("[!.]*")] + [root / PAGE, root / INDEX]
    return [path for path in found if path.is_file()]


def _moves(file: Path) -> tuple[bool, bool, int, str]:
    """Submissions before what is built from them, pages after the pictures that they show, and the index at the end."""
    return SUBMISSIONS not in file.parts, file.name == PAGE, -len(file.parts), str(file)


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Hold the lock of all boards under ``root``, which is made. It lies on the folder itself, and leaves no file."""
    root.mkdir(parents=True, exist_ok=True)
    folder = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


_INDEX = """[index.html](index.html) shows all of this with switches and curves: open it in a browser, or see
`bioseq-gym leaderboard --serve`.

A board for each suite, and for single tasks, whose first submission sets the budget of all. Each row of a board is one
submission, a file that anyone can replay with `bioseq-gym verify`. Pages are built by `bioseq-gym submit`, and anew by
`bioseq-gym leaderboard --rebuild`.
"""

_ROWS = """Built by `bioseq-gym submit` from the files in `submissions`, which `bioseq-gym verify` replays. Each row
is one agent with one setting. An agent marked "constraints known" was shown which tokens may follow which, or its card
says that it knew; all others state that it was *not shown* to them. What an agent takes for granted of the kind of
function, as `neutral-drift` does a product of motifs, is in its code and may be on its card."""

_TRUST = """**What a row proves.** The sequences in its submission have the values that its regret is computed from:
each was scored again by the task's function, and its place in the run is within the budget. *Whole* ledgers hold every
evaluation: all numbers but the wall time were computed from that replay, and the digest of each ledger is the one
stated. *Abridged* ledgers hold only the records at which the best value rose. Regret, AOCC, targets, running times and
curves are of that replay; how many evaluations were spent, which running times count where a target was missed,
feasible and distinct shares, diversity and the digest are only stated. The wall time always is. Who runs the same agent
with the same settings and seeds gets the whole ledgers, and can compare their digests; with an agent that uses torch
this may take the same kind of processor.

**What it cannot prove:** that nobody looked at the function's definition, which is public; that the agent named is the
one that asked, with that seed; that it was not shown the constraints; that all that was asked is there, in the order in
which it was asked, and was not picked from more; that the runs were not picked from several, are not one run altered a
little for each seed, or are not the beginning of longer ones; and how long they took. The workflow that checks pull
requests compares pictures only roughly."""

_CARDS = "## Cards\n\nWhat their authors say of them, which no replay can check."

_REPRODUCED = """## Reproductions

By `bioseq-gym reproduce`, of so many runs, as those state who did it: *identical* where the agent, run again, gave the
same ledgers; *compatible* where an exact test of runs with other seeds found no difference at 5 %, and *different*
where it found one."""
