"""Who may ask for what: one closed table, and the one check that every route passes before its body is read.

1. The route is in `ACCESS`; one that is not cannot be built.
2. OPEN routes are anybody's. READER routes take a reader token (looked up in the control state, so that a revoked
   one ends with its record) or a session that may view. All others need a session, and the permission noted here.
3. An unsafe method needs proof that the console's own page sent it: Fetch Metadata and Origin agree where the browser
   sends them, and the session's CSRF token comes along. Without a session (sign-in, one-time links) the browser must
   say so itself, or the body must be JSON, which other sites cannot send unasked.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Coroutine, Mapping
from enum import Enum
from typing import Annotated, Any, Final

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from lineage.actions import KEY_PREFIX, key_digest
from lineage.clock import latest
from siem.console.deps import Deps
from siem.console.errors import Forbidden, NotSignedIn
from siem.console.roles import Permission
from siem.console.sessions import Session

SAFE: Final = frozenset({"GET", "HEAD"})
CSRF_HEADER: Final = "x-csrf-token"
CSRF_FIELD: Final = "csrf"
FORM: Final = "application/x-www-form-urlencoded"
UPLOAD: Final = "multipart/form-data"
UPLOADS: Final = frozenset({"/policy"})
"""The paths of forms that come with a file; in no other is a token looked for in a form of that type."""
LONGEST_TOKEN: Final = 512
LIVE: Final = "/live/{part}"
SAME_FOR_ALL: Final = frozenset({"/healthz", "/readyz", "/log/checkpoint", "/log/vkey", "/static/{name:path}"})
"""Whose session it is makes no difference: these are answered while the state database is away."""


class Entry(Enum):
    """What is asked of a request besides permissions."""

    OPEN = "anybody"
    READER = "a reader token, or a session that may view"
    SESSION = "any session"


ACCESS: Final[Mapping[tuple[str, str], Entry | Permission]] = {
    ("GET", "/healthz"): Entry.OPEN,
    ("GET", "/readyz"): Entry.OPEN,
    ("GET", "/log/checkpoint"): Entry.OPEN,
    ("GET", "/log/vkey"): Entry.OPEN,
    ("GET", "/static/{name:path}"): Entry.OPEN,
    ("GET", "/errors"): Entry.OPEN,
    ("GET", "/errors/{code}"): Entry.OPEN,
    ("GET", "/sign-in"): Entry.OPEN,
    ("POST", "/sign-in"): Entry.OPEN,
    ("GET", "/invitation/{token}"): Entry.OPEN,
    ("POST", "/invitation/{token}"): Entry.OPEN,
    ("POST", "/api/v1/session"): Entry.OPEN,
    ("GET", "/metrics"): Entry.READER,
    ("GET", "/log/tile/{path:path}"): Entry.READER,
    ("GET", "/log/proof/{index}"): Entry.READER,
    ("POST", "/sign-out"): Entry.SESSION,
    ("GET", "/api/v1/session"): Entry.SESSION,
    ("DELETE", "/api/v1/session"): Entry.SESSION,
    ("GET", "/api/v1/openapi.json"): Entry.SESSION,
    ("GET", "/account"): Entry.SESSION,
    ("POST", "/account/password"): Entry.SESSION,
    ("GET", "/"): Permission.VIEW,
    ("GET", LIVE): Permission.VIEW,
    ("GET", "/calls"): Permission.VIEW,
    ("GET", "/calls/{call}"): Permission.VIEW,
    ("GET", "/records/{index}"): Permission.VIEW,
    ("GET", "/alerts"): Permission.VIEW,
    ("GET", "/alerts/{alert}"): Permission.VIEW,
    ("POST", "/alerts/{alert}"): Permission.TRIAGE,
    ("GET", "/containments"): Permission.VIEW,
    ("POST", "/containments"): Permission.CONTAIN,
    ("GET", "/containments/{containment}"): Permission.VIEW,
    ("POST", "/containments/{containment}/release"): Permission.RELEASE,
    ("GET", "/policy"): Permission.VIEW,
    ("POST", "/policy"): Permission.PROPOSE,
    ("GET", "/policy/playground"): Permission.TRY,
    ("POST", "/policy/playground"): Permission.TRY,
    ("POST", "/policy/playground/proposal"): Permission.PROPOSE,
    ("GET", "/policy/{rollout}"): Permission.VIEW,
    ("POST", "/policy/{rollout}/approve"): Permission.APPROVE,
    ("POST", "/policy/{rollout}/stage"): Permission.ROLLOUT,
    ("POST", "/policy/{rollout}/withdraw"): Permission.ROLLOUT,
    ("GET", "/keys"): Permission.KEYS,
    ("POST", "/keys"): Permission.KEYS,
    ("POST", "/keys/{key}/revoke"): Permission.KEYS,
    ("GET", "/accounts"): Permission.ACCOUNTS,
    ("POST", "/accounts"): Permission.ACCOUNTS,
    ("POST", "/accounts/{account}"): Permission.ACCOUNTS,
    ("GET", "/api/v1/status"): Permission.VIEW,
    ("GET", "/api/v1/calls"): Permission.VIEW,
    ("GET", "/api/v1/calls/{call}"): Permission.VIEW,
    ("GET", "/api/v1/records/{index}"): Permission.VIEW,
    ("GET", "/api/v1/alerts"): Permission.VIEW,
    ("GET", "/api/v1/alerts/{alert}"): Permission.VIEW,
    ("PATCH", "/api/v1/alerts/{alert}"): Permission.TRIAGE,
    ("GET", "/api/v1/containments"): Permission.VIEW,
    ("POST", "/api/v1/containments"): Permission.CONTAIN,
    ("POST", "/api/v1/containments/{containment}/release"): Permission.RELEASE,
    ("POST", "/api/v1/policy/trial"): Permission.TRY,
    ("GET", "/api/v1/policy/rollouts"): Permission.VIEW,
    ("POST", "/api/v1/policy/rollouts"): Permission.PROPOSE,
    ("GET", "/api/v1/policy/rollouts/{rollout}"): Permission.VIEW,
    ("POST", "/api/v1/policy/rollouts/{rollout}/approve"): Permission.APPROVE,
    ("POST", "/api/v1/policy/rollouts/{rollout}/stage"): Permission.ROLLOUT,
    ("POST", "/api/v1/policy/rollouts/{rollout}/withdraw"): Permission.ROLLOUT,
    ("GET", "/api/v1/keys"): Permission.KEYS,
    ("POST", "/api/v1/keys"): Permission.KEYS,
    ("DELETE", "/api/v1/keys/{key}"): Permission.KEYS,
    ("GET", "/api/v1/tenants"): Permission.KEYS,
    ("GET", "/api/v1/accounts"): Permission.ACCOUNTS,
    ("POST", "/api/v1/accounts"): Permission.ACCOUNTS,
    ("PATCH", "/api/v1/accounts/{account}"): Permission.ACCOUNTS,
}


class GuardedRoute(APIRoute):
    """A route that is in `ACCESS` and that nobody gets through without passing `admit`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with the check in front of it; it runs before the body is parsed."""
        inner = super().get_route_handler()
        wanted = {method: ACCESS[method, self.path] for method in self.methods or ()}

        async def handler(request: Request) -> Response:
            await admit(request, self.path, wanted[request.method])
            return await inner(request)

        return handler


async def admit(request: Request, path: str, wanted: Entry | Permission) -> None:
    """Let the request through, or raise why not. `request.state.session` is its session, None where there is none."""
    request.state.session = None
    deps: Deps = request.app.state.deps
    unsafe = request.method not in SAFE
    if unsafe:
        _check_origin(request, deps)
    token = session_token(request, deps)
    # A page that refreshes itself does not keep its session from ending.
    active = path != LIVE
    asked = bool(token) and path not in SAME_FOR_ALL
    session = await run_in_threadpool(deps.sessions.find, token, active=active) if asked else None
    request.state.session = session
    if wanted is Entry.OPEN:
        if unsafe:
            _check_intended(request)
        return
    if wanted is Entry.READER:
        viewer = session is not None and session.may(Permission.VIEW)
        if not viewer and not reader(request, deps) and not (path == "/metrics" and deps.settings.unsafe_open_metrics):
            raise NotSignedIn(
                "Send a reader token as 'Authorization: Bearer cordonr_…' (cordon key create), or sign in.",
                headers={"www-authenticate": "Bearer"},
            )
        return
    if session is None:
        raise NotSignedIn("Sign in first: there is no session, or it has ended.")
    # Before the CSRF token: that may stand in the body, which is read only from who may send one.
    if isinstance(wanted, Permission) and not session.may(wanted):
        raise Forbidden(f"Your roles ({', '.join(session.roles)}) do not let you {wanted.value}. Ask an admin.")
    if unsafe:
        await _check_csrf(request, session, path)


def session_token(request: Request, deps: Deps) -> str:
    """The session cookie's value; empty where there is none, or more than one (a neighbour planted another)."""
    wanted = cookie_name(deps)
    values = [
        value.strip()
        for header in request.headers.getlist("cookie")
        for name, _, value in (part.partition("=") for part in header.split(";"))
        if name.strip() == wanted
    ]
    return values[0] if len(values) == 1 else ""


def cookie_name(deps: Deps) -> str:
    """With TLS the name binds the cookie to this host (RFC 6265bis, 4.1.3.2); browsers refuse that name without TLS."""
    return "__Host-cordon" if deps.settings.secure else "cordon_console"


def _check_origin(request: Request, deps: Deps) -> None:
    """Refuse what a browser says another site has sent."""
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        raise Forbidden("The request comes from another site.")
    origin = request.headers.get("origin")
    if origin is None:
        return
    here = {f"{scheme}://{request.headers.get('host', '')}".lower() for scheme in ("http", "https")}
    if deps.settings.public_url:
        here.add(deps.settings.public_url.rstrip("/").lower())
    if origin.lower() not in here:
        raise Forbidden("The request's Origin is not this server.")


def reader(request: Request, deps: Deps) -> bool:
    """Whether the request bears a reader token that is in force."""
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    text = text.strip()
    if scheme.lower() != "bearer" or not text.startswith(KEY_PREFIX["reader"]) or len(text) > LONGEST_TOKEN:
        return False
    digest = key_digest(text)
    key = deps.journal.control.keys.get(digest)
    if key is None or key.kind != "reader" or not hmac.compare_digest(key.digest, digest):
        return False
    return key.expires is None or key.expires > latest()


def _check_intended(request: Request) -> None:
    said = "sec-fetch-site" in request.headers or "origin" in request.headers
    json = request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"
    if not said and not json:
        raise Forbidden("Send JSON, or the headers Origin or Sec-Fetch-Site, as browsers do.")


async def _check_csrf(request: Request, session: Session, path: str) -> None:
    token = request.headers.get(CSRF_HEADER)
    if token is None:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == FORM or (kind == UPLOAD and path in UPLOADS):
            # The route gets the same form: it is read once for each request.
            value = (await request.form(max_files=1, max_fields=16)).get(CSRF_FIELD)
            token = value if isinstance(value, str) else None
    if token is None or not hmac.compare_digest(token.encode("utf-8", "surrogatepass"), session.csrf.encode()):
        raise Forbidden(
            f"The request lacks the session's CSRF token (header {CSRF_HEADER}). Reload the page and try again."
        )


def session_of(request: Request) -> Session:
    """The request's session; `NotSignedIn` where there is none."""
    session: Session | None = request.state.session
    if session is None:
        raise NotSignedIn("Sign in first.")
    return session


Signed = Annotated[Session, Depends(session_of)]
"""A route's parameter that receives the operator's session."""
