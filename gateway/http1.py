"""The request side of HTTP/1.1 (RFC 9112) without I/O: bytes in, a normalised head and a whole body out.

A dialogue of three verbs: `feed` bytes, `read_head` until it yields one, `read_body` until it yields one, and again for
the next request on the connection. The same bytes give the same heads, bodies and errors however they are cut. There is
one grammar and no lenient mode: what two readers could understand differently is refused (FramingError), and the
connection has to be closed after it, since nobody can tell where a next request would begin.
"""

from __future__ import annotations

from gateway.chunked import ChunkedReader
from gateway.errors import FramingError
from gateway.fields import TOKEN, Field, check_bytes, parse_length, read_fields
from gateway.normalise import normalise_host, normalise_target
from gateway.settings import Limits

_METHOD = bytes(byte for byte in TOKEN if not 97 <= byte <= 122)
_METHOD_LENGTH = 24
_REFUSED_METHODS = {"CONNECT": "opens a tunnel", "TRACE": "reflects credentials"}
_BLANK_LINES = 2

_PLAIN, _HOST, _LENGTH, _CODING, _CONNECTION, _EXPECT, _DROPPED, _OVERRIDE, _SINGLE = range(9)

_ROLES: dict[bytes, int] = {
    b"host": _HOST,
    b"content-length": _LENGTH,
    b"transfer-encoding": _CODING,
    b"connection": _CONNECTION,
    b"expect": _EXPECT,
    # Hop-by-hop (RFC 9110 §7.6.1), and `upgrade`: Java clients offer h2c on plain calls and go on when it is ignored.
    **dict.fromkeys((b"keep-alive", b"proxy-connection", b"proxy-authorization", b"te", b"trailer"), _DROPPED),
    **dict.fromkeys((b"proxy-authenticate", b"upgrade", b"http2-settings"), _DROPPED),
    # What a client says of itself or of proxies before it cannot be believed, and upstreams behind a proxy believe it.
    **dict.fromkeys((b"forwarded", b"x-real-ip", b"x-forwarded-for", b"x-forwarded-host"), _DROPPED),
    **dict.fromkeys(
        (b"x-forwarded-proto", b"x-forwarded-port", b"x-forwarded-prefix", b"x-forwarded-server"), _DROPPED
    ),
    # These make an upstream carry out another method or path than the one that policy decides on.
    **dict.fromkeys((b"x-http-method-override", b"x-http-method", b"x-method-override"), _OVERRIDE),
    **dict.fromkeys((b"x-original-url", b"x-rewrite-url"), _OVERRIDE),
    # Readers differ on which of two they take.
    **dict.fromkeys((b"authorization", b"x-api-key", b"content-type", b"content-encoding"), _SINGLE),
    **dict.fromkeys((b"idempotency-key", b"traceparent", b"x-request-id", b"range"), _SINGLE),
}


class RequestHead:
    """One request's head in its normalised form: what identity, routing and policy read is what is forwarded.

    - `method`: an upper-case token; `host` (lower case) and `port` (None: not given)
    - `path`: decoded text without dot segments; `query`: canonical text without its '?'
    - `target`: canonical path and query as bytes, for forwarding
    - `headers`: end-to-end fields, names in lower case, in order; framing and hop-by-hop fields are not among them
    - `cordon`: the client's `x-cordon-*` fields, which are never forwarded
    - `length`: body length in bytes, None for a chunked body
    - `close`: the client wants the connection closed; `expects`: it waits for 100 (Continue) before it sends the body
    """

    __slots__ = ("close", "cordon", "expects", "headers", "host", "length", "method", "path", "port", "query", "target")

    def __init__(self, method: str, path: str, query: str, target: bytes) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.target = target
        self.host = ""
        self.port: int | None = None
        self.headers: list[Field] = []
        self.cordon: list[Field] = []
        self.length: int | None = 0
        self.close = False
        self.expects = False

    def value(self, name: bytes) -> bytes:
        """The first value of the header with this lower-case name, empty where there is none."""
        for field in self.headers:
            if field[0] == name:
                return field[1]
        return b""

    @property
    def has_body(self) -> bool:
        """Whether the request announces a body, be it one that turns out empty."""
        return self.length != 0


class RequestReader:
    """The requests of one connection, one after the other."""

    __slots__ = (
        "_blank_lines",
        "_body",
        "_body_limit",
        "_buffer",
        "_chunked",
        "_head_limit",
        "_left",
        "_limits",
        "_scanned",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._head_limit = limits.request_line + limits.headers
        self._buffer = b""
        self._scanned = 0
        self._blank_lines = 0
        self._left = 0
        self._body: list[bytes] = []
        self._body_limit = 0
        self._chunked: ChunkedReader | None = None

    @property
    def buffered(self) -> int:
        """Bytes held: of a head or body that is not complete yet, and of requests read ahead."""
        return len(self._buffer) + sum(map(len, self._body)) if self._body else len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take bytes from the connection; the caller bounds how many it lets pile up."""
        self._buffer = self._buffer + data if self._buffer else data

    def read_head(self) -> RequestHead | None:
        """The next request's head, or None until more bytes are there. Raises FramingError."""
        buffer = self._buffer
        while buffer.startswith(b"\r\n") and self._blank_lines < _BLANK_LINES:
            buffer = self._buffer = buffer[2:]
            self._blank_lines += 1
            self._scanned = 0
        end = buffer.find(b"\r\n\r\n", max(0, self._scanned - 3))
        if end < 0 or end > self._head_limit:
            self._check_partial(buffer)
            return None
        head = parse_head(buffer[:end], self._limits)
        self._buffer = buffer[end + 4 :]
        self._scanned = self._blank_lines = 0
        self._left = head.length or 0
        self._chunked = ChunkedReader(trailers=False) if head.length is None else None
        return head

    def allow_body(self, limit: int) -> None:
        """Set the largest body, in bytes, of the request whose head was read. Raises FramingError (413)."""
        self._body_limit = limit
        if self._left > limit:
            raise _too_large(limit)

    def read_body(self) -> bytes | None:
        """The whole body, or None until more bytes are there. Raises FramingError."""
        if self._chunked is not None:
            return self._read_chunked(self._chunked)
        left = self._left
        if not self._body and len(self._buffer) >= left:
            body, self._buffer = self._buffer[:left], self._buffer[left:]
            return body
        piece = self._buffer[:left]
        self._buffer = self._buffer[left:]
        self._left -= len(piece)
        self._body.append(piece)
        return None if self._left else self._take_body()

    def _read_chunked(self, chunked: ChunkedReader) -> bytes | None:
        data, self._buffer = self._buffer, b""
        piece = chunked.feed(data)
        if piece:
            self._left += len(piece)
            if self._left > self._body_limit:
                raise _too_large(self._body_limit)
            self._body.append(piece)
        if not chunked.ended:
            return None
        self._buffer = chunked.rest
        self._chunked = None
        return self._take_body()

    def _take_body(self) -> bytes:
        body = b"".join(self._body)
        self._body.clear()
        self._left = 0
        return body

    def _check_partial(self, buffer: bytes) -> None:
        """Refuse a head that can no longer become good, looking only at the bytes that came since the last look."""
        start = self._scanned
        if start and buffer[start - 1] == 13:
            start -= 1
        stop = min(len(buffer), self._head_limit + 4)
        piece = buffer[start:stop]
        check_bytes(piece[:-1] if piece.endswith(b"\r") else piece)
        if len(buffer) > self._head_limit + 3:
            raise FramingError(431, "head", f"the request's head is longer than {self._head_limit} bytes")
        self._scanned = stop


def parse_head(raw: bytes, limits: Limits) -> RequestHead:
    """Read one whole head, without the empty line that ends it. Raises FramingError."""
    check_bytes(raw)
    lines = raw.split(b"\r\n")
    method, form, version = _split_request_line(lines[0], limits)
    if len(lines) - 1 > limits.header_count:
        raise FramingError(431, "header_count", f"the request has more than {limits.header_count} header lines")
    if version != b"HTTP/1.1":
        raise FramingError(505, "version", "this gateway speaks HTTP/1.1")
    authority, target = _split_target(form)
    head = RequestHead(method, *normalise_target(target))
    del lines[0]
    _apply_fields(head, read_fields(lines, limits.header_line, underscores=False))
    if authority is not None and normalise_host(authority) != (head.host, head.port):
        raise FramingError(400, "host", "the request target names another host than the Host header")
    return head


def _split_request_line(line: bytes, limits: Limits) -> tuple[str, bytes, bytes]:
    if len(line) > limits.request_line:
        raise FramingError(414, "request_line", f"the request line is longer than {limits.request_line} bytes")
    parts = line.split(b" ")
    if len(parts) != 3:
        raise FramingError(400, "request_line", "the request line is not method, target and version")
    method = parts[0]
    if not 0 < len(method) <= _METHOD_LENGTH or method.translate(None, _METHOD):
        raise FramingError(400, "method", "the method is not an upper-case token")
    name = method.decode("ascii")
    if name in _REFUSED_METHODS:
        raise FramingError(405, "method", f"the method {name} {_REFUSED_METHODS[name]} and is not served")
    if not parts[2].startswith(b"HTTP/"):
        raise FramingError(400, "request_line", "the request line does not end in a version of HTTP")
    return name, parts[1], parts[2]


def _split_target(form: bytes) -> tuple[bytes | None, bytes]:
    """Authority and origin-form of a target in absolute-form (RFC 9112 §3.2.2), or None and the target itself."""
    if form.startswith(b"/"):
        return None, form
    scheme, mark, rest = form.partition(b"://")
    if not mark or scheme.lower() not in {b"http", b"https"}:
        raise FramingError(400, "target", "the request target must be a path that begins with '/'")
    cut = next((index for index, byte in enumerate(rest) if byte in b"/?#"), len(rest))
    authority, target = rest[:cut], rest[cut:]
    if b"@" in authority:
        raise FramingError(400, "target", "the request target must not carry a user name")
    return authority, target if target.startswith(b"/") else b"/" + target


def _apply_fields(head: RequestHead, fields: list[Field]) -> None:
    """Sort the fields into what frames the message, what stays on this connection and what is forwarded."""
    kept = head.headers
    seen: list[bytes] = []
    host: bytes | None = None
    length: bytes | None = None
    coding: bytes | None = None
    connection = b""
    for field in fields:
        name, value = field
        role = _ROLES.get(name)
        if role is None:
            (head.cordon if name.startswith(b"x-cordon-") else kept).append(field)
        elif role == _SINGLE:
            if name in seen:
                raise FramingError(400, "duplicate", f"the header {name.decode()} is there twice")
            seen.append(name)
            kept.append(field)
        elif role == _CONNECTION:
            connection += b"," + value.lower() if connection else value.lower()
        elif role == _HOST:
            if host is not None:
                raise FramingError(400, "host", "the request has more than one Host header")
            host = value
        elif role == _LENGTH:
            if length is not None:
                raise FramingError(400, "content_length", "the request has more than one Content-Length")
            length = value
        elif role == _CODING:
            if coding is not None:
                raise FramingError(400, "transfer_encoding", "the request has more than one Transfer-Encoding")
            coding = value
        elif role == _EXPECT:
            if value.lower() != b"100-continue":
                raise FramingError(417, "expect", "the only expectation that is met is 100-continue")
            head.expects = True
        elif role == _OVERRIDE:
            raise FramingError(
                400, "override", f"the header {name.decode()} is refused; send the method and path meant"
            )
    if host is None:
        raise FramingError(400, "host", "the request has no Host header")
    head.host, head.port = normalise_host(host)
    head.length = _body_length(length, coding)
    if connection and connection != b"keep-alive":
        _apply_connection(head, connection)


def _body_length(length: bytes | None, coding: bytes | None) -> int | None:
    """How the body is framed (RFC 9112 §6.3): its length, or None for chunked."""
    if coding is None:
        return 0 if length is None else parse_length(length)
    if length is not None:
        raise FramingError(400, "framing", "the request has both Content-Length and Transfer-Encoding")
    if coding.lower() != b"chunked":
        raise FramingError(400, "transfer_encoding", "the only Transfer-Encoding that is read is chunked, once")
    return None


def _apply_connection(head: RequestHead, connection: bytes) -> None:
    options = {option.strip(b" \t") for option in connection.split(b",")}
    head.close = b"close" in options
    head.headers = [field for field in head.headers if field[0] not in options]


def forward_headers(head: RequestHead, drop: frozenset[bytes] = frozenset()) -> list[Field]:
    """The fields to forward, without those in `drop` (lower-case names; for example the client's credentials)."""
    return [field for field in head.headers if field[0] not in drop]


def _too_large(limit: int) -> FramingError:
    return FramingError(413, "body", f"the request's body is longer than the {limit} bytes that this route takes")
