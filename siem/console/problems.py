"""Errors as answers: `application/problem+json` (RFC 9457) for programs, a page for people."""

from __future__ import annotations

from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lineage.errors import LineageError
from siem.console.errors import ConsoleError, Unavailable

log = structlog.get_logger("cordon.console")

AWAY: Final = (LineageError, SQLAlchemyError)
"""What is raised while the log or the state database is away."""
MEDIA_TYPE = "application/problem+json"


def problem(error: ConsoleError) -> Response:
    """The answer to a program: type, title, status, detail and, where one is to blame, the request's field."""
    body: dict[str, object] = {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
    }
    if error.field:
        body["field"] = error.field
    return JSONResponse(body, status_code=error.status, headers=error.headers, media_type=MEDIA_TYPE)


def wants_page(request: Request) -> bool:
    """Whether a person at a browser asked, rather than a program."""
    path: str = request.url.path
    return not path.startswith(("/api/", "/log/")) and "text/html" in request.headers.get("accept", "")


def unavailable(error: Exception) -> Unavailable:
    """What is said of a log or a state database that is away; the server's own log says what lies inside.

    The cause comes without the statement's values, which may be secrets.
    """
    cause = str(getattr(error, "orig", None) or error).partition("\n")[0][:300]
    log.warning("a request could not be served", problem=type(error).__name__, detail=cause)
    return Unavailable("The log or the state database does not answer; nothing was changed. Try again in a moment.")
