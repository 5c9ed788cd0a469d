"""An upstream's answer, complete only when its framing says so."""

from __future__ import annotations

import pytest

from gateway.answers import AnswerReader
from gateway.errors import FramingError
from gateway.fields import Field
from gateway.settings import Limits

LIMITS = Limits()


def reader(*, for_head: bool = False, limits: Limits = LIMITS) -> AnswerReader:
    return AnswerReader(limits, for_head=for_head)


def said(answer: AnswerReader) -> tuple[int, list[Field], int | None]:
    """Status, headers and length that the head tells."""
    assert answer.head is not None
    return answer.head.status, list(answer.head.headers), answer.head.length


def test_an_answer_with_a_length_is_complete_at_its_last_byte() -> None:
    answer = reader()
    assert answer.feed(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhe") == b"he"
    assert said(answer) == (200, [(b"content-type", b"text/plain")], 5)
    assert not answer.complete
    assert answer.feed(b"llo") == b"llo"
    assert answer.complete
    assert answer.reusable


def test_a_chunked_answer_is_complete_at_its_last_chunk() -> None:
    answer = reader()
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert answer.feed(head + b"3\r\nabc\r\n0\r\n") == b"abc"
    assert not answer.complete
    assert answer.feed(b"\r\n") == b""
    assert answer.complete
    assert said(answer)[2] is None


def test_trailers_reach_nobody() -> None:
    answer = reader()
    answer.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nContent-Length: 9\r\n\r\n")
    assert answer.complete
    assert said(answer)[1] == []


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_that_has_no_body_is_complete_with_its_head(status: int) -> None:
    answer = reader()
    assert answer.feed(b"HTTP/1.1 %d X\r\nContent-Length: 5\r\n\r\n" % status) == b""
    assert answer.complete
    assert answer.reusable


def test_the_answer_to_head_has_a_length_and_no_body() -> None:
    answer = reader(for_head=True)
    answer.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    assert (answer.complete, said(answer)[2], answer.reusable) == (True, 5, True)
    answer = reader(for_head=True)
    answer.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert answer.complete


def test_an_empty_answer_is_complete_with_its_head() -> None:
    answer = reader()
    answer.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert answer.complete


def test_without_framing_the_end_of_the_connection_completes_an_answer() -> None:
    answer = reader()
    assert answer.feed(b"HTTP/1.1 200 OK\r\n\r\nabc") == b"abc"
    assert answer.feed(b"def") == b"def"
    assert not answer.complete
    answer.end()
    assert answer.complete
    assert not answer.reusable


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
def test_an_early_end_is_an_error_and_never_a_shorter_answer(beginning: bytes) -> None:
    answer = reader()
    answer.feed(beginning)
    with pytest.raises(FramingError) as error:
        answer.end()
    assert error.value.code == "truncated"
    assert not answer.complete


def test_interim_answers_are_read_over() -> None:
    answer = reader()
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    answer.feed(b"HTTP/1.1 100 Continue\r\n\r\n" + hints + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert (said(answer), answer.complete) == ((200, [], 0), True)


def test_interim_answers_without_end_and_a_switch_of_protocols_are_refused() -> None:
    for interim in (b"HTTP/1.1 100 Continue\r\n\r\n" * 9, b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\n"):
        with pytest.raises(FramingError) as error:
            reader().feed(interim)
        assert error.value.code == "interim"


@pytest.mark.parametrize(
    ("head", "code"),
    [
        (b"HTTP/2 200\r\n\r\n", "status_line"),
        (b"HTTP/1.1 99 X\r\n\r\n", "status_line"),
        (b"HTTP/1.1 600 X\r\n\r\n", "status_line"),
        (b"HTTP/1.1 2000 X\r\n\r\n", "status_line"),
        (b"HTTP/1.1  200 OK\r\n\r\n", "status_line"),
        (b"ICY 200 OK\r\n\r\n", "status_line"),
        (b"<html>\r\n\r\n", "status_line"),
        (b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", "bare_lf"),
        (b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n", "bare_cr"),
        (b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n", "control_byte"),
        (b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n", "obs_fold"),
        (b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n", "field_name"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", "duplicate"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", "content_length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "content_length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "transfer_encoding"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "transfer_encoding"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n", "transfer_encoding"),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "transfer_encoding"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 101 + b"\r\n", "header_count"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 40_000 + b"\r\n\r\n", "head"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 40_000, "head"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "chunk_size"),
    ],
)
def test_a_malformed_answer_is_refused(head: bytes, code: str) -> None:
    with pytest.raises(FramingError) as error:
        reader().feed(head)
    assert error.value.code == code


def test_hop_by_hop_fields_and_the_gateways_own_do_not_reach_the_client() -> None:
    answer = reader()
    answer.feed(
        b"HTTP/1.1 200 OK\r\nConnection: X-Internal\r\nX-Internal: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: h2\r\n"
        b"Proxy-Authenticate: x\r\nTrailer: x\r\nX-Cordon-Decision: allowed\r\nX-Kept: 1\r\nContent-Length: 0\r\n\r\n"
    )
    assert said(answer)[1] == [(b"x-kept", b"1")]


@pytest.mark.parametrize(
    ("head", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: x, close\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nmore", False),
    ],
)
def test_a_connection_is_used_again_only_when_nothing_speaks_against_it(head: bytes, reusable: bool) -> None:
    answer = reader()
    answer.feed(head)
    assert (answer.complete, answer.reusable) == (True, reusable)


def test_what_follows_an_answer_is_not_part_of_it() -> None:
    answer = reader()
    assert answer.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabHTTP/1.1 500 X\r\n\r\n") == b"ab"
    assert not answer.reusable


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (b"timeout=5, max=100", 5),
        (b"max=1, Timeout=7", 7),
        (b"timeout=x", None),
        (b"timeout=99999999", None),
        (b"", None),
    ],
)
def test_the_upstreams_idle_time_is_read(value: bytes, hint: int | None) -> None:
    answer = reader()
    answer.feed(b"HTTP/1.1 200 OK\r\nKeep-Alive: " + value + b"\r\nContent-Length: 0\r\n\r\n")
    assert answer.head is not None
    assert answer.head.idle_hint == hint
