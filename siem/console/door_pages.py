"""The pages by which people come in and go out: sign-in, one-time links, sign-out, the own password."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse

from siem.console.access import GuardedRoute, Signed, session_token
from siem.console.cookies import clear_session, set_session
from siem.console.deps import Deps, Parts
from siem.console.errors import ConsoleError
from siem.console.problems import AWAY, unavailable
from siem.console.render import pages
from siem.console.watch_pages import see

router = APIRouter(include_in_schema=False, route_class=GuardedRoute)

Name = Annotated[str, Form(max_length=63)]
Password = Annotated[str, Form(max_length=256)]
_PLACE: Final = re.compile(r"/(?:[A-Za-z0-9._~%-]+(?:/[A-Za-z0-9._~%-]+)*)?(?:\?[A-Za-z0-9._~%=&+-]*)?")


@router.get("/sign-in")
def sign_in_page(request: Request, deps: Parts) -> HTMLResponse:
    """The door."""
    return door(request, deps, to="/")


@router.post("/sign-in")
def sign_in(
    request: Request, deps: Parts, account: Name = "", password: Password = "", to: Annotated[str, Form()] = ""
) -> Response:
    """Begin a session, always a new one, and go on to the page that was asked for."""
    try:
        token = deps.sign_in.sign_in(account, password, request.client.host if request.client else "")
    except ConsoleError as error:
        return door(request, deps, to=to, account=account, error=error)
    except AWAY as error:
        return door(request, deps, to=to, account=account, error=unavailable(error))
    response = see(local(to))
    set_session(response, deps, token)
    return response


@router.post("/sign-out")
def sign_out(request: Request, session: Signed, deps: Parts) -> Response:
    """End the session, here and in the database."""
    deps.sessions.end(session_token(request, deps))
    response = see("/sign-in?done=signed-out")
    clear_session(response, deps)
    return response


@router.get("/invitation/{token}")
def invitation_page(token: str, request: Request, deps: Parts) -> HTMLResponse:
    """What a one-time link opens. Looking does not use it up, so that a mail scanner cannot."""
    return _invitation(request, deps, token, "")


@router.post("/invitation/{token}")
def accept(token: str, request: Request, deps: Parts, account: Name = "", password: Password = "") -> Response:
    """Use a one-time link up."""
    try:
        deps.accounts.accept(token, account, password)
    except ConsoleError as error:
        return _invitation(request, deps, token, account, error)
    return see("/sign-in?done=joined")


@router.get("/account")
def account_page(request: Request, session: Signed) -> HTMLResponse:
    """The own account."""
    return pages(request).page(request, "account.html")


@router.post("/account/password")
def change_password(
    request: Request, session: Signed, deps: Parts, old_password: Password = "", password: Password = ""
) -> Response:
    """Choose another password; all sessions of the account end."""
    try:
        deps.sign_in.change_password(session.account, old_password, password)
    except ConsoleError as error:
        return pages(request).page(request, "account.html", status=error.status, error=error)
    response = see("/sign-in?done=password")
    clear_session(response, deps)
    return response


def door(
    request: Request, deps: Deps, *, to: str, account: str = "", error: ConsoleError | None = None
) -> HTMLResponse:
    """The sign-in form; `to` is the page to go on to."""
    fresh = False
    try:
        fresh = not deps.accounts.any()
    except AWAY as lost:
        error = unavailable(lost)
    return pages(request).page(
        request,
        "sign_in.html",
        status=error.status if error else 200,
        error=error,
        to=local(to),
        account=account,
        fresh=fresh,
    )


def local(address: str) -> str:
    """The address if it is a plain path on this server, the overview otherwise: sign-in sends nobody elsewhere."""
    return address if len(address) <= 500 and _PLACE.fullmatch(address) else "/"


def _invitation(
    request: Request, deps: Deps, token: str, account: str, error: ConsoleError | None = None
) -> HTMLResponse:
    invitation = None
    try:
        invitation = deps.accounts.invitation(token)
    except ConsoleError as gone:
        error = error or gone
    return pages(request).page(
        request,
        "invitation.html",
        status=error.status if error else 200,
        error=error,
        invitation=invitation,
        token=token,
        account=account,
    )
