"""Each kind of malformed request, refused with its status and code, whole and byte by byte alike."""

from __future__ import annotations

import pytest

from gateway.settings import Limits
from tests.support.requests import Read, read_all

LIMITS = Limits()
HOST = b"Host: a\r\n"
END = b"\r\n\r\n"


def get(*lines: bytes) -> bytes:
    """A request whose Host is followed by these lines."""
    return b"GET / HTTP/1.1\r\n" + HOST + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def chunked(body: bytes) -> bytes:
    """A request with this as its chunked body, framing included."""
    return b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + body


MALFORMED: dict[str, tuple[bytes, int, str]] = {
    # Request line
    "empty request line": (b"\r\n" * 3 + get(), 400, "request_line"),
    "HTTP/0.9": (b"GET /" + END, 400, "request_line"),
    "no version": (b"GET / \r\n" + HOST + b"\r\n", 400, "request_line"),
    "HTTP/1.0": (b"GET / HTTP/1.0\r\n" + HOST + b"\r\n", 505, "version"),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505, "version"),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version"),
    "HTTP/1.10": (b"GET / HTTP/1.10\r\n" + HOST + b"\r\n", 505, "version"),
    "lower-case version": (b"GET / http/1.1\r\n" + HOST + b"\r\n", 400, "request_line"),
    "two blanks": (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", 400, "request_line"),
    "blank in the target": (b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n", 400, "request_line"),
    "tab between": (b"GET\t/ HTTP/1.1\r\n" + HOST + b"\r\n", 400, "request_line"),
    "blank at the beginning": (b" GET / HTTP/1.1\r\n" + HOST + b"\r\n", 400, "request_line"),
    "blank at the end": (b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n", 400, "request_line"),
    "method with a colon": (b"GET: / HTTP/1.1\r\n" + HOST + b"\r\n", 400, "method"),
    "lower-case method": (b"delete / HTTP/1.1\r\n" + HOST + b"\r\n", 400, "method"),
    "overlong method": (b"G" * 25 + b" / HTTP/1.1\r\n" + HOST + b"\r\n", 400, "method"),
    "non-ASCII method": (b"G\xc9T / HTTP/1.1\r\n" + HOST + b"\r\n", 400, "method"),
    "tunnel": (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405, "method"),
    "trace": (b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n", 405, "method"),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", 400, "target"),
    "relative target": (b"GET a HTTP/1.1\r\n" + HOST + b"\r\n", 400, "target"),
    "fragment": (b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n", 400, "path"),
    "raw non-ASCII target": (b"GET /\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n", 400, "path"),
    # Lines and bytes
    "bare LF": (b"GET / HTTP/1.1\nHost: a\n\n", 400, "bare_lf"),
    "bare LF within": (get(b"X: 1\nY: 2"), 400, "bare_lf"),
    "bare CR within": (get(b"X: 1\rY: 2"), 400, "bare_cr"),
    "CR CR LF": (get(b"X: 1\r"), 400, "bare_cr"),
    "NUL in a value": (get(b"X: a\0b"), 400, "control_byte"),
    "bell in a value": (get(b"X: a\x07b"), 400, "control_byte"),
    "DEL in a value": (get(b"X: a\x7fb"), 400, "control_byte"),
    "NUL in the method": (b"G\0T / HTTP/1.1\r\n" + HOST + b"\r\n", 400, "control_byte"),
    "TLS on the plain port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "control_byte"),
    # Field lines
    "line folding": (get(b"X: 1", b" more"), 400, "obs_fold"),
    "line folding by tab": (get(b"X: 1", b"\tmore: x"), 400, "obs_fold"),
    "folding of the first field": (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "obs_fold"),
    "blank before the colon": (get(b"Content-Length : 5"), 400, "field_name"),
    "tab before the colon": (get(b"Transfer-Encoding\t: chunked"), 400, "field_name"),
    "no colon": (get(b"Accept"), 400, "field_line"),
    "no name": (get(b": x"), 400, "field_name"),
    "blank in a name": (get(b"X Y: 1"), 400, "field_name"),
    "non-ASCII name": (get(b"Transfer\xe9Encoding: chunked"), 400, "field_name"),
    "parenthesis in a name": (get(b"X(Y): 1"), 400, "field_name"),
    "underscore in a name": (get(b"Content_Length: 5"), 400, "field_name"),
    "underscore in an unknown name": (get(b"X_Y: 5"), 400, "field_name"),
    # Host
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400, "host"),
    "two Hosts": (get(b"Host: b"), 400, "host"),
    "the same Host twice": (get(b"Host: a"), 400, "host"),
    "empty Host": (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, "host"),
    "two names in Host": (b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400, "host"),
    "path in Host": (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "host"),
    "user in Host": (b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400, "host"),
    # Body framing
    "two lengths": (get(b"Content-Length: 0", b"Content-Length: 0"), 400, "content_length"),
    "list of lengths": (get(b"Content-Length: 5, 5"), 400, "content_length"),
    "signed length": (get(b"Content-Length: +5"), 400, "content_length"),
    "negative length": (get(b"Content-Length: -1"), 400, "content_length"),
    "hexadecimal length": (get(b"Content-Length: 0x5"), 400, "content_length"),
    "length with a blank": (get(b"Content-Length: 4 2"), 400, "content_length"),
    "length with an underscore": (get(b"Content-Length: 1_0"), 400, "content_length"),
    "empty length": (get(b"Content-Length:"), 400, "content_length"),
    "length in other digits": (get("Content-Length: ٣".encode()), 400, "content_length"),
    "endless length": (get(b"Content-Length: " + b"9" * 19), 400, "content_length"),
    "length over the limit": (get(b"Content-Length: 999999999999"), 413, "body"),
    "length and coding": (get(b"Content-Length: 3", b"Transfer-Encoding: chunked"), 400, "framing"),
    "coding and length": (get(b"Transfer-Encoding: chunked", b"Content-Length: 3"), 400, "framing"),
    "two codings": (get(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), 400, "transfer_encoding"),
    "coding list": (get(b"Transfer-Encoding: gzip, chunked"), 400, "transfer_encoding"),
    "coding identity": (get(b"Transfer-Encoding: identity"), 400, "transfer_encoding"),
    "coding with a prefix": (get(b"Transfer-Encoding: xchunked"), 400, "transfer_encoding"),
    "coding in quotes": (get(b'Transfer-Encoding: "chunked"'), 400, "transfer_encoding"),
    "coding with a vertical tab": (get(b"Transfer-Encoding: \x0bchunked"), 400, "control_byte"),
    "coding with a no-break space": (get(b"Transfer-Encoding: \xa0chunked"), 400, "transfer_encoding"),
    "empty coding": (get(b"Transfer-Encoding:"), 400, "transfer_encoding"),
    # Chunks
    "chunk size with a sign": (chunked(b"+5\r\nhello\r\n0\r\n\r\n"), 400, "chunk_size"),
    "negative chunk size": (chunked(b"-5\r\nhello\r\n0\r\n\r\n"), 400, "chunk_size"),
    "chunk size with 0x": (chunked(b"0x5\r\nhello\r\n0\r\n\r\n"), 400, "chunk_size"),
    "chunk size with an underscore": (chunked(b"0_5\r\nhello\r\n0\r\n\r\n"), 400, "chunk_size"),
    "chunk size with a blank": (chunked(b"5 \r\nhello\r\n0\r\n\r\n"), 400, "chunk_size"),
    "chunk size after a blank": (chunked(b" 5\r\nhello\r\n0\r\n\r\n"), 400, "chunk_size"),
    "no chunk size": (chunked(b"\r\nhello\r\n0\r\n\r\n"), 400, "chunk_size"),
    "chunk size beyond reason": (chunked(b"f" * 16 + b"\r\n"), 400, "chunk_size"),
    "overlong chunk size": (chunked(b"0" * 300 + b"5\r\nhello\r\n0\r\n\r\n"), 400, "chunk_size"),
    "chunk size line ends in LF": (chunked(b"5\nhello\r\n0\r\n\r\n"), 400, "chunk_size"),
    "bare CR in a size line": (chunked(b"5\r\r\nhello\r\n0\r\n\r\n"), 400, "chunk_size"),
    "bare CR in an extension": (chunked(b"5;a=\rb\r\nhello\r\n0\r\n\r\n"), 400, "chunk_size"),
    "extension without a name": (chunked(b"5;\r\nhello\r\n0\r\n\r\n"), 400, "chunk_size"),
    "extension with an open quote": (chunked(b'5;a="b\r\nhello\r\n0\r\n\r\n'), 400, "chunk_size"),
    "overlong extension": (chunked(b"5;a=" + b"b" * 300 + b"\r\nhello\r\n0\r\n\r\n"), 400, "chunk_size"),
    "many extensions": (chunked((b"1;a=" + b"b" * 200 + b"\r\nx\r\n") * 30), 400, "chunk_size"),
    "chunk longer than its size": (chunked(b"5\r\nhello!\r\n0\r\n\r\n"), 400, "chunk_end"),
    "chunk ended by LF": (chunked(b"5\r\nhello\n0\r\n\r\n"), 400, "chunk_end"),
    "trailer": (chunked(b"5\r\nhello\r\n0\r\nX-After: 1\r\n\r\n"), 400, "trailers"),
    "trailer that frames": (chunked(b"0\r\nContent-Length: 99\r\n\r\n"), 400, "trailers"),
    # Two readings
    "two credentials": (get(b"Authorization: Bearer a", b"Authorization: Bearer b"), 400, "duplicate"),
    "two API keys": (get(b"X-Api-Key: a", b"x-api-key: a"), 400, "duplicate"),
    "two content types": (get(b"Content-Type: text/plain", b"Content-Type: application/json"), 400, "duplicate"),
    "two content codings": (get(b"Content-Encoding: gzip", b"Content-Encoding: br"), 400, "duplicate"),
    "another method in a header": (get(b"X-HTTP-Method-Override: DELETE"), 400, "override"),
    "another path in a header": (get(b"X-Original-URL: /admin"), 400, "override"),
    # Limits
    "request line over its limit": (b"GET /" + b"a" * 8192 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414, "request_line"),
    "header line over its limit": (get(b"X: " + b"a" * 8192), 431, "header_line"),
    "too many headers": (get(*[b"X: 1"] * 100), 431, "header_count"),
    "head over its limit": (get(*[b"X: " + b"a" * 8000] * 6), 431, "head"),
    "head without an end": (b"GET / HTTP/1.1\r\nX: " + b"a" * 50_000, 431, "head"),
    "unknown expectation": (get(b"Expect: something"), 417, "expect"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_request_is_refused_the_same_in_any_cut(name: str) -> None:
    raw, status, code = MALFORMED[name]
    expected = Read([], (status, code), 0)
    assert read_all([raw], LIMITS) == expected
    assert read_all([raw[index : index + 1] for index in range(len(raw))], LIMITS) == expected
    assert read_all([raw[index : index + 7] for index in range(0, len(raw), 7)], LIMITS) == expected


@pytest.mark.parametrize("name", MALFORMED)
def test_nothing_after_a_malformed_request_is_read(name: str) -> None:
    raw = MALFORMED[name][0]
    good = b"GET /before HTTP/1.1\r\nHost: a\r\n\r\n"
    read = read_all([good + raw + b"GET /after HTTP/1.1\r\nHost: a\r\n\r\n"], LIMITS)
    assert [request[1] for request in read.requests] == [b"/before"]
    assert read.refusal is not None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"G",
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell",
        chunked(b""),
        chunked(b"5"),
        chunked(b"5\r\nhello"),
        chunked(b"5\r\nhello\r"),
        chunked(b"5\r\nhello\r\n0\r\n"),
        chunked(b"5\r\nhello\r\n0\r\n\r"),
    ],
)
def test_an_unfinished_request_is_neither_taken_nor_refused(raw: bytes) -> None:
    read = read_all([raw], LIMITS)
    assert read.requests == []
    assert read.refusal is None
    assert read == read_all([raw[index : index + 1] for index in range(len(raw))], LIMITS)
