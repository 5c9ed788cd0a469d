"""The client's trace goes on through the gateway."""

from __future__ import annotations

import pytest

from gateway.tracing import continued

TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_a_valid_trace_is_continued_under_a_new_parent() -> None:
    trace, span, header = continued(f"00-{TRACE}-b7ad6b7169203331-01".encode())
    assert trace == TRACE
    version, same, parent, flags = header.decode().split("-")
    assert (version, same, flags) == ("00", TRACE, "01")
    assert parent == span != "b7ad6b7169203331"


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"garbage",
        f"ff-{TRACE}-b7ad6b7169203331-01".encode(),
        f"00-{'0' * 32}-b7ad6b7169203331-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        f"00-{TRACE.upper()}-b7ad6b7169203331-01".encode(),
        f"00-{TRACE}-b7ad6b7169203331-01\r\nx: y".encode(),
    ],
)
def test_a_malformed_trace_is_not_passed_on(header: bytes) -> None:
    trace, span, sent = continued(header)
    assert trace != TRACE
    assert len(trace) == 32
    assert sent.startswith(f"00-{trace}-{span}-".encode())
