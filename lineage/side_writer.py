"""Writes side blobs in a thread of its own, off the path of the commits, and deletes them when their time is over."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from lineage.errors import LogUnavailable
from lineage.metrics import Meter
from lineage.settings import Lineage
from lineage.side import SideStore

log = logging.getLogger("cordon.lineage.side")

FORGET_SECONDS: Final = 60.0
"""How often blobs that are too old are looked for."""
GATHER_SECONDS: Final = 0.02
"""How long more blobs are waited for after the first: nobody waits for them, and the loop is disturbed less often."""
GROUP: Final = 1_000
"""Blobs in one transaction."""

Blobs = list[tuple[int, bytes]]


class SideWriter:
    """Takes blobs from the log writer's loop; the caller bounds `waiting_bytes`."""

    def __init__(self, opened: Callable[[], SideStore], settings: Lineage, meter: Meter) -> None:
        """Start the thread; it opens the store by `opened`, and again after an error."""
        self._opened = opened
        self._keep_ms = int(settings.policy_inputs_days * 86_400_000)
        self._queue: queue.SimpleQueue[Blobs | None] = queue.SimpleQueue()
        self._kept = meter.counter("cordon_side_blobs_total")
        self._failed = meter.counter("cordon_side_failures_total")
        self._put = 0
        self._done = 0
        self._next_forget = 0.0
        self._behind = False
        self._store: SideStore | None = None
        self._thread = threading.Thread(target=self._run, name="side-writer", daemon=True)
        self._thread.start()

    @property
    def waiting_bytes(self) -> int:
        """Bytes that were put and are not dealt with yet."""
        return self._put - self._done

    def put(self, blobs: Blobs) -> None:
        """Have blobs written, as (ms since the epoch, sealed bytes)."""
        self._put += sum(len(blob) for _, blob in blobs)
        self._queue.put(blobs)

    def close(self) -> None:
        """Write what is waiting and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        ending = False
        while not ending:
            blobs, ending = self._gather()
            self._save(blobs)
            self._forget()
        self._close()

    def _gather(self) -> tuple[Blobs, bool]:
        """Wait for blobs; return those that are there, about `GROUP` at most, and whether that was the last of them."""
        blobs: Blobs = []
        with suppress(queue.Empty):
            item = self._queue.get(timeout=0.0 if self._behind else FORGET_SECONDS)
            if item is not None:
                time.sleep(GATHER_SECONDS)
            while item is not None:
                blobs += item
                if len(blobs) >= GROUP:
                    return blobs, False
                item = self._queue.get_nowait()
            return blobs, True
        return blobs, False

    def _save(self, blobs: Blobs) -> None:
        if not blobs:
            return
        try:
            self._open().save(blobs)
            self._kept.inc(len(blobs))
        except LogUnavailable as error:
            self._failed.inc(len(blobs))
            log.error("blobs beside the log are lost, their calls cannot be replayed: %s", error)
            self._close()
        self._done += sum(len(blob) for _, blob in blobs)

    def _forget(self) -> None:
        """Delete a portion of what is too old; the next when what has come meanwhile is saved."""
        if not self._behind and time.monotonic() < self._next_forget:
            return
        self._next_forget = time.monotonic() + FORGET_SECONDS
        self._behind = False
        try:
            self._behind = self._open().forget(time.time_ns() // 1_000_000 - self._keep_ms) > 0
        except LogUnavailable as error:
            log.error("old blobs beside the log could not be deleted: %s", error)
            self._close()

    def _open(self) -> SideStore:
        if self._store is None:
            self._store = self._opened()
        return self._store

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None
