"""One life of one process: when it is to stop, what it is configured with, and how it says that it works."""

from __future__ import annotations

import asyncio
import gc
import re
import secrets
import socket
from collections.abc import Callable
from pathlib import Path

import structlog

from cordon.config import Config
from lineage.keys import write_once
from lineage.paths import Paths, make_private
from lineage.record import new_call_id

log = structlog.get_logger("process")


class Life:
    """Handed to the role that the process plays.

    `boot` names this life in records, such as gateway-0-01J…, and `node` the Cordon that it is a part of, among several
    that share a log; `stop` is set when the process has to finish.
    """

    def __init__(self, role: str, slot: int, config: Config, tell_ready: Callable[[dict[str, object]], None]) -> None:
        self.role = role
        self.slot = slot
        self.config = config
        self.process = f"{role}-{slot}"
        self.boot = f"{role}-{slot}-{new_call_id()}"
        self.stop = asyncio.Event()
        self.started = asyncio.Event()
        self.node = _node(Paths(config.data_dir).node)
        self.on_config: Callable[[Config], None] | None = None
        self._tell_ready = tell_ready

    def ready(self, **facts: object) -> None:
        """Say that the role does its work now; `facts` are for the supervisor, such as the port listened on."""
        _settle_memory()
        self.started.set()
        self._tell_ready(facts)

    def reconfigure(self, config: Config) -> None:
        """Take up a configuration that was read anew; one that the role cannot use leaves the old one in force."""
        if self.on_config is not None:
            try:
                self.on_config(config)
            except Exception:
                log.exception("a changed configuration could not be taken up, the one before stays")
                return
        self.config = config


def _node(path: Path) -> str:
    """The name of the Cordon in this data directory, made at its first start."""
    if not path.exists():
        make_private(path.parent)
        host = re.sub("[^A-Za-z0-9.-]", "", socket.gethostname())[:64]
        write_once(path, f"{host}-{secrets.token_hex(3)}".encode())
    return path.read_text()


def _settle_memory() -> None:
    """What is alive once a role works stays alive: the garbage collector need not look at it again.

    Calls and records make hardly any reference cycles, so young objects are looked at less often than by default.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
