"""The pages for admins: API keys and operator accounts. What is secret is shown once, in the answer that made it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse

from lineage.actions import KeyKind
from siem.console.access import GuardedRoute, Signed
from siem.console.api import check_tenant
from siem.console.deps import Deps, Parts
from siem.console.errors import ConsoleError
from siem.console.operations import NewKey
from siem.console.render import pages
from siem.console.watch_pages import see

router = APIRouter(include_in_schema=False, route_class=GuardedRoute)

DAY_MS = 86_400_000
FRESH: Final[Mapping[str, object]] = {"account": "", "roles": ("viewer",)}
Text = Annotated[str, Form(max_length=600)]
Roles = Annotated[list[str], Form(max_length=16)]


@router.get("/keys")
def keys(request: Request, deps: Parts) -> HTMLResponse:
    """Keys in force, and the form to make one."""
    return _keys(request, deps, {"tenant": "", "name": "", "roles": "", "kind": "caller", "days": "90"})


@router.post("/keys")
def create_key(
    request: Request,
    session: Signed,
    deps: Parts,
    tenant: Text = "",
    name: Text = "",
    roles: Text = "",
    kind: Annotated[KeyKind, Form()] = "caller",
    days: Annotated[int, Form(ge=0, le=3_660)] = 90,
) -> HTMLResponse:
    """Make a key and show its text."""
    form = {"tenant": tenant, "name": name, "roles": roles, "kind": kind, "days": str(days)}
    expires = deps.journal.stamp().at + days * DAY_MS if days else None
    try:
        check_tenant(deps, tenant)
        made = deps.operations.create_key(
            name=name.strip(), tenant=tenant, roles=roles.split(), kind=kind, expires=expires, by=session.account
        )
    except ConsoleError as error:
        return _keys(request, deps, form, error=error)
    return _keys(request, deps, form | {"name": "", "roles": ""}, made=made, owner=f"{tenant}/{name.strip()}")


@router.post("/keys/{key}/revoke")
def revoke_key(key: str, request: Request, session: Signed, deps: Parts) -> Response:
    """Revoke a key."""
    deps.operations.revoke_key(key, by=session.account)
    return see("/keys?done=revoked")


@router.get("/accounts")
def accounts(request: Request, deps: Parts) -> HTMLResponse:
    """Operators, links that are still open, and the form to invite."""
    return _accounts(request, deps)


@router.post("/accounts")
def invite(
    request: Request,
    session: Signed,
    deps: Parts,
    account: Text = "",
    roles: Roles = [],  # noqa: B006
) -> HTMLResponse:
    """Make a one-time link for somebody new."""
    name = account.strip()
    try:
        token = deps.accounts.invite(name, roles, session.account)
    except ConsoleError as error:
        return _accounts(request, deps, {"account": name, "roles": roles}, error=error)
    return _accounts(request, deps, link=_link(request, deps, token), owner=name)


@router.post("/accounts/{account}")
def change_account(
    account: str,
    request: Request,
    session: Signed,
    deps: Parts,
    change: Annotated[Literal["roles", "disable", "enable", "reset"], Form()],
    roles: Roles = [],  # noqa: B006
) -> Response:
    """Change one account."""
    try:
        if change == "reset":
            token = deps.accounts.reset_link(account, session.account)
            return _accounts(request, deps, link=_link(request, deps, token), owner=account)
        if change == "roles":
            deps.accounts.change_roles(account, roles, session.account)
        elif change == "disable":
            deps.accounts.disable(account, session.account)
        else:
            deps.accounts.enable(account, session.account)
    except ConsoleError as error:
        return _accounts(request, deps, error=error)
    return see("/accounts?done=changed")


def _keys(
    request: Request,
    deps: Deps,
    form: dict[str, str],
    *,
    made: NewKey | None = None,
    owner: str = "",
    error: ConsoleError | None = None,
) -> HTMLResponse:
    return pages(request).page(
        request,
        "keys.html",
        status=error.status if error else 200,
        error=error,
        made=made,
        owner=owner,
        form=form,
        keys=deps.operations.live_keys(),
        tenants=deps.operations.tenants(deps.facts.tenants),
        facts=deps.facts,
    )


def _accounts(
    request: Request,
    deps: Deps,
    form: Mapping[str, object] = FRESH,
    *,
    link: str = "",
    owner: str = "",
    error: ConsoleError | None = None,
) -> HTMLResponse:
    return pages(request).page(
        request,
        "accounts.html",
        status=error.status if error else 200,
        error=error,
        link=link,
        owner=owner,
        hours=f"{deps.settings.invitation_hours:g}",
        form=form,
        accounts=deps.accounts.all(),
        invitations=deps.accounts.open_invitations(),
    )


def _link(request: Request, deps: Deps, token: str) -> str:
    base = deps.settings.public_url.rstrip("/") or f"{request.url.scheme}://{request.headers['host']}"
    return f"{base}/invitation/{token}"
