"""Anthropic's messages, as the official SDKs read them.

Follows https://docs.anthropic.com/en/api/messages and …/messages-streaming: message objects, events, error objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from cordon.standin.script import THINKING, Plan, tokens

ERRORS = {
    400: ("invalid_request_error", "The request could not be read."),
    401: ("authentication_error", "invalid x-api-key"),
    404: ("not_found_error", "Not found"),
    429: ("rate_limit_error", "This request would exceed your organization's rate limit."),
    500: ("api_error", "Internal server error"),
    503: ("overloaded_error", "Overloaded"),
    529: ("overloaded_error", "Overloaded"),
}
SIGNATURE = "c3RhbmQtaW4gc2lnbmF0dXJlOiBub3RoaW5nIGlzIHNpZ25lZCBoZXJl"
TOOL_INPUT = '{"city": "Berlin", "contact": "jana.novak@example.com"}'

Json = dict[str, Any]


def whole(request: Mapping[str, Any], answer: Plan, number: int) -> Json:
    """A message object; `number` makes its id."""
    message = _message(request, number, answer)
    return message | {"content": _blocks(request, answer), "stop_reason": _stop_reason(request, answer)}


def stream(request: Mapping[str, Any], answer: Plan, number: int) -> Iterator[bytes]:
    """The events of a streamed message, each with its blank line, `message_stop` at the end."""
    yield _event("message_start", message=_message(request, number, answer))
    yield _event("ping")
    for index, block in enumerate(_blocks(request, answer)):
        yield from _block_events(index, block, answer)
    delta = {"stop_reason": _stop_reason(request, answer), "stop_sequence": None}
    yield _event("message_delta", delta=delta, usage={"output_tokens": tokens(answer.text)})
    yield _event("message_stop")


def error(status: int) -> Json:
    """The vendor's error object for a status."""
    kind, message = ERRORS.get(status, ERRORS[500])
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_standin"}


def _block_events(index: int, block: Json, answer: Plan) -> Iterator[bytes]:
    def delta(kind: str, **fields: str) -> bytes:
        return _event("content_block_delta", index=index, delta={"type": kind, **fields})

    if block["type"] == "thinking":
        yield _event("content_block_start", index=index, content_block=block | {"thinking": "", "signature": ""})
        for piece in answer.pieces(block["thinking"]):
            yield delta("thinking_delta", thinking=piece)
        yield delta("signature_delta", signature=block["signature"])
    elif block["type"] == "text":
        yield _event("content_block_start", index=index, content_block=block | {"text": ""})
        for piece in answer.pieces():
            yield delta("text_delta", text=piece)
    else:
        yield _event("content_block_start", index=index, content_block=block | {"input": {}})
        for piece in answer.pieces(TOOL_INPUT):
            yield delta("input_json_delta", partial_json=piece)
    yield _event("content_block_stop", index=index)


def _blocks(request: Mapping[str, Any], answer: Plan) -> list[Json]:
    blocks: list[Json] = []
    thinking = request.get("thinking")
    if isinstance(thinking, dict) and thinking.get("type") in {"enabled", "adaptive"}:
        blocks.append({"type": "thinking", "thinking": THINKING, "signature": SIGNATURE})
    if _calls_tool(request, answer):
        name = request["tools"][0]["name"]
        blocks.append({"type": "tool_use", "id": "toolu_standin", "name": name, "input": orjson.loads(TOOL_INPUT)})
    else:
        blocks.append({"type": "text", "text": answer.text})
    return blocks


def _message(request: Mapping[str, Any], number: int, answer: Plan) -> Json:
    return {
        "id": f"msg_standin{number:08d}",
        "type": "message",
        "role": "assistant",
        "model": request.get("model", "claude-sonnet-5-5"),
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": tokens(str(request.get("messages"))), "output_tokens": tokens(answer.text)},
    }


def _calls_tool(request: Mapping[str, Any], answer: Plan) -> bool:
    return answer.tool and bool(request.get("tools"))


def _stop_reason(request: Mapping[str, Any], answer: Plan) -> str:
    return "tool_use" if _calls_tool(request, answer) else "end_turn"


def _event(kind: str, **fields: Any) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps({"type": kind, **fields}) + b"\n\n"
