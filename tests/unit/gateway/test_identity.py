"""No identity, no call: what counts as a key, and what never does."""

from __future__ import annotations

import pytest

from gateway.errors import Refusal
from gateway.identity import identify, presented_key
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
