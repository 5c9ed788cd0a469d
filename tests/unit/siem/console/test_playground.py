"""The playground by page and API: tries a bundle apart from the one in force, bounded, and leaves word of each look."""

from __future__ import annotations

import html
import re
import threading
from contextlib import closing

import pytest

from lineage.actions import Stamp, approve_bundle, propose_bundle, stage_bundle
from lineage.bundles import BundleStore
from lineage.keys import load_master_key
from lineage.record import call_time, new_call_id
from lineage.side import TenantKeys, blob_digest, seal
from lineage.side_place import SidePlace
from policies.bundle import bundle_of_archive
from policies.tarball import pack
from siem.console import playground
from siem.console.errors import Invalid
from siem.console.playground import OUTCOMES, joined, parted
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
HTML = {"accept": "text/html"}


def text(files: dict[str, str]) -> str:
    return "".join(f"-- {name} --\n{content}\n" for name, content in files.items())


def recorded(console: Console, document: bytes, kind: str = "call.intent", call: str = "") -> int:
    with closing(SidePlace(console.data_dir).side()) as side:
        keys = TenantKeys(side, load_master_key(console.data_dir))
        blob = seal(keys.get("acme"), "acme", document)
        side.save([(1, blob)])
        keys.close()
    call = call or new_call_id()
    facts = {"v": 1, "kind": kind, "at": call_time(call), "boot": "b", "call": call, "tenant": "acme"}
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


def test_a_call_is_found_by_its_id_and_the_moment_chooses_between_its_inputs(
    console: Console, author: Operator
) -> None:
    call = new_call_id()
    indexes = [
        recorded(console, b'{"phase":"request","principal":{"tenant":"acme"}}', call=call),
        recorded(console, b'{"phase":"answer_end","principal":{"tenant":"acme"}}', "call.outcome", call),
    ]
    body = {"files": FILES, "call": call}
    for moment, index in zip(("request", "answer_end"), indexes, strict=True):
        answer = author.send("POST", TRIAL, body | {"moment": moment}).json()
        assert (answer["input"]["phase"], answer["decision"]["allow"]) == (moment, True)
        assert console.records("admin.input_read")[-1]["index"] == index
    looks = len(console.records("admin.input_read"))
    page = author.get(f"/calls/{call}", headers=HTML)
    link = re.search(r'href="(/policy/playground\?call=\w+)"', page.text)
    assert link is not None and "&#34;phase&#34;: &#34;request&#34;" in author.get(link[1], headers=HTML).text
    typed = author.form(PAGE, files="-- a.rego --\nmine", call=f" {call} ", moment="answer_end", load="input")
    assert "&#34;phase&#34;: &#34;answer_end&#34;" in typed.text and "mine" in typed.text
    assert len(console.records("admin.input_read")) == looks + 2


@pytest.mark.parametrize("name", ["0" * 26, "9" * 25, "nonsense", "../x", HOSTILE])
def test_a_call_that_is_not_there_is_told_and_leaves_no_record(console: Console, author: Operator, name: str) -> None:
    looks = len(console.records("admin.input_read"))
    page = author.form(PAGE, files=text(FILES), call=name, load="input")
    assert 'role="alert"' in page.text and HOSTILE not in page.text and "-- request.rego --" in page.text
    if len(name) <= 26:
        assert author.send("POST", TRIAL, {"files": FILES, "call": name}).status_code == 404
    assert len(console.records("admin.input_read")) == looks


def test_of_the_ways_to_name_an_input_one_is_taken(author: Operator) -> None:
    for more in ({"record": 1}, {"call": "0" * 26}):
        assert author.send("POST", TRIAL, {"files": FILES, "input": {}, **more}).status_code == 422


def test_it_starts_with_the_bundle_in_force_and_the_configured_one_is_beside_it(
    console: Console, author: Operator, admin: Operator
) -> None:
    archive = pack({"request.rego": RULES.encode(), "response.rego": ANSWERS.encode()})
    with closing(SidePlace(console.data_dir).side()) as side:
        digest = BundleStore(side).put(archive)
    stamp, control = Stamp.now("cli-TEST"), lambda: console.client.control
    facts = {"digest": digest, "revision": bundle_of_archive(archive, "b").revision}
    proposed = propose_bundle(stamp, control(), by="ann", **facts)
    console.append(proposed)
    live = str(proposed["rollout"])
    assert "-- main.rego --" in author.get(PAGE, headers=HTML).text, "a draft is not in force"
    console.append(approve_bundle(stamp, control(), rollout=live, digest=digest, by="bob"))
    console.append(stage_bundle(stamp, control(), rollout=live, stage="live", by="bob", base=CONFIGURED.revision))
    page = author.get(PAGE, headers=HTML).text
    assert "-- response.rego --" in page and f'<option value="{live}" selected>' in page
    configured = author.get(f"{PAGE}?start=configured", headers=HTML).text
    assert "-- main.rego --" in configured and "-- response.rego --" not in configured
    loaded = author.form(PAGE, files="x", input='{"mine": 1}', start=live, load="bundle").text
    assert "-- response.rego --" in loaded and "mine" in loaded
    assert "no such roll-out" in author.form(PAGE, files="x", start="rollout-0", load="bundle").text
    console.append(stage_bundle(stamp, control(), rollout=live, stage="draft", by="bob"))


def test_tries_are_counted_by_what_came_of_them(
    console: Console, author: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counted() -> dict[str, float]:
        tallies = console.meter.snapshot()["tallies"]
        return {item["labels"][0]: item["value"] for item in tallies if item["name"] == "cordon_policy_trials_total"}

    before = counted()
    assert set(before) == set(OUTCOMES)
    answers = iter(
        [
            {"admitted": True, "decision": {"allow": True}},
            {"admitted": True, "decision": {"allow": False}},
            {"admitted": True},
            {"admitted": False},
            {"admitted": True, "error": "it broke down"},
        ]
    )
    monkeypatch.setattr(playground, "try_out", lambda *_, **__: {"revision": "", "problems": [], **next(answers)})
    for _ in range(5):
        assert author.send("POST", TRIAL, {"files": FILES, "input": {}}).status_code == 200
    monkeypatch.undo()
    assert author.send("POST", TRIAL, {"files": {"../x": ""}, "input": {}}).status_code == 422
    told = {each: counted()[each] - before[each] for each in OUTCOMES}
    assert told == {"allowed": 1, "denied": 1, "checked": 1, "refused": 1, "error": 1, "invalid": 1, "busy": 0}
    (seconds,) = console.meter.snapshot()["distributions"]
    assert sum(seconds["counts"]) == sum(counted()[each] for each in OUTCOMES if each != "busy")
