"""A request's body, from its bytes to the bytes that are forwarded."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from gateway.content.errors import ContentError
from gateway.content.request import ContentLimits, Dialect, RequestContent, read_body
from tests.support.content import KEY, MASK_ALL, SCANNER

JSON = b"application/json"
MAIL = "a@b.org"


def read(body: Any, content_type: bytes = JSON, dialect: Dialect = "", coding: bytes = b"") -> RequestContent:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    content = read_body(content_type, coding, raw, dialect=dialect)
    content.scan(SCANNER)
    return content


OPENAI = {
    "model": "gpt-4o",
    "stream": True,
    "messages": [
        {"role": "system", "content": f"system {MAIL}"},
        {
            "role": "user",
            "name": MAIL,
            "content": [
                {"type": "text", "text": MAIL},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "QUJD" * 30}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "refusal": MAIL,
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"to":"a\\u0040b.org"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": json.dumps({"mail": MAIL})},
    ],
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "f",
                "description": f"mails {MAIL}",
                "parameters": {"type": "object", "properties": {"to": {"enum": [MAIL], "default": MAIL}}},
            },
        }
    ],
    "stop": [MAIL],
    "user": MAIL,
    "metadata": {"owner": MAIL, MAIL: "owner"},
    "x_unknown": {"deep": [[MAIL]]},
}
ANTHROPIC = {
    "model": "claude-x",
    "system": [{"type": "text", "text": MAIL, "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": MAIL},
                {
                    "type": "document",
                    "source": {"type": "text", "media_type": "text/plain", "data": f"says {MAIL}"},
                    "title": MAIL,
                    "context": MAIL,
                },
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": MAIL, "signature": "c2ln" * 20},
                {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"to": MAIL, "card": 4111111111111111}},
            ],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": MAIL}]}],
        },
    ],
    "tools": [
        {
            "name": "f",
            "description": MAIL,
            "input_schema": {"type": "object", "properties": {"to": {"description": MAIL}}},
        }
    ],
    "stop_sequences": [MAIL],
    "metadata": {"user_id": MAIL},
    "max_tokens": 10,
}
RESPONSES = {
    "model": "gpt-5",
    "instructions": MAIL,
    "previous_response_id": "resp_1",
    "input": [
        {"role": "user", "content": MAIL},
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": MAIL},
                {"type": "input_file", "filename": MAIL, "file_data": "QUJD" * 30},
            ],
        },
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"to":"a\\u0040b.org"}'},
        {
            "type": "function_call_output",
            "call_id": "c",
            "output": json.dumps({"mail": MAIL, "card": 4111111111111111}),
        },
        {"type": "function_call_output", "call_id": "d", "output": [{"type": "input_text", "text": MAIL}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": MAIL}]},
    ],
    "prompt": {"id": "pmpt_1", "variables": {"name": MAIL}},
    "tools": [{"type": "function", "name": "f", "description": MAIL, "parameters": {"description": MAIL}}],
    "text": {"format": {"type": "json_schema", "schema": {"description": MAIL}}},
    "metadata": {MAIL: MAIL},
}
EMBEDDINGS = {"model": "text-embedding-3-small", "input": [MAIL, f"and {MAIL}", [9906, 1917]], "user": MAIL}


@pytest.mark.parametrize(
    "body", [RESPONSES, RESPONSES | {"input": MAIL, "file": "data:text/plain;base64,QUJD"}, EMBEDDINGS]
)
def test_every_text_of_other_calls_to_openai_is_inspected_and_redacted(body: dict[str, Any]) -> None:
    content = read(body, dialect="openai")
    summary = content.summary()
    count = json.dumps(body).count(MAIL) + json.dumps(body).count("a\\\\u0040b.org")
    assert summary["email"]["count"] == count
    assert summary["unreadable"]["count"] == 1
    forwarded = content.render(MASK_ALL, KEY)
    assert MAIL.encode() not in forwarded and b"u0040" not in forwarded and b"4111" not in forwarded


def test_token_numbers_are_unreadable_in_model_calls_and_are_not_kept() -> None:
    content = read({"model": "m", "input": [15496, 995]}, dialect="openai")
    assert content.summary()["unreadable"]["pointers"] == ["/input"]
    assert content.masked_parsed() == {"model": "m", "input": "[UNREADABLE]"}
    assert json.loads(content.render(MASK_ALL, KEY))["input"] == [15496, 995]
    assert read({"input": [15496, 995]}).summary() == {}


@pytest.mark.parametrize(("dialect", "body"), [("openai", OPENAI), ("anthropic", ANTHROPIC)])
def test_every_text_of_a_model_call_is_inspected_and_redacted(dialect: Dialect, body: dict[str, Any]) -> None:
    content = read(body, dialect=dialect)
    summary = content.summary()
    count = json.dumps(body).count(MAIL) + json.dumps(body).count("a\\\\u0040b.org")
    assert summary["email"]["count"] == count
    assert summary["unreadable"]["count"] == 1
    forwarded = content.render(MASK_ALL, KEY)
    assert MAIL.encode() not in forwarded and b"u0040" not in forwarded and b"4111" not in forwarded
    value = json.loads(forwarded)
    assert value["model"] == body["model"]
    assert len(value["messages"]) == len(body["messages"])


def test_model_and_stream_are_read() -> None:
    content = read(OPENAI, dialect="openai")
    assert (content.model, content.stream, content.media_type) == ("gpt-4o", True, "application/json")
    content = read({"messages": []}, dialect="openai")
    assert (content.model, content.stream) == (None, False)


@pytest.mark.parametrize(
    "body",
    [
        {"model": ["gpt-4o"]},
        {"model": "a", "stream": "true"},
        {"model": "a", "stream": 1},
        {"Model": "gpt-4o"},
        {"model": "a", "STREAM": True},
        [],
        "text",
    ],
)
def test_a_model_call_that_could_be_taken_for_another_is_refused(body: Any) -> None:
    with pytest.raises(ContentError):
        read(body, dialect="openai")


@pytest.mark.parametrize(
    "content_type", [b"", b"text/plain", b"application/octet-stream", b"application/x-www-form-urlencoded"]
)
def test_a_model_call_must_be_json(content_type: bytes) -> None:
    with pytest.raises(ContentError) as error:
        read({"model": "x"}, content_type, dialect="openai")
    assert error.value.code == "malformed"


def test_a_finding_in_the_model_is_not_shown() -> None:
    content = read({"model": MAIL}, dialect="openai")
    assert content.model is not None and MAIL not in content.model


def test_a_body_without_redaction_is_forwarded_as_it_was_read() -> None:
    content = read(b'{ "a" : "x@y.org" , "b" : 1.50 }')
    assert content.render({}, KEY) == b'{"a":"x@y.org","b":1.5}'
    assert content.parsed == {"a": "x@y.org", "b": 1.5}


def test_rendering_twice_gives_the_same_and_leaves_what_policy_sees() -> None:
    content = read(OPENAI, dialect="openai")
    assert content.render(MASK_ALL, KEY) == content.render(MASK_ALL, KEY)
    assert content.parsed == OPENAI


def test_another_model_takes_the_place_of_the_one_asked_for() -> None:
    content = read({"model": "a", "messages": [MAIL]}, dialect="openai")
    assert json.loads(content.render({}, KEY, model="b")) == {"model": "b", "messages": [MAIL]}
    assert json.loads(content.render(MASK_ALL, KEY, model="b")) == {"model": "b", "messages": ["[EMAIL]"]}
    assert content.parsed == {"model": "a", "messages": [MAIL]}


def test_places_in_a_summary_are_few_and_masked() -> None:
    content = read({"list": [MAIL] * 30, MAIL: {"x": "c@d.org"}})
    summary = content.summary()["email"]
    assert summary["count"] == 32
    assert len(summary["pointers"]) == 10
    assert MAIL not in json.dumps(summary)
    assert "/[MASKED]/x" in json.dumps(read({MAIL: {"x": "c@d.org"}}).summary())
    long = read({"n" * 1000: MAIL}).summary()["email"]["pointers"][0]
    assert len(long) <= 256


def test_what_is_kept_for_later_has_no_finding_and_no_media() -> None:
    content = read(OPENAI, dialect="openai")
    kept = json.dumps(content.masked_parsed())
    assert MAIL not in kept and "u0040" not in kept and "QUJD" not in kept
    assert "[EMAIL]" in kept and "[UNREADABLE]" in kept
    assert content.parsed == OPENAI


def test_a_form_is_inspected_and_written_again() -> None:
    content = read(f"name=x&mail={MAIL}&{MAIL}=1&mail=y%20z".encode(), b"application/x-www-form-urlencoded")
    assert content.parsed == {"name": ["x"], "mail": [MAIL, "y z"], MAIL: ["1"]}
    assert content.summary()["email"]["count"] == 2
    assert content.render(MASK_ALL, KEY) == b"name=x&mail=%5BEMAIL%5D&mail=y+z&%5BEMAIL%5D=1"
    assert MAIL not in json.dumps(content.masked_parsed())


MULTIPART = (
    b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfor a@b.org\r\n'
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a@b.org.txt"\r\n\r\n4111 1111 1111 1111\r\n'
    b'--x\r\nContent-Disposition: form-data; name="image"; filename="i.png"\r\n\r\n\x89PNG\xff\r\n--x--\r\n'
)


def test_a_multipart_body_is_inspected_and_written_again() -> None:
    content = read(MULTIPART, b"multipart/form-data; boundary=x")
    assert {kind: entry["count"] for kind, entry in content.summary().items()} == {
        "email": 2,
        "payment_card": 1,
        "unreadable": 1,
    }
    assert content.summary()["unreadable"]["pointers"] == ["/image/0"]
    forwarded = content.render(MASK_ALL, KEY)
    assert b"a@b.org" not in forwarded and b"4111" not in forwarded and b"\x89PNG\xff" in forwarded
    assert b"[PAYMENT_CARD]" in forwarded and b'filename="[EMAIL]' in forwarded
    content.masked_parsed()


@pytest.mark.parametrize(
    "content_type", [b"text/plain", b"application/xml", b"application/x-ndjson", b"text/csv; charset=utf-8"]
)
def test_text_is_inspected(content_type: bytes) -> None:
    content = read(f"<x>{MAIL}</x>\n".encode(), content_type)
    assert content.render(MASK_ALL, KEY) == b"<x>[EMAIL]</x>\n"
    with pytest.raises(ContentError):
        read(b"\xff", content_type)


@pytest.mark.parametrize("content_type", [b"", b"image/png", b"application/octet-stream", b"application/x-protobuf"])
def test_what_nobody_can_read_is_a_finding_and_passes_untouched(content_type: bytes) -> None:
    content = read(b"\x00\xff a@b.org", content_type)
    assert list(content.summary()) == ["unreadable"]
    assert content.parsed is None and content.masked_parsed() is None
    assert content.render({}, KEY) == b"\x00\xff a@b.org"


def test_no_body_is_nothing() -> None:
    content = read(b"", b"", dialect="openai")
    assert (content.summary(), content.parsed, content.render(MASK_ALL, KEY), content.size) == ({}, None, b"", 0)


def test_compressed_bodies_are_inspected_and_forwarded_plain() -> None:
    content = read(gzip.compress(json.dumps({"x": MAIL}).encode()), coding=b"gzip")
    assert content.render(MASK_ALL, KEY) == b'{"x":"[EMAIL]"}'


def test_size_is_bounded_before_and_after_decoding() -> None:
    limits = ContentLimits(decoded=100, ratio=1000)
    for coding, body in ((b"", b"x" * 101), (b"gzip", gzip.compress(b"x" * 101))):
        with pytest.raises(ContentError) as error:
            read_body(b"text/plain", coding, body, dialect="", limits=limits)
        assert error.value.code == "too_large"


def test_errors_do_not_quote_the_content() -> None:
    for body in (b'{"a@b.org":1,"a@b.org":2}', b'{"a@b.org"', b"\xffa@b.org"):
        with pytest.raises(ContentError) as error:
            read(body)
        assert "a@b.org" not in str(error.value)


def test_a_mode_that_is_not_carried_out_is_refused() -> None:
    with pytest.raises(ContentError) as error:
        read({"x": MAIL}).render({"email": "tokenise"}, KEY)
    assert error.value.code == "not_enforced"
