"""Policy inputs kept beside the log for replay: masked, sealed, and each kept once, however many calls had it.

A record names its input by the digest of the sealed bytes. Policy is shown only what it reads, so many calls have the
same input; for a while they name the blob that the first of them sent. The blob is sealed and sent anew now and then,
and when the log writer was away, so that a blob which the writer lost is not named for long.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple

from gateway.secrets import Secrets
from lineage.side import blob_digest
from lineage.wire import MAX_SIDE

LARGEST: Final = MAX_SIDE - 64
"""Longest input that is kept, in bytes."""
LONGEST_SHARED: Final = 4_096
MOST_SHARED: Final = 2_048
SHARED_SECONDS: Final = 60.0


class Kept(NamedTuple):
    """What a record has of its input: the digest that it names, and the blob where it has to be sent along.

    `key` and `generation`: what others are to find the blob by, once the log has it; None where it is not shared.
    """

    digest: str = ""
    blob: bytes | None = None
    key: tuple[str, bytes] | None = None
    generation: int = 0


NOTHING: Final = Kept()


class KeptInputs:
    """The inputs that a worker has sent lately. `generation` grows with each new connection to the log writer."""

    def __init__(self, generation: Callable[[], int]) -> None:
        self._generation = generation
        self._sent: dict[tuple[str, bytes], tuple[str, float, int]] = {}

    def keep(self, secrets: Secrets, document: bytes) -> Kept:
        """Have an input kept for its tenant; nothing where it is too large."""
        size = len(document)
        if size > LARGEST:
            return NOTHING
        key = (secrets.tenant, document)
        sent = self._sent.get(key)
        now = time.monotonic()
        if sent is not None and sent[1] > now and sent[2] == self._generation():
            return Kept(sent[0])
        blob = secrets.seal(document)
        return Kept(blob_digest(blob), blob, key if size <= LONGEST_SHARED else None, self._generation())

    def sent(self, kept: Kept) -> None:
        """The log took the record that the blob was sent with: only now may others name it.

        A call that ends before its intent has sent nothing, and one whose intent is refused may have.
        """
        if kept.key is None:
            return
        if len(self._sent) >= MOST_SHARED:
            self._sent.clear()
        self._sent[kept.key] = (kept.digest, time.monotonic() + SHARED_SECONDS, kept.generation)

    def sweep(self) -> None:
        """Let go of inputs whose time is over; called now and then, for they are content."""
        now = time.monotonic()
        self._sent = {key: sent for key, sent in self._sent.items() if sent[1] > now}

    def forget(self) -> None:
        """The log did not take a record: nobody knows which blobs it has."""
        self._sent.clear()
