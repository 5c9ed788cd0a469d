"""The client at the other end of a TLS connection: what its certificate says, and whether that still stands.

Read once for each connection (`gateway.client_trust`); each call only looks at the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509

from gateway.errors import Refusal

if TYPE_CHECKING:
    from gateway.identity import Principal

FAULTS: Final[Mapping[str, str]] = {
    "no_certificate": "This listener requires a client certificate, and the connection showed none.",
    "unreadable_certificate": "The client certificate has names that cannot be read, or too many of them.",
    "resumed_session": "The connection resumed an earlier TLS session; connect anew with the certificate.",
    "untrusted_certificate": "The client certificate was issued by none of the authorities that are in force here.",
    "authority_certificate": "The client certificate is that of an authority; use one that was issued to a client.",
    "wrong_purpose": "The client certificate does not say that it is for clients (extended key usage clientAuth).",
    "expired_certificate": "The client certificate, or one that it was issued under, has expired.",
    "revoked_certificate": "The client certificate, or one that it was issued under, was revoked.",
    "no_crl": "The revocation list of the certificate's issuer is missing; an operator adds it to gateway.tls.crl.",
    "crl_expired": "The revocation list of the client certificate's issuer is overdue; an operator has to renew it.",
    "ambiguous_certificate": "The client certificate has names that stand for different principals; it may have one.",
    "changed_identity": "The client certificate stands for another principal, or has fewer roles, than before.",
}
"""Why a connection's certificate lets no call through, as clients are told; keys are codes of records and metrics."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What policy may know of a client's certificate, and the log its digest.

    `digest` is the SHA-256 of the whole certificate (DER) in hex, `subject` as RFC 4514 writes it, `sans` such as
    `URI:spiffe://acme/agent-7`, `not_after` in ms since the epoch.
    """

    digest: str
    subject: str
    sans: tuple[str, ...]
    not_after: int


class Peer:
    """One connection's client. `ClientTrust` fills in what it finds, again when the trust has changed.

    `fault` is a key of FAULTS or empty, `until` the ms since the epoch at which `lapse` becomes the fault. Without a
    fault, `principal` is whom the certificate stands for, None where it stands for nobody.
    """

    __slots__ = ("certificate", "chain", "fault", "lapse", "principal", "until")

    def __init__(self, chain: Sequence[x509.Certificate] = (), fault: str = "") -> None:
        self.chain = tuple(chain)
        self.certificate: Certificate | None = None
        self.fault = fault
        self.until = 0
        self.lapse = "expired_certificate"
        self.principal: Principal | None = None

    def fault_at(self, now: int) -> str:
        """The fault at `now` (ms since the epoch), or ''."""
        return self.fault or (self.lapse if self.chain and now >= self.until else "")

    def lapses(self, now: int) -> bool:
        """Whether the certificate stood until now and does no more; from then on that is its fault."""
        if self.fault or not self.fault_at(now):
            return False
        self.fault = self.lapse
        return True

    def confirmed(self, now: int) -> Principal | None:
        """Whom the certificate stands for at `now`, or a refusal where it must not be used at all."""
        fault = self.fault_at(now)
        if fault:
            raise Refusal(401, "identity", fault, FAULTS[fault])
        return self.principal

    def confirm(self, principal: Principal, now: int) -> None:
        """Refuse where the certificate no longer carries what a call of `principal` was admitted with."""
        carried = self.confirmed(now)
        if principal.certificate is None:
            return
        if carried is None or carried.id != principal.id or not set(principal.roles) <= set(carried.roles):
            raise Refusal(401, "identity", "changed_identity", FAULTS["changed_identity"])
