"""Cards: what they may say, where they are kept, and that pages show them as plain text."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from submissions import CARD, canonical, opened, saved, zipped

from bioseq_gym import InvalidSubmission
from bioseq_gym.errors import InvalidConfig
from bioseq_gym.leaderboard import read_board, submit
from bioseq_gym.report import PAGE
from bioseq_gym.submission import Submission, faults, pack, read_submission, to_bytes
from bioseq_gym.submission.archive import DOCUMENT, RECORDS
from bioseq_gym.submission.card import as_markdown, card_faults, inert, read_card
from bioseq_gym.submission.document import from_bytes

REPOSITORY = Path(__file__).resolve().parents[1]
FULL = {
    **CARD,
    "paper": "https://arxiv.org/abs/2410.22296",
    "code": "https://example.org/a_b?c=d#e",
    "command": "bioseq-gym sweep --agents agents/mine.py --tasks smoke --out runs/mine",
    "pretrained": "nothing",
    "hardware": "one GPU, 3 h",
}
TOML = "".join(f"{key} = {json.dumps(value)}\n" for key, value in FULL.items())


def test_a_card_is_read_from_toml(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text(TOML)
    assert read_card(tmp_path / "card.toml") == FULL


def test_the_readme_shows_a_card_with_every_key(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", (REPOSITORY / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "card.toml").write_text(text)
    assert read_card(tmp_path / "card.toml").keys() == FULL.keys()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "is no TOML: "),
        ("a = " + "[" * 10_000, "is no TOML"),
        ("\x00", "is no TOML"),
        ("#" * 2**17, "has too many bytes"),
        ("", "the card has no name, .*; the card has no authors, .*; the card has no constraints_known, true or false"),
        (TOML + 'email = "a"', "has 1 unknown keys, as 'email'; known are name, authors, paper"),
        (TOML + "paper = 3", "is no TOML"),
    ],
)
def test_a_file_that_is_no_card_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "card.toml").write_text(text)
    with pytest.raises(InvalidConfig, match=message):
        read_card(tmp_path / "card.toml")
    with pytest.raises(InvalidConfig, match="can't be read: "):
        read_card(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("name", value) for value in ("", " a", "a\nb", "a\u202eb", "\x1b[31m", "x" * 301, 7, None, ["a"])),
        *(("authors", value) for value in ("Ada", [], ["Ada", ""], ["a"] * 51, [3])),
        *(("paper", value) for value in ("http://a.org", "javascript:alert(1)", "https://a.org/)x", "https://", 3)),
        *(("code", value) for value in ("https://a.org/ b", "https://a.org/<b>", "https://a.org/" + "x" * 300)),
        *(("model_size", value) for value in (-1, 2**63, 1.0, True, "2M")),
        *(("constraints_known", value) for value in (0, 1, "no", None)),
    ],
)
def test_a_wrong_value_is_named(key: str, value: Any) -> None:
    assert card_faults(FULL) == []
    (fault,) = card_faults({**FULL, key: value})
    assert fault.startswith(f"the card's {key} is not ")


@pytest.mark.parametrize("card", [None, [], "x", 3])
def test_what_is_no_table_is_no_card(card: Any) -> None:
    assert card_faults(card) == ["the card is no table of keys"]


def test_a_submission_keeps_its_card_and_a_digest_of_all(
    runs: list[Path], abridged: Submission, tmp_path: Path
) -> None:
    made = pack(runs, "smoke", abridged=True, card=FULL)
    read = read_submission(saved(made, tmp_path / "a.zip"))
    assert (read.card, faults(read), to_bytes(read)) == (FULL, [], to_bytes(made))
    assert (opened(made)[0]["format"], opened(abridged)[0]["format"], abridged.card) == (2, 1, None)
    document, records = opened(made)
    document["card"]["name"] = "Another"
    edited = zipped((DOCUMENT, canonical(document)), (RECORDS, records))
    with pytest.raises(InvalidSubmission, match=r"was edited: its digest does not fit; pack it again"):
        from_bytes(edited, "it")
    bad = replace(made, card={**FULL, "name": "<b>\n", "more": 1})
    with pytest.raises(InvalidSubmission, match=r"has 1 unknown keys, as 'more'.*; the card's name is not one line"):
        from_bytes(to_bytes(bad), "it")


def test_a_card_may_know_more_than_the_agent_was_shown_and_never_less(abridged: Submission) -> None:
    known = replace(abridged, card={**CARD, "constraints_known": True})
    assert faults(known) == []
    assert {result.label for result in known.results()} == {"genetic (constraints known)"}
    assert known.setting != abridged.setting == replace(abridged, card=CARD).setting
    environment = {**abridged.runs[0].manifest["environment"], "reveal_constraints": True}
    runs = tuple(replace(run, manifest={**run.manifest, "environment": environment}) for run in abridged.runs)
    assert faults(replace(abridged, runs=runs)) == []
    (fault,) = faults(replace(abridged, runs=runs, card=CARD))
    assert fault == "its card says that the constraints were not known, and the agent was shown them"


def test_nothing_of_a_card_is_markup() -> None:
    assert inert("Łukasz, 2.5 M + 1") == "Łukasz, 2.5 M + 1"
    for text in (
        "<b>",
        "&lt;",
        "*a*",
        "_a_",
        "[a](b)",
        "`a`",
        "a|b",
        "![x]",
        "http://a.org",
        "$x$",
        "\\",
        "a@b.c",
        "~~a~~",
    ):
        assert not set(inert(text)) & set("<>*_[]()`|!:$\\@~\"'")
    assert "www." not in inert("www.a.org")
    shown = as_markdown({**FULL, "name": "<script>[x](y)", "hardware": "a|b"})
    assert shown == (
        "**&#60;script&#62;&#91;x&#93;&#40;y&#41;** by Ada, Łukasz; [paper](https://arxiv.org/abs/2410.22296); "
        "[code](https://example.org/a_b?c=d#e); command: bioseq-gym sweep --agents agents/mine.py --tasks smoke "
        "--out runs/mine; model size: 2,000,000; pretrained: nothing; constraints known: no; hardware: a&#124;b"
    )


def test_a_board_shows_the_cards_of_its_rows(abridged: Submission, others: list[Path], tmp_path: Path) -> None:
    files = [
        saved(replace(abridged, card=FULL), tmp_path / "a.zip"),
        saved(pack(others, "smoke", abridged=True), tmp_path / "b.zip"),
    ]
    submit(files, tmp_path / "board")
    page = (tmp_path / "board" / "smoke" / PAGE).read_text()
    assert page.endswith(f"which no replay can check.\n\n- genetic: {as_markdown(FULL)}\n")
    assert [s.card for s in read_board(tmp_path / "board", "smoke")] == [FULL, None]
