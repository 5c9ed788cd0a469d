"""A control server to test against: a real log writer, a real state database, the application on loopback."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
from sqlalchemy import Engine

from lineage.actions import Stamp
from lineage.client import LogClient
from lineage.metrics import Meter
from lineage.reader import open_reader
from lineage.record import encode
from lineage.state import open_state
from policies.bundle import make_bundle
from siem.console.accounts import Accounts
from siem.console.deps import Facts
from siem.console.server import run_control
from siem.decision_logs.settings import DecisionLog
from siem.settings import Control
from tests.support.logs import connect, data_directory, running_writer

PASSWORD = "correct horse battery staple"
BOOT = "control-0-TEST"
RULES = b'package cordon.request\n\ndecision := {"allow": true}\n'
CONFIGURED = make_bundle({"main.rego": RULES})
FACTS = Facts(
    tenants=("acme", "globex"),
    routes={"openai": ("openai-eu", "openai-us"), "crm": ("crm-eu",)},
    configured=lambda: CONFIGURED,
    decision_logs=(DecisionLog(id="siem", url="https://collector.example"),),
)


@dataclass
class Console:
    """A running control server. Requests of `http()` come from a client without cookies of others."""

    data_dir: Path
    url: str
    client: LogClient
    loop: asyncio.AbstractEventLoop
    state: Engine
    meter: Meter
    clients: list[httpx.Client] = field(default_factory=list)
    verify: Any = True

    def http(self, **options: Any) -> httpx.Client:
        client = httpx.Client(base_url=self.url, verify=self.verify, timeout=20, **options)
        self.clients.append(client)
        return client

    def append(self, record: Mapping[str, object]) -> int:
        async def appended() -> int:
            return await self.client.append(encode(dict(record)))

        return asyncio.run_coroutine_threadsafe(appended(), self.loop).result(10)

    def accounts(self) -> Accounts:
        return Accounts(self.state, self.append, BOOT)

    def records(self, kind: str = "") -> list[dict[str, Any]]:
        reader = open_reader(self.data_dir)
        try:
            found = [orjson.loads(data) for _, data in reader.read(0, 100_000)]
        finally:
            reader.close()
        return [record for record in found if record["kind"].startswith(kind)]

    def make_account(self, name: str, *roles: str) -> None:
        accounts = self.accounts()
        token = accounts.invite(name, roles, "cli") if accounts.any() else accounts.first_link()
        assert token is not None
        accounts.accept(token, name, PASSWORD)

    def signed_in(self, name: str, *roles: str) -> Operator:
        accounts = self.accounts()
        if not accounts.any() and roles != ("admin",):
            self.make_account("root", "admin")
        if not accounts.known(name):
            self.make_account(name, *roles)
        http = self.http()
        answer = http.post("/api/v1/session", json={"account": name, "password": PASSWORD})
        assert answer.status_code == 201, answer.text
        return Operator(http, answer.json()["csrf"])


@dataclass
class Operator:
    """Somebody who is signed in, as a program or (with `form`) as a browser."""

    http: httpx.Client
    csrf: str

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.http.get(path, **options)

    def send(self, method: str, path: str, body: object = None) -> httpx.Response:
        return self.http.request(method, path, json=body, headers={"x-csrf-token": self.csrf})

    def form(self, path: str, **fields: Any) -> httpx.Response:
        return self.http.post(path, data={"csrf": self.csrf, **fields}, headers={"accept": "text/html"})


@contextmanager
def running_console(settings: Control | None = None, facts: Facts = FACTS, verify: Any = True) -> Iterator[Console]:
    """A log writer and a control server in an event loop of their own thread."""
    with data_directory() as data_dir:
        started: Future[Console] = Future()
        stop: list[Callable[[], object]] = []
        thread = threading.Thread(
            target=lambda: asyncio.run(
                _serve(data_dir, settings or Control(listen="127.0.0.1:0"), facts, started, stop)
            ),
            name="console",
        )
        thread.start()
        try:
            console = started.result(20)
            console.verify = verify
            yield console
            for client in console.clients:
                client.close()
            console.state.dispose()
        finally:
            for action in stop:
                action()
            thread.join(20)
        assert not thread.is_alive()


async def _serve(
    data_dir: Path, settings: Control, facts: Facts, started: Future[Console], stop: list[Callable[[], object]]
) -> None:
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    stop.append(lambda: loop.call_soon_threadsafe(stopping.set))
    try:
        async with running_writer(data_dir):
            client = await connect(data_dir)
            state = open_state(data_dir / "cordon.db")
            scheme = "https" if settings.tls else "http"

            meter = Meter("control-0")

            def ready(port: int) -> None:
                url = f"{scheme}://{'localhost' if settings.tls else settings.listen.rpartition(':')[0]}:{port}"
                started.set_result(Console(data_dir, url, client, loop, state, meter))

            await run_control(settings, data_dir, data_dir / "cordon.db", client, BOOT, facts, meter, stopping, ready)
            await client.close()
    except BaseException as error:
        if not started.done():
            started.set_exception(error)
        raise


def stamp() -> Stamp:
    return Stamp.now("gateway-0-TEST")
