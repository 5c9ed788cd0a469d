"""An upstream's script: it says what it was asked."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.support.in_process import STREAM_END, STREAM_HEAD, answer, completion, delta


def prompt(request: bytes) -> str:
    """What the upstream was asked last."""
    return str(json.loads(request.partition(b"\r\n\r\n")[2])["messages"][-1]["content"])


async def echo(request: bytes, send: Callable[[bytes], None]) -> bool:
    """Say what was asked, as a stream of small pieces where a stream is asked for."""
    text = prompt(request)
    if b'"stream":true' in request:
        pieces = [text[start : start + 3] for start in range(0, len(text), 3)]
        send(STREAM_HEAD + b"".join(map(delta, pieces)) + delta("", "stop") + STREAM_END)
    else:
        send(answer(completion(text)))
    return True
