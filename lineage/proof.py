"""C2SP tlog-proof (c2sp.org/tlog-proof): a file that shows, offline, that a record is in the log.

c2sp.org/tlog-proof@v1
extra <base64>            optional, not authenticated
index <decimal>
<base64 hash>             from the leaf to the root, any number

<checkpoint, a signed note>
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from lineage.errors import RecordError, VerificationError
from lineage.merkle import HASH_SIZE, leaf_hash, verify_inclusion
from lineage.note import Checkpoint, Verifier, decode64, open_checkpoint
from lineage.reader import LogReader

HEADER: Final = b"c2sp.org/tlog-proof@v1"
MAX_HASHES: Final = 64


@dataclass(frozen=True, slots=True)
class Proof:
    """That a record is at `index` in the log of `checkpoint` (a signed note); `path` leads from its leaf to the top."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def dump(self) -> bytes:
        """Return the file's bytes."""
        lines = [HEADER]
        if self.extra is not None:
            lines.append(b"extra " + base64.b64encode(self.extra))
        lines.append(b"index %d" % self.index)
        lines += [base64.b64encode(node) for node in self.path]
        return b"\n".join(lines) + b"\n\n" + self.checkpoint

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a file; VerificationError when it is malformed."""
        head, gap, checkpoint = data.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError:
            raise VerificationError("the proof's head is not ASCII") from None
        if not gap or lines.pop(0) != HEADER.decode():
            raise VerificationError(f"a proof begins with the line {HEADER.decode()}")
        extra = None
        if lines and lines[0].startswith("extra "):
            extra = decode64(lines.pop(0).removeprefix("extra "), "the proof's extra data")
        number = lines.pop(0).removeprefix("index ") if lines and lines[0].startswith("index ") else ""
        if not number.isdigit() or len(number) > 19 or (number[0] == "0" and number != "0"):
            raise VerificationError("the proof has no plain decimal index")
        path = tuple(decode64(line, "a hash of the proof") for line in lines)
        if len(path) > MAX_HASHES or any(len(node) != HASH_SIZE for node in path):
            raise VerificationError(f"a proof has at most {MAX_HASHES} hashes of {HASH_SIZE} bytes")
        return cls(int(number), path, checkpoint, extra)

    def verify(self, record: bytes, verifiers: Iterable[Verifier]) -> Checkpoint:
        """Return the checkpoint that the record is under; VerificationError when it is not or the log did not sign it.

        Needs nothing but the record's bytes and the log's public key.
        """
        return self.verify_leaf(leaf_hash(record), verifiers)

    def verify_leaf(self, leaf: bytes, verifiers: Iterable[Verifier]) -> Checkpoint:
        """As `verify`, where only the record's hash as a leaf is there."""
        checkpoint = open_checkpoint(self.checkpoint, verifiers)
        verify_inclusion(leaf, self.index, checkpoint.size, self.path, checkpoint.root)
        return checkpoint


def prove(reader: LogReader, index: int) -> Proof:
    """Return the proof for the record at `index` under the latest checkpoint; RecordError when none covers it yet."""
    latest = reader.source.checkpoint()
    if latest is None or not 0 <= index < latest[0]:
        raise RecordError(f"no checkpoint covers a record {index} yet; there is a new one every second or so")
    size, note = latest
    return Proof(index, tuple(reader.inclusion_proof(index, size)), note)
