"""Findings in an address are seen, told to policy, and masked in what is kept."""

from __future__ import annotations

from gateway.address import Address, Addresses
from gateway.content.patterns import PatternScanner

SCANNER = PatternScanner()


def test_path_and_query_are_read_decoded() -> None:
    address = Address("/customers/jane.doe@example.org", "cc=joe.bloggs%40example.org&x=1", SCANNER)
    assert address.findings == {"email": 2}


def test_a_finding_does_not_reach_from_the_path_into_the_query() -> None:
    assert Address("/jane.doe@", "example.org", SCANNER).findings == {}


def test_the_summary_of_the_body_gains_the_address_as_a_place() -> None:
    address = Address("/jane.doe@example.org", "", SCANNER)
    summary = address.add_to({"email": {"count": 1, "confidence": 1, "pointers": ["/a"]}})
    assert summary["email"]["count"] == 2
    assert summary["email"]["pointers"] == ["/a", "address"]
    assert summary["email"]["confidence"] > 1
    assert address.add_to({})["email"]["count"] == 1


def test_what_is_kept_is_masked() -> None:
    address = Address("/", "", SCANNER)
    assert address.masked("/a/jane.doe@example.org/b") == "/a/[EMAIL]/b"
    assert address.masked("/plain") == "/plain"


def test_headers_are_looked_through_before_they_are_kept() -> None:
    address = Address("/", "", SCANNER)
    assert address.finds_in([(b"accept", b"*/*"), (b"x-user", b"jane.doe@example.org")])
    assert not address.finds_in([(b"accept", b"*/*"), (b"x-user", b"jane")])


def test_an_address_without_findings_is_looked_through_once() -> None:
    addresses = Addresses(SCANNER)
    assert addresses.read("/a", "b=1") is addresses.read("/a", "b=1")
    assert addresses.read("/a", "b=1") is not addresses.read("/a/b", "=1")
    found = addresses.read("/jane@example.org", "")
    assert found.findings == {"email": 1}
    assert addresses.read("/jane@example.org", "") is not found


def test_what_is_remembered_of_addresses_is_bounded() -> None:
    addresses = Addresses(SCANNER)
    for number in range(5_000):
        addresses.read(f"/{'n' * (number % 300)}/{number % 7}", f"{number}")
    assert len(addresses._known) <= 2_048
    assert all(len(path) + len(query) <= 256 for path, query in addresses._known)
