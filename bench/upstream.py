"""A fast stand-in upstream for load: a JSON answer of about 600 bytes, or a stream of 20 events.

It does as little as it can, so that the proxies before it are what is measured. A path with `/stream` in it is
answered with server-sent events, each in a chunk and a write of its own; any other with a whole chat completion.
Usage: python -m bench.upstream PORT WORKERS
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import cast

import uvloop

_TEXT = (
    "The quick brown fox jumps over the lazy dog. Pack my box with five dozen liquor jugs, "
    "and sphinx of black quartz, judge my vow; then rest a while by the river and read on."
)
_WHOLE = (
    '{"id":"chatcmpl-0001","object":"chat.completion","created":1700000000,"model":"bench-1","system_fingerprint":"fp_0",'
    '"choices":[{"index":0,"message":{"role":"assistant","content":"' + _TEXT + '","refusal":null},"logprobs":null,'
    '"finish_reason":"stop"}],"usage":{"prompt_tokens":180,"completion_tokens":42,"total_tokens":222,'
    '"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}'
).encode()


def _event(content: str, finish: str = "null") -> bytes:
    return (
        'data: {"id":"chatcmpl-0001","object":"chat.completion.chunk","created":1700000000,"model":"bench-1",'
        '"choices":[{"index":0,"delta":{"content":"' + content + '"},"finish_reason":' + finish + "}]}\n\n"
    ).encode()


_WORDS = _TEXT.split()
_EVENTS = [*(_event(word + " ") for word in _WORDS[:18]), _event("", '"stop"'), b"data: [DONE]\n\n"]

_WHOLE_ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_0001\r\ncontent-length: %d\r\n\r\n%b"
    % (len(_WHOLE), _WHOLE)
)
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_CHUNKS = [b"%x\r\n%b\r\n" % (len(event), event) for event in _EVENTS]
_TURNS = [_STREAM_HEAD + _CHUNKS[0], *_CHUNKS[1:-1], _CHUNKS[-1] + b"0\r\n\r\n"]


class Upstream(asyncio.Protocol):
    """Answers well-formed requests with a Content-Length or without a body."""

    def __init__(self) -> None:
        self._buffer = b""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            head = data[:end]
            start = head.lower().find(b"\r\ncontent-length:")
            length = int(head[start + 17 :].split(b"\r\n", 1)[0]) if start >= 0 else 0
            if len(data) < end + 4 + length:
                break
            data = data[end + 4 + length :]
            if b"/stream" in head.split(b" ", 2)[1]:
                self._turn(0)
            else:
                self._transport.write(_WHOLE_ANSWER)
        self._buffer = data

    def _turn(self, number: int) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(_TURNS[number])
        if number + 1 < len(_TURNS):
            self._loop.call_soon(self._turn, number + 1)


async def serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", port, reuse_port=True, backlog=1024)
    await server.serve_forever()


def main() -> None:
    port, workers = int(sys.argv[1]), int(sys.argv[2])
    for _ in range(workers - 1):
        if os.fork() == 0:
            break
    uvloop.run(serve(port))


if __name__ == "__main__":
    main()
