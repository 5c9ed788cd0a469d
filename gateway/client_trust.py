"""Which client certificates a listener takes, and whom they stand for. OpenSSL has verified the chain before:

    OpenSSL     signatures, validity, constraints and purpose of the chain, up to a root of `client_ca`
    ClientTrust 1 the root is one of those in force now   2 a client's certificate, made for clients
                3 not revoked, nor expired   4 its names, and the one principal that they stand for

The chain is kept with the connection, so that a changed bundle or list is applied to open connections as well.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from gateway.client_names import San, configured_san, configured_subject, sans_of
from gateway.errors import GatewayError
from gateway.identity import CERTIFICATE_KEY, Principal
from gateway.peer import Certificate, Peer
from gateway.revocation import Issuer, RevocationList, RevocationLists, load_list, to_ms

if TYPE_CHECKING:
    from gateway.settings import ClientIdentity, GatewayTls

_log = logging.getLogger(__name__)

_LONGEST_SUBJECT = 2_048
_SPIFFE = "spiffe:"
_UNREADABLE = (ValueError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)


class TrustError(GatewayError):
    """A file of `gateway.tls` cannot be used; `setting` is the place of what names it, below `gateway.tls`."""

    def __init__(self, setting: tuple[str | int, ...], detail: str) -> None:
        super().__init__(detail)
        self.setting = setting


@dataclass(frozen=True, slots=True)
class _Entry:
    """One configured identity; `below` are digests of authorities, None where any of the bundle will do."""

    tenant: str
    name: str
    roles: tuple[str, ...]
    below: frozenset[bytes] | None


class ClientTrust:
    """What one configuration says of client certificates. `authorities` is the whole bundle."""

    def __init__(
        self,
        authorities: Sequence[x509.Certificate],
        *,
        required: bool = False,
        lists: RevocationLists | None = None,
        identities: Sequence[tuple[ClientIdentity, Sequence[x509.Certificate] | None]] = (),
    ) -> None:
        self.authorities = tuple(authorities)
        self.required = required
        self.lists = lists or RevocationLists()
        self._trusted = frozenset(map(_digest, authorities))
        self._by_san: dict[San, _Entry] = {}
        self._by_subject: dict[x509.Name, _Entry] = {}
        for settings, below in identities:
            digests = None if below is None else frozenset(map(_digest, below))
            entry = _Entry(settings.tenant, settings.name, settings.roles, digests)
            if settings.san:
                self._by_san[configured_san(settings.san)] = entry
            else:
                self._by_subject[configured_subject(settings.subject)] = entry

    def meet(self, chain: Sequence[bytes], *, resumed: bool = False) -> Peer:
        """The client of a new connection, from its verified chain (DER, leaf first; empty: it showed no certificate).

        A resumed session was verified in the past, perhaps before a revocation: it is never an identity.
        """
        if resumed:
            return Peer(fault="resumed_session")
        if not chain:
            return Peer(fault="no_certificate" if self.required else "")
        try:
            peer = Peer([x509.load_der_x509_certificate(each) for each in chain])
            peer.certificate = _read(peer.chain[0])
        except Exception:  # whatever an authority was made to sign: what cannot be read lets nothing through
            return Peer(fault="unreadable_certificate")
        self.judge(peer)
        return peer

    def judge(self, peer: Peer) -> None:
        """Say anew whether the client's certificate stands, and for whom."""
        if not peer.chain:
            if not peer.fault and self.required:
                peer.fault = "no_certificate"
            return
        peer.principal = None
        try:
            self._judge(peer, time.time_ns() // 1_000_000)
        except Exception as error:  # of one connection, which must not keep the others from being judged
            peer.principal, peer.fault = None, "unreadable_certificate"
            _log.warning("a client certificate cannot be judged: %s", type(error).__name__)

    def _judge(self, peer: Peer, now: int) -> None:
        expires = min(to_ms(each.not_valid_after_utc) for each in peer.chain)
        fault, renewal = self.lists.fault(peer.chain, now)
        peer.until, peer.lapse = min((expires, "expired_certificate"), (renewal, "crl_expired"))
        peer.fault = self._unfit(peer.chain) or fault
        if not peer.fault:
            self._name(peer)

    def _unfit(self, chain: Sequence[x509.Certificate]) -> str:
        if len(chain) < 2 or _digest(chain[-1]) not in self._trusted:
            return "authority_certificate" if len(chain) < 2 else "untrusted_certificate"
        extensions = chain[0].extensions
        try:
            if extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
                return "authority_certificate"
        except x509.ExtensionNotFound:
            pass  # a certificate that says nothing is no authority's (RFC 5280 §4.2.1.9)
        try:
            purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        except x509.ExtensionNotFound:
            return "wrong_purpose"
        return "" if ExtendedKeyUsageOID.CLIENT_AUTH in purposes else "wrong_purpose"

    def _name(self, peer: Peer) -> None:
        """Find the one principal of the certificate's names."""
        certificate = peer.certificate
        assert certificate is not None
        sans = sans_of(peer.chain[0])
        uris = [text for kind, text in sans if kind == "URI"]
        if len(uris) > 1 and any(text.lower().startswith(_SPIFFE) for text in uris):
            peer.fault = "ambiguous_certificate"  # an X.509-SVID has exactly one URI (SPIFFE X509-SVID §2)
            return
        found = [self._by_san.get(san) for san in sans]
        found.append(self._by_subject.get(peer.chain[0].subject))
        above = frozenset(map(_digest, peer.chain[1:]))
        meant = {entry for entry in found if entry is not None and (entry.below is None or entry.below & above)}
        principals = {(entry.tenant, entry.name, entry.roles) for entry in meant}
        if len(principals) > 1:
            peer.fault = "ambiguous_certificate"
        for tenant, name, roles in principals if len(principals) == 1 else ():
            key = CERTIFICATE_KEY + certificate.digest[:16]
            peer.principal = Principal(f"{tenant}/{name}", tenant, roles, key, certificate=certificate)


def load_trust(tls: GatewayTls, before: ClientTrust | None = None) -> ClientTrust | None:
    """Read the files that `gateway.tls` names of clients; None without `client_ca`. Raises TrustError.

    `before` is what was in force until now: revocation lists older than its own are not taken.
    """
    if tls.client_ca is None:
        return None
    authorities = _bundle(tls.client_ca, ("client_ca",))
    known = set(map(_digest, authorities))
    now = time.time_ns() // 1_000_000
    lists: dict[Issuer, RevocationList] = {}
    for index, path in enumerate(tls.crl):
        try:
            found = load_list(path, authorities, now)
        except OSError as error:
            raise TrustError(("crl", index), f"{path} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise TrustError(("crl", index), str(error)) from error
        if found.issuer in lists:
            text = f"{path} and {lists[found.issuer].path} are lists of one authority; keep the newer one"
            raise TrustError(("crl", index), text)
        lists[found.issuer] = found
    identities: list[tuple[ClientIdentity, Sequence[x509.Certificate] | None]] = []
    for index, identity in enumerate(tls.identities):
        place = ("identities", index, "ca")
        below = _bundle(identity.ca, place) if identity.ca is not None else None
        if below is not None and not known.issuperset(map(_digest, below)):
            raise TrustError(place, f"{identity.ca} holds an authority that {tls.client_ca} lacks; add it there")
        identities.append((identity, below))
    required = tls.client_certificates == "required"
    in_force = RevocationLists(lists.values(), None if before is None else before.lists)
    return ClientTrust(authorities, required=required, lists=in_force, identities=identities)


def _bundle(path: Path, setting: tuple[str | int, ...]) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
        for certificate in found:
            if not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
                raise x509.ExtensionNotFound("", x509.BasicConstraints.oid)
    except OSError as error:
        raise TrustError(setting, f"{path} cannot be read: {error.strerror}") from error
    except _UNREADABLE as error:
        raise TrustError(setting, f"{path} is not a PEM bundle of certificates") from error
    except x509.ExtensionNotFound as error:
        raise TrustError(setting, f"{path} holds a certificate that is not an authority's") from error
    return found


def _read(certificate: x509.Certificate) -> Certificate:
    subject = certificate.subject.rfc4514_string()
    if len(subject) > _LONGEST_SUBJECT:
        raise ValueError("the subject is too long")
    sans = tuple(f"{kind}:{text}" for kind, text in sans_of(certificate))
    return Certificate(_digest(certificate).hex(), subject, sans, to_ms(certificate.not_valid_after_utc))


def _digest(certificate: x509.Certificate) -> bytes:
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()
