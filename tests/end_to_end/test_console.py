"""A person at a real browser: from the one-time link to a released containment, and what the log then says."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support import traffic
from tests.support.browser import FAINT, OVERFLOW, chromium, opened, sign_in
from tests.support.console import PASSWORD, Console, running_console


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def console() -> Iterator[Console]:
    with running_console() as running:
        yield running


@pytest.fixture
def page(browser: Browser, console: Console) -> Iterator[Page]:
    with opened(browser, console.url) as page:
        yield page


def open_first_account(page: Page, console: Console) -> str:
    token = console.accounts().first_link()
    page.goto(f"/invitation/{token}")
    page.get_by_label("Account name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Open the account").click()
    expect(page.get_by_role("status")).to_contain_text("Your account is ready")
    return f"/invitation/{token}"


def test_from_the_one_time_link_to_a_released_containment_that_is_in_the_log(page: Page, console: Console):
    link = open_first_account(page, console)
    sign_in(page, "ada")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    expect(page.get_by_text("Nobody is contained.")).to_be_visible()

    ids = traffic.hour(console)  # while the page is open: it follows the log by itself
    alerts = page.get_by_role("region", name="Open alerts")
    expect(alerts).to_contain_text("20 refusals of acme/ci-bot within 60 s")
    expect(page.get_by_role("region", name="Latest calls")).to_contain_text("GET /customers/19/export")

    alerts.get_by_role("link", name="Look into").click()
    expect(page.get_by_role("heading", name="Evidence")).to_be_visible()
    page.get_by_role("region", name="Evidence").get_by_role("link").first.click()
    expect(page.get_by_role("heading", name="call.refused")).to_be_visible()

    page.get_by_role("link", name="Overview").click()
    page.get_by_role("region", name="Contained now").get_by_role("link", name=re.compile("Release")).click()
    page.get_by_label("Why").fill("A drill of ours")
    page.get_by_role("button", name="Release").click()
    expect(page.get_by_role("status")).to_contain_text("Released")
    expect(page.get_by_text("Released by ada")).to_be_visible()

    released = console.records("containment.released")
    assert [(one["containment"], one["by"], one["reason"]) for one in released] == [
        (ids["containment"], "ada", "A drill of ours")
    ]
    assert ids["containment"] not in console.client.control.containments
    page.goto(link)
    expect(page.get_by_role("alert")).to_contain_text("used already")


def test_a_person_contains_by_the_form_and_the_page_shows_it_by_itself(page: Page, console: Console):
    open_first_account(page, console)
    sign_in(page, "ada")
    page.get_by_role("link", name="Contain somebody").click()
    page.get_by_label("An endpoint").check()
    page.get_by_label("Name", exact=True).fill("openai-us")
    page.get_by_label("For", exact=True).select_option("1 hour")
    page.get_by_label("Why").fill("Looks odd")
    page.get_by_role("button", name="Contain").click()
    expect(page.get_by_role("status")).to_contain_text("Contained")
    applied = console.records("containment.applied")[0]
    assert (applied["target"], applied["owner"], applied["until"] - applied["at"]) == ("openai-us", "ada", 3_600_000)


def test_scripts_in_the_log_do_not_run_in_the_browser(page: Page, console: Console):
    open_first_account(page, console)
    sign_in(page, "ada")
    hostile = "<script>window.owned=1</script><img src=x onerror=window.owned=1>"
    index = traffic.refusal(console, traffic.BOT, f"/{hostile}", detail=hostile)
    traffic.raise_alert(console, [index], summary=hostile)
    calls = page.get_by_role("region", name="Latest calls")
    expect(calls).to_contain_text("<script>window.owned=1</script>")
    expect(page.get_by_role("region", name="Open alerts")).to_contain_text("onerror=window.owned=1")
    assert page.evaluate("window.owned") is None
    assert page.evaluate("document.querySelectorAll('img[src=x]').length") == 0


def test_the_session_cookie_is_out_of_reach_of_scripts_and_ends_with_sign_out(page: Page, console: Console):
    open_first_account(page, console)
    sign_in(page, "ada")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    cookie = next(one for one in page.context.cookies() if one["name"] == "cordon_console")
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/")
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("status")).to_contain_text("signed out")
    stolen = console.http(cookies={"cordon_console": cookie["value"]})
    assert stolen.get("/api/v1/session").status_code == 401


def test_a_form_on_another_site_can_do_nothing(page: Page, console: Console, browser: Browser):
    open_first_account(page, console)
    sign_in(page, "ada")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    elsewhere = page.context.new_page()
    elsewhere.goto(
        "data:text/html,<form method=post action='" + console.url + "/containments'>"
        "<input name=target_type value=endpoint><input name=target value=openai-eu>"
        "<input name=seconds value=60><input name=reason value=x><button>go</button></form>"
    )
    elsewhere.get_by_role("button").click()
    expect(elsewhere.get_by_text("The request comes from another site.")).to_be_visible()
    assert console.records("containment.") == []


def test_a_session_that_has_ended_brings_the_open_page_to_the_door(page: Page, console: Console):
    open_first_account(page, console)
    sign_in(page, "ada")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    console.make_account("bob", "admin")
    console.accounts().disable("ada", "bob")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def test_the_console_can_be_used_by_keyboard_alone_and_without_scripts(console: Console, browser: Browser):
    console.make_account("ada", "admin")
    ids = traffic.hour(console)
    context = browser.new_context(base_url=console.url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/")
    expect(page.get_by_label("Account")).to_be_focused()
    page.keyboard.type("ada")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the link that skips the navigation
    page.goto(f"/containments/{ids['containment']}")
    page.get_by_label("Why").press_sequentially("Over")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Released by ada")).to_be_visible()
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_its_window_and_all_text_stands_out(console: Console, browser: Browser, scheme: str):
    console.make_account("ada", "admin")
    ids = traffic.hour(console)
    context = browser.new_context(base_url=console.url, color_scheme=scheme)
    page = context.new_page()
    page.goto("/")
    sign_in(page, "ada")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    details = (f"/calls/{ids['masked']}", f"/alerts/{ids['alert']}", f"/containments/{ids['containment']}")
    for path in ("/", "/calls", "/alerts", "/containments", "/keys", "/accounts", "/account", *details):
        page.goto(path)
        assert page.evaluate(FAINT) == [], path
        for width in (320, 390, 768, 1400):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate(OVERFLOW) <= 0, (path, width)
    context.close()
