"""The pages: what they show, and that nothing hostile in the log becomes more than text on them."""

from __future__ import annotations

import html
import re

import pytest

from lineage.actions import Stamp, apply_containment, erase_tenant
from tests.support import traffic
from tests.support.console import FACTS, Console, Operator, running_console

HOSTILE = "<script>alert(1)</script>'\"><img src=x onerror=alert(1)>{{7*7}}${7*7}"
HTML = {"accept": "text/html"}


@pytest.fixture(scope="module")
def ids(console: Console) -> dict[str, str]:
    return traffic.hour(console)


def text_of(answer) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", answer.text))


PAGES = ("/", "/calls", "/alerts", "/containments", "/policy", "/keys", "/accounts", "/account")


@pytest.mark.parametrize("path", PAGES)
def test_each_page_stands_on_its_own_and_runs_no_script_of_others(admin, ids, path):
    answer = admin.get(path, headers=HTML)
    assert answer.status_code == 200
    assert answer.text.startswith("<!doctype html>")
    scripts = re.findall(r"<script[^>]*>([^<]*)</script>", answer.text)
    assert scripts == ["", ""]
    assert not re.search(r"\son[a-z]+=|style=|javascript:|https?://", answer.text)
    assert '<html lang="en">' in answer.text
    assert re.search(r"<title>[^<]+ · Cordon</title>", answer.text)


@pytest.mark.parametrize("path", PAGES)
def test_every_field_has_a_label_and_every_id_is_there_once(admin, ids, path):
    page = admin.get(path, headers=HTML).text
    identifiers = re.findall(r'\sid="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers))
    for field in re.findall(r"<(?:input|select)\b[^>]*>", page):
        name = re.search(r'\sid="([^"]+)"', field)
        if 'type="hidden"' in field or 'aria-hidden="true"' in field or re.search(r'type="(checkbox|radio)"', field):
            continue
        assert name and f'for="{name[1]}"' in page, field


def test_the_overview_shows_calls_alerts_and_who_is_contained(admin, ids):
    shown = text_of(admin.get("/", headers=HTML))
    assert "20 refusals of acme/ci-bot within 60 s" in shown
    assert re.search(r"15 min left · by detector:refusal_burst", shown)
    assert "GET /customers/19/export" in shown
    assert "unknown, 1 204 calls".replace(" ", " ") in shown or "1\u202f204 calls" in shown
    assert "signature verified" in shown or "No checkpoint yet" in shown


def test_an_alert_leads_to_its_evidence_and_a_record_to_its_proof(admin, ids):
    page = admin.get(f"/alerts/{ids['alert']}", headers=HTML).text
    links = re.findall(r'href="/records/(\d+)"', page)
    assert len(links) == 21
    record = admin.get(f"/records/{links[1]}", headers=HTML)
    assert "call.refused" in record.text
    assert admin.get(f"/log/proof/{links[1]}").status_code == 200


def test_a_call_page_shows_all_its_records(admin, ids):
    page = text_of(admin.get(f"/calls/{ids['masked']}", headers=HTML))
    assert "call.intent" in page
    assert "call.outcome" in page
    assert '"payment_card": 1' in page


def test_a_call_page_says_how_many_tokens_became_values_again(console, admin, ids):
    for restored, told in ((3, "3 tokens of the answer became their values again"), (1, "1 token of"), (0, "")):
        call = traffic.call(console, traffic.DESK, redacted={"email": "tokenise"}, restored=restored)
        page = text_of(admin.get(f"/calls/{call}", headers=HTML))
        assert told in page
        assert ("became" in page) == bool(restored)


@pytest.mark.parametrize(
    "path",
    ["/calls/x", "/calls/01JD0000000000000000000000", "/records/999999", "/alerts/x", "/containments/x", "/nowhere"],
)
def test_what_is_not_there_is_a_page_with_status_404(admin, path):
    answer = admin.get(path, headers=HTML)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")


def test_hostile_text_in_every_field_of_the_log_stays_text(console: Console, admin: Operator):
    who = traffic.Principal(f"acme/{HOSTILE}", "acme", (), "key-1")
    facts = {"path": f"/{HOSTILE}", "route": HOSTILE, "endpoint": HOSTILE, "findings": {"email": 1}}
    reasons = ({"code": "x", "detail": HOSTILE},)
    bad = traffic.call(console, who, verdict="blocked", reasons=reasons, **facts)
    index = traffic.refusal(console, who, f"/{HOSTILE}", detail=HOSTILE)
    alert = traffic.raise_alert(console, [index], summary=HOSTILE, subject=f"acme/{HOSTILE}")
    held = apply_containment(
        Stamp.now("soc-0-TEST"), target_type="principal", target="acme/x", reason=HOSTILE, owner="ana", seconds=600
    )
    console.append(held)
    for path in (
        "/",
        "/calls",
        f"/calls/{bad}",
        f"/records/{index}",
        "/alerts",
        f"/alerts/{alert}",
        "/containments",
        f"/containments/{held['containment']}",
    ):
        page = admin.get(path, headers=HTML).text
        assert "&lt;script&gt;" in page, path
        assert "<script>" not in page, path
        assert "<img src=x" not in page, path
        assert "49" not in re.findall(r"onerror=alert\(1\)&gt;(\d+)", page), path
    for part in ("alerts", "containments", "calls"):
        page = admin.get(f"/live/{part}").text
        assert "&lt;script&gt;" in page
        assert "<script>" not in page


@pytest.mark.parametrize("name", ["tenant", "principal", "route", "verdict"])
def test_hostile_text_in_the_address_stays_text(admin, name):
    answer = admin.get("/calls", params={name: HOSTILE}, headers=HTML)
    assert "<script>alert" not in answer.text
    assert "<img src=x" not in answer.text


def test_hostile_text_in_a_form_comes_back_as_text_with_the_error(admin):
    answer = admin.form("/containments", target_type="principal", target=HOSTILE, reason=HOSTILE, seconds="900")
    assert answer.status_code == 422
    assert "Target must be" in text_of(answer)
    assert "<script>alert" not in answer.text
    answer = admin.form("/keys", tenant="acme", name=HOSTILE)
    assert answer.status_code == 422
    assert "<script>alert" not in answer.text


def test_a_message_comes_from_a_closed_list_not_from_the_address(admin):
    assert "Released." in admin.get("/?done=released", headers=HTML).text
    assert "hacked" not in admin.get("/?done=hacked", headers=HTML).text


def test_a_live_part_answers_204_until_something_changes_and_does_not_keep_the_session_alive(console, admin, ids):
    first = admin.get("/live/containments")
    seen = re.search(r"seen=([0-9a-f]{16})", first.text)[1]
    assert admin.get("/live/containments", params={"seen": seen}).status_code == 204
    admin.send(
        "POST", "/api/v1/containments", {"target_type": "endpoint", "target": "crm-eu", "reason": "test", "seconds": 60}
    )
    again = admin.get("/live/containments", params={"seen": seen})
    assert again.status_code == 200
    assert "crm-eu" in again.text


def test_a_live_part_without_a_session_makes_the_page_reload(console):
    answer = console.http().get("/live/calls", headers={"hx-request": "true"})
    assert answer.status_code == 401
    assert answer.headers["hx-refresh"] == "true"


def test_a_viewer_sees_no_button_that_would_be_refused(viewer, ids):
    page = viewer.get("/", headers=HTML).text
    assert "Release…" not in page
    assert "/keys" not in page
    assert "/accounts" not in page
    assert '<form class="stack"' not in viewer.get("/containments", headers=HTML).text
    assert "Ask an analyst" in viewer.get(f"/containments/{ids['containment']}", headers=HTML).text


def test_a_released_containment_says_by_whom_and_why(console, analyst, ids):
    held = apply_containment(
        Stamp.now("soc-0-TEST"), target_type="principal", target="acme/y", reason="r", owner="ana", seconds=600
    )
    console.append(held)
    path = f"/containments/{held['containment']}"
    bad = analyst.form(f"{path}/release", reason=" ")
    assert bad.status_code == 422
    assert "say in a few words why" in text_of(bad)
    done = analyst.form(f"{path}/release", reason="It was a drill")
    assert done.status_code == 303
    page = text_of(analyst.get(done.headers["location"], headers=HTML))
    assert "Released by ana" in page
    assert "It was a drill" in page
    again = analyst.form(f"{path}/release", reason="Again")
    assert again.status_code == 409
    assert "ended already" in text_of(again)


def test_triage_is_noted_with_who_and_when(analyst, ids):
    answer = analyst.form(f"/alerts/{ids['alert']}", state="acknowledged")
    assert answer.status_code == 303
    assert "Acknowledged by" in text_of(analyst.get(f"/alerts/{ids['alert']}", headers=HTML))
    assert analyst.form(f"/alerts/{ids['alert']}", state="deleted").status_code == 422


def test_a_new_key_is_shown_once_and_never_again(console, admin):
    made = admin.form("/keys", tenant="acme", name="shown-once", roles="agent b", kind="caller", days="30")
    key = re.search(r"cordon_[\w-]{43}", made.text)[0]
    assert key not in admin.get("/keys", headers=HTML).text
    assert not any(key in str(record) for record in console.records())
    made = next(record for record in console.records("admin.key_created") if record["name"] == "shown-once")
    assert made["roles"] == ["agent", "b"]
    revoked = admin.form(f"/keys/{made['key']}/revoke")
    assert revoked.status_code == 303
    assert made["key"] not in admin.get("/keys", headers=HTML).text


def test_a_key_for_a_tenant_that_is_not_configured_is_refused(admin):
    answer = admin.form("/keys", tenant="nobody", name="x")
    assert answer.status_code == 422
    assert "no such tenant" in text_of(answer)


def test_an_erased_tenant_is_shown_as_such_and_gets_no_key():
    with running_console() as console:
        admin = console.signed_in("root", "admin")
        admin.form("/keys", tenant="acme", name="bot", roles="", kind="caller", days="30")
        console.append(erase_tenant(Stamp.now("test"), tenant="acme", by="cli:alice"))
        assert re.search(r"acme\s+erased", text_of(admin.get("/keys", headers=HTML)))
        listed = {tenant["id"]: tenant for tenant in admin.get("/api/v1/tenants").json()}
        assert listed["globex"] == {"id": "globex", "keys": 0, "erased_at": None}
        assert listed["acme"]["keys"] == 0 and listed["acme"]["erased_at"] > 0
        answer = admin.form("/keys", tenant="acme", name="x")
        assert answer.status_code == 422 and "was erased" in text_of(answer)


def test_an_invitation_link_is_shown_once_and_names_this_server(console, admin):
    answer = admin.form("/accounts", account="dora", roles=["analyst"])
    link = html.unescape(re.search(r'id="link-text">([^<]+)<', answer.text)[1])
    assert link.startswith(console.url + "/invitation/")
    assert link not in admin.get("/accounts", headers=HTML).text
    assert "Your account" in console.http().get(link).text


def test_the_last_admin_cannot_lock_everybody_out(admin):
    for change in ({"change": "disable"}, {"change": "roles", "roles": ["viewer"]}):
        answer = admin.form("/accounts/root", **change)
        assert answer.status_code == 409
        assert "last active admin" in text_of(answer)
    assert admin.get("/accounts", headers=HTML).status_code == 200


def test_empty_pages_say_what_to_do():
    with running_console(facts=type(FACTS)()) as console:
        admin = console.signed_in("root", "admin")
        overview = text_of(admin.get("/", headers=HTML))
        assert "No calls here yet" in overview
        assert "cordon key create" in overview
        assert "What they notice appears here" in overview
        assert "Nobody is contained" in overview
        assert "Start it with cordon up" in re.sub(r"\s+", " ", overview)
        assert "There is no key yet" in text_of(admin.get("/keys", headers=HTML))
        assert "no tenant yet" in text_of(admin.get("/keys", headers=HTML))
        assert "No  alerts".replace("  ", " ") in re.sub(r"\s+", " ", text_of(admin.get("/alerts", headers=HTML)))
