"""Handshakes that fail, on real sockets with either event loop: each is counted once, by its reason."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from gateway.handshakes import REASONS, reason_of
from gateway.settings import Limits
from tests.support.certificates import Authority
from tests.support.listening import Listening, Script, listening
from tests.unit.gateway.test_tls import GET, Stage

LOOPS: list[Callable[[Any], Any]] = [uvloop.run, asyncio.run]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def connect(stage: Stage, case: str, port: int) -> None:
    """A client that does not come in."""
    context = stage.context()
    match case:
        case "expired_certificate":
            context = stage.context(stage.below.issue(days=-1))
        case "untrusted_certificate":
            context = stage.context(Authority("Other").issue())
        case "wrong_purpose":
            context = stage.context(stage.below.issue(purposes=[ssl_server()]))
        case "version":
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        case "refused_by_client":
            context = ssl.create_default_context()
    with socket.create_connection(("127.0.0.1", port), 10) as plain, contextlib.suppress(OSError):
        if case == "plain_http":
            plain.sendall(GET)
            plain.recv(100)
        elif case == "no_tls":
            plain.sendall(b"\x00" * 200)
            plain.recv(100)
        elif case == "broken_off":
            plain.sendall(b"\x16\x03\x01")
        else:
            with context.wrap_socket(plain, server_hostname="localhost") as secured:
                secured.sendall(GET)
                secured.recv(100)


def ssl_server() -> Any:
    from cryptography.x509.oid import ExtendedKeyUsageOID

    return ExtendedKeyUsageOID.SERVER_AUTH


async def failed(running: Listening, count: int) -> list[str]:
    async with asyncio.timeout(10):
        while len(running.handshakes) < count:
            gc.collect()
            await asyncio.sleep(0.02)
    return running.handshakes


CASES = [
    "no_certificate", "expired_certificate", "untrusted_certificate", "wrong_purpose", "plain_http", "version",
    "refused_by_client", "broken_off", "no_tls",
]  # fmt: skip


@pytest.mark.parametrize("run", LOOPS)
def test_each_failure_is_told_once_by_its_reason(stage: Stage, run: Callable[[Any], Any]) -> None:
    required = stage.tls.model_copy(update={"client_certificates": "required"})

    async def scenario() -> None:
        async with listening(Script(), tls=required) as running:
            for number, case in enumerate(CASES, 1):
                await asyncio.to_thread(connect, stage, case, running.port)
                assert (await failed(running, number))[number - 1] == case
            client = await running.client(stage.context(stage.agent))
            client.send(GET)
            assert (await client.answer())[0] == 200
            client.close()
        gc.collect()
        assert running.handshakes == CASES

    run(scenario())


@pytest.mark.parametrize("run", LOOPS)
def test_a_client_that_says_nothing_is_told_of_when_its_time_is_over(stage: Stage, run: Callable[[Any], Any]) -> None:
    async def scenario() -> None:
        async with listening(Script(), Limits(head_time=0.2), tls=stage.tls) as running:
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            with contextlib.suppress(OSError):
                assert await reader.read() == b""
            writer.close()
            assert await failed(running, 1) == ["broken_off"]

    run(scenario())


def test_every_failure_has_a_word_of_the_closed_set() -> None:
    for error in (ssl.SSLError(), ssl.SSLEOFError(), ssl.SSLError(1, "[SSL: NO_SUCH_REASON] x")):
        assert reason_of(error) in REASONS
    refused = ssl.SSLCertVerificationError()
    refused.verify_code = 7
    assert reason_of(refused) == "bad_certificate"
