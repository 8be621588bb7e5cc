"""The command line: what it prints, its exit status, and errors of one line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bioseq_gym import __version__, load_suite, suite_names, task_names
from bioseq_gym.cli import main
from bioseq_gym.runs import LEDGER, MANIFEST, read_run, write_manifest
from bioseq_gym.submission import read_submission, to_bytes

TASK = "llome/ehr-V32-L32-c4-k4-q4"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a command."""
    try:
        status = main([str(a) for a in arguments])
    except SystemExit as exit:
        status = int(exit.code or 0)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture
def finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The directory of a finished run of 50 evaluations."""
    assert run(capsys, "run", "random", "--budget", 50, "--out", tmp_path / "run", "--quiet")[0] == 0
    return tmp_path / "run"


@pytest.mark.parametrize(
    "command",
    [
        [],
        *([name] for name in ("tasks", "run", "sweep", "report", "pack", "verify", "submit", "leaderboard")),
        ["run", "genetic"],
    ],
)
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    status, out, err = run(capsys, *command, "--help")
    assert (status, err) == (0, "")
    assert out.startswith("usage: ")
    assert "Exit status: 0, 2 for bad use or bad input, 1 for a check or an agent that failed" in " ".join(out.split())


def test_the_help_of_an_agent_shows_its_settings(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "run", "genetic", "--help")
    assert "--children int" in out
    assert "new sequences per generation (default: 100)" in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, f"bioseq-gym {__version__}\n", "")


def test_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "tasks", "--json")
    assert status == 0
    assert [task["name"] for task in json.loads(out)] == task_names()
    assert json.loads(out)[0].keys() == {"name", "V", "L", "c", "k", "q", "epistasis", "digest"}
    status, out, _ = run(capsys, "tasks")
    assert all(name in out for name in (*task_names(), *suite_names()))
    status, out, _ = run(capsys, "tasks", "llome-6", "--json")
    assert [task["name"] for task in json.loads(out)] == list(load_suite("llome-6").tasks)
    status, out, _ = run(capsys, "tasks", "smoke")
    assert (status, out.count("ehrlich/")) == (0, 2)
    status, _, err = run(capsys, "tasks", "smok")
    assert (status, err) == (2, "bioseq-gym: there is no suite 'smok'. Did you mean 'smoke'? See bioseq-gym tasks.\n")


def test_run_ends_with_one_line_of_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, out, err = run(
        capsys, "run", "genetic", "--task", TASK, "--budget", 300, "--seed", 4, "--out", tmp_path / "run", "--json",
        "--children", 7,
    )  # fmt: skip
    assert status == 0
    result = json.loads(out.splitlines()[-1])
    assert list(result) == [
        "task", "agent", "seed", "evaluations", "calls", "simple_regret", "best_value", "feasible_share", "wall_s",
    ]  # fmt: skip
    assert (result["task"], result["agent"], result["seed"], result["evaluations"]) == (TASK, "genetic", 4, 300)
    assert read_run(tmp_path / "run").manifest["config"]["children"] == 7
    assert "best " in err
    assert "0 evaluations left" in err


def test_an_agent_in_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    example = Path(__file__).parents[1] / "agents" / "example_agent.py"
    status, out, _ = run(capsys, "run", example, "--budget", 60, "--out", tmp_path / "run", "--json", "--quiet")
    assert (status, json.loads(out)["agent"]) == (0, "hill-climbing")


def test_pack_takes_what_a_sweep_calls_an_agent(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    sweep = ["sweep", "--agents", "neutral-drift", "neutral-drift:by-5", "--tasks", TASK, "--seeds", 1, "--budget", 60]
    assert run(capsys, *sweep, "--out", tmp_path, "--workers", 1, "--quiet")[0] == 0
    packed = ["pack", tmp_path, "--suite", TASK, "--out", tmp_path / "a.zip", "--agent"]
    assert run(capsys, *packed, "neutral-drift:by-5")[0] == 0
    (kept,) = read_submission(tmp_path / "a.zip").runs
    assert kept.manifest["config"]["batch_size"] == 5
    status, _, err = run(capsys, *packed, "adalead:guided")
    assert (status, err) == (
        2, f"bioseq-gym: no run on {TASK} has these settings of adalead; sweep it with them\n",
    )  # fmt: skip
    status, _, err = run(capsys, *packed, "neutral-drift:by-6")
    assert (status, "there is no preset of neutral-drift 'by-6'" in err) == (2, True)


def test_resume_goes_on(capsys: pytest.CaptureFixture[str], finished: Path) -> None:
    arguments = ["run", "random", "--budget", 50, "--out", finished, "--quiet", "--json"]
    status, _, err = run(capsys, *arguments)
    assert (status, err.count("\n")) == (2, 1)
    status, out, _ = run(capsys, *arguments, "--resume")
    assert (status, json.loads(out)["evaluations"]) == (0, 50)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "genetc"], "there is no agent 'genetc'. Did you mean 'genetic'"),
        (["run", "--seed", "1", "genetic"], "the agent comes first: bioseq-gym run AGENT [options]"),
        (["run", "nowhere.py"], "there is no file nowhere.py"),
        (["run", "random", "--task", "llome/ehr-V32-L32"], "Did you mean 'llome/ehr-V32-L32-c4-k4-q"),
        (["run", "random", "--task", "ehrlich/ehr-V4-L4-c4-k4-q4-seed0"], "do not fit in L=4"),
        (["run", "random", "--task", "ehrlich/ehr-V8-L32-c2-k4-q3-seed0"], "q=3 does not divide k=4"),
        (["run", "random", "--budget", "0"], "the budget is 0; give an integer of at least 1"),
        (["run", "random", "--budget", "-5"], "the budget is -5"),
        (["run", "random", "--budget", str(10**20)], "give an integer of at least 1 and below 2^63"),
        (["run", "random", "--budget", "many"], "invalid int value: 'many'; see bioseq-gym run random --help"),
        (["run", "random", "--seed", "-1"], "the seed is -1; give an integer of at least 0"),
        (["run", "random", "--seed", str(10**20)], "give an integer of at least 0 and below 2^63"),
        (["run", "genetic", "--mutations", "inf"], "--mutations of genetic is inf; give a finite number"),
        (["run", "genetic", "--mutations", "nan"], "--mutations of genetic is nan; give a finite number"),
        (["run", "random", "--mutations", "0"], "--mutations of random is 0.0; give at least 0.01"),
        (["run", "random", "--batch-size", "0"], "--batch-size of random is 0; give at least 1"),
        (["run", "random", "--no-option"], "unrecognized arguments: --no-option; see bioseq-gym run random --help"),
        (["report", "nowhere"], "nowhere is not a run directory"),
        (["pack", "nowhere", "--suite", "smoke", "--out", "a.zip"], "nowhere is not a run directory"),
        (["pack", "nowhere", "--suite", "smok", "--out", "a.zip"], "no suite or task 'smok'. Did you mean 'smoke'"),
        (["reproduce", "nowhere"], "there is no file nowhere; give a submission"),
        (["verify", "nowhere"], "there is no file nowhere; give a submission, which bioseq-gym pack makes of runs"),
        (["submit", "nowhere"], "there is no file nowhere; give a submission"),
        (["leaderboard", "--board", "nowhere"], "there is no leaderboard in nowhere"),
        (["leaderboard", "llome/x"], "there is no suite or task 'llome/x'"),
        (["frobnicate"], "invalid choice: 'frobnicate'"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_bad_use_is_one_line_that_names_the_fix(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("env.evaluate(env.initial_solution)", "sequences have shape (32,); give (B, 32)"),
        ("raise OSError('no such model')", "OSError('no such model')"),
        ("open('/nowhere/weights')", "No such file or directory: /nowhere/weights"),
    ],
)
def test_an_agent_that_errs_is_told_where(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, line: str, message: str
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        f"from bioseq_gym.agent import Agent\ndef run(env, seed, config):\n    {line}\nAGENT = Agent('mine', run)\n"
    )
    status, _, err = run(capsys, "run", path, "--budget", 10, "--out", tmp_path / "run", "--quiet")
    assert (status, err.count("\n")) == (2, 1)
    assert message in err
    if "evaluate" in line:
        assert f"({path}, line 3)" in err


def test_a_pack_that_cannot_be_written_names_its_file(
    capsys: pytest.CaptureFixture[str], finished: Path, tmp_path: Path
) -> None:
    (tmp_path / "taken").mkdir()
    status, _, err = run(capsys, "pack", finished, "--suite", TASK, "--out", tmp_path / "taken")
    assert (status, err) == (2, f"bioseq-gym: Is a directory: {tmp_path / 'taken'}\n")


def test_a_folder_that_cannot_be_made(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, _, err = run(capsys, "run", "random", "--budget", 10, "--out", tmp_path / "file" / "run", "--quiet")
    assert (status, err.count("\n")) == (2, 1)
    assert "Not a directory" in err


def test_report_prints_a_table_and_writes_a_page(
    capsys: pytest.CaptureFixture[str], finished: Path, tmp_path: Path
) -> None:
    status, out, err = run(capsys, "report", finished, "--out", tmp_path / "report", "--ioh")
    assert (status, err) == (0, "")
    assert TASK in out
    assert "random" in out
    assert f"report: {tmp_path / 'report' / 'README.md'}, with regret.png, ecdf.png" in out
    for name in ("regret.png", "ecdf.png"):
        assert (tmp_path / "report" / name).read_bytes().startswith(b"\x89PNG")
        assert f"]({name})" in (tmp_path / "report" / "README.md").read_text()
    assert len(list((tmp_path / "report" / "ioh").rglob("*.dat"))) == 1


def test_report_takes_a_folder_of_runs_on_several_tasks(
    capsys: pytest.CaptureFixture[str], finished: Path, tmp_path: Path
) -> None:
    other = ["--task", "llome/ehr-V32-L32-c4-k4-q2", "--budget", 60, "--out", tmp_path / "other", "--quiet"]
    assert run(capsys, "run", "random", *other)[0] == 0
    status, _, err = run(capsys, "report", tmp_path, "--out", tmp_path / "report")
    assert (status, err.count("\n")) == (2, 1)
    assert "the runs have budgets of 50, 60" in err
    status, out, _ = run(capsys, "report", tmp_path, "--budget", 50, "--out", tmp_path / "report")
    assert status == 0
    assert "2 tasks" in out


def test_report_refuses_a_run_that_is_not_finished(capsys: pytest.CaptureFixture[str], finished: Path) -> None:
    write_manifest(finished, {**read_run(finished).manifest, "status": "running"})
    status, _, err = run(capsys, "report", finished)
    assert (status, err.count("\n")) == (2, 1)
    assert "not finished; go on with bioseq-gym run ... --resume" in err


def test_report_of_a_budget_far_larger_than_what_was_spent(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    task = ["--task", "holo/ehr-V5-L7-c1-k3-q3-seed0", "--budget", 10**12, "--out", tmp_path / "run", "--quiet"]
    assert run(capsys, "run", "genetic", *task)[0] == 0
    assert run(capsys, "report", tmp_path / "run", "--out", tmp_path)[0] == 0


def test_a_path_with_markup_is_printed_as_it_is(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, _, err = run(capsys, "run", "random", "--budget", 10, "--out", tmp_path / "[a]x[" / "[red]")
    assert status == 0
    assert str(tmp_path / "[a]x[" / "[red]") in err


def test_pack_verify_submit_and_leaderboard(capsys: pytest.CaptureFixture[str], finished: Path, tmp_path: Path) -> None:
    board, files = ["--board", tmp_path / "board"], [tmp_path / "new" / "a.zip", tmp_path / "b.zip"]
    status, out, _ = run(capsys, "pack", finished.parent, "--suite", TASK, "--out", files[0])
    assert (status, out) == (
        0,
        f"packed 1 run of random on {TASK}, whole: {files[0]}, {files[0].stat().st_size:,} bytes\n",
    )
    status, out, _ = run(
        capsys, "pack", finished, "--suite", TASK, "--abridged", "--agent", "random", "--out", files[1]
    )
    assert (status, files[1].stat().st_size < files[0].stat().st_size) == (0, True)
    status, out, err = run(capsys, "verify", *files)
    assert (status, err) == (0, "")
    kinds = dict(zip(files, ("whole", "abridged"), strict=True))
    assert out == "".join(f"verified {file}: 1 run of random on {TASK}, {kind}\n" for file, kind in kinds.items())
    status, out, _ = run(capsys, "submit", files[1], *board)
    assert (
        status,
        out.startswith(f"verified {files[1]}: {tmp_path / 'board' / TASK / 'submissions' / 'random-'}"),
    ) == (0, True)
    for arguments in ([], [TASK], [TASK, "--rebuild"]):
        status, out, _ = run(capsys, "leaderboard", *arguments, *board)
        assert (status, "random" in out, "abridged" in out, "built" in out) == (0, True, True, "--rebuild" in arguments)
    status, out, _ = run(capsys, "leaderboard", "smoke", *board)
    assert (status, out) == (0, "no submission on smoke yet\n")
    status, out, _ = run(capsys, "report", files[1], "--out", tmp_path / "report")
    assert (status, TASK in out) == (0, True)


def test_verify_prints_each_fault_on_a_line(capsys: pytest.CaptureFixture[str], finished: Path, tmp_path: Path) -> None:
    good, bad, broken = (tmp_path / f"{name}.zip" for name in ("good", "bad", "broken"))
    assert run(capsys, "pack", finished, "--suite", TASK, "--out", good)[0] == 0
    (packed,) = (submission := read_submission(good)).runs
    forged = {**packed.manifest, "best_value": 0.5, "calls": 99}
    bad.write_bytes(to_bytes(replace(submission, runs=(replace(packed, manifest=forged),))))
    broken.write_text("hello")
    status, out, err = run(capsys, "verify", bad, good, broken)
    assert (status, out.startswith(f"verified {good}")) == (1, True)
    assert [line.split(": ")[1] for line in err.splitlines()] == [str(bad), str(bad), f"{broken} is refused"]
    assert "it states calls = 99, the replay gives" in err
    status, _, err = run(capsys, "submit", good, bad, "--board", tmp_path / "board")
    assert (status, err.count("\n"), (tmp_path / "board").exists()) == (1, 1, False)


def cut(path: Path) -> None:
    (path / LEDGER).write_bytes((path / LEDGER).read_bytes()[:-5])


def flip(path: Path) -> None:
    data = bytearray((path / LEDGER).read_bytes())
    data[64 + 32] ^= 1  # the lowest bit of the first value
    (path / LEDGER).write_bytes(data)


def edit(path: Path) -> None:
    (path / MANIFEST).write_text((path / MANIFEST).read_text().replace('"seed": 0', '"seed": 1'))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "ends in a half-written record after 49 whole ones"),
        (flip, "record 1 of 50 fails its checksum"),
        (edit, "was edited: its checksum does not fit"),
    ],
)
def test_a_run_that_fails_its_check_is_exit_status_1(
    capsys: pytest.CaptureFixture[str], finished: Path, tmp_path: Path, damage: object, message: str
) -> None:
    assert callable(damage)
    damage(finished)
    status, _, err = run(capsys, "pack", finished, "--suite", TASK, "--out", tmp_path / "a.zip")
    assert (status, err.count("\n")) == (1, 1)
    assert message in err
    assert not (tmp_path / "a.zip").exists()


def test_an_interrupted_run_says_how_to_go_on(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bioseq_gym.cli.run_agent", interrupt)
    status, _, err = run(capsys, "run", "random", "--out", tmp_path / "run")
    assert (status, err) == (130, "bioseq-gym: stopped; a run that was cut goes on with --resume\n")
