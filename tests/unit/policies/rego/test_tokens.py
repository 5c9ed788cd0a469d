"""Tokens and their keys: the examples of RFC 7515 and RFC 7519, and what is signed here is verified here."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from policies.rego.keys import read_keys, read_signer
from policies.rego.signing import encode_sign, encode_sign_raw
from policies.rego.tokens import decode, decode_verify, verifies, verifies_hmac

SECRET = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
KEY = {"kty": "oct", "k": SECRET}
JWT = (
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNv"
    "bS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)
"""RFC 7515, A.1."""


def test_the_example_of_rfc_7515_is_made_and_read() -> None:
    header = '{"typ":"JWT",\r\n "alg":"HS256"}'
    payload = '{"iss":"joe",\r\n "exp":1300819380,\r\n "http://example.com/is_root":true}'
    assert encode_sign_raw(header, payload, json.dumps(KEY)) == JWT
    assert decode(JWT)[:2] == [json.loads(header), json.loads(payload)]
    secret = base64.urlsafe_b64decode(SECRET + "==")
    with pytest.raises(UnicodeDecodeError):
        secret.decode()  # this secret is no text, so that io.jwt.verify_hs256 cannot be given it


claims = st.dictionaries(
    st.text("abé<", min_size=1, max_size=3), st.text(max_size=5) | st.integers(2, 2**53), max_size=3
)


@given(claims, st.text(min_size=1, max_size=9), st.text(min_size=1, max_size=9))
def test_a_token_holds_for_its_secret_and_no_other(payload: dict[str, Any], secret: str, other: str) -> None:
    try:
        key = {"kty": "oct", "k": base64.urlsafe_b64encode(secret.encode()).decode().rstrip("=")}
        other.encode()
        token = encode_sign({"alg": "HS384"}, payload, key)
    except UnicodeEncodeError:
        return
    assert decode(token)[1] == payload
    assert verifies_hmac("384")(token, secret)
    assert verifies_hmac("384")(token, other) is (secret.rstrip("\0") == other.rstrip("\0"))
    head, body, signature = token.split(".")
    assert not verifies_hmac("384")(f"{head}.{body}AA.{signature}", secret)


def test_times_and_audiences_are_asked_for() -> None:
    token = encode_sign({"alg": "HS256"}, {"exp": 6, "nbf": 5, "aud": ["x", "y"]}, {"kty": "oct", "k": "c2VjcmV0"})

    def holds(**wanted: object) -> object:
        return decode_verify(token, {"secret": "secret", "aud": "y", "time": 5 * 10**9, **wanted})[0]

    assert holds() is True
    assert holds(time=4 * 10**9) is False
    assert holds(time=6 * 10**9) is False
    assert holds(aud="z") is False
    assert holds(secret="other") is False


def _pem(key: Any) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return str(key.public_key().public_bytes(serialization.Encoding.PEM, form).decode())


def test_an_ed25519_key_signs_the_same_way_each_time() -> None:
    key = ed25519.Ed25519PrivateKey.generate()

    def written(raw: bytes) -> str:
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    jwk = {"kty": "OKP", "crv": "Ed25519", "d": written(key.private_bytes_raw())}
    jwk["x"] = written(key.public_key().public_bytes_raw())
    token = encode_sign({"alg": "EdDSA"}, {"a": "b"}, jwk)
    assert token == encode_sign({"alg": "EdDSA"}, {"a": "b"}, jwk)
    assert verifies("EdDSA")(token, _pem(key))
    assert not verifies("EdDSA")(token, _pem(ed25519.Ed25519PrivateKey.generate()))


def test_keys_that_are_not_plain_are_refused() -> None:
    pem = _pem(ec.generate_private_key(ec.SECP256R1()))
    assert len(read_keys(pem)) == 1
    private = json.dumps({"kty": "RSA", "n": "AQAB", "e": "AQAB", "d": "AQAB"})
    weak = _pem(rsa.generate_private_key(65537, 1024)).replace("\n-----END", "\nA\n-----END")
    for text in (pem + pem, "x" + pem, private, weak, _pem(ec.generate_private_key(ec.SECP256K1())), '{"keys":[]}x'):
        with pytest.raises((ValueError, TypeError)):
            read_keys(text)
    assert read_keys('{"keys": []}') == ()
    with pytest.raises(ValueError, match="read here for signing"):
        read_signer({"kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ", "d": "AQ"})
