"""Keys to sign bundles with, archives of them, and a bundle server for tests that use processes."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from policies.signatures import SIGNATURES, sign
from policies.tarball import pack
from tests.support.policies import MINIMAL

ALGORITHMS: Final = ("RS256", "ES256", "EdDSA")
CONTENT: Final = {path: text.encode() for path, text in MINIMAL.items()}
LONG_POLL: Final = "application/vnd.openpolicyagent.bundles"


@cache
def private_key(
    algorithm: str, name: str = ""
) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey:
    """A key for the algorithm; another `name`, another key."""
    if algorithm == "RS256":
        return rsa.generate_private_key(65_537, 2048)
    return ec.generate_private_key(ec.SECP256R1()) if algorithm == "ES256" else ed25519.Ed25519PrivateKey.generate()


def write_keys(folder: Path, algorithm: str = "EdDSA", name: str = "") -> tuple[Path, Path]:
    """PEM files with such a key: the private one and the public one."""
    key = private_key(algorithm, name)
    private, public = folder / f"{algorithm}{name}.pem", folder / f"{algorithm}{name}.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


def signed(files: Mapping[str, bytes], key: Path, *, key_id: str = "", scope: str = "") -> dict[str, bytes]:
    """The files with their signatures file."""
    return {**files, SIGNATURES: sign(files, key, key_id=key_id, scope=scope)}


def archive_of(*entries: tarfile.TarInfo | tuple[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """A .tar.gz as Python's own writer makes it, of entries as they are or of names and contents."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz", format=form) as archive:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                archive.addfile(entry)
            else:
                info = tarfile.TarInfo(entry[0])
                info.size = len(entry[1])
                archive.addfile(info, io.BytesIO(entry[1]))
    return target.getvalue()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that has gone is none of the test's concern."""


class BundleHost:
    """A bundle server: one archive with its ETag, requests held open for news, and faults to switch on."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.asked: list[dict[str, str]] = []
        """The headers of each request, names in lower case."""
        self.status = 200
        self._news = threading.Condition()
        self._closed = False
        self.put(files)
        host = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                host._answer(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/bundles/cordon.tar.gz"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def put(self, files: Mapping[str, bytes], status: int = 200) -> None:
        """Serve these files from now on, or fail with `status`; whoever waits for news is told."""
        with self._news:
            self.archive = pack(files)
            self.etag = f'"{hashlib.sha256(self.archive).hexdigest()[:16]}"'
            self.status = status
            self._news.notify_all()

    def close(self) -> None:
        """Stop listening."""
        with self._news:
            self._closed = True
            self._news.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append(headers)
        known, wait = headers.get("if-none-match"), headers.get("prefer", "").partition("wait=")[2]
        with self._news:
            if wait and known:
                self._news.wait_for(lambda: self._closed or self.etag != known or self.status != 200, float(wait))
            status, etag, archive = self.status, self.etag, self.archive
        status = 304 if status == 200 and known == etag else status
        body = archive if status == 200 else b""
        request.send_response(status)
        request.send_header("etag", etag)
        request.send_header("content-type", LONG_POLL)
        if status != 304:
            request.send_header("content-length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)


@contextmanager
def bundle_host(files: Mapping[str, bytes]) -> Iterator[BundleHost]:
    """Such a server for the length of the block."""
    host = BundleHost(files)
    try:
        yield host
    finally:
        host.close()
