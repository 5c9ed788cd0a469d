"""Calls to upstreams on real sockets: framing, reuse, retries, time-outs, back-pressure and the errors' kinds."""

from __future__ import annotations

import asyncio
import socket

import pytest
import uvloop

from gateway.errors import UpstreamError
from gateway.settings import Endpoint, Limits
from tests.support.scripted import OK, Kept, Peer, always_ok, ask, begin, pooled, scripted, until


def test_a_request_goes_out_framed_and_its_answer_comes_back() -> None:
    seen: list[bytes] = []

    async def talk(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.say(
            b"HTTP/1.1 201 Created\r\nX-Kept: 1\r\nConnection: keep-alive\r\nX-Cordon-Call: forged\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        )
        await peer.request()

    async def scenario() -> None:
        async with scripted(talk) as upstream, pooled() as pool:
            answer = await ask(pool, upstream.endpoint("/v1"), "POST", b"/chat?x=1", [(b"x-a", b"b")], b"body")
            assert (answer.status, answer.headers, answer.content) == (201, [(b"x-kept", b"1")], b"abcde")
            assert answer.events == ["head", "data", "end"]
            port = str(upstream.port).encode()
            assert seen == [
                b"POST /v1/chat?x=1 HTTP/1.1\r\nhost: 127.0.0.1:" + port + b"\r\naccept-encoding: identity\r\n"
                b"x-a: b\r\ncontent-length: 4\r\n\r\nbody"
            ]

    uvloop.run(scenario())


def test_connections_are_used_again_the_last_one_first() -> None:
    async def scenario() -> None:
        async with scripted() as upstream, pooled() as pool:
            endpoint = upstream.endpoint()
            for _ in range(5):
                assert (await ask(pool, endpoint)).content == b"ok"
            assert upstream.connections == pool.connections == pool.idle == 1
            several = [begin(pool, endpoint) for _ in range(3)]
            for sink in several:
                await sink.over()
            assert upstream.connections == pool.idle == 3
            equal = endpoint.model_copy()
            assert (await ask(pool, equal)).content == b"ok"
            assert upstream.connections == 3

    uvloop.run(scenario())


def test_idle_connections_are_bounded_and_end_after_their_time() -> None:
    async def scenario() -> None:
        async with scripted() as upstream, pooled(Limits(upstream_idle=2, upstream_idle_time=0.1)) as pool:
            for sink in [begin(pool, upstream.endpoint()) for _ in range(5)]:
                await sink.over()
            assert pool.idle == 2
            await until(lambda: pool.connections == 0)
            assert pool.idle == 0

    uvloop.run(scenario())


def test_an_upstream_that_says_how_long_it_keeps_a_connection_is_believed() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 0\r\n\r\n")
        await peer.request()

    async def scenario() -> None:
        async with scripted(talk) as upstream, pooled() as pool:
            await ask(pool, upstream.endpoint())
            assert pool.idle == 0

    uvloop.run(scenario())


def test_endpoints_that_are_configured_no_more_lose_their_idle_connections() -> None:
    async def scenario() -> None:
        async with scripted() as first, scripted() as second, pooled() as pool:
            for upstream in (first, second):
                await ask(pool, upstream.endpoint())
            pool.retain([second.endpoint()])
            assert pool.idle == 1
            await ask(pool, second.endpoint())
            assert second.connections == 1
            await ask(pool, first.endpoint())
            assert first.connections == 2

    uvloop.run(scenario())


@pytest.mark.parametrize(
    ("method", "headers", "retried"),
    [
        ("GET", [], True),
        ("HEAD", [], True),
        ("PUT", [], True),
        ("DELETE", [], True),
        ("POST", [], False),
        ("PATCH", [], False),
        ("POST", [(b"idempotency-key", b"1")], True),
        ("POST", [(b"x-other", b"idempotency-key: 1")], False),
    ],
)
def test_a_stale_connection_is_replaced_only_where_repeating_is_safe(
    method: str, headers: list[tuple[bytes, bytes]], retried: bool
) -> None:
    async def stale(peer: Peer) -> None:
        await peer.request()
        await peer.say(OK)
        await peer.request()

    async def scenario() -> None:
        async with scripted(stale, always_ok) as upstream, pooled() as pool:
            await ask(pool, upstream.endpoint())
            body = b"\r\nidempotency-key: 1\r\n\r\n"
            answer = await ask(pool, upstream.endpoint(), method, headers=headers, body=body)
            if retried:
                assert (answer.status, upstream.connections) == (200, 2)
            else:
                assert answer.error is not None
                assert (answer.error.kind, answer.error.sent, upstream.connections) == ("reset", True, 1)

    uvloop.run(scenario())


def test_a_fresh_connection_that_closes_is_not_tried_again() -> None:
    async def close(peer: Peer) -> None:
        await peer.request()

    async def scenario() -> None:
        async with scripted(close) as upstream, pooled() as pool:
            answer = await ask(pool, upstream.endpoint())
            assert answer.error is not None
            assert (answer.error.kind, answer.error.sent) == ("reset", True)
            assert "stand-in" in answer.error.detail
            assert upstream.connections == 1

    uvloop.run(scenario())


def test_a_connection_that_closed_while_idle_is_not_used() -> None:
    async def one(peer: Peer) -> None:
        await peer.request()
        await peer.say(OK)

    async def scenario() -> None:
        async with scripted(one) as upstream, pooled() as pool:
            for number in range(1, 4):
                assert (await ask(pool, upstream.endpoint(), "POST")).content == b"ok"
                await until(lambda: pool.idle == 0)
                assert upstream.connections == number

    uvloop.run(scenario())


def test_bytes_nobody_asked_for_make_a_connection_unfit() -> None:
    async def chatty(peer: Peer) -> None:
        await peer.request()
        await peer.say(OK)
        await asyncio.sleep(0.02)
        await peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged")
        await peer.request()

    async def appended(peer: Peer) -> None:
        await peer.request()
        await peer.say(OK + b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged")
        await peer.request()

    async def scenario() -> None:
        async with scripted(chatty, appended, always_ok) as upstream, pooled() as pool:
            await ask(pool, upstream.endpoint())
            await until(lambda: pool.idle == 0)
            for _ in range(2):
                assert (await ask(pool, upstream.endpoint())).content == b"ok"
            assert upstream.connections == 3

    uvloop.run(scenario())


@pytest.mark.parametrize(
    "head", [b"Content-Length: 10\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"]
)
@pytest.mark.parametrize("reset", [False, True])
def test_an_answer_that_breaks_off_is_an_error(head: bytes, reset: bool) -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\n" + head)
        await asyncio.sleep(0.02)
        if reset:
            linger = b"\1\0\0\0\0\0\0\0"
            peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    async def scenario() -> None:
        async with scripted(talk) as upstream, pooled() as pool:
            answer = await ask(pool, upstream.endpoint())
            assert answer.events == ["head", "data", "error"]
            assert (answer.content, answer.ended) == (b"half", False)
            assert answer.error is not None
            assert (answer.error.kind, answer.error.sent) == ("reset", True)

    uvloop.run(scenario())


def test_an_answer_that_ends_with_its_connection_is_complete() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\n\r\nall")

    async def scenario() -> None:
        async with scripted(talk) as upstream, pooled() as pool:
            answer = await ask(pool, upstream.endpoint())
            assert (answer.content, answer.ended) == (b"all", True)
            assert pool.idle == 0

    uvloop.run(scenario())


def test_a_malformed_answer_is_a_protocol_error_and_its_connection_closed() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc")
        assert await peer.request() == b""

    async def scenario() -> None:
        async with scripted(talk) as upstream, pooled() as pool:
            answer = await ask(pool, upstream.endpoint())
            assert answer.events == ["error"]
            assert answer.error is not None
            assert answer.error.kind == "protocol"
            assert pool.connections == 0

    uvloop.run(scenario())


def test_the_answer_to_head_does_not_swallow_the_next_one() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n")
        while await peer.request():
            await peer.say(OK)

    async def scenario() -> None:
        async with scripted(talk) as upstream, pooled() as pool:
            head = await ask(pool, upstream.endpoint(), "HEAD")
            assert (head.status, head.content, head.ended) == (200, b"", True)
            assert (await ask(pool, upstream.endpoint())).content == b"ok"
            assert upstream.connections == 1

    uvloop.run(scenario())


@pytest.mark.parametrize(
    ("limits", "beginning", "detail"),
    [
        (Limits(first_byte_time=0.1), b"", "did not begin"),
        (Limits(answer_idle_time=0.1), b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", "stopped in the middle"),
    ],
)
def test_an_upstream_that_dawdles_is_given_up(limits: Limits, beginning: bytes, detail: str) -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.say(beginning)
        assert await peer.request() == b""

    async def scenario() -> None:
        async with scripted(talk) as upstream, pooled(limits) as pool:
            answer = await ask(pool, upstream.endpoint())
            assert answer.error is not None
            assert answer.error.kind == "timeout"
            assert answer.error.sent
            assert detail in answer.error.detail

    uvloop.run(scenario())


def test_pieces_that_keep_coming_are_waited_for() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
        for _ in range(8):
            await asyncio.sleep(0.05)
            await peer.say(b"x")

    async def scenario() -> None:
        limits = Limits(answer_idle_time=0.2, first_byte_time=0.2)
        async with scripted(talk) as upstream, pooled(limits) as pool:
            assert (await ask(pool, upstream.endpoint())).content == b"x" * 8

    uvloop.run(scenario())


def test_nobody_listening_is_a_connect_error_and_nothing_was_sent() -> None:
    async def scenario() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            async with pooled() as pool:
                answer = await ask(pool, Endpoint(id="absent", url=f"http://127.0.0.1:{port}"), "POST", body=b"x")
                assert answer.error is not None
                assert (answer.error.kind, answer.error.sent) == ("connect", False)
                assert "absent" in answer.error.detail

    uvloop.run(scenario())


def test_a_paused_answer_waits_at_the_upstream_and_is_not_timed_out() -> None:
    total = 50_000_000

    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        for _ in range(total // 100_000):
            await peer.say(b"x" * 100_000)
        await peer.request()

    async def scenario() -> None:
        async with scripted(talk) as upstream, pooled(Limits(answer_idle_time=0.1)) as pool:
            sink = begin(pool, upstream.endpoint())
            assert sink.call is not None
            await sink.wait_for(lambda: sink.received)
            sink.call.pause()
            sink.call.pause()
            held = sink.received
            await asyncio.sleep(0.3)
            assert sink.received <= held + 1_000_000
            assert sink.error is None
            sink.call.resume()
            sink.call.resume()
            await sink.over()
            assert (sink.ended, sink.received) == (True, total)

    uvloop.run(scenario())


def test_a_call_paused_before_it_is_connected_begins_when_resumed() -> None:
    async def scenario() -> None:
        async with scripted() as upstream, pooled() as pool:
            sink = begin(pool, upstream.endpoint())
            assert sink.call is not None
            sink.call.pause()
            await asyncio.sleep(0.1)
            assert sink.events == []
            sink.call.resume()
            assert (await sink.over()).content == b"ok"
            assert (await ask(pool, upstream.endpoint())).content == b"ok"
            assert upstream.connections == 1

    uvloop.run(scenario())


def test_an_aborted_call_closes_its_connection_and_says_nothing_more() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")
        assert await peer.request() == b""

    async def scenario() -> None:
        async with scripted(talk) as upstream, pooled() as pool:
            sink = begin(pool, upstream.endpoint())
            assert sink.call is not None
            await sink.wait_for(lambda: sink.received)
            sink.call.abort()
            sink.call.abort()
            sink.call.resume()
            await until(lambda: not upstream.open)
            assert sink.events == ["head", "data"]
            assert pool.connections == 0

    uvloop.run(scenario())


def test_a_call_aborted_while_it_connects_leaves_no_connection() -> None:
    async def scenario() -> None:
        async with scripted() as upstream, pooled() as pool:
            for turns in range(12):
                sink = begin(pool, upstream.endpoint())
                assert sink.call is not None
                for _ in range(turns):
                    await asyncio.sleep(0)
                sink.call.abort()
                await asyncio.sleep(0.01)
                assert pool.connections == pool.idle
                assert "error" not in sink.events
            await until(lambda: len(upstream.open) == pool.connections)

    uvloop.run(scenario())


@pytest.mark.parametrize("event", ["head", "data", "end"])
def test_a_sink_may_abort_in_any_callback(event: str) -> None:
    class Aborting(Kept):
        def tell(self, name: str) -> None:
            super().tell(name)
            if name == event:
                assert self.call is not None
                self.call.abort()

    async def scenario() -> None:
        async with scripted() as upstream, pooled() as pool:
            sink = begin(pool, upstream.endpoint(), sink=Aborting())
            await sink.wait_for(lambda: event in sink.events)
            await asyncio.sleep(0.02)
            assert sink.events[-1] == event
            assert sink.error is None

    uvloop.run(scenario())


def test_an_answer_that_comes_before_the_whole_request_is_taken() -> None:
    async def talk(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await asyncio.sleep(0.2)

    async def scenario() -> None:
        async with scripted(talk) as upstream, pooled() as pool:
            answer = await ask(pool, upstream.endpoint(), "POST", body=b"x" * 20_000_000)
            assert (answer.status, answer.ended) == (413, True)
            assert pool.idle == 0

    uvloop.run(scenario())


def test_a_large_body_arrives_whole() -> None:
    async def talk(peer: Peer) -> None:
        body = (await peer.request()).partition(b"\r\n\r\n")[2]
        await peer.say(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + (b"ok" if body == b"xyz" * 1_000_000 else b"no")
        )

    async def scenario() -> None:
        async with scripted(talk) as upstream, pooled() as pool:
            assert (await ask(pool, upstream.endpoint(), "PUT", body=b"xyz" * 1_000_000)).content == b"ok"

    uvloop.run(scenario())


def test_redirects_come_back_as_they_are() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n")

    async def scenario() -> None:
        async with scripted(talk) as upstream, pooled() as pool:
            answer = await ask(pool, upstream.endpoint())
            assert (answer.status, answer.headers) == (302, [(b"location", b"http://169.254.169.254/")])
            assert upstream.connections == 1

    uvloop.run(scenario())


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        (b"/a HTTP/1.1\r\nx: y", []),
        (b"/a\nb", []),
        (b"/a", [(b"x", b"1\r\nhost: evil")]),
        (b"/a", [(b"x\r\nhost", b"evil")]),
    ],
)
def test_nothing_can_be_added_to_a_requests_head(target: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    async def scenario() -> None:
        async with scripted() as upstream, pooled() as pool:
            with pytest.raises(ValueError, match="line end"):
                begin(pool, upstream.endpoint(), "GET", target, headers)
            assert upstream.connections == 0

    uvloop.run(scenario())


def test_closing_the_pool_ends_calls_that_still_connect() -> None:
    async def scenario() -> None:
        async with scripted() as upstream, pooled() as pool:
            sinks = [begin(pool, upstream.endpoint()) for _ in range(5)]
            await pool.close()
            await asyncio.sleep(0.05)
            assert [sink.events for sink in sinks] == [[]] * 5

    uvloop.run(scenario())


def test_interim_answers_do_not_reach_the_sink() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        await asyncio.sleep(0.02)
        await peer.say(OK)

    async def scenario() -> None:
        async with scripted(talk) as upstream, pooled() as pool:
            answer = await ask(pool, upstream.endpoint())
            assert answer.events == ["head", "data", "end"]
            assert answer.status == 200

    uvloop.run(scenario())


def test_an_error_names_its_kind_and_keeps_the_url_to_itself() -> None:
    error = UpstreamError("reset", "endpoint x closed the connection before it answered", sent=True)
    assert str(error) == "endpoint x closed the connection before it answered"
