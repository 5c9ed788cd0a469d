"""How times, durations and numbers read, and where sign-in may send somebody."""

from __future__ import annotations

import pytest

from siem.console.door_pages import local
from siem.console.render import STATIC, clock, grouped, left, moment, static_bytes

NOON = 1_769_860_800_000  # 2026-01-31 12:00:00 UTC


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "less than a minute"),
        (0, "less than a minute"),
        (60, "less than a minute"),
        (61, "2 min"),
        (899, "15 min"),
        (900, "15 min"),
        (3_600, "1 h"),
        (3_601, "1 h 1 min"),
        (86_400, "24 h"),
        (172_799, "2 days"),
        (172_800, "2 days"),
        (180_000, "2 days 2 h"),
        (2_592_000, "30 days"),
    ],
)
def test_time_left_is_told_in_words_and_never_too_short(seconds, words):
    assert left(NOON + seconds * 1000, NOON) == words


def test_moments_are_utc_and_todays_need_no_date():
    assert moment(NOON) == "2026-01-31 12:00:00"
    assert clock(NOON, NOON + 3_600_000) == "12:00:00"
    assert clock(NOON, NOON + 86_400_000) == "01-31 12:00"


@pytest.mark.parametrize("at", [-1, 10**20, 253_402_300_800_000])
def test_a_moment_that_no_calendar_has_breaks_no_page(at):
    assert moment(at) == "1970-01-01 00:00:00"


def test_long_numbers_are_grouped():
    assert grouped(1_234_567) == "1\u202f234\u202f567"


def test_every_static_file_is_in_the_package_with_a_licence_for_what_is_not_ours():
    files = static_bytes()
    assert set(files) == set(STATIC)
    assert b"Zero-Clause BSD" in files["vendor/htmx/LICENSE"]
    assert b'version:"2.' in files["vendor/htmx/htmx.min.js"]


@pytest.mark.parametrize(
    "address", ["/", "/calls", "/calls?tenant=acme&before=12", "/alerts/alert-0a1b", "/calls/01JD0"]
)
def test_sign_in_goes_on_to_a_page_of_this_server(address):
    assert local(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example",
        "http:evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "/x\r\nset-cookie: a=b",
        "/x\n",
        "/ //evil.example",
        "/\t/evil.example",
        "/calls#x",
        "/@evil.example",
        "calls",
        "/" + "a" * 600,
        "/%0d%0aset-cookie:x",
    ],
)
def test_sign_in_sends_nobody_elsewhere(address):
    assert local(address) == "/"
