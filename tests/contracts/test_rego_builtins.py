"""Every builtin and operator gives what OPA gives, on random arguments; where it cannot, it is an error."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from bench.random_calls import compare, sources
from bench.random_rules import compare_rules, modules
from tests.support.servers import require_binary

CALLS = 6


def test_every_builtin_and_operator_is_equal_to_opa_s_or_an_error() -> None:
    expressions = sources(7, CALLS)
    outcome = compare(require_binary("opa"), expressions)
    assert outcome.different == []
    assert outcome.equal > len(expressions) / 2


def test_random_modules_mean_what_they_mean_to_opa() -> None:
    outcome = compare_rules(require_binary("opa"), modules(3, 4))
    assert outcome.different == []
    assert outcome.equal > 14


def test_tokens_are_signed_and_verified_as_opa_does() -> None:
    outcome = compare(require_binary("opa"), list(_token_calls()))
    assert outcome.different == []
    assert set(outcome.errors) <= {"io.jwt.encode_sign"}
    assert outcome.equal > 30


def _token_calls() -> Iterator[str]:
    """Each algorithm with its key, another's, and a token that was changed."""
    rsa_key = rsa.generate_private_key(65537, 2048)
    curves = {"256": ec.SECP256R1(), "384": ec.SECP384R1(), "512": ec.SECP521R1()}
    other = _pem(ed25519.Ed25519PrivateKey.generate())
    for size, curve in curves.items():
        digest = getattr(hashes, f"SHA{size}")()
        curve_key = ec.generate_private_key(curve)
        half = (curve.key_size + 7) // 8

        def by_curve(signed: bytes, key=curve_key, digest=digest, half=half) -> bytes:  # type: ignore[no-untyped-def]
            pair = utils.decode_dss_signature(key.sign(signed, ec.ECDSA(digest)))
            return b"".join(each.to_bytes(half, "big") for each in pair)

        salted = padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH)
        yield from _verified("ES" + size, by_curve, _pem(curve_key), other)
        yield from _verified(
            "RS" + size, lambda signed, d=digest: rsa_key.sign(signed, padding.PKCS1v15(), d), _pem(rsa_key), other
        )
        yield from _verified(
            "PS" + size, lambda signed, s=salted, d=digest: rsa_key.sign(signed, s, d), _pem(rsa_key), other
        )
        header, key = f'as_is({{"alg": "HS{size}"}})', 'as_is({"kty": "oct", "k": "c2VjcmV0"})'
        made = f'io.jwt.encode_sign({header}, as_is({{"a": ["<", 1, true]}}), {key})'
        yield made
        yield f'io.jwt.verify_hs{size}({made}, "secret")'
        yield f'io.jwt.verify_hs{size}({made}, "other")'
        yield f"io.jwt.decode({made})"
        for time in (4, 5, 6):
            claims = (
                f'io.jwt.encode_sign({header}, as_is({{"exp": 6, "nbf": 5, "aud": ["x", "y"], "iss": "i"}}), {key})'
            )
            wanted = f'as_is({{"secret": "secret", "time": {time}000000000, "aud": "y", "iss": "i"}})'
            yield f"io.jwt.decode_verify({claims}, {wanted})"
    yield 'io.jwt.encode_sign(as_is({"alg": "none"}), as_is({}), as_is({"kty": "oct", "k": "c2VjcmV0"}))'


def _verified(algorithm: str, sign: Callable[[bytes], bytes], key: str, other: str) -> Iterator[str]:
    signed = ".".join(_encoded(json.dumps(each).encode()) for each in ({"alg": algorithm}, {"sub": "é"}))
    token = f"{signed}.{_encoded(sign(signed.encode()))}"
    changed = f"{_encoded(b'{}')}.{token.split('.', 1)[1]}"
    for each, by in ((token, key), (changed, key), (token, other)):
        yield f"io.jwt.verify_{algorithm.lower()}(as_is({json.dumps(each)}), {json.dumps(by)})"
        constraints = f'as_is({{"cert": {json.dumps(by)}, "alg": "{algorithm}", "time": 1}})'
        yield f"io.jwt.decode_verify(as_is({json.dumps(each)}), {constraints})"


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _pem(key: PrivateKeyTypes) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()
