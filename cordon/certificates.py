"""Checks of certificate files (PEM): are they readable, do they fit each other, how long do they last."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from gateway.settings import Tls


def fault(settings: Tls) -> tuple[str, str] | None:
    """The setting at fault (certificate or key) and what is wrong with its file; None where both are in order."""
    try:
        chain = _chain(settings.certificate)
    except (OSError, ValueError) as error:
        return "certificate", _why(settings.certificate, error, "a PEM certificate")
    try:
        key = load_pem_private_key(settings.key.read_bytes(), password=None)
    except TypeError:
        return "key", f"{settings.key} is encrypted; give a key without a passphrase, readable by this user only"
    except (OSError, ValueError) as error:
        return "key", _why(settings.key, error, "a PEM private key")
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != chain[0].public_key().public_bytes(*form):
        return "key", f"{settings.key} is not the key of the certificate in {settings.certificate}"
    return None


def authority_fault(path: Path) -> str | None:
    """What is wrong with a bundle of authorities, None where it can be used."""
    try:
        _chain(path)
    except (OSError, ValueError) as error:
        return _why(path, error, "a PEM bundle of certificates")
    return None


def expiry(path: Path) -> datetime:
    """When the first certificate of the chain to expire does so. Raises OSError or ValueError."""
    return min(certificate.not_valid_after_utc for certificate in _chain(path))


def days_left(path: Path) -> float:
    """Days until `expiry`, negative when it has passed."""
    return _days(expiry(path))


def list_days_left(path: Path) -> float:
    """Days until a revocation list's next update is due. Raises OSError or ValueError."""
    data = path.read_bytes()
    found = x509.load_pem_x509_crl(data) if b"-----BEGIN" in data else x509.load_der_x509_crl(data)
    return _days(found.next_update_utc) if found.next_update_utc else -1.0


def chain_fault(path: Path) -> str | None:
    """Where a chain breaks: each certificate of the file has to be issued by the one after it (RFC 8446 §4.4.2)."""
    chain = _chain(path)
    for certificate, issuer in pairwise(chain):
        try:
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            return f"{_name(certificate)} is not issued by {_name(issuer)}, which comes after it"
    return None


def _days(moment: datetime) -> float:
    return (moment - datetime.now(UTC)).total_seconds() / 86_400


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()[:100] or "a certificate without a subject"


def _chain(path: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(path.read_bytes())


def _why(path: Path, error: Exception, form: str) -> str:
    if isinstance(error, OSError):
        return f"{path} cannot be read: {error.strerror}"
    return f"{path} is not {form}"
