"""Revocation lists: what is taken, what is not, and that OpenSSL comes to the same verdict."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.revocation import MOST_BYTES, RevocationList, RevocationLists, load_list, to_ms
from tests.support.certificates import Authority, Issued, save

ROOT = Authority()
BELOW = Authority("Issuer", ROOT)
NOW = time.time_ns() // 1_000_000
HOUR = 3_600_000


def lists(folder: Path, *made: x509.CertificateRevocationList) -> RevocationLists:
    bundle = [ROOT.certificate, BELOW.certificate]
    paths = [save(folder / f"{number}.crl", each) for number, each in enumerate(made)]
    return RevocationLists(load_list(path, bundle, NOW) for path in paths)


def chain(issued: Issued) -> list[x509.Certificate]:
    return [issued.certificate, *issued.between, issued.root]


def openssl(folder: Path, issued: Issued, *made: x509.CertificateRevocationList) -> bool:
    """Whether OpenSSL takes the chain with these lists."""
    save(folder / "root.pem", issued.root)
    save(folder / "between.pem", *issued.between)
    save(folder / "leaf.pem", issued.certificate)
    (folder / "all.crl").write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in made))
    command = ["openssl", "verify", "-crl_check_all", "-CAfile", "root.pem", "-CRLfile", "all.crl"]
    command += ["-untrusted", "between.pem"] if issued.between else []
    return subprocess.run([*command, "leaf.pem"], cwd=folder, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("case", "fault"),
    [
        ("clean", ""),
        ("leaf revoked", "revoked_certificate"),
        ("authority revoked", "revoked_certificate"),
        ("same number of another authority", ""),
        ("leaf list overdue", "crl_expired"),
        ("root list overdue", "crl_expired"),
        ("leaf list missing", "no_crl"),
        ("root list missing", "no_crl"),
    ],
)
def test_a_chain_is_judged_as_openssl_judges_it(tmp_path: Path, case: str, fault: str) -> None:
    issued = BELOW.issue(x509.DNSName("a.example"))
    of_root, of_below = ROOT.revoke(), BELOW.revoke()
    match case:
        case "leaf revoked":
            of_below = BELOW.revoke(issued.certificate)
        case "authority revoked":
            of_root = ROOT.revoke(BELOW.certificate)
        case "same number of another authority":
            of_root = ROOT.revoke(issued.certificate)
        case "leaf list overdue":
            of_below = BELOW.revoke(hours=-1)
        case "root list overdue":
            of_root = ROOT.revoke(hours=-1)
    made = (
        [of_root] if case == "leaf list missing" else [of_below] if case == "root list missing" else [of_root, of_below]
    )
    assert lists(tmp_path, *made).fault(chain(issued), NOW)[0] == fault
    assert openssl(tmp_path, issued, *made) == (not fault)


def test_the_verdict_holds_until_the_first_list_is_due(tmp_path: Path) -> None:
    found = lists(tmp_path, ROOT.revoke(hours=5), BELOW.revoke(hours=3))
    fault, until = found.fault(chain(BELOW.issue()), NOW)
    assert fault == ""
    assert 2.9 * HOUR < until - time.time_ns() // 1_000_000 < 3.1 * HOUR
    assert found.fault(chain(BELOW.issue()), until)[0] == "crl_expired"
    assert found.faults(NOW) == []
    assert found.faults(until) == [("overdue", tmp_path / "1.crl")]


def one(folder: Path, name: str, number: int | None, since: float, *revoked: Issued) -> RevocationList:
    extension = None if number is None else x509.CRLNumber(number)
    made = BELOW.revoke(*(each.certificate for each in revoked), since=since, extension=extension, critical=False)
    return load_list(save(folder / name, made), [ROOT.certificate, BELOW.certificate], NOW)


@pytest.mark.parametrize(
    ("in_force", "saved", "older"),
    [
        ((5, -2), (6, -1), False),
        ((5, -2), (5, -2), False),
        ((5, -2), (4, -1), True),
        ((5, -1), (6, -2), True),
        ((5, -2), (None, -1), True),
        ((None, -2), (5, -1), False),
        ((None, -2), (None, -1), False),
        ((None, -1), (None, -2), True),
    ],
)
def test_an_older_list_does_not_replace_the_one_in_force(
    tmp_path: Path, in_force: tuple[int | None, float], saved: tuple[int | None, float], older: bool
) -> None:
    thief = BELOW.issue()
    path = save(tmp_path / "root.crl", ROOT.revoke())
    of_root = load_list(path, [ROOT.certificate], NOW)
    before = RevocationLists([of_root, one(tmp_path, "before.crl", *in_force, thief)])
    now = RevocationLists([of_root, one(tmp_path, "now.crl", *saved)], before)
    assert now.faults(NOW) == ([("older", tmp_path / "now.crl")] if older else [])
    assert now.fault(chain(thief), NOW)[0] == ("revoked_certificate" if older else "")
    again = RevocationLists([of_root, one(tmp_path, "now.crl", *saved)], now)
    assert bool(again.older) == older, "what was kept is what the next one is compared with"


def test_a_list_that_is_taken_out_of_the_configuration_does_not_stay(tmp_path: Path) -> None:
    before = RevocationLists([one(tmp_path, "a.crl", 5, -1)])
    assert RevocationLists([], before).fault(chain(BELOW.issue()), NOW)[0] == ""


def test_without_any_list_nothing_is_checked() -> None:
    assert RevocationLists().fault(chain(BELOW.issue()), NOW)[0] == ""


def test_der_is_read_as_pem_is(tmp_path: Path) -> None:
    gone = BELOW.issue()
    path = tmp_path / "der.crl"
    path.write_bytes(BELOW.revoke(gone.certificate).public_bytes(Encoding.DER))
    assert load_list(path, [BELOW.certificate], NOW).serials == {gone.certificate.serial_number}


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (BELOW.revoke(extension=x509.DeltaCRLIndicator(1)), "partial or indirect"),
        (
            BELOW.revoke(extension=x509.IssuingDistributionPoint(None, None, True, False, None, False, False)),
            "partial or indirect",
        ),
        (BELOW.revoke(since=2), "from the future"),
        (Authority("Issuer").revoke(), "signed by none of the authorities"),
        (Authority("Other").revoke(), "signed by none of the authorities"),
    ],
)
def test_a_list_that_leaves_a_question_open_is_not_taken(
    tmp_path: Path, made: x509.CertificateRevocationList, told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        lists(tmp_path, made)


@pytest.mark.parametrize("data", [b"", b"junk", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"])
def test_what_is_no_list_is_told(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ValueError, match="is not a certificate revocation list"):
        load_list(tmp_path / "x", [ROOT.certificate], NOW)


def test_two_lists_in_one_file_and_a_huge_file_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "x", ROOT.revoke(), BELOW.revoke())
    with pytest.raises(ValueError, match="several"):
        load_list(tmp_path / "x", [ROOT.certificate], NOW)
    (tmp_path / "x").write_bytes(b"\0" * (MOST_BYTES + 1))
    with pytest.raises(ValueError, match="more than"):
        load_list(tmp_path / "x", [ROOT.certificate], NOW)


def test_times_are_milliseconds() -> None:
    now = time.time_ns() // 1_000_000
    assert abs(to_ms(BELOW.revoke(hours=1).next_update_utc) - now - HOUR) < 60_000  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "extension",
    [x509.DeltaCRLIndicator(1), x509.IssuingDistributionPoint(None, None, False, True, None, False, False)],
)
def test_a_part_of_a_list_that_does_not_say_so_critically_is_not_taken(
    tmp_path: Path, extension: x509.ExtensionType
) -> None:
    path = save(tmp_path / "a.crl", BELOW.revoke(extension=extension, critical=False))
    with pytest.raises(ValueError, match="partial or indirect"):
        load_list(path, [BELOW.certificate], NOW)
