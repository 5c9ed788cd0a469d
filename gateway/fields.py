"""Field lines of a message's head, read strictly (RFC 9112 §5) and alike for requests and answers.

The line ends and control bytes of a whole head are checked in a few passes that run in C, then every line is cut at its
first colon. Names of well-known fields are looked up in a closed table, which spares both the check and the
lower-casing; any other name is checked byte for byte.
"""

from __future__ import annotations

from gateway.errors import FramingError

Field = tuple[bytes, bytes]

HEX_DIGITS = b"0123456789abcdefABCDEF"
TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CONTROL = bytes(byte for byte in range(32) if byte not in b"\t\r\n") + b"\x7f"

_WELL_KNOWN = """
accept accept-charset accept-encoding accept-language accept-ranges access-control-allow-origin
access-control-expose-headers age allow alt-svc anthropic-beta anthropic-organization-id
anthropic-ratelimit-requests-limit anthropic-ratelimit-requests-remaining anthropic-ratelimit-requests-reset
anthropic-version authorization cache-control cf-cache-status cf-ray connection content-disposition content-encoding
content-language content-length content-type cookie date etag expect expires host idempotency-key if-match
if-modified-since if-none-match keep-alive last-modified link location openai-beta openai-organization
openai-processing-ms openai-project openai-version origin pragma range referer request-id retry-after server
set-cookie strict-transport-security te traceparent tracestate trailer transfer-encoding upgrade user-agent vary via
www-authenticate x-api-key x-content-type-options x-cordon-key x-forwarded-for x-forwarded-host x-forwarded-proto
x-ratelimit-limit-requests x-ratelimit-limit-tokens x-ratelimit-remaining-requests x-ratelimit-remaining-tokens
x-ratelimit-reset-requests x-ratelimit-reset-tokens x-request-id x-should-retry x-stainless-arch x-stainless-async
x-stainless-lang x-stainless-os x-stainless-package-version x-stainless-raw-response x-stainless-read-timeout
x-stainless-retry-count x-stainless-runtime x-stainless-runtime-version x-stainless-timeout
"""


def _spellings() -> dict[bytes, bytes]:
    table: dict[bytes, bytes] = {}
    for name in _WELL_KNOWN.split():
        lower = name.encode()
        table[lower] = table[name.title().encode()] = lower
    for spelling in (b"X-Stainless-OS", b"ETag", b"WWW-Authenticate", b"CF-RAY", b"TE", b"OpenAI-Organization"):
        table[spelling] = table[spelling.lower()]
    return table


_NAMES = _spellings()


def check_bytes(piece: bytes) -> None:
    """Refuse control bytes, and CR or LF apart from each other, in a piece of a head that ends on a line's bounds."""
    ends = piece.count(b"\r\n")
    if piece.count(b"\n") != ends:
        raise FramingError(400, "bare_lf", "a line of the head ends in LF without CR")
    if piece.count(b"\r") != ends:
        raise FramingError(400, "bare_cr", "the head has a CR that no LF follows")
    if len(piece.translate(None, _CONTROL)) != len(piece):
        raise FramingError(400, "control_byte", "the head has a control byte")


def read_fields(lines: list[bytes], longest: int, *, underscores: bool = True) -> list[Field]:
    """Names in lower case and values without surrounding blanks, in order.

    `lines` have passed `check_bytes` and have no line ends; `longest` is the limit on one line in bytes. Without
    `underscores`, a name that has one is refused: CGI-style upstreams read `content_length` as `content-length`.
    """
    fields: list[Field] = []
    names = _NAMES
    for line in lines:
        if len(line) > longest:
            raise FramingError(431, "header_line", f"a header line is longer than {longest} bytes")
        raw_name, colon, value = line.partition(b":")
        name = names.get(raw_name)
        if name is None or not colon:
            name = _checked_name(raw_name, colon, underscores)
        fields.append((name, value.strip(b" \t")))
    return fields


def _checked_name(raw: bytes, colon: bytes, underscores: bool) -> bytes:
    if raw[:1] in (b" ", b"\t"):
        raise FramingError(400, "obs_fold", "a header line begins with a blank (obsolete line folding)")
    if not colon:
        raise FramingError(400, "field_line", "a header line has no colon")
    if raw[-1:] in (b" ", b"\t"):
        raise FramingError(400, "field_name", "a header has a blank between its name and the colon")
    if not raw or raw.translate(None, TOKEN):
        raise FramingError(400, "field_name", "a header's name is not a token")
    if not underscores and b"_" in raw:
        raise FramingError(400, "field_name", "a header's name has an underscore; write a hyphen")
    return raw.lower()


def write_fields(fields: list[Field]) -> bytes:
    """Field lines with their line ends, refusing what would add a line (header injection)."""
    block = b"\r\n".join([b": ".join(field) for field in fields])
    ends = len(fields) - 1
    if block.count(b"\n") > ends or block.count(b"\r") > ends or b"\0" in block:
        raise ValueError("a header to be sent has a line end or a NUL in its name or value")
    return block + b"\r\n" if fields else block


def parse_length(value: bytes) -> int:
    """Content-Length as RFC 9110 §8.6 has it: digits only, here at most 18 of them."""
    if not value.isdigit() or len(value) > 18:
        raise FramingError(400, "content_length", "Content-Length is not a number")
    return int(value)
