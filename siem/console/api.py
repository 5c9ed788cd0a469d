"""The admin API under /api/v1: what the console's pages do, for programs. Described by /api/v1/openapi.json.

Handlers run in threads (plain functions), since they read files and wait for the log. `access` says who may call which.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response
from fastapi.responses import JSONResponse

from detectors.alerts import AlertState, find_alert, list_alerts, set_state
from lineage.actions import LONGEST_TEXT
from lineage.errors import RecordError
from lineage.rollouts import Rollout
from siem.console import schemas as s
from siem.console.access import GuardedRoute, Signed, session_token
from siem.console.calls import Filter, Verdict, newest, record_at, records_of
from siem.console.cookies import clear_session, set_session
from siem.console.deps import Deps, Parts
from siem.console.errors import Invalid, NotFound, NotSignedIn
from siem.console.status import deliveries, log_state, processes

PREFIX = "/api/v1"
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": s.Problem, "description": description}
    for status, description in (
        (401, "No session"),
        (403, "Not allowed"),
        (404, "Not found"),
        (409, "Conflict"),
        (413, "Too large"),
        (422, "Invalid request"),
        (429, "Too many attempts"),
        (503, "The log is away; nothing was changed"),
    )
}

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute, responses=PROBLEMS)

Limit = Annotated[int, Query(ge=1, le=500)]
Before = Annotated[int | None, Query(ge=0, description="log index; only what is older")]
Text = Annotated[str, Query(max_length=127)]
Note = Annotated[str, Query(max_length=LONGEST_TEXT, description="what it changes, in a few words; the log keeps it")]
Archive = Annotated[bytes, Body(media_type="application/gzip", description="as `tar -cz` or `opa build` makes it")]


@router.get("/openapi.json", include_in_schema=False)
def openapi(request: Request) -> JSONResponse:
    """This description."""
    return JSONResponse(request.app.openapi())


@router.post("/session", status_code=201, tags=["session"])
def sign_in(asked: s.Credentials, request: Request, response: Response, deps: Parts) -> s.SessionState:
    """Sign in; the answer sets the session cookie and holds the CSRF token."""
    token = deps.sign_in.sign_in(asked.account, asked.password, request.client.host if request.client else "")
    set_session(response, deps, token)
    session = deps.sessions.find(token, active=True)
    if session is None:
        raise NotSignedIn("The account was changed just now; sign in again.")
    return s.SessionState.model_validate(session)


@router.get("/session", tags=["session"])
def session_state(session: Signed) -> s.SessionState:
    """Who is signed in."""
    return s.SessionState.model_validate(session)


@router.delete("/session", status_code=204, tags=["session"])
def sign_out(request: Request, response: Response, deps: Parts) -> None:
    """Sign out."""
    deps.sessions.end(session_token(request, deps))
    clear_session(response, deps)


@router.get("/status", tags=["status"])
def status(deps: Parts) -> s.Status:
    """The log, the processes, and how much is open."""
    log = log_state(deps)
    return s.Status(
        size=log.size,
        checkpoint_size=log.checkpoint,
        checkpoint_verified=log.verified,
        log_writable=deps.journal.writable,
        containments=len(deps.operations.in_force()),
        keys=len(deps.journal.control.keys),
        open_alerts=len(list_alerts(deps.state, limit=1_000, state="open")),
        processes=[s.ProcessItem.model_validate(process) for process in processes(deps)],
        decision_logs=[s.DeliveryItem.model_validate(each) for each in deliveries(deps)],
    )


@router.get("/calls", tags=["calls"])
def calls(
    deps: Parts,
    tenant: Text = "",
    principal: Text = "",
    route: Text = "",
    verdict: Verdict | None = None,
    before: Before = None,
    limit: Limit = 50,
) -> s.CallPage:
    """Calls that have ended, newest first. A page may be short or empty although older calls match: follow `before`."""
    wanted = Filter(tenant, principal, route, verdict or "")
    page = newest(deps.reader, wanted, before=before, limit=limit, scan=deps.settings.scan)
    return s.CallPage(calls=[s.CallSummary.model_validate(call) for call in page.calls], before=page.before)


@router.get("/calls/{call}", tags=["calls"])
def call_records(call: str, deps: Parts) -> list[s.LogRecord]:
    """All records of one call, in order."""
    try:
        found = records_of(deps.reader, call)
    except RecordError as error:
        raise NotFound("That is no call id: it has 26 digits and capital letters.") from error
    if not found:
        raise NotFound("The log has no such call.")
    return [s.LogRecord(index=index, record=record) for index, record in found]


@router.get("/records/{index}", tags=["calls"])
def record(index: int, deps: Parts) -> s.LogRecord:
    """One record of the log."""
    return s.LogRecord(index=index, record=record_at(deps.reader, deps.journal.control, index))


@router.get("/alerts", tags=["alerts"])
def alerts(
    deps: Parts, tenant: Text = "", state: AlertState | None = None, before: Before = None, limit: Limit = 100
) -> list[s.AlertItem]:
    """Alerts, newest first."""
    rows = list_alerts(deps.state, limit=limit, before=before, state=state, tenant=tenant)
    return [s.AlertItem.model_validate(row) for row in rows]


@router.get("/alerts/{alert}", tags=["alerts"])
def alert(alert: str, deps: Parts) -> s.AlertItem:
    """One alert."""
    row = find_alert(deps.state, alert)
    if row is None:
        raise NotFound("There is no such alert.")
    return s.AlertItem.model_validate(row)


@router.patch("/alerts/{alert}", tags=["alerts"])
def triage(alert: str, asked: s.AlertChange, session: Signed, deps: Parts) -> s.AlertItem:
    """Note what was made of an alert."""
    if not set_state(deps.state, alert, asked.state, by=session.account, at=deps.journal.stamp().at):
        raise NotFound("There is no such alert.")
    return s.AlertItem.model_validate(find_alert(deps.state, alert))


@router.get("/containments", tags=["containments"])
def containments(deps: Parts) -> list[s.ContainmentItem]:
    """Containments in force, newest first."""
    return [s.ContainmentItem.model_validate(held) for held in deps.operations.in_force()]


@router.post("/containments", status_code=201, tags=["containments"])
def contain(asked: s.ContainmentRequest, session: Signed, deps: Parts) -> s.Created:
    """Isolate a principal or an endpoint: its next call is refused, its live streams are cut."""
    made = deps.operations.contain(
        asked.target_type,
        asked.target,
        seconds=asked.seconds,
        reason=asked.reason,
        owner=session.account,
        alert=asked.alert,
    )
    return s.Created(id=made)


@router.post("/containments/{containment}/release", status_code=204, tags=["containments"])
def release(containment: str, asked: s.Release, session: Signed, deps: Parts) -> None:
    """End a containment before its time; 409 if it has ended already."""
    deps.operations.release(containment, reason=asked.reason, by=session.account)


@router.get("/policy/rollouts", tags=["policy"])
def rollouts(deps: Parts) -> list[s.RolloutItem]:
    """Policy bundles on their way, with what was counted in shadow."""
    return [_rollout(deps, each) for each in deps.rollouts.all()]


@router.post("/policy/rollouts", status_code=201, tags=["policy"])
def propose(archive: Archive, session: Signed, deps: Parts, tenant: Text = "", note: Note = "") -> s.Draft:
    """Propose a bundle, the body's .tar.gz, as a draft; it has to pass admission and its own tests.

    Takes seconds. `tenant` names whose own bundle it is to be, beside the common one. The author is who is signed in.
    """
    if tenant:
        check_tenant(deps, tenant)
    return s.Draft.model_validate(deps.proposals.propose(archive, tenant=tenant, note=note, by=session.account))


@router.get("/policy/rollouts/{rollout}", tags=["policy"])
def rollout(rollout: str, deps: Parts) -> s.RolloutDetail:
    """One of them, and what it changes."""
    found = deps.rollouts.one(rollout)
    compared = deps.rollouts.compare(found)
    files = [s.FileDifference.model_validate(each) for each in compared.files]
    return s.RolloutDetail(
        rollout=_rollout(deps, found),
        against=compared.against,
        files=files,
        added=compared.added,
        removed=compared.removed,
        problem=compared.problem,
    )


@router.post("/policy/rollouts/{rollout}/approve", status_code=204, tags=["policy"])
def approve(rollout: str, asked: s.Approval, session: Signed, deps: Parts) -> None:
    """Approve what somebody else proposed, so that it may decide calls; 409 where it is one's own."""
    deps.rollouts.approve(rollout, digest=asked.digest, by=session.account)


@router.post("/policy/rollouts/{rollout}/stage", status_code=204, tags=["policy"])
def stage(rollout: str, asked: s.StageRequest, session: Signed, deps: Parts) -> None:
    """Bring it to a stage; a live one goes back with `draft`. 409 where it cannot go there now."""
    for tenant in asked.tenants:
        check_tenant(deps, tenant)
    deps.rollouts.stage(rollout, asked.stage, share=asked.share, tenants=asked.tenants, by=session.account)


@router.post("/policy/rollouts/{rollout}/withdraw", status_code=204, tags=["policy"])
def withdraw(rollout: str, asked: s.Release, session: Signed, deps: Parts) -> None:
    """Take it away; a live one has to go back first."""
    deps.rollouts.withdraw(rollout, reason=asked.reason, by=session.account)


@router.get("/keys", tags=["keys"])
def keys(deps: Parts) -> list[s.KeyItem]:
    """Keys that have not been revoked."""
    return [s.KeyItem.model_validate(key) for key in deps.operations.live_keys()]


@router.post("/keys", status_code=201, tags=["keys"])
def create_key(asked: s.KeyRequest, session: Signed, deps: Parts) -> s.KeyCreated:
    """Make a key; its text is in this answer and nowhere else."""
    check_tenant(deps, asked.tenant)
    made = deps.operations.create_key(
        name=asked.name,
        tenant=asked.tenant,
        roles=asked.roles,
        kind=asked.kind,
        expires=asked.expires,
        by=session.account,
    )
    return s.KeyCreated.model_validate(made)


@router.delete("/keys/{key}", status_code=204, tags=["keys"])
def revoke_key(key: str, session: Signed, deps: Parts) -> None:
    """Revoke a key; it is refused from now on, by every worker."""
    deps.operations.revoke_key(key, by=session.account)


@router.get("/tenants", tags=["tenants"])
def tenants(deps: Parts) -> list[s.TenantItem]:
    """Tenants: configured ones, and erased ones, which stay so."""
    return [s.TenantItem.model_validate(tenant) for tenant in deps.operations.tenants(deps.facts.tenants)]


@router.get("/accounts", tags=["accounts"])
def accounts(deps: Parts) -> list[s.AccountItem]:
    """Operator accounts."""
    return [s.AccountItem.model_validate(account) for account in deps.accounts.all()]


@router.post("/accounts", status_code=201, tags=["accounts"])
def invite(asked: s.InvitationRequest, session: Signed, deps: Parts) -> s.Link:
    """Invite somebody, or let an account choose a new password; the answer holds the one-time link."""
    if asked.reset:
        token = deps.accounts.reset_link(asked.account, session.account)
    else:
        token = deps.accounts.invite(asked.account, asked.roles, session.account)
    return s.Link(link=f"/invitation/{token}")


@router.patch("/accounts/{account}", tags=["accounts"])
def change_account(account: str, asked: s.AccountChange, session: Signed, deps: Parts) -> s.AccountItem:
    """Change an account's roles, or disable or enable it."""
    if (asked.roles is None) == (asked.active is None):
        raise Invalid("Give either roles or active.")
    if asked.roles is not None:
        changed = deps.accounts.change_roles(account, asked.roles, session.account)
    elif asked.active:
        changed = deps.accounts.enable(account, session.account)
    else:
        changed = deps.accounts.disable(account, session.account)
    return s.AccountItem.model_validate(changed)


def _rollout(deps: Deps, rollout: Rollout) -> s.RolloutItem:
    item = s.RolloutItem.model_validate(rollout)
    counts = deps.rollouts.counts().get(rollout.id)
    if counts is None:
        return item
    told = {"compared": counts.compared, "skipped": counts.skipped, "differences": dict(counts.kinds)}
    return item.model_copy(update=told)


def check_tenant(deps: Deps, tenant: str) -> None:
    """Refuse a tenant that the configuration does not have: its key could never be used."""
    if tenant not in deps.facts.tenants:
        raise Invalid("There is no such tenant in the configuration.", field="tenant")
    if tenant in deps.journal.control.erased:
        raise Invalid("This tenant was erased; its id cannot be used again.", field="tenant")


def tenants_to_choose(deps: Deps) -> list[str]:
    """The tenants that `check_tenant` lets pass."""
    erased = deps.journal.control.erased
    return [each for each in deps.facts.tenants if each not in erased]
