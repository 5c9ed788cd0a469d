"""OpenAI's chat completions, as the official SDKs read them.

Follows https://platform.openai.com/docs/api-reference/chat: `chat.completion`, `chat.completion.chunk`, error objects.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from cordon.standin.script import Plan, tokens

MODELS = ("gpt-4.1", "gpt-4.1-mini", "o4-mini")
ERRORS = {
    400: ("invalid_request_error", None, "The request could not be read."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    404: ("invalid_request_error", None, "Unknown request URL."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests."),
    500: ("server_error", None, "The server had an error while processing your request."),
    503: ("server_error", None, "The engine is currently overloaded, please try again later."),
}

Json = dict[str, Any]


def whole(request: Mapping[str, Any], answer: Plan, number: int) -> Json:
    """A `chat.completion`; `number` makes its id."""
    choices = [
        {
            "index": index,
            "message": _message(request, answer),
            "logprobs": {"content": [_logprob(piece) for piece in answer.pieces()], "refusal": None}
            if request.get("logprobs")
            else None,
            "finish_reason": "tool_calls" if _calls_tool(request, answer) else "stop",
        }
        for index in range(_choices(request))
    ]
    return _head(request, number, "chat.completion") | {"choices": choices, "usage": _usage(request, answer)}


def stream(request: Mapping[str, Any], answer: Plan, number: int) -> Iterator[bytes]:
    """The events of a streamed completion, each with its blank line, `[DONE]` at the end."""
    head = _head(request, number, "chat.completion.chunk")
    options = request.get("stream_options")
    usage = isinstance(options, dict) and bool(options.get("include_usage"))
    tail: Json = {"usage": None} if usage else {}

    def chunk(index: int, delta: Json, finish: str | None = None, logprobs: Json | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return _event(head | {"choices": [choice]} | tail)

    indexes = range(_choices(request))
    for index in indexes:
        yield chunk(index, {"role": "assistant", "content": "", "refusal": None})
    if _calls_tool(request, answer):
        call = _tool_call(request)
        arguments = call["function"]["arguments"]
        opening = call | {"index": 0, "function": call["function"] | {"arguments": ""}}
        for index in indexes:
            yield chunk(index, {"tool_calls": [opening]})
        for piece in answer.pieces(arguments):
            for index in indexes:
                yield chunk(index, {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
    else:
        for piece in answer.pieces():
            logprobs = {"content": [_logprob(piece)], "refusal": None} if request.get("logprobs") else None
            for index in indexes:
                yield chunk(index, {"content": piece}, logprobs=logprobs)
    for index in indexes:
        yield chunk(index, {}, "tool_calls" if _calls_tool(request, answer) else "stop")
    if usage:
        yield _event(head | {"choices": [], "usage": _usage(request, answer)})
    yield b"data: [DONE]\n\n"


def error(status: int) -> Json:
    """The vendor's error object for a status."""
    kind, code, message = ERRORS.get(status, ERRORS[500])
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def models(name: str = "") -> Json:
    """The answer to `GET /v1/models`, or to `GET /v1/models/{name}`."""
    known = [{"id": name, "object": "model", "created": 1_744_000_000, "owned_by": "stand-in"} for name in MODELS]
    if not name:
        return {"object": "list", "data": known}
    return next((model for model in known if model["id"] == name), error(404))


def _head(request: Mapping[str, Any], number: int, kind: str) -> Json:
    return {
        "id": f"chatcmpl-standin{number:08d}",
        "object": kind,
        "created": int(time.time()),
        "model": request.get("model", MODELS[0]),
        "service_tier": "default",
        "system_fingerprint": "fp_standin",
    }


def _message(request: Mapping[str, Any], answer: Plan) -> Json:
    message: Json = {"role": "assistant", "content": answer.text, "refusal": None, "annotations": []}
    if _calls_tool(request, answer):
        message |= {"content": None, "tool_calls": [_tool_call(request)]}
    return message


def _calls_tool(request: Mapping[str, Any], answer: Plan) -> bool:
    return answer.tool and bool(request.get("tools"))


def _tool_call(request: Mapping[str, Any]) -> Json:
    name = request["tools"][0]["function"]["name"]
    arguments = '{"city": "Berlin", "contact": "jana.novak@example.com"}'
    return {"id": "call_standin", "type": "function", "function": {"name": name, "arguments": arguments}}


def _logprob(piece: str) -> Json:
    return {"token": piece, "logprob": -0.1, "bytes": list(piece.encode()), "top_logprobs": []}


def _usage(request: Mapping[str, Any], answer: Plan) -> Json:
    sent, given = tokens(str(request.get("messages"))), tokens(answer.text)
    return {"prompt_tokens": sent, "completion_tokens": given, "total_tokens": sent + given}


def _choices(request: Mapping[str, Any]) -> int:
    count = request.get("n")
    return count if type(count) is int and 1 <= count <= 8 else 1


def _event(data: Json) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"
