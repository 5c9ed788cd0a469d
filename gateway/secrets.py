"""A tenant's keys at work in the data plane: digests that only the tenant's key can repeat, hashes, sealed inputs."""

from __future__ import annotations

import asyncio
import hmac
from concurrent.futures import Future
from typing import Protocol

from gateway.complaints import Complaints
from gateway.errors import Refusal
from lineage.errors import LineageError, TenantErased
from lineage.side import TenantKey, content_digest, seal, unseal
from lineage.tokens import Scope

_SCOPE = b"cordon token scope\0"
_TOKENS = b"cordon tokens\0"


class Keys(Protocol):
    """Where tenants' keys come from (`lineage.side.TenantKeys`)."""

    def ready(self, tenant: str) -> TenantKey | None:
        """The tenant's key where it is at hand; TenantErased where it was destroyed."""
        ...

    def fetch(self, tenant: str) -> Future[TenantKey]:
        """The tenant's key, read in a thread; LineageError where it cannot be had."""
        ...

    def sweep(self) -> None:
        """Let go of keys whose time is over."""
        ...


class Secrets:
    """What the gateway does with one tenant's keys, for one call; the keys themselves go no further.

    `hash_key` is the key of `redact: hash`, 32 bytes: a value becomes the same hash within a tenant, and nowhere else.
    """

    __slots__ = ("_key", "hash_key", "tenant")

    def __init__(self, tenant: str, key: TenantKey) -> None:
        self.tenant = tenant
        self._key = key
        self.hash_key = key.redacting

    def digest(self, data: bytes) -> str:
        """Keyed digest of content, hex (HMAC-SHA256)."""
        return content_digest(self._key, data)

    def running_digest(self) -> hmac.HMAC:
        """The same digest, over pieces that come one after the other."""
        return self._key.digesting.copy()

    def seal(self, data: bytes) -> bytes:
        """`data` encrypted for the side table."""
        return seal(self._key, self.tenant, data)

    def scope(self, principal: str, conversation: str) -> tuple[bytes, bytes]:
        """The id (16 bytes) and the key (32 bytes) of the scope of a caller's tokens."""
        name = f"{principal}\0{conversation}".encode()
        # A hash of a value begins with the type of a finding, and so never is one of these.
        scope, key = (hmac.digest(self.hash_key, purpose + name, "sha256") for purpose in (_SCOPE, _TOKENS))
        return scope[:16], key

    def seal_token(self, scope: Scope, token: str, data: bytes) -> bytes:
        """A value, encrypted and bound to its scope and token."""
        return seal(self._key, _bound(scope, token), data)

    def unseal_token(self, scope: Scope, token: str, sealed: bytes) -> bytes:
        """The value again; raises SideError where it was sealed for another caller, scope or token."""
        return unseal(self._key, _bound(scope, token), sealed)


def _bound(scope: Scope, token: str) -> str:
    return f"cordon token {scope.principal} {scope.id.hex()} {token}"


class TenantSecrets:
    """The tenants' secrets, by tenant."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._complaints = Complaints("a tenant's key cannot be read, its calls are refused")

    def sweep(self) -> None:
        """Let go of keys whose time is over."""
        self._keys.sweep()

    async def of(self, tenant: str) -> Secrets:
        """This tenant's. The loop is never held up: whoever comes while a key is read waits for it by himself.

        Raises Refusal where the key cannot be had: a call that cannot be recorded under it is not sent.
        """
        try:
            key = self._keys.ready(tenant)
            if key is None:
                # Others may wait for the same: who leaves must not take it away from them.
                key = await asyncio.shield(asyncio.wrap_future(self._keys.fetch(tenant)))
        except TenantErased as error:
            raise Refusal(403, "lineage", "tenant_erased", "This tenant's key was destroyed.") from error
        except LineageError as error:
            self._complaints.tell(error)
            text = "The tenant's key cannot be read, so that the call could not be recorded."
            raise Refusal(503, "lineage", "keys_unavailable", text) from error
        return Secrets(tenant, key)
