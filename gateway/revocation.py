"""Certificate revocation lists (RFC 5280 §5): loaded and checked once, then asked for each certificate of a chain.

A list is taken only where nothing of it is left to interpretation: signed by an authority of the configured bundle that
may sign lists, not from the future, with a time of the next update, and without a critical extension (which would make
it a partial or an indirect one). Where any list is configured, each certificate below a root needs one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

MOST_BYTES = 4_194_304
"""Largest file of a list; some 100,000 entries."""
FOREVER = 1 << 62
# Critical by RFC 5280 (§5.2.4, §5.2.5); an authority that forgets to say so has still signed a part of a list.
_LIMITING = frozenset({x509.DeltaCRLIndicator.oid, x509.IssuingDistributionPoint.oid})
_PEM = b"-----BEGIN X509 CRL-----"

Issuer = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class RevocationList:
    """What one list says. `since` and `until` are this and its next update, ms since the epoch.

    `number`: an authority numbers its lists upwards (RFC 5280 §5.2.3), where it numbers them at all (-1: it does not).
    """

    path: Path
    issuer: Issuer
    serials: frozenset[int]
    since: int
    until: int
    number: int = -1

    def is_older_than(self, other: RevocationList) -> bool:
        """Whether this list of the same authority was made before the other one; in doubt it was."""
        numbered = self.number >= 0 or other.number >= 0
        return self.since < other.since or (numbered and self.number < other.number)


class RevocationLists:
    """The lists in force, by the authority that issued them; none at all means that revocation is not checked.

    `before` are those that were in force until now: of one authority the newer list stays, since an older one, which is
    as well signed, would make revoked certificates good again. `older` are the files that were not taken for that.
    """

    def __init__(self, lists: Iterable[RevocationList] = (), before: RevocationLists | None = None) -> None:
        self._lists = {each.issuer: each for each in lists}
        self.older: list[Path] = []
        for issuer, known in before._lists.items() if before is not None else ():
            found = self._lists.get(issuer)
            if found is not None and found.is_older_than(known):
                self.older.append(found.path)
                self._lists[issuer] = known

    def fault(self, chain: Sequence[x509.Certificate], now: int) -> tuple[str, int]:
        """Why this verified chain (leaf first, root last) cannot be used at `now`, or ''; and until when that holds."""
        until = FOREVER
        if not self._lists:
            return "", until
        for certificate, authority in pairwise(chain):
            found = self._lists.get(issuer_of(authority))
            if found is None:
                return "no_crl", until
            if certificate.serial_number in found.serials:
                return "revoked_certificate", until
            if found.until <= now:
                return "crl_expired", until
            until = min(until, found.until)
        return "", until

    def faults(self, now: int) -> list[tuple[str, Path]]:
        """What is wrong with them at `now`: `overdue` or `older`, and the file."""
        overdue = [("overdue", each.path) for each in self._lists.values() if each.until <= now]
        return sorted([*overdue, *(("older", path) for path in self.older)])


def load_list(path: Path, authorities: Sequence[x509.Certificate], now: int) -> RevocationList:
    """One list of a PEM or DER file; raises OSError, or ValueError with what is wrong. An overdue one loads."""
    data = path.read_bytes()
    if len(data) > MOST_BYTES:
        raise ValueError(
            f"{path} has more than {MOST_BYTES} bytes; split the authority, or use short-lived certificates"
        )
    if data.count(_PEM) > 1:
        raise ValueError(f"{path} holds several revocation lists; give each a file of its own")
    try:
        found = x509.load_pem_x509_crl(data) if _PEM in data else x509.load_der_x509_crl(data)
        limiting = [each.oid.dotted_string for each in found.extensions if each.critical or each.oid in _LIMITING]
        serials = frozenset(entry.serial_number for entry in found)
    except (ValueError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise ValueError(f"{path} is not a certificate revocation list (PEM or DER)") from error
    if limiting:
        raise ValueError(f"{path} is a partial or indirect list (extension {limiting[0]}); use the complete one")
    if found.next_update_utc is None:
        raise ValueError(f"{path} does not say when its next update is due, so nobody knows whether it is in force")
    if to_ms(found.last_update_utc) > now:
        raise ValueError(f"{path} is from the future ({found.last_update_utc:%Y-%m-%d %H:%M} UTC); look at the clock")
    for authority in authorities:
        if authority.subject == found.issuer and may_sign_lists(authority) and _signed(found, authority):
            since, until = to_ms(found.last_update_utc), to_ms(found.next_update_utc)
            return RevocationList(path, issuer_of(authority), serials, since, until, _number(found))
    name = found.issuer.rfc4514_string()[:200]
    raise ValueError(f"{path} is signed by none of the authorities in client_ca (it names {name}); add that authority")


def issuer_of(authority: x509.Certificate) -> Issuer:
    """What makes an authority the issuer of a certificate or a list: its name and its key."""
    key = authority.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return authority.subject.public_bytes(), key


def may_sign_lists(authority: x509.Certificate) -> bool:
    """Whether the authority's key usage, where it has one, includes lists (RFC 5280 §4.2.1.3)."""
    try:
        return authority.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return True


def to_ms(moment: datetime) -> int:
    """Milliseconds since the epoch."""
    return int(moment.timestamp() * 1000)


def _number(found: x509.CertificateRevocationList) -> int:
    try:
        return found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return -1


def _signed(found: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    key = authority.public_key()
    if not isinstance(key, (RSAPublicKey, EllipticCurvePublicKey, Ed25519PublicKey, Ed448PublicKey)):
        return False
    try:
        return found.is_signature_valid(key)
    except (TypeError, ValueError):
        return False
