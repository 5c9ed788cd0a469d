"""What every request passes: the host, the size, the time; and what every answer carries."""

from __future__ import annotations

import select
import socket
import time

import httpx
import pytest

from siem.console.guard import host_name
from siem.settings import Control
from tests.support.console import Console, running_console


def raw(console: Console, data: bytes, *, wait: float = 5.0) -> bytes:
    """What the server answers to these very bytes, until it closes or nothing comes any more."""
    host, port = console.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=wait) as connection:
        connection.sendall(data)
        received = b""
        try:
            while chunk := connection.recv(65_536):
                received += chunk
                if b"\r\n\r\n" in received and b"Connection: close" not in data:
                    break
        except TimeoutError:
            pass
        return received


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost", "localhost"),
        ("LocalHost:8081", "localhost"),
        ("127.0.0.1:8081", "127.0.0.1"),
        ("[::1]:8081", "::1"),
        ("[::1]", "::1"),
        ("::1", "::1"),
        ("cordon.example.", "cordon.example"),
        ("cordon.example.:80", "cordon.example"),
        ("evil.example:80@localhost", "evil.example:80@localhost"),
        ("localhost:80:80", "localhost:80:80"),
        ("", ""),
    ],
)
def test_a_host_header_is_read_as_one_name(host, name):
    assert host_name(host) == name


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8081",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil.example#localhost",
        "localhost@evil.example",
        "localhost evil.example",
        "127.0.0.2",
        "0.0.0.0",
        "2130706433",
        "[::ffff:127.0.0.1]",
        "",
    ],
)
def test_a_page_on_a_rebound_name_gets_nothing(console, host):
    for path in ("/", "/api/v1/session", "/log/checkpoint", "/static/console.css", "/sign-in"):
        answer = console.http().get(path, headers={"host": host})
        assert answer.status_code in {400, 421}, (host, path)
        assert "set-cookie" not in answer.headers


def test_requests_that_name_two_hosts_or_none_are_refused(console):
    assert b" 400 " in raw(console, b"GET /sign-in HTTP/1.1\r\n\r\n")
    two = raw(console, b"GET /sign-in HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
    assert b" 400 " in two or b" 421 " in two
    old = raw(console, b"GET /sign-in HTTP/1.0\r\n\r\n")
    assert b" 421 " in old


def test_an_absolute_address_does_not_choose_the_host(console):
    answer = raw(console, b"GET http://localhost/sign-in HTTP/1.1\r\nHost: evil.example\r\n\r\n")
    assert b" 421 " in answer or b" 404 " in answer


def test_a_probe_by_address_is_answered_whatever_its_host(console):
    for path in ("/healthz", "/readyz"):
        assert console.http().get(path, headers={"host": "10.1.2.3:8081"}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/sign-in", "/healthz", "/nowhere", "/api/v1/calls", "/log/vkey", "/static/console.css", "/metrics"]
)
def test_every_answer_carries_the_headers_that_bind_the_browser(console, path):
    headers = console.http().get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert "server" not in headers
    assert "strict-transport-security" not in headers
    assert "access-control-allow-origin" not in headers


def test_nothing_is_cached_but_static_files_and_finished_tiles(console, admin):
    assert admin.get("/").headers["cache-control"] == "no-store"
    assert admin.get("/api/v1/calls").headers["cache-control"] == "no-store"
    assert console.http().get("/static/console.css").headers["cache-control"] == "no-cache"
    assert "immutable" in console.http().get("/static/console.css?v=1").headers["cache-control"]


def test_a_body_over_the_limit_is_refused_before_it_is_read(console, admin):
    big = b"x" * 70_000
    answer = console.http().post("/api/v1/session", content=big, headers={"content-type": "application/json"})
    assert answer.status_code == 413
    chunked = console.http().post(
        "/api/v1/session", content=iter([b"x" * 40_000] * 2), headers={"content-type": "application/json"}
    )
    assert chunked.status_code == 413
    form = admin.http.post(
        "/containments",
        content=iter([b"a=" + b"x" * 40_000] * 2),
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    assert form.status_code == 413


def test_who_is_still_sending_when_the_limit_is_known_sees_the_answer(console):
    host, port = console.url.removeprefix("http://").split(":")
    head = b"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(head)
        assert select.select([connection], [], [], 0.3)[0] == [], "an answer now would be lost with the connection"
        connection.sendall(b"x" * 900_000)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 413")


def test_who_asks_first_is_refused_before_the_body_is_sent(console):
    head = b"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 900000\r\n\r\n"
    assert raw(console, head).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("length", [b"99999999999999999999999", b"-1", b"1e3", b"0x10", b"1, 1", b"+5"])
def test_a_strange_length_is_refused(console, length):
    answer = raw(
        console,
        b"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
        + length
        + b"\r\n\r\n{}",
    )
    assert answer.split(b" ")[1] in {b"400", b"413", b"422"}


def test_a_deeply_nested_body_is_refused_quietly(console):
    body = b"[" * 60_000
    answer = console.http().post("/api/v1/session", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in {400, 422}
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_that_does_not_come_ends_with_408():
    with running_console(Control(listen="127.0.0.1:0", request_seconds=0.2)) as console:
        begun = time.monotonic()
        answer = raw(
            console,
            b"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 50\r\n\r\n{",
        )
        assert b" 408 " in answer
        assert time.monotonic() - begun < 3


def test_over_the_limit_of_connections_the_answer_is_503():
    with running_console(Control(listen="127.0.0.1:0", connections=8)) as console:
        host, port = console.url.removeprefix("http://").split(":")
        idle = [socket.create_connection((host, int(port))) for _ in range(9)]
        try:
            assert b" 503 " in raw(console, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        finally:
            for connection in idle:
                connection.close()


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static//etc/passwd",
        "/static/vendor/htmx/../../console.css",
        "/static/console.css%00.js",
        "/static/",
        "/static/CONSOLE.CSS",
        "/static/%252e%252e/app.py",
    ],
)
def test_a_static_path_that_is_no_name_finds_nothing(console, path):
    answer = raw(console, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert b" 404 " in answer


@pytest.mark.parametrize(
    "path",
    [
        "tile/../checkpoint",
        "tile/%2e%2e/%2e%2e/keys/log.key",
        "tile/..%2f..%2fkeys/log.key",
        "tile/0/../../vkey",
        "tile/entries/../entries/000",
        "tile/0//000",
        "tile/00/000",
        "tile/0/0",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/64/000",
        "tile/entries/x001",
        "tile/entries/%2Fetc%2Fpasswd",
        "tile/entries/000.p/1%00",
        "tile/0/" + "x999/" * 50 + "999",
        "proof/-1",
        "proof/01",
        "proof/1e3",
        "proof/99999999999999999999",
        "proof/%31%2f..",
    ],
)
def test_a_log_path_that_is_not_the_one_way_to_write_it_finds_nothing(console, admin, path):
    cookie = admin.http.cookies["cordon_console"]
    answer = raw(
        console,
        f"GET /log/{path} HTTP/1.1\r\nHost: localhost\r\nCookie: cordon_console={cookie}\r\n"
        "Connection: close\r\n\r\n".encode(),
    )
    assert b" 404 " in answer, answer
    assert b"PRIVATE" not in answer


def test_a_fault_of_ours_tells_nothing_of_itself(console, admin, monkeypatch, capsys):
    def broken(*_args, **_options):
        raise RuntimeError("secret detail of the inside")

    monkeypatch.setattr("siem.console.api.newest", broken)
    answer = admin.get("/api/v1/calls?tenant=my-private-search")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret detail" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    said = capsys.readouterr()
    assert "RuntimeError" in said.out + said.err
    assert "secret detail" not in said.out + said.err
    assert "my-private-search" not in said.out + said.err


def test_addresses_of_one_time_links_are_in_no_log_line(console, capsys, caplog):
    with caplog.at_level("DEBUG"):
        console.http().get("/invitation/A-TOKEN-THAT-IS-SECRET")
        httpx.get(console.url + "/invitation/A-TOKEN-THAT-IS-SECRET", headers={"host": "evil.example"})
    said = capsys.readouterr()
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    assert "A-TOKEN-THAT-IS-SECRET" not in said.out + said.err + str(ours)
