"""A collector of decision logs: an HTTP server that keeps what is posted to it, and fails as it is told to."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Event = dict[str, Any]


class Collector:
    """`events` in the order in which they came. `answers` are the next answers in the place of 200.

    An answer is a status, bytes that are no HTTP, or None: no answer until the collector is closed. What it does not
    answer with 200 it keeps in `refused` instead. Bodies over `largest` compressed bytes get 413.
    """

    def __init__(self, port: int = 0, certificate: tuple[Path, Path] | None = None) -> None:
        self.events: list[Event] = []
        self.refused: list[Event] = []
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.answers: list[int | bytes | None] = []
        self.always: int | bytes | None = 200
        self.largest = 1 << 30
        self.before: Callable[[], None] | None = None
        """Called once, when events were taken and are not acknowledged yet; they are then `lost_answers`."""
        self.lost_answers: list[Event] = []
        self._closed = threading.Event()
        self.connections: list[socket.socket] = []
        self._server = _Server(("127.0.0.1", port), _handler(self))
        self._server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def ids(self) -> list[str]:
        """The events' decision ids."""
        return [event["decision_id"] for event in self.events]

    def until(self, what: Callable[[], object], seconds: float = 30.0) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, "it did not come to be"
            time.sleep(0.01)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Take one request."""
        self.requests.append((handler.command, handler.path, {k.lower(): v for k, v in handler.headers.items()}))
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        answer = self.answers.pop(0) if self.answers else self.always
        if len(body) > self.largest:
            answer = 413
        if handler.command == "POST":
            events = json.loads(gzip.decompress(body))
            assert isinstance(events, list)
            (self.events if answer == 200 else self.refused).extend(events)
            if self.before is not None:
                self.lost_answers, before, self.before = events, self.before, None
                before()
        if answer is None:
            self._closed.wait(60)
        elif isinstance(answer, bytes):
            handler.wfile.write(answer)
            handler.close_connection = True
        else:
            handler.send_response(answer)
            handler.send_header("content-length", "0")
            handler.end_headers()

    def close(self) -> None:
        """Take nothing more."""
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Who was killed says no farewell."""


def _handler(collector: Collector) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            collector.connections.append(self.connection)

        def do_POST(self) -> None:
            collector.answer(self)

        do_GET = do_POST

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


@contextmanager
def collecting(port: int = 0, certificate: tuple[Path, Path] | None = None) -> Iterator[Collector]:
    """A collector that takes everything; by TLS with a certificate and its key."""
    collector = Collector(port, certificate)
    try:
        yield collector
    finally:
        collector.close()
