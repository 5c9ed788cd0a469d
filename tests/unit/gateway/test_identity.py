"""No identity, no call: what counts as a key, and what never does."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import Refusal
from gateway.identity import Principal, caller, confirm, identify, presented_key
from gateway.peer import Certificate, Peer
from gateway.request_head import RequestHead
from lineage.actions import key_digest
from lineage.control import ApiKey

NOW = 1_700_000_000_000
TEXT = "cordon_" + "a" * 43
TENANTS = {"acme": object()}


def keys(text: str = TEXT, **changes: object) -> dict[str, ApiKey]:
    values = {
        "id": "key_1",
        "digest": key_digest(text),
        "name": "bot",
        "tenant": "acme",
        "roles": ("agent",),
        "kind": "caller",
        "expires": None,
    }
    key = ApiKey(**(values | changes))  # type: ignore[arg-type]
    return {key.digest: key}


@pytest.mark.parametrize(
    "header",
    [
        (b"authorization", b"Bearer KEY"),
        (b"authorization", b"bearer  KEY "),
        (b"x-api-key", b"KEY"),
        (b"api-key", b"KEY"),
    ],
)
def test_the_key_is_found_where_an_sdk_puts_it(header: tuple[bytes, bytes]) -> None:
    assert presented_key([(b"accept", b"*/*"), header], "authorization") == b"KEY"


def test_the_same_key_in_two_places_is_one_credential() -> None:
    assert presented_key([(b"authorization", b"Bearer KEY"), (b"x-api-key", b"KEY")], "authorization") == b"KEY"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([], "no_key"),
        ([(b"authorization", b"Bearer ")], "no_key"),
        ([(b"x-cordon-key", b"KEY")], "no_key"),
        ([(b"authorization", b"Basic KEY")], "wrong_scheme"),
        ([(b"authorization", b"KEY")], "wrong_scheme"),
        ([(b"authorization", b"Bearer KEY"), (b"x-api-key", b"OTHER")], "two_credentials"),
        ([(b"authorization", b"Bearer KEY"), (b"authorization", b"Bearer OTHER")], "two_credentials"),
        ([(b"x-api-key", b""), (b"authorization", b"Bearer KEY")], "two_credentials"),
    ],
)
def test_no_key_a_wrong_scheme_or_two_keys_end_the_call(headers: list[tuple[bytes, bytes]], code: str) -> None:
    with pytest.raises(Refusal) as refusal:
        presented_key(headers, "authorization")
    assert (refusal.value.status, refusal.value.stage, refusal.value.code) == (401, "identity", code)


def test_a_route_that_passes_authorization_on_reads_only_its_own_header() -> None:
    headers = [(b"authorization", b"Bearer upstream"), (b"x-cordon-key", b"KEY")]
    assert presented_key(headers, "x-cordon-key") == b"KEY"
    with pytest.raises(Refusal):
        presented_key(headers[:1], "x-cordon-key")


def test_a_known_key_stands_for_its_principal() -> None:
    principal = identify(TEXT.encode(), keys(), TENANTS, NOW)
    assert (principal.id, principal.tenant, principal.roles, principal.key) == ("acme/bot", "acme", ("agent",), "key_1")


@pytest.mark.parametrize(
    ("presented", "known"),
    [
        (TEXT[:-1], keys()),
        (TEXT + "a", keys()),
        (TEXT[:20], keys()),
        ("sk-" + "a" * 40, keys("sk-" + "a" * 40)),
        ("cordon_" + "a" * 600, keys("cordon_" + "a" * 600)),
        (TEXT, {}),
        (TEXT, keys(kind="reader")),
        (TEXT, keys(expires=NOW)),
        (TEXT, keys(tenant="globex")),
        (TEXT, {key_digest(TEXT): next(iter(keys("cordon_other").values()))}),
    ],
)
def test_whatever_is_not_a_live_callers_key_is_refused_alike(presented: str, known: dict[str, ApiKey]) -> None:
    with pytest.raises(Refusal) as refusal:
        identify(presented.encode(), known, TENANTS, NOW)
    assert refusal.value.status == 401
    assert presented not in str(refusal.value)
    with pytest.raises(Refusal) as usual:
        identify(b"cordon_nobody", {}, TENANTS, NOW)
    assert refusal.value.detail == usual.value.detail


# Certificates


CERTIFICATE = Certificate("ab" * 32, "CN=bot", ("URI:spiffe://acme/bot",), NOW + 1_000)


def peer(name: str = "acme/bot", roles: tuple[str, ...] = ("agent", "more"), fault: str = "") -> Peer:
    found = Peer(fault=fault)
    if name:
        found.principal = Principal(name, name.partition("/")[0], roles, "cert:" + "ab" * 8, certificate=CERTIFICATE)
    return found


def head(*headers: tuple[bytes, bytes], cordon: bytes = b"") -> RequestHead:
    made = RequestHead("GET", "/", "", b"/", list(headers))
    made.cordon = [(b"x-cordon-key", cordon)] if cordon else []
    return made


def called(known: Peer | None, *headers: tuple[bytes, bytes], cordon: bytes = b"", route: str = "authorization") -> Any:
    try:
        return caller(head(*headers, cordon=cordon), route, known, keys(roles=("agent", "other")), TENANTS, NOW)
    except Refusal as refusal:
        assert (refusal.status, refusal.stage) == (401, "identity")
        return refusal.code


BEARER = (b"authorization", b"Bearer " + TEXT.encode())
UNUSED = (b"authorization", b"Bearer unused")


def test_a_certificate_alone_is_an_identity_whatever_an_sdk_sends_as_its_key() -> None:
    for shown in ((), (UNUSED,), ((b"x-api-key", b"unused"), UNUSED), ((b"authorization", b"Basic YTpi"),)):
        assert called(peer(), *shown) == peer().principal


def test_both_together_have_the_roles_that_both_give_and_the_keys_id() -> None:
    for shown in ({"headers": (BEARER,)}, {"headers": (UNUSED,), "cordon": TEXT.encode()}):
        principal = called(peer(), *shown["headers"], cordon=shown.get("cordon", b""))  # type: ignore[arg-type]
        assert (principal.id, principal.roles, principal.key) == ("acme/bot", ("agent",), "key_1")
        assert principal.certificate == CERTIFICATE


@pytest.mark.parametrize(
    ("known", "headers", "cordon", "code"),
    [
        (peer("acme/other"), (BEARER,), b"", "two_identities"),
        (peer("globex/bot"), (BEARER,), b"", "unknown_tenant"),
        (peer("globex/bot"), (), b"", "unknown_tenant"),
        (peer(), ((b"authorization", b"Bearer cordon_" + b"b" * 43),), b"", "unknown_key"),
        (peer(), ((b"authorization", TEXT.encode()),), b"", "wrong_scheme"),
        (peer(), (BEARER,), b"cordon_" + b"b" * 43, "two_credentials"),
        (peer(), (), b"junk", "unknown_key"),
        (peer(), (BEARER, (b"x-api-key", b"cordon_" + b"b" * 43)), b"", "two_credentials"),
        (peer(fault="revoked_certificate"), (BEARER,), b"", "revoked_certificate"),
        (peer("", fault="crl_expired"), (BEARER,), b"", "crl_expired"),
        (peer(""), (), b"", "no_key"),
        (peer(""), (UNUSED,), b"", "unknown_key"),
    ],
)
def test_a_certificate_and_a_key_that_do_not_agree_refuse(
    known: Peer, headers: tuple[tuple[bytes, bytes], ...], cordon: bytes, code: str
) -> None:
    assert called(known, *headers, cordon=cordon) == code
    assert called(known, *headers, cordon=cordon, route="x-cordon-key") in {code, "no_key"}


def test_what_a_call_stands_on_is_asked_again() -> None:
    known = peer()
    alone, both = called(known), called(known, BEARER)
    confirm(alone, known, {"key_1"}, NOW)
    confirm(alone, known, (), NOW)
    confirm(both, known, {"key_1"}, NOW)
    with pytest.raises(Refusal, match="revoked_key"):
        confirm(both, known, (), NOW)
    known.fault = "revoked_certificate"
    for principal in (alone, both, called(None, BEARER)):
        with pytest.raises(Refusal, match="revoked_certificate"):
            confirm(principal, known, {"key_1"}, NOW)
