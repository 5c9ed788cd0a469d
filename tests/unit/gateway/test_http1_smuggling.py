"""Raw requests of public smuggling collections, measured by their `strict_rfc` label.

The collections are not part of the project. Where their folder is not there, the test says so; the same kinds of
malformation are among the project's own in `test_http1_malformed`.
"""

from __future__ import annotations

import base64
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import uvloop

from gateway.settings import Limits
from tests.support.forwarding import forwarding
from tests.support.requests import Read, read_all

FOLDER = Path(os.environ.get("CORDON_EVAL_DATA", Path(__file__).parents[4] / "shared" / "data"))
ROWS = FOLDER / "smuggling" / "requests.jsonl"

# What a strict reading of the RFCs takes and this gateway refuses, by the code of its refusal, with the reason.
STRICTER = {
    "version": "HTTP/1.0 has no Host, no chunks and another rule for keeping connections; no API client speaks it",
    "trailers": "trailers arrive after the decision was made on the headers",
    "target": "a relative or asterisk target or one with a user name means no route of a gateway",
    "method": "CONNECT would open a tunnel past every decision",
}


def rows() -> list[dict[str, Any]]:
    if not ROWS.is_file():
        pytest.skip(f"evaluation data is not there: {ROWS}; set CORDON_EVAL_DATA to its folder")
    return [json.loads(line) for line in ROWS.read_text().splitlines()]


def read(row: dict[str, Any], size: int = 0) -> Read:
    raw = base64.b64decode(row["raw_b64"])
    pieces = [raw[index : index + size] for index in range(0, len(raw), size)] if size else [raw]
    return read_all(pieces, Limits())


def test_what_is_to_be_rejected_is_refused_and_nothing_of_it_forwarded() -> None:
    passed = [row["id"] for row in rows() if row["strict_rfc"] == "reject" and not _refused(read(row))]
    assert passed == []


def test_what_is_to_be_accepted_is_read_or_is_among_the_stated_exceptions() -> None:
    accepted = [row for row in rows() if row["strict_rfc"] == "accept"]
    refused = {row["id"]: read(row).refusal for row in accepted if not read(row).requests}
    codes = Counter(refusal[1] if refusal else "nothing read" for refusal in refused.values())
    assert set(codes) <= set(STRICTER), refused


def test_what_is_incomplete_is_refused_or_waited_for() -> None:
    taken = [row["id"] for row in rows() if row["strict_rfc"] == "incomplete" and read(row).requests]
    assert taken == []


def test_over_the_wire_nothing_of_a_rejected_request_reaches_the_upstream() -> None:
    async def scenario() -> None:
        async with forwarding() as running:
            for row in rows():
                answer = await running.send(base64.b64decode(row["raw_b64"]))
                forwarded, running.seen = running.seen, []
                if row["strict_rfc"] == "reject":
                    assert forwarded == [], row["id"]
                    assert answer[:10] in (b"HTTP/1.1 4", b"HTTP/1.1 5"), row["id"]
                elif row["strict_rfc"] == "incomplete":
                    assert forwarded == [], row["id"]
                    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 408")) or not answer, row["id"]
                assert len(read_all(forwarded, Limits()).requests) == len(forwarded), row["id"]

    uvloop.run(scenario())


def test_the_cut_changes_nothing() -> None:
    assert [row["id"] for row in rows() if not read(row) == read(row, 1) == read(row, 7)] == []


def _refused(result: Read) -> bool:
    return not result.requests and result.refusal is not None and 400 <= result.refusal[0] < 600
