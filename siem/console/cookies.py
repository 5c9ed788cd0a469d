"""The session cookie: unreadable to scripts, never sent by other sites, and bound to this host where there is TLS."""

from __future__ import annotations

from starlette.responses import Response

from siem.console.access import cookie_name
from siem.console.deps import Deps


def set_session(response: Response, deps: Deps, token: str) -> None:
    """Give the browser a new session; whatever it held before is overwritten."""
    response.set_cookie(
        cookie_name(deps),
        token,
        max_age=deps.sessions.longest_ms // 1000,
        path="/",
        secure=deps.settings.secure,
        httponly=True,
        samesite="strict",
    )


def clear_session(response: Response, deps: Deps) -> None:
    """Take the cookie away."""
    response.delete_cookie(cookie_name(deps), path="/", secure=deps.settings.secure, httponly=True, samesite="strict")
