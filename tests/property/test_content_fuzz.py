"""Whatever bytes come, reading them gives content or a content error, never another exception."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from typing import Any

import brotli
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.content.answer import AnswerPlan
from gateway.content.errors import ContentError
from gateway.content.request import ContentLimits, Dialect, read_body
from tests.support.content import KEY, MASK_ALL, SCANNER, inspect

DIALECTS: st.SearchStrategy[Dialect] = st.sampled_from(["openai", "anthropic", ""])
TYPES = st.sampled_from(
    [
        b"application/json",
        b"application/x-www-form-urlencoded",
        b"multipart/form-data; boundary=x",
        b"text/plain",
        b"application/octet-stream",
        b"",
    ]
)
CODINGS = st.sampled_from([b"", b"identity", b"gzip", b"deflate", b"br", b"zstd", b"gzip, br", b"\xff"])
CODERS: Mapping[bytes, Any] = {
    b"gzip": gzip.compress,
    b"deflate": zlib.compress,
    b"br": brotli.compress,
    b"zstd": zstandard.compress,
}
LIMITS = ContentLimits(decoded=100_000, ratio=50)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["a@b.org", "4111 1111 1111 1111", "data:image/png;base64,QUJD", "\ud800", "\x1f\x1d", "{}", '{"a":1']
    )
)
NAMES = st.text(max_size=6) | st.sampled_from(
    [
        "choices",
        "delta",
        "index",
        "content",
        "message",
        "logprobs",
        "token",
        "bytes",
        "type",
        "text",
        "tool_calls",
        "finish_reason",
        "content_block",
        "thinking",
        "signature",
        "partial_json",
        "arguments",
        "function",
        "model",
        "stream",
        "data",
        "obfuscation",
        "tokens",
        "input",
        "item",
        "part",
        "summary",
        "response",
        "output",
        "output_index",
        "embedding",
        "result",
    ]
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=25
)
KINDS = [
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
    "ping",
    "error",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.added",
    "response.content_part.done",
    "response.output_item.added",
    "response.output_item.done",
    "response.function_call_arguments.delta",
    "response.shell_call_output_content.delta",
    "response.audio.delta",
    "response.created",
    "response.completed",
    "x.delta",
]


def handle(content_type: bytes, coding: bytes, body: bytes, dialect: Dialect) -> None:
    try:
        content = read_body(content_type, coding, body, dialect=dialect, limits=LIMITS)
        content.scan(SCANNER)
        summary = content.summary()
        kept = json.dumps(content.masked_parsed())
        forwarded = content.render(MASK_ALL, KEY)
    except ContentError:
        return
    assert "a@b.org" not in json.dumps(summary)
    assert "a@b.org" not in kept
    assert b"a@b.org" not in forwarded or "unreadable" in summary


@settings(deadline=None)
@given(TYPES, CODINGS, st.binary(max_size=300), DIALECTS)
def test_any_body_of_a_request(content_type: bytes, coding: bytes, body: bytes, dialect: Dialect) -> None:
    handle(content_type, coding, body, dialect)


@settings(deadline=None)
@given(TYPES, st.sampled_from([b"", *CODERS]), st.binary(max_size=200), DIALECTS)
def test_any_body_under_a_coding(content_type: bytes, coding: bytes, body: bytes, dialect: Dialect) -> None:
    handle(content_type, coding, CODERS[coding](body) if coding else body, dialect)


@settings(deadline=None, max_examples=200)
@given(VALUES, DIALECTS)
def test_any_json_body_of_a_request(value: Any, dialect: Dialect) -> None:
    handle(b"application/json", b"", json.dumps(value).encode("utf-8", "surrogatepass"), dialect)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=8), st.text(max_size=20) | st.binary(max_size=20), max_size=4))
def test_any_multipart_body(parts: dict[str, Any]) -> None:
    body = b""
    for name, value in parts.items():
        content = value if isinstance(value, bytes) else value.encode("utf-8", "replace")
        body += (
            b'--x\r\nContent-Disposition: form-data; name="'
            + name.encode("utf-8", "replace")
            + b'"\r\n\r\n'
            + content
            + b"\r\n"
        )
    handle(b"multipart/form-data; boundary=x", b"", body + b"--x--\r\n", "")


def answer(body: bytes, media_type: str, dialect: str, plan: AnswerPlan) -> None:
    try:
        result = inspect([body[: len(body) // 2], body[len(body) // 2 :]], dialect, media_type=media_type, plan=plan)
    except ContentError:
        return
    if plan.redact and media_type != "application/octet-stream":
        assert b"a@b.org" not in result.data


PLANS = st.sampled_from(
    [
        AnswerPlan(redact=MASK_ALL),
        AnswerPlan(redact=MASK_ALL, mode="buffer"),
        AnswerPlan(redact=MASK_ALL, block=(("p", "never seen"),), max_chars=10_000),
        AnswerPlan(redact=MASK_ALL, schema={}),
        AnswerPlan(mode="pass"),
    ]
)
MEDIA = st.sampled_from(
    ["application/json", "text/event-stream", "application/x-ndjson", "text/plain", "application/octet-stream"]
)


@settings(deadline=None)
@given(st.binary(max_size=300), MEDIA, st.sampled_from(["openai", "anthropic", ""]), PLANS)
def test_any_answer(body: bytes, media_type: str, dialect: str, plan: AnswerPlan) -> None:
    answer(body, media_type, dialect, plan)


@settings(deadline=None, max_examples=150)
@given(VALUES, st.sampled_from(["openai", "anthropic", ""]), PLANS)
def test_any_json_answer(value: Any, dialect: str, plan: AnswerPlan) -> None:
    answer(json.dumps(value).encode("utf-8", "surrogatepass"), "application/json", dialect, plan)


@settings(deadline=None, max_examples=250)
@given(
    st.lists(st.dictionaries(NAMES, VALUES, max_size=4), max_size=6),
    st.lists(st.sampled_from(KINDS), min_size=6, max_size=6),
    st.sampled_from(["openai", "anthropic", ""]),
    PLANS,
)
def test_any_stream_of_json_events(
    values: list[dict[str, Any]], kinds: list[str], dialect: str, plan: AnswerPlan
) -> None:
    events = []
    for value, kind in zip(values, kinds, strict=False):
        shaped = (
            {**value, "type": kind}
            if dialect != "openai"
            else {"choices": [{"index": 0, "delta": value, "logprobs": value}]}
        )
        events.append(b"data: " + json.dumps(shaped).encode("utf-8", "surrogatepass") + b"\n\n")
    answer(b"".join(events) + b"data: [DONE]\n\n", "text/event-stream", dialect, plan)
