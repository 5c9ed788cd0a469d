"""Pages: templates filled in, with everything escaped.

What a page shows comes from the log, and what stands in the log was often chosen by an attacker. So escaping is always
on, nothing is ever marked as safe, and a name that a template does not get is an error instead of an empty text.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from siem.console.access import CSRF_FIELD
from siem.console.roles import ROLES, Permission

LONGEST_SHOWN: Final = 2_000
HERE: Final = Path(__file__).parent
STATIC: Final[Mapping[str, str]] = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "mark.svg": "image/svg+xml",
    "vendor/htmx/htmx.min.js": "text/javascript; charset=utf-8",
    "vendor/htmx/LICENSE": "text/plain; charset=utf-8",
}
"""Every file that is served as it is, with its type; a path that is not here does not exist."""

DONE: Final[Mapping[str, str]] = {
    "contained": "Contained. The next call is refused, live streams are cut.",
    "released": "Released. The next call is let through again.",
    "noted": "Noted.",
    "proposed": "Proposed as a draft. Before it may decide calls, somebody else approves it.",
    "approved": "Approved. It may decide calls.",
    "moved": "Moved. Every worker follows from the next call on.",
    "withdrawn": "Withdrawn.",
    "revoked": "Revoked. The key is refused from now on.",
    "changed": "Changed.",
    "joined": "Your account is ready. Sign in.",
    "password": "Your password is changed. Sign in with the new one.",
    "signed-out": "You are signed out.",
}
"""What a page says after something was done; the address carries only the key."""


class Pages:
    """The templates of the console."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(moment=moment, clock=clock, left=left, grouped=grouped, clipped=clipped)
        self._environment.globals.update(version=_version(), Permission=Permission, roles=ROLES, csrf_field=CSRF_FIELD)

    def page(self, request: Request, name: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """A whole page; `session` and the message about what was just done are there for each."""
        values.setdefault("error", None)
        done = DONE.get(request.query_params.get("done", ""), "")
        text = self._environment.get_template(name).render(
            session=getattr(request.state, "session", None),
            section=request.url.path.split("/")[1],
            done=done,
            now=time.time_ns() // 1_000_000,
            **values,
        )
        return HTMLResponse(text, status_code=status)

    def part(self, name: str, **values: Any) -> tuple[str, str]:
        """A part of a page that refreshes itself, and a short digest that tells whether it has changed."""
        text = self._environment.get_template(name).render(now=time.time_ns() // 1_000_000, **values)
        return text, hashlib.sha256(text.encode()).hexdigest()[:16]


def pages(request: Request) -> Pages:
    """The application's templates."""
    found: Pages = request.app.state.pages
    return found


def moment(at: int) -> str:
    """Date and time of day, UTC: 2026-01-31 14:05:09."""
    return _utc(at).strftime("%Y-%m-%d %H:%M:%S")


def clock(at: int, now: int) -> str:
    """Time of day where it is today, UTC: 14:05:09; the day and the minute otherwise: 01-31 14:05."""
    then = _utc(at)
    return then.strftime("%H:%M:%S" if then.date() == _utc(now).date() else "%m-%d %H:%M")


def left(until: int, now: int) -> str:
    """How long until then, in words that do not change more often than they must."""
    seconds = max(0, -(-(until - now) // 1000))
    if seconds <= 60:
        return "less than a minute"
    minutes, hours = -(-seconds // 60), -(-seconds // 3600)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return _both(minutes // 60, "h", minutes % 60, "min")
    return _both(hours // 24, "days", hours % 24, "h")


def clipped(value: object) -> str:
    """A text, or any other value as JSON, cut where it is longer than `LONGEST_SHOWN` characters."""
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…"


def grouped(number: int) -> str:
    """12345678 as 12 345 678, with narrow no-break spaces."""
    return f"{number:,}".replace(",", "\u202f")


def static_bytes() -> dict[str, bytes]:
    """The contents of every static file, read once."""
    return {name: (HERE / "static" / name).read_bytes() for name in STATIC}


def _version() -> str:
    """Changes with any static file, so that browsers fetch the new one."""
    digest = hashlib.sha256()
    for data in static_bytes().values():
        digest.update(data)
    return digest.hexdigest()[:12]


def _both(more: int, unit: str, rest: int, part: str) -> str:
    return f"{more} {unit} {rest} {part}" if rest else f"{more} {unit}"


def _utc(at: int) -> datetime:
    """The moment; what no calendar has is shown as its beginning."""
    return datetime.fromtimestamp(at / 1000 if 0 <= at < 253_402_300_800_000 else 0, UTC)
