"""Nobody gets further than the table of access says, on any route, by any trick with cookies, origins or tokens."""

from __future__ import annotations

import re
import time
from types import SimpleNamespace

import httpx
import pytest
from fastapi import APIRouter

from lineage import actions
from lineage.actions import Stamp
from siem.console import (
    admin_pages,
    api,
    app,
    door_pages,
    error_pages,
    log_api,
    playground_pages,
    policy_pages,
    watch_pages,
)
from siem.console.access import ACCESS, Entry, GuardedRoute
from siem.console.app import create_app
from siem.console.roles import ROLES, Permission, permissions
from siem.settings import Control

OPEN = {route for route, entry in ACCESS.items() if entry is Entry.OPEN}
CLOSED = sorted((route for route in ACCESS if route not in OPEN), key=str)

BEYOND_VIEWERS = [
    route for route in CLOSED if isinstance(ACCESS[route], Permission) and ACCESS[route] not in ROLES["viewer"]
]


def filled(path: str) -> str:
    """An address of the route, with something in each of its places."""
    return re.sub(r"\{[^}]+\}", "x", path)


def app_routes() -> set[tuple[str, str]]:
    routers = (
        app.static,
        error_pages.router,
        api.router,
        log_api.router,
        door_pages.router,
        watch_pages.router,
        policy_pages.router,
        playground_pages.api_router,
        playground_pages.pages_router,
        admin_pages.router,
    )
    return {(method, route.path) for router in routers for route in router.routes for method in route.methods}


def test_every_route_of_the_application_is_guarded_and_every_line_of_the_table_is_a_route():
    assert app_routes() == set(ACCESS)
    built = create_app(SimpleNamespace(settings=Control()))  # type: ignore[arg-type]
    unguarded = [route for route in walk(built.routes) if not isinstance(route, GuardedRoute)]
    assert unguarded == []
    assert {(method, route.path) for route in walk(built.routes) for method in route.methods} == set(ACCESS)


def walk(routes):
    """All routes, through whatever includes them."""
    for route in routes:
        inner = getattr(route, "routes", None) or getattr(getattr(route, "original_router", None), "routes", None)
        if inner and not isinstance(route, GuardedRoute):
            yield from walk(inner)
        else:
            yield route


def test_a_route_without_a_line_in_the_table_cannot_be_built():
    router = APIRouter(route_class=GuardedRoute)
    with pytest.raises(KeyError):
        router.add_api_route("/debug", walk)
    with pytest.raises(KeyError):
        router.add_api_route("/calls", walk, methods=["DELETE"])


def test_the_open_routes_are_these_and_no_others():
    assert {
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/log/checkpoint"),
        ("GET", "/log/vkey"),
        ("GET", "/static/{name:path}"),
        ("GET", "/errors"),
        ("GET", "/errors/{code}"),
        ("GET", "/sign-in"),
        ("POST", "/sign-in"),
        ("GET", "/invitation/{token}"),
        ("POST", "/invitation/{token}"),
        ("POST", "/api/v1/session"),
    } == OPEN


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_without_a_session_a_route_answers_401_and_tells_nothing(console, method, path):
    answer = console.http().request(method, filled(path), json={} if method != "GET" else None)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(answer.json()) == {"type", "title", "status", "detail"}


@pytest.mark.parametrize(("method", "path"), BEYOND_VIEWERS)
def test_with_too_little_of_a_role_a_route_answers_403(console, viewer, method, path):
    answer = viewer.send(method, filled(path), {} if method != "GET" else None)
    assert answer.status_code == 403, answer.text
    assert "viewer" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path"),
    [route for route in CLOSED if route[0] not in {"GET"} and route[1] not in {"/sign-out", "/api/v1/session"}],
)
def test_an_unsafe_request_without_the_csrf_token_is_refused_even_for_an_admin(console, admin, method, path):
    for headers in ({}, {"x-csrf-token": ""}, {"x-csrf-token": "0" * 64}, {"x-csrf-token": "é"}):
        answer = admin.http.request(method, filled(path), json={}, headers=encoded(headers))
        assert answer.status_code == 403
        assert "CSRF" in answer.json()["detail"]


def encoded(headers):
    return {name: value.encode("latin-1") for name, value in headers.items()}


def test_anothers_csrf_token_does_not_count(admin, viewer):
    answer = viewer.http.delete("/api/v1/session", headers={"x-csrf-token": admin.csrf})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "http://["},
        {"origin": ""},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "same-origin", "origin": "https://evil.example"},
    ],
)
def test_what_a_browser_marks_as_another_sites_is_refused_even_with_the_token(admin, headers):
    answer = admin.http.post("/api/v1/containments", json={}, headers={"x-csrf-token": admin.csrf, **headers})
    assert answer.status_code == 403
    sign_in = admin.http.post("/sign-in", data={"account": "root", "password": "x"}, headers=headers)
    assert sign_in.status_code == 403


def test_a_sign_in_form_from_who_knows_where_is_refused(console):
    answer = console.http().post("/sign-in", data={"account": "root", "password": "wrong password"})
    assert answer.status_code == 403
    assert "Sec-Fetch-Site" in answer.json()["detail"]


def test_a_csrf_token_in_a_multipart_form_is_not_looked_for(admin):
    answer = admin.http.post("/containments", files={"csrf": (None, admin.csrf)})
    assert answer.status_code == 403


def test_two_session_cookies_are_none(console, admin):
    token = admin.http.cookies["cordon_console"]
    assert bare(console, f"cordon_console={token}").status_code == 200
    assert bare(console, f"cordon_console={token}; cordon_console={token}").status_code == 401
    assert bare(console, f"cordon_console=x; cordon_console={token}").status_code == 401


@pytest.mark.parametrize("token", ["", "x", "a" * 43, "a" * 44, "a" * 5_000, "%00", "' OR 1=1 --"])
def test_a_made_up_session_is_none(console, token):
    assert bare(console, f"cordon_console={token}").status_code == 401


def bare(console, cookie):
    return console.http().get("/api/v1/session", headers={"cookie": cookie})


def test_a_session_token_in_the_address_or_in_authorization_is_none(console, admin):
    token = admin.http.cookies["cordon_console"]
    http = console.http()
    assert http.get(f"/api/v1/session?cordon_console={token}").status_code == 401
    assert http.get("/api/v1/session", headers={"authorization": f"Bearer {token}"}).status_code == 401


# Reader tokens


def reader_key(console, **changes):
    text, record = actions.create_key(
        Stamp.now("cli-TEST"), **({"name": "auditor", "tenant": "acme", "kind": "reader", "by": "cli"} | changes)
    )
    console.append(record)
    return text, record["key"]


READER_PATHS = ("/log/tile/entries/000.p/1", "/log/proof/0", "/metrics")


@pytest.mark.parametrize("path", READER_PATHS)
def test_a_reader_token_opens_the_log_until_the_moment_it_is_revoked(console, path):
    text, key = reader_key(console)
    wait_for_checkpoint(console)
    http = console.http(headers={"authorization": f"Bearer {text}"})
    assert http.get(path).status_code == 200
    console.append(actions.revoke_key(Stamp.now("cli-TEST"), key=key, by="cli", known={key}))
    answer = http.get(path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def wait_for_checkpoint(console):
    deadline = time.monotonic() + 5
    http = console.http()
    while http.get("/log/checkpoint").status_code != 200 and time.monotonic() < deadline:
        time.sleep(0.01)


def test_a_reader_token_opens_nothing_else(console):
    text, _ = reader_key(console)
    http = console.http(headers={"authorization": f"Bearer {text}"})
    for method, path in CLOSED:
        if ACCESS[method, path] is not Entry.READER:
            assert http.request(method, filled(path)).status_code == 401


def test_a_callers_key_an_expired_one_and_near_misses_do_not_open_the_log(console):
    good, _ = reader_key(console)
    caller, _ = reader_key(console, kind="caller")
    expiring, _ = reader_key(console, expires=Stamp.now("x").at + 1)
    time.sleep(0.002)
    tries = [caller, expiring, good[:-1], good + "a", good.upper(), good[:8], "cordonr_" + "a" * 600, "cordonr_é"]
    for text in tries:
        header = f"Bearer {text}".encode("latin-1")
        assert console.http().get("/metrics", headers={b"authorization": header}).status_code == 401
    for header in (f"Basic {good}", good, f"Bearer  {good} x", f"Bearer{good}"):
        assert console.http().get("/metrics", headers={"authorization": header}).status_code == 401
    assert console.http().get(f"/metrics?token={good}").status_code == 401


def test_each_role_gives_exactly_what_the_table_says():
    assert {role: {one.name for one in given} for role, given in ROLES.items()} == {
        "viewer": {"VIEW"},
        "analyst": {"VIEW", "TRIAGE", "CONTAIN", "RELEASE"},
        "approver": {"VIEW", "RELEASE", "APPROVE", "ROLLOUT"},
        "policy_author": {"VIEW", "TRY", "PROPOSE", "ROLLOUT"},
        "admin": {
            "VIEW",
            "TRIAGE",
            "CONTAIN",
            "RELEASE",
            "KEYS",
            "TRY",
            "PROPOSE",
            "APPROVE",
            "ROLLOUT",
            "ACCOUNTS",
        },
    }
    assert permissions(["viewer", "analyst"]) == ROLES["analyst"]
    assert permissions(["root", "*", ""]) == frozenset()
    with pytest.raises(TypeError):
        ROLES["viewer"] = frozenset(Permission)  # type: ignore[index]


def test_the_first_and_every_unsafe_method_is_known(console):
    for method in ("PUT", "TRACE", "CONNECT", "PROPFIND", "OPTIONS", "HEAD"):
        answer = console.http().request(method, "/api/v1/keys")
        assert answer.status_code in {401, 405}, (method, answer.status_code)
        assert isinstance(answer, httpx.Response)
