"""An OPA server that is lost, slow, emptied or mad: every call is refused with its reason, and served again after."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.credentials import CredentialError
from policies.errors import BundleError, PolicyError
from policies.opa.wire import FAULTS, ServerError
from tests.support.certificates import write_certificate
from tests.support.gateway import free_ports
from tests.support.opa import Asked, asking, bundle_folder, opa_server
from tests.support.policies import MINIMAL, write

DENIES = 'package cordon.request\n\ndecision := {"allow": false}\n'


async def reason_of(asked: Asked) -> str:
    with pytest.raises(ServerError) as caught:
        await asked.allows()
    assert asked.errors(caught.value.reason) > 0
    return caught.value.reason


async def is_served(asked: Asked) -> bool:
    with contextlib.suppress(PolicyError):
        return await asked.allows()
    return False


def test_a_killed_server_denies_and_one_started_again_empty_gets_the_bundle_again(tmp_path: Path) -> None:
    async def scene() -> None:
        with opa_server() as opa:
            async with asking(opa.url, bundle_folder(tmp_path / "bundle"), tmp_path / "run") as asked:
                assert await asked.allows()
                opa.kill()
                assert await reason_of(asked) in {"connect", "broke_off"}
                await asked.until(lambda: asked.server == ["connect"])
                assert asked.meter.gauge("cordon_policy_server_up").value == 0
                opa.start()
                assert opa.modules() == {} or "cordon/request.rego" in opa.modules()
                await asked.until(lambda: is_served(asked))
                await asked.until(lambda: asked.server == ["connect", ""])
                assert asked.meter.gauge("cordon_policy_server_up").value == 1
                assert len(asked.loaded) == 1

    asyncio.run(scene())


def test_a_call_that_finds_the_server_emptied_waits_for_the_bundle_and_is_decided(tmp_path: Path) -> None:
    """Nothing watches here on its own: it is the call that wakes the push, long before the next look."""

    async def scene() -> None:
        with opa_server() as opa:
            folder = bundle_folder(tmp_path / "bundle")
            async with asking(opa.url, folder, tmp_path / "run", reload_seconds=60, deadline_ms=10_000) as asked:
                assert await asked.allows()
                opa.kill()
                opa.start()
                assert await asked.allows()

    asyncio.run(scene())


def test_a_frozen_server_denies_within_the_deadline_and_leaks_no_connection(tmp_path: Path) -> None:
    async def scene() -> None:
        with opa_server() as opa:
            folder = bundle_folder(tmp_path / "bundle")
            options = {"deadline_ms": 200, "connections": 8}
            async with asking(opa.url, folder, tmp_path / "run", watch=False, **options) as asked:
                assert await asked.allows()
                opa.pause()
                began = asyncio.get_running_loop().time()
                results = await asyncio.gather(*(asked.allows() for _ in range(50)), return_exceptions=True)
                assert asyncio.get_running_loop().time() - began < 2
                assert all(isinstance(each, ServerError) and each.reason == "timeout" for each in results)
                assert asked.pool.connections == 0
                opa.go_on()
                assert await asked.allows()
                assert asked.errors("timeout") == 50

    asyncio.run(scene())


def test_no_more_connections_are_open_than_configured(tmp_path: Path) -> None:
    async def scene() -> None:
        with opa_server() as opa:
            folder = bundle_folder(tmp_path / "bundle")
            options = {"deadline_ms": 10_000, "connections": 4}
            async with asking(opa.url, folder, tmp_path / "run", watch=False, **options) as asked:
                assert all(await asyncio.gather(*(asked.allows() for _ in range(100))))
                assert 1 <= asked.pool.connections <= 4

    asyncio.run(scene())


def test_a_cordon_that_starts_before_its_server_refuses_until_it_is_there(tmp_path: Path) -> None:
    async def scene() -> None:
        with opa_server() as opa:
            opa.kill()
            async with asking(opa.url, bundle_folder(tmp_path / "bundle"), tmp_path / "run") as asked:
                assert await reason_of(asked) == "connect"
                assert asked.server == ["connect"]
                opa.start()
                await asked.until(lambda: is_served(asked))

    asyncio.run(scene())


def test_a_server_that_another_filled_decides_nothing_for_us(tmp_path: Path) -> None:
    async def scene() -> None:
        with opa_server() as opa:
            mine, other = bundle_folder(tmp_path / "mine"), bundle_folder(tmp_path / "other", request=DENIES)
            async with asking(opa.url, mine, tmp_path / "run") as asked:
                assert await asked.allows()
                async with asking(opa.url, other, tmp_path / "run2") as stranger:
                    assert not await stranger.allows()
                    assert await reason_of(asked) == "revision"
                    await asked.until(lambda: asked.server == ["revision"])
                    await asyncio.sleep(0.5)
                    assert not await stranger.allows()  # nobody fights for the server

    asyncio.run(scene())


# Nonsense ------------------------------------------------------------------------------------------------------------


def http(body: bytes, status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{more}\r\n".encode() + body


ENDLESS = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + (b"10000\r\n" + b" " * 65_536 + b"\r\n") * 3
MARKED = {"mark": "m" * 32, "revision": "r", "result": {"allow": True}}
NONSENSE: dict[str, tuple[bytes, str]] = {
    "no json": (http(b"<html>hello</html>"), "nonsense"),
    "a list": (http(b"[true]"), "nonsense"),
    "true": (http(b"true"), "nonsense"),
    "a bare result": (http(b'{"result": true}'), "nonsense"),
    "an allowance without a mark": (http(b'{"result": {"result": {"allow": true}}}'), "empty"),
    "an allowance of a strange bundle": (http(json.dumps({"result": MARKED}).encode()), "revision"),
    "a mark of a strange type": (http(b'{"result": {"mark": ["x"], "revision": "r"}}'), "nonsense"),
    "no content": (http(b"", "204 No Content"), "status"),
    "a server error": (http(b'{"code": "internal_error"}', "500 Internal Server Error"), "status"),
    "bad gateway": (http(json.dumps({"result": MARKED}).encode(), "502 Bad Gateway"), "status"),
    "not found": (http(b"{}", "404 Not Found"), "status"),
    "unauthorized": (http(b"{}", "401 Unauthorized"), "unauthorized"),
    "a redirect": (http(b"", "302 Found", "location: http://169.254.169.254/\r\n"), "redirect"),
    "huge": (http(b'{"result": "' + b"x" * 1_000_000 + b'"}'), "too_large"),
    "endless": (ENDLESS, "too_large"),
    "compressed": (http(b"\x1f\x8b\x08", more="content-encoding: gzip\r\n"), "nonsense"),
    "no http": (b"\x00\x01\x02 hello\r\n\r\n", "nonsense"),
    "cut short": (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{}", "broke_off"),
    "nothing": (b"", "broke_off"),
}  # fmt: skip


@asynccontextmanager
async def mad_server(answer: Callable[[], bytes]) -> AsyncIterator[str]:
    """Says the same to whatever it is asked, and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer())
            await writer.drain()
            await asyncio.sleep(0.05)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", free_ports(1)[0])
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_denies_with_its_reason(tmp_path: Path, name: str) -> None:
    answer, reason = NONSENSE[name]

    async def scene() -> None:
        folder = bundle_folder(tmp_path / "bundle")
        async with mad_server(lambda: answer) as url, asking(url, folder, tmp_path / "run", watch=False) as asked:
            assert await reason_of(asked) == reason
            assert asked.server != []
            assert set(asked.server) <= set(FAULTS)

    asyncio.run(scene())


def test_nonsense_denies_where_the_server_has_its_own_bundles(tmp_path: Path) -> None:
    for body in (b'{"result": {"allow": true}}', b'{"result": {"allow": true}, "provenance": {"bundles": {}}}',
                 b'{"result": {"allow": true}, "provenance": {"bundles": {"a": {}}}}',
                 b'{"result": {"allow": true}, "provenance": {"bundles": {"a": {"revision": ""}}}}',
                 b'{"result": {"allow": true}, "provenance": ["a"]}'):  # fmt: skip

        async def scene(body: bytes = body) -> None:
            folder = tmp_path / "nowhere"
            options = {"watch": False, "push": False}
            async with mad_server(lambda: http(body)) as url, asking(url, folder, tmp_path, **options) as asked:
                assert await reason_of(asked) in {"empty", "revision"}

        asyncio.run(scene())


# Secured servers -----------------------------------------------------------------------------------------------------

AUTHZ = 'package system.authz\n\ndefault allow := false\n\nallow if input.identity == "s3cret"\n'


def test_a_server_that_asks_for_a_token_gets_it_and_nobody_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "authz.rego").write_text(AUTHZ)
    folder = bundle_folder(tmp_path / "bundle")
    secured = ("--authentication=token", "--authorization=basic", str(tmp_path / "authz.rego"))

    async def scene(token: str, reason: str) -> None:
        monkeypatch.setenv("OPA_TOKEN", token)
        with opa_server(*secured) as opa:
            async with asking(opa.url, folder, tmp_path / "run", watch=False, credential="env:OPA_TOKEN") as asked:
                if not reason:
                    assert await asked.allows()
                    return
                with pytest.raises(ServerError) as caught:
                    await asked.allows()
                assert caught.value.reason == reason
                assert token not in str(caught.value)

    asyncio.run(scene("s3cret", ""))
    asyncio.run(scene("wr0ng", "unauthorized"))
    with pytest.raises(CredentialError, match="OPA_TOKEN"):
        asyncio.run(scene("", ""))


def test_tls_is_verified_against_the_configured_authority(tmp_path: Path) -> None:
    certificate, key = tmp_path / "opa.pem", tmp_path / "opa.key"
    write_certificate(certificate, key)
    folder = bundle_folder(tmp_path / "bundle")
    secured = (f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}")

    async def scene() -> None:
        with opa_server(*secured, scheme="https", ca=certificate) as opa:
            async with asking(opa.url, folder, tmp_path / "run", watch=False, ca=certificate) as asked:
                assert await asked.allows()
            async with asking(opa.url, folder, tmp_path / "run", watch=False) as asked:
                assert await reason_of(asked) == "tls"

    asyncio.run(scene())


def test_a_bundle_that_is_refused_at_the_first_start_is_an_error(tmp_path: Path) -> None:
    folder = write(tmp_path / "bundle", {**MINIMAL, "request.rego": "package cordon.request\n\ndecision := {\n"})

    async def scene() -> None:
        with opa_server() as opa, pytest.raises(BundleError, match=r"request\.rego:\d"):
            async with asking(opa.url, folder, tmp_path / "run"):
                pass

    asyncio.run(scene())
