"""The addresses that the configuration listens on, and whether they can be had."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from cordon.config import Config


def listeners(config: Config) -> Iterator[tuple[str, str]]:
    """Each section that listens and its host:port."""
    yield "gateway", config.gateway.listen
    yield "control", config.control.listen
    if config.stand_in is not None:
        yield "stand_in", config.stand_in.listen


def taken(listen: str) -> bool:
    """Whether some program listens at `listen` already, or it cannot be listened at."""
    host, _, port = listen.rpartition(":")
    if port == "0":
        return False
    host = host.strip("[]")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError:
            return True
        return False
