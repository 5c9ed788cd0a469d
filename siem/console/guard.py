"""What every request passes before any route sees it, and what every answer carries.

1. The `Host` names this server (a page on a rebound DNS name cannot talk to it).
2. The body is bounded in bytes and in time.
3. Answers forbid foreign scripts, framing, sniffing and caching.

Who may ask for what is decided in `access`.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from pathlib import PurePath
from typing import Any, Final

import structlog

from siem.console.errors import ConsoleError, Misdirected, TooLarge, TooSlow
from siem.console.problems import problem
from siem.settings import Control

log = structlog.get_logger("cordon.console")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PROBES: Final = frozenset({"/healthz", "/readyz"})
"""A cluster asks for these by address, and they tell nothing."""
PROPOSALS: Final = frozenset({"/policy", "/api/v1/policy/rollouts"})
"""Where archives of bundles are sent to."""
ROUND_AN_ARCHIVE: Final = 8_192
"""Bytes of the form that an archive comes in."""

DISCARDED: Final = 1 << 20
"""Bytes behind the limit that are read and thrown away, so that the client gets to see the answer."""
DISCARD_SECONDS: Final = 2.0

HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # Not no-referrer: browsers then send `Origin: null` with the console's own forms.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=()"),
)


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: App, settings: Control) -> None:
        self._app = app
        self._hosts = settings.host_names
        self._limit = settings.body_limit
        self._archive = settings.archive_limit
        self._seconds = settings.request_seconds
        secure = ((b"strict-transport-security", b"max-age=31536000"),) if settings.secure else ()
        self._headers = (*HEADERS, *secure)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request. The server has no other protocol and no life-cycle events."""
        if scope["type"] != "http":
            raise RuntimeError("the console speaks HTTP only")
        answer = _Answer(send, self._headers)
        try:
            self._check_host(scope)
            limit = self._limit_of(scope)
            await self._check_length(scope, receive, limit)
            await self._app(scope, self._bounded(receive, limit), answer)
        except ConsoleError as error:
            await problem(error)(scope, receive, answer)
        except Exception as error:
            # Neither the message nor the address: both can hold what somebody sent.
            log.error("a request failed", fault=type(error).__name__, place=_place(error))
            if answer.begun:
                raise
            told = ConsoleError("Something went wrong in this server; its own log says where.")
            await problem(told)(scope, receive, answer)

    def _check_host(self, scope: Scope) -> None:
        if scope["path"] in PROBES:
            return
        named = [value for name, value in scope["headers"] if name == b"host"]
        if len(named) != 1 or host_name(named[0].decode("latin-1")) not in self._hosts:
            raise Misdirected(
                "This server does not answer for that host name. Add it to control.allowed_hosts if it should."
            )

    def _limit_of(self, scope: Scope) -> int:
        """Bytes that the body may have: only proposed bundles are larger than forms."""
        if scope["method"] == "POST" and scope["path"] in PROPOSALS:
            return max(self._limit, self._archive + ROUND_AN_ARCHIVE)
        return self._limit

    async def _check_length(self, scope: Scope, receive: Receive, limit: int) -> None:
        for name, value in scope["headers"]:
            if name == b"content-length" and (not value.isdigit() or len(value) > 12):
                raise _too_large(limit)
            if name == b"content-length" and int(value) > limit:
                if all(other != b"expect" for other, _ in scope["headers"]):  # who asks first sends nothing
                    await _discard(receive)
                raise _too_large(limit)

    def _bounded(self, receive: Receive, limit: int) -> Receive:
        taken = 0
        whole = False
        deadline = asyncio.get_running_loop().time() + self._seconds

        async def bounded() -> Message:
            nonlocal taken, whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError as error:
                raise TooSlow("The request did not come in whole in time.", headers={"connection": "close"}) from error
            taken += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if taken > limit:
                if not whole:
                    await _discard(receive)
                raise _too_large(limit)
            return message

        return bounded


async def _discard(receive: Receive) -> None:
    """Read some of a body that nobody wants: closed on what was not read, a connection loses the answer with it."""
    left = DISCARDED
    with suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_SECONDS):
            while left > 0:
                message = await receive()
                if not message.get("more_body", False):
                    return
                left -= len(message["body"])


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The request's body is over {limit} bytes.", headers={"connection": "close"})


class _Answer:
    """Sends the answer on, with the headers that each one carries."""

    def __init__(self, send: Send, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        self._send = send
        self._headers = headers
        self.begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            present = {name for name, _ in message["headers"]}
            kept = () if b"cache-control" in present else ((b"cache-control", b"no-store"),)
            message["headers"] = [*message["headers"], *self._headers, *kept]
        await self._send(message)


def _place(error: Exception) -> str:
    """The innermost file and line, without the directory."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def host_name(host: str) -> str:
    """The name or address in a `Host` header or an origin's authority, in lower case, without port and brackets."""
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdigit() or (":" in name and not name.startswith("[")):
        name = host
    return name.removeprefix("[").removesuffix("]").removesuffix(".").lower()
