"""The log's signing key and the master key: made once, kept in files that only their owner can read.

A key that is missing although the log has been signed with one is never replaced silently.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lineage.errors import KeyFileError, VerificationError
from lineage.note import Signer, Verifier, valid_name
from lineage.paths import Paths, flush, make_private


@dataclass(frozen=True, slots=True)
class LogKeys:
    """The key that signs checkpoints; its name is the log's origin."""

    signer: Signer

    @property
    def origin(self) -> str:
        """The log's name."""
        return self.signer.verifier.name

    @property
    def verifier(self) -> Verifier:
        """The public key."""
        return self.signer.verifier


def log_key_path(data_dir: Path) -> Path:
    """Return where the log's signing key lies."""
    return Paths(data_dir).keys / "log.key"


def load_log_keys(data_dir: Path, origin: str = "", *, create: bool = True) -> LogKeys:
    """Return the log's key from `keys/log.key`, making it (and `log.vkey`, `origin`) when there is none and `create`.

    `origin` is the configured name; empty takes the kept one, or makes one up.
    Raises KeyFileError when it contradicts the key.
    """
    directory = Paths(data_dir).keys
    path = log_key_path(data_dir)
    if not path.exists():
        if not create:
            raise KeyFileError(f"{path} is missing, but the log has checkpoints signed with it; restore it from a copy")
        name = origin or f"cordon/{secrets.token_hex(8)}"
        if not valid_name(name):
            raise KeyFileError("lineage.origin must not hold white space, control characters or a plus sign")
        make_private(directory)
        write_once(path, Signer.generate(name).dump().encode())
    try:
        signer = Signer.parse(read_private(path).decode())
    except (VerificationError, UnicodeDecodeError):
        raise KeyFileError(f"{path} is not a signing key; restore it from a copy") from None
    if origin and origin != signer.verifier.name:
        raise KeyFileError(
            f"lineage.origin is {origin!r}, but {path} belongs to {signer.verifier.name!r}; a log keeps its name"
        )
    for name, text in (("log.vkey", f"{signer.verifier}\n"), ("origin", f"{signer.verifier.name}\n")):
        if not (directory / name).exists():
            write_once(directory / name, text.encode())
    return LogKeys(signer)


def load_verifier(data_dir: Path) -> Verifier:
    """Return the log's public key from `keys/log.vkey`."""
    path = Paths(data_dir).keys / "log.vkey"
    try:
        return Verifier.parse(path.read_text())
    except FileNotFoundError:
        raise KeyFileError(f"{path} is missing; `cordon up` makes it at its first start") from None


def load_master_key(data_dir: Path) -> bytes:
    """Return the 32 bytes that wrap the tenants' keys, making them at first use; safe between processes."""
    path = Paths(data_dir).keys / "master.key"
    if not path.exists():
        make_private(path.parent)
        write_once(path, secrets.token_bytes(32))
    return read_master_key(path)


def read_master_key(path: Path) -> bytes:
    """Return the 32 bytes of the master key's file; KeyFileError where it is no such file."""
    key = read_private(path)
    if len(key) != 32 or len(set(key)) < 8:
        raise KeyFileError(f"{path} does not hold 32 random bytes; restore it from a copy")
    return key


def read_private(path: Path, most: int = 65_536) -> bytes:
    """Return a secret file's bytes; KeyFileError when others could read it, or it has more than `most` bytes."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise KeyFileError(f"{path} can be read by others: chmod 600 {path}")
        data = file.read(most + 1)
    if len(data) > most:
        raise KeyFileError(f"{path} has more than {most} bytes; restore it from a copy")
    return data


def write_once(path: Path, data: bytes) -> None:
    """Write a new file whole and durably; when another process was first, its file stays."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(temporary, path)
        # Also for who was not first: the first may not have come so far, and this one relies on the file.
        flush(path.parent)
    finally:
        temporary.unlink()
