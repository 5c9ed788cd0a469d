"""A tenant's digests, hashes and sealed inputs are its own."""

from __future__ import annotations

import pytest

from gateway.secrets import TenantSecrets
from lineage.errors import LineageError
from lineage.side import TenantKey, unseal


class Keys:
    def get(self, tenant: str) -> TenantKey:
        return TenantKey.derive(tenant.encode().ljust(32, b"\0"))


SECRETS = TenantSecrets(Keys())


def test_the_same_content_has_another_digest_for_another_tenant() -> None:
    assert SECRETS.digest("acme", b"x") == SECRETS.digest("acme", b"x")
    assert SECRETS.digest("acme", b"x") != SECRETS.digest("globex", b"x")


def test_a_running_digest_equals_the_digest_of_the_whole() -> None:
    running = SECRETS.running_digest("acme")
    running.update(b"ab")
    running.update(b"c")
    assert running.hexdigest() == SECRETS.digest("acme", b"abc")


def test_the_hash_key_serves_no_other_purpose() -> None:
    key = Keys().get("acme")
    assert SECRETS.hash_key("acme") not in (key.sealing, key.digesting)
    assert SECRETS.hash_key("acme") != SECRETS.hash_key("globex")


def test_what_is_sealed_opens_for_the_same_tenant_and_call_only() -> None:
    sealed = SECRETS.seal("acme", "01JCALL", b"input")
    assert b"input" not in sealed
    assert unseal(Keys().get("acme"), "01JCALL", sealed) == b"input"
    for tenant, call in (("globex", "01JCALL"), ("acme", "01JOTHER")):
        with pytest.raises(LineageError):
            unseal(Keys().get(tenant), call, sealed)
