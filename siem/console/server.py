"""The control server as a part of its process: opens what it needs, serves until told to stop, ends in order."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import structlog
import uvicorn

from lineage.client import LogClient
from lineage.errors import LineageError
from lineage.metrics import Meter
from lineage.reader import open_reader
from lineage.state import open_state
from siem.console.app import create_app
from siem.console.deps import Deps, Facts, assemble
from siem.console.journal import Journal
from siem.console.protocol import BoundedHead
from siem.settings import Control

log = structlog.get_logger("cordon.console")

REPORT_SECONDS: Final = 60.0
STOP_SECONDS: Final = 5


async def run_control(
    settings: Control,
    data_dir: Path,
    state_path: Path,
    client: LogClient,
    boot: str,
    facts: Facts,
    meter: Meter,
    stop: asyncio.Event,
    ready: Callable[[int], None],
    database: str = "",
) -> None:
    """Serve until `stop` is set. `ready` is called with the port once connections are taken.

    `client` is the process's connection to the log writer, `boot` the id of this life, `meter` counts what the console
    does, `database` is the setting that says where the log and the state are (without PostgreSQL, the state is the file
    at `state_path`). OSError when the address is taken, LogUnavailable when there is no log to read or the state cannot
    be opened.
    """
    reader = open_reader(data_dir, database)
    state = await asyncio.to_thread(open_state, state_path, database)
    try:
        journal = Journal(client, reader, asyncio.get_running_loop(), boot)
        deps = assemble(settings, data_dir, state, reader, journal, facts, meter, database)
        reporting = asyncio.create_task(_report(deps))
        try:
            await _serve(deps, stop, ready)
        finally:
            reporting.cancel()
            with suppress(LineageError):
                await asyncio.to_thread(deps.sign_in.failures.report, journal)
    finally:
        state.dispose()
        reader.close()


async def _serve(deps: Deps, stop: asyncio.Event, ready: Callable[[int], None]) -> None:
    listener = bound(deps.settings.host, deps.settings.port)
    server = Server(configured(deps))
    serving = asyncio.create_task(server.serve([listener]))
    begun, stopping = asyncio.create_task(server.begun.wait()), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((serving, begun), return_when=asyncio.FIRST_COMPLETED)
        if server.begun.is_set():
            ready(listener.getsockname()[1])
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    finally:
        server.should_exit = True
        begun.cancel()
        stopping.cancel()
        await serving
        listener.close()


async def _report(deps: Deps) -> None:
    """Write down failed sign-ins once a minute; while the log is away they are kept and added to."""
    while True:
        await asyncio.sleep(REPORT_SECONDS)
        try:
            await asyncio.to_thread(deps.sign_in.failures.report, deps.journal)
        except LineageError as error:
            log.warning("failed sign-ins could not be recorded yet", problem=str(error))


def bound(host: str, port: int) -> socket.socket:
    """A listening socket on this address; port 0 takes any free one. OSError names the address."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return socket.create_server(address[:2], family=family, backlog=128)


def configured(deps: Deps) -> uvicorn.Config:
    """How uvicorn serves: strict parser, bounded, and no log of addresses, since one-time links are addresses."""
    settings = deps.settings
    config = uvicorn.Config(
        create_app(deps),
        http=BoundedHead,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=settings.connections,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=STOP_SECONDS,
        h11_max_incomplete_event_size=16_384,
    )
    config.load()
    if settings.tls is not None:
        config.ssl = tls_context(settings.tls.certificate, settings.tls.key)
    return config


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer with this certificate chain."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context


class Server(uvicorn.Server):
    """Leaves signals to the process, and says when it has begun."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.begun = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Whoever runs the process decides what its signals mean."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take connections."""
        await super().startup(sockets)
        self.begun.set()
