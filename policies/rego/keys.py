"""Keys of JSON Web Tokens: out of a PEM certificate or public key, or out of a JWK or a set of them (RFC 7517).

OPA's Go libraries and `cryptography` differ in the odd corners of these formats (weak keys, private keys, rare curves,
extra text), so whatever is not plain is an error here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509 import load_pem_x509_certificate

from policies.rego.checks import text
from policies.rego.values import base64url_bytes, json_unmarshal

ALGORITHMS: Final = frozenset(
    {"EdDSA", *(kind + size for kind in ("RS", "PS", "ES", "HS") for size in ("256", "384", "512"))}
)
Public = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | bytes
"""A public key, or the bytes of a shared secret."""

Signer = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | bytes
"""What signs the same way each time; elliptic curves do not."""

_SIGNING_MEMBERS: Final = frozenset({"kty", "k", "alg", "kid", "n", "e", "d", "p", "q", "dp", "dq", "qi", "crv", "x"})
_MOST_KEYS: Final = 32
_PEM: Final = re.compile(
    r"-----BEGIN (?P<type>CERTIFICATE|PUBLIC KEY)-----\n(?:[A-Za-z0-9+/]{1,76}\n)*[A-Za-z0-9+/]{0,76}={0,2}\n"
    r"-----END (?P=type)-----\n?"
)
_CURVES: Final[Mapping[object, type[ec.EllipticCurve]]] = {
    "P-256": ec.SECP256R1,
    "P-384": ec.SECP384R1,
    "P-521": ec.SECP521R1,
}


@dataclass(frozen=True, slots=True)
class Key:
    """One key with what a set says of it: the only algorithm it is for, and its name; "" where it says nothing."""

    public: Public
    algorithm: str = ""
    name: str = ""


@lru_cache(maxsize=64)
def read_keys(written: str) -> tuple[Key, ...]:
    """The keys in `written`; ValueError or TypeError where it is not certain that OPA reads the same ones."""
    if "-----" in written:
        found = _PEM.fullmatch(written)
        if found is None:
            raise ValueError("not a single plain PEM block of a certificate or a public key")
        raw = written.encode()
        if found["type"] == "CERTIFICATE":
            return (Key(_checked(load_pem_x509_certificate(raw).public_key())),)
        return (Key(_checked(serialization.load_pem_public_key(raw))),)
    return tuple(_keys(json_unmarshal(written)))


def _keys(document: object) -> list[Key]:
    if not isinstance(document, dict):
        raise TypeError("not a JSON Web Key")
    entries = document.get("keys", [document])
    if not isinstance(entries, list) or len(entries) > _MOST_KEYS or ("keys" in document and "kty" in document):
        raise ValueError("not a JSON Web Key Set of bounded size")
    found = []
    for entry in entries:
        if not isinstance(entry, dict) or "d" in entry:
            raise ValueError("not a public key")
        algorithm = text(entry.get("alg", ""))
        if algorithm and algorithm not in ALGORITHMS:
            raise ValueError("an algorithm that is not known here")
        found.append(Key(_public(entry), algorithm, text(entry.get("kid", ""))))
    return found


def read_signer(document: object) -> tuple[Signer, str]:
    """The first private key or secret of a JWK or JWK Set, and the algorithm it says it is for."""
    if isinstance(document, dict) and isinstance(document.get("keys"), list):
        document = document["keys"][0]
    if not isinstance(document, dict) or not document.keys() <= _SIGNING_MEMBERS:
        raise ValueError("not a JSON Web Key that is read here for signing")
    return _signer(document), text(document.get("alg", ""))


def _signer(entry: Mapping[str, object]) -> Signer:
    if entry.get("kty") == "oct" and entry.get("k"):
        return base64url_bytes(entry["k"])
    if entry.get("kty") == "RSA":
        public = rsa.RSAPublicNumbers(_number(entry["e"]), _number(entry["n"]))
        _checked(public.public_key())
        p, q, d, dp, dq, qi = (_number(entry[name]) for name in ("p", "q", "d", "dp", "dq", "qi"))
        return rsa.RSAPrivateNumbers(p, q, d, dp, dq, qi, public).private_key()
    if entry.get("kty") == "OKP" and entry.get("crv") == "Ed25519":
        key = ed25519.Ed25519PrivateKey.from_private_bytes(base64url_bytes(entry["d"]))
        if key.public_key().public_bytes_raw() == base64url_bytes(entry["x"]):
            return key
    raise ValueError("a key that is not read here for signing")


def _public(entry: Mapping[str, object]) -> Public:
    kind = entry.get("kty")
    if kind == "oct":
        return base64url_bytes(entry.get("k"))
    if kind == "RSA":
        return _checked(rsa.RSAPublicNumbers(_number(entry.get("e")), _number(entry.get("n"))).public_key())
    if kind == "EC":
        curve = _CURVES[entry.get("crv")]()
        return _checked(ec.EllipticCurvePublicNumbers(_number(entry["x"]), _number(entry["y"]), curve).public_key())
    if kind == "OKP" and entry.get("crv") == "Ed25519":
        return ed25519.Ed25519PublicKey.from_public_bytes(base64url_bytes(entry.get("x")))
    raise ValueError("a kind of key that is not read here")


def _number(written: object) -> int:
    return int.from_bytes(base64url_bytes(written), "big")


def _checked(key: object) -> Public:
    if isinstance(key, rsa.RSAPublicKey):
        exponent = key.public_numbers().e
        if 1024 <= key.key_size <= 8192 and exponent % 2 and 3 <= exponent < 2**31:
            return key
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if isinstance(key.curve, tuple(_CURVES.values())):
            return key
    elif isinstance(key, ed25519.Ed25519PublicKey):
        return key
    raise ValueError("a key that OPA's libraries may take otherwise")
