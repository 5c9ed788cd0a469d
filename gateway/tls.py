"""The TLS side of a listener: its own certificate, what it asks of its clients, and the chain that a client showed.

With client certificates the version is 1.3 and no session is resumed: a resumed one would stand on a verification of
the past, and before 1.3 a server's session cache and renegotiation cannot be ruled out.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from gateway.client_trust import ClientTrust, load_trust
from gateway.errors import GatewayError
from gateway.settings import GatewayTls


@dataclass(frozen=True, slots=True)
class Security:
    """What a listener serves new connections with. `mark` differs whenever a setting or the content of a file does."""

    context: ssl.SSLContext
    clients: ClientTrust | None
    mark: bytes


def load_security(tls: GatewayTls, before: Security | None = None) -> Security:
    """Read every file that `gateway.tls` names; raises GatewayError with the file and what is wrong with it.

    `before` is what connections were served with until now (see `load_trust`).
    """
    mark = _mark(tls)
    clients = load_trust(tls, None if before is None else before.clients)
    return Security(server_context(tls, clients), clients, mark)


def server_context(tls: GatewayTls, clients: ClientTrust | None) -> ssl.SSLContext:
    """TLS 1.2 or newer with this certificate (1.3 with client certificates), HTTP/1.1 only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(tls.certificate, tls.key)
    except (OSError, ssl.SSLError) as error:
        raise GatewayError(f"cannot use the certificate {tls.certificate} with the key {tls.key}: {error}") from error
    if clients is not None:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.num_tickets = 0
        context.verify_mode = ssl.CERT_REQUIRED if clients.required else ssl.CERT_OPTIONAL
        bundle = b"".join(each.public_bytes(Encoding.PEM) for each in clients.authorities)
        context.load_verify_locations(cadata=bundle.decode())
    return context


def verified_chain(connection: Any) -> list[bytes]:
    """The chain that OpenSSL verified (DER, leaf first, root last) of an `ssl.SSLObject`; empty without a certificate.

    Public since Python 3.13; before, the object beneath has it.
    """
    if connection.getpeercert(True) is None:
        return []
    if hasattr(connection, "get_verified_chain"):
        return list(connection.get_verified_chain())
    chain = connection._sslobj.get_verified_chain() or ()
    return [ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in chain]


def files(tls: GatewayTls) -> Iterator[Path]:
    """Every file that the section names."""
    yield tls.certificate
    yield tls.key
    if tls.client_ca is not None:
        yield tls.client_ca
    yield from tls.crl
    yield from (identity.ca for identity in tls.identities if identity.ca is not None)


def _mark(tls: GatewayTls) -> bytes:
    digest = hashlib.sha256(tls.model_dump_json().encode())
    for path in files(tls):
        try:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            raise GatewayError(f"{path} cannot be read: {error.strerror}") from error
    return digest.digest()
