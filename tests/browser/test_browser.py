"""The viewer in a real browser: the system's Chromium or Chrome."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, Dialog, Page, expect, sync_playwright

from tests.conftest import MakeDatabase
from tests.support.history import bridge_with_outlet, review, trouble
from tests.support.next29 import STORE
from tests.support.pages import HOSTILE, PASSWORD, every_page, send_hostile_text
from tests.support.screenshots import MISSING, chromium, launch, served

pytestmark = [
    pytest.mark.skipif(chromium() is None, reason=MISSING),
    # Playwright's driver closes its pipes after Python has looked.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

PHONE = {"width": 360, "height": 780}
WATCH = """
window.broken = [];
addEventListener("securitypolicyviolation", (e) => broken.push(e.violatedDirective + " " + e.blockedURI));
"""


@dataclass
class Seen:
    """What must not happen on any page."""

    wrong: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.wrong.append(f"error {error}"))
        page.on("dialog", self._dismiss)
        page.on("console", lambda said: self.wrong.append(said.text) if said.type == "error" else None)

    def _dismiss(self, dialog: Dialog) -> None:
        self.wrong.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def check(self, page: Page) -> None:
        assert page.evaluate("window.broken") == [], page.url
        assert self.wrong == [], page.url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, launch(playwright) as started:
        yield started


Open = Callable[..., Any]


@pytest.fixture
def opened(browser: Browser, make_database: MakeDatabase) -> Open:
    """A viewer with a page of it open: `with opened() as (book, page)`."""

    @contextmanager
    def open_(*, watched: bool = True, tab: dict[str, Any] | None = None, **changes: Any) -> Iterator[Any]:
        with (
            make_database("sqlite") as url,
            bridge_with_outlet(url, **changes) as bridge,
            served(bridge.app) as address,
        ):
            context = browser.new_context(base_url=address, **(tab or {}))
            context.set_default_timeout(10_000)
            page = context.new_page()
            page.add_init_script(WATCH)
            seen = Seen()
            seen.watch(page)
            yield bridge, page
            if watched:
                seen.check(page)
            context.close()

    return open_


def test_signing_in_leads_to_the_page_that_was_wanted(opened: Open) -> None:
    with opened(password=PASSWORD) as (_, page):
        page.goto("/deliveries?status=failed")
        expect(page.get_by_role("heading", name="dispute-bridge")).to_be_visible()
        expect(page.get_by_label("Password")).to_be_focused()
        page.keyboard.type(PASSWORD)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Alerts")).to_be_visible()
        assert page.url.endswith("/deliveries?status=failed")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("Password")).to_be_visible()
        page.goto("/")
        expect(page.get_by_label("Password")).to_be_visible()


def test_a_number_typed_into_the_box_finds_its_alert(opened: Open) -> None:
    with opened() as (bridge, page):
        for _ in range(3):
            bridge.send_sample()
        wanted = bridge.send_sample("midigator", "chargeback.new")
        bridge.work()
        arn = bridge.search.delivery(wanted)["alert"]["arn"]
        page.goto("/")
        page.get_by_label("Find an alert").fill(arn)
        page.keyboard.press("Enter")
        rows = page.locator("a.row.delivery")
        expect(rows).to_have_count(1)
        rows.click()
        expect(page.get_by_text(wanted)).to_be_visible()


def test_a_failed_delivery_is_found_in_three_clicks_mended_and_replayed(opened: Open) -> None:
    with opened() as (bridge, page):
        bridge.fail("422", method="POST", path="/disputes/")
        bridge.send_sample()
        bridge.work()
        page.goto("/")
        page.get_by_role("link", name="1 alert failed: refused").click()
        page.locator("a.row.delivery").click()
        expect(page.get_by_text("29next rejected it. Its answer is below.")).to_be_visible()
        page.locator("summary", has_text="POST disputes/").click()
        expect(page.get_by_label("What 29next answered").last).to_contain_text("Unprocessable")
        bridge.next29.faults.clear()
        page.get_by_role("button", name="Replay").click()
        expect(page.get_by_text("Replayed. The bridge translates")).to_be_visible()
        expect(page.locator("h1 .badge")).to_have_text("pending")
        bridge.settle()
        expect(page.locator("h1 .badge")).to_have_text("forwarded")  # the page asks by itself
        expect(page.get_by_text("Forwarded to 29next")).to_be_visible()


def test_a_match_is_reviewed(opened: Open) -> None:
    with opened() as (bridge, page):
        review(bridge)
        page.goto("/")
        page.get_by_role("link", name="1 dispute to be reviewed").click()
        page.locator("a.row.case").click()
        page.get_by_role("button", name=re.compile("Attach transaction")).first.click()
        expect(page.get_by_text("Saved. The worker updates 29next.")).to_be_visible()
        bridge.work()
        page.reload()
        expect(page.locator("h1 .badge")).to_have_text("open")


def test_many_are_replayed_and_their_progress_is_seen(opened: Open) -> None:
    with opened() as (bridge, page):
        for _ in range(25):
            bridge.send_sample(change=lambda tree: tree.update(ethoca_id="N/A", amount="x"))
        bridge.work()
        page.goto("/deliveries?status=failed")
        page.get_by_role("link", name="Replay all of these…").click()
        expect(page.get_by_role("heading", name="Replay 25 alerts?")).to_be_visible()
        page.get_by_role("button", name="Replay").click()
        expect(page.get_by_text("0 of 25 replayed")).to_be_visible()
        bridge.inside.jobs.replay()
        expect(page.get_by_text("20 of 25 replayed")).to_be_visible()
        page.get_by_role("button", name="Stop").click()
        expect(page.locator("h1 .badge")).to_have_text("stopped")


def test_what_providers_send_runs_nothing(opened: Open) -> None:
    with opened() as (bridge, page):
        send_hostile_text(bridge)
        pages = [*every_page(bridge), "/deliveries?status=failed"]
        for path in pages:
            page.goto(path)
            page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
            assert page.evaluate("window.broken") == [], path
            assert page.locator("img").count() == 0, path
        page.goto("/")
        page.get_by_label("Find an alert").fill(HOSTILE)
        page.keyboard.press("Enter")
        expect(page.locator("a.row.delivery").first).to_be_visible()
        expect(page.get_by_label("Find an alert")).to_have_value(HOSTILE)
        assert HOSTILE in page.title()
        assert page.evaluate("window.broken") == []


def test_a_broken_policy_would_be_seen(opened: Open) -> None:
    """The checks of all tests here can fail."""
    with opened(watched=False) as (_, page):
        seen = Seen()
        seen.watch(page)
        page.goto("/stores")
        seen.check(page)
        page.evaluate("document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">x</p>')")
        page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: '1'}))")
        page.wait_for_function("window.broken.length >= 2")
        broken = page.evaluate("window.broken")
        assert any("style-src" in one for one in broken)
        assert any("script-src" in one for one in broken)
        with pytest.raises(AssertionError):
            seen.check(page)
        assert seen.wrong


def test_everything_can_be_read_and_replayed_without_a_script(opened: Open) -> None:
    with opened(watched=False, tab={"java_script_enabled": False}) as (bridge, page):
        sent = [
            bridge.send_sample(change=lambda tree: tree.update(ethoca_id="N/A", amount="x"))
            for _ in range(60)
        ]
        bridge.work()
        page.goto("/deliveries")
        expect(page.locator("a.row.delivery")).to_have_count(50)
        page.get_by_role("link", name="Older").click()
        expect(page.locator("a.row.delivery")).to_have_count(10)
        page.locator("summary", has_text="Filter").click()
        page.get_by_label("Provider").select_option("verifi")
        page.get_by_role("button", name="Filter").click()
        expect(page.get_by_text("No results.")).to_be_visible()
        page.goto(f"/deliveries/{sent[0]}")
        page.locator("summary", has_text="As curl").click()
        expect(page.get_by_label("A curl command")).to_contain_text("YOUR SECRET")
        expect(page.get_by_role("button", name="Copy")).to_have_count(0)
        page.get_by_role("button", name="Replay").click()
        expect(page.get_by_text("Replayed. The bridge translates")).to_be_visible()


def test_older_rows_are_laid_under_the_newer_ones(opened: Open) -> None:
    with opened() as (bridge, page):
        sent = [bridge.send_sample() for _ in range(55)]
        page.goto("/deliveries")
        page.get_by_role("link", name="Older").click()
        rows = page.locator("a.row.delivery")
        expect(rows).to_have_count(55)
        shown = [str(row.get_attribute("href")).rpartition("/")[2] for row in rows.all()]
        assert shown == sent[::-1]
        expect(page.get_by_role("link", name="Older")).to_have_count(0)


def test_the_keyboard_reaches_everything(opened: Open) -> None:
    with opened() as (bridge, page):
        bridge.send_sample()
        page.goto("/deliveries")
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
        page.keyboard.press("Enter")
        expect(page.locator("#main")).to_be_focused()
        reached = []
        for _ in range(20):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.className"))
        assert "row delivery" in reached
        page.locator("a.row.delivery").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="What happened")).to_be_visible()


def test_no_page_is_wider_than_a_phone(opened: Open) -> None:
    with opened(tab={"viewport": PHONE}) as (bridge, page):
        trouble(bridge)
        bridge.send_sample("ethoca", change=lambda tree: tree.update(ethoca_id="9" * 200, arn="8" * 200))
        bridge.work()
        for path in every_page(bridge):
            page.goto(path)
            page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
            width = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert page.evaluate(width) == 0, path


@pytest.mark.parametrize(("scheme", "ground"), [("light", "rgb(246, 248, 250)"), ("dark", "rgb(13, 17, 23)")])
def test_pages_are_light_or_dark_as_the_reader_has_it(opened: Open, scheme: str, ground: str) -> None:
    with opened(tab={"color_scheme": scheme}) as (_, page):
        page.goto("/stores")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == ground


def test_what_is_copied_is_what_is_shown(opened: Open) -> None:
    with opened(tab={"permissions": ["clipboard-read", "clipboard-write"]}) as (bridge, page):
        delivery = bridge.send_sample()
        bridge.work()
        page.goto(f"/deliveries/{delivery}")
        page.locator(".ids .copy").click()
        expect(page.locator(".ids .copy")).to_have_text("Copied")
        assert page.evaluate("navigator.clipboard.readText()") == delivery


def test_the_first_page_keeps_itself_current(opened: Open) -> None:
    with opened() as (bridge, page):
        bridge.inside.beat("one")
        page.goto("/")
        expect(page.get_by_role("heading", name="Nothing needs attention")).to_be_visible()
        bridge.inside.pause(STORE, "29next answered 401", None)
        page.evaluate(
            "htmx.ajax('GET', '/', {source: '#live', target: '#live', select: '#live', swap: 'outerHTML'})"
        )
        expect(page.get_by_role("link", name=f"Store {STORE} is paused")).to_be_visible()
