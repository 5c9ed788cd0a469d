"""The request reader as a dialogue: bytes in, heads and bodies out."""

from __future__ import annotations

import pytest

from gateway.errors import FramingError
from gateway.http1 import RequestReader
from gateway.request_head import RequestHead, forward_headers, parse_head
from gateway.settings import Limits

LIMITS = Limits()


def reader_with(data: bytes, limits: Limits = LIMITS) -> RequestReader:
    reader = RequestReader(limits)
    reader.feed(data)
    return reader


def head_of(*lines: str, line: str = "GET /v1/models HTTP/1.1", host: str = "Host: gateway.example") -> RequestHead:
    return parse_head("\r\n".join((line, host, *lines)).encode("latin-1"), LIMITS)


def test_a_request_without_a_body_is_a_head_and_an_empty_body() -> None:
    reader = reader_with(b"GET /v1/models?limit=2 HTTP/1.1\r\nHost: Gateway.Example:8080\r\nAccept: */*\r\n\r\n")
    head = reader.read_head()
    assert head is not None
    assert (head.method, head.path, head.query, head.target) == ("GET", "/v1/models", "limit=2", b"/v1/models?limit=2")
    assert (head.host, head.port) == ("gateway.example", 8080)
    assert head.headers == [(b"accept", b"*/*")]
    assert not head.has_body
    reader.allow_body(0)
    assert reader.read_body() == b""
    assert reader.read_head() is None


def test_a_body_with_a_length_is_read_whole_whatever_the_cut() -> None:
    reader = reader_with(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe")
    assert reader.read_head() is not None
    reader.allow_body(5)
    assert reader.read_body() is None
    reader.feed(b"ll")
    assert reader.read_body() is None
    assert reader.buffered == 4
    reader.feed(b"oGET")
    assert reader.read_body() == b"hello"
    assert reader.buffered == 3


def test_a_chunked_body_is_read_whole() -> None:
    reader = reader_with(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n"
    )
    head = reader.read_head()
    assert head is not None
    assert head.length is None
    assert head.has_body
    reader.allow_body(100)
    assert reader.read_body() is None
    reader.feed(b"0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert reader.read_body() == b"hello world"
    assert reader.read_head() is not None


def test_pipelined_requests_come_out_in_order() -> None:
    one = b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n%d"
    reader = reader_with(b"".join(one % (number, number) for number in range(4)))
    seen = []
    while (head := reader.read_head()) is not None:
        reader.allow_body(1)
        seen.append((head.path, reader.read_body()))
    assert seen == [("/0", b"0"), ("/1", b"1"), ("/2", b"2"), ("/3", b"3")]


def test_two_empty_lines_before_a_request_line_are_read_over_and_no_more() -> None:
    request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    assert reader_with(b"\r\n\r\n" + request).read_head() is not None
    with pytest.raises(FramingError):
        reader_with(b"\r\n\r\n\r\n" + request).read_head()


def test_a_declared_length_over_the_limit_is_refused_before_the_body_is_read() -> None:
    reader = reader_with(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n")
    reader.read_head()
    with pytest.raises(FramingError) as refusal:
        reader.allow_body(100)
    assert refusal.value.status == 413


def test_a_chunked_body_over_the_limit_is_refused_as_soon_as_it_is() -> None:
    reader = reader_with(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" + b"x" * 101)
    reader.read_head()
    reader.allow_body(100)
    with pytest.raises(FramingError) as refusal:
        reader.read_body()
    assert refusal.value.status == 413


def test_an_absolute_target_is_brought_into_origin_form() -> None:
    head = head_of(line="GET HTTPS://Gateway.Example/a?b HTTP/1.1")
    assert (head.target, head.path, head.query) == (b"/a?b", "/a", "b")
    assert head_of(line="GET http://gateway.example HTTP/1.1").target == b"/"
    assert head_of(line="GET http://gateway.example?q HTTP/1.1").target == b"/?q"


@pytest.mark.parametrize(
    "target",
    [
        "http://other.example/",
        "http://gateway.example:81/",
        "http://user@gateway.example/",
        "http://user:secret@gateway.example/",
        "http:///",
        "http://gateway.example#x",
        "ftp://gateway.example/",
        "gateway.example:443",
        "*",
        "v1/models",
        "//gateway.example/x",
    ],
)
def test_a_target_that_names_another_host_or_has_another_form_is_refused(target: str) -> None:
    with pytest.raises(FramingError) as refusal:
        head_of(line=f"GET {target} HTTP/1.1")
    assert refusal.value.status == 400


def test_hop_by_hop_fields_do_not_reach_the_upstream() -> None:
    head = head_of(
        "Connection: keep-alive, X-Private",
        "X-Private: 1",
        "Keep-Alive: timeout=5",
        "Proxy-Authorization: Basic x",
        "Proxy-Connection: close",
        "TE: trailers",
        "Trailer: X-After",
        "Accept-Encoding: gzip",
        "X-Kept: yes",
    )
    assert forward_headers(head) == [(b"x-kept", b"yes")]


def test_an_upgrade_is_ignored_and_the_body_still_read() -> None:
    reader = reader_with(
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABk\r\nContent-Length: 4\r\n\r\nbody"
    )
    head = reader.read_head()
    assert head is not None
    assert forward_headers(head) == []
    reader.allow_body(4)
    assert reader.read_body() == b"body"


def test_a_connection_option_cannot_remove_what_frames_the_message() -> None:
    reader = reader_with(
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: content-length, host\r\nContent-Length: 4\r\n\r\nbody"
    )
    head = reader.read_head()
    assert head is not None
    assert (head.length, head.host) == (4, "a")


def test_the_gateways_own_fields_are_set_apart_and_never_forwarded() -> None:
    head = head_of("x-cordon-key: cordon_x", "X-Cordon-Decision: allowed", "x-kept: 1")
    assert head.cordon == ((b"x-cordon-key", b"cordon_x"), (b"x-cordon-decision", b"allowed"))
    assert forward_headers(head) == [(b"x-kept", b"1")]


def test_what_a_client_says_of_earlier_proxies_is_not_passed_on() -> None:
    head = head_of("X-Forwarded-For: 127.0.0.1", "Forwarded: for=10.0.0.1", "X-Real-IP: ::1", "X-Forwarded-Host: admin")
    assert forward_headers(head) == []


def test_credentials_are_left_out_where_the_handler_says_so() -> None:
    head = head_of("Authorization: Bearer x", "x-api-key: y", "accept: */*")
    assert forward_headers(head, frozenset((b"authorization", b"x-api-key"))) == [(b"accept", b"*/*")]


def test_values_keep_their_bytes_and_lose_the_blanks_around_them() -> None:
    head = head_of("Name: \t value\twith  blanks \t ", "X-Latin: caf\xe9", "X-Empty:", "X.Odd|Name: ok")
    assert head.headers == [
        (b"name", b"value\twith  blanks"),
        (b"x-latin", b"caf\xe9"),
        (b"x-empty", b""),
        (b"x.odd|name", b"ok"),
    ]
    assert head.value(b"name") == b"value\twith  blanks"
    assert head.value(b"absent") == b""


def test_a_remembered_line_is_read_as_at_first() -> None:
    first = head_of("Accept: text/plain", "User-Agent:  probe ")
    again = head_of("Accept: text/plain", "User-Agent:  probe ")
    assert first.headers == again.headers == [(b"accept", b"text/plain"), (b"user-agent", b"probe")]


@pytest.mark.parametrize("value", ["close", "Close", "keep-alive, close", "close, x-foo"])
def test_a_client_that_closes_is_understood(value: str) -> None:
    assert head_of(f"Connection: {value}").close


def test_a_client_that_does_not_close_keeps_its_connection() -> None:
    assert not head_of().close
    assert not head_of("Connection: keep-alive").close


def test_an_expectation_of_100_is_seen_and_any_other_refused() -> None:
    assert head_of("Expect: 100-Continue").expects
    with pytest.raises(FramingError) as refusal:
        head_of("Expect: 200-maybe")
    assert refusal.value.status == 417


@pytest.mark.parametrize("method", ["PROPFIND", "M-SEARCH", "PURGE"])
def test_uncommon_methods_pass(method: str) -> None:
    assert head_of(line=f"{method} / HTTP/1.1").method == method


@pytest.mark.parametrize("name", ["Set-Thing", "accept", "cache-control"])
def test_lists_may_be_spread_over_several_fields(name: str) -> None:
    assert len(head_of(f"{name}: a", f"{name}: b").headers) == 2


def test_a_repeated_head_is_another_head_with_its_own_length() -> None:
    request = b"POST /a?b HTTP/1.1\r\nHost: a:1\r\nX-Cordon-Key: k\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
    reader = reader_with(request % (3, b"abc") + request % (5, b"defgh"))
    heads = []
    for body in (b"abc", b"defgh"):
        head = reader.read_head()
        assert head is not None
        reader.allow_body(5)
        assert reader.read_body() == body
        heads.append(head)
    first, second = heads
    assert first is not second
    assert (first.length, second.length) == (3, 5)
    for name in RequestHead.__slots__:
        assert name == "length" or getattr(first, name) == getattr(second, name)


def test_no_word_of_the_client_on_certificates_is_kept() -> None:
    names = (
        "client-cert", "client-cert-chain", "x-forwarded-client-cert", "x-forwarded-tls-client-cert",
        "X-Forwarded-Tls-Client-Cert-Info", "X-ARR-ClientCert", "X-SSL-Client-Verify", "X-SSL-Client-S-DN",
        "ssl-client-subject-dn", "X-Amzn-Mtls-Clientcert-Subject", "x-client-cert-spiffe",
    )  # fmt: skip
    fields = "".join(f"{name}: CN=admin\r\n" for name in names)
    reader = RequestReader(Limits())
    reader.feed(f"GET / HTTP/1.1\r\nHost: a.example\r\nAccept: a\r\n{fields}\r\n".encode())
    head = reader.read_head()
    assert head is not None
    assert head.headers == [(b"accept", b"a")]
