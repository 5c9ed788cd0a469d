"""Errors as answers: `application/problem+json` (RFC 9457) for programs, a page for people."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from siem.console.errors import ConsoleError

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
