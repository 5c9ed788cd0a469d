"""JSON Web Tokens as OPA decodes and verifies them (`io.jwt.*`): RFC 7515, RFC 7519.

    1. split      three parts, base64url; the header is a JSON object and no JWE
    2. keys       keys.py reads them
    3. signature  by the key of the header's `kid`, else by any key that is for the header's algorithm
    4. claims     `decode_verify` only: issuer, audience, expiry, not before

What OPA reports as an error in a builtin is an error here; a signature that does not fit is `false` in both.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from policies.rego.checks import text
from policies.rego.keys import Key, Public, read_keys
from policies.rego.values import base64url_bytes, json_unmarshal

HASHES: Final[Mapping[str, Callable[[], hashes.HashAlgorithm]]] = {
    "256": hashes.SHA256,
    "384": hashes.SHA384,
    "512": hashes.SHA512,
}
ASYMMETRIC: Final = ("EdDSA", *(kind + size for kind in ("RS", "PS", "ES") for size in HASHES))
_CURVE_BITS: Final = {"ES256": 256, "ES384": 384, "ES512": 521}
_DEEPEST: Final = 8

_Unverified = [False, {}, {}]


@dataclass(frozen=True, slots=True)
class Token:
    """A token taken apart: what is signed, the header, and the bytes of payload and signature."""

    signed: bytes
    header: dict[str, Any]
    payload: bytes
    signature: bytes


def _split(value: object) -> Token:
    parts = text(value).split(".")
    if len(parts) != 3:
        raise ValueError("a token has three parts")
    header = _object(base64url_bytes(parts[0]))
    if "enc" in header:
        raise ValueError("an encrypted token is not read")
    return Token(f"{parts[0]}.{parts[1]}".encode(), header, base64url_bytes(parts[1]), base64url_bytes(parts[2]))


def _object(raw: bytes) -> dict[str, Any]:
    found = json_unmarshal(raw.decode())
    if type(found) is not dict:
        raise TypeError("not a JSON object")
    return found


def decode(value: object) -> list[object]:
    """`io.jwt.decode`: header, payload and the signature in hexadecimal digits, unverified."""
    for _ in range(_DEEPEST):
        token = _split(value)
        if text(token.header.get("cty", "")) != "JWT":
            return [token.header, _object(token.payload), token.signature.hex()]
        value = token.payload.decode().strip("\"'")
    raise ValueError("tokens are nested too deeply")


def verifies(algorithm: str) -> Callable[[object, object], bool]:
    """`io.jwt.verify_…` for an algorithm that is not HMAC."""

    def verify(value: object, written: object) -> bool:
        token, keys = _split(value), read_keys(text(written))
        wanted = _strings(token.header)
        return _by_keys(keys, wanted, lambda key: _holds(algorithm, key, token))

    return verify


def verifies_hmac(size: str) -> Callable[[object, object], bool]:
    """`io.jwt.verify_hs…`: with a shared secret; the header is not read."""

    def verify(value: object, secret: object) -> bool:
        parts = text(value).split(".")
        if len(parts) != 3:
            raise ValueError("a token has three parts")
        expected = hmac.digest(text(secret).encode(), f"{parts[0]}.{parts[1]}".encode(), "sha" + size)
        return hmac.compare_digest(base64url_bytes(parts[2]), expected)

    return verify


def _strings(header: Mapping[str, Any]) -> dict[str, str]:
    """Those members of a header that must be strings; `crit` must be a list with something in it."""
    if "crit" in header and (type(header["crit"]) is not list or not _named(header)):
        raise TypeError("crit must be a list of names")
    return {name: text(header.get(name, "")) for name in ("alg", "kid", "typ", "cty")}


def _by_keys(keys: tuple[Key, ...], header: Mapping[str, str], holds: Callable[[Public], bool]) -> bool:
    named = next((key for key in keys if header["kid"] and key.name == header["kid"]), None)
    if named is not None:
        return holds(named.public)
    return any(holds(key.public) for key in keys if key.algorithm in ("", header["alg"]))


def _holds(algorithm: str, key: Public, token: Token) -> bool:
    """Whether the signature is the key's. A key of another kind does not fit, as in OPA."""
    digest = HASHES.get(algorithm[2:], hashes.SHA256)()
    try:
        if algorithm[:2] in ("RS", "PS") and isinstance(key, rsa.RSAPublicKey):
            salted = padding.PSS(padding.MGF1(digest), padding.PSS.AUTO)
            key.verify(token.signature, token.signed, padding.PKCS1v15() if algorithm[0] == "R" else salted, digest)
        elif algorithm[:2] == "ES" and isinstance(key, ec.EllipticCurvePublicKey):
            half = len(token.signature) // 2
            pair = (int.from_bytes(part, "big") for part in (token.signature[:half], token.signature[half:]))
            key.verify(utils.encode_dss_signature(*pair), token.signed, ec.ECDSA(digest))
        elif algorithm == "EdDSA" and isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(token.signature, token.signed)
        elif algorithm[:2] == "HS" and isinstance(key, bytes):
            return hmac.compare_digest(token.signature, hmac.digest(key, token.signed, "sha" + algorithm[2:]))
        else:
            return False
    except InvalidSignature:
        return False
    return True


def decode_verify(value: object, constraints: object) -> list[object]:
    """`io.jwt.decode_verify`: `[true, header, payload]` if all holds, else `[false, {}, {}]`."""
    wanted = _constraints(constraints)
    for _ in range(_DEEPEST):
        token = _split(value)
        header = _strings(token.header)
        algorithm = header["alg"]
        if not algorithm or _critical(token.header) or wanted["alg"] not in ("", algorithm):
            return _Unverified
        if not _by_keys(wanted["keys"], header, lambda key: _holds_exactly(algorithm, key, token)):  # noqa: B023
            return _Unverified
        if header["cty"].upper() != "JWT":
            payload = _object(token.payload)
            return [True, token.header, payload] if _claims_hold(payload, wanted) else _Unverified
        value = token.payload.decode()
    raise ValueError("tokens are nested too deeply")


def _holds_exactly(algorithm: str, key: Public, token: Token) -> bool:
    """As `_holds`, with what OPA's other library demands here: the curve of the algorithm, and the salt's length."""
    if algorithm not in ("EdDSA", "none") and (
        algorithm[:2] not in ("RS", "PS", "ES", "HS") or algorithm[2:] not in HASHES
    ):
        raise ValueError("an algorithm that is not known here")
    if not _holds(algorithm, key, token):
        return False
    if isinstance(key, ec.EllipticCurvePublicKey):
        bits = key.curve.key_size
        if bits != _CURVE_BITS[algorithm] or len(token.signature) != 2 * ((bits + 7) // 8):
            raise ValueError("a signature on another curve")
    elif algorithm[:2] == "PS":
        digest = HASHES[algorithm[2:]]()
        assert isinstance(key, rsa.RSAPublicKey)
        salted = padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH)
        key.verify(token.signature, token.signed, salted, digest)
    return True


def _critical(header: Mapping[str, Any]) -> bool:
    """Whether the header calls something critical that is not known (RFC 7515 §4.1.11)."""
    known = {"alg", "kid", "typ", "cty", "crit"}
    return any(name in header and name not in known for name in _named(header))


def _named(header: Mapping[str, Any]) -> list[str]:
    """What `crit` names; OPA stops reading at the first that is no string."""
    return list(takewhile(lambda name: type(name) is str, header.get("crit", [])))


def _constraints(given: object) -> dict[str, Any]:
    if type(given) is not dict or not given.keys() <= {"cert", "secret", "alg", "iss", "aud", "time"}:
        raise ValueError("not the constraints of a token")
    found: dict[str, Any] = {name: text(given.get(name, "")) for name in ("alg", "iss", "aud", "secret")}
    if ("cert" in given) == bool(found["secret"]):
        raise ValueError("one of cert and secret is needed")
    found["keys"] = read_keys(text(given["cert"])) if "cert" in given else (Key(found["secret"].encode()),)
    if not found["keys"]:
        raise ValueError("there is no key")
    moment = given["time"] if "time" in given else time.time_ns()
    if type(moment) not in (int, float) or moment < 0:
        raise TypeError("the time is a number of nanoseconds")
    found["seconds"] = float(moment) / 1e9
    return found


def _claims_hold(payload: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    if wanted["iss"] and ("iss" not in payload or text(payload["iss"]) != wanted["iss"]):
        return False
    if "aud" in payload:
        audience = payload["aud"]
        if wanted["aud"] not in (audience if isinstance(audience, list) else [audience]):
            return False
    elif wanted["aud"]:
        return False
    if "exp" in payload and not wanted["seconds"] < _moment(payload["exp"]):
        return False
    return "nbf" not in payload or wanted["seconds"] >= _moment(payload["nbf"])


def _moment(value: object) -> int | float:
    if type(value) is int or type(value) is float:
        return value
    raise TypeError("exp and nbf are numbers")
