"""The listener on real sockets: keep-alive, order, limits, refusals, back-pressure, draining, TLS."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from pathlib import Path

import pytest
import uvloop

from gateway.errors import GatewayError, Refusal
from gateway.exchange import Exchange
from gateway.listener import Listener
from gateway.settings import GatewayTls, Limits
from tests.support.certificates import write_certificate
from tests.support.listening import SECONDS, Script, echo, hold, listening

GET = b"GET /a HTTP/1.1\r\nHost: gateway\r\n\r\n"


def post(body: bytes, *lines: bytes, target: bytes = b"/a") -> bytes:
    head = [b"POST " + target + b" HTTP/1.1", b"Host: gateway", b"Content-Length: %d" % len(body), *lines]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def test_a_connection_serves_one_request_after_the_other() -> None:
    async def scenario() -> None:
        handler = Script()
        async with listening(handler) as running:
            client = await running.client()
            for number in range(5):
                client.send(post(b"%d" % number))
                status, headers, content = await client.answer()
                assert (status, content) == (200, b"POST /a %d" % number)
                assert b"connection" not in headers
            assert running.listener.connections == 1
            client.close()
        assert {exchange.client for exchange in handler.heads} == {"127.0.0.1"}

    uvloop.run(scenario())


def test_pipelined_requests_are_answered_in_order_although_later_ones_are_quicker() -> None:
    waiting: list[Exchange] = []

    def answer(exchange: Exchange) -> None:
        waiting.append(exchange) if exchange.head.path == "/slow" else echo(exchange)

    async def scenario() -> None:
        handler = Script(answer)
        async with listening(handler) as running:
            client = await running.client()
            client.send(post(b"1", target=b"/slow") + post(b"2") + post(b"3", target=b"/slow") + GET)
            await handler.wait_for(lambda: waiting)
            assert [exchange.body for exchange in handler.requests] == [b"1"]
            echo(waiting.pop())
            await handler.wait_for(lambda: waiting)
            echo(waiting.pop())
            answers = [(await client.answer())[2] for _ in range(4)]
            assert answers == [b"POST /slow 1", b"POST /a 2", b"POST /slow 3", b"GET /a "]
            client.close()

    uvloop.run(scenario())


def test_thousands_of_pipelined_requests_neither_recurse_nor_hold_up_others() -> None:
    async def scenario() -> None:
        handler = Script()
        async with listening(handler) as running:
            flood, other = await running.client(), await running.client()
            count = 5_000
            flood.send(GET * count)
            other.send(GET)
            assert (await other.answer())[0] == 200
            assert len(handler.requests) < count
            for _ in range(count):
                assert (await flood.answer())[2] == b"GET /a "
            flood.close()
            other.close()

    uvloop.run(scenario())


def test_what_is_sent_ahead_of_a_slow_call_waits_outside_the_gateway() -> None:
    limits = Limits(read_ahead=1_024)

    async def scenario() -> None:
        handler = Script(hold)
        async with listening(handler, limits) as running:
            client = await running.client()
            client.send(GET)
            await handler.wait_for(lambda: handler.requests)
            client.send(GET * 500_000)
            await asyncio.sleep(0.3)
            assert 1_024 < running.budget.held < 2_000_000
            handler.answer = echo
            echo(handler.requests[0])
            for _ in range(1_000):
                assert (await client.answer())[2] == b"GET /a "
            client.reset()

    uvloop.run(scenario())


@pytest.mark.parametrize("cut", [1, 3, 1_000])
def test_a_request_may_come_in_any_pieces(cut: int) -> None:
    async def scenario() -> None:
        async with listening(Script()) as running:
            client = await running.client()
            data = post(b"hello", b"Accept: */*")
            for start in range(0, len(data), cut):
                client.send(data[start : start + cut])
                await asyncio.sleep(0)
            assert (await client.answer())[2] == b"POST /a hello"
            client.close()

    uvloop.run(scenario())


def test_a_client_that_asks_to_close_is_told_so_and_closed() -> None:
    async def scenario() -> None:
        async with listening(Script()) as running:
            client = await running.client()
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + GET)
            _, headers, _ = await client.answer()
            assert headers[b"connection"] == b"close"
            assert await client.closed()
            client.close()

    uvloop.run(scenario())


def test_head_and_content_of_one_turn_go_out_together() -> None:
    async def scenario() -> None:
        async with listening(Script()) as running:
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(GET)
            data = await reader.read(65_536)
            assert data.startswith(b"HTTP/1.1 200 OK\r\n")
            assert data.endswith(b"\r\n\r\nGET /a ")
            writer.close()

    uvloop.run(scenario())


def test_a_streams_head_goes_out_before_its_content() -> None:
    def begin(exchange: Exchange) -> None:
        exchange.start(200, [(b"content-type", b"text/event-stream")], None)

    async def scenario() -> None:
        handler = Script(begin)
        async with listening(handler) as running:
            client = await running.client()
            client.send(GET)
            assert b"transfer-encoding: chunked" in await client.head()
            exchange = handler.requests[0]
            exchange.write(b"one")
            exchange.write(b"")
            exchange.write(b"two")
            exchange.end()
            assert await client._chunks() == b"onetwo"
            client.close()

    uvloop.run(scenario())


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_answers_that_have_no_body_get_none(method: str, status: int) -> None:
    def answer(exchange: Exchange) -> None:
        if exchange.head.path == "/next":
            echo(exchange)
            return
        exchange.start(status, [], 5)
        exchange.write(b"hello")
        exchange.end()

    async def scenario() -> None:
        async with listening(Script(answer)) as running:
            client = await running.client()
            client.send(b"%b / HTTP/1.1\r\nHost: a\r\n\r\n" % method.encode())
            client.send(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
            head = await client.head()
            assert (b"content-length: 5" in head) == (method == "HEAD")
            assert b"transfer-encoding" not in head
            assert (await client.answer())[2] == b"GET /next "
            client.close()

    uvloop.run(scenario())


@pytest.mark.parametrize(("method", "status", "sent"), [("GET", 200, b"hello"), ("HEAD", 200, b""), ("GET", 204, b"")])
def test_a_whole_answer_may_be_given_at_once(method: str, status: int, sent: bytes) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.answer(status, [(b"x-a", b"b")], b"hello")
        exchange.answer(500, [], b"twice")
        exchange.end()

    async def scenario() -> None:
        async with listening(Script(answer)) as running:
            request = b"%b / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % method.encode()
            head, _, content = (await running.ask(request)).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 %d " % status)
            assert b"\r\nx-a: b\r\n" in head
            assert (b"content-length: 5" in head) == (status == 200)
            assert b"connection: close" in head
            assert content == sent

    uvloop.run(scenario())


def test_a_handler_that_writes_without_pause_sees_that_the_client_is_slow() -> None:
    def flood(exchange: Exchange) -> None:
        exchange.start(200, [], None)
        written = 0
        while exchange.writable and written < 100_000_000:
            exchange.write(b"x" * 1_000)
            written += 1_000
        assert written < 100_000_000
        exchange.abort()

    async def scenario() -> None:
        async with listening(Script(flood)) as running:
            assert len(await running.ask(GET)) > 10_000

    uvloop.run(scenario())


def test_a_chunked_request_reaches_the_handler_whole() -> None:
    async def scenario() -> None:
        async with listening(Script()) as running:
            client = await running.client()
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            client.send(b"2\r\nde\r\n0\r\n\r\n")
            assert (await client.answer())[2] == b"POST / abcde"
            client.close()

    uvloop.run(scenario())


def test_100_is_sent_only_after_the_handler_took_the_head() -> None:
    async def scenario() -> None:
        handler = Script()
        async with listening(handler) as running:
            client = await running.client()
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
            assert await client.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.send(b"abc")
            assert (await client.answer())[2] == b"POST / abc"
            handler.refusal = Refusal(401, "identity", "no_key", "no key")
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
            status, headers, _ = await client.answer()
            assert (status, headers[b"connection"]) == (401, b"close")
            assert await client.closed()
            client.close()

    uvloop.run(scenario())


def test_100_is_left_out_when_the_body_is_there_already() -> None:
    async def scenario() -> None:
        async with listening(Script()) as running:
            client = await running.client()
            client.send(post(b"abc", b"Expect: 100-continue"))
            assert (await client.answer())[0] == 200
            client.close()

    uvloop.run(scenario())


def test_an_early_refusal_keeps_the_connection_when_the_body_came_with_it() -> None:
    async def scenario() -> None:
        handler = Script()
        handler.refusal = Refusal(401, "identity", "no_key", "no key", headers=[(b"www-authenticate", b"Bearer")])
        async with listening(handler) as running:
            client = await running.client()
            client.send(post(b"abc") + post(b"def"))
            for _ in range(2):
                status, headers, content = await client.answer()
                assert (status, json.loads(content)["detail"]) == (401, "no key")
                assert headers[b"www-authenticate"] == b"Bearer"
                assert b"connection" not in headers
            assert handler.requests == handler.gone == []
            client.close()

    uvloop.run(scenario())


def test_an_early_refusal_reaches_a_client_that_is_still_sending() -> None:
    async def scenario() -> None:
        handler = Script()
        handler.refusal = Refusal(403, "containment", "contained", "contained")
        async with listening(handler) as running:
            client = await running.client()
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n" + b"x" * 4_000_000)
            status, headers, _ = await client.answer()
            assert (status, headers[b"connection"]) == (403, b"close")
            client.send(b"x" * 100_000)
            client.close()

    uvloop.run(scenario())


def test_a_body_over_the_limit_is_refused_in_the_shape_of_the_route() -> None:
    class Model(Script):
        def on_head(self, exchange: Exchange) -> int:
            exchange.dialect, exchange.call = "openai", "01CALL"
            return super().on_head(exchange)

    async def scenario() -> None:
        handler = Model(body_limit=10)
        async with listening(handler) as running:
            client = await running.client()
            client.send(post(b"x" * 11))
            status, headers, content = await client.answer()
            assert (status, headers[b"x-cordon-call"], headers[b"connection"]) == (413, b"01CALL", b"close")
            assert json.loads(content)["error"]["code"] == "body"
            assert len(handler.gone) == 1
            assert running.malformed == ["body"]
            client.close()

    uvloop.run(scenario())


def test_malformed_requests_are_answered_counted_and_closed() -> None:
    async def scenario() -> None:
        handler = Script()
        async with listening(handler) as running:
            answer = await running.ask(GET + b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + GET)
            first, _, rest = answer.partition(b"GET /a ")
            assert first.startswith(b"HTTP/1.1 200")
            assert rest.startswith(b"HTTP/1.1 400 Bad Request\r\n")
            assert b"application/problem+json" in rest
            assert b"connection: close" in rest
            assert rest.count(b"HTTP/1.1") == 1
            assert running.malformed == ["host"]
            assert len(handler.requests) == 1

    uvloop.run(scenario())


def test_an_error_in_a_handler_refuses_the_call_and_tells_nothing_of_it(caplog: pytest.LogCaptureFixture) -> None:
    def fail(exchange: Exchange) -> None:
        raise KeyError("secret-in-an-error")

    async def scenario() -> None:
        async with listening(Script(fail)) as running:
            answer = await running.ask(post(b"x", b"Connection: close"))
            assert answer.startswith(b"HTTP/1.1 500")
            assert b"secret-in-an-error" not in answer

    uvloop.run(scenario())
    assert "KeyError" in caplog.text
    assert "secret-in-an-error" not in caplog.text


def test_an_error_after_the_answer_began_cuts_it() -> None:
    def fail(exchange: Exchange) -> None:
        exchange.start(200, [], None)
        exchange.write(b"part")
        raise RuntimeError

    async def scenario() -> None:
        async with listening(Script(fail)) as running:
            answer = await running.ask(GET)
            assert answer.endswith(b"4\r\npart\r\n")

    uvloop.run(scenario())


def test_a_cut_answer_is_seen_to_be_incomplete() -> None:
    def cut(exchange: Exchange) -> None:
        exchange.start(200, [], None if exchange.head.path == "/chunked" else 10)
        exchange.write(b"part")
        exchange.abort()
        exchange.write(b"more")
        exchange.end()

    async def scenario() -> None:
        async with listening(Script(cut)) as running:
            assert (await running.ask(b"GET /chunked HTTP/1.1\r\nHost: a\r\n\r\n")).endswith(b"\r\n\r\n4\r\npart\r\n")
            answer = await running.ask(GET)
            assert b"content-length: 10" in answer
            assert answer.endswith(b"\r\n\r\npart")

    uvloop.run(scenario())


def test_an_answer_shorter_than_its_length_is_cut_and_a_longer_one_is_an_error() -> None:
    def wrong(exchange: Exchange) -> None:
        exchange.start(200, [], 4)
        exchange.write(b"abc" if exchange.head.path == "/short" else b"abcde")
        exchange.end()

    async def scenario() -> None:
        async with listening(Script(wrong)) as running:
            assert (await running.ask(b"GET /short HTTP/1.1\r\nHost: a\r\n\r\n")).endswith(b"\r\n\r\nabc")
            assert b"abcde" not in await running.ask(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n")

    uvloop.run(scenario())


def test_a_handler_cannot_add_a_line_to_an_answers_head() -> None:
    def inject(exchange: Exchange) -> None:
        exchange.start(200, [(b"x-reason", b"a\r\nset-cookie: b")], 0)

    async def scenario() -> None:
        async with listening(Script(inject)) as running:
            answer = await running.ask(GET + b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert b"set-cookie" not in answer
            assert answer.startswith(b"HTTP/1.1 500")

    uvloop.run(scenario())


def test_a_client_that_leaves_is_told_to_the_handler_once() -> None:
    async def scenario() -> None:
        handler = Script(hold)
        async with listening(handler) as running:
            client = await running.client()
            client.send(GET)
            await handler.wait_for(lambda: handler.requests)
            client.reset()
            await handler.wait_for(lambda: handler.gone)
            exchange = handler.requests[0]
            assert exchange.over
            exchange.start(200, [], None)
            exchange.write(b"nobody")
            exchange.end()
            exchange.abort()
            await exchange.drained()
            assert handler.gone == [exchange]

    uvloop.run(scenario())


def test_a_client_that_leaves_in_its_body_is_told_to_the_handler() -> None:
    async def scenario() -> None:
        handler = Script()
        async with listening(handler) as running:
            client = await running.client()
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
            await asyncio.sleep(0.05)
            client.reset()
            await handler.wait_for(lambda: handler.gone)
            assert handler.requests == []

    uvloop.run(scenario())


def test_a_client_that_closes_its_sending_side_still_gets_its_answers() -> None:
    async def scenario() -> None:
        handler = Script(hold)
        async with listening(handler) as running:
            client = await running.client()
            client.send(GET + GET)
            client.half_close()
            await handler.wait_for(lambda: handler.requests)
            await asyncio.sleep(0.05)
            echo(handler.requests[0])
            await handler.wait_for(lambda: len(handler.requests) == 2)
            echo(handler.requests[1])
            assert (await client.rest()).count(b"GET /a ") == 2
            assert handler.gone == []

    uvloop.run(scenario())


@pytest.mark.parametrize("part", [b"GET / HT", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc"])
def test_an_end_within_a_request_is_refused(part: bytes) -> None:
    async def scenario() -> None:
        async with listening(Script()) as running:
            client = await running.client()
            client.send(part)
            await asyncio.sleep(0.02)
            client.half_close()
            assert (await client.rest()).startswith(b"HTTP/1.1 400")

    uvloop.run(scenario())


def test_a_slow_client_holds_back_the_handler_and_nothing_else() -> None:
    async def scenario() -> None:
        handler = Script(hold)
        async with listening(handler) as running:
            client = await running.client()
            client.reader._limit = 1_024  # type: ignore[attr-defined]
            client.send(GET)
            await handler.wait_for(lambda: handler.requests)
            exchange = handler.requests[0]
            exchange.start(200, [], None)
            sent = 0
            while exchange.writable and sent < 100_000_000:
                exchange.write(b"x" * 65_536)
                sent += 65_536
                await asyncio.sleep(0)
            assert sent < 100_000_000
            assert running.budget.held > 0
            called: list[int] = []
            exchange.when_writable(lambda: called.append(1))
            waiting = asyncio.create_task(exchange.drained())
            other = await running.client()
            handler.answer = echo
            other.send(GET)
            assert (await other.answer())[0] == 200
            assert not waiting.done()
            reading = asyncio.create_task(client.rest())
            async with asyncio.timeout(SECONDS):
                await waiting
            assert called == [1]
            exchange.end()
            client.half_close()
            assert len(await reading) > sent
            other.close()

    uvloop.run(scenario())


def test_a_client_that_takes_nothing_is_given_up() -> None:
    limits = Limits(answer_idle_time=0.2)

    async def scenario() -> None:
        handler = Script(hold)
        async with listening(handler, limits) as running:
            client = await running.client()
            client.reader._limit = 1_024  # type: ignore[attr-defined]
            client.send(GET)
            await handler.wait_for(lambda: handler.requests)
            exchange = handler.requests[0]
            exchange.start(200, [], None)
            while exchange.writable:
                exchange.write(b"x" * 65_536)
                await asyncio.sleep(0)
            await handler.wait_for(lambda: handler.gone)
            assert exchange.over
            async with asyncio.timeout(SECONDS):
                await exchange.drained()
                while running.listener.connections:
                    await asyncio.sleep(0.02)
            client.close()

    uvloop.run(scenario())


@pytest.mark.parametrize(
    ("limits", "sent", "expected"),
    [
        (Limits(head_time=0.1), b"GET / HTTP/1.1\r\nHost:", b"HTTP/1.1 408"),
        (Limits(head_time=0.1), b"", b""),
        (Limits(idle_time=0.1), GET, b"HTTP/1.1 200"),
        (Limits(body_time=0.1), b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc", b"HTTP/1.1 408"),
    ],
)
def test_a_client_that_dawdles_is_closed(limits: Limits, sent: bytes, expected: bytes) -> None:
    async def scenario() -> None:
        async with listening(Script(), limits) as running:
            answer = await running.ask(sent)
            assert answer.startswith(expected)
            assert bool(answer) == bool(expected)

    uvloop.run(scenario())


def test_dripping_does_not_prolong_the_time_for_a_head() -> None:
    async def scenario() -> None:
        async with listening(Script(), Limits(head_time=0.3)) as running:
            client = await running.client()
            answer = asyncio.create_task(client.head())
            for byte in b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: " + b"a" * 200:
                if answer.done():
                    break
                client.send(bytes((byte,)))
                await asyncio.sleep(0.01)
            assert (await answer).startswith(b"HTTP/1.1 408")
            client.close()

    uvloop.run(scenario())


def test_a_call_that_takes_too_long_is_answered_for_the_handler() -> None:
    async def scenario() -> None:
        handler = Script(hold)
        async with listening(handler, Limits(total_time=0.1)) as running:
            answer = await running.ask(GET)
            assert answer.startswith(b"HTTP/1.1 504")
            assert handler.gone == handler.requests

    uvloop.run(scenario())


def test_over_the_limit_of_connections_a_client_is_told_to_come_back() -> None:
    async def scenario() -> None:
        async with listening(Script(), Limits(connections=2)) as running:
            first, second = await running.client(), await running.client()
            for client in (first, second):
                client.send(GET)
                assert (await client.answer())[0] == 200
            answer = await running.ask(b"")
            assert answer.startswith(b"HTTP/1.1 503")
            assert b"retry-after: 1" in answer
            first.close()
            async with asyncio.timeout(SECONDS):
                while running.listener.connections > 1:
                    await asyncio.sleep(0.01)
            third = await running.client()
            third.send(GET)
            assert (await third.answer())[0] == 200
            second.close()
            third.close()

    uvloop.run(scenario())


def test_over_the_budget_a_request_is_refused_and_the_bytes_given_back() -> None:
    async def scenario() -> None:
        handler = Script(hold, body_limit=10_000_000)
        async with listening(handler, Limits(buffered=1_048_576)) as running:
            holding = await running.client()
            holding.send(post(b"x" * 900_000))
            await handler.wait_for(lambda: handler.requests)
            assert 900_000 <= running.budget.held < 1_000_000
            answer = await running.ask(post(b"y" * 300_000))
            assert answer.startswith(b"HTTP/1.1 503")
            handler.requests[0].end()
            holding.close()
            async with asyncio.timeout(SECONDS):
                while running.listener.connections:
                    await asyncio.sleep(0.01)
            assert running.budget.held == 0

    uvloop.run(scenario())


def test_the_budget_counts_a_body_while_it_comes() -> None:
    async def scenario() -> None:
        handler = Script(body_limit=10_000_000)
        async with listening(handler) as running:
            client = await running.client()
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n" + b"x" * 400_000)
            async with asyncio.timeout(SECONDS):
                while running.budget.held < 400_000:
                    await asyncio.sleep(0.01)
            client.send(b"x" * 100_000)
            assert (await client.answer())[0] == 200
            assert running.budget.held == 0
            client.close()

    uvloop.run(scenario())


def test_draining_finishes_what_is_under_way_and_closes_the_rest() -> None:
    async def scenario() -> None:
        handler = Script(hold)
        async with listening(handler) as running:
            idle, busy = await running.client(), await running.client()
            idle.send(GET)
            await handler.wait_for(lambda: handler.requests)
            echo(handler.requests.pop())
            await idle.answer()
            busy.send(GET + GET)
            await handler.wait_for(lambda: handler.requests)
            draining = asyncio.create_task(running.listener.drain(5))
            assert await idle.closed()
            with pytest.raises(OSError):
                await running.client()
            assert not draining.done()
            echo(handler.requests[0])
            _, headers, content = await busy.answer()
            assert (headers[b"connection"], content) == (b"close", b"GET /a ")
            busy.half_close()
            assert await busy.closed()
            async with asyncio.timeout(SECONDS):
                await draining
            assert len(handler.requests) == 1
            idle.close()
            busy.close()

    uvloop.run(scenario())


def test_draining_ends_in_time_whoever_dawdles() -> None:
    async def scenario() -> None:
        handler = Script(hold)
        async with listening(handler) as running:
            client = await running.client()
            client.send(GET)
            await handler.wait_for(lambda: handler.requests)
            async with asyncio.timeout(2):
                await running.listener.drain(0.1)
            assert handler.gone == handler.requests
            assert await client.closed()
            client.close()

    uvloop.run(scenario())


def test_draining_without_connections_is_done_at_once() -> None:
    async def scenario() -> None:
        async with listening(Script()) as running, asyncio.timeout(1):
            await running.listener.drain(30)

    uvloop.run(scenario())


@pytest.fixture
def tls(tmp_path: Path) -> GatewayTls:
    certificate, key = tmp_path / "gateway.pem", tmp_path / "gateway.key"
    write_certificate(certificate, key)
    return GatewayTls(certificate=certificate, key=key)


def test_tls_is_served_with_a_current_version(tls: GatewayTls) -> None:
    async def scenario() -> None:
        async with listening(Script(), tls=tls) as running:
            context = ssl.create_default_context(cafile=str(tls.certificate))
            client = await running.client(context)
            client.send(post(b"over tls"))
            assert (await client.answer())[2] == b"POST /a over tls"
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
            assert (await client.answer())[0] == 400
            client.close()
            old = ssl.create_default_context(cafile=str(tls.certificate))
            old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
            old.maximum_version = ssl.TLSVersion.TLSv1_1
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await running.client(old)

    uvloop.run(scenario())


def test_plain_text_on_a_tls_port_and_a_handshake_that_stalls_are_closed(tls: GatewayTls) -> None:
    async def scenario() -> None:
        async with listening(Script(), Limits(head_time=0.2), tls=tls) as running:
            assert not (await running.ask(GET)).startswith(b"HTTP/1.1 200")
            client = await running.client()
            assert await client.closed()
            client.close()

    uvloop.run(scenario())


def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path, tls: GatewayTls) -> None:
    async def scenario() -> None:
        broken = tmp_path / "broken.pem"
        broken.write_text("no certificate")
        for wrong in (
            GatewayTls(certificate=broken, key=tls.key),
            GatewayTls(certificate=tmp_path / "absent.pem", key=tls.key),
        ):
            with pytest.raises(GatewayError, match=str(wrong.certificate)):
                async with listening(Script(), tls=wrong):
                    pass

    uvloop.run(scenario())


def test_a_taken_port_is_named_and_a_shared_one_is_shared() -> None:
    async def scenario() -> None:
        handler = Script()
        async with listening(handler) as running:
            other = Listener(handler, Limits(), running.sweep, running.budget)
            with pytest.raises(GatewayError, match=str(running.port)):
                await other.start("127.0.0.1", running.port)
            first, second = (Listener(handler, Limits(), running.sweep, running.budget) for _ in range(2))
            port = await first.start("127.0.0.1", 0, reuse_port=True)
            assert await second.start("127.0.0.1", port, reuse_port=True) == port
            await first.close()
            await second.close()

    uvloop.run(scenario())


def test_small_answers_are_not_held_back() -> None:
    async def scenario() -> None:
        async with listening(Script()) as running:
            client = await running.client()
            client.send(GET)
            await client.answer()
            (connection,) = running.listener._connections
            sock = connection._transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            client.close()

    uvloop.run(scenario())


def test_it_also_runs_on_the_standard_event_loop() -> None:
    async def scenario() -> None:
        async with listening(Script()) as running:
            client = await running.client()
            client.send(post(b"1") + post(b"2"))
            assert [(await client.answer())[2] for _ in range(2)] == [b"POST /a 1", b"POST /a 2"]
            client.close()

    asyncio.run(scenario())
