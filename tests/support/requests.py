"""Feeds bytes to the gateway's request reader and says what came of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.errors import FramingError
from gateway.http1 import RequestReader
from gateway.request_head import RequestHead
from gateway.settings import Limits


@dataclass(frozen=True)
class Read:
    """The requests that were read (method, target, body), the refusal that ended it (status, code), and what is open.

    `unfinished` counts the heads whose body did not come.
    """

    requests: list[tuple[str, bytes, bytes]]
    refusal: tuple[int, str] | None
    unfinished: int


def read_all(pieces: Iterable[bytes], limits: Limits) -> Read:
    """Feed these pieces as if each came in a read of its own."""
    reader = RequestReader(limits)
    requests: list[tuple[str, bytes, bytes]] = []
    head: RequestHead | None = None
    try:
        for piece in pieces:
            reader.feed(piece)
            while True:
                if head is None:
                    head = reader.read_head()
                    if head is None:
                        break
                    reader.allow_body(limits.body)
                body = reader.read_body()
                if body is None:
                    break
                requests.append((head.method, head.target, body))
                head = None
    except FramingError as error:
        return Read(requests, (error.status, error.code), 0)
    return Read(requests, None, int(head is not None))
