"""Who calls: the key that a request carries, and the principal it stands for. No identity, no call.

The key is taken from where the client's SDK puts it. A request that shows two different credentials is refused, since
two readers could take different ones for the true one.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.errors import Refusal
from lineage.control import ApiKey

CALLER_PREFIX = b"cordon_"
KEY_LENGTH = 512
SDK_HEADERS = (b"authorization", b"x-api-key", b"api-key")
CORDON_HEADER = b"x-cordon-key"


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller that is known: `id` is tenant/name, `key` the id of the key that it showed (never the key).

    `expires`: when that key does, in ms since the epoch.
    """

    id: str
    tenant: str
    roles: tuple[str, ...]
    key: str
    expires: int | None = None


def presented_key(headers: Iterable[tuple[bytes, bytes]], key_header: str) -> bytes:
    """The one credential that the request shows, or a refusal with status 401.

    `key_header` is the route's setting: `authorization` means the places that SDKs use, `x-cordon-key` only that one.
    """
    places = SDK_HEADERS if key_header == "authorization" else (CORDON_HEADER,)
    found: bytes | None = None
    for name, value in headers:
        if name not in places:
            continue
        key = _bearer(value) if name == b"authorization" else value.strip()
        if found is not None and not hmac.compare_digest(found, key):
            raise _unknown("two_credentials", "The request carries two different credentials; send one.")
        found = key
    if not found:
        where = (
            "as 'Authorization: Bearer …' or 'x-api-key: …'"
            if key_header == "authorization"
            else "as 'x-cordon-key: …'"
        )
        raise _unknown("no_key", f"The request carries no Cordon key; send it {where}.")
    return found


def identify(key: bytes, keys: Mapping[str, ApiKey], tenants: Mapping[str, object], now: int) -> Principal:
    """The principal behind `key` at `now` (ms since the epoch), or a refusal with status 401.

    The refusal's text is the same whatever was wrong, so that it teaches nothing about keys.
    """
    if len(key) > KEY_LENGTH or not key.startswith(CALLER_PREFIX):
        raise _unknown("unknown_key", _UNKNOWN)
    digest = hashlib.sha256(key).hexdigest()
    known = keys.get(digest)
    if known is None or not hmac.compare_digest(known.digest, digest) or known.kind != "caller":
        raise _unknown("unknown_key", _UNKNOWN)
    if known.expires is not None and known.expires <= now:
        raise _unknown("expired_key", _UNKNOWN)
    if known.tenant not in tenants:
        raise _unknown("unknown_tenant", _UNKNOWN)
    return Principal(f"{known.tenant}/{known.name}", known.tenant, known.roles, known.id, known.expires)


_UNKNOWN = "The key is not known here, has expired or was revoked; ask for one with 'cordon key create'."


def _bearer(value: bytes) -> bytes:
    scheme, _, rest = value.strip().partition(b" ")
    if scheme.lower() != b"bearer":
        raise _unknown("wrong_scheme", "The Authorization header is not of the form 'Bearer KEY'.")
    return rest.strip()


def _unknown(code: str, detail: str) -> Refusal:
    return Refusal(401, "identity", code, detail)
