"""The playground by page and API: tries a bundle apart from the one in force, bounded, and leaves word of each look."""

from __future__ import annotations

import html
import re
import threading
from contextlib import closing

import pytest

from lineage.keys import load_master_key
from lineage.side import TenantKeys, blob_digest, seal
from lineage.side_place import SidePlace
from siem.console import playground
from siem.console.errors import Invalid
from siem.console.playground import joined, parted
from tests.support.console import CONFIGURED, Console, Operator

TRIAL = "/api/v1/policy/trial"
PAGE = "/policy/playground"
RULES = """package cordon.request

default decision := {"allow": false}

decision := {"allow": true} if input.principal.tenant == "acme"
"""
ANSWERS = 'package cordon.response\n\ndecision := {"allow": true}\n'
FILES = {"request.rego": RULES, "response.rego": ANSWERS}
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def author(console: Console, admin: Operator) -> Operator:
    return console.signed_in("paula", "policy_author")


def text(files: dict[str, str]) -> str:
    return "".join(f"-- {name} --\n{content}\n" for name, content in files.items())


def recorded(console: Console, document: bytes) -> int:
    with closing(SidePlace(console.data_dir).side()) as side:
        keys = TenantKeys(side, load_master_key(console.data_dir))
        blob = seal(keys.get("acme"), "acme", document)
        side.save([(1, blob)])
        keys.close()
    facts = {"v": 1, "kind": "call.intent", "at": 1, "boot": "b", "call": "0" * 26, "tenant": "acme"}
    return console.append(facts | {"side": blob_digest(blob)})


def test_the_files_of_a_bundle_are_one_text_and_back() -> None:
    assert parted(joined(CONFIGURED)) == dict(CONFIGURED.modules)
    assert parted("-- a.rego --\r\nx\r\n\r\n-- b.rego --\r\ny\r\n") == {"a.rego": "x\n", "b.rego": "y\n"}
    with pytest.raises(Invalid, match="twice"):
        parted("-- a.rego --\n-- a.rego --\n")
    with pytest.raises(Invalid, match="before the first file"):
        parted("package x\n-- a.rego --\n")


def test_the_api_decides_explains_and_tests(author: Operator) -> None:
    tests = {"a_test.rego": "package a_test\n\ntest_no if data.cordon.request.decision.allow\n"}
    body = {"files": FILES | tests, "input": {"principal": {"tenant": "globex"}}, "tests": True}
    answer = author.send("POST", TRIAL, body).json()
    assert (answer["admitted"], answer["decision"]["allow"]) == (True, False)
    assert answer["decision"]["changes"]
    assert [each["outcome"] for each in answer["tests"]] == ["failed"]


def test_a_recorded_input_is_tried_and_that_it_was_read_is_in_the_log(console: Console, author: Operator) -> None:
    index = recorded(console, b'{"phase":"request","principal":{"tenant":"acme"}}')
    answer = author.send("POST", TRIAL, {"files": FILES, "record": index}).json()
    assert (answer["decision"]["allow"], answer["input"]["principal"]) == (True, {"tenant": "acme"})
    read = console.records("admin.input_read")[-1]
    assert (read["index"], read["tenant"], read["by"]) == (index, "acme", "paula")
    page = author.get(f"{PAGE}?record={index}", headers={"accept": "text/html"})
    assert "&#34;tenant&#34;: &#34;acme&#34;" in page.text
    assert len(console.records("admin.input_read")) == 2
    assert author.send("POST", TRIAL, {"files": FILES, "record": 0}).status_code == 404
    for beyond in (10**9, 10**30):
        assert author.send("POST", TRIAL, {"files": FILES, "record": beyond}).status_code == 404
    odd = recorded(console, b'["no object"]')
    assert author.send("POST", TRIAL, {"files": FILES, "record": odd}).status_code == 404


def test_the_page_shows_what_comes_of_it_without_a_script(author: Operator) -> None:
    begun = author.get(PAGE, headers={"accept": "text/html"})
    assert "-- main.rego --" in begun.text
    failing = FILES | {"a_test.rego": "package a_test\n\ntest_no if data.cordon.request.decision.allow\n"}
    page = author.form(PAGE, files=text(failing), input='{"principal": {"tenant": "globex"}}', tests="true")
    assert page.status_code == 200
    said = html.unescape(re.sub(r"<[^>]+>", " ", page.text))
    assert "deny" in said and "0 of 1 passed" in said and "What would have allowed it" in said
    assert 'class="bad"' in page.text and 'class="missed"' in page.text
    wrong = author.form(PAGE, files=text(FILES), input="{")
    assert "The input is not JSON" in wrong.text and "-- request.rego --" in wrong.text


def test_nothing_that_was_typed_becomes_markup(author: Operator) -> None:
    rule = f'package cordon.request\n\ndecision := {{"allow": false, "reasons": ["{HOSTILE}"]}}\n'
    files = {"request.rego": rule, "response.rego": ANSWERS, "a_test.rego": f"package a_test\n\n# {HOSTILE}\nx := 1\n"}
    page = author.form(PAGE, files=text(files), input='{"x": "' + HOSTILE + '"}', tests="true")
    assert HOSTILE not in page.text and "&lt;script&gt;" in page.text
    page = author.form(PAGE, files=f"-- {HOSTILE} --\nx", input="{}")
    assert HOSTILE not in page.text


@pytest.mark.parametrize("name", ["../main.rego", "/etc/x.rego", "a.sh"])
def test_a_file_that_is_none_of_a_bundle_s_is_refused(author: Operator, name: str) -> None:
    answer = author.send("POST", TRIAL, {"files": {name: "x"}, "input": {}})
    assert answer.status_code == 422 and "no name of a bundle" in answer.json()["detail"]


def test_only_who_writes_policy_may_try_it_and_only_from_the_console_s_pages(
    console: Console, author: Operator, analyst: Operator, viewer: Operator
) -> None:
    body = {"files": FILES, "input": {}}
    for other in (analyst, viewer):
        assert other.send("POST", TRIAL, body).status_code == 403
        assert other.get(PAGE).status_code == 403
    assert author.http.post(TRIAL, json=body).status_code == 403, "without the CSRF token"
    assert console.http().post(TRIAL, json=body).status_code == 401
    away = {"x-csrf-token": author.csrf, "origin": "https://evil.example"}
    assert author.http.post(TRIAL, json=body, headers=away).status_code == 403


def test_one_at_a_time_for_each_operator_and_few_in_all(
    console: Console, author: Operator, admin: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Semaphore(0), threading.Event()

    def slow(*_: object, **__: object) -> dict[str, object]:
        begun.release()
        go_on.wait(20)
        return {"admitted": False, "revision": "", "problems": []}

    monkeypatch.setattr(playground, "try_out", slow)
    body = {"files": FILES, "input": {}}
    second = console.signed_in("pablo", "policy_author")
    threads = [threading.Thread(target=who.send, args=("POST", TRIAL, body)) for who in (author, second)]
    for thread in threads:
        thread.start()
        assert begun.acquire(timeout=20)
    again = console.signed_in("paula", "policy_author")
    assert again.send("POST", TRIAL, body).status_code == 429
    assert admin.send("POST", TRIAL, body).status_code == 429
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert admin.send("POST", TRIAL, body).status_code == 200
