"""What can go wrong with a call, who is at fault, and how the client is told.

A `Refusal` is the gateway's own decision not to go on: it carries the HTTP status, the stage of the call that refused,
a short code, one sentence for people and the reasons that policy or a check gave. An `UpstreamError` says that the
upstream did not answer properly. The rendering into an answer lies in `gateway.refusals`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

UpstreamFault = Literal["connect", "tls", "timeout", "reset", "protocol"]


class GatewayError(Exception):
    """Base of every error of this package; its text says what is wrong, where, and what to do."""


class FramingError(GatewayError):
    """Bytes that are not the HTTP/1.1 that this gateway speaks (RFC 9112); the sender is at fault.

    `status` is what a client is told when its request is meant; an upstream's answer ends as a 502 instead.
    """

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail


class Refusal(GatewayError):
    """The call ends here. `detail` and `reasons` are shown to the client, so they hold no secret and no finding's text.

    `stage` is the step of the call that refused: framing, identity, containment, routing, inspection, decision,
    lineage, upstream, limits or gateway. `reasons` are objects such as `{"rule": "residency", "detail": "…"}`;
    `headers` (lower-case names) go out with the answer, for example `retry-after`.
    """

    def __init__(
        self,
        status: int,
        stage: str,
        code: str,
        detail: str,
        reasons: Sequence[Mapping[str, str]] = (),
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(f"{stage}: {code}: {detail}")
        self.status = status
        self.stage = stage
        self.code = code
        self.detail = detail
        self.reasons = tuple(reasons)
        self.headers = tuple(headers)


class UpstreamError(GatewayError):
    """The upstream could not be reached, broke off, or spoke no proper HTTP.

    `sent` tells whether any byte of the request may have reached it: only where it is False is another try always safe.
    """

    def __init__(self, kind: UpstreamFault, detail: str, *, sent: bool) -> None:
        super().__init__(detail)
        self.kind: UpstreamFault = kind
        self.detail = detail
        self.sent = sent
