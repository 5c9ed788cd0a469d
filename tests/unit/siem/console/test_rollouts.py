"""Rolling out a policy bundle by API and pages: each move leaves its record, nobody lets their own decide."""

from __future__ import annotations

import html
import re
from contextlib import closing

import pytest

from lineage.actions import Stamp, propose_bundle, stage_bundle
from lineage.bundles import BundleStore
from lineage.side_place import SidePlace
from policies.bundle import bundle_of_archive
from policies.tarball import pack
from tests.support.console import CONFIGURED, RULES, Console, Operator
from tests.support.gateway import wait_for

HTML = {"accept": "text/html"}
HOSTILE = b"# <script>alert(1)</script> {{7*7}}\n"
ROLLOUTS = "/api/v1/policy/rollouts"
STAMP = Stamp.now("cli-TEST")


@pytest.fixture(autouse=True)
def emptied(console: Console, admin: Operator):
    """What a test leaves behind is taken away."""
    yield
    while live := [each for each in admin.get(ROLLOUTS).json() if each["stage"] == "live"]:
        assert move(admin, live[0]["id"], "draft").status_code == 204
    for each in admin.get(ROLLOUTS).json():
        assert admin.send("POST", f"{ROLLOUTS}/{each['id']}/withdraw", {"reason": "over"}).status_code == 204


def proposed(console: Console, by: str = "paula", scope: str = "", more: bytes = b"", *, kept: bool = True) -> str:
    archive = pack({"main.rego": RULES + more})
    with closing(SidePlace(console.data_dir).side()) as side:
        digest = BundleStore(side).put(archive) if kept else "ab" * 32
    revision = bundle_of_archive(archive, "b").revision
    facts = {"digest": digest, "revision": revision, "by": by, "scope": scope, "note": "a note"}
    record = propose_bundle(STAMP, console.client.control, **facts)
    console.append(record)
    return str(record["rollout"])


def move(who: Operator, rollout: str, stage: str, **more: object):
    return who.send("POST", f"{ROLLOUTS}/{rollout}/stage", {"stage": stage, **more})


def approve(who: Operator, rollout: str, digest: str = ""):
    digest = digest or who.get(f"{ROLLOUTS}/{rollout}").json()["rollout"]["digest"]
    return who.send("POST", f"{ROLLOUTS}/{rollout}/approve", {"digest": digest})


def stage_of(who: Operator, rollout: str) -> str:
    return who.get(f"{ROLLOUTS}/{rollout}").json()["rollout"]["stage"]


def text_of(answer) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())


def test_a_bundle_goes_from_draft_to_live_and_back_by_the_api(console, author, approver):
    first = proposed(console)
    assert move(author, first, "shadow").status_code == 204
    assert approve(approver, first).status_code == 204
    assert move(author, first, "canary", share=50).status_code == 204
    assert move(author, first, "canary", tenants=["acme"]).status_code == 204
    assert move(author, first, "live").status_code == 204
    shown = author.get(f"{ROLLOUTS}/{first}").json()["rollout"]
    assert (shown["stage"], shown["approved_by"], shown["base"]) == ("live", "app", CONFIGURED.revision)
    second = proposed(console)
    assert approve(approver, second).status_code == 204
    assert move(approver, second, "live").status_code == 204
    assert (stage_of(author, first), stage_of(author, second)) == ("replaced", "live")
    assert move(author, second, "draft").status_code == 204
    assert (stage_of(author, first), stage_of(author, second)) == ("live", "draft")
    told = [(record["stage"], record["by"]) for record in console.records("policy.staged")]
    assert told[:4] == [("shadow", "paula"), ("canary", "paula"), ("canary", "paula"), ("live", "paula")]


def test_nobody_approves_their_own_bundle_whatever_they_are_called(console, admin, approver):
    for name in ("root", "cli:root", "cli:Root"):
        own = proposed(console, by=name)
        refused = approve(admin, own)
        assert refused.status_code == 409, name
        assert "somebody else must approve it" in refused.json()["detail"]
        assert move(admin, own, "live").status_code == 409
        assert approve(approver, own).status_code == 204


def test_an_approval_is_of_the_archive_that_was_looked_at(console, approver):
    refused = approve(approver, proposed(console), "cd" * 32)
    assert refused.status_code == 409
    assert "another bundle" in refused.json()["detail"]


def test_roles_say_who_may_do_what(console, author, approver, analyst, viewer):
    rollout = proposed(console, by="somebody")
    assert approve(author, rollout).status_code == 403
    for nobody in (analyst, viewer):
        assert nobody.get(ROLLOUTS).status_code == 200
        assert approve(nobody, rollout).status_code == 403
        assert move(nobody, rollout, "shadow").status_code == 403
        assert nobody.send("POST", f"{ROLLOUTS}/{rollout}/withdraw", {"reason": "r"}).status_code == 403
        page = nobody.get(f"/policy/{rollout}", headers=HTML).text
        assert f'action="/policy/{rollout}' not in page
    assert stage_of(author, rollout) == "draft"


@pytest.mark.parametrize(
    ("stage", "more", "status"),
    [
        ("canary", {"share": 50}, 409),
        ("live", {}, 409),
        ("canary", {}, 422),
        ("canary", {"share": 50, "tenants": ["acme"]}, 422),
        ("canary", {"share": 1_001}, 422),
        ("canary", {"tenants": ["nobody"]}, 422),
        ("gone", {}, 422),
        ("draft", {}, 409),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_no_record(console, author, stage, more, status):
    rollout = proposed(console)
    before = len(console.records("policy."))
    assert move(author, rollout, stage, **more).status_code == status
    assert len(console.records("policy.")) == before


def test_what_is_not_there_is_not_found(author, approver):
    for name in ("rollout-0000", "x", "%3Cscript%3E"):
        assert author.get(f"{ROLLOUTS}/{name}").status_code == 404
        assert move(author, name, "shadow").status_code == 404
        assert author.get(f"/policy/{name}", headers=HTML).status_code == 404
        assert approver.form(f"/policy/{name}/approve", digest="x").status_code == 404


def test_a_bundle_that_is_not_in_the_store_does_not_get_to_decide(console, author, approver):
    rollout = proposed(console, kept=False)
    refused = move(author, rollout, "shadow")
    assert refused.status_code == 409
    assert "not in the bundle store" in refused.json()["detail"]
    shown = author.get(f"{ROLLOUTS}/{rollout}").json()
    assert "not in the bundle store" in shown["problem"] and shown["files"] == []


def test_a_record_that_came_too_late_is_told(console, author, monkeypatch):
    """Another node was quicker: this one's record is in the log and has no effect."""
    first, second = proposed(console), proposed(console)
    as_it_was = console.client.control
    assert move(author, first, "shadow").status_code == 204
    late = stage_bundle(STAMP, as_it_was, rollout=second, stage="shadow", by="paula")
    console.append(late)
    assert stage_of(author, second) == "draft"
    with monkeypatch.context() as patch:
        patch.setattr("siem.console.rollouts.actions.stage_bundle", lambda *_, **__: late)
        refused = move(author, second, "shadow")
    assert refused.status_code == 409
    assert "at the same moment" in refused.json()["detail"]


def test_what_the_shadow_counted_is_told(console, author):
    rollout = proposed(console)
    facts = {"rollout": rollout, "scope": "", "revision": "r", "compared": 40, "skipped": 2}
    call = "01JD0000000000000000000000"
    each = {"kind": "refused", "count": 3, "rules": [{"rule": "residency", "count": 3}], "calls": [call]}
    console.append(STAMP.head("policy.shadow") | facts | {"differences": [each]})
    console.append(STAMP.head("policy.shadow") | facts | {"differences": []})

    def told():
        shown = author.get(f"{ROLLOUTS}/{rollout}").json()["rollout"]
        return (shown["compared"], shown["skipped"], shown["differences"])

    wait_for(lambda: told() == (80, 4, {"refused": 3}))
    page = author.get(f"/policy/{rollout}", headers=HTML)
    assert "residency (3)" in text_of(page) and f'href="/calls/{call}"' in page.text
    assert "3 refused of 80" in text_of(author.get("/policy", headers=HTML))


def test_the_page_shows_what_a_bundle_changes_as_text(console, author):
    rollout = proposed(console, more=HOSTILE)
    page = author.get(f"/policy/{rollout}", headers=HTML)
    assert "against the configured bundle" in text_of(page)
    assert "<ins>+# &lt;script&gt;alert(1)&lt;/script&gt; {{7*7}}</ins>" in page.text
    own = author.get(f"/policy/{proposed(console, scope='acme')}", headers=HTML)
    assert "the tenant has no bundle of its own yet" in text_of(own)
    assert author.get(f"/policy/{proposed(console)}", headers=HTML).status_code == 200


def test_who_approves_sees_what_changes_by_whom_and_what_is_in_force(console, admin, approver):
    rollout = proposed(console, by="cli:root", more=b"x := 1\ny := 2\n")
    page = approver.get(f"/policy/{rollout}", headers=HTML)
    told = text_of(page)
    assert "1 file, 2 lines added, 0 removed against the configured bundle" in told
    assert "Approve what cli:root proposes: 1 file, 2 lines added, 0 removed" in told
    assert f"the configured bundle, revision {CONFIGURED.revision}" in told
    shown = approver.get(f"{ROLLOUTS}/{rollout}").json()
    assert (shown["added"], shown["removed"], len(shown["files"])) == (2, 0, 1)
    own = admin.get(f"/policy/{rollout}", headers=HTML)
    assert f'action="/policy/{rollout}/approve"' not in own.text, "the same person by another name"
    assert "not you, who proposed it" in text_of(own)
    assert approve(approver, rollout).status_code == 204
    assert move(admin, rollout, "live").status_code == 204
    assert f"In force now this one , revision {shown['rollout']['revision']}" in text_of(
        approver.get(f"/policy/{rollout}", headers=HTML)
    )
    assert "a note" in text_of(approver.get("/policy", headers=HTML))


def test_the_way_by_the_pages(console, author, approver):
    rollout = proposed(console)
    address = f"/policy/{rollout}"
    assert "No bundle" not in author.get("/policy", headers=HTML).text
    assert author.form(f"{address}/stage", stage="shadow").status_code == 303
    page = author.form(f"{address}/stage", stage="live")
    assert page.status_code == 409
    assert "needs the approval of somebody other than paula" in text_of(page)
    digest = re.search(r'name="digest" value="([0-9a-f]{64})"', approver.get(address, headers=HTML).text)
    assert digest is not None
    assert approver.form(f"{address}/approve", digest=digest[1]).status_code == 303
    assert author.form(f"{address}/stage", stage="canary", part="tenant:nobody").status_code == 422
    assert author.form(f"{address}/stage", stage="canary", part="").status_code == 422
    assert author.form(f"{address}/stage", stage="canary", part="tenant:acme").status_code == 303
    assert "calls of acme" in text_of(author.get(address, headers=HTML))
    assert author.form(f"{address}/stage", stage="canary", part="share:50").status_code == 303
    assert "all tenants: 5 %" in text_of(author.get("/policy", headers=HTML))
    assert author.form(f"{address}/stage", stage="live").status_code == 303
    assert f"{rollout} is live." in text_of(author.get("/policy", headers=HTML))
    assert author.form(f"{address}/withdraw", reason="no").status_code == 409
    assert author.form(f"{address}/stage", stage="draft").status_code == 303
    assert author.form(f"{address}/withdraw", reason="").status_code == 422
    assert author.form(f"{address}/withdraw", reason="not needed").status_code == 303
    assert "The configured bundle decides." in text_of(author.get("/policy", headers=HTML))
    assert console.records("policy.withdrawn")[-1]["by"] == "paula"


def test_a_form_without_the_session_s_token_moves_nothing(console, author):
    rollout = proposed(console)
    for field in ("stage", "approve", "withdraw"):
        answer = author.http.post(f"/policy/{rollout}/{field}", data={"stage": "shadow", "digest": "x", "reason": "r"})
        assert answer.status_code == 403
    assert stage_of(author, rollout) == "draft"
