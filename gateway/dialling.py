"""Opening a connection to an upstream: name resolution, one address after the other with a head start, TLS verified."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from itertools import chain, zip_longest
from typing import Any

from gateway.errors import GatewayError, UpstreamError
from gateway.settings import Endpoint

_HEAD_START = 0.25
_ADDRESSES = 8
_Address = tuple[Any, ...]


def client_context(endpoint: Endpoint) -> ssl.SSLContext:
    """TLS 1.2 or newer, the certificate and host name always verified, against the endpoint's own CA if it has one."""
    try:
        context = ssl.create_default_context(cafile=str(endpoint.ca) if endpoint.ca is not None else None)
    except (OSError, ssl.SSLError) as error:
        raise GatewayError(f"endpoint {endpoint.id}: cannot read the CA file {endpoint.ca}: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


async def dial(
    name: str,
    host: str,
    port: int,
    context: ssl.SSLContext | None,
    seconds: float,
    factory: Callable[[], asyncio.Protocol],
) -> None:
    """Connect `factory()`'s protocol to the endpoint called `name` within `seconds`. Raises UpstreamError, not sent."""
    try:
        async with asyncio.timeout(seconds):
            sock = await _connect(host, port)
            await _wrap(sock, host, context, factory)
    except TimeoutError:
        raise UpstreamError(
            "timeout", f"endpoint {name} did not accept a connection within {seconds:g} s", sent=False
        ) from None
    except ssl.SSLCertVerificationError as error:
        detail = f"the certificate of endpoint {name} does not verify: {error.verify_message}"
        raise UpstreamError("tls", detail, sent=False) from None
    except ssl.SSLError as error:
        raise UpstreamError("tls", f"no TLS connection to endpoint {name}: {error.reason}", sent=False) from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UpstreamError("connect", f"endpoint {name} cannot be reached: {reason}", sent=False) from None


async def _wrap(
    sock: socket.socket, host: str, context: ssl.SSLContext | None, factory: Callable[[], asyncio.Protocol]
) -> None:
    loop = asyncio.get_running_loop()
    try:
        await loop.create_connection(factory, sock=sock, ssl=context, server_hostname=host if context else None)
    except BaseException:
        sock.close()
        raise


async def _connect(host: str, port: int) -> socket.socket:
    """A connected socket: the first address to answer wins, each being given a head start (RFC 8305)."""
    loop = asyncio.get_running_loop()
    try:
        infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise OSError(errno.EINVAL, "its host is no name that can be looked up") from None
    addresses = _interleaved([(info[0], info[4]) for info in infos])[:_ADDRESSES]
    pending: set[asyncio.Task[socket.socket]] = set()
    failure: OSError = OSError("no address")
    try:
        while addresses or pending:
            if addresses:
                pending.add(loop.create_task(_open(*addresses.pop(0))))
            done, pending = await asyncio.wait(
                pending, timeout=_HEAD_START if addresses else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                error = task.exception()
                if error is None:
                    return task.result()
                if not isinstance(error, OSError):
                    raise error
                # Another one that says the same: this one's steps name the task, and it names them.
                failure = OSError(error.errno, error.strerror or type(error).__name__)
    finally:
        for task in pending:
            task.cancel()
            task.add_done_callback(_discard)
    try:
        raise failure
    finally:
        del failure  # it names this step, which would name it


def _discard(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _open(family: int, address: _Address) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def _interleaved(addresses: list[tuple[int, _Address]]) -> list[tuple[int, _Address]]:
    """Alternate between the address families, in the resolver's order of preference."""
    first = [address for address in addresses if address[0] == addresses[0][0]]
    others = [address for address in addresses if address[0] != addresses[0][0]]
    return [address for address in chain.from_iterable(zip_longest(first, others)) if address is not None]
