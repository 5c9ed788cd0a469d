"""Content codings are undone within limits, or refused."""

from __future__ import annotations

import gzip
import os
import random
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard

from gateway.content.decoding import decode, decoder
from gateway.content.errors import ContentError
from tests.support.content import cut_bytes


def raw_deflate(data: bytes) -> bytes:
    machine = zlib.compressobj(wbits=-15)
    return machine.compress(data) + machine.flush()


CODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "DEFLATE": raw_deflate,
    "br": brotli.compress,
    "zstd": zstandard.compress,
    "": bytes,
    "identity": bytes,
}
ZEROS = b"\0" * (16 << 20)
BOMBS = {
    "gzip": gzip.compress(ZEROS, 1),
    "x-gzip": gzip.compress(ZEROS, 1),
    "deflate": zlib.compress(ZEROS, 1),
    "DEFLATE": raw_deflate(ZEROS),
    "br": brotli.compress(ZEROS, quality=1),
    "zstd": zstandard.compress(ZEROS, 1),
}
BODY = b'{"messages":[{"content":"' + b"hello world, " * 500 + b'"}]}' + bytes(range(256)) * 20


@pytest.mark.parametrize("coding", CODERS)
def test_each_coding_is_undone_whole_and_in_any_cut(coding: str) -> None:
    coded = CODERS[coding](BODY)
    assert decode(coding, coded, limit=1 << 20, ratio=1000) == BODY
    for seed in range(5):
        machine = decoder(coding, limit=1 << 20, ratio=1000)
        pieces = [machine.feed(piece) for piece in cut_bytes(random.Random(seed), coded, 30)]
        assert b"".join(pieces) + machine.end() == BODY
    machine = decoder(coding, limit=1 << 20, ratio=1000)
    assert b"".join(machine.feed(coded[i : i + 1]) for i in range(len(coded))) + machine.end() == BODY


@pytest.mark.parametrize("coding", ["gzip, gzip", "gzip,identity", "compress", "snappy", "utf-8", "gzip;q=1", "*"])
def test_other_codings_and_several_at_once_are_refused(coding: str) -> None:
    with pytest.raises(ContentError) as error:
        decode(coding, b"x", limit=10, ratio=10)
    assert error.value.code == "encoding"


@pytest.mark.parametrize("coding", [coding for coding in CODERS if coding not in ("", "identity")])
def test_a_bomb_is_refused_before_it_takes_memory(coding: str) -> None:
    bomb = BOMBS[coding]
    for limit, ratio in ((1 << 20, 100_000), (1 << 30, 10)):
        with pytest.raises(ContentError) as error:
            decode(coding, bomb, limit=limit, ratio=ratio)
        assert error.value.code == "too_large"


@pytest.mark.parametrize("coding", [coding for coding in CODERS if coding not in ("", "identity")])
def test_broken_cut_and_padded_bodies_are_refused(coding: str) -> None:
    coded = CODERS[coding](os.urandom(2000))
    with pytest.raises(ContentError) as error:
        decode(coding, coded[:-3], limit=1 << 20, ratio=100)
    assert error.value.code == "truncated"
    with pytest.raises(ContentError):
        decode(coding, coded + b"more", limit=1 << 20, ratio=100)
    with pytest.raises(ContentError):
        decode(coding, coded + coded, limit=1 << 20, ratio=100)
    with pytest.raises(ContentError):
        decode(coding, b"\xff\xfe not compressed at all", limit=1 << 20, ratio=100)
    machine = decoder(coding, limit=1 << 20, ratio=100)
    machine.feed(coded)
    with pytest.raises(ContentError):
        machine.feed(b"x")


def test_plain_bodies_have_the_limit_too() -> None:
    assert decode("", b"12345", limit=5, ratio=1) == b"12345"
    with pytest.raises(ContentError) as error:
        decode("", b"123456", limit=5, ratio=1)
    assert error.value.code == "too_large"


@pytest.mark.parametrize("coding", CODERS)
def test_nothing_decodes_to_nothing(coding: str) -> None:
    machine = decoder(coding, limit=10, ratio=10)
    assert machine.feed(b"") == b""
    assert machine.end() == b""


def test_a_zstd_window_larger_than_http_allows_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=25)
    coded = zstandard.ZstdCompressor(compression_params=parameters).compress(os.urandom(100) * 400_000)
    with pytest.raises(ContentError):
        decode("zstd", coded, limit=1 << 30, ratio=100_000)
