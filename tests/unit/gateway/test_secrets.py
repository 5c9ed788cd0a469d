"""A tenant's digests, hashes and sealed inputs are its own."""

from __future__ import annotations

import pytest

from gateway.secrets import TenantSecrets
from lineage.errors import LineageError
from lineage.side import TenantKey, unseal


class Keys:
    def get(self, tenant: str) -> TenantKey:
        return TenantKey.derive(tenant.encode().ljust(32, b"\0"))


ACME, GLOBEX = (TenantSecrets(Keys()).of(tenant) for tenant in ("acme", "globex"))


def test_the_same_content_has_another_digest_for_another_tenant() -> None:
    assert ACME.digest(b"x") == ACME.digest(b"x")
    assert ACME.digest(b"x") != GLOBEX.digest(b"x")


def test_a_running_digest_equals_the_digest_of_the_whole() -> None:
    running = ACME.running_digest()
    running.update(b"ab")
    running.update(b"c")
    assert running.hexdigest() == ACME.digest(b"abc")


def test_the_hash_key_serves_no_other_purpose() -> None:
    key = Keys().get("acme")
    assert ACME.hash_key not in (key.sealing, key.digesting)
    assert ACME.hash_key != GLOBEX.hash_key


def test_what_is_sealed_opens_for_the_same_tenant_only() -> None:
    sealed = ACME.seal(b"input")
    assert b"input" not in sealed
    assert unseal(Keys().get("acme"), "acme", sealed) == b"input"
    for key, tenant in (("globex", "globex"), ("acme", "globex"), ("globex", "acme")):
        with pytest.raises(LineageError):
            unseal(Keys().get(key), tenant, sealed)
