"""A server that Cordon itself asks or tells something, as one more upstream: the same pool, with its strict parsing,
TLS and kept-alive connections.

It speaks to no other address than the configured one, follows nothing, and reads no more than it was asked to.
"""

from __future__ import annotations

from typing import NamedTuple

from gateway.answer_stream import AnswerStream, Headers
from gateway.credentials import read_secret
from gateway.errors import GatewayError
from gateway.settings import Endpoint
from gateway.upstream import UpstreamPool


class TooLong(GatewayError):
    """The answer is longer than whoever asked wanted to read."""


class Reply(NamedTuple):
    """An answer, whole."""

    status: int
    headers: Headers
    body: bytes


class Service:
    """Requests to one server, with its bearer token. CredentialError for a missing token."""

    def __init__(self, endpoint: Endpoint, pool: UpstreamPool, whose: str = "") -> None:
        self._endpoint = endpoint
        self._pool = pool
        secret = read_secret(whose or endpoint.id, endpoint.credential) if endpoint.credential else b""
        self._own = ((b"authorization", b"Bearer " + secret),) if secret else ()

    async def send(self, method: str, target: bytes, body: bytes, limit: int, headers: Headers = ()) -> Reply:
        """One request; the connection is dropped where the caller gives up or the answer is longer than `limit`.

        Raises UpstreamError, TooLong. It has no deadline of its own beyond the pool's.
        """
        stream = AnswerStream()
        try:
            stream.upstream = self._pool.request(self._endpoint, method, target, (*self._own, *headers), body, stream)
            status, fields = await stream.head()
            content = await stream.read_all(limit)
            if content is None:
                raise TooLong(f"the answer of {self._endpoint.id} is longer than {limit} bytes")
            return Reply(status, fields, content)
        finally:
            stream.abandon()
