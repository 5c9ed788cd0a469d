"""Chunked bodies: content out, the end found, and nothing else let through."""

from __future__ import annotations

import pytest

from gateway.chunked import ChunkedReader
from gateway.errors import FramingError


def test_content_comes_out_as_it_comes_in() -> None:
    reader = ChunkedReader(trailers=False)
    assert reader.feed(b"5\r\nhel") == b"hel"
    assert reader.feed(b"lo\r\n") == b"lo"
    assert reader.feed(b"") == b""
    assert reader.feed(b"A\r\n0123456789\r\n1\r\n") == b"0123456789"
    assert not reader.ended
    assert reader.feed(b"x\r\n0\r\n\r\n") == b"x"
    assert reader.ended
    assert reader.rest == b""


def test_what_follows_the_end_is_left_alone() -> None:
    reader = ChunkedReader(trailers=False)
    assert reader.feed(b"1\r\nx\r\n000\r\n\r\nGET / HTTP/1.1\r\n") == b"x"
    assert reader.rest == b"GET / HTTP/1.1\r\n"


@pytest.mark.parametrize(
    "line", [b"5;a", b"5;a=b", b"5;a=b;c", b'5;a="x; y"', b'5;a="\\"";b=c', b'5;a=""', b"0005", b"00000000000005"]
)
def test_sizes_and_extensions_of_the_right_form_are_read_over(line: bytes) -> None:
    reader = ChunkedReader(trailers=False)
    assert reader.feed(line + b"\r\nhello\r\n0;last\r\n\r\n") == b"hello"
    assert reader.ended


def test_extensions_are_bounded_over_the_whole_body() -> None:
    reader = ChunkedReader(trailers=False)
    with pytest.raises(FramingError):
        for _ in range(100):
            reader.feed(b"1;a=" + b"b" * 100 + b"\r\nx\r\n")


def test_a_line_that_cannot_become_good_is_refused_before_it_ends() -> None:
    for beginning in (b"g", b" ", b"-", b"5\rx", b"0" * 256):
        with pytest.raises(FramingError):
            ChunkedReader(trailers=False).feed(beginning)


def test_trailers_are_refused_where_they_are_not_expected() -> None:
    reader = ChunkedReader(trailers=False)
    with pytest.raises(FramingError) as refusal:
        reader.feed(b"0\r\nX-Late: 1\r\n\r\n")
    assert refusal.value.code == "trailers"


def test_trailers_of_an_upstream_are_read_over_and_bounded() -> None:
    reader = ChunkedReader(trailers=True)
    assert reader.feed(b"1\r\nx\r\n0\r\nServer-Timing: total;dur=5\r\nX: 1\r\n\r\nrest") == b"x"
    assert (reader.ended, reader.rest) == (True, b"rest")
    reader = ChunkedReader(trailers=True)
    reader.feed(b"0\r\n")
    with pytest.raises(FramingError):
        for _ in range(100):
            reader.feed(b"X: " + b"a" * 200 + b"\r\n")
    with pytest.raises(FramingError):
        ChunkedReader(trailers=True).feed(b"0\r\nX: " + b"a" * 9_000)


def test_quotes_cost_no_more_than_their_length() -> None:
    with pytest.raises(FramingError):
        ChunkedReader(trailers=False).feed(b'5;a="' + b"\\" * 240 + b"\r\n")
