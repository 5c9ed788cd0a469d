"""A bundle is exactly as the holder of the configured key signed it, or it is refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
)
from joserfc import jws
from joserfc.jwk import ECKey

from policies import signatures
from policies.errors import BundleError
from policies.settings import Verification
from policies.signatures import SIGNATURES, SigningError, check_key, fingerprint, sign, verify
from tests.support.bundles import ALGORITHMS, CONTENT, private_key, signed, write_keys

Files = dict[str, bytes]


def refused(files: Mapping[str, bytes], verification: Verification, folder: Path | None = None) -> str:
    with pytest.raises(BundleError) as caught:
        verify(files, verification, folder)
    assert all(problem.code in {"signature", "encoding", "syntax", "data"} for problem in caught.value.problems)
    return str(caught.value)


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return write_keys(tmp_path, "ES256")


@pytest.fixture
def trusted(keys: tuple[Path, Path]) -> Verification:
    return Verification(key=keys[1])


@pytest.fixture
def files(keys: tuple[Path, Path]) -> Files:
    return signed({**CONTENT, "data.json": b'{"a": 1}'}, keys[0])


def b64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def token(files: Files) -> str:
    return str(json.loads(files[SIGNATURES])["signatures"][0])


def with_tokens(files: Files, *tokens: object, **more: object) -> Files:
    return files | {SIGNATURES: json.dumps({"signatures": tokens, **more}).encode()}


def claimed(claims: object, header: dict[str, Any] | None = None) -> str:
    """A token with these claims that the right key signed."""
    text = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return jws.serialize_compact({"alg": "ES256"} | (header or {}), text, ECKey(k := private_key("ES256", ""), k))  # type: ignore[arg-type]


def listed(files: Files, **changes: object) -> list[dict[str, object]]:
    return [
        {"name": path, "hash": signatures.hash_file(path, content), "algorithm": "SHA-256"} | changes
        for path, content in files.items()
        if path != SIGNATURES
    ]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_was_signed_verifies_and_by_no_other_key(tmp_path: Path, algorithm: str) -> None:
    private, public = write_keys(tmp_path, algorithm)
    files = signed(CONTENT, private)
    verify(files, Verification(key=public))
    header = json.loads(base64.urlsafe_b64decode(token(files).partition(".")[0] + "=="))
    assert header == {"alg": algorithm, "typ": "JWT"}
    for kind in ALGORITHMS:
        other = write_keys(tmp_path, kind, "other")[1]
        assert "the signature is not good by the configured key" in refused(files, Verification(key=other))


def test_blanks_in_data_do_not_matter_and_values_do(files: Files, trusted: Verification) -> None:
    verify(files | {"data.json": b'\n{ "a":1 }'}, trusted)
    assert "data.json: was changed after it was signed" in refused(files | {"data.json": b'{"a": 1.0}'}, trusted)
    assert "data.json" in refused(files | {"data.json": b'{"a": 1, "a": 1}'}, trusted)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f | {"request.rego": f["request.rego"] + b"\n"}, "request.rego: was changed after it was signed"),
        (lambda f: f | {"extra.rego": b"package x\n"}, "extra.rego: is not listed in the signature"),
        (lambda f: f | {"README": b"hello"}, "README: is not listed in the signature"),
        (lambda f: f | {".hidden/x": b"hello"}, ".hidden/x: is not listed in the signature"),
        (lambda f: f | {"patch.json": b"{}"}, "patch.json: is not listed in the signature"),
        (lambda f: {p: c for p, c in f.items() if p != "data.json"}, "data.json: is listed in the signature, but not"),
        (lambda f: {p: c for p, c in f.items() if p != SIGNATURES}, "the bundle is not signed"),
        (lambda f: f | {"sub/" + SIGNATURES: f[SIGNATURES]}, "a second signatures file"),
        (lambda f: f | {"a.rego": f["request.rego"]} | {"request.rego": b""}, "was changed after it was signed"),
    ],
)
def test_any_change_is_refused(
    files: Files, trusted: Verification, change: Callable[[Files], Files], said: str
) -> None:
    assert said in refused(change(files), trusted)


def test_an_algorithm_that_the_token_chooses_counts_nothing(
    files: Files, trusted: Verification, tmp_path: Path
) -> None:
    payload = token(files).split(".")[1]
    public = trusted.key.read_bytes()

    def forged(header: dict[str, object], secret: bytes | None) -> str:
        signing = f"{b64(json.dumps(header).encode())}.{payload}"
        mac = hmac.digest(secret, signing.encode(), hashlib.sha256) if secret is not None else b""
        return f"{signing}.{b64(mac)}"

    own = private_key("ES256", "attacker")
    embedded = ECKey(own, own).as_dict(private=False)  # type: ignore[arg-type]
    attacks = [
        forged({"alg": "none"}, None),
        forged({"alg": "None"}, None),
        forged({"alg": ""}, None),
        forged({}, None),
        forged({"alg": "ES256"}, None),
        forged({"alg": "ES256"}, b"x"),
        forged({"alg": "HS256"}, public),
        forged({"alg": "HS256"}, public.strip()),
        forged({"alg": "HS256"}, b""),
        jws.serialize_compact(
            {"alg": "ES256", "jwk": embedded}, base64.urlsafe_b64decode(payload + "=="), ECKey(own, own)
        ),  # type: ignore[arg-type]
        forged({"alg": "ES256", "x5c": ["junk"], "jku": "https://attacker.example"}, b"x"),
        forged({"alg": "ES256", "crit": ["x"], "x": 1}, b"x"),
    ]
    for attack in attacks:
        assert "the signature is not good by the configured key (ES256)" in refused(with_tokens(files, attack), trusted)


def test_an_rsa_key_takes_rs256_alone(tmp_path: Path) -> None:
    private, public = write_keys(tmp_path, "RS256")
    files = signed(CONTENT, private)
    head, payload, signature = token(files).split(".")
    for algorithm in ("PS256", "RS384", "RS512", "HS256", "none"):
        other = ".".join([b64(json.dumps({"alg": algorithm}).encode()), payload, signature])
        assert "not good" in refused(with_tokens(files, other), Verification(key=public))
    assert head


@pytest.mark.parametrize(
    "tokens", [[], ["a", "b"], [None], [5], [{}], [""], ["a"], ["a.b"], ["a.b.c"], ["...."], ["é.é.é"], ["a.b.c.d.e"]]
)
def test_anything_but_one_token_is_refused(files: Files, trusted: Verification, tokens: list[object]) -> None:
    refused(with_tokens(files, *tokens), trusted)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b'{"signatures": "x"}', b"[" * 9_000])
def test_a_signatures_file_that_cannot_be_read_is_refused(files: Files, trusted: Verification, content: bytes) -> None:
    refused(files | {SIGNATURES: content}, trusted)


def test_a_signature_of_a_plugins_is_refused(files: Files, trusted: Verification) -> None:
    assert "of a plugin's" in refused(with_tokens(files, token(files), plugin="other"), trusted)
    verify(with_tokens(files, token(files), plugin="_default"), trusted)


def test_a_changed_token_is_refused(files: Files, trusted: Verification) -> None:
    whole = token(files)
    head, payload, signature = whole.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "==")) | {"scope": ""}
    for other in (
        ".".join([head, b64(json.dumps(claims).encode()), signature]),
        ".".join([head, payload, signature[:-4] + "AAAA"]),
        ".".join([head, payload, ""]),
        ".".join([head, "", signature]),
        whole + "A",
        whole + ".",
    ):
        assert "not good" in refused(with_tokens(files, other), trusted)


def test_what_is_signed_must_be_a_list_of_these_files(files: Files, trusted: Verification) -> None:
    verify(with_tokens(files, claimed({"files": listed(files), "iss": "ci", "exp": 1})), trusted)
    every = listed(files)
    for claims in (
        {"files": every + every[:1]},
        {"files": [*every[:-1], {"name": every[-1]["name"]}]},
        {"files": [*every[:-1], 5]},
    ):
        assert "an entry twice, or one that cannot be read" in refused(with_tokens(files, claimed(claims)), trusted)
    for empty in ({}, {"files": None}, {"files": {}}, {"files": []}):
        assert "request.rego: is not listed" in refused(with_tokens(files, claimed(empty)), trusted)
    for text in (b"", b"[]", b"\xff", b"{", b'{"files": [], "files": []}'):
        assert "is not a list of files" in refused(with_tokens(files, claimed(text)), trusted)


def test_broken_hashes_are_not_taken(files: Files, trusted: Verification) -> None:
    verify(
        with_tokens(files, claimed({"files": [e | {"hash": str(e["hash"]).upper()} for e in listed(files)]})), trusted
    )
    for name in ("MD5", "SHA-1", ""):
        said = refused(with_tokens(files, claimed({"files": listed(files, algorithm=name)})), trusted)
        assert f"the hash '{name}' is not taken; sign with SHA-256" in said
    for value in ("", "é", "0" * 64):
        assert "was changed" in refused(with_tokens(files, claimed({"files": listed(files, hash=value)})), trusted)


def test_key_id_and_scope_must_be_as_configured(keys: tuple[Path, Path]) -> None:
    private, public = keys
    named = signed(CONTENT, private, key_id="ci", scope="write")
    verify(named, Verification(key=public, scope="write"))
    verify(named, Verification(key=public, key_id="ci", scope="write"))
    assert "does not name the key id other" in refused(named, Verification(key=public, key_id="other", scope="write"))
    assert "the signature's scope is not read" in refused(named, Verification(key=public, scope="read"))
    assert "the signature's scope is not empty" in refused(named, Verification(key=public))
    plain = signed(CONTENT, private)
    assert "the signature's scope is not write" in refused(plain, Verification(key=public, scope="write"))
    assert "does not name the key id ci" in refused(plain, Verification(key=public, key_id="ci"))
    by_claim = with_tokens(plain, claimed({"files": listed(plain), "keyid": "ci"}))
    verify(by_claim, Verification(key=public, key_id="ci"))
    both = with_tokens(plain, claimed({"files": listed(plain), "keyid": "ci"}, {"kid": "other"}))
    refused(both, Verification(key=public, key_id="ci"))
    for scope in (None, 5, ["write"]):
        odd = with_tokens(plain, claimed({"files": listed(plain), "scope": scope}))
        refused(odd, Verification(key=public, scope="write"))


def test_the_folders_own_path_may_stand_before_every_name(keys: tuple[Path, Path], tmp_path: Path) -> None:
    private, public = keys
    folder = tmp_path / "policies" / "eu"
    trusted = Verification(key=public)
    for prefix in ("eu", "policies/eu", str(folder)[1:]):
        token = json.loads(sign({f"{prefix}/{path}": content for path, content in CONTENT.items()}, private))
        verify(with_tokens(CONTENT, *token["signatures"]), trusted, folder)
        refused(with_tokens(CONTENT, *token["signatures"]), trusted)
        refused(with_tokens(CONTENT | {"more": b""}, *token["signatures"]), trusted, folder)
    token = json.loads(sign({f"us/{path}": content for path, content in CONTENT.items()}, private))
    refused(with_tokens(CONTENT, *token["signatures"]), trusted, folder)


def test_problems_of_a_hostile_bundle_are_few_and_printable(files: Files, trusted: Verification) -> None:
    said = refused(files | {f"\x1b[31m{number}" + "x" * 900: b"" for number in range(500)}, trusted)
    assert "\x1b" not in said
    assert len(said) < 20_000


# Keys


def pem(key: Any) -> bytes:
    return bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def test_keys_that_cannot_be_used_are_named_and_not_shown(tmp_path: Path) -> None:
    private, public = write_keys(tmp_path)
    bad = {
        "junk": (b"junk", "holds no public key in PEM"),
        "private": (private.read_bytes(), "holds no public key in PEM"),
        "small": (pem(rsa.generate_private_key(65_537, 1024)), "1024 bits; at least 2048"),
        "curve": (pem(ec.generate_private_key(ec.SECP384R1())), "a key of another kind"),
        "ed448": (pem(ed448.Ed448PrivateKey.generate()), "a key of another kind"),
        "long": (b"\n" * 70_000 + public.read_bytes(), "holds no public key"),
    }
    for name, (content, said) in bad.items():
        file = tmp_path / name
        file.write_bytes(content)
        with pytest.raises(SigningError, match=said) as caught:
            check_key(file)
        assert str(file) in str(caught.value)
        assert "BEGIN" not in str(caught.value)
        assert "nothing can be verified" in refused(signed(CONTENT, private), Verification(key=file))
    with pytest.raises(SigningError, match="cannot be read"):
        check_key(tmp_path / "nowhere")
    check_key(public)


def test_signing_needs_a_private_key_without_a_passphrase(tmp_path: Path) -> None:
    public = write_keys(tmp_path)[1]
    locked = tmp_path / "locked"
    encrypted = private_key("EdDSA").private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    locked.write_bytes(encrypted)
    for file in (public, locked):
        with pytest.raises(SigningError, match="no private key in PEM without a passphrase"):
            sign(CONTENT, file)


def test_too_many_files_to_sign_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "_MAX_PAYLOAD", 500)
    with pytest.raises(SigningError, match="split the bundle"):
        sign({str(n): b"" for n in range(20)}, write_keys(tmp_path)[0])


def test_a_long_list_of_files_verifies(tmp_path: Path) -> None:
    private, public = write_keys(tmp_path)
    files = {f"{'folder' * 20}/{number}.rego": b"" for number in range(1_000)}
    verify(signed(files, private), Verification(key=public))


def test_another_key_or_name_is_another_fingerprint(tmp_path: Path) -> None:
    first, second = write_keys(tmp_path)[1], write_keys(tmp_path, "EdDSA", "other")[1]
    places = [None, Verification(key=first), Verification(key=second), Verification(key=first, key_id="a"),
              Verification(key=first, scope="a")]  # fmt: skip
    assert len({fingerprint(place) for place in places}) == len(places)
