"""OPA's `.signatures.json`: a JWS (RFC 7515) over the names and hashes of all files of a bundle.

Verification, in this order; a bundle that fails any step is refused, and the one before stays in force:

    1. there is exactly one signatures file, at the top, with exactly one JWS, of no plugin's
    2. the JWS is good by the configured key, and by the one algorithm that belongs to that key: what the
       header says of `alg` or `jwk` chooses nothing, so neither `none` nor an HMAC with the public key passes
    3. it names the configured key id and scope
    4. the files that it lists are those of the bundle, each once: none missing, none beside them
    5. each file's hash is as listed

Source: OPA's documentation of bundles, "Signing" and "Signature format".
"""

from __future__ import annotations

import hashlib
import hmac
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey

from policies.datafiles import read_json
from policies.errors import BundleError, PolicyError, Problem
from policies.hashing import hash_file
from policies.settings import Verification

SIGNATURES: Final = ".signatures.json"
MIN_RSA_BITS: Final = 2048
_MAX_KEY: Final = 65_536
_MAX_PAYLOAD: Final = 1_048_576
_SIGN_AGAIN: Final = "sign it again: cordon policy sign, or opa sign"
Key = RSAKey | ECKey | OKPKey

# RFC 9864 would have the curve in the name; OPA knows the older name alone, and the key says which curve it is.
warnings.filterwarnings("ignore", "EdDSA is deprecated", SecurityWarning)


class SigningError(PolicyError):
    """A key cannot be used; the text names its file, never what is in it."""


def verify(files: Mapping[str, bytes], verification: Verification, folder: Path | None = None) -> None:
    """Check all files of a bundle, the signatures file among them; BundleError with what is not as signed.

    `folder` is where they lie, if they do: `opa sign --bundle FOLDER` puts the folder's path before each name.
    """
    signed = _listed(_payload(_token(files), verification))
    present = {path: content for path, content in files.items() if path != SIGNATURES}
    if folder is not None:
        signed = _without_folder(signed, present, folder)
    problems = [
        _problem(path, "is listed in the signature, but not in the bundle", "put it back, or sign the bundle again")
        for path in signed.keys() - present.keys()
    ]
    problems += [
        _problem(path, "is not listed in the signature", "take it out, or sign the bundle again")
        for path in present.keys() - signed.keys()
    ]
    for path in signed.keys() & present.keys():
        algorithm, listed = signed[path]
        try:
            fine = hmac.compare_digest(hash_file(path, present[path], algorithm), listed)
        except BundleError as error:
            problems += error.problems
            continue
        except ValueError as error:
            problems.append(_problem(path, str(error), "sign with SHA-256"))
            continue
        if not fine:
            problems.append(_problem(path, "was changed after it was signed", _SIGN_AGAIN))
    if problems:
        raise BundleError(sorted(problems)[:20])


def sign(files: Mapping[str, bytes], key: Path, *, key_id: str = "", scope: str = "") -> bytes:
    """The signatures file for these files; SigningError for the key, BundleError for a file that cannot be hashed."""
    algorithm, private = _private_key(key)
    listed = [
        {"name": path, "hash": hash_file(path, files[path]), "algorithm": "SHA-256"}
        for path in sorted(files)
        if path != SIGNATURES
    ]
    claims: dict[str, object] = {"files": listed}
    claims |= {name: text for name, text in (("keyid", key_id), ("scope", scope)) if text}
    header = {"alg": algorithm, "typ": "JWT"} | ({"kid": key_id} if key_id else {})
    payload = orjson.dumps(claims)
    if len(payload) > _MAX_PAYLOAD:
        raise SigningError(f"the list of files is longer than {_MAX_PAYLOAD} bytes; split the bundle")
    token = jws.serialize_compact(header, payload, private, registry=_registry(algorithm))
    return orjson.dumps({"signatures": [token]})


def fingerprint(verification: Verification | None) -> str:
    """What a bundle was verified by, as one text: what was accepted by another key or none does not count. OSError."""
    if verification is None:
        return ""
    digest = hashlib.sha256(verification.key.read_bytes()).hexdigest()
    return f"{digest}:{verification.key_id}:{verification.scope}"


def check_key(file: Path) -> None:
    """SigningError where `file` does not hold a public key that bundles can be verified with."""
    _public_key(file)


def _token(files: Mapping[str, bytes]) -> str:
    """Step 1: the one JWS."""
    others = [path for path in files if path.endswith("/" + SIGNATURES)]
    if others:
        _refuse(others[0], "a second signatures file", "keep the one at the top")
    if SIGNATURES not in files:
        _refuse(SIGNATURES, "the bundle is not signed", "sign it: cordon policy sign, or opa build --signing-key")
    try:
        value = read_json(SIGNATURES, files[SIGNATURES].decode())
    except UnicodeDecodeError:
        _refuse(SIGNATURES, "the file is not UTF-8", _SIGN_AGAIN)
    tokens = value.get("signatures") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(tokens, list) or len(tokens) != 1:
        _refuse(SIGNATURES, "there is not exactly one signature", _SIGN_AGAIN)
    if value.get("plugin") not in {None, "", "_default"} or not isinstance(tokens[0], str):
        _refuse(SIGNATURES, "the signature is of a plugin's", _SIGN_AGAIN)
    return str(tokens[0])


def _payload(token: str, verification: Verification) -> Mapping[str, object]:
    """Steps 2 and 3: what is signed, by the configured key, under the configured names."""
    try:
        algorithm, key = _public_key(verification.key)
    except SigningError as error:
        _refuse(SIGNATURES, f"nothing can be verified: {error}", "correct policy.verification.key")
    try:
        found = jws.deserialize_compact(token, key, registry=_registry(algorithm))
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        _refuse(SIGNATURES, f"the signature is not good by the configured key ({algorithm})", _SIGN_AGAIN)
    try:
        claims = read_json(SIGNATURES, found.payload.decode())
    except (BundleError, UnicodeDecodeError):
        claims = None
    if not isinstance(claims, dict):
        _refuse(SIGNATURES, "what is signed is not a list of files", _SIGN_AGAIN)
    named = found.protected.get("kid") or claims.get("keyid") or ""
    if verification.key_id and named != verification.key_id:
        _refuse(SIGNATURES, f"the signature does not name the key id {verification.key_id}", _SIGN_AGAIN)
    if claims.get("scope", "") != verification.scope:
        _refuse(SIGNATURES, f"the signature's scope is not {verification.scope or 'empty'}", _SIGN_AGAIN)
    return claims


def _listed(claims: Mapping[str, object]) -> dict[str, tuple[str, str]]:
    """The hash's algorithm and value of each file that is listed."""
    listed: dict[str, tuple[str, str]] = {}
    files = claims.get("files")
    for each in files if isinstance(files, list) else ():
        entry = each if isinstance(each, dict) else {}
        name, algorithm, value = (entry.get(key) for key in ("name", "algorithm", "hash"))
        if not (isinstance(name, str) and isinstance(algorithm, str) and isinstance(value, str)) or name in listed:
            _refuse(SIGNATURES, "the list of files has an entry twice, or one that cannot be read", _SIGN_AGAIN)
        listed[name] = (algorithm, value.lower() if value.isascii() else "")
    return listed


def _without_folder(
    signed: dict[str, tuple[str, str]], present: Mapping[str, bytes], folder: Path
) -> dict[str, tuple[str, str]]:
    """The list without the folder's own path, or its end, in front of every name."""
    parts = folder.absolute().parts[1:]
    for count in range(1, len(parts) + 1):
        prefix = "/".join(parts[-count:]) + "/"
        if signed.keys() == {prefix + path for path in present}:
            return {name.removeprefix(prefix): entry for name, entry in signed.items()}
    return signed


def _public_key(file: Path) -> tuple[str, Key]:
    try:
        key = load_pem_public_key(_read(file))
    except (ValueError, UnsupportedAlgorithm):
        raise SigningError(f"{file} holds no public key in PEM; openssl pkey -pubout writes one") from None
    return _imported(file, key)


def _private_key(file: Path) -> tuple[str, Key]:
    try:
        key = load_pem_private_key(_read(file), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SigningError(f"{file} holds no private key in PEM without a passphrase") from None
    return _imported(file, key)


def _imported(file: Path, key: Any) -> tuple[str, Key]:
    """The one algorithm that this key is used with, and the key."""
    if isinstance(key, rsa.RSAPublicKey | rsa.RSAPrivateKey):
        if key.key_size < MIN_RSA_BITS:
            raise SigningError(f"{file} has an RSA key of {key.key_size} bits; at least {MIN_RSA_BITS} are asked for")
        return "RS256", RSAKey(key, key)
    if isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey) and key.curve.name == "secp256r1":
        return "ES256", ECKey(key, key)
    if isinstance(key, ed25519.Ed25519PublicKey | ed25519.Ed25519PrivateKey):
        return "EdDSA", OKPKey(key, key)
    raise SigningError(f"{file} has a key of another kind; RSA, EC on P-256 and Ed25519 are taken")


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(_MAX_KEY)
    except OSError as error:
        raise SigningError(f"{file} cannot be read ({error.strerror})") from None


def _registry(algorithm: str) -> jws.JWSRegistry:
    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    registry.max_payload_length = 2 * _MAX_PAYLOAD
    return registry


def _problem(file: str, message: str, remedy: str) -> Problem:
    return Problem(ascii(file)[1:-1][:200], 0, 0, "signature", message, remedy)


def _refuse(file: str, message: str, remedy: str) -> NoReturn:
    raise BundleError([_problem(file, message, remedy)])
