"""`io.jwt.encode_sign` and `io.jwt.encode_sign_raw`, by algorithms that sign the same way each time (RFC 7515)."""

from __future__ import annotations

import base64
import hmac

from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

from policies.rego.checks import text
from policies.rego.keys import ALGORITHMS, Signer, read_signer
from policies.rego.tokens import HASHES
from policies.rego.values import json_is_valid, json_marshal, json_unmarshal


def encode_sign(header: object, payload: object, key: object) -> str:
    """`io.jwt.encode_sign`: header, payload and key are objects."""
    return _signed(json_marshal(header), json_marshal(payload), key)


def encode_sign_raw(header: object, payload: object, key: object) -> str:
    """`io.jwt.encode_sign_raw`: header, payload and key are texts, signed as they are written."""
    return _signed(text(header), text(payload), json_unmarshal(text(key)))


def _signed(header: str, payload: str, key: object) -> str:
    fields = json_unmarshal(header)
    if type(fields) is not dict or text(fields.get("alg")) not in ALGORITHMS:
        raise ValueError("the header names no algorithm that is known")
    kind = fields.get("typ", "JWT")
    if (kind == "JWT" or type(kind) is not str) and not json_is_valid(payload):
        raise ValueError("the payload of a JWT is JSON")
    signer, meant = read_signer(key)
    if meant not in ("", fields["alg"]):
        raise ValueError("the key is for another algorithm")
    signed = f"{_encoded(header.encode())}.{_encoded(payload.encode())}"
    return f"{signed}.{_encoded(_signature(fields['alg'], signer, signed.encode()))}"


def _signature(algorithm: str, signer: Signer, signed: bytes) -> bytes:
    if algorithm[:2] == "HS" and isinstance(signer, bytes):
        return hmac.digest(signer, signed, "sha" + algorithm[2:])
    if algorithm[:2] == "RS" and isinstance(signer, rsa.RSAPrivateKey):
        return signer.sign(signed, padding.PKCS1v15(), HASHES[algorithm[2:]]())
    if algorithm == "EdDSA" and isinstance(signer, ed25519.Ed25519PrivateKey):
        return signer.sign(signed)
    raise ValueError("the key does not sign by this algorithm the same way each time")


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
