"""A believable hour of records for the console: calls of two tenants, a stolen key that probes, what followed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detectors.alert import Alert
from detectors.alerts import AlertTable
from gateway import records
from gateway.identity import Principal
from lineage.actions import Stamp, apply_containment
from lineage.record import encode, new_call_id
from tests.support.console import Console

BOOT = "gateway-0-TEST"
BOT = Principal("acme/ci-bot", "acme", ("agent",), "key-1")
DESK = Principal("globex/desk", "globex", ("support",), "key-2")


def call(
    console: Console,
    who: Principal,
    *,
    verdict: records.Verdict = "allowed",
    status: int = 200,
    path: str = "/v1/chat/completions",
    route: str = "openai",
    endpoint: str = "openai-eu",
    findings: Mapping[str, int] | None = None,
    redacted: Mapping[str, str] | None = None,
    reasons: tuple[Mapping[str, str], ...] = (),
    milliseconds: int = 42,
    final: bool = True,
    restored: int = 0,
) -> str:
    """A call that went out and came back; its id."""
    facts = records.Facts(BOOT, new_call_id(), route, "POST", path, who, findings or {}, redacted or {}, "r1")
    sent = {"digest": "00" * 32, "bytes": 512}
    index = console.append(records.intent(facts, 1, endpoint, "gpt-4o-mini", sent, ""))
    console.append(
        records.outcome(
            facts,
            1,
            endpoint,
            index,
            status=status,
            verdict=verdict,
            received=sent,
            findings={},
            redacted={},
            reasons=reasons,
            model="gpt-4o-mini",
            milliseconds=milliseconds,
            final=final,
            restored=restored,
        )
    )
    return facts.call


def refusal(console: Console, who: Principal, path: str, *, code: str = "residency", detail: str = "") -> int:
    """A call that was not sent anywhere; its record's index."""
    facts = records.Facts(BOOT, new_call_id(), "crm", "GET", path, who, {}, {}, "r1")
    reasons = [
        {"code": code, "detail": detail or "No endpoint lies in a jurisdiction that the tenant's data may go to."}
    ]
    return console.append(records.refused(facts, "decision", 403, reasons))


def raise_alert(console: Console, evidence: list[int], *, summary: str = "", subject: str = BOT.id) -> str:
    """An alert as the detectors raise it, in the log and in the table; its id."""
    now = Stamp.now(BOOT).at
    alert = Alert(
        detector="refusal_burst",
        severity="high",
        tenant=subject.partition("/")[0],
        subject_type="principal",
        subject=subject,
        summary=summary or f"{len(evidence)} refusals of {subject} within 60 s",
        evidence=evidence,
        count=len(evidence),
        since=now - 60_000,
        until=now,
    )
    fields = alert.emission().decide(now)
    assert fields is not None
    record: dict[str, Any] = Stamp.now("soc-0-TEST").head("alert.raised") | dict(fields)
    index = console.append(record)
    table = AlertTable()
    table.observe(index, b"alert.raised", encode(record))
    with console.state.begin() as connection:
        for statement in table.writes():
            connection.execute(statement)
    return alert.id


def hour(console: Console) -> dict[str, str]:
    """Some of everything; the ids of the alert and the containment, and of a masked call."""
    for number in range(6):
        call(console, BOT, milliseconds=31 + number)
    masked = call(console, DESK, findings={"email": 2, "payment_card": 1}, redacted={"email": "mask"}, milliseconds=88)
    call(
        console,
        DESK,
        verdict="blocked",
        status=200,
        reasons=({"code": "blocked_pattern:codename", "detail": "The answer names a codename."},),
    )
    call(console, BOT, route="crm", endpoint="crm-eu", path="/customers/17/notes", milliseconds=7)
    call(
        console,
        BOT,
        verdict="failed",
        status=502,
        reasons=({"code": "connect", "detail": "The endpoint does not answer."},),
    )
    console.append(records.refused_unknown(BOOT, "203.0.113.9", "unknown_key", 1_204, 10_000))
    evidence = [refusal(console, BOT, f"/customers/{number}/export") for number in range(20)]
    alert = raise_alert(console, evidence)
    containment = apply_containment(
        Stamp.now("soc-0-TEST"),
        target_type="principal",
        target=BOT.id,
        reason="20 refusals of acme/ci-bot within 60 s",
        owner="detector:refusal_burst",
        seconds=900,
        alert=alert,
    )
    console.append(containment)
    return {"alert": alert, "containment": str(containment["containment"]), "masked": masked}
