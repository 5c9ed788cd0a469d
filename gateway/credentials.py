"""The upstreams' own secrets: read from where the configuration points, put on the request last, kept in memory."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from gateway.settings import Endpoint, Route


class CredentialError(Exception):
    """A configured secret cannot be read; the text names the endpoint and the place, never the value."""


class Credentials:
    """For each endpoint the header that carries its secret, or none."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._headers: dict[str, tuple[tuple[bytes, bytes], ...]] = {
            endpoint.id: _header(route, endpoint) for route in routes for endpoint in route.endpoints
        }

    def of(self, endpoint: str) -> tuple[tuple[bytes, bytes], ...]:
        """The headers to add to a request to this endpoint: one, or none where it needs no secret."""
        return self._headers[endpoint]


def _header(route: Route, endpoint: Endpoint) -> tuple[tuple[bytes, bytes], ...]:
    if not endpoint.credential:
        return ()
    secret = read_secret(f"endpoint {endpoint.id}", endpoint.credential)
    name = endpoint.secret_header(route).encode("ascii")
    return ((name, b"Bearer " + secret if name == b"authorization" else secret),)


def read_secret(whose: str, credential: str) -> bytes:
    """The secret that `credential` (env:NAME or file:PATH) points to; CredentialError names whose it is, and where."""
    source, _, place = credential.partition(":")
    if source == "env":
        text = os.environ.get(place, "")
        if not text:
            raise CredentialError(f"{whose}: the environment variable {place} is empty; set it to the secret")
    else:
        try:
            text = Path(place).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise CredentialError(f"{whose}: the file {place} cannot be read: {error}") from error
        if not text:
            raise CredentialError(f"{whose}: the file {place} is empty; put the secret into it")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise CredentialError(f"{whose}: the secret in {source}:{place} has characters no header can carry")
    return text.encode("ascii")
