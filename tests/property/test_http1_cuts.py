"""Promise: the bytes decide, not the cut in which they come; and whatever comes, the reader refuses or reads."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.answers import AnswerReader
from gateway.chunked import ChunkedReader
from gateway.errors import FramingError
from gateway.http1 import RequestReader
from gateway.settings import Limits
from tests.support.requests import read_all

LIMITS = Limits(request_line=256, header_line=256, headers=1_024, header_count=12, body=1_024)

TOKENS = st.sampled_from(
    [
        b"GET ", b"POST ", b"/", b"/a%2Fb", b"/a/../b", b"?q=%zz", b" HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\n", b"\r",
        b" ", b"\t", b":", b"Host: a\r\n", b"Host: [::1]:80\r\n", b"Content-Length: 3\r\n", b"Content-Length: 0\r\n",
        b"\0", b"\xff", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Expect: 100-continue\r\n",
        b"X-Cordon-Key: k\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n", b"0\r\n", b"1;a=b\r\n", b"abc",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        b"a" * 300, b"X: " + b"a" * 250 + b"\r\n", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    ]
)  # fmt: skip
TALK = st.lists(TOKENS | st.binary(max_size=4), max_size=14).map(b"".join)
ANSWERS = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 204 \r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"\r\n",
        b"\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"3\r\nabc\r\n",
        b"Keep-Alive: timeout=5\r\n", b"0\r\n", b"X-After: 1\r\n", b"abc", b"\0", b" ", b":", b"HTTP/1.1 999 X\r\n",
        b"a" * 600,
    ]
)  # fmt: skip
ANSWER_TALK = st.lists(ANSWERS | st.binary(max_size=4), max_size=14).map(b"".join)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The pieces of `data` between these places."""
    bounds = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(bounds)]


@given(TALK, st.lists(st.integers(0, 10_000), max_size=12))
@settings(max_examples=600, deadline=None)
@example(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 2_000, [1_283, 1_284, 1_285])
@example(b"\r\n\r\n\r\n", [1, 2, 3, 4, 5])
def test_requests_are_read_the_same_in_any_cut(data: bytes, places: list[int]) -> None:
    whole = read_all([data], LIMITS)
    assert read_all(cut(data, places), LIMITS) == whole
    assert read_all([data[index : index + 1] for index in range(len(data))], LIMITS) == whole


@given(st.lists(st.binary(max_size=400), max_size=30))
@settings(max_examples=300, deadline=None)
def test_a_request_reader_holds_no_more_than_its_limits(pieces: list[bytes]) -> None:
    reader = RequestReader(LIMITS)
    bound = LIMITS.request_line + LIMITS.headers + LIMITS.body + 400 + 8
    try:
        for piece in pieces:
            reader.feed(piece)
            while reader.read_head() is not None:
                reader.allow_body(LIMITS.body)
                if reader.read_body() is None:
                    break
            assert reader.buffered <= bound
    except FramingError as error:
        assert 400 <= error.status < 600


HEADS = st.sampled_from(
    [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3 \r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 3\r\nX: 1\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 3\r\nX: 2\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 3\r\nContent-Length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nCONTENT-LENGTH: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Content-Length: 3\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: b\r\n\r\n",
    ]
)


@given(st.lists(HEADS, min_size=1, max_size=12))
@settings(max_examples=400, deadline=None)
def test_what_a_connection_remembers_of_its_last_head_changes_nothing(requests: list[bytes]) -> None:
    together = read_all(requests, LIMITS)
    expected = []
    for request in requests:
        alone = read_all([request], LIMITS)
        expected += alone.requests
        if alone.refusal is not None:
            assert together.refusal == alone.refusal
            break
    else:
        assert together.refusal is None
    assert together.requests == expected


def read_answer(pieces: list[bytes], *, for_head: bool) -> tuple[object, ...]:
    reader = AnswerReader(LIMITS, for_head=for_head)
    content = b""
    try:
        for piece in pieces:
            if reader.complete:
                break
            content += reader.feed(piece)
    except FramingError as error:
        return "refused", error.code
    head = reader.head
    return head and (head.status, head.headers, head.length), content, reader.complete


@given(ANSWER_TALK, st.lists(st.integers(0, 10_000), max_size=12), st.booleans())
@settings(max_examples=600, deadline=None)
def test_answers_are_read_the_same_in_any_cut(data: bytes, places: list[int], for_head: bool) -> None:
    whole = read_answer([data], for_head=for_head)
    assert read_answer(cut(data, places), for_head=for_head) == whole
    assert read_answer([data[index : index + 1] for index in range(len(data))], for_head=for_head) == whole


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=12), st.lists(st.integers(0, 10_000), max_size=20))
@settings(max_examples=300, deadline=None)
def test_what_is_chunked_comes_out_as_it_went_in(chunks: list[bytes], places: list[int]) -> None:
    coded = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\nrest"
    reader = ChunkedReader(trailers=False)
    content, rest = b"", b""
    for piece in cut(coded, places):
        if reader.ended:
            rest += piece
        else:
            content += reader.feed(piece)
            rest += reader.rest
    assert content == b"".join(chunks)
    assert (reader.ended, rest) == (True, b"rest")
