"""A console whose PostgreSQL goes away and comes back: it says so, lets nobody in meanwhile, and goes on by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from lineage.errors import LogUnavailable
from lineage.metrics import Meter
from lineage.record import encode
from lineage.state import open_state
from siem.console.accounts import Accounts
from siem.console.server import run_control
from siem.settings import Control
from tests.support.console import BOOT, FACTS, PASSWORD
from tests.support.logs import connect, data_directory, start_writer
from tests.support.postgres import Postgres, postgres
from tests.support.relay import relay

PAGE = {"accept": "text/html"}
AWAY = "state database does not answer"


@asynccontextmanager
async def console(data_dir: Path, database: str) -> AsyncIterator[httpx.AsyncClient]:
    stop, told = asyncio.Event(), asyncio.get_running_loop().create_future()
    log = await connect(data_dir)
    serving = asyncio.create_task(
        run_control(
            Control(listen="127.0.0.1:0"), data_dir, data_dir / "cordon.db", log, BOOT, FACTS, Meter("control-0"),
            stop, told.set_result, database,
        )
    )  # fmt: skip
    try:
        await asyncio.wait((serving, told), return_when=asyncio.FIRST_COMPLETED)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{told.result()}", timeout=30) as http:
            yield http
    finally:
        stop.set()
        await serving
        await log.close()


async def until(http: httpx.AsyncClient, path: str, status: int) -> None:
    async with asyncio.timeout(30):
        while (await http.get(path)).status_code != status:
            await asyncio.sleep(0.05)


def make_admin(data_dir: Path, database: str) -> None:
    """With a log of its own: what is tested here is the console's state."""
    state = open_state(data_dir / "cordon.db", database)
    records: list[bytes] = []

    def append(record: object) -> int:
        records.append(encode(dict(record)))  # type: ignore[call-overload]
        return len(records) - 1

    accounts = Accounts(state, append, BOOT)
    token = accounts.first_link()
    assert token is not None
    accounts.accept(token, "root", PASSWORD)
    state.dispose()


async def enter(http: httpx.AsyncClient) -> httpx.Response:
    return await http.post("/api/v1/session", json={"account": "root", "password": PASSWORD})


def test_a_console_outlives_its_server_and_another_shows_the_same() -> None:
    with postgres() as server, data_directory() as data_dir:
        asyncio.run(_outage(server, data_dir))


async def _outage(server: Postgres, data_dir: Path) -> None:
    database = server.database()
    make_admin(data_dir, database)
    writer = start_writer(data_dir, database=database)
    async with console(data_dir, database) as one, console(data_dir, database) as two:
        await until(one, "/readyz", 200)
        assert (await enter(one)).status_code == 201
        two.cookies = one.cookies
        same = await two.get("/api/v1/accounts")
        assert same.status_code == 200 and [row["name"] for row in same.json()] == ["root"]

        await asyncio.to_thread(server.kill)
        await until(one, "/readyz", 503)
        assert (await one.get("/healthz")).status_code == 200
        async with httpx.AsyncClient(base_url=one.base_url, timeout=30, headers=PAGE) as stranger:
            for path in ("/sign-in", "/", "/alerts"):
                shown = await stranger.get(path)
                assert (shown.status_code, AWAY in shown.text) == (503, True), path
            form = {"account": "root", "password": PASSWORD}
            tried = await stranger.post("/sign-in", data=form, headers={"sec-fetch-site": "same-origin"})
            assert (tried.status_code, AWAY in tried.text, "set-cookie" in tried.headers) == (503, True, False)
            assert server.password not in tried.text and "psycopg" not in tried.text
        refused = await one.get("/api/v1/accounts")
        assert refused.status_code == 503 and AWAY in refused.json()["detail"]

        await asyncio.to_thread(server.start)
        for http in (one, two):
            await until(http, "/readyz", 200)
            assert (await http.get("/api/v1/accounts")).status_code == 200, "the session outlived it"
    writer.kill()
    writer.join()


def test_a_server_that_hangs_holds_nobody_up_for_long_nor_the_event_loop() -> None:
    with postgres() as server, data_directory() as data_dir, relay(server.port) as path:
        asyncio.run(_frozen(server, server.through(server.database(), path.port), data_dir))


async def _frozen(server: Postgres, database: str, data_dir: Path) -> None:
    make_admin(data_dir, database)
    writer = start_writer(data_dir, database=database)
    async with console(data_dir, database) as http:
        assert (await enter(http)).status_code == 201
        os.kill(server.pid, signal.SIGSTOP)
        children = [int(pid) for pid in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()]
        for pid in children:
            os.kill(pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            asking = [asyncio.create_task(http.get("/", headers=PAGE)) for _ in range(4)]
            while not all(task.done() for task in asking):
                probed = time.monotonic()
                assert (await http.get("/healthz")).status_code == 200
                assert time.monotonic() - probed < 2, "the event loop waits for the database"
                await asyncio.sleep(0.1)
            assert [task.result().status_code for task in asking] == [503] * 4
            assert time.monotonic() - began < 20
        finally:
            for pid in (*children, server.pid):
                os.kill(pid, signal.SIGCONT)
        await until(http, "/readyz", 200)
        assert (await http.get("/api/v1/accounts")).status_code == 200
    writer.kill()
    writer.join()


def test_a_server_that_is_not_there_is_named_without_its_password(tmp_path: Path) -> None:
    with postgres() as server:
        database = server.database()
    try:
        open_state(tmp_path / "cordon.db", database)
        raise AssertionError("it is not there")
    except LogUnavailable as error:
        assert "does not answer" in str(error) and server.password not in repr(error)
