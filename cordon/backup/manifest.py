"""What a backup says of itself: its files with their digests, and where its log ends; a note signed by the log's key.

The digests reach further than the log's own signatures do: accounts and records after the last checkpoint are covered
too, so that nobody can put an account of theirs into a copy that lies around.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from cordon.errors import BackupError
from lineage.errors import VerificationError
from lineage.note import Signer, Verifier, open_note

NAME: Final = "manifest"
_HEADING: Final = "cordon-backup/1 "
"""Begins the note. With its blank it is no name of a log, so that no manifest can pass for a checkpoint."""
_CHUNK: Final = 1_048_576
_LARGEST: Final = 1_000_000


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class File(_Part):
    """A file of the backup: its length in bytes and the SHA-256 of them, hex."""

    name: str
    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path, progress: Callable[[int], object] = lambda _bytes: None) -> Self:
        """Describe the file at `path`; `progress` is told how many more bytes were read."""
        digest = hashlib.sha256()
        size = 0
        with path.open("rb") as file:
            while data := file.read(_CHUNK):
                digest.update(data)
                size += len(data)
                progress(len(data))
        return cls(name=path.name, bytes=size, sha256=digest.hexdigest())


class Manifest(_Part):
    """The whole of it. `records` is the log's size in the copy, `checkpoint` the latest note in it; empty: none yet."""

    version: str
    made_at: int
    store: Literal["sqlite", "postgresql"]
    origin: str
    records: int
    checkpoint: str
    files: tuple[File, ...]

    def write(self, directory: Path, signer: Signer) -> None:
        """Write it, signed, into `directory`."""
        text = f"{_HEADING}{self.origin}\n{self.model_dump_json(indent=1)}\n"
        (directory / NAME).write_bytes(signer.sign(text.encode()))

    @classmethod
    def read(cls, directory: Path, key: Verifier) -> Self:
        """Read a backup's manifest; BackupError where there is none, or it was not signed with this log's key."""
        path = directory / NAME
        try:
            with path.open("rb") as file:
                note = file.read(_LARGEST)
        except OSError as error:
            raise BackupError(f"{directory} is no backup, or one that broke off: {NAME}: {error.strerror}") from None
        try:
            text, _ = open_note(note, [key])
        except VerificationError as error:
            raise BackupError(
                f"{path}: {error}; it was changed, or made of another log than {key.name}, whose key is in keys/"
            ) from None
        heading, _, body = text.partition(b"\n")
        try:
            if heading.decode() != f"{_HEADING}{key.name}":
                raise ValueError("its first line is not that of a backup")
            return cls.model_validate_json(body)
        except (ValidationError, ValueError) as error:
            raise BackupError(f"{path} is of a form that this version does not read: {_short(error)}") from None


def _short(error: Exception) -> str:
    return f"{error.error_count()} faults" if isinstance(error, ValidationError) else str(error)
