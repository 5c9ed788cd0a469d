"""The frames between the log writer and its clients."""

from __future__ import annotations

import pytest

from lineage import wire
from lineage.wire import Decoder, WireError


def frames(data: bytes, limit: int = 1_000_000) -> list[tuple[int, bytes]]:
    return Decoder(limit).feed(data)


def test_a_frame_is_length_type_payload() -> None:
    assert wire.frame(7, b"abc") == b"\x00\x00\x00\x03\x07abc"
    assert frames(b"\x00\x00\x00\x03\x07abc\x00\x00\x00\x00\x08") == [(7, b"abc"), (8, b"")]


def test_a_hello_carries_what_the_client_wants() -> None:
    [(kind, payload)] = frames(wire.hello(wire.WANTS_CONTROL | wire.WANTS_SIZE))
    assert kind == wire.HELLO
    assert wire.parse_hello(payload) == 3


@pytest.mark.parametrize("payload", [b"", b"\x00\x01", b"\x00\x01\x00\x00"])
def test_a_malformed_hello_is_refused(payload: bytes) -> None:
    with pytest.raises(WireError):
        wire.parse_hello(payload)


def test_another_version_is_refused_and_named() -> None:
    with pytest.raises(WireError, match="version 2"):
        wire.parse_hello(b"\x00\x02\x00")


@pytest.mark.parametrize("side", [None, b"", b"s", b"s" * 100_000])
def test_an_append_comes_back(side: bytes | None) -> None:
    [(kind, payload)] = frames(wire.append(b"record", side))
    assert wire.parse_append(kind, payload) == (b"record", side)


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (wire.APPEND, b""),
        (wire.APPEND, b"x" * 65_536),
        (wire.APPEND_SIDE, b""),
        (wire.APPEND_SIDE, b"\x00\x00\x00"),
        (wire.APPEND_SIDE, b"\x00\x00\x00\x00side"),
        (wire.APPEND_SIDE, b"\x00\x00\x00\x05reco"),
        (wire.APPEND_SIDE, b"\xff\xff\xff\xffrecord"),
        (wire.ACK, b"record"),
        (wire.HELLO, b"\x00\x01\x00"),
        (99, b"record"),
    ],
)
def test_a_malformed_append_is_refused(kind: int, payload: bytes) -> None:
    with pytest.raises(WireError):
        wire.parse_append(kind, payload)


def test_a_welcome_comes_back() -> None:
    [(kind, payload)] = frames(wire.welcome(2**40, b"{}"))
    assert kind == wire.WELCOME
    assert wire.parse_welcome(payload) == (2**40, b"{}")


def test_control_records_come_back_with_their_indexes() -> None:
    entries = [(5, b"one"), (2**40, b""), (6, b"three")]
    [(kind, payload)] = frames(wire.control(entries))
    assert kind == wire.CONTROL
    assert wire.parse_control(payload) == entries


@pytest.mark.parametrize("cut", [1, 11, 12, 14])
def test_a_cut_control_frame_is_refused(cut: int) -> None:
    payload = wire.control([(5, b"one")])[5:]
    with pytest.raises(WireError):
        wire.parse_control(payload[:cut])


def test_an_acknowledgement_comes_back() -> None:
    [(kind, payload)] = frames(wire.ack(2**33, 17, 2**34))
    assert kind == wire.ACK
    assert wire.parse_ack(payload) == (2**33, 17, 2**34)


def test_a_refusal_comes_back_with_its_reason_cut_to_a_bound() -> None:
    [(kind, payload)] = frames(wire.refused(3, 4, "the disk is full"))
    assert kind == wire.REFUSED
    assert wire.parse_refused(payload) == (3, 4, "the disk is full")
    [(_, payload)] = frames(wire.refused(3, 4, "ä" * 5_000))
    assert len(payload) < 1_100
    assert wire.parse_refused(payload)[2].startswith("ä" * 499)


def test_a_size_comes_back() -> None:
    [(kind, payload)] = frames(wire.size(2**50))
    assert kind == wire.SIZE
    assert wire.parse_size(payload) == 2**50


@pytest.mark.parametrize(
    "parse", [wire.parse_welcome, wire.parse_ack, wire.parse_refused, wire.parse_size], ids=lambda parse: parse.__name__
)
@pytest.mark.parametrize("payload", [b"", b"\x00" * 7])
def test_a_cut_payload_is_refused(parse: object, payload: bytes) -> None:
    with pytest.raises(WireError):
        parse(payload)  # type: ignore[operator]


def test_a_frame_over_the_limit_is_refused_before_it_is_gathered() -> None:
    decoder = Decoder(100)
    assert decoder.feed(wire.frame(1, b"x" * 100)) == [(1, b"x" * 100)]
    with pytest.raises(WireError, match="101"):
        decoder.feed(b"\x00\x00\x00\x65\x01")


def test_a_decoder_holds_no_more_than_one_frame() -> None:
    decoder = Decoder(1_000)
    data = wire.frame(1, b"x" * 1_000) * 50
    got = []
    for start in range(0, len(data), 7):
        got += decoder.feed(data[start : start + 7])
        assert len(decoder._rest) <= 1_005 + 7
    assert len(got) == 50
