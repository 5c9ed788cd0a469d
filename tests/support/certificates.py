"""Makes certificates and revocation lists for tests: self-signed ones, and those of authorities made for a test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def write_certificate(
    certificate: Path, key: Path, *, passphrase: bytes | None = None, days: float = 30, host: str = "localhost"
) -> None:
    """A self-signed certificate for `host` and 127.0.0.1 that is valid for `days` from now (negative: has expired)."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=400))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(host), x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    encryption: KeySerializationEncryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    certificate.write_bytes(made.public_bytes(Encoding.PEM))
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))


class Authority:
    """Issues certificates and revocation lists; below another authority where one is given, else a root."""

    def __init__(self, name: str = "Test Root", issuer: Authority | None = None) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = common_name(name)
        self.issuer = issuer
        usage = {"key_cert_sign": True, "crl_sign": True}
        self.certificate = (
            _builder(self.name, issuer.name if issuer else self.name, self.key, days=365)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**(_NO_USAGE | usage)), critical=True)
            .sign(issuer.key if issuer else self.key, hashes.SHA256())
        )

    def issue(
        self,
        *names: x509.GeneralName,
        subject: x509.Name | str = "client",
        days: float = 30,
        purposes: Sequence[x509.ObjectIdentifier] | None = (ExtendedKeyUsageOID.CLIENT_AUTH,),
        ca: bool | None = False,
        extension: x509.ExtensionType | None = None,
    ) -> Issued:
        """A certificate with these alternative names (`purposes` None: no extended key usage at all)."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = common_name(subject) if isinstance(subject, str) else subject
        builder = _builder(subject, self.name, key, days)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if ca is not None:
            builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        if purposes is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        if extension is not None:
            builder = builder.add_extension(extension, critical=False)
        between = []
        authority: Authority | None = self
        while authority is not None and authority.issuer is not None:
            between.append(authority.certificate)
            authority = authority.issuer
        return Issued(builder.sign(self.key, hashes.SHA256()), key, tuple(between), self.root)

    @property
    def root(self) -> x509.Certificate:
        """The root that this authority's certificates lead to."""
        return self.issuer.root if self.issuer is not None else self.certificate

    def revoke(
        self,
        *revoked: x509.Certificate,
        hours: float = 24,
        since: float = -1,
        extension: x509.ExtensionType | None = None,
        critical: bool = True,
    ) -> x509.CertificateRevocationList:
        """A list of these certificates, made `since` hours from now and due again `hours` from now."""
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.name)
        builder = builder.last_update(now + timedelta(hours=min(since, hours - 1) if since < 0 else since))
        builder = builder.next_update(now + timedelta(hours=hours))
        for certificate in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(now)
            builder = builder.add_revoked_certificate(entry.build())
        if extension is not None:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self.key, hashes.SHA256())


@dataclass(frozen=True)
class Issued:
    """A certificate with its key, the authorities in between and its root."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    between: tuple[x509.Certificate, ...]
    root: x509.Certificate

    @property
    def chain(self) -> list[bytes]:
        """The whole chain, DER, leaf first."""
        return [each.public_bytes(Encoding.DER) for each in (self.certificate, *self.between, self.root)]

    @property
    def digest(self) -> str:
        """SHA-256 of the certificate, hex."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    def write(self, certificate: Path, key: Path) -> None:
        """The chain without its root, and the key."""
        save(certificate, self.certificate, *self.between)
        key.write_bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def save(path: Path, *parts: x509.Certificate | x509.CertificateRevocationList) -> Path:
    """Write PEM, in one go as a careful program does."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(b"".join(part.public_bytes(Encoding.PEM) for part in parts))
    beside.replace(path)
    return path


def common_name(text: str) -> x509.Name:
    """A subject of a common name alone."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


_NO_USAGE = dict.fromkeys(
    (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    ),
    False,
)  # fmt: skip


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: float
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=400))
        .not_valid_after(now + timedelta(days=days))
    )
