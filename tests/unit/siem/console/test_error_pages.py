"""The pages that an error's `help` leads to, as callers without an account read them."""

from __future__ import annotations

import pytest

from gateway.refusal_codes import CODES
from gateway.refusal_pages import markdown, refusal_pages

HTML = {"accept": "text/html"}


def test_anybody_reads_the_page_of_each_code(console):
    http = console.http()
    for code, sections in refusal_pages().items():
        page = http.get(f"/errors/{code}", headers=HTML)
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert page.text.count("Who is at fault") == len(sections)
        assert "Sign out" not in page.text


def test_what_is_no_browser_gets_the_same_text_as_the_reference_has(console):
    page = console.http().get("/errors/no_key")
    assert page.headers["content-type"].startswith("text/markdown")
    assert page.text == markdown("no_key")


def test_backticks_become_code_on_the_page(console):
    page = console.http().get("/errors/no_key", headers=HTML).text
    assert "<code>cordon key create</code>" in page
    assert "`" not in page.partition("<pre")[0]


def test_the_list_leads_to_every_code(console):
    page = console.http().get("/errors", headers=HTML).text
    assert all(f'href="/errors/{code}"' in page for _, code in CODES)


@pytest.mark.parametrize("code", ["no_such_code", "<script>", "..%2f..%2fetc", "a" * 2_000])
def test_an_unknown_code_is_not_found_and_not_repeated(console, code):
    for headers in (HTML, {}):
        answer = console.http().get(f"/errors/{code}", headers=headers)
        assert answer.status_code == 404
        assert code not in answer.text
