"""Any cut of the stream gives the same frames; no bytes make the decoder do anything but frames or WireError."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from lineage import wire
from lineage.wire import Decoder, WireError

FRAMES = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=300)), max_size=30)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@given(FRAMES, st.lists(st.integers(0, 20_000), max_size=40))
def test_any_cut_gives_the_same_frames(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    data = b"".join(wire.frame(kind, payload) for kind, payload in frames)
    decoder = Decoder(300)
    assert [frame for piece in pieces(data, cuts) for frame in decoder.feed(piece)] == frames


@given(FRAMES)
def test_byte_by_byte_gives_the_same_frames(frames: list[tuple[int, bytes]]) -> None:
    data = b"".join(wire.frame(kind, payload) for kind, payload in frames)
    decoder = Decoder(300)
    assert [frame for byte in data for frame in decoder.feed(bytes([byte]))] == frames


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_garbage_is_frames_or_a_wire_error(garbage: list[bytes]) -> None:
    decoder = Decoder(1_000)
    try:
        for piece in garbage:
            for kind, payload in decoder.feed(piece):
                wire.parse_append(kind, payload)
    except WireError:
        pass


@given(st.binary(max_size=100))
def test_every_parser_takes_or_refuses_any_payload(payload: bytes) -> None:
    parsers = (
        wire.parse_hello,
        wire.parse_welcome,
        wire.parse_control,
        wire.parse_ack,
        wire.parse_refused,
        wire.parse_size,
    )
    for parse in parsers:
        try:
            parse(payload)  # type: ignore[operator]
        except WireError:
            continue


@given(st.lists(st.tuples(st.integers(0, 2**63), st.binary(max_size=50)), max_size=10))
def test_control_frames_come_back(entries: list[tuple[int, bytes]]) -> None:
    [(_, payload)] = Decoder(10_000).feed(wire.control(entries))
    assert wire.parse_control(payload) == entries
