"""C2SP signed notes (c2sp.org/signed-note) with Ed25519 keys, and checkpoints (c2sp.org/tlog-checkpoint) as notes.

A note is a text that ends in a newline, a blank line, and signature lines `— name base64(key id ‖ signature)`.
A verifier key is written `name+hex(key id)+base64(0x01 ‖ public key)`; a signer key
`PRIVATE+KEY+name+hex(key id)+base64(0x01 ‖ seed)`, as Go's sumdb/note does.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from lineage.errors import VerificationError

ED25519: Final = b"\x01"
MAX_NOTE: Final = 1_000_000
MAX_SIGNATURES: Final = 100
_DASH: Final = "— "
_PRIVATE: Final = "PRIVATE+KEY+"


def valid_name(name: str) -> bool:
    """Say whether `name` may name a key: not empty, no white space, no control characters, no plus sign."""
    return bool(name) and "+" not in name and all(c.isprintable() and not c.isspace() for c in name)


def key_id(name: str, public: bytes) -> bytes:
    """Return the 4 bytes SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key) begins with."""
    return sha256(name.encode() + b"\n" + ED25519 + public).digest()[:4]


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key under its name."""

    name: str
    public: bytes

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """Read a verifier key; VerificationError when it is malformed or its key id is not that of its key."""
        parts = vkey.strip().split("+", 2)
        if len(parts) != 3 or not valid_name(parts[0]):
            raise VerificationError("a verifier key has the form name+keyid+base64")
        name, identity, data = parts[0], parts[1], decode64(parts[2], "the verifier key")
        if len(data) != 33 or data[:1] != ED25519:
            raise VerificationError("the verifier key is not an Ed25519 key")
        if identity != key_id(name, data[1:]).hex():
            raise VerificationError("the verifier key's id does not belong to its name and key")
        return cls(name, data[1:])

    @property
    def id(self) -> bytes:
        """The key id, 4 bytes."""
        return key_id(self.name, self.public)

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(ED25519 + self.public).decode()}"

    def check(self, text: bytes, signature: bytes) -> None:
        """Raise VerificationError unless the 64-byte signature over `text` is this key's."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text)
        except InvalidSignature:
            raise VerificationError(f"the signature of {self.name} is not valid") from None


class Signer:
    """A private key under its name."""

    __slots__ = ("_key", "_line", "verifier")

    def __init__(self, name: str, seed: bytes) -> None:
        if not valid_name(name):
            raise VerificationError("a key's name is not empty and has no white space and no plus sign")
        if len(seed) != 32 or not any(seed):
            raise VerificationError("a signing key is made of 32 random bytes")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = Verifier(name, self._key.public_key().public_bytes_raw())
        self._line = f"{_DASH}{name} ".encode()

    @classmethod
    def generate(cls, name: str) -> Self:
        """Return a new random key."""
        return cls(name, os.urandom(32))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `dump` wrote; VerificationError, without showing any of the key, when it is not that."""
        if not text.startswith(_PRIVATE):
            raise VerificationError(f"a signing key begins with {_PRIVATE}")
        parts = text.removeprefix(_PRIVATE).strip().split("+", 2)
        if len(parts) != 3:
            raise VerificationError("the signing key is cut or malformed")
        data = decode64(parts[2], "the signing key")
        if data[:1] != ED25519:
            raise VerificationError("the signing key is not an Ed25519 key")
        signer = cls(parts[0], data[1:])
        if not hmac.compare_digest(signer.verifier.id.hex(), parts[1]):
            raise VerificationError("the signing key's id does not belong to it")
        return signer

    def dump(self) -> str:
        """Return the private key as one line of text."""
        data = base64.b64encode(ED25519 + self._key.private_bytes_raw()).decode()
        return f"{_PRIVATE}{self.verifier.name}+{self.verifier.id.hex()}+{data}\n"

    def sign(self, text: bytes) -> bytes:
        """Return `text` (which ends in a newline) as a note with this key's signature."""
        if not text.endswith(b"\n"):
            raise VerificationError("a note's text ends in a newline")
        signature = base64.b64encode(self.verifier.id + self._key.sign(text))
        return text + b"\n" + self._line + signature + b"\n"


def open_note(note: bytes, verifiers: Iterable[Verifier]) -> tuple[bytes, list[Verifier]]:
    """Return a note's text and the known keys that signed it, at least one.

    Raises VerificationError when the note is malformed, when no known key signed it, or when a signature that
    carries a known key's name and id is not valid. Unknown signatures are ignored, as the format demands.
    """
    if len(note) > MAX_NOTE:
        raise VerificationError("the note is longer than a megabyte")
    text, gap, tail = note.rpartition(b"\n\n")
    if not gap or not tail.endswith(b"\n"):
        raise VerificationError("a note is a text, a blank line and signature lines")
    text += b"\n"
    lines = tail[:-1].split(b"\n")
    if len(lines) > MAX_SIGNATURES:
        raise VerificationError(f"the note has more than {MAX_SIGNATURES} signatures")
    if any(byte < 32 and byte != 10 for byte in note):
        raise VerificationError("the note holds control characters")
    known = {(verifier.name, verifier.id): verifier for verifier in verifiers}
    signed: list[Verifier] = []
    for line in lines:
        name, identity, signature = _signature_line(line)
        verifier = known.get((name, identity))
        if verifier is not None and verifier not in signed:
            verifier.check(text, signature)
            signed.append(verifier)
    if not signed:
        raise VerificationError("the note is not signed by a known key")
    return text, signed


def _signature_line(line: bytes) -> tuple[str, bytes, bytes]:
    try:
        decoded = line.decode()
    except UnicodeDecodeError:
        raise VerificationError("the note is not UTF-8") from None
    name, gap, data = decoded.removeprefix(_DASH).partition(" ")
    if not decoded.startswith(_DASH) or not gap or not valid_name(name):
        raise VerificationError("a signature line of the note is malformed")
    blob = decode64(data, "a signature of the note")
    if len(blob) < 5:
        raise VerificationError("a signature of the note is cut")
    return name, blob[:4], blob[4:]


def decode64(text: str, what: str) -> bytes:
    """Return what canonical base64 stands for; VerificationError, naming `what`, when it is anything else."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise VerificationError(f"{what} is not base64") from None
    if base64.b64encode(data).decode() != text:
        raise VerificationError(f"{what} is not canonical base64")
    return data


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log commits to: under its origin, `size` records with the Merkle root `root` (32 bytes)."""

    origin: str
    size: int
    root: bytes

    def text(self) -> bytes:
        """Return the note's text, to be signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n".encode()

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Read a note's text; further lines (extensions) are allowed and ignored. VerificationError when malformed."""
        try:
            lines = text.decode().split("\n")
        except UnicodeDecodeError:
            raise VerificationError("the checkpoint is not UTF-8") from None
        if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
            raise VerificationError("a checkpoint has the lines origin, size and root")
        size = lines[1]
        if not (size.isascii() and size.isdigit()) or len(size) > 19 or (size[0] == "0" and size != "0"):
            raise VerificationError("the checkpoint's size is not a plain decimal number")
        root = decode64(lines[2], "the checkpoint's root")
        if len(root) != 32:
            raise VerificationError("the checkpoint's root does not have 32 bytes")
        return cls(lines[0], int(size), root)


def open_checkpoint(note: bytes, verifiers: Iterable[Verifier]) -> Checkpoint:
    """Return the checkpoint in a note that its own log signed: one signer's name is the origin.

    Raises VerificationError when it is malformed, not signed by a known key, or signed only by others (witnesses).
    """
    text, signed = open_note(note, verifiers)
    checkpoint = Checkpoint.parse(text)
    if all(verifier.name != checkpoint.origin for verifier in signed):
        raise VerificationError("the checkpoint is not signed by the log that it names")
    return checkpoint
