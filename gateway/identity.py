"""Who calls: the key that a request carries or its connection's certificate, and the principal it stands for.

No identity, no call. The key is taken from where the client's SDK puts it. A request that shows two different
credentials is refused, since two readers could take different ones for the true one; so is one whose key and
certificate stand for different principals.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from gateway.errors import Refusal
from gateway.peer import Certificate, Peer
from gateway.request_head import RequestHead
from lineage.control import ApiKey

CALLER_PREFIX = b"cordon_"
CERTIFICATE_KEY = "cert:"
KEY_LENGTH = 512
SDK_HEADERS = (b"authorization", b"x-api-key", b"api-key")
CORDON_HEADER = b"x-cordon-key"


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller that is known: `id` is tenant/name, `key` the id of the key that it showed (never the key).

    `expires`: when that key does, in ms since the epoch. `certificate` is there where a client certificate stands for
    the caller; without a key, `key` is then `cert:` and the first 16 hex digits of its digest.
    """

    id: str
    tenant: str
    roles: tuple[str, ...]
    key: str
    expires: int | None = None
    certificate: Certificate | None = None


def caller(
    head: RequestHead,
    key_header: str,
    peer: Peer | None,
    keys: Mapping[str, ApiKey],
    tenants: Mapping[str, object],
    now: int,
) -> Principal:
    """The principal of a request at `now` (ms since the epoch), by its connection's certificate, its key, or both.

    A certificate that stands for nobody is no identity, and one that must not be used refuses whatever key comes with
    it. Beside a certificate that stands for somebody, a text that is no Cordon key is nothing (SDKs insist on sending
    one), but any Cordon key, in whichever place, has to be that principal's; then it has only the roles that both give.
    """  # fmt: skip
    named = peer.confirmed(now) if peer is not None else None
    if named is None:
        fields = head.cordon if key_header == "x-cordon-key" else head.headers
        return identify(presented_key(fields, key_header), keys, tenants, now)
    if named.tenant not in tenants:
        raise _unknown("unknown_tenant", "The client certificate's tenant is not known here.")
    shown = [value for name, value in head.cordon if name == CORDON_HEADER]
    shown += [
        _bearer(value) if name == b"authorization" else value for name, value in head.headers if _is_key(name, value)
    ]
    if not shown:
        return named
    if len(set(map(bytes.strip, shown))) > 1:
        raise _unknown("two_credentials", "The request carries two different credentials; send one.")
    keyed = identify(shown[0].strip(), keys, tenants, now)
    if keyed.id != named.id:
        raise _unknown("two_identities", "The key and the client certificate stand for different principals; use one.")
    roles = tuple(role for role in keyed.roles if role in named.roles)
    return replace(keyed, roles=roles, certificate=named.certificate)


def confirm(principal: Principal, peer: Peer | None, keys: Collection[str], now: int) -> None:
    """Refuse where what `principal` was admitted with is gone: its certificate, its key (`keys` are live ids)."""
    if peer is not None:
        peer.confirm(principal, now)
    if principal.expires is not None and principal.expires <= now:
        raise _unknown("expired_key", "The key has expired.")
    if principal.key not in keys and not principal.key.startswith(CERTIFICATE_KEY):
        raise _unknown("revoked_key", "The key was revoked.")


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


def _is_key(name: bytes, value: bytes) -> bool:
    """Whether the field shows a Cordon key, well-formed or not."""
    return name in SDK_HEADERS and CALLER_PREFIX in value


def _bearer(value: bytes) -> bytes:
    scheme, _, rest = value.strip().partition(b" ")
    if scheme.lower() != b"bearer":
        raise _unknown("wrong_scheme", "The Authorization header is not of the form 'Bearer KEY'.")
    return rest.strip()


def _unknown(code: str, detail: str) -> Refusal:
    return Refusal(401, "identity", code, detail)
