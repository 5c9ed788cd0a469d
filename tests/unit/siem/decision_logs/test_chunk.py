"""Chunks are within the limit, in order, and well filled."""

from __future__ import annotations

import gzip
import random

import orjson
import pytest

from siem.decision_logs.chunk import Packer
from siem.decision_logs.sink import Entry


def packed(lines: list[bytes], packer: Packer) -> list[list[object]]:
    chunks = []
    while lines:
        chunk = packer.pack(lines, 1 << 20)
        assert len(chunk.body) <= packer.limit or chunk.count == 1
        chunks.append(orjson.loads(gzip.decompress(chunk.body)))
        assert len(chunks[-1]) == chunk.count > 0
        lines = lines[chunk.count :]
    return chunks


@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("limit", [1_024, 8_192])
def test_every_event_once_in_order_and_within_the_limit(alike: bool, limit: int) -> None:
    dice = random.Random(3)
    lines = [orjson.dumps({"n": n, "x": "same" * 50 if alike else dice.randbytes(60).hex()}) for n in range(2_000)]
    chunks = packed(lines, Packer(limit))
    assert [event for chunk in chunks for event in chunk] == [orjson.loads(line) for line in lines]
    sizes = [len(gzip.compress(orjson.dumps(chunk))) for chunk in chunks[3:-1]]
    assert not sizes or sum(sizes) / len(sizes) > limit * 0.6


def test_one_that_is_too_large_comes_alone() -> None:
    large = orjson.dumps(random.Random(4).randbytes(5_000).hex())
    chunks = packed([b"1", large, b"2"], Packer(1_024))
    assert [len(chunk) for chunk in chunks] == [1, 1, 1]


def test_no_more_than_was_said() -> None:
    assert Packer(1_024).pack([b"1"] * 9, 4).count == 4


def test_lighter_is_without_input_then_without_result_and_says_so() -> None:
    entry = Entry(3, orjson.dumps({"decision_id": "a", "input": 1, "result": {"allow": True}, "erased": ["/input/x"]}))
    without_input = entry.lighter()
    assert without_input is not None
    assert orjson.loads(without_input.line)["result"] == {"allow": True}
    without_both = without_input.lighter()
    assert without_both is not None
    assert orjson.loads(without_both.line) == {"decision_id": "a", "erased": ["/input/x", "/input", "/result"]}
    assert without_both.lighter() is None
