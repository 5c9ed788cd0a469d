"""Events are read as the specification says, for any cut of the bytes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.content import sse
from gateway.content.errors import ContentError
from tests.support.content import bytewise, cut_bytes


def events(*chunks: bytes) -> list[tuple[str, bytes | None, str | None]]:
    parser = sse.EventParser()
    found = [event for chunk in chunks for event in parser.feed(chunk)]
    found += parser.end()
    return [(event.name, event.data, event.id) for event in found]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"data: x\n\n", [("", b"x", None)]),
        (b"data:x\n\n", [("", b"x", None)]),
        (b"data:  x\n\n", [("", b" x", None)]),
        (b"data: a\ndata: b\n\n", [("", b"a\nb", None)]),
        (b"data\n\n", [("", b"", None)]),
        (b"event: e\nid: 7\ndata: x\n\n", [("e", b"x", "7")]),
        (b"data: x\r\n\r\ndata: y\r\rdata: z\n\n", [("", b"x", None), ("", b"y", None), ("", b"z", None)]),
        (b"\xef\xbb\xbfdata: x\n\n", [("", b"x", None)]),
        (b"\n\n\ndata: x\n\n\n\n", [("", b"x", None)]),
        (b": ping\n\ndata: x\n\n", [("ping", None, None), ("", b"x", None)]),
        (b": secret a@b.org 4111\n\n", [("", None, None)]),
        (b"event: only\n\n", []),
        (b"retry: 5\nunknown: z\nDATA: q\ndata: x\n\n", [("", b"x", None)]),
        (b"data: unfinished", []),
        (b"data: unfinished\n", []),
        (b"data: x\r\r", [("", b"x", None)]),
        (b"id: a\x00b\ndata: x\n\n", [("", b"x", None)]),
    ],
)
def test_events_are_read_whole_and_byte_by_byte(
    data: bytes, expected: list[tuple[str, bytes | None, str | None]]
) -> None:
    assert events(data) == expected
    assert events(*bytewise(data)) == expected


@given(
    st.lists(
        st.sampled_from(
            [b"\n", b"\r", b"\r\n", b"data: x", b"data", b"event: e", b": c", b"id: 1", b"\xef\xbb\xbf", b"z"]
        ),
        max_size=40,
    ),
    st.randoms(),
)
def test_any_cut_gives_the_same_events(parts: list[bytes], rng: random.Random) -> None:
    data = b"".join(parts)
    try:
        whole = events(data)
    except ContentError:
        return
    assert events(*cut_bytes(rng, data, 10)) == whole
    assert events(*bytewise(data)) == whole


@given(st.binary(max_size=200))
def test_any_bytes_give_events_or_a_content_error(data: bytes) -> None:
    try:
        events(*bytewise(data))
    except ContentError as error:
        assert error.code in ("malformed", "encoding", "too_large")


@pytest.mark.parametrize("size", [1, 1000, 100_000])
def test_an_event_that_is_too_large_is_refused_in_any_cut(size: int) -> None:
    for data in (b"data: " + b"x" * 20_000 + b"\n\n", b"data: " + b"x" * 20_000, b"x" * 20_000):
        parser = sse.EventParser(limit=10_000)
        with pytest.raises(ContentError) as error:
            for start in range(0, len(data), size):
                parser.feed(data[start : start + size])
        assert error.value.code == "too_large"


@pytest.mark.parametrize(
    "data",
    [
        b"event: a@b.org\ndata: x\n\n",
        b"id: \xc3\xa9\ndata: x\n\n",
        b"event: \xff\ndata: x\n\n",
        b"id: " + b"1" * 300 + b"\ndata: x\n\n",
    ],
)
def test_names_and_ids_that_are_not_plain_are_refused(data: bytes) -> None:
    with pytest.raises(ContentError):
        events(data)


def test_being_clean_says_that_nothing_is_left() -> None:
    parser = sse.EventParser()
    assert parser.clean
    parser.feed(b"data: x\n")
    assert not parser.clean
    parser.feed(b"\n\n")
    assert parser.clean


@given(
    st.binary(max_size=30).filter(lambda data: b"\r" not in data),
    st.sampled_from(["", "name"]),
    st.sampled_from([None, "7"]),
)
def test_what_is_written_reads_the_same(data: bytes, name: str, identifier: str | None) -> None:
    assert events(sse.write(name, data, identifier)) == [(name, data, identifier)]


def test_comments_are_written() -> None:
    assert events(sse.write_comment("ping") + sse.write_comment("")) == [("ping", None, None), ("", None, None)]


def test_text_must_be_utf8() -> None:
    assert sse.text_of("é".encode()) == "é"
    with pytest.raises(ContentError):
        sse.text_of(b"\xe9")


def test_lines_are_read_in_any_cut() -> None:
    data = b'{"a":1}\r\n\n{"b":2}\n{"c":3}'
    for chunks in ([data], bytewise(data)):
        parser = sse.LineParser()
        found = [event.data for chunk in chunks for event in parser.feed(chunk)]
        assert found + [event.data for event in parser.end()] == [b'{"a":1}', b'{"b":2}', b'{"c":3}']
    small = sse.LineParser(limit=5)
    with pytest.raises(ContentError):
        small.feed(b"123456")
    with pytest.raises(ContentError):
        sse.LineParser(limit=5).feed(b"123456\n")
