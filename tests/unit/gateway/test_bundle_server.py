"""One look at a bundle server over real connections: what is asked, and what each kind of answer becomes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.bundle_server import BundleServer
from gateway.settings import Limits
from gateway.sweep import Sweep
from lineage.metrics import Meter
from policies.download import DownloadedSource, DownloadError, Fetched
from policies.settings import Download, Policy
from tests.support.bundles import CONTENT, bundle_host
from tests.support.certificates import write_certificate
from tests.support.scripted import Peer, Talk, scripted

LIMIT = 10_000
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def saying(*answers: bytes) -> Talk:
    """Answer one request with each of these, then close."""

    async def talk(peer: Peer) -> None:
        for answer in answers:
            if not await peer.request():
                return
            await peer.say(answer)

    return talk


def whole(body: bytes, status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{more}\r\n".encode() + body


@asynccontextmanager
async def server(url: str, **options: object) -> AsyncIterator[BundleServer]:
    sweep = Sweep(0.02)
    settings = Policy(bundle=url, download=Download.model_validate({"timeout_seconds": 5, **options}))
    found = BundleServer(settings, Limits(), sweep)
    try:
        yield found
    finally:
        await found.close()
        sweep.close()


def fetched(talk: Talk, etag: str = "", wait: int = 0, **options: object) -> Fetched:
    async def play() -> Fetched:
        async with scripted(talk) as upstream:
            url = f"http://127.0.0.1:{upstream.port}/b.tar.gz"
            async with server(url, **options) as found:
                return await found.fetch(etag, wait, LIMIT)

    return asyncio.run(play())


def fails(talk: Talk, **options: object) -> str:
    with pytest.raises(DownloadError) as caught:
        fetched(talk, **options)  # type: ignore[arg-type]
    return str(caught.value)


def asked(**options: object) -> bytes:
    """The request that is sent."""
    requests: list[bytes] = []

    async def talk(peer: Peer) -> None:
        requests.append(await peer.request())
        await peer.say(whole(b"ok"))

    fetched(talk, **options)  # type: ignore[arg-type]
    return requests[0].lower()


def test_an_answer_comes_whole_with_its_etag_and_type() -> None:
    more = 'etag: "7"\r\ncontent-type: application/gzip\r\n'
    assert fetched(saying(whole(b"content", more=more))) == Fetched(200, '"7"', "application/gzip", b"content")
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    assert fetched(saying(chunked)).body == b"abcde"


def test_the_etag_the_wait_and_the_token_are_sent(tmp_path: Path) -> None:
    plain = asked()
    assert plain.startswith(b"get /b.tar.gz http/1.1\r\n")
    assert b"prefer: modes=snapshot\r\n" in plain
    assert b"if-none-match" not in plain and b"authorization" not in plain
    token = tmp_path / "token"
    token.write_text("first\n")
    told = asked(etag='"7"', wait=20, credential=f"file:{token}")
    assert b'if-none-match: "7"\r\n' in told
    assert b"prefer: modes=snapshot;wait=20\r\n" in told
    assert b"authorization: bearer first\r\n" in told


def test_a_token_that_is_renewed_is_read_anew(tmp_path: Path) -> None:
    token = tmp_path / "token"
    seen: list[bytes] = []

    async def talk(peer: Peer) -> None:
        while request := await peer.request():
            seen.append(request.lower())
            await peer.say(whole(b"ok"))

    async def play() -> None:
        async with scripted(talk) as upstream:
            async with server(f"http://127.0.0.1:{upstream.port}/b", credential=f"file:{token}") as found:
                for text in ("first", "second"):
                    token.write_text(text)
                    await found.fetch("", 0, LIMIT)
                token.unlink()
                with pytest.raises(DownloadError) as caught:
                    await found.fetch("", 0, LIMIT)
                assert "second" not in str(caught.value)
            assert upstream.connections == 1

    asyncio.run(play())
    assert [b"bearer first" in seen[0], b"bearer second" in seen[1], len(seen)] == [True, True, 2]


def test_the_body_of_what_is_no_bundle_goes_no_further() -> None:
    assert fetched(saying(whole(b"secret page", "500 Oops"))) == Fetched(500, "", "", b"")
    assert fetched(saying(b'HTTP/1.1 304 Not Modified\r\netag: "7"\r\n\r\n')) == Fetched(304, '"7"', "", b"")


def test_redirects_are_not_followed() -> None:
    moved = saying(whole(b"", "302 Found", "location: http://127.0.0.1:1/elsewhere\r\n"))
    assert fetched(moved).status == 302


@pytest.mark.parametrize(
    ("talk", "said"),
    [
        (saying(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort"), "the server"),
        (saying(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab"), "the server"),
        (saying(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc"), "the server"),
        (saying(b"SSH-2.0-OpenSSH\r\n\r\n"), "the server"),
        (saying(b""), "the server"),
        (saying(whole(b"x", more="content-encoding: gzip\r\n")), "compressed on the way"),
        (saying(whole(bytes(LIMIT + 1))), f"longer than {LIMIT} bytes"),
        (saying(CHUNKED + b"1000\r\n" + bytes(4096) + b"\r\n2000\r\n" + bytes(8192) + b"\r\n0\r\n\r\n"), "longer than"),
    ],
)  # fmt: skip
def test_broken_answers_are_none(talk: Talk, said: str) -> None:
    told = fails(talk)
    assert said in told
    assert "endpoint bundle" not in told


async def never(peer: Peer) -> None:
    await peer.request()
    await peer.request()


async def drips(peer: Peer) -> None:
    """A byte now and then: each read is in time, the whole is not."""
    await peer.request()
    await peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n")
    while True:
        await peer.say(b"x")
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("talk", [never, drips])
def test_a_server_that_is_slow_is_left_after_the_time_for_the_whole(talk: Callable[[Peer], Awaitable[None]]) -> None:
    assert "no whole answer within 0.3 s" in fails(talk, timeout_seconds=0.3)


def test_a_server_that_is_not_there_is_told() -> None:
    async def play() -> str:
        async with server("http://127.0.0.1:1/b.tar.gz") as found:
            with pytest.raises(DownloadError) as caught:
                await found.fetch("", 0, LIMIT)
            return str(caught.value)

    assert "the server" in asyncio.run(play())


def test_tls_is_verified_against_the_configured_authority(tmp_path: Path) -> None:
    write_certificate(tmp_path / "c.pem", tmp_path / "k.pem")
    write_certificate(tmp_path / "other.pem", tmp_path / "other.key")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "c.pem", tmp_path / "k.pem")

    async def play() -> None:
        async with scripted(saying(whole(b"ok")), context=context) as upstream:
            url = f"https://localhost:{upstream.port}/b.tar.gz"
            for ca in (None, tmp_path / "other.pem"):
                async with server(url, ca=ca) as found:
                    with pytest.raises(DownloadError):
                        await found.fetch("", 0, LIMIT)
        async with (
            scripted(saying(whole(b"ok")), context=context) as upstream,
            server(f"https://localhost:{upstream.port}/b.tar.gz", ca=tmp_path / "c.pem") as found,
        ):
            assert (await found.fetch("", 0, LIMIT)).body == b"ok"

    asyncio.run(play())


def test_a_server_that_holds_requests_open_has_its_news_taken_up() -> None:
    async def play() -> None:
        with bundle_host(CONTENT) as host:
            async with server(host.url, wait_seconds=20) as found:
                settings = Policy(bundle=host.url, download=Download(wait_seconds=20), reload_seconds=0.01)
                source = DownloadedSource(settings, found, Meter("test"))
                await source.open()
                first = await source.look()
                running = asyncio.create_task(source.run())
                async with asyncio.timeout(20):
                    while len(host.asked) < 2:
                        await asyncio.sleep(0.01)
                    await asyncio.to_thread(host.put, {**CONTENT, "more.rego": b"package more\n"})
                    while await source.look() == first:
                        await asyncio.sleep(0.01)
                assert "more.rego" in (await source.load()).modules
                assert host.asked[0].get("if-none-match") is None
                assert host.asked[1]["prefer"] == "modes=snapshot;wait=20"
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    asyncio.run(play())
