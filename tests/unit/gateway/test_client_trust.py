"""Whom a verified certificate stands for, and when it stands for nobody."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.client_trust import ClientTrust, TrustError, load_trust
from gateway.errors import Refusal
from gateway.identity import Principal
from gateway.peer import FAULTS, Peer
from gateway.settings import ClientIdentity, GatewayTls
from tests.support.certificates import Authority, save

ROOT = Authority()
OTHER = Authority("Other Root")
AGENT = x509.UniformResourceIdentifier("spiffe://acme/agent-7")
NOW = time.time_ns() // 1_000_000


def identity(**facts: Any) -> ClientIdentity:
    return ClientIdentity(**({"tenant": "acme", "name": "agent-7", "roles": ("agent",)} | facts))


def trust(*identities: ClientIdentity, **options: Any) -> ClientTrust:
    named = [(each, None) for each in identities or (identity(san="spiffe://acme/agent-7"),)]
    return ClientTrust([ROOT.certificate, OTHER.certificate], identities=named, **options)


def met(*names: x509.GeneralName, by: ClientTrust | None = None, **options: Any) -> Peer:
    return (by or trust()).meet(ROOT.issue(*names, **options).chain)


def _sans(der: bytes) -> x509.UnrecognizedExtension:
    """Alternative names as these bytes."""
    return x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, der)


def test_a_mapped_certificate_is_its_principal() -> None:
    issued = ROOT.issue(AGENT, x509.DNSName("a.example"), subject="agent")
    peer = trust().meet(issued.chain)
    principal = peer.confirmed(NOW)
    assert principal is not None
    assert (principal.id, principal.tenant, principal.roles) == ("acme/agent-7", "acme", ("agent",))
    assert principal.key == f"cert:{issued.digest[:16]}"
    assert principal.certificate is not None
    assert principal.certificate.digest == issued.digest
    assert principal.certificate.subject == "CN=agent"
    assert principal.certificate.sans == ("URI:spiffe://acme/agent-7", "DNS:a.example")
    assert principal.certificate.not_after == int(issued.certificate.not_valid_after_utc.timestamp() * 1000)


def test_no_certificate_is_nobody_or_a_fault_where_one_is_required() -> None:
    assert trust().meet([]).confirmed(NOW) is None
    assert trust(required=True).meet([]).fault == "no_certificate"


@pytest.mark.parametrize(
    ("peer", "fault"),
    [
        (met(AGENT, purposes=None), "wrong_purpose"),
        (met(AGENT, purposes=[ExtendedKeyUsageOID.SERVER_AUTH]), "wrong_purpose"),
        (met(AGENT, purposes=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), "wrong_purpose"),
        (met(AGENT, ca=True), "authority_certificate"),
        (trust().meet(ROOT.issue(AGENT).chain[-1:]), "authority_certificate"),
        (trust().meet(Authority().issue(AGENT).chain), "untrusted_certificate"),
        (met(AGENT, x509.UniformResourceIdentifier("https://a.example")), "ambiguous_certificate"),
        (met(*[x509.DNSName(f"{number}.example") for number in range(65)]), "unreadable_certificate"),
        (trust().meet([b"junk"]), "unreadable_certificate"),
        (met(extension=_sans(b"\x30\x02\xa3\x00")), "unreadable_certificate"),  # an x400Address
        (met(extension=_sans(b"\x30\x04\x82\x02\xff\xfe")), "unreadable_certificate"),  # no ASCII
        (met(extension=_sans(b"\x30\x7f")), "unreadable_certificate"),  # cut off
        (trust().meet(ROOT.issue(AGENT).chain, resumed=True), "resumed_session"),
        (met(AGENT, days=-1), "expired_certificate"),
    ],
)
def test_a_certificate_that_must_not_be_used_refuses(peer: Peer, fault: str) -> None:
    with pytest.raises(Refusal) as refusal:
        peer.confirmed(NOW)
    assert (refusal.value.status, refusal.value.stage, refusal.value.code) == (401, "identity", fault)
    assert refusal.value.detail == FAULTS[fault]
    assert peer.principal is None or fault == "expired_certificate"


def test_two_principals_are_ambiguous_and_two_names_of_one_are_not() -> None:
    same, other = identity(san="a.example"), identity(san="b.example", name="other")
    both = trust(identity(san="spiffe://acme/agent-7"), same, other)
    assert met(AGENT, x509.DNSName("a.example"), by=both).principal is not None
    assert met(AGENT, x509.DNSName("b.example"), by=both).fault == "ambiguous_certificate"
    by_subject = trust(identity(san="a.example"), identity(subject="CN=b", name="b"))
    assert met(x509.DNSName("a.example"), subject="b", by=by_subject).fault == "ambiguous_certificate"


def test_a_subject_is_matched_whole_and_by_what_it_says() -> None:
    named = trust(identity(subject="CN=agent-7,O=Acme"))

    def subject(*parts: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
        return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])

    organisation = (NameOID.ORGANIZATION_NAME, "Acme")
    assert met(subject=subject(organisation, (NameOID.COMMON_NAME, "agent-7")), by=named).principal
    for other in (
        subject((NameOID.COMMON_NAME, "agent-7")),
        subject((NameOID.COMMON_NAME, "agent-7"), organisation),
        subject(organisation, (NameOID.COMMON_NAME, "agent-7"), (NameOID.COMMON_NAME, "agent-7")),
        subject(organisation, (NameOID.COMMON_NAME, "agent-7\0")),
        subject(organisation, (NameOID.COMMON_NAME, "\u0430gent-7")),
        subject(organisation, (NameOID.COMMON_NAME, "Agent-7")),
        subject((NameOID.COMMON_NAME, "agent-7,O=Acme")),
    ):
        peer = met(subject=other, by=named)
        assert (peer.principal, peer.fault) == (None, "")


def test_an_authority_of_another_party_cannot_name_this_one() -> None:
    bundle = [ROOT.certificate, OTHER.certificate]
    bound = ClientTrust(bundle, identities=[(identity(san="spiffe://acme/agent-7"), [ROOT.certificate])])
    assert bound.meet(ROOT.issue(AGENT).chain).principal is not None
    assert bound.meet(Authority("Between", ROOT).issue(AGENT).chain).principal is not None
    forged = bound.meet(OTHER.issue(AGENT).chain)
    assert (forged.principal, forged.fault) == (None, "")


def test_a_verdict_follows_the_configuration() -> None:
    peer = trust().meet(ROOT.issue(AGENT).chain)
    admitted = peer.confirmed(NOW)
    assert admitted is not None
    peer.confirm(admitted, NOW)
    trust(identity(san="spiffe://acme/agent-7", roles=("agent", "more"))).judge(peer)
    peer.confirm(admitted, NOW)
    for less in (identity(san="spiffe://acme/agent-7", roles=()), identity(san="x.example")):
        trust(less).judge(peer)
        with pytest.raises(Refusal, match="changed_identity"):
            peer.confirm(admitted, NOW)
    ClientTrust([OTHER.certificate]).judge(peer)
    with pytest.raises(Refusal, match="untrusted_certificate"):
        peer.confirm(Principal("acme/x", "acme", (), "key_1"), NOW)  # nor does a key pass on such a connection
    trust().judge(peer)
    peer.confirm(admitted, NOW)


def test_it_lapses_once() -> None:
    peer = trust().meet(ROOT.issue(AGENT, days=1).chain)
    assert not peer.lapses(NOW)
    assert not peer.lapses(peer.until - 1)
    assert peer.lapses(peer.until)
    assert not peer.lapses(peer.until)
    assert peer.fault == "expired_certificate"


def tls(folder: Path, **settings: Any) -> GatewayTls:
    known = {"certificate": folder / "none", "key": folder / "none", "client_ca": folder / "ca.pem"}
    return GatewayTls(**(known | settings))


def test_files_that_cannot_be_used_are_named_with_their_setting(tmp_path: Path) -> None:
    def fault(**settings: Any) -> tuple[tuple[str | int, ...], str]:
        with pytest.raises(TrustError) as caught:
            load_trust(tls(tmp_path, **settings))
        return caught.value.setting, str(caught.value)

    assert fault() == (("client_ca",), f"{tmp_path}/ca.pem cannot be read: No such file or directory")
    (tmp_path / "ca.pem").write_text("junk")
    assert fault()[1].endswith("is not a PEM bundle of certificates")
    save(tmp_path / "ca.pem", ROOT.certificate, ROOT.issue(AGENT).certificate)
    assert fault()[1].endswith("holds a certificate that is not an authority's")
    save(tmp_path / "ca.pem", ROOT.certificate)
    save(tmp_path / "other.pem", OTHER.certificate)
    bound = ClientIdentity(san="a.example", tenant="acme", name="a", ca=tmp_path / "other.pem")
    assert fault(identities=(bound,))[0] == ("identities", 0, "ca")
    one, two = save(tmp_path / "1.crl", ROOT.revoke()), save(tmp_path / "2.crl", ROOT.revoke())
    setting, text = fault(crl=(one, two))
    assert (setting, "lists of one authority" in text) == (("crl", 1), True)
    assert fault(crl=(tmp_path / "absent.crl",))[1].endswith("cannot be read: No such file or directory")


def test_without_authorities_there_is_nothing_to_trust(tmp_path: Path) -> None:
    assert load_trust(tls(tmp_path, client_ca=None)) is None
    with pytest.raises(ValueError, match="need client_ca"):
        tls(tmp_path, client_ca=None, client_certificates="required")
