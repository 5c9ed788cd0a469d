"""Promise: what policy sees is what is forwarded, one request for one request, whatever a client makes of its bytes."""

from __future__ import annotations

import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.http1 import RequestReader
from gateway.settings import Limits
from tests.support.forwarding import forwarding
from tests.support.requests import read_all

LIMITS = Limits()
NAMES = st.sampled_from(
    [
        b"Accept", b"X-Thing", b"Connection", b"Upgrade", b"TE", b"Keep-Alive", b"X-Cordon-Decision", b"Host",
        b"Content-Length", b"Transfer-Encoding", b"Authorization", b"X-Forwarded-For", b"Expect", b"Trailer", b"X_Y",
        b"Accept-Encoding", b"Proxy-Connection", b"X-HTTP-Method-Override",
    ]
)  # fmt: skip
VALUES = st.sampled_from(
    [
        b"a",
        b"",
        b"close",
        b"x-thing",
        b"h2c",
        b"chunked",
        b"gzip, chunked",
        b"3",
        b"03",
        b"+3",
        b"3, 3",
        b"a:1",
        b"\x0b3",
        b"%0d%0a",
    ]
)
TARGETS = st.lists(
    st.sampled_from(
        [b"/", b"a", b".", b"..", b"%2e", b"%2f", b"%25", b"%41", b"?", b";", b"#", b"\\", b"//", b"%c3%a9", b"="]
    ),
    max_size=8,
).map(lambda parts: b"/" + b"".join(parts))
BODIES = st.sampled_from([b"", b"abc", b"3\r\nabc\r\n0\r\n\r\n", b"abcGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"])


@st.composite
def talks(draw: st.DrawFn) -> bytes:
    """One to three requests, most of them almost well-formed."""
    talk = b""
    for _ in range(draw(st.integers(1, 3))):
        lines = [draw(st.sampled_from([b"GET", b"POST", b"PUT", b"get"])) + b" " + draw(TARGETS) + b" HTTP/1.1"]
        if draw(st.booleans()) or draw(st.booleans()):
            lines.append(b"Host: gateway")
        body = draw(BODIES)
        if draw(st.booleans()):
            lines.append(b"Content-Length: %d" % draw(st.sampled_from([len(body), 3, 0])))
        lines += [name + b": " + value for name, value in draw(st.lists(st.tuples(NAMES, VALUES), max_size=3))]
        talk += b"\r\n".join(lines) + b"\r\n\r\n" + body
    return talk


@given(st.lists(talks(), min_size=1, max_size=20))
@settings(max_examples=40, deadline=None)
def test_the_upstream_reads_the_requests_that_the_gateway_read(sent: list[bytes]) -> None:
    async def scenario() -> None:
        async with forwarding() as running:
            for talk in sent:
                await running.send(talk)
                forwarded, running.seen = running.seen, []
                taken = read_all([talk], LIMITS).requests
                expected = [(method, b"/base" + target, body) for method, target, body in taken]
                if b"close" not in talk:
                    assert [read_all([request], LIMITS).requests[0] for request in forwarded] == expected
                assert len(forwarded) <= len(expected)
                for request in forwarded:
                    _check_clean(request)

    uvloop.run(scenario())


def _check_clean(request: bytes) -> None:
    """Nothing that stays on the client's connection, or that the gateway alone may say, is in what was sent."""
    reader = RequestReader(LIMITS)
    reader.feed(request)
    head = reader.read_head()
    assert head is not None
    assert head.cordon == ()
    assert not head.close
    lines = [line.partition(b":")[0] for line in request.partition(b"\r\n\r\n")[0].lower().split(b"\r\n")[1:]]
    assert lines.count(b"host") == 1
    assert lines.count(b"content-length") <= 1
    assert lines.count(b"accept-encoding") == 1
    dropped = (
        b"connection",
        b"upgrade",
        b"te",
        b"keep-alive",
        b"transfer-encoding",
        b"trailer",
        b"expect",
        b"x-forwarded-for",
    )
    assert not set(dropped) & set(lines)
