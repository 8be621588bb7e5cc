"""The page of the leaderboards in a browser, from disk and from the server."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pages import (
    BOARDS,
    LIVE,
    SERIES,
    STRANGE,
    address,
    at,
    board_data,
    cells,
    column,
    drawn,
    label,
    markdown_tables,
    opened,
    read_data,
    settle,
    shown,
    state,
    status,
    submission_data,
)
from playwright.sync_api import expect

from bioseq_gym.leaderboard import board_names

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.timeout(90)  # a browser that hangs
NAMES = board_names(BOARDS)
FIRST, SECOND = NAMES[:2]
DISK = address(BOARDS)


# A board


def test_every_board_is_the_table_of_its_markdown_page(browser: Browser, home: str) -> None:
    with opened(browser, home) as page:
        for name in NAMES:
            page.get_by_role("link", name=name, exact=True).click()
            expect(page.get_by_role("heading", level=1)).to_have_text(name)
            expect(page.locator("nav [aria-current=page]")).to_have_text(name)
            assert page.title() == f"{name} – bioseq_gym leaderboards"
            header, *rows = markdown_tables(BOARDS / name / "README.md")["Regret"]
            known = {label(row): row for row in board_data(BOARDS, name)["rows"]}
            budgets = page.get_by_role("radio")
            for number in reversed(range(budgets.count())):
                budgets.nth(number).check()
                expect(page.locator("#sort-regret")).to_contain_text(header[2 + number])
                regrets = dict(zip(column(page, "agent"), column(page, "regret"), strict=True))
                assert regrets == {known[row[0]]["label"]: row[2 + number] for row in rows}
            budgets.last.check()
            areas = dict(zip(column(page, "agent"), column(page, "aocc"), strict=True))
            assert areas == {known[row[0]]["label"]: row[header.index("AOCC")] for row in rows}


def sort_key(text: str) -> tuple[float, str]:
    number = re.match(r"[\d.]+", text)
    return (float(number[0]), "") if number else (0.0, "" if text == "–" else text)


@pytest.mark.parametrize("key", SERIES)
def test_the_table_is_sorted_by_every_column(browser: Browser, key: str) -> None:
    with opened(browser, DISK) as page:
        sorted_by = page.locator("th[aria-sort]")
        expect(sorted_by).to_have_count(1)
        expect(sorted_by).to_contain_text("AOCC @ 30k")
        button = page.locator(f"#sort-{key}")
        found = []
        for press in (button.click, lambda: page.keyboard.press("Enter"), lambda: page.keyboard.press("Space")):
            press()
            settle(page)
            expect(button).to_be_focused()
            expect(sorted_by).to_have_count(1)
            assert sorted_by.locator("button").get_attribute("id") == f"sort-{key}"
            found.append(sorted_by.get_attribute("aria-sort"))
            keys = [sort_key(text) for text in column(page, key)]
            assert keys == sorted(keys, reverse=found[-1] == "descending")
        assert sorted(set(map(str, found))) == ["ascending", "descending"]
        assert found[0] == found[2]


def test_rows_are_filtered_by_what_is_typed(browser: Browser, home: str) -> None:
    with opened(browser, home) as page:
        entries = page.evaluate("history.length")
        page.locator("#filter").press_sequentially("Gen HOLO")
        assert column(page, "agent") == ["genetic-holo"]
        assert status(page) == f"1 of {len(board_data(BOARDS, FIRST)['rows'])} rows, 1 of them drawn"
        expect(page.locator("#filter")).to_be_focused()
        page.keyboard.press("Home")
        page.keyboard.type("x")
        expect(page.locator("#filter")).to_have_value("xGen HOLO")
        assert page.locator("#filter").evaluate("box => box.selectionStart") == 1
        assert cells(page) == []
        assert (len(drawn(page)), len(drawn(page, 1))) == (0, 0)
        assert page.evaluate("history.length") == entries
        page.locator("#filter").fill("")
        assert len(cells(page)) == len(board_data(BOARDS, FIRST)["rows"])


def test_rows_are_filtered_by_constraints(browser: Browser) -> None:
    known = {row["label"] for row in board_data(BOARDS, SECOND)["rows"] if row["constraints"] == "known"}
    assert known
    with opened(browser, at(DISK, board=SECOND)) as page:
        for choice, wanted in (("known", known), ("not shown", set(column(page, "agent")) - known)):
            page.locator("#constraints").select_option(choice)
            assert set(column(page, "agent")) == wanted
            assert set(column(page, "constraints")) == {choice}


def test_rows_that_somebody_reproduced(browser: Browser, strange: Path) -> None:
    with opened(browser, address(strange)) as page:
        assert column(page, "reproduced") == ["compatible (2 of 4)", "–"]
        page.get_by_label("reproduced only").check()
        assert column(page, "agent") == ["genetic"]
        page.get_by_label("reproduced only").uncheck()
        assert len(cells(page)) == 2


def test_what_came_out_different_was_not_reproduced(browser: Browser, home: str) -> None:
    script = """() => rows(
      { rows: ["different", "", "compatible", null, "identical"].map((reproduced) => ({ label: "x", reproduced })) },
      columns({ budgets: [1] }, 0, 0).find((column) => column.key === "reproduced"), %s).map((row) => row.reproduced)"""
    with opened(browser, home) as page:
        assert page.evaluate(script % "{}") == ["identical", "compatible", "", None, "different"]
        assert page.evaluate(script % "{ reproduced: 'yes' }") == ["identical", "compatible"]


def test_a_time_that_nobody_knows_is_a_dash_and_the_longest(browser: Browser, home: str) -> None:
    script = """() => {
      const column = columns({ budgets: [1] }, 0, 0).find((column) => column.key === "wall");
      const board = { rows: [null, 2.5, 1e9, null, 0].map((wall) => ({ label: "x", wall })) };
      return rows(board, column, {}).map(column.text);
    }"""
    with opened(browser, home) as page:
        assert page.evaluate(script) == ["0.0 s", "2.5 s", "1000000000.0 s", "–", "–"]


def test_every_curve_looks_different(browser: Browser) -> None:
    rows = [row["id"] for row in board_data(BOARDS, FIRST)["rows"]]
    assert len(rows) > 8
    with opened(browser, at(DISK, board=FIRST, show=",".join(rows))) as page:
        looks = page.locator(".legend .curve").evaluate_all("lines => lines.map((line) => line.getAttribute('class'))")
        assert len(looks) == len(set(looks)) == len(rows)


def test_the_link_of_the_board_that_is_shown_keeps_the_focus(browser: Browser) -> None:
    with opened(browser, at(DISK, board=FIRST, sort="runs")) as page:
        link = page.locator("nav a[aria-current]")
        link.focus()
        page.keyboard.press("Enter")
        settle(page)
        assert page.evaluate("location.hash").count("sort") == 0
        expect(link).to_be_focused()


def test_a_group_of_tasks_has_numbers_and_curves_of_its_own(browser: Browser, home: str) -> None:
    data = board_data(BOARDS, FIRST)
    with opened(browser, home) as page:
        before = drawn(page), drawn(page, 1)
        for number in (1, len(data["groups"]) - 1):
            page.locator("#group").select_option(data["groups"][number]["name"])
            cell = {row["label"]: shown(row["numbers"][number]["regret"][-1]) for row in data["rows"]}
            assert dict(zip(column(page, "agent"), column(page, "regret"), strict=True)) == cell
            assert f"{len(data['groups'][number]['tasks'])} tasks" in page.locator("main p").first.inner_text()
            after = drawn(page), drawn(page, 1)
            assert all(a != b and len(a) == len(b) for a, b in zip(before, after, strict=True))
            before = after


def test_a_box_draws_a_row_or_leaves_it_out(browser: Browser, home: str) -> None:
    with opened(browser, home) as page:
        boxes = page.locator("tbody input")
        bands = page.locator("figure").first.locator(".band")
        expect(bands).to_have_count(6)
        curves = drawn(page)
        assert (len(curves), len(drawn(page, 1))) == (6, 6)
        boxes.first.uncheck()
        expect(bands).to_have_count(5)
        assert set(drawn(page)) == set(curves[:-1])  # the best is drawn last, on top
        assert len(drawn(page, 1)) == page.locator(".legend li").count() == 5
        boxes.last.check()
        expect(bands).to_have_count(6)
        expect(boxes.last).to_be_focused()
        for box in boxes.all():
            box.uncheck()
            settle(page)
        assert (len(drawn(page)), bands.count(), page.locator(".legend li").count()) == (0, 0, 0)
        assert status(page).endswith("0 of them drawn")
        boxes.nth(2).check()
        assert len(drawn(page)) == 1
        page.reload()
        expect(bands).to_have_count(1)
        assert [box.is_checked() for box in boxes.all()].index(True) == 2


def test_the_curve_at_the_pointer_is_read_out(browser: Browser) -> None:
    with opened(browser, DISK) as page:
        figure = page.locator("figure").first
        figure.locator("svg").hover(position={"x": 200, "y": 100})
        row = board_data(BOARDS, FIRST)["rows"][0]
        curve = submission_data(BOARDS, FIRST, row["id"])["curves"][0]["regret"]
        said = re.match(rf"([\d,]+): {row['label']} ([\d.]+), ", figure.locator(".readout").inner_text())
        assert said is not None
        at_grid = board_data(BOARDS, FIRST)["grid"].index(int(said[1].replace(",", "")))
        assert said[2] == f"{curve[at_grid]:.3f}"


# A submission


def test_a_submission_shows_all_that_is_known_of_it(browser: Browser, home: str) -> None:
    row = board_data(BOARDS, SECOND)["rows"][1]
    data = submission_data(BOARDS, SECOND, row["id"])
    with opened(browser, at(home, board=SECOND)) as page:
        page.get_by_role("link", name=row["label"], exact=True).click()
        heading = page.get_by_role("heading", level=1)
        expect(heading).to_have_text(row["label"])
        expect(heading).to_be_focused()
        assert page.title() == f"{row['label']} on {SECOND} – bioseq_gym leaderboards"
        terms = dict(zip(page.locator("dt").all_inner_texts(), page.locator("dd").all_inner_texts(), strict=True))
        assert terms["SHA-256"] == data["digest"]
        assert terms["runs"].startswith(f"{row['runs']} runs, median wall time {row['wall']} s")
        assert terms["ledgers"].startswith(row["ledgers"])
        assert (len(drawn(page)), len(drawn(page, 1)), page.locator(".band").count()) == (1, 1, 1)
        page.locator("summary").click()
        assert page.locator("pre").inner_text() == data["config"]
        assert len(cells(page)) == len(data["runs"]) == row["runs"]
        first, run = cells(page)[0], data["runs"][0]
        budgets = [f"{regret:.3f}" for regret in run["regret"]]
        assert first[:2] + first[2:-3] == [run["task"], str(run["seed"]), *budgets]
        link = page.get_by_role("link", name="raw ledgers (.zip)")
        path = str(link.evaluate("link => decodeURIComponent(link.pathname)"))
        file = BOARDS / path.removeprefix(BOARDS.as_posix()).lstrip("/")
        assert file == BOARDS / SECOND / data["file"]
        assert file.is_file()
        assert link.get_attribute("download") is not None


def marks(run: dict[str, Any], task: dict[str, Any]) -> tuple[int, int]:
    """How many positions hold an element of a motif, and at how many others one is missing."""
    found, missing = set(), set()
    for (first, mark), offsets in zip(run["matches"], task["offsets"], strict=True):
        for offset, here in zip(offsets, mark, strict=True):
            (found if here == "1" else missing).add(first + offset)
    return len(found), len(missing - found)


def test_designs_are_marked_and_any_run_can_be_chosen(browser: Browser) -> None:
    row = board_data(BOARDS, SECOND)["rows"][3]
    runs = submission_data(BOARDS, SECOND, row["id"])["runs"]
    tasks = read_data(BOARDS / "site" / SECOND / "tasks.js")[1]
    with opened(browser, at(DISK, board=SECOND, submission=row["id"])) as page:
        choice = page.locator("#run")
        for number in (0, len(runs) // 2, len(runs) - 1):
            run = runs[number]
            choice.select_option(str(number))
            page.wait_for_function("seed => location.hash.endsWith('seed=' + seed)", arg=run["seed"])
            assert (state(page)["task"], state(page)["seed"]) == (run["task"], str(run["seed"]))
            expect(choice).to_have_value(str(number))
            sequence = page.locator(".sequence .cell")
            tokens = [text.split()[0] for text in sequence.all_inner_texts()]
            assert tokens == list(map(str, run["best"]))
            found, missing = marks(run, tasks[run["task"]])
            assert found
            assert (page.locator(".cell.found").count(), page.locator(".cell.missing").count()) == (found, missing)
            assert page.locator(".sequence + .note + ul li").count() == len(run["matches"])
        expect(choice).to_have_value(str(len(runs) - 1))
        page.locator("tbody a").first.click()
        expect(choice).to_have_value("0")
        expect(page.locator("#run-0")).to_be_focused()


def test_the_switch_of_tasks_changes_the_curves_of_a_submission(browser: Browser) -> None:
    data = board_data(BOARDS, SECOND)
    with opened(browser, at(DISK, board=SECOND, submission=data["rows"][0]["id"])) as page:
        before = drawn(page)
        page.locator("#group").focus()
        page.locator("#group").select_option(data["groups"][-1]["name"])
        assert drawn(page) != before
        expect(page.locator("#group")).to_be_focused()


# Addresses


def test_the_back_button_goes_back_to_what_was_chosen(browser: Browser, home: str) -> None:
    row = board_data(BOARDS, SECOND)["rows"][0]
    with opened(browser, at(home, board=SECOND)) as page:
        page.get_by_label("1k", exact=True).check()
        settle(page)
        page.locator("#sort-agent").click()
        settle(page)
        page.locator("#filter").press_sequentially("ne")
        before = cells(page)
        page.get_by_role("link", name=row["label"], exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(row["label"])
        page.go_back()
        heading = page.get_by_role("heading", level=1)
        expect(heading).to_have_text(SECOND)
        expect(heading).to_be_focused()
        assert cells(page) == before
        expect(page.get_by_label("1k", exact=True)).to_be_checked()
        expect(page.locator("#filter")).to_have_value("ne")
        page.go_forward()
        page.get_by_role("link", name=f"← {SECOND}").click()
        expect(page.locator("#filter")).to_have_value("ne")
        assert cells(page) == before


def test_what_is_chosen_at_once_is_all_kept(browser: Browser) -> None:
    with opened(browser, DISK) as page:
        ids = [f"draw-{row['id']}" for row in board_data(BOARDS, FIRST)["rows"][:2]]
        expect(page.locator(f"#{ids[0]}")).to_be_checked()
        page.evaluate(
            "ids => ids.forEach((id) => document.getElementById(id).click())", ["budget-1000", "sort-agent", *ids]
        )
        settle(page)
        assert {key: state(page).get(key) for key in ("budget", "sort")} == {"budget": "1000", "sort": "agent"}
        assert len(drawn(page)) == 4
        assert not any(page.locator(f"#{box}").is_checked() for box in ids)


def test_any_view_can_be_linked_to(browser: Browser, home: str) -> None:
    row = board_data(BOARDS, SECOND)["rows"][2]
    run = submission_data(BOARDS, SECOND, row["id"])["runs"][7]
    deep = at(home, board=SECOND, submission=row["id"], task=run["task"], seed=str(run["seed"]))
    with opened(browser, deep) as page:
        expect(page.get_by_role("heading", level=1)).to_have_text(row["label"])
        expect(page.locator("#run")).to_have_value("7")


@pytest.mark.parametrize(
    ("asked", "heading"),
    [
        ({"board": "nothing"}, FIRST),
        ({"board": "../x", "submission": "__proto__"}, FIRST),
        ({"board": SECOND, "submission": "nothing"}, SECOND),
        ({"budget": "17", "group": "x", "sort": "x", "order": "x", "constraints": "", "seed": "9"}, FIRST),
    ],
)
def test_what_is_not_there_is_another_view(browser: Browser, asked: dict[str, str], heading: str) -> None:
    with opened(browser, at(DISK, **asked)) as page:
        expect(page.get_by_role("heading", level=1)).to_have_text(heading)
        assert cells(page)
        assert page.get_by_label("30k", exact=True).is_checked()
        expect(page.locator("th[aria-sort]")).to_have_count(1)


def test_a_missing_file_is_said_and_asked_for_again(browser: Browser, tmp_path: Path) -> None:
    shutil.copy(BOARDS / "index.html", tmp_path)
    site = Path(shutil.copytree(BOARDS / "site", tmp_path / "site"))
    (gone := site / SECOND / "board.js").rename(tmp_path / "kept")
    (site / FIRST / "tasks.js").write_text("// cut")
    row = board_data(tmp_path, FIRST)["rows"][0]
    with opened(browser, address(tmp_path), allowed=r"board\.js|index\.js|ERR_FILE_NOT_FOUND") as page:
        expect(page.locator("tbody tr").first).to_be_visible()
        page.get_by_role("link", name=SECOND, exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text(f"site/{SECOND}/board.js can't be read. Build the page anew")
        (tmp_path / "kept").rename(gone)
        page.get_by_role("link", name=FIRST, exact=True).click()
        page.get_by_role("link", name=SECOND, exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(SECOND)
        page.get_by_role("link", name=FIRST, exact=True).click()
        page.get_by_role("link", name=row["label"], exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("tasks.js holds no data. Build the page anew")
        (site / "index.js").unlink()
        page.reload()
        expect(page.get_by_role("alert")).to_contain_text("site/index.js can't be read")


# Strangers


def test_what_strangers_write_is_text(browser: Browser, strange: Path) -> None:
    row = board_data(strange, "smoke")["rows"][0]["id"]
    data = submission_data(strange, "smoke", row)
    deep = at(address(strange), board="smoke", submission=row)
    with opened(browser, deep) as page:
        terms = dict(zip(page.locator("dt").all_inner_texts(), page.locator("dd").all_inner_texts(), strict=True))
        assert terms["name"] == LIVE
        assert terms["authors"] == ", ".join(STRANGE["authors"])
        assert terms["reproduced"].endswith(LIVE)
        page.locator("summary").click()
        assert page.locator("pre").inner_text() == data["config"]
        links = {link.inner_text(): link.get_attribute("href") for link in page.locator(".links a").all()}
        assert links["paper"] == STRANGE["paper"]
        assert page.locator("main img, main b, main script, a[href^=javascript]").count() == 0
        assert page.evaluate("window.ran") is None
        page.goto(deep.replace("submission", "x"))
        assert cells(page)
        assert page.evaluate("window.ran") is None
