"""The pages for watching and acting: overview, calls, records, alerts, containments.

Each form does what the API's call of the same kind does, and shows what could not be done beside what was typed.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, Final
from urllib.parse import quote

import orjson
from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from detectors.alerts import AlertState, find_alert, list_alerts, set_state
from lineage.actions import TargetType
from lineage.errors import RecordError
from siem.console.access import GuardedRoute, Signed
from siem.console.calls import VERDICTS, Filter, newest, reasons_of, record_at, records_of
from siem.console.deps import Deps, Parts
from siem.console.errors import ConsoleError, NotFound
from siem.console.render import pages
from siem.console.status import deliveries, log_state, processes

router = APIRouter(include_in_schema=False, route_class=GuardedRoute)

PARTS: Final = ("status", "alerts", "containments", "calls")
SHOWN_CALLS: Final = 25
SHOWN_ALERTS: Final = 8
PAGE: Final = 50
MOST_OPEN: Final = 1_000
Text = Annotated[str, Form(max_length=600)]


@router.get("/")
def overview(request: Request, session: Signed, deps: Parts) -> HTMLResponse:
    """Everything at a glance; each part refreshes itself."""
    values: dict[str, Any] = {}
    for part in PARTS:
        values |= _part(deps, part)
    return pages(request).page(request, "overview.html", seen=dict.fromkeys(PARTS, ""), **values)


@router.get("/live/{part}")
def live(part: str, request: Request, session: Signed, deps: Parts, seen: str = "") -> Response:
    """One part of the overview; nothing where it is as the page has seen it, so that reading is not disturbed."""
    if part not in PARTS:
        raise NotFound("The overview has no such part.")
    values = _part(deps, part) | {"session": session}
    _, digest = pages(request).part(f"_{part}.html", seen={part: ""}, **values)
    if digest == seen:
        return Response(status_code=204)
    return HTMLResponse(pages(request).part(f"_{part}.html", seen={part: digest}, **values)[0])


@router.get("/calls")
def calls(
    request: Request,
    deps: Parts,
    tenant: str = "",
    principal: str = "",
    route: str = "",
    verdict: str = "",
    before: int | None = None,
) -> HTMLResponse:
    """Calls that have ended, filtered, newest first."""
    wanted = Filter(tenant, principal, route, verdict)
    page = newest(deps.reader, wanted, before=before, limit=PAGE, scan=deps.settings.scan)
    chosen = {name: getattr(wanted, name) for name in ("tenant", "principal", "route", "verdict")}
    return pages(request).page(
        request,
        "calls.html",
        calls=page.calls,
        before=page.before,
        wanted=wanted,
        filtered=any(chosen.values()),
        query={name: value for name, value in chosen.items() if value} | {"before": page.before},
        verdicts=VERDICTS,
        facts=deps.facts,
    )


@router.get("/calls/{call}")
def call(call: str, request: Request, deps: Parts) -> HTMLResponse:
    """All records of one call."""
    try:
        found = records_of(deps.reader, call)
    except RecordError as error:
        raise NotFound("That is no call id: it has 26 digits and capital letters.") from error
    if not found:
        raise NotFound("The log has no such call.")
    records = [(index, record, _pretty(record)) for index, record in found]
    tryable = any(record.get("side") for _, record in found)
    return pages(request).page(request, "call.html", call=call, records=records, tryable=tryable)


@router.get("/records/{index}")
def record(index: int, request: Request, deps: Parts) -> HTMLResponse:
    """One record, as it stands in the log."""
    found = record_at(deps.reader, deps.journal.control, index)
    covered = index < deps.reader.checkpoint_size()
    shown = {"call": "", **found}
    return pages(request).page(request, "record.html", index=index, record=shown, text=_pretty(found), covered=covered)


@router.get("/alerts")
def alerts(request: Request, deps: Parts, state: str = "", before: int | None = None) -> HTMLResponse:
    """Alerts of one state or all, newest first."""
    chosen: AlertState | None = next((known for known in ("open", "acknowledged", "closed") if known == state), None)
    rows = list_alerts(deps.state, limit=PAGE, before=before, state=chosen)
    more = rows[-1].log_index if len(rows) == PAGE else None
    return pages(request).page(request, "alerts.html", alerts=rows, state=chosen or "", before=more)


@router.get("/alerts/{alert}")
def alert(alert: str, request: Request, deps: Parts) -> HTMLResponse:
    """One alert with the records that show it."""
    row = find_alert(deps.state, alert)
    if row is None:
        raise NotFound("There is no such alert.")
    held = [
        one for one in deps.operations.in_force() if (one.target_type, one.target) == (row.subject_type, row.subject)
    ]
    evidence = []
    for index in row.evidence:
        with suppress(NotFound):  # The table may come from another copy of the log than the one that is read here.
            found = record_at(deps.reader, deps.journal.control, index)
            evidence.append((index, {"path": "", "method": "", **found}, "; ".join(reasons_of(found))))
    return pages(request).page(request, "alert.html", alert=row, evidence=evidence, held=held)


@router.post("/alerts/{alert}")
def triage(alert: str, session: Signed, deps: Parts, state: Annotated[AlertState, Form()]) -> Response:
    """Note what was made of an alert."""
    if not set_state(deps.state, alert, state, by=session.account, at=deps.journal.stamp().at):
        raise NotFound("There is no such alert.")
    return see(f"/alerts/{quote(alert, safe='')}?done=noted")


@router.get("/containments")
def containments(request: Request, deps: Parts) -> HTMLResponse:
    """What is contained, and the form to contain."""
    return _containments(
        request, deps, {"target_type": "principal", "target": "", "reason": "", "seconds": "900", "alert": ""}
    )


@router.post("/containments")
def contain(
    request: Request,
    session: Signed,
    deps: Parts,
    target_type: Annotated[TargetType, Form()],
    target: Text = "",
    reason: Text = "",
    seconds: Annotated[int, Form()] = 0,
    alert: Text = "",
) -> Response:
    """Isolate a principal or an endpoint."""
    try:
        made = deps.operations.contain(
            target_type, target.strip(), seconds=seconds, reason=reason, owner=session.account, alert=alert
        )
    except ConsoleError as error:
        form = {"target_type": target_type, "target": target, "reason": reason, "seconds": str(seconds), "alert": alert}
        return _containments(request, deps, form, error)
    return see(f"/containments/{made}?done=contained")


@router.get("/containments/{containment}")
def containment(containment: str, request: Request, deps: Parts) -> HTMLResponse:
    """One containment: why, until when, and how it ended or can be ended."""
    return _containment(request, deps, containment, "")


@router.post("/containments/{containment}/release")
def release(containment: str, request: Request, session: Signed, deps: Parts, reason: Text = "") -> Response:
    """End a containment."""
    try:
        deps.operations.release(containment, reason=reason, by=session.account)
    except ConsoleError as error:
        return _containment(request, deps, containment, reason, error)
    return see(f"/containments/{quote(containment, safe='')}?done=released")


def _part(deps: Deps, part: str) -> dict[str, Any]:
    """What one part of the overview shows."""
    if part == "alerts":
        return {"alerts": list_alerts(deps.state, limit=SHOWN_ALERTS, state="open")}
    if part == "containments":
        return {"containments": deps.operations.in_force()}
    if part == "calls":
        found = newest(deps.reader, Filter(), before=None, limit=SHOWN_CALLS, scan=deps.settings.scan)
        return {"calls": found.calls}
    waiting = list_alerts(deps.state, limit=MOST_OPEN, state="open")
    return {
        "log": log_state(deps),
        "writable": deps.journal.writable,
        "processes": processes(deps),
        "deliveries": deliveries(deps),
        "open_alerts": len(waiting),
        "grave": sum(one.severity in {"high", "critical"} for one in waiting),
        "contained": len(deps.operations.in_force()),
    }


def _containments(
    request: Request, deps: Deps, form: dict[str, str], error: ConsoleError | None = None
) -> HTMLResponse:
    targets = sorted({endpoint for endpoints in deps.facts.routes.values() for endpoint in endpoints})
    targets += sorted({f"{key.tenant}/{key.name}" for key in deps.operations.live_keys() if key.kind == "caller"})
    return pages(request).page(
        request,
        "containments.html",
        status=error.status if error else 200,
        error=error,
        containments=deps.operations.in_force(),
        form=form,
        targets=targets,
    )


def _containment(
    request: Request, deps: Deps, containment: str, reason: str, error: ConsoleError | None = None
) -> HTMLResponse:
    story = deps.operations.story(containment)
    return pages(request).page(
        request,
        "containment.html",
        status=error.status if error else 200,
        error=error,
        held=story.containment,
        over=story.over,
        ended=story.ended,
        ended_index=story.ended_index,
        reason=reason,
    )


def see(address: str) -> RedirectResponse:
    """Send the browser on after something was done, so that a reload does not do it again."""
    return RedirectResponse(address, status_code=303)


def _pretty(record: dict[str, Any]) -> str:
    return orjson.dumps(record, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode()
