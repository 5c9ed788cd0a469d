"""The door as a browser meets it: sign-in, one-time links, sign-out, the own password."""

from __future__ import annotations

import re

import pytest

from tests.support.console import PASSWORD, Console

HTML = {"accept": "text/html", "sec-fetch-site": "same-origin"}


def submit(console: Console, path: str, **fields: str):
    return console.http().post(path, data=fields, headers=HTML)


def test_a_page_without_a_session_is_the_door_with_the_way_back(console, admin):
    answer = console.http().get("/calls?tenant=acme", headers=HTML)
    assert answer.status_code == 401
    assert '<input type="hidden" name="to" value="/calls?tenant=acme">' in answer.text
    assert "Sign in" in answer.text


def test_after_sign_in_one_is_where_one_wanted_to_go(console, admin):
    answer = submit(console, "/sign-in", account="root", password=PASSWORD, to="/calls?tenant=acme")
    assert (answer.status_code, answer.headers["location"]) == (303, "/calls?tenant=acme")
    assert "httponly" in answer.headers["set-cookie"].lower()


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_a_way_back_that_leads_elsewhere_leads_to_the_overview(console, admin, to):
    answer = submit(console, "/sign-in", account="root", password=PASSWORD, to=to)
    assert answer.headers["location"] == "/"
    page = console.http().get(f"/sign-in?to={to}", headers=HTML)
    assert "evil.example" not in page.text


def test_a_wrong_password_keeps_the_name_and_never_the_password(console, admin):
    answer = submit(console, "/sign-in", account="ro<b>ot", password="my wrong password")
    assert answer.status_code == 401
    assert 'value="ro&lt;b&gt;ot"' in answer.text
    assert "my wrong password" not in answer.text


def test_the_door_says_where_the_first_link_is_while_there_is_no_account(console):
    from tests.support.console import running_console

    with running_console() as fresh:
        assert "one-time link" in fresh.http().get("/sign-in", headers=HTML).text
        fresh.make_account("root", "admin")
        assert "one-time link" not in fresh.http().get("/sign-in", headers=HTML).text


def test_a_link_that_is_looked_at_is_not_used_up_and_after_use_says_so(console, admin):
    token = console.accounts().invite("lena", ["viewer"], "root")
    for _ in range(2):
        page = console.http().get(f"/invitation/{token}", headers=HTML)
        assert page.status_code == 200
        assert "Invited by root as viewer" in page.text
    short = submit(console, f"/invitation/{token}", password="short")
    assert short.status_code == 422
    assert "at least 12 characters" in short.text
    done = submit(console, f"/invitation/{token}", password=PASSWORD)
    assert done.headers["location"] == "/sign-in?done=joined"
    assert "set-cookie" not in done.headers
    for answer in (
        console.http().get(f"/invitation/{token}", headers=HTML),
        submit(console, f"/invitation/{token}", password=PASSWORD),
    ):
        assert answer.status_code == 404
        assert "used already" in answer.text


def test_signing_out_takes_the_cookie_and_the_session(console):
    operator = console.signed_in("nora", "viewer")
    token = operator.http.cookies["cordon_console"]
    assert operator.http.post("/sign-out", headers=HTML).status_code == 403
    answer = operator.form("/sign-out")
    assert answer.headers["location"] == "/sign-in?done=signed-out"
    assert 'cordon_console=""' in answer.headers["set-cookie"]
    assert console.http(cookies={"cordon_console": token}).get("/api/v1/session").status_code == 401


def test_the_own_password_is_changed_with_the_old_one_and_the_session_ends(console):
    operator = console.signed_in("petra", "viewer")
    wrong = operator.form("/account/password", old_password="not the old one", password="a new password here")
    assert wrong.status_code == 403
    assert "present password is not right" in wrong.text
    done = operator.form("/account/password", old_password=PASSWORD, password="a new password here")
    assert done.headers["location"] == "/sign-in?done=password"
    assert operator.get("/api/v1/session").status_code == 401
    assert console.records("admin.account_changed")[-1]["change"] == "password"
    answer = console.http().post("/api/v1/session", json={"account": "petra", "password": "a new password here"})
    assert answer.status_code == 201


def test_too_many_guesses_are_told_when_to_come_back(console):
    console.make_account("otto", "viewer") if console.accounts().any() else console.make_account("root", "admin")
    answers = [submit(console, "/sign-in", account="nobody-here", password=f"guess number {n}") for n in range(7)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 2
    assert re.search(r"try again in \d min", answers[-1].text)
