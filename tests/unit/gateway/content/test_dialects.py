"""Where the text of an event is, and what it waits for."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.content.dialects import Anthropic, Generic, OpenAI, dialect_of


def chunk(delta: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, **more}]}


def keys(reading: Any) -> list[tuple[Any, ...]]:
    return [piece.key for piece in reading.pieces]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (chunk({"role": "assistant", "content": ""}), []),
        (chunk({"content": "x"}), [("choices", 0, "delta", "content")]),
        (
            chunk({"refusal": "x", "reasoning_content": "y", "reasoning": "z"}),
            [("choices", 0, "delta", name) for name in ("refusal", "reasoning_content", "reasoning")],
        ),
        (
            chunk({"tool_calls": [{"index": 2, "id": "c", "function": {"name": "f", "arguments": "{"}}]}),
            [("choices", 0, "delta", "tool_calls", 2, "function", "arguments")],
        ),
        (
            chunk({"function_call": {"name": "f", "arguments": "{"}}),
            [("choices", 0, "delta", "function_call", "arguments")],
        ),
        (chunk({"content": [{"type": "text", "text": "x"}]}), [("choices", 0, "delta", "content", 0, "text")]),
        (chunk({"audio": {"id": "a", "transcript": "x"}}), [("choices", 0, "delta", "audio", "transcript")]),
        (
            chunk({"x_vendor": {"deep": ["?", {"more": "x"}]}}),
            [("choices", 0, "delta", "x_vendor", "deep", 0), ("choices", 0, "delta", "x_vendor", "deep", 1, "more")],
        ),
        (chunk({"annotations": [{"url_citation": {"title": "x"}}]}), []),
        ({"choices": [{"index": 3, "text": "x"}]}, [("choices", 3, "text")]),
        (
            {"choices": [{"delta": {"content": "a"}}, {"delta": {"content": "b"}}]},
            [("choices", 0, "delta", "content"), ("choices", 1, "delta", "content")],
        ),
        (chunk({}, logprobs={"content": [{"token": "x"}]}), [("choices", 0, "logprobs", "content")]),
        ({"choices": ["strange", None]}, []),
    ],
)
def test_texts_of_chat_completion_chunks(event: dict[str, Any], expected: list[tuple[Any, ...]]) -> None:
    assert keys(OpenAI().read("", event)) == expected


def test_a_chunk_with_a_finish_reason_waits_for_its_choice_and_usage_for_all() -> None:
    dialect = OpenAI()
    assert dialect.read("", chunk({"content": "x"})).waits == "own"
    assert not dialect.complete(False)
    finish = dialect.read("", chunk({}, finish_reason="stop"))
    assert (finish.waits, finish.group, finish.closing) == ("group", ("choices", 0), True)
    assert dialect.read("", {"choices": [], "usage": {}}).waits == "all"
    assert dialect.complete(False)


def test_an_answer_with_an_unfinished_choice_is_not_whole() -> None:
    dialect = OpenAI()
    dialect.read("", {"choices": [{"index": 0, "delta": {"content": "x"}}, {"index": 1, "delta": {"content": "y"}}]})
    assert not dialect.read("", chunk({}, finish_reason="stop")).closing
    assert not dialect.complete(False) and dialect.complete(True)
    assert not dialect.open_ended


@pytest.mark.parametrize(
    ("event", "expected", "waits"),
    [
        ({"type": "message_start", "message": {"content": []}}, [], "all"),
        (
            {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": "x"}},
            [("content", 1, "text")],
            "all",
        ),
        (
            {
                "type": "content_block_start",
                "index": 1,
                "content_block": {"type": "tool_use", "name": "f", "input": {}},
            },
            [],
            "all",
        ),
        (
            {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "x"}},
            [("content", 1, "text")],
            "own",
        ),
        (
            {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "x"}},
            [("content", 0, "thinking")],
            "own",
        ),
        (
            {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{"}},
            [("content", 2, "partial_json")],
            "own",
        ),
        (
            {"type": "content_block_delta", "index": 2, "delta": {"type": "new_delta", "new": "x"}},
            [("content", 2, "new")],
            "own",
        ),
        (
            {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "x"}},
            [],
            "group",
        ),
        (
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "citations_delta", "citation": {"cited_text": "x"}},
            },
            [],
            "group",
        ),
        ({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, [], "all"),
        ({"type": "ping"}, [], "none"),
    ],
)
def test_texts_of_message_events(event: dict[str, Any], expected: list[tuple[Any, ...]], waits: str) -> None:
    reading = Anthropic().read(event["type"], event)
    assert (keys(reading), reading.waits, reading.terminal) == (expected, waits, False)


def test_a_block_ends_its_texts_and_the_last_event_the_stream() -> None:
    dialect = Anthropic()
    stop = dialect.read("", {"type": "content_block_stop", "index": 4})
    assert (stop.ends, stop.waits) == ((("content", 4),), "group")
    for kind in ("message_stop", "error"):
        assert dialect.read("", {"type": kind}).terminal
    assert dialect.complete(True) and not dialect.complete(False)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            {"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "content_index": 1, "delta": "x"},
            [("events", "response.output_text.delta", "m", 0, 1, "delta")],
        ),
        (
            {"type": "response.function_call_arguments.delta", "item_id": "f", "delta": "{"},
            [("events", "response.function_call_arguments.delta", "f", "arguments")],
        ),
        (
            {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "x"}}}},
            [("events", "content-delta", 0, "delta", "message", "content", "text")],
        ),
        (
            {"candidates": [{"content": {"parts": [{"text": "x"}]}}]},
            [("events", "", "candidates", 0, "content", "parts", 0, "text")],
        ),
        ({"model": "m", "response": "x", "done": False}, [("events", "", "response")]),
        ({"id": "1", "status": "x"}, []),
    ],
)
def test_texts_of_other_events(event: dict[str, Any], expected: list[tuple[Any, ...]]) -> None:
    assert keys(Generic().read("", event)) == expected


def test_other_protocols_are_whole_when_they_say_so() -> None:
    dialect = OpenAI()
    dialect.read("", {"type": "response.created", "response": {}})
    assert not dialect.complete(False) and not dialect.open_ended
    assert dialect.read("", {"type": "response.completed", "response": {}}).terminal
    done = dialect.read("", {"type": "response.new_thing.done", "text": "x"})
    assert done.ends == (("events",),) and done.pieces == []
    assert Generic().complete(False) and Generic().open_ended


@pytest.mark.parametrize(
    ("name", "value", "texts"),
    [
        (
            "openai",
            {
                "choices": [
                    {
                        "message": {
                            "role": "assistant",
                            "content": "a",
                            "refusal": None,
                            "tool_calls": [{"function": {"arguments": "{}"}}],
                        }
                    }
                ]
            },
            [(True, "a"), (False, "{}")],
        ),
        ("openai", {"choices": [{"text": "a"}, "strange"]}, [(True, "a")]),
        (
            "anthropic",
            {"content": [{"type": "thinking", "thinking": "t"}, {"type": "text", "text": "a"}]},
            [(False, "t"), (True, "a")],
        ),
        ("openai", {"output": [{"content": [{"type": "output_text", "text": "a"}]}]}, [(True, "a")]),
        ("openai", {"object": "list", "data": [{"object": "embedding", "embedding": [0.5, -0.25]}]}, []),
        ("openai", {"object": "list", "data": []}, [(True, '{"object":"list","data":[]}')]),
        ("anthropic", {"type": "error"}, []),
        ("", {"a": 1}, [(True, '{"a":1}')]),
    ],
)
def test_texts_of_whole_answers(name: str, value: Any, texts: list[tuple[bool, str]]) -> None:
    assert dialect_of(name).whole(value) == texts
