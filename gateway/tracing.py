"""W3C Trace Context: the client's trace is continued, or one begins here (https://www.w3.org/TR/trace-context/)."""

from __future__ import annotations

import re

from lineage.chance import sixteen

_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")


def continued(traceparent: bytes) -> tuple[str, str, bytes]:
    """The trace id, the call's own span id, and the `traceparent` to send on, whose parent that span is.

    Trace and flags are the client's; where its header is malformed, a new trace begins.
    """
    match = _TRACEPARENT.fullmatch(traceparent)
    trace, flags = (match[1].decode(), match[2].decode()) if match else (sixteen().hex(), "00")
    span = sixteen()[:8].hex()
    return trace, span, f"00-{trace}-{span}-{flags}".encode()
