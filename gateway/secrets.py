"""A tenant's keys at work in the data plane: digests that only the tenant's key can repeat, hashes, sealed inputs."""

from __future__ import annotations

import hmac
from typing import Protocol

from lineage.side import TenantKey, content_digest, seal


class Keys(Protocol):
    """Where tenants' keys come from (`lineage.side.TenantKeys`)."""

    def get(self, tenant: str) -> TenantKey:
        """The tenant's key; raises LineageError where it cannot be had."""
        ...


class TenantSecrets:
    """What the gateway does with tenants' keys; the keys themselves go no further."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def digest(self, tenant: str, data: bytes) -> str:
        """Keyed digest of content, hex (HMAC-SHA256)."""
        return content_digest(self._keys.get(tenant), data)

    def running_digest(self, tenant: str) -> hmac.HMAC:
        """The same digest, over pieces that come one after the other."""
        return self._keys.get(tenant).digesting.copy()

    def hash_key(self, tenant: str) -> bytes:
        """The key of `redact: hash`, 32 bytes: a value becomes the same hash within a tenant, and nowhere else."""
        return self._keys.get(tenant).redacting

    def seal(self, tenant: str, call: str, data: bytes) -> bytes:
        """`data` encrypted for the side table and bound to the call."""
        return seal(self._keys.get(tenant), call, data)
