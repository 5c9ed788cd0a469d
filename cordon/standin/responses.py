"""OpenAI's responses, as the official SDKs read them.

Follows https://platform.openai.com/docs/api-reference/responses and …/responses-streaming: response objects, numbered
events, reasoning items (with what they hold in encrypted form where that is asked for), function calls.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from cordon.standin import openai
from cordon.standin.script import THINKING, Plan, tokens

ENCRYPTED = "Z0FBQUFBQnN0YW5kLWluOiBub3RoaW5nIGlzIGVuY3J5cHRlZCBoZXJl" * 2
TOOL_ARGUMENTS = '{"city": "Berlin", "contact": "jana.novak@example.com"}'

Json = dict[str, Any]
error = openai.error


def whole(request: Mapping[str, Any], answer: Plan, number: int) -> Json:
    """A response object; `number` makes its id."""
    return _response(request, number, "completed", _items(request, answer, number), _usage(request, answer))


def stream(request: Mapping[str, Any], answer: Plan, number: int) -> Iterator[bytes]:
    """The events of a streamed response, each with its blank line, `response.completed` at the end."""
    items = _items(request, answer, number)
    for place, event in enumerate(_events(request, answer, number, items)):
        kind = event["type"]
        yield b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({**event, "sequence_number": place}))


def _events(request: Mapping[str, Any], answer: Plan, number: int, items: list[Json]) -> Iterator[Json]:
    begun = _response(request, number, "in_progress", [], None)
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(items):
        empty = item | {"status": "in_progress"} | _EMPTIED[item["type"]]
        yield {"type": "response.output_item.added", "output_index": index, "item": empty}
        for event in _EVENTS[item["type"]](item, answer):
            yield event | {"output_index": index, "item_id": item["id"]}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    done = _response(request, number, "completed", items, _usage(request, answer))
    yield {"type": "response.completed", "response": done}


def _message_events(item: Json, answer: Plan) -> Iterator[Json]:
    part = item["content"][0]
    at = {"content_index": 0}
    yield {"type": "response.content_part.added", "part": part | {"text": "", "logprobs": []}} | at
    for piece in answer.pieces():
        logprobs = [_logprob(piece)] if part["logprobs"] else []
        yield {"type": "response.output_text.delta", "delta": piece, "logprobs": logprobs} | at
    yield {"type": "response.output_text.done", "text": part["text"], "logprobs": part["logprobs"]} | at
    yield {"type": "response.content_part.done", "part": part} | at


def _call_events(item: Json, answer: Plan) -> Iterator[Json]:
    for piece in answer.pieces(item["arguments"]):
        yield {"type": "response.function_call_arguments.delta", "delta": piece}
    yield {"type": "response.function_call_arguments.done", "name": item["name"], "arguments": item["arguments"]}


def _reasoning_events(item: Json, answer: Plan) -> Iterator[Json]:
    part = item["summary"][0]
    at = {"summary_index": 0}
    yield {"type": "response.reasoning_summary_part.added", "part": part | {"text": ""}} | at
    for piece in answer.pieces(part["text"]):
        yield {"type": "response.reasoning_summary_text.delta", "delta": piece} | at
    yield {"type": "response.reasoning_summary_text.done", "text": part["text"]} | at
    yield {"type": "response.reasoning_summary_part.done", "part": part} | at


_EVENTS = {"message": _message_events, "function_call": _call_events, "reasoning": _reasoning_events}
_EMPTIED: Mapping[str, Json] = {
    "message": {"content": []},
    "function_call": {"arguments": ""},
    "reasoning": {"summary": []},
}


def _items(request: Mapping[str, Any], answer: Plan, number: int) -> list[Json]:
    include = request.get("include") or []
    items: list[Json] = []
    if isinstance(request.get("reasoning"), dict):
        summary = [{"type": "summary_text", "text": THINKING}]
        sealed = {"encrypted_content": ENCRYPTED} if "reasoning.encrypted_content" in include else {}
        items.append({"id": f"rs_standin{number:08d}", "type": "reasoning", "summary": summary, **sealed})
    if answer.tool and request.get("tools"):
        name = request["tools"][0]["name"]
        call = {"type": "function_call", "call_id": "call_standin", "name": name, "arguments": TOOL_ARGUMENTS}
        items.append({"id": f"fc_standin{number:08d}", "status": "completed", **call})
    else:
        logprobs = [_logprob(piece) for piece in answer.pieces()] if "message.output_text.logprobs" in include else []
        part = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": logprobs}
        message = {"type": "message", "role": "assistant", "status": "completed", "content": [part]}
        items.append({"id": f"msg_standin{number:08d}", **message})
    return items


def _response(request: Mapping[str, Any], number: int, status: str, output: list[Json], usage: Json | None) -> Json:
    return {
        "id": f"resp_standin{number:08d}",
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": request.get("instructions"),
        "metadata": {},
        "model": request.get("model", openai.MODELS[0]),
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": request.get("previous_response_id"),
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": request.get("tools") or [],
        "top_p": 1.0,
        "usage": usage,
    }


def _usage(request: Mapping[str, Any], answer: Plan) -> Json:
    sent, given = tokens(str(request.get("input"))), tokens(answer.text)
    details: Json = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    return {"input_tokens": sent, "output_tokens": given, "total_tokens": sent + given, **details}


def _logprob(piece: str) -> Json:
    return {"token": piece, "logprob": -0.1, "top_logprobs": []}
