"""Field lines of a message's head, read strictly (RFC 9112 §5) and alike for requests and answers.

The line ends and control bytes of a whole head are checked in one pass that runs in C, then every line is cut at its
first colon. The names of well-known fields are looked up in a closed table, which spares both the check and the
lower-casing; any other name is checked byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.errors import FramingError

Field = tuple[bytes, bytes]

HEX_DIGITS = b"0123456789abcdefABCDEF"
TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CONTROL = bytes(byte for byte in range(32) if byte not in b"\t\r\n") + b"\x7f"
_CONTROL_AS_LF = bytes.maketrans(_CONTROL, b"\n" * len(_CONTROL))

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
_SPELLINGS = (b"X-Stainless-OS", b"ETag", b"WWW-Authenticate", b"CF-RAY", b"TE", b"OpenAI-Organization")


class FieldTable:
    """Reads the fields of one kind of message. `roles` gives a number above 0 to each name that needs a closer look.

    A `prefix` is a beginning of names and the role of all that have it. Without `underscores`, a name that has one is
    refused: CGI-style upstreams read `content_length` as `content-length`.
    """

    def __init__(
        self, roles: Mapping[bytes, int], *, prefix: tuple[bytes, int] | None = None, underscores: bool = True
    ) -> None:
        self._roles = roles
        self._prefix = prefix
        self._underscores = underscores
        self._names: dict[bytes, tuple[bytes, int]] = {}
        for name in _WELL_KNOWN.split():
            lower = name.encode()
            self._names[lower] = self._names[name.title().encode()] = (lower, self._role(lower))
        for spelling in _SPELLINGS:
            self._names[spelling] = self._names[spelling.lower()]

    def read(self, lines: list[bytes]) -> tuple[list[Field], list[tuple[int, bytes, bytes]]]:
        """Plain fields as (name, value), the others as (role, name, value); both in order, names in lower case.

        `lines` have no line ends and passed `check_bytes`. Blanks around values are taken off.
        """
        plain: list[Field] = []
        special: list[tuple[int, bytes, bytes]] = []
        names = self._names
        for line in lines:
            raw_name, colon, value = line.partition(b":")
            known = names.get(raw_name)
            if known is None or not colon:
                known = self._unknown(raw_name, colon)
            name, role = known
            if role:
                special.append((role, name, value.strip(b" \t")))
            else:
                plain.append((name, value.strip(b" \t")))
        return plain, special

    def _role(self, name: bytes) -> int:
        if self._prefix is not None and name.startswith(self._prefix[0]):
            return self._prefix[1]
        return self._roles.get(name, 0)

    def _unknown(self, raw: bytes, colon: bytes) -> tuple[bytes, int]:
        if raw[:1] in (b" ", b"\t"):
            raise FramingError(400, "obs_fold", "a header line begins with a blank (obsolete line folding)")
        if not colon:
            raise FramingError(400, "field_line", "a header line has no colon")
        if raw[-1:] in (b" ", b"\t"):
            raise FramingError(400, "field_name", "a header has a blank between its name and the colon")
        if not raw or raw.translate(None, TOKEN):
            raise FramingError(400, "field_name", "a header's name is not a token")
        if not self._underscores and b"_" in raw:
            raise FramingError(400, "field_name", "a header's name has an underscore; write a hyphen")
        name = raw.lower()
        return name, self._role(name)


def split_head(raw: bytes, longest: int, most: int) -> list[bytes]:
    """The lines of a whole head, checked for line ends and control bytes. FramingError.

    No line after the first may have more than `longest` bytes, and there may be at most `most` of them.
    """
    lines = raw.split(b"\r\n")
    ends = len(lines) - 1
    if raw.count(b"\r") != ends or raw.translate(_CONTROL_AS_LF).count(b"\n") != ends:
        check_bytes(raw)
    if ends > most:
        raise FramingError(431, "header_count", f"there are more than {most} header lines")
    if len(raw) > longest and any(len(line) > longest for line in lines[1:]):
        raise FramingError(431, "header_line", f"a header line is longer than {longest} bytes")
    return lines


def check_bytes(piece: bytes) -> None:
    """Refuse control bytes, and CR or LF apart from each other, in a piece of a head that ends on a line's bounds."""
    ends = piece.count(b"\r\n")
    if piece.count(b"\n") != ends:
        raise FramingError(400, "bare_lf", "a line of the head ends in LF without CR")
    if piece.count(b"\r") != ends:
        raise FramingError(400, "bare_cr", "the head has a CR that no LF follows")
    if piece.translate(None, _CONTROL) != piece:
        raise FramingError(400, "control_byte", "the head has a control byte")


def write_fields(fields: Sequence[Field]) -> bytes:
    """Field lines with their line ends. ValueError for what would add a line (header injection) or holds a NUL."""
    if not fields:
        return b""
    block = b"\r\n".join(map(b": ".join, fields))
    if block.count(b"\n") >= len(fields) or block.count(b"\r") >= len(fields) or b"\0" in block:
        raise ValueError("a header to be sent has a line end or a NUL in its name or value")
    return block + b"\r\n"


def parse_length(value: bytes) -> int:
    """Content-Length as RFC 9110 §8.6 has it: digits only, here at most 18 of them."""
    if not value.isdigit() or len(value) > 18:
        raise FramingError(400, "content_length", "Content-Length is not a number")
    return int(value)
