"""`cordon policy sign` and `verify`, by what they write, print and return."""

from __future__ import annotations

from pathlib import Path

import pytest

from policies.bundle import load_bundle
from policies.settings import Verification
from policies.signatures import SIGNATURES
from policies.tarball import pack, unpack
from tests.support.bundles import ALGORITHMS, CONTENT, bundle_host, write_keys
from tests.support.cli import Installation
from tests.support.policies import write


@pytest.fixture
def cordon(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


@pytest.fixture
def bundle(cordon: Installation) -> str:
    return str(write(cordon.directory / "bundle"))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_folder_is_signed_and_verified(cordon: Installation, bundle: str, algorithm: str) -> None:
    private, public = map(str, write_keys(cordon.directory, algorithm))
    assert cordon("policy", "verify", bundle, "--key", public).code == 1
    signed = cordon("policy", "sign", bundle, "--key", private, "--json").json
    assert signed == {"bundle": bundle, "written": f"{bundle}/{SIGNATURES}", "files": ["request.rego", "response.rego"]}
    verified = cordon("policy", "verify", bundle, "--key", public)
    assert (verified.code, verified.out.partition(",")[0]) == (0, f"{bundle} is as it was signed")
    assert cordon("policy", "sign", bundle, "--key", private).code == 0  # again, over its own signature
    assert cordon("policy", "verify", bundle, "--key", public).code == 0
    (Path(bundle) / "request.rego").write_text("package cordon.request\n")
    refused = cordon("policy", "verify", bundle, "--key", public, "--json")
    assert (refused.code, refused.json["verified"]) == (1, False)
    assert [problem["file"] for problem in refused.json["problems"]] == ["request.rego"]


def test_an_archive_is_signed_in_place_or_beside(cordon: Installation, bundle: str) -> None:
    private, public = write_keys(cordon.directory)
    archive = cordon.directory / "bundle.tar.gz"
    archive.write_bytes(pack(CONTENT))
    other = cordon.directory / "signed.tar.gz"
    assert cordon("policy", "sign", str(archive), "--key", str(private), "-o", str(other)).code == 0
    assert SIGNATURES not in unpack(archive.read_bytes())
    assert cordon("policy", "sign", str(archive), "--key", str(private)).code == 0
    assert archive.read_bytes() == other.read_bytes() or SIGNATURES in unpack(archive.read_bytes())
    for place in (archive, other):
        assert load_bundle(place, Verification(key=public)).modules
    assert cordon("policy", "sign", bundle, "--key", str(private), "-o", str(other)).code == 0
    assert not (Path(bundle) / SIGNATURES).exists()
    assert load_bundle(other, Verification(key=public)).digest == load_bundle(Path(bundle)).digest


def test_key_id_and_scope_are_asked_for(cordon: Installation, bundle: str) -> None:
    private, public = map(str, write_keys(cordon.directory))
    assert cordon("policy", "sign", bundle, "--key", private, "--key-id", "ci", "--scope", "write").code == 0
    assert cordon("policy", "verify", bundle, "--key", public, "--key-id", "ci", "--scope", "write").code == 0
    assert "scope is not empty" in cordon("policy", "verify", bundle, "--key", public).out
    assert "key id x" in cordon("policy", "verify", bundle, "--key", public, "--scope", "write", "--key-id", "x").out


def test_a_key_that_cannot_be_used_is_told_without_what_is_in_it(cordon: Installation, bundle: str) -> None:
    private, public = map(str, write_keys(cordon.directory))
    refused = cordon("policy", "sign", bundle, "--key", public)
    assert (refused.code, f"{public} holds no private key" in refused.err) == (1, True)
    assert not (Path(bundle) / SIGNATURES).exists()
    assert cordon("policy", "sign", bundle, "--key", private).code == 0
    refused = cordon("policy", "verify", bundle, "--key", private)
    assert (refused.code, f"{private} holds no public key" in refused.out) == (1, True)
    assert "BEGIN" not in refused.out
    assert cordon("policy", "verify", bundle, "--key", "nowhere").code == 2


def test_where_nothing_can_be_written_nothing_is_left(cordon: Installation, bundle: str) -> None:
    private = str(write_keys(cordon.directory)[0])
    refused = cordon("policy", "sign", bundle, "--key", private, "-o", f"{bundle}/nowhere/x.tar.gz")
    assert (refused.code, "cannot be written" in refused.err) == (1, True)


def test_a_bundle_that_is_an_archive_or_on_a_server_is_taken_wherever_a_folder_is(cordon: Installation) -> None:
    archive = cordon.directory / "bundle.tar.gz"
    archive.write_bytes(pack(CONTENT | {"a_test.rego": b"package a_test\n\ntest_a if true\n"}))
    with bundle_host(unpack(archive.read_bytes())) as host:
        for place in (str(archive), host.url):
            assert cordon("policy", "check", place).code == 0
            assert "1 passed" in cordon("policy", "test", place).out
        assert cordon("policy", "test", host.url, "--watch").code == 2
        host.put(CONTENT, 500)
        refused = cordon("policy", "check", host.url)
        assert (refused.code, "the server answered 500" in refused.out + refused.err) == (1, True)
    assert cordon("policy", "check", "http://bundles.example/x.tar.gz").code == 2
    assert cordon("policy", "check", "https://bundles.example/").code == 2
    assert cordon("policy", "check", "nowhere").code == 2
