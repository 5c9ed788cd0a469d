"""A request's head in its one normalised form, read strictly from raw lines (RFC 9112 §3, RFC 9110 §7).

The table below says for each field that does not simply pass what becomes of it: it frames the message, stays on the
client's connection, is the client's word about others, or is refused because upstreams would obey it unseen by policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from gateway.errors import FramingError
from gateway.fields import TOKEN, Entry, Field, FieldTable, parse_length, split_head
from gateway.normalise import normalise_host, normalise_target
from gateway.settings import Limits

_METHOD = bytes(byte for byte in TOKEN if not 97 <= byte <= 122)
_METHOD_LENGTH = 24
_REFUSED_METHODS = {"CONNECT": "opens a tunnel", "TRACE": "reflects credentials"}

_HOST, _LENGTH, _CODING, _CONNECTION, _EXPECT, _DROPPED, _OVERRIDE, _CORDON = range(1, 9)

# Where Traefik, nginx, Apache and the clouds' load balancers tell of a client's certificate.
_CERTIFICATE_FIELDS = (
    *(b"x-forwarded-tls-client-cert", b"x-forwarded-tls-client-cert-info", b"x-arr-clientcert", b"x-client-cert"),
    *(b"ssl-client-cert", b"ssl-client-verify", b"ssl-client-subject-dn", b"ssl-client-issuer-dn"),
    *(b"x-ssl-cert", b"x-ssl-client-cert", b"x-ssl-client-verify", b"x-ssl-client-s-dn", b"x-ssl-client-dn"),
    *(b"x-amzn-mtls-clientcert", b"x-amzn-mtls-clientcert-leaf", b"x-amzn-mtls-clientcert-subject"),
    *(b"x-amzn-mtls-clientcert-issuer", b"x-amzn-mtls-clientcert-serial-number", b"x-client-cert-present"),
    *(b"x-client-cert-chain-verified", b"x-client-cert-spiffe", b"x-client-cert-subject-dn", b"x-client-cert-uri-sans"),
)

_FIELDS = FieldTable(
    {
        b"host": _HOST,
        b"content-length": _LENGTH,
        b"transfer-encoding": _CODING,
        b"connection": _CONNECTION,
        b"expect": _EXPECT,
        # Hop-by-hop (RFC 9110 §7.6.1); `upgrade` too: Java clients offer h2c and go on when it is ignored.
        **dict.fromkeys((b"keep-alive", b"proxy-connection", b"proxy-authorization", b"te", b"trailer"), _DROPPED),
        **dict.fromkeys((b"proxy-authenticate", b"upgrade", b"http2-settings"), _DROPPED),
        # The gateway has to read the answer, so it asks for one without a coding.
        b"accept-encoding": _DROPPED,
        # What a client says of proxies before it cannot be believed, and upstreams behind a proxy would believe it.
        **dict.fromkeys((b"forwarded", b"x-real-ip", b"x-forwarded-for", b"x-forwarded-host"), _DROPPED),
        **dict.fromkeys((b"x-forwarded-proto", b"x-forwarded-port", b"x-forwarded-prefix"), _DROPPED),
        **dict.fromkeys((b"x-forwarded-server", b"x-forwarded-client-cert"), _DROPPED),
        **dict.fromkeys((b"client-cert", b"client-cert-chain"), _DROPPED),  # RFC 9440 §2.4
        **dict.fromkeys(_CERTIFICATE_FIELDS, _DROPPED),
        # These make an upstream carry out another method or path than the one that policy decides on.
        **dict.fromkeys((b"x-http-method-override", b"x-http-method", b"x-method-override"), _OVERRIDE),
        **dict.fromkeys((b"x-original-url", b"x-rewrite-url"), _OVERRIDE),
    },
    prefix=(b"x-cordon-", _CORDON),
    underscores=False,
)
_SINGLE = (b"authorization", b"x-api-key", b"content-type", b"content-encoding", b"idempotency-key", b"traceparent")


class RequestHead:
    """One request's head in its normalised form: what identity, routing and policy read is what is forwarded.

    Not to be changed: requests of one connection may share it.

    - `method`: an upper-case token; `host` (lower case) and `port` (None: not given)
    - `path`: decoded text without dot segments; `query`: canonical text without its '?'
    - `target`: canonical path and query as bytes, for forwarding
    - `headers`: end-to-end fields, names in lower case, in order; framing and hop-by-hop fields are not among them
    - `cordon`: the client's `x-cordon-*` fields, which are never forwarded
    - `length`: body length in bytes, None for a chunked body
    - `close`: the client wants the connection closed; `expects`: it waits for 100 (Continue) before it sends the body
    """

    __slots__ = ("close", "cordon", "expects", "headers", "host", "length", "method", "path", "port", "query", "target")

    def __init__(self, method: str, path: str, query: str, target: bytes, headers: Sequence[Field]) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.target = target
        self.headers = headers
        self.cordon: Sequence[Field] = ()
        self.length: int | None = 0
        self.close = self.expects = False
        self.host = ""
        self.port: int | None = None

    def again(self, length: int) -> RequestHead:
        """The same head for another request, with a body of this length."""
        head = RequestHead(self.method, self.path, self.query, self.target, self.headers)
        head.host = self.host
        head.port = self.port
        head.cordon = self.cordon
        head.length = length
        head.close = self.close
        head.expects = self.expects
        return head

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


def parse_head(raw: bytes, limits: Limits) -> RequestHead:
    """Read one whole head, without the empty line that ends it. Raises FramingError."""
    lines = split_head(raw)
    _check_limits(raw, lines, limits)
    line = lines[0]
    read = _remembered_request_line if len(line) <= _REMEMBERED_LENGTH else _read_request_line
    method, path, query, target, authority = read(line)
    del lines[0]
    headers, special = _FIELDS.read(lines)
    head = RequestHead(method, path, query, target, headers)
    _apply(head, special)
    if authority is not None and normalise_host(authority) != (head.host, head.port):
        raise FramingError(400, "host", "the request target names another host than the Host header")
    return head


def _check_limits(raw: bytes, lines: list[bytes], limits: Limits) -> None:
    if len(lines[0]) > limits.request_line:
        raise FramingError(414, "request_line", f"the request line is longer than {limits.request_line} bytes")
    if len(lines) > limits.header_count + 1:
        raise FramingError(431, "header_count", f"the request has more than {limits.header_count} header lines")
    longest = limits.header_line
    if len(raw) > longest and any(len(line) > longest for line in lines[1:]):
        raise FramingError(431, "header_line", f"a header line is longer than {longest} bytes")


def _read_request_line(line: bytes) -> tuple[str, str, str, bytes, bytes | None]:
    """Method, path, query, canonical target and authority (None: not given) of a request line (RFC 9112 §3)."""
    parts = line.split(b" ")
    if len(parts) != 3:
        raise FramingError(400, "request_line", "the request line is not method, target and version")
    method, form, version = parts
    if version != b"HTTP/1.1":
        if not version.startswith(b"HTTP/"):
            raise FramingError(400, "request_line", "the request line does not end in a version of HTTP")
        raise FramingError(505, "version", "this gateway speaks HTTP/1.1")
    name = _checked_method(method)
    authority = None
    if not form.startswith(b"/"):
        authority, form = _split_absolute(form)
    return name, *normalise_target(form), authority


_REMEMBERED_LENGTH = 256
_remembered_request_line = lru_cache(maxsize=512)(_read_request_line)


def _checked_method(method: bytes) -> str:
    """Methods are case-sensitive, yet frameworks upper-case them after policy looked, so only upper case is taken."""
    if not 0 < len(method) <= _METHOD_LENGTH or method.translate(None, _METHOD):
        raise FramingError(400, "method", "the method is not an upper-case token")
    name = method.decode("ascii")
    if name in _REFUSED_METHODS:
        raise FramingError(405, "method", f"the method {name} {_REFUSED_METHODS[name]} and is not served")
    return name


def _split_absolute(form: bytes) -> tuple[bytes, bytes]:
    """Authority and origin-form of a target in absolute-form (RFC 9112 §3.2.2)."""
    scheme, mark, rest = form.partition(b"://")
    if not mark or scheme.lower() not in {b"http", b"https"}:
        raise FramingError(400, "target", "the request target must be a path that begins with '/'")
    cut = next((index for index, byte in enumerate(rest) if byte in b"/?#"), len(rest))
    authority, target = rest[:cut], rest[cut:]
    if b"@" in authority:
        raise FramingError(400, "target", "the request target must not carry a user name")
    return authority, target if target.startswith(b"/") else b"/" + target


def _apply(head: RequestHead, special: list[Entry]) -> None:
    """Read the fields that frame the message or stay on this connection, and refuse what has two readings."""
    host = length = coding = connection = None
    for role, (name, value) in special:
        if role == _HOST:
            host = _only(host, name, value)
        elif role == _LENGTH:
            length = _only(length, name, value)
        elif role == _CODING:
            coding = _only(coding, name, value)
        elif role == _CONNECTION:
            connection = value.lower() if connection is None else connection + b"," + value.lower()
        elif role == _CORDON:
            head.cordon = (*head.cordon, (name, value))
        elif role == _EXPECT:
            if value.lower() != b"100-continue":
                raise FramingError(417, "expect", "the only expectation that is met is 100-continue")
            head.expects = True
        elif role == _OVERRIDE:
            what = f"the header {name.decode()} is refused; send the method and path that are meant"
            raise FramingError(400, "override", what)
    if host is None:
        raise FramingError(400, "host", "the request has no Host header")
    head.host, head.port = normalise_host(host)
    if coding is not None:
        _check_coding(coding, length)
        head.length = None
    elif length is not None:
        head.length = parse_length(length)
    if len(dict(head.headers)) != len(head.headers):
        _check_repeated(head.headers)
    if connection is not None and connection != b"keep-alive":
        _apply_connection(head, connection)


def _only(before: bytes | None, name: bytes, value: bytes) -> bytes:
    if before is not None:
        raise FramingError(400, name.decode().replace("-", "_"), f"the header {name.decode()} is there twice")
    return value


def _check_repeated(fields: Sequence[Field]) -> None:
    """Lists may be spread over several fields; of what has one value, readers differ on which of two they take."""
    names = [field[0] for field in fields]
    for name in _SINGLE:
        if names.count(name) > 1:
            raise FramingError(400, "duplicate", f"the header {name.decode()} is there twice")


def _check_coding(coding: bytes, length: bytes | None) -> None:
    """A body whose length is not known beforehand is chunked and nothing else (RFC 9112 §6.3)."""
    if length is not None:
        raise FramingError(400, "framing", "the request has both Content-Length and Transfer-Encoding")
    if coding.lower() != b"chunked":
        raise FramingError(400, "transfer_encoding", "the only Transfer-Encoding that is read is chunked, once")


def _apply_connection(head: RequestHead, connection: bytes) -> None:
    options = {option.strip(b" \t") for option in connection.split(b",")}
    head.close = b"close" in options
    head.headers = [field for field in head.headers if field[0] not in options]


def forward_headers(head: RequestHead, drop: frozenset[bytes] = frozenset()) -> Sequence[Field]:
    """The fields to forward, without those in `drop` (lower-case names; for example the client's credentials)."""
    return [field for field in head.headers if field[0] not in drop] if drop else head.headers
