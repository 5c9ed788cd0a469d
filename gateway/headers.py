"""Which headers go on to the upstream, and which come back to the client. Framing and hop-by-hop ones never got here.

Credentials stay on their side: the client's Cordon key and the console's session never reach an upstream, and the
upstream's secret and its session never reach the client.
"""

from __future__ import annotations

from collections.abc import Iterable

from gateway.call import Call
from gateway.fields import Field
from gateway.identity import CALLER_PREFIX
from gateway.settings import Endpoint, Route

CREDENTIALS = frozenset({b"authorization", b"x-api-key", b"api-key", b"cookie", b"proxy-authorization"})
# A range would let a client fetch what is redacted in pieces too small to be recognised.
NOT_SENT = frozenset({b"content-encoding", b"traceparent", b"tracestate", b"range", b"if-range"})
# The last three bind the gateway's own host: to another server, to HTTPS on all ports, to what it should forget.
NOT_RETURNED = frozenset(
    {b"content-length", b"content-encoding", b"alt-svc", b"strict-transport-security", b"clear-site-data"}
)
# Browsers send the console's cookies to every port of its host.
CONSOLE_COOKIES = frozenset({b"cordon_console", b"__Host-cordon"})


def to_upstream(call: Call, endpoint: Endpoint) -> list[Field]:
    """The client's end-to-end headers without what is Cordon's, and the endpoint's own.

    Where the route passes the client's own credentials on (`key_header: x-cordon-key`), they stay.
    """
    passes = call.route.key_header == "x-cordon-key"
    headers: list[Field] = []
    for name, value in call.exchange.head.headers:
        if name in NOT_SENT:
            continue
        if name in CREDENTIALS:
            if name == b"cookie":
                value = _foreign_cookies(value)
            if not passes or not value or CALLER_PREFIX in value:
                continue
        headers.append((name, value))
    secret = call.setup.credentials.of(endpoint.id)
    if secret:
        headers = [field for field in headers if field[0] != secret[0][0]]
        headers += secret
    headers.append((b"traceparent", call.traceparent))
    if not call.exchange.head.value(b"x-request-id"):
        headers.append((b"x-request-id", call.id.encode()))
    return headers


def to_client(headers: Iterable[Field], route: Route) -> list[Field]:
    """The upstream's headers that the client may have.

    A cookie is the session of whoever's credential the upstream saw; where that was the gateway's, it stays here.
    """
    passes = route.key_header == "x-cordon-key"
    return [
        (name, value)
        for name, value in headers
        if name not in NOT_RETURNED and (name != b"set-cookie" or (passes and _cookie(value) not in CONSOLE_COOKIES))
    ]


def _foreign_cookies(value: bytes) -> bytes:
    return b"; ".join(part for part in map(bytes.strip, value.split(b";")) if _cookie(part) not in CONSOLE_COOKIES)


def _cookie(pair: bytes) -> bytes:
    return pair.partition(b"=")[0].strip()
