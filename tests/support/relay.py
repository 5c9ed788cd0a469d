"""A TCP relay between a client and a server on loopback that can cut a connection at a chosen instant."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Relay:
    """Relays one connection after another. `port` is where it listens, `turns` counts the client's turns to speak.

    `cut` ends the client's connection: "before" its next message reaches the server, or "after", when the server has
    answered, so that the answer is lost. With `lingering` the server's side stays open, as when a network goes away.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.turns = 0
        self.cut = ""
        self.lingering = False
        self.cuts = 0
        self._left: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", self._target))
        self._left += [client, server]
        speaking = server
        with selectors.DefaultSelector() as selector, contextlib.suppress(OSError):
            for sock in (client, server):
                selector.register(sock, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    sock = key.fileobj
                    assert isinstance(sock, socket.socket)
                    data = sock.recv(1_048_576)
                    if sock is client and data and speaking is not client:
                        self.turns += 1
                    speaking = sock
                    if not data or self._cuts(sock is client):
                        client.close()
                        if not self.lingering:
                            server.close()
                        return
                    (server if sock is client else client).sendall(data)

    def _cuts(self, from_client: bool) -> bool:
        if self.cut != ("before" if from_client else "after"):
            return False
        self.cut = ""
        self.cuts += 1
        return True

    def close(self) -> None:
        """End everything."""
        for sock in (self._listener, *self._left):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


@contextmanager
def relay(port: int) -> Iterator[Relay]:
    """A relay to a port of loopback."""
    running = Relay(port)
    try:
        yield running
    finally:
        running.close()
