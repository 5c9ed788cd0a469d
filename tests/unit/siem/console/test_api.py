"""The admin API: each call does its one thing, leaves its record, and says clearly what cannot be done."""

from __future__ import annotations

import time

import orjson
import pytest

from lineage.actions import Stamp, apply_containment, key_digest
from lineage.metrics import Meter
from lineage.paths import Paths
from siem.decision_logs.delivery import Cursor
from tests.support import records, traffic
from tests.support.console import PASSWORD, Console, Operator


@pytest.fixture(scope="module")
def ids(console: Console) -> dict[str, str]:
    return traffic.hour(console)


def contained(console: Console, seconds: int = 600, target: str = "acme/x") -> str:
    record = apply_containment(
        Stamp.now("soc-0-TEST"), target_type="principal", target=target, reason="r", owner="ana", seconds=seconds
    )
    console.append(record)
    return str(record["containment"])


# Session


def test_signing_in_gives_a_cookie_that_scripts_and_other_sites_cannot_use(console, admin):
    answer = console.http().post("/api/v1/session", json={"account": "root", "password": PASSWORD})
    assert answer.status_code == 201
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith("cordon_console=")
    for part in ("httponly", "samesite=strict", "path=/", "max-age=43200"):
        assert part in cookie
    assert answer.json()["account"] == "root"
    assert console.records("admin.signed_in")[-1]["account"] == "root"


def test_signing_in_never_takes_up_a_session_that_the_browser_brought(console, admin):
    planted = "A" * 43
    http = console.http(cookies={"cordon_console": planted})
    answer = http.post("/api/v1/session", json={"account": "root", "password": PASSWORD})
    fresh = answer.cookies["cordon_console"]
    assert fresh != planted
    assert console.http(cookies={"cordon_console": planted}).get("/api/v1/session").status_code == 401
    again = console.http(cookies={"cordon_console": fresh}).post(
        "/api/v1/session", json={"account": "root", "password": PASSWORD}
    )
    assert again.cookies["cordon_console"] != fresh


def test_a_wrong_password_is_401_and_the_same_for_unknown_accounts(console, admin):
    answers = [
        console.http().post("/api/v1/session", json={"account": name, "password": "wrong password!"})
        for name in ("root", "nobody")
    ]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert answers[0].json() == answers[1].json()
    assert "set-cookie" not in answers[0].headers


def test_signing_out_ends_the_session_at_the_server(console):
    operator = console.signed_in("oscar", "viewer")
    token = operator.http.cookies["cordon_console"]
    assert operator.send("DELETE", "/api/v1/session").status_code == 204
    assert console.http(cookies={"cordon_console": token}).get("/api/v1/session").status_code == 401


def test_a_disabled_account_is_out_with_its_next_request(console, admin):
    operator = console.signed_in("quinn", "analyst")
    assert operator.get("/api/v1/calls").status_code == 200
    assert admin.send("PATCH", "/api/v1/accounts/quinn", {"active": False}).status_code == 200
    assert operator.get("/api/v1/calls").status_code == 401


# Calls


def test_calls_come_newest_first_with_what_became_of_them(admin, ids):
    page = admin.get("/api/v1/calls").json()
    indexes = [call["index"] for call in page["calls"]]
    assert indexes == sorted(indexes, reverse=True)
    verdicts = {call["verdict"] for call in page["calls"]}
    assert verdicts == {"allowed", "blocked", "failed", "refused"}
    masked = next(call for call in page["calls"] if call["call"] == ids["masked"])
    assert (masked["method"], masked["path"], masked["findings"]) == (
        "POST",
        "/v1/chat/completions",
        {"email": 2, "payment_card": 1},
    )
    unknown = next(call for call in page["calls"] if not call["call"])
    assert (unknown["count"], unknown["stage"]) == (1_204, "identity")


@pytest.mark.parametrize(
    ("query", "check"),
    [
        ({"tenant": "globex"}, lambda call: call["tenant"] == "globex"),
        ({"principal": "acme/ci-bot"}, lambda call: call["principal"] == "acme/ci-bot"),
        ({"route": "crm"}, lambda call: call["route"] == "crm"),
        ({"verdict": "blocked"}, lambda call: call["verdict"] == "blocked"),
        (
            {"tenant": "acme", "verdict": "refused"},
            lambda call: (call["tenant"], call["verdict"]) == ("acme", "refused"),
        ),
    ],
)
def test_calls_are_filtered(admin, ids, query, check):
    calls = admin.get("/api/v1/calls", params=query).json()["calls"]
    assert calls
    assert all(check(call) for call in calls)


def test_a_filter_is_compared_not_matched(admin, ids):
    for principal in ("acme", "acme/ci", "acme/%", ".*", "acme/ci-bot\x00"):
        assert admin.get("/api/v1/calls", params={"principal": principal}).json()["calls"] == []


def test_pages_go_on_where_the_last_one_ended_and_miss_nothing(admin, ids):
    whole = [call["index"] for call in admin.get("/api/v1/calls", params={"limit": 500}).json()["calls"]]
    pieces, before = [], None
    while True:
        page = admin.get(
            "/api/v1/calls", params={"limit": 4} | ({"before": before} if before is not None else {})
        ).json()
        pieces += [call["index"] for call in page["calls"]]
        before = page["before"]
        if before is None:
            break
    assert pieces == whole


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 501}, {"before": -1}, {"verdict": "x"}, {"limit": "many"}])
def test_a_bad_question_is_422_and_names_the_field(admin, query):
    answer = admin.get("/api/v1/calls", params=query)
    assert answer.status_code == 422
    assert answer.json()["field"] == next(iter(query))


def test_one_calls_records_and_single_records(admin, ids):
    records = admin.get(f"/api/v1/calls/{ids['masked']}").json()
    assert [one["record"]["kind"] for one in records] == ["call.intent", "call.outcome"]
    one = admin.get(f"/api/v1/records/{records[0]['index']}").json()
    assert one == records[0]


@pytest.mark.parametrize(
    "path", ["calls/x", "calls/01JD0000000000000000000000", "records/99999", "records/-1", "alerts/x"]
)
def test_what_is_not_there_is_404(admin, path):
    answer = admin.get(f"/api/v1/{path}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_record_index_that_is_no_number_or_a_huge_one_breaks_nothing(admin):
    assert admin.get("/api/v1/records/abc").status_code == 422
    assert admin.get("/api/v1/records/999999999999999999999999").status_code == 404


# Alerts


def test_alerts_are_listed_found_and_triaged(console, admin, analyst, ids):
    listed = admin.get("/api/v1/alerts", params={"tenant": "acme"}).json()
    assert ids["alert"] in [alert["id"] for alert in listed]
    changed = analyst.send("PATCH", f"/api/v1/alerts/{ids['alert']}", {"state": "closed"})
    assert (changed.json()["state"], changed.json()["changed_by"]) == ("closed", "ana")
    assert ids["alert"] not in [alert["id"] for alert in admin.get("/api/v1/alerts", params={"state": "open"}).json()]
    assert analyst.send("PATCH", "/api/v1/alerts/x", {"state": "closed"}).status_code == 404


# Containments


def test_containing_leaves_the_record_and_holds_at_once(console, analyst):
    answer = analyst.send(
        "POST",
        "/api/v1/containments",
        {"target_type": "endpoint", "target": "openai-us", "reason": "odd answers", "seconds": 3_600},
    )
    assert answer.status_code == 201
    made = answer.json()["id"]
    record = console.records("containment.applied")[-1]
    assert (record["containment"], record["owner"], record["reason"]) == (made, "ana", "odd answers")
    assert record["until"] - record["at"] == 3_600_000
    assert made in console.client.control.containments
    assert made in [held["id"] for held in analyst.get("/api/v1/containments").json()]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"seconds": 2_592_001}, "seconds"),
        ({"seconds": 0}, "seconds"),
        ({"seconds": "60"}, "seconds"),
        ({"seconds": 1.5}, "seconds"),
        ({"seconds": None}, "seconds"),
        ({"reason": ""}, "reason"),
        ({"reason": "  "}, "reason"),
        ({"reason": "a\nb"}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"reason": "the key is cordon_" + "A" * 43}, "reason"),
        ({"target": "nobody"}, "target"),
        ({"target": "a/b/c"}, "target"),
        ({"target_type": "tenant"}, "target_type"),
        ({"owner": "somebody-else"}, "owner"),
        ({"until": 1}, "until"),
    ],
)
def test_a_containment_that_is_not_whole_is_refused_and_nothing_is_recorded(console, analyst, change, field):
    asked = {"target_type": "principal", "target": "acme/x", "reason": "r", "seconds": 60} | change
    before = len(console.records("containment."))
    answer = analyst.send("POST", "/api/v1/containments", asked)
    assert answer.status_code == 422
    assert answer.json()["field"] == field
    assert "cordon_AAAA" not in answer.text
    assert len(console.records("containment.")) == before


def test_a_release_is_recorded_with_who_and_why_and_only_once(console, analyst):
    held = contained(console)
    assert analyst.send("POST", f"/api/v1/containments/{held}/release", {"reason": "over"}).status_code == 204
    record = console.records("containment.released")[-1]
    assert (record["containment"], record["by"], record["reason"]) == (held, "ana", "over")
    assert held not in console.client.control.containments
    again = analyst.send("POST", f"/api/v1/containments/{held}/release", {"reason": "over"})
    assert again.status_code == 409
    assert "ended already" in again.json()["detail"]


def test_releases_at_the_same_moment_leave_one_record(console, analyst):
    from concurrent.futures import ThreadPoolExecutor

    held = contained(console)
    with ThreadPoolExecutor(6) as pool:
        answers = list(
            pool.map(
                lambda _: analyst.send("POST", f"/api/v1/containments/{held}/release", {"reason": "over"}), range(6)
            )
        )
    assert sorted(answer.status_code for answer in answers) == [204, 409, 409, 409, 409, 409]
    assert sum(record["containment"] == held for record in console.records("containment.released")) == 1


@pytest.mark.parametrize("name", ["con-0000000000000000", "x", "%22%7D", "con-1%22", "a" * 300, "%F0%9F%98%80"])
def test_releasing_what_never_was_is_404(analyst, name):
    answer = analyst.send("POST", f"/api/v1/containments/{name}/release", {"reason": "over"})
    assert answer.status_code == 404


def test_a_containment_whose_time_ran_out_is_gone_and_cannot_be_released(console, analyst):
    record = apply_containment(
        Stamp(Stamp.now("x").at - 61_000, "soc-0-TEST"),  # by a clock that is behind: its length counts, not its date
        target_type="principal",
        target="acme/late",
        reason="r",
        owner="ana",
        seconds=1,
    )
    console.append(record)
    held = record["containment"]
    assert held in [one["id"] for one in analyst.get("/api/v1/containments").json()]
    time.sleep(1.1)
    assert held not in [one["id"] for one in analyst.get("/api/v1/containments").json()]
    assert analyst.send("POST", f"/api/v1/containments/{held}/release", {"reason": "over"}).status_code == 409


def test_a_release_needs_a_reason(console, analyst):
    held = contained(console)
    for body in ({}, {"reason": ""}, {"reason": " "}):
        assert analyst.send("POST", f"/api/v1/containments/{held}/release", body).status_code == 422
    assert held in console.client.control.containments


# Keys


def test_a_keys_text_is_in_one_answer_and_its_digest_in_the_log(console, admin):
    answer = admin.send("POST", "/api/v1/keys", {"name": "ci-bot", "tenant": "acme", "roles": ["agent"]})
    assert answer.status_code == 201
    made = answer.json()
    record = console.records("admin.key_created")[-1]
    assert record["digest"] == key_digest(made["text"])
    assert record["by"] == "root"
    assert made["text"] not in str(console.records())
    listed = admin.get("/api/v1/keys")
    assert made["id"] in [key["id"] for key in listed.json()]
    assert made["text"] not in listed.text
    assert "digest" not in listed.text
    assert admin.send("DELETE", f"/api/v1/keys/{made['id']}").status_code == 204
    assert key_digest(made["text"]) not in console.client.control.keys
    assert admin.send("DELETE", f"/api/v1/keys/{made['id']}").status_code == 404


@pytest.mark.parametrize(
    "change",
    [
        {"tenant": "nobody"},
        {"tenant": ""},
        {"name": "A"},
        {"roles": ["a b"]},
        {"roles": "agent"},
        {"kind": "admin"},
        {"expires": 1},
        {"expires": 10**18},
        {"digest": "00"},
    ],
)
def test_a_key_that_is_not_whole_is_refused(console, admin, change):
    before = len(console.records("admin.key_created"))
    answer = admin.send("POST", "/api/v1/keys", {"name": "x", "tenant": "acme"} | change)
    assert answer.status_code == 422
    assert len(console.records("admin.key_created")) == before


# Accounts


def test_an_invitation_over_the_api_opens_an_account(console, admin):
    link = admin.send("POST", "/api/v1/accounts", {"account": "rita", "roles": ["analyst"]}).json()["link"]
    same = {"origin": console.url}
    wrong = console.http().post(link, data={"password": "short"}, headers=same | {"accept": "text/html"})
    assert wrong.status_code == 422
    joined = console.http().post(link, data={"account": "root", "password": PASSWORD}, headers=same)
    assert joined.status_code == 303
    assert console.signed_in("rita").get("/api/v1/session").json()["roles"] == ["analyst"]
    again = console.http().post(link, data={"password": PASSWORD}, headers=same | {"accept": "text/html"})
    assert again.status_code == 404


def test_a_reset_over_the_api_names_no_roles(console, admin):
    console.make_account("sam", "viewer")
    link = admin.send("POST", "/api/v1/accounts", {"account": "sam", "reset": True}).json()["link"]
    assert link.startswith("/invitation/")
    assert admin.send("POST", "/api/v1/accounts", {"account": "nobody", "reset": True}).status_code == 404
    assert admin.send("POST", "/api/v1/accounts", {"account": "sam", "roles": ["viewer"]}).status_code == 409


@pytest.mark.parametrize(
    "body", [{}, {"roles": ["viewer"], "active": True}, {"roles": ["king"]}, {"password": "x" * 12}]
)
def test_a_change_of_an_account_is_one_change(console, admin, body):
    if not console.accounts().known("tom"):
        console.make_account("tom", "viewer")
    assert admin.send("PATCH", "/api/v1/accounts/tom", body).status_code == 422


def test_accounts_are_listed_without_hashes(admin):
    listed = admin.get("/api/v1/accounts")
    assert {"name", "roles", "active", "created_at"} == set(listed.json()[0])
    assert "argon2" not in listed.text


def test_an_analyst_cannot_make_an_admin_of_himself(console, analyst: Operator):
    for method, path, body in (
        ("PATCH", "/api/v1/accounts/ana", {"roles": ["admin"]}),
        ("POST", "/api/v1/accounts", {"account": "ana2", "roles": ["admin"]}),
        ("POST", "/api/v1/accounts", {"account": "root", "reset": True}),
    ):
        assert analyst.send(method, path, body).status_code == 403
    assert console.accounts().check("root", PASSWORD)


# Everything else


def test_the_status_tells_of_log_and_processes(console, admin, ids):
    status = admin.get("/api/v1/status").json()
    assert status["size"] == len(console.records())
    assert status["log_writable"]
    deadline = time.monotonic() + 5
    while not admin.get("/api/v1/status").json()["checkpoint_verified"] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert admin.get("/api/v1/status").json()["checkpoint_verified"]


def test_how_far_decision_logs_are_delivered_is_told_to_programs_and_to_people(console, admin):
    def told() -> dict[str, object]:
        (found,) = admin.get("/api/v1/status").json()["decision_logs"]
        assert found["destination"] == "siem"
        return found

    assert not told()["begun"]
    console.append(orjson.loads(records.intent(1_700_000_000_000)))
    place = len(console.records())
    cursor = Cursor(console.state, "siem", lambda _: None)
    for lost, text in (("refused", "siem takes no events (refused)"), ("", "records behind, the oldest event")):
        cursor.store(place - 1, lost)
        assert (told()["begun"], told()["lost"]) == (True, lost)
        assert told()["behind"] >= 1 and told()["age_seconds"] > 1_000_000
        assert text in " ".join(admin.get("/").text.split())
    cursor.store(len(console.records()) + 1_000, "")
    assert (told()["behind"], told()["age_seconds"]) == (0, 0)
    assert "siem: up to date" in " ".join(admin.get("/").text.split())


def test_a_soc_process_that_stands_by_is_told_of(console, admin):
    meter = Meter("soc-0")
    for standby in (1, 0):
        meter.set("cordon_soc_standby", standby)
        meter.write(Paths(console.data_dir).metrics)
        (soc,) = [row for row in admin.get("/api/v1/status").json()["processes"] if row["name"] == "soc-0"]
        assert soc["standby"] is bool(standby)
        assert ("Another machine detects" in admin.get("/").text) is bool(standby)


def test_the_api_is_described_and_only_the_api(admin):
    described = admin.get("/api/v1/openapi.json").json()
    assert all(path.startswith("/api/v1/") for path in described["paths"])
    assert "/api/v1/containments/{containment}/release" in described["paths"]
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], (method, path)
            assert "401" in operation["responses"]


@pytest.mark.parametrize(
    "path", ["/docs", "/redoc", "/openapi.json", "/api/v1/docs", "/admin", "/api/v1", "/api/v1/calls/"]
)
def test_nothing_else_is_there(admin, path):
    assert admin.get(path).status_code == 404


def test_an_error_does_not_repeat_what_was_sent(console):
    secret = "hunter2-hunter2-hunter2"
    answer = console.http().post("/api/v1/session", json={"account": "root", "password": secret * 20})
    assert answer.status_code == 422
    assert secret not in answer.text
    answer = console.http().post("/api/v1/session", json={"account": "root", "passwort": secret})
    assert secret not in answer.text
