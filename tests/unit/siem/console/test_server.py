"""The server as a part of its process: TLS, readiness, the log going away and coming back, an end in good order."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from lineage import actions
from lineage.actions import Stamp
from lineage.metrics import Meter
from lineage.paths import Paths
from lineage.reader import open_reader
from lineage.record import decode, encode
from lineage.state import open_state
from siem.console import protocol
from siem.console.accounts import Accounts
from siem.console.deps import Facts
from siem.console.errors import NotSignedIn
from siem.console.server import bound, run_control
from siem.console.sign_in import SignIn
from siem.settings import Control
from tests.support.certificates import write_certificate
from tests.support.console import BOOT, PASSWORD, running_console
from tests.support.logs import connect, data_directory, running_writer, start_writer
from tests.support.records import intent


@pytest.fixture
def tls(tmp_path: Path) -> tuple[Control, ssl.SSLContext]:
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    write_certificate(certificate, key)
    settings = Control(listen="127.0.0.1:0", tls={"certificate": certificate, "key": key})
    return settings, ssl.create_default_context(cafile=str(certificate))


def test_with_tls_the_cookie_is_bound_to_the_host_and_browsers_stay_with_tls(tls):
    settings, trust = tls
    with running_console(settings, verify=trust) as console:
        console.make_account("root", "admin")
        answer = console.http().post("/api/v1/session", json={"account": "root", "password": PASSWORD})
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-cordon=")
        for part in ("Secure", "HttpOnly", "SameSite=strict", "Path=/"):
            assert part in cookie
        assert "Domain" not in cookie
        assert "max-age=31536000" in answer.headers["strict-transport-security"]
        token = answer.cookies["__Host-cordon"]
        plain_name = console.http(cookies={"cordon_console": token})
        assert plain_name.get("/api/v1/session").status_code == 401


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_tls_is_refused(tls):
    settings, trust = tls
    with running_console(settings, verify=trust) as console:
        port = int(console.url.rpartition(":")[2])
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)), socket.create_connection(("127.0.0.1", port)) as plain:
            old.wrap_socket(plain)


def test_behind_a_proxy_that_ends_tls_its_origin_counts_and_the_cookie_is_secure():
    with running_console(Control(listen="127.0.0.1:0", public_url="https://cordon.example")) as console:
        console.make_account("root", "admin")
        http = console.http(headers={"host": "cordon.example", "origin": "https://cordon.example"})
        answer = http.post("/api/v1/session", json={"account": "root", "password": PASSWORD})
        assert answer.status_code == 201
        assert answer.headers["set-cookie"].startswith("__Host-cordon=")
        evil = console.http(headers={"host": "cordon.example", "origin": "https://cordon.example.evil.example"})
        assert evil.post("/api/v1/session", json={"account": "root", "password": PASSWORD}).status_code == 403


def test_a_taken_address_is_an_error_that_names_it():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        bound("127.0.0.1", taken.getsockname()[1])


def test_metrics_of_all_processes_are_shown_to_who_may_see_them():
    with running_console() as console:
        meter = Meter("gateway-0")
        meter.inc("cordon_calls_total", ("openai", "allowed"), 7)
        meter.write(Paths(console.data_dir).metrics)
        admin = console.signed_in("root", "admin")
        text = admin.get("/metrics").text
        assert 'cordon_calls_total{process="gateway-0",route="openai",verdict="allowed"} 7.0' in text
        assert console.http().get("/metrics").status_code == 401


def test_of_a_pruned_record_the_server_says_so():
    with running_console() as console:
        token, key = actions.create_key(Stamp.now(BOOT), name="r", tenant="acme", roles=[], by="x", kind="reader")
        console.append(key)
        first = console.append(decode(intent(1)))
        console.append(
            actions.prune_log(Stamp.now(BOOT), console.client.control, before=first + 1, by="ann", reason="old")
        )
        admin = console.signed_in("root", "admin")
        for _ in range(200):
            with open_reader(console.data_dir) as reader:
                if not any(index == first for index, _ in reader.read(first, 1)):
                    break
            time.sleep(0.05)
        answer = admin.get(f"/api/v1/records/{first}")
        assert (answer.status_code, answer.json()["detail"]) == (
            404,
            "The record at this index was pruned for its age.",
        )
        headers = {"authorization": f"Bearer {token}"}
        answer = console.http().get("/log/tile/entries/000.p/2", headers=headers)
        assert answer.status_code == 404
        assert "pruned for their age" in answer.json()["detail"]
        assert console.http().get(f"/log/proof/{first}", headers=headers).status_code == 200


def test_open_metrics_must_be_asked_for_by_an_unsafe_name():
    with running_console(Control(listen="127.0.0.1:0", unsafe_open_metrics=True)) as console:
        assert console.http().get("/metrics").status_code == 200
        assert console.http().get("/log/proof/0").status_code == 401


def test_without_the_log_writer_pages_are_read_but_nothing_is_changed_and_with_it_all_goes_on():
    with data_directory() as data_dir:
        asyncio.run(_through_an_outage(data_dir))


async def _through_an_outage(data_dir: Path) -> None:
    writer = start_writer(data_dir)
    client = await connect(data_dir)
    async with serving(data_dir) as (url, _), httpx.AsyncClient(base_url=url, timeout=20) as http:
        admin = await _sign_up(http, data_dir, client)
        held = {"target_type": "endpoint", "target": "openai-eu", "reason": "r", "seconds": 60}
        assert (await http.post("/api/v1/containments", json=held, headers=admin)).status_code == 201
        token = await _reader_token(client)

        writer.kill()
        writer.join()
        await _until(http, "/readyz", 503)
        assert (await http.get("/healthz")).status_code == 200
        assert "Takes no records" in (await http.get("/")).text
        refused = await http.post("/api/v1/containments", json=held, headers=admin)
        assert refused.status_code == 503
        assert "nothing was changed" in refused.json()["detail"]
        entering = await http.post("/api/v1/session", json={"account": "root", "password": PASSWORD})
        assert entering.status_code == 503
        assert "set-cookie" not in entering.headers
        assert len((await http.get("/api/v1/containments")).json()) == 1
        assert (await http.get("/log/proof/0", headers=token)).status_code == 200

        writer = start_writer(data_dir)
        await _until(http, "/readyz", 200)
        assert (await http.post("/api/v1/containments", json=held, headers=admin)).status_code == 201
    await client.close()
    writer.kill()
    writer.join()


async def _until(http: httpx.AsyncClient, path: str, status: int) -> None:
    async with asyncio.timeout(15):
        while (await http.get(path)).status_code != status:
            await asyncio.sleep(0.01)


async def _sign_up(http, data_dir, client) -> dict[str, str]:
    """The first account, by its link, over HTTP; the header with the CSRF token."""
    state = open_state(data_dir / "cordon.db")
    loop = asyncio.get_running_loop()

    def append(record) -> int:
        async def appended() -> int:
            return await client.append(encode(record))

        return asyncio.run_coroutine_threadsafe(appended(), loop).result(10)

    link = await asyncio.to_thread(Accounts(state, append, BOOT).first_link)
    state.dispose()
    same = {"sec-fetch-site": "same-origin"}
    made = await http.post(f"/invitation/{link}", data={"account": "root", "password": PASSWORD}, headers=same)
    assert made.status_code == 303
    entered = await http.post("/api/v1/session", json={"account": "root", "password": PASSWORD})
    return {"x-csrf-token": entered.json()["csrf"]}


async def _reader_token(client) -> dict[str, str]:
    text, record = actions.create_key(Stamp.now("cli"), name="auditor", tenant="acme", kind="reader", by="cli")
    await client.append(encode(record))
    return {"authorization": f"Bearer {text}"}


def test_failed_sign_ins_are_in_the_log_after_the_server_has_ended():
    with data_directory() as data_dir:
        asyncio.run(_guess_and_stop(data_dir))
        reader = open_reader(data_dir)
        kinds = [data for _, data in reader.read(0, 100) if b"admin.sign_in_failed" in data]
        reader.close()
        assert len(kinds) == 1
        assert b'"count":3' in kinds[0]
        assert b"guess" not in kinds[0]


async def _guess_and_stop(data_dir: Path) -> None:
    async with running_writer(data_dir), serving(data_dir) as (url, _), httpx.AsyncClient(base_url=url) as http:
        for number in range(3):
            await http.post("/api/v1/session", json={"account": f"guess{number}", "password": "guess guess guess"})


@asynccontextmanager
async def serving(data_dir: Path) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A control server in this event loop, stopped in good order afterwards."""
    client = await connect(data_dir)
    stop, ports = asyncio.Event(), asyncio.Queue[int]()
    settings, state = Control(listen="127.0.0.1:0"), data_dir / "cordon.db"
    facts = Facts(("acme",), {"openai": ("openai-eu",)})
    task = asyncio.create_task(
        run_control(settings, data_dir, state, client, BOOT, facts, Meter("control-0"), stop, ports.put_nowait)
    )
    try:
        yield f"http://127.0.0.1:{await ports.get()}", stop
    finally:
        stop.set()
        await asyncio.wait_for(task, 10)
        await client.close()


def test_a_request_in_flight_is_answered_before_the_end(monkeypatch):
    entered, release = threading.Event(), threading.Event()

    def slow(*_: object) -> str:
        entered.set()
        release.wait(10)
        raise NotSignedIn("The account or the password is not right.")

    monkeypatch.setattr(SignIn, "sign_in", slow)
    with data_directory() as data_dir:
        asyncio.run(_stop_in_flight(data_dir, entered, release))


async def _stop_in_flight(data_dir: Path, entered: threading.Event, release: threading.Event) -> None:
    async with running_writer(data_dir), serving(data_dir) as (url, stop), httpx.AsyncClient(base_url=url) as http:
        asked = {"account": "x", "password": "guess guess guess"}
        answer = asyncio.create_task(http.post("/api/v1/session", json=asked))
        await asyncio.to_thread(entered.wait, 10)
        stop.set()
        release.set()
        assert (await answer).status_code == 401


def test_connections_that_send_no_head_in_time_are_closed(monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    with running_console() as console:
        host, port = console.url.removeprefix("http://").split(":")
        for sent in (b"", b"GET / HTTP/1.1\r\nHost: local", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /he"):
            with socket.create_connection((host, int(port)), timeout=5) as connection:
                connection.sendall(sent)
                begun = time.monotonic()
                received = b""
                while chunk := connection.recv(65_536):
                    received += chunk
                assert time.monotonic() - begun < 3
                assert (b" 200 " in received) == sent.startswith(b"GET /healthz")


def test_a_kept_alive_connection_serves_many_requests():
    with running_console() as console:
        http = console.http()
        assert {http.get("/healthz").status_code for _ in range(20)} == {200}
