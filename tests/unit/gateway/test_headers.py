"""Credentials stay on their side of the gateway."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gateway.headers import to_client, to_upstream
from gateway.settings import Endpoint, Route

EU = Endpoint(id="eu", url="http://127.0.0.1:9")


def route(key_header: Any) -> Route:
    return Route(id="r", kind="http", prefix="/r", key_header=key_header, endpoints=(EU,))


def sent(headers: list[tuple[bytes, bytes]], key_header: str, secret: tuple[tuple[bytes, bytes], ...] = ()) -> Any:
    def value(name: bytes) -> bytes:
        return dict(headers).get(name, b"")

    call: Any = SimpleNamespace(
        id="01JCALL",
        route=route(key_header),
        traceparent=b"00-a-b-00",
        setup=SimpleNamespace(credentials=SimpleNamespace(of=lambda _: secret)),
        exchange=SimpleNamespace(head=SimpleNamespace(headers=headers, value=value)),
    )
    return to_upstream(call, EU)


@pytest.mark.parametrize("name", [b"authorization", b"x-api-key", b"api-key", b"cookie"])
def test_the_clients_credentials_stay_unless_the_route_passes_them_on(name: bytes) -> None:
    assert (name, b"mine") not in sent([(name, b"mine")], "authorization")
    assert (name, b"mine") in sent([(name, b"mine")], "x-cordon-key")


def test_a_cordon_key_is_never_passed_on() -> None:
    headers = [(b"authorization", b"Bearer cordon_abc"), (b"x-api-key", b"cordon_abc")]
    assert not [field for field in sent(headers, "x-cordon-key") if b"cordon_" in field[1]]


def test_the_consoles_session_is_taken_out_of_the_cookies() -> None:
    cookies = b"a=1; cordon_console=secret; __Host-cordon=secret; b=2"
    assert (b"cookie", b"a=1; b=2") in sent([(b"cookie", cookies)], "x-cordon-key")
    assert b"cookie" not in dict(sent([(b"cookie", b"cordon_console=secret")], "x-cordon-key"))


def test_the_endpoints_secret_takes_the_place_of_the_clients() -> None:
    secret = ((b"authorization", b"Bearer upstream"),)
    headers = sent([(b"authorization", b"Bearer mine")], "x-cordon-key", secret)
    assert [value for name, value in headers if name == b"authorization"] == [b"Bearer upstream"]


def test_a_request_keeps_its_id_or_is_given_the_calls() -> None:
    assert (b"x-request-id", b"01JCALL") in sent([], "authorization")
    assert [v for n, v in sent([(b"x-request-id", b"mine")], "authorization") if n == b"x-request-id"] == [b"mine"]


def test_the_upstreams_session_comes_back_only_where_the_clients_own_credential_was_passed() -> None:
    answer = [(b"set-cookie", b"s=1"), (b"set-cookie", b"__Host-cordon=evil"), (b"alt-svc", b"x"), (b"etag", b"e")]
    assert to_client(answer, route("authorization")) == [(b"etag", b"e")]
    assert to_client(answer, route("x-cordon-key")) == [(b"set-cookie", b"s=1"), (b"etag", b"e")]
