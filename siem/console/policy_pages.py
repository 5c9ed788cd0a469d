"""The pages for rolling out policy bundles: all roll-outs, and one with what it changes and the moves that it can make.

Each form does what the API's call of the same kind does, and shows what could not be done.
"""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import quote

from fastapi import APIRouter, Form, Request, Response, UploadFile
from fastapi.responses import HTMLResponse

from lineage.rollouts import Rollout, live, same_person
from policies.shadow_counts import Counts
from siem.console.access import GuardedRoute, Signed, session_of
from siem.console.api import check_tenant, tenants_to_choose
from siem.console.deps import Deps, Parts
from siem.console.errors import ConsoleError, Invalid
from siem.console.render import pages
from siem.console.schemas import Stage
from siem.console.watch_pages import see

router = APIRouter(include_in_schema=False, route_class=GuardedRoute)

SHARES: Final = ((10, "1 %"), (50, "5 %"), (100, "10 %"), (250, "25 %"), (500, "50 %"))
"""Parts of the calls that the form offers for a canary, in thousandths; the API and the command take any."""
Text = Annotated[str, Form(max_length=600)]


@router.get("/policy")
def policy(request: Request, deps: Parts) -> HTMLResponse:
    """Every roll-out, and the form to propose another one."""
    return _policy(request, deps)


@router.post("/policy")
def propose(
    request: Request, session: Signed, deps: Parts, archive: UploadFile, tenant: Text = "", note: Text = ""
) -> Response:
    """Propose an archive."""
    try:
        if tenant:
            check_tenant(deps, tenant)
        made = deps.proposals.propose(archive.file.read(), tenant=tenant, note=note, by=session.account)
    except ConsoleError as error:
        return _policy(request, deps, error)
    return see(f"/policy/{quote(made.id, safe='')}?done=proposed")


@router.get("/policy/{rollout}")
def rollout(rollout: str, request: Request, deps: Parts) -> HTMLResponse:
    """One roll-out."""
    return _rollout(request, deps, deps.rollouts.one(rollout))


@router.post("/policy/{rollout}/approve")
def approve(rollout: str, request: Request, session: Signed, deps: Parts, digest: Text = "") -> Response:
    """Approve the bundle that was shown."""
    try:
        deps.rollouts.approve(rollout, digest=digest, by=session.account)
    except ConsoleError as error:
        return _rollout(request, deps, deps.rollouts.one(rollout), error)
    return see(f"/policy/{quote(rollout, safe='')}?done=approved")


@router.post("/policy/{rollout}/stage")
def stage(
    rollout: str, request: Request, session: Signed, deps: Parts, stage: Annotated[Stage, Form()], part: Text = ""
) -> Response:
    """Bring it to a stage; `part` says which calls a canary decides: share:THOUSANDTHS or tenant:ID."""
    try:
        share, tenants = _part(deps, part) if stage == "canary" else (0, [])
        deps.rollouts.stage(rollout, stage, share=share, tenants=tenants, by=session.account)
    except ConsoleError as error:
        return _rollout(request, deps, deps.rollouts.one(rollout), error)
    return see(f"/policy/{quote(rollout, safe='')}?done=moved")


@router.post("/policy/{rollout}/withdraw")
def withdraw(rollout: str, request: Request, session: Signed, deps: Parts, reason: Text = "") -> Response:
    """Take it away."""
    try:
        deps.rollouts.withdraw(rollout, reason=reason, by=session.account)
    except ConsoleError as error:
        return _rollout(request, deps, deps.rollouts.one(rollout), error)
    return see("/policy?done=withdrawn")


def _part(deps: Deps, part: str) -> tuple[int, list[str]]:
    kind, _, value = part.partition(":")
    if kind == "tenant":
        check_tenant(deps, value)
        return 0, [value]
    if kind == "share" and value.isascii() and value.isdigit() and len(value) <= 4:
        return int(value), []
    raise Invalid("Choose which calls the canary decides.", field="part")


def _policy(request: Request, deps: Deps, error: ConsoleError | None = None) -> HTMLResponse:
    return pages(request).page(
        request,
        "policy.html",
        status=error.status if error else 200,
        error=error,
        rollouts=deps.rollouts.all(),
        counts=deps.rollouts.counts(),
        force=deps.rollouts.in_force(),
        tenants=tenants_to_choose(deps),
        limit=deps.settings.archive_limit,
    )


def _rollout(request: Request, deps: Deps, found: Rollout, error: ConsoleError | None = None) -> HTMLResponse:
    return pages(request).page(
        request,
        "rollout.html",
        status=error.status if error else 200,
        error=error,
        rollout=found,
        counts=deps.rollouts.counts().get(found.id, Counts()),
        force=deps.rollouts.in_force(),
        of_tenant=live(deps.journal.control.rollouts, found.scope) if found.scope else None,
        own=same_person(session_of(request).account, found.author),
        compared=deps.rollouts.compare(found),
        shares=SHARES,
        tenants=[] if found.scope else tenants_to_choose(deps),
    )
