"""Proposing a bundle by page and API: what passes becomes a draft of who is signed in, all else leaves nothing."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import threading
from contextlib import closing

import httpx
import pytest

from lineage.bundles import BundleStore
from lineage.metrics import Meter
from lineage.side_place import SidePlace
from policies.bundle import bundle_of_archive
from policies.errors import PolicyError
from policies.tarball import pack
from siem.console import proposals
from siem.console.proposals import OUTCOMES
from siem.settings import Control
from tests.support.console import FACTS, Console, Operator, running_console

ROLLOUTS = "/api/v1/policy/rollouts"
HTML = {"accept": "text/html"}
LIMIT = 40_000
FILES = {
    "request.rego": b'package cordon.request\n\ndecision := {"allow": input.principal.tenant == "acme"}\n',
    "response.rego": b'package cordon.response\n\ndecision := {"allow": true}\n',
    "request_test.rego": b"package cordon.request_test\n\nimport data.cordon.request\n\n"
    b'test_acme if request.decision.allow with input as {"principal": {"tenant": "acme"}}\n',
}
ARCHIVE = pack(FILES)
FAILING = pack(FILES | {"more_test.rego": b"package more_test\n\ntest_no if 1 == 2\n"})


@pytest.fixture(scope="module")
def console():
    with running_console(Control(listen="127.0.0.1:0", archive_limit=LIMIT)) as running:
        yield running


def propose(who: Operator, archive: bytes, *, csrf: str | None = None, **query: str) -> httpx.Response:
    headers = {"content-type": "application/gzip", "x-csrf-token": who.csrf if csrf is None else csrf}
    return who.http.post(ROLLOUTS, content=archive, params=query, headers=headers)


def upload(who: Operator, archive: bytes, **fields: str) -> httpx.Response:
    data = {"csrf": who.csrf, **fields}
    return who.http.post("/policy", data=data, files={"archive": ("bundle.tar.gz", archive)}, headers=HTML)


def kept(console: Console, archive: bytes) -> bool:
    with closing(SidePlace(console.data_dir).side()) as side:
        return BundleStore(side).get(hashlib.sha256(archive).hexdigest()) is not None


def crafted(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> bytes:
    """An archive with one entry that `pack` would never make, beside the files of a bundle."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for path, content in FILES.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, target
        archive.addfile(entry)
    return out.getvalue()


def test_what_passes_becomes_a_draft_of_who_is_signed_in(
    console: Console, author: Operator, approver: Operator
) -> None:
    answer = propose(author, ARCHIVE, note="a note")
    assert answer.status_code == 201, answer.text
    made = answer.json()
    (record,) = console.records("policy.proposed")
    revision = bundle_of_archive(ARCHIVE, "b").revision
    assert made == {
        "id": record["rollout"],
        "digest": hashlib.sha256(ARCHIVE).hexdigest(),
        "revision": revision,
        "tests": 1,
        "index": made["index"],
    }
    assert (record["by"], record["scope"], record["note"], record["revision"]) == ("paula", "", "a note", revision)
    assert author.get(f"/api/v1/records/{made['index']}").json()["record"] == record
    assert kept(console, ARCHIVE)
    own = approver.http.post(
        f"{ROLLOUTS}/{made['id']}/approve", json={"digest": made["digest"]}, headers={"x-csrf-token": approver.csrf}
    )
    assert own.status_code == 204


def test_the_author_cannot_approve_it_under_any_of_their_names(console: Console, admin: Operator) -> None:
    made = propose(admin, ARCHIVE).json()
    refused = admin.send("POST", f"{ROLLOUTS}/{made['id']}/approve", {"digest": made["digest"]})
    assert refused.status_code == 409 and "somebody else" in refused.json()["detail"]


def test_the_form_does_the_same_and_a_tenant_s_own_is_its_own(console: Console, author: Operator) -> None:
    assert "Propose a bundle" in author.get("/policy", headers=HTML).text
    answer = upload(author, ARCHIVE, note="by hand", tenant="acme")
    assert answer.status_code == 303
    record = console.records("policy.proposed")[-1]
    assert answer.headers["location"] == f"/policy/{record['rollout']}?done=proposed"
    assert (record["by"], record["scope"], record["note"]) == ("paula", "acme", "by hand")
    assert "Proposed as a draft." in author.get(answer.headers["location"], headers=HTML).text


def test_what_stands_in_the_playground_is_proposed_too(console: Console, author: Operator) -> None:
    text = "".join(f"-- {name} --\n{content.decode()}\n" for name, content in FILES.items())
    answer = author.form("/policy/playground/proposal", files=text, note="typed", input='{"mine": 1}')
    assert answer.status_code == 303
    record = console.records("policy.proposed")[-1]
    assert (record["by"], record["note"]) == ("paula", "typed")
    with_script = author.http.post(
        "/policy/playground/proposal",
        data={"csrf": author.csrf, "files": text},
        headers={**HTML, "hx-request": "true"},
    )
    assert with_script.status_code == 200 and with_script.headers["hx-redirect"].startswith("/policy/rollout-")
    count = len(console.records("policy.proposed"))
    for wrong in ("-- ../x.rego --\nx", "-- a.rego --\npackage", "no heading"):
        page = author.form("/policy/playground/proposal", files=wrong, input='{"mine": 1}')
        assert 'role="alert"' in page.text and "mine" in page.text
    assert len(console.records("policy.proposed")) == count


@pytest.mark.parametrize(
    ("archive", "said"),
    [
        pytest.param(b"-- not a tar --", "no gzip-compressed archive", id="text"),
        pytest.param(ARCHIVE[:-20], "cut off", id="cut"),
        pytest.param(gzip.compress(b"\0" * 24_000_000, 9), "unpacks to more", id="bomb"),
        pytest.param(crafted("../../etc/x.rego"), "no path inside the bundle", id="traversal"),
        pytest.param(crafted("x.rego", tarfile.SYMTYPE, "/etc/passwd"), "", id="link"),
        pytest.param(pack({"request.rego": b"package"}), "request.rego:1", id="does-not-parse"),
        pytest.param(FAILING, "test_no fails", id="fails-its-tests"),
    ],
)
def test_what_is_no_bundle_that_passes_is_refused_and_leaves_nothing(
    console: Console, author: Operator, archive: bytes, said: str
) -> None:
    before = len(console.records("policy."))
    answer = propose(author, archive)
    assert answer.status_code == 422, answer.text
    assert answer.json()["field"] == "archive" and said in answer.json()["detail"]
    assert len(console.records("policy.")) == before
    assert not kept(console, archive)


def test_the_form_tells_what_speaks_against_a_bundle(console: Console, author: Operator) -> None:
    before = len(console.records("policy."))
    page = upload(author, FAILING)
    assert page.status_code == 422
    assert "The bundle is refused." in page.text and "test_no fails" in page.text
    for nothing in (propose(author, b""), upload(author, b"")):
        assert nothing.status_code == 422
    assert len(console.records("policy.")) == before


def test_what_is_too_large_is_refused_before_it_is_read_whole(console: Console, author: Operator) -> None:
    before = len(console.records("policy."))
    assert propose(author, b"x" * (LIMIT + 1)).status_code == 422
    refused = propose(author, b"x" * 200_000)
    assert refused.status_code == 413 and "over" in refused.json()["detail"]
    assert upload(author, b"x" * 200_000).status_code == 413
    endless = author.http.post(ROLLOUTS, content=iter([b"x" * 10_000] * 20), headers={"x-csrf-token": author.csrf})
    assert endless.status_code == 413
    assert author.form("/policy/x/withdraw", reason="r" * 80_000).status_code == 413, "only archives may be larger"
    assert len(console.records("policy.")) == before


@pytest.mark.parametrize("tenant", ["initech", "../acme", "ACME", "acme\n", "x" * 200])
def test_a_tenant_that_is_not_there_gets_no_bundle(console: Console, author: Operator, tenant: str) -> None:
    before = len(console.records("policy."))
    assert propose(author, ARCHIVE, tenant=tenant).status_code == 422
    assert upload(author, ARCHIVE, tenant=tenant).status_code == 422
    assert len(console.records("policy.")) == before


@pytest.mark.parametrize("note", ["x" * 501, "two\nlines", "\x1b[31m"])
def test_a_note_that_does_not_fit_into_a_record_stores_nothing(console: Console, author: Operator, note: str) -> None:
    other = pack(FILES | {"data.json": b'{"only": "here"}'})
    before = len(console.records("policy."))
    assert propose(author, other, note=note).status_code == 422
    assert len(console.records("policy.")) == before
    assert not kept(console, other)


def test_only_who_writes_policy_may_propose_and_only_from_the_console_s_pages(
    console: Console, author: Operator, approver: Operator, analyst: Operator, viewer: Operator
) -> None:
    before = len(console.records("policy."))
    for other in (approver, analyst, viewer):
        assert propose(other, ARCHIVE).status_code == 403
        assert upload(other, ARCHIVE).status_code == 403
        assert other.form("/policy/playground/proposal", files="-- a.rego --\nx").status_code == 403
        assert 'action="/policy"' not in other.get("/policy", headers=HTML).text
    for csrf in ("", "0" * 64, approver.csrf):
        assert propose(author, ARCHIVE, csrf=csrf).status_code == 403
        assert upload(author, ARCHIVE, csrf=csrf).status_code == 403
    parts = {"archive": ("b.tar.gz", ARCHIVE), "csrf": ("csrf", author.csrf.encode())}
    assert author.http.post("/policy", files=parts).status_code in (400, 403), "a file is no token"
    away = {"x-csrf-token": author.csrf, "origin": "https://evil.example"}
    assert author.http.post(ROLLOUTS, content=ARCHIVE, headers=away).status_code == 403
    assert console.http().post(ROLLOUTS, content=ARCHIVE).status_code == 401
    assert len(console.records("policy.")) == before


@pytest.mark.parametrize(
    "body",
    [b"", b"--b\r\n", b'--b\r\ncontent-disposition: form-data; name="archive"\r\n\r\nx', b"--b--\r\n", b"\xff" * 500],
)
def test_a_damaged_form_is_a_mistake_of_the_request(author: Operator, body: bytes) -> None:
    headers = {"content-type": "multipart/form-data; boundary=b", "x-csrf-token": author.csrf}
    assert author.http.post("/policy", content=body, headers=headers).status_code in (400, 422)
    del headers["x-csrf-token"]
    assert author.http.post("/policy", content=body, headers=headers).status_code in (400, 403)


def test_what_happened_is_counted_and_only_few_are_examined_at_once(
    console: Console, author: Operator, admin: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counted() -> dict[str, float]:
        tallies = console.meter.snapshot()["tallies"]
        return {each["labels"][0]: each["value"] for each in tallies if "proposals" in each["name"]}

    begun, go_on = threading.Semaphore(0), threading.Event()

    def slow(*_: object) -> object:
        begun.release()
        go_on.wait(20)
        raise PolicyError("examining it took longer than 80 s")

    before, statuses = counted(), []
    monkeypatch.setattr(proposals, "examine", slow)
    second = console.signed_in("pablo", "policy_author")
    threads = [
        threading.Thread(target=lambda who=who: statuses.append(propose(who, ARCHIVE).status_code))
        for who in (author, second)
    ]
    for thread in threads:
        thread.start()
        assert begun.acquire(timeout=20)
    assert propose(author, ARCHIVE).status_code == propose(admin, ARCHIVE).status_code == 429
    go_on.set()
    for thread in threads:
        thread.join(20)
    monkeypatch.undo()
    assert statuses == [409, 409]
    assert propose(author, b"x").status_code == 422
    assert propose(author, ARCHIVE).status_code == 201
    told = {each: counted()[each] - before[each] for each in OUTCOMES}
    assert told == {"proposed": 1, "refused": 1, "error": 2, "busy": 2}


def test_there_are_no_more_than_there_may_be(
    console: Console, author: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineage.rollouts.MOST_ROLLOUTS", 1)
    refused = propose(author, pack(FILES | {"data.json": b'{"one": "more"}'}))
    assert refused.status_code == 409 and "withdraw one first" in refused.json()["detail"]
    assert not kept(console, pack(FILES | {"data.json": b'{"one": "more"}'}))


def test_with_an_opa_server_nothing_is_proposed() -> None:
    settings = FACTS.policy.model_copy(update={"engine": "opa"})
    desk = proposals.Proposals(None, None, settings, LIMIT, Meter("control-0"))  # type: ignore[arg-type]
    with pytest.raises(proposals.Conflict, match="OPA server"):
        desk.propose(ARCHIVE, tenant="", note="", by="paula")
