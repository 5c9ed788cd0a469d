"""Opening connections to upstreams: names, several addresses, time limits, and TLS that is always verified."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from gateway.dialling import dial
from gateway.errors import GatewayError, UpstreamError
from gateway.settings import Endpoint, Limits
from tests.support.certificates import write_certificate
from tests.support.scripted import OK, Peer, always_ok, ask, begin, pooled, scripted


@contextlib.contextmanager
def deaf_address(port: int = 0) -> Iterator[tuple[str, int]]:
    """An address at which connections are neither accepted nor refused: its queue is full."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.2", port))
        listening.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(listening.getsockname())
        yield listening.getsockname()


def server_context(folder: Path, name: str = "upstream", **options: Any) -> ssl.SSLContext:
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    write_certificate(certificate, key, **options)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def test_a_name_with_several_addresses_is_reached_at_the_one_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object, **__: object) -> list[Any]:
        refusing, deaf, right = ("127.0.0.3", "127.0.0.2", "127.0.0.1")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, ports[0])) for ip in (refusing, deaf, right)]

    async def scenario() -> None:
        async with scripted() as upstream, pooled() as pool:
            ports.append(upstream.port)
            with deaf_address(upstream.port):
                monkeypatch.setattr(socket, "getaddrinfo", resolve)
                assert (await ask(pool, upstream.endpoint(host="several.example"))).content == b"ok"
                assert pool.connections == 1

    ports: list[int] = []
    asyncio.run(scenario())


def test_an_upstream_that_accepts_nothing_is_given_up_in_time() -> None:
    async def scenario() -> None:
        with deaf_address() as (host, port):
            async with pooled(Limits(connect_time=0.2)) as pool, asyncio.timeout(3):
                answer = await ask(pool, Endpoint(id="deaf", url=f"http://{host}:{port}"))
                assert answer.error is not None
                assert (answer.error.kind, answer.error.sent) == ("timeout", False)
                assert "deaf" in answer.error.detail
                assert "0.2 s" in answer.error.detail

    uvloop.run(scenario())


def test_a_name_that_does_not_resolve_is_a_connect_error() -> None:
    async def scenario() -> None:
        async with pooled() as pool:
            answer = await ask(pool, Endpoint(id="nowhere", url="http://nowhere.invalid"))
            assert answer.error is not None
            assert (answer.error.kind, answer.error.sent) == ("connect", False)

    uvloop.run(scenario())


def test_small_writes_are_not_held_back() -> None:
    async def scenario() -> None:
        async with scripted() as upstream:
            made: list[Any] = []

            class Kept(asyncio.Protocol):
                def connection_made(self, transport: asyncio.BaseTransport) -> None:
                    made.append(transport)

            await dial("stand-in", "127.0.0.1", upstream.port, None, 5, Kept)
            assert made[0].get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            made[0].abort()

    uvloop.run(scenario())


def test_a_verified_upstream_is_called_by_its_name(tmp_path: Path) -> None:
    names: list[str] = []

    async def scenario() -> None:
        context = server_context(tmp_path)
        context.sni_callback = lambda _, name, __: names.append(name)
        async with scripted(context=context) as upstream, pooled() as pool:
            endpoint = upstream.endpoint(host="localhost", ca=tmp_path / "upstream.pem")
            for _ in range(2):
                assert (await ask(pool, endpoint)).content == b"ok"
            assert upstream.connections == 1
        assert names == ["localhost"]

    uvloop.run(scenario())


def test_an_upstream_nobody_vouches_for_is_not_called(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scripted(context=server_context(tmp_path)) as upstream, pooled() as pool:
            write_certificate(tmp_path / "other.pem", tmp_path / "other.key")
            for ca in (None, tmp_path / "other.pem"):
                answer = await ask(pool, upstream.endpoint(host="localhost", ca=ca))
                assert answer.error is not None
                assert (answer.error.kind, answer.error.sent) == ("tls", False)
                assert "does not verify" in answer.error.detail
            assert pool.connections == 0

    uvloop.run(scenario())


@pytest.mark.parametrize("options", [{"host": "other.example"}, {"days": -1}])
def test_a_certificate_for_another_name_or_time_is_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    async def scenario() -> None:
        async with scripted(context=server_context(tmp_path, **options)) as upstream, pooled() as pool:
            answer = await ask(pool, upstream.endpoint(host="localhost", ca=tmp_path / "upstream.pem"))
            assert answer.error is not None
            assert (answer.error.kind, answer.error.sent) == ("tls", False)

    uvloop.run(scenario())


def test_an_upstream_without_tls_is_a_tls_error_and_a_silent_one_a_timeout() -> None:
    async def plain(peer: Peer) -> None:
        await peer.reader.read(100)
        await peer.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def silent(peer: Peer) -> None:
        await peer.reader.read()

    async def scenario() -> None:
        async with scripted(plain, silent) as upstream, pooled(Limits(connect_time=0.3)) as pool:
            upstream.scheme = "https"
            kinds = []
            for _ in range(2):
                answer = await ask(pool, upstream.endpoint(host="localhost"))
                assert answer.error is not None
                assert not answer.error.sent
                kinds.append(answer.error.kind)
            assert kinds == ["tls", "timeout"]

    uvloop.run(scenario())


def test_old_tls_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        context = server_context(tmp_path)
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        with pytest.warns(DeprecationWarning):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        async with scripted(context=context) as upstream, pooled() as pool:
            answer = await ask(pool, upstream.endpoint(host="localhost", ca=tmp_path / "upstream.pem"))
            assert answer.error is not None
            assert answer.error.kind in {"tls", "connect"}
            assert not answer.error.sent

    uvloop.run(scenario())


@pytest.mark.parametrize("proper", [True, False])
def test_over_tls_only_a_proper_end_completes_an_answer_without_framing(tmp_path: Path, proper: bool) -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\n\r\npart of it")
        await asyncio.sleep(0.05)
        if proper:
            peer.writer.close()
            await peer.writer.wait_closed()
        else:
            peer.writer.transport.abort()

    async def scenario() -> None:
        async with scripted(talk, context=server_context(tmp_path)) as upstream, pooled() as pool:
            answer = await ask(pool, upstream.endpoint(host="localhost", ca=tmp_path / "upstream.pem"))
            assert answer.content == b"part of it"
            assert answer.ended == proper
            assert (answer.error is None) == proper

    uvloop.run(scenario())


def test_a_ca_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "empty.pem").write_text("")
        async with pooled() as pool:
            for name in ("absent.pem", "empty.pem"):
                endpoint = Endpoint(id="e1", url="https://localhost", ca=tmp_path / name)
                with pytest.raises(GatewayError, match=name):
                    begin(pool, endpoint)

    uvloop.run(scenario())


def test_a_stale_tls_connection_is_replaced_like_any_other(tmp_path: Path) -> None:
    async def stale(peer: Peer) -> None:
        await peer.request()
        await peer.say(OK)
        await peer.request()

    async def scenario() -> None:
        async with scripted(stale, always_ok, context=server_context(tmp_path)) as upstream, pooled() as pool:
            endpoint = upstream.endpoint(host="localhost", ca=tmp_path / "upstream.pem")
            for _ in range(2):
                assert (await ask(pool, endpoint)).content == b"ok"
            assert upstream.connections == 2

    uvloop.run(scenario())


def test_the_error_of_a_failed_dial_says_that_nothing_was_sent() -> None:
    async def scenario() -> None:
        with pytest.raises(UpstreamError) as error:
            await dial("e1", "127.0.0.1", 1, None, 1, asyncio.Protocol)
        assert not error.value.sent

    uvloop.run(scenario())


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example"])
def test_a_host_that_is_no_name_is_an_endpoint_that_cannot_be_reached(host: str) -> None:
    async def scene() -> None:
        with pytest.raises(UpstreamError, match="cannot be reached: its host is no name") as raised:
            await dial("e", host, 80, None, 5.0, asyncio.Protocol)
        assert (raised.value.kind, raised.value.sent) == ("connect", False)

    asyncio.run(scene())


def test_a_dial_that_is_refused_leaves_nothing_to_the_collector() -> None:
    async def refused() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            with pytest.raises(UpstreamError, match="cannot be reached"):
                await dial("e", *taken.getsockname(), None, 5.0, asyncio.Protocol)

    async def scene() -> None:
        await refused()
        gc.collect()
        gc.disable()
        try:
            before = _frames()
            for _ in range(3):
                await refused()
            await asyncio.sleep(0)
            assert _frames() == before
        finally:
            gc.enable()

    uvloop.run(scene())


def _frames() -> int:
    return sum(isinstance(each, types.FrameType) for each in gc.get_objects())
