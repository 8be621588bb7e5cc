"""The page of the leaderboards for everyone: with a keyboard, a narrow screen, a screen reader, in the dark."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from pages import BOARDS, SERIES, address, at, board_data, opened, settle
from playwright.sync_api import expect

from bioseq_gym.leaderboard import board_names

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.timeout(90)  # a browser that hangs

FIRST, SECOND = board_names(BOARDS)[:2]
DISK = address(BOARDS)
NARROW = {"width": 390, "height": 844}
SHIFTS = """
window.shifts = [];
new PerformanceObserver((list) => window.shifts.push(...list.getEntries().map((entry) => entry.value)))
  .observe({ type: "layout-shift", buffered: true });
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [{"width": 1280, "height": 900}, NARROW], ids=["wide", "narrow"])
def test_nothing_serious_keeps_anyone_out(
    browser: Browser, strange: Path, scheme: str, viewport: dict[str, int]
) -> None:
    row = board_data(BOARDS, SECOND)["rows"][3]["id"]
    other = board_data(strange, "smoke")["rows"][0]["id"]
    views = [DISK, at(DISK, board=SECOND, submission=row)]
    views += [at(address(strange), submission=other)]
    for view in views:
        with opened(browser, view, color_scheme=scheme, viewport=viewport) as page:
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            results = Axe().run(page, options={"resultTypes": ["violations"], "preload": False})
            assert results.response["passes"]
            found = [v for v in results.response["violations"] if v["impact"] in ("serious", "critical")]
            assert not found, results.generate_report()


def test_the_scheme_of_the_machine_is_followed(browser: Browser) -> None:
    colours = []
    for scheme in ("light", "dark"):
        with opened(browser, DISK, color_scheme=scheme) as page:
            colours.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert colours == ["rgb(255, 255, 255)", "rgb(22, 24, 29)"]


def test_a_narrow_screen_need_not_scroll_sideways(browser: Browser, strange: Path) -> None:
    pages = {DISK: BOARDS, address(strange): strange}
    for home, root in pages.items():
        for name in board_names(root):
            for row in ("", *(row["id"] for row in board_data(root, name)["rows"][:2])):
                with opened(browser, at(home, board=name, submission=row), viewport=NARROW) as page:
                    expect(page.get_by_role("heading", level=1)).to_be_visible()
                    width = page.evaluate("document.documentElement.scrollWidth")
                    assert width == NARROW["width"], (name, row)


@pytest.mark.parametrize("viewport", [{"width": 1280, "height": 900}, NARROW], ids=["wide", "narrow"])
def test_nothing_moves_by_itself(browser: Browser, home: str, viewport: dict[str, int]) -> None:
    with opened(browser, home, script=SHIFTS, viewport=viewport) as page:
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        page.locator("#filter").press_sequentially("gen")
        settle(page)
        page.get_by_label("1k", exact=True).check()
        settle(page)
        page.locator("#filter").fill("")
        settle(page)
        page.wait_for_timeout(200)  # until the last frame has been painted
        assert page.evaluate("shifts") == []


def test_what_was_scrolled_or_opened_stays_so(browser: Browser) -> None:
    row = board_data(BOARDS, SECOND)["rows"][0]["id"]
    with opened(browser, at(DISK, board=SECOND), viewport=NARROW) as page:
        region = page.get_by_role("region", name="Table of submissions")
        region.evaluate("box => box.scrollTo(90, 0)")
        page.locator("#sort-wall").click()
        settle(page)
        assert region.evaluate("box => box.scrollLeft") > 0
        page.goto(at(DISK, board=SECOND, submission=row))
        page.locator("summary").click()
        page.locator("#run").select_option("4")
        settle(page)
        assert page.locator("details").get_attribute("open") is not None


def test_the_keyboard_reaches_everything(browser: Browser, home: str) -> None:
    with opened(browser, home) as page:
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        page.keyboard.press("Tab")
        skip = page.get_by_role("link", name="To the content")
        expect(skip).to_be_focused()
        expect(skip).to_be_in_viewport()
        reached = []
        for _ in range(80):
            page.keyboard.press("Tab")
            reached.append(
                page.evaluate("document.activeElement.id || document.activeElement.getAttribute('aria-label')")
            )
        wanted = {"budget-30000", "group", "filter", "constraints", "reproduced", "Table of submissions"}
        wanted |= {f"sort-{key}" for key in SERIES}
        wanted |= {f"draw-{row['id']}" for row in board_data(BOARDS, FIRST)["rows"]}
        assert wanted <= set(reached)
        page.locator("h1").focus()
        skip.focus()
        before = page.url
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_be_focused()
        assert page.url == before
