"""Field lines of a message's head, read strictly (RFC 9112 §5) and alike for requests and answers.

The line ends and control bytes of a whole head are checked in one pass that runs in C, then every line is cut at its
first colon. The names of well-known fields are looked up in a closed table, which spares both the check and the
lower-casing; any other name is checked byte for byte. Lines that come again and again, such as `accept: */*`, are
remembered whole, within a bound.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from gateway.errors import FramingError

Field = tuple[bytes, bytes]

HEX_DIGITS = b"0123456789abcdefABCDEF"
TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CONTROL = bytes(byte for byte in range(32) if byte not in b"\t\r\n") + b"\x7f"
_AMISS = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n")
_FAULTS = {
    b"\n": ("bare_lf", "a line of the head ends in LF without CR"),
    b"\r": ("bare_cr", "the head has a CR that no LF follows"),
}
_CONTROL_AS_LF = bytes.maketrans(_CONTROL, b"\n" * len(_CONTROL))

# Fields that most messages of one client or upstream carry with the same value: their lines are remembered whole.
_CONSTANT = """
accept accept-charset accept-encoding accept-language accept-ranges access-control-allow-origin
access-control-expose-headers alt-svc anthropic-beta anthropic-version cache-control connection content-encoding
content-language content-type expect host keep-alive openai-beta openai-organization openai-project openai-version
origin pragma server strict-transport-security te transfer-encoding upgrade user-agent vary x-content-type-options
x-forwarded-for x-forwarded-host x-forwarded-proto x-should-retry x-stainless-arch x-stainless-async x-stainless-lang
x-stainless-os x-stainless-package-version x-stainless-raw-response x-stainless-read-timeout x-stainless-retry-count
x-stainless-runtime x-stainless-runtime-version x-stainless-timeout
"""
# Fields whose values differ from message to message or are nobody's business once the message is dealt with.
_VARYING = """
age allow anthropic-organization-id anthropic-ratelimit-requests-limit anthropic-ratelimit-requests-remaining
anthropic-ratelimit-requests-reset authorization cf-cache-status cf-ray content-disposition content-length cookie date
etag expires idempotency-key if-match if-modified-since if-none-match last-modified link location
openai-processing-ms range referer request-id retry-after set-cookie traceparent tracestate trailer via
www-authenticate x-api-key x-cordon-key x-ratelimit-limit-requests x-ratelimit-limit-tokens
x-ratelimit-remaining-requests x-ratelimit-remaining-tokens x-ratelimit-reset-requests x-ratelimit-reset-tokens
x-request-id
"""
_SPELLINGS = (b"X-Stainless-OS", b"ETag", b"WWW-Authenticate", b"CF-RAY", b"TE", b"OpenAI-Organization")
_REMEMBERED = 512
_REMEMBERED_LENGTH = 128
Entry = tuple[int, Field]


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
        for name in (_CONSTANT + _VARYING).split():
            lower = name.encode()
            self._names[lower] = self._names[name.title().encode()] = (lower, self._role(lower))
        for spelling in _SPELLINGS:
            self._names[spelling] = self._names[spelling.lower()]
        self._constant = frozenset(_CONSTANT.encode().split())
        self._lines: dict[bytes, Entry] = {}

    def read(self, lines: list[bytes]) -> tuple[list[Field], list[Entry]]:
        """Plain fields, and those with a role together with it; both in order, names in lower case.

        `lines` have no line ends. Blanks around values are taken off.
        """
        plain: list[Field] = []
        special: list[Entry] = []
        remembered = self._lines
        for line in lines:
            entry = remembered.get(line) or self._read_line(line)
            if entry[0]:
                special.append(entry)
            else:
                plain.append(entry[1])
        return plain, special

    def _read_line(self, line: bytes) -> Entry:
        raw_name, colon, value = line.partition(b":")
        known = self._names.get(raw_name)
        if known is None or not colon:
            known = self._unknown(raw_name, colon)
        name, role = known
        entry = (role, (name, value.strip(b" \t")))
        if name in self._constant and len(line) <= _REMEMBERED_LENGTH:
            if len(self._lines) >= _REMEMBERED:
                self._lines.clear()
            self._lines[line] = entry
        return entry

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


def split_head(raw: bytes) -> list[bytes]:
    """The lines of a whole head, checked for line ends and control bytes. FramingError."""
    lines = raw.split(b"\r\n")
    ends = len(lines) - 1
    if raw.count(b"\r") != ends or raw.translate(_CONTROL_AS_LF).count(b"\n") != ends:
        check_bytes(raw)
    return lines


def check_bytes(piece: bytes) -> None:
    """Refuse a piece of a head, cut anywhere but within a CRLF, for its first control byte or half of a line end."""
    found = _AMISS.search(piece)
    if found is not None:
        raise FramingError(400, *_FAULTS.get(found[0], ("control_byte", "the head has a control byte")))


def write_fields(fields: Sequence[Field]) -> bytes:
    """Field lines with their line ends. ValueError for what would add a line (header injection) or holds a NUL."""
    if not fields:
        return b""
    block = b"\r\n".join(map(b": ".join, fields))
    if len(block) - len(block.translate(None, b"\r\n\0")) != 2 * len(fields) - 2:
        raise ValueError("a header to be sent has a line end or a NUL in its name or value")
    return block + b"\r\n"


def parse_length(value: bytes) -> int:
    """Content-Length as RFC 9110 §8.6 has it: digits only, here at most 18 of them."""
    if not value.isdigit() or len(value) > 18:
        raise FramingError(400, "content_length", "Content-Length is not a number")
    return int(value)
