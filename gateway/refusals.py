"""A refusal as the client reads it: RFC 9457 problem+json, or the error shape of the vendor whose API the route speaks.

Official SDKs choose their exception by the status and by this shape, so a refused model call raises there what the
vendor's own refusal would. Inside a stream that has begun, the same error goes out as the vendor's error event.

`type` is a URN, the same in every installation, since programs know a problem by it (RFC 9457 §3.1.1). Where people
read about it is `help`: the code's page on the control server, as far as callers can reach that.
"""

from __future__ import annotations

from http import HTTPStatus

import orjson

from gateway.errors import Refusal

_PROBLEM = b"application/problem+json"
_JSON = b"application/json"

_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def render(
    refusal: Refusal, *, dialect: str = "", call: str = "", pages: str = ""
) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and body of the answer to a refused call.

    `dialect` is "openai", "anthropic" or "" (problem+json). `pages` is the address below which the codes' pages are,
    with its last slash, or empty.
    """
    headers = [
        (b"content-type", _JSON if dialect else _PROBLEM),
        (b"cache-control", b"no-store"),
        (b"x-cordon-decision", b"refused"),
    ]
    if call:
        headers.append((b"x-cordon-call", call.encode()))
    headers.extend(refusal.headers)
    return headers, orjson.dumps(_shape(refusal, dialect, call, pages))


def error_event(
    refusal: Refusal, *, dialect: str = "", call: str = "", pages: str = "", sequence: int | None = None
) -> bytes:
    """The server-sent event that ends a stream which the gateway breaks off (whole event, with its blank line).

    OpenAI's chunks carry the error as plain data, Anthropic's streams as an event named `error`; so does a stream
    without a dialect, with the problem as its data. `sequence`: the number of the last event of a stream of OpenAI's
    responses. Their error is an event named `error` too, with the error's fields at its top; OpenAI's SDKs raise for
    those below `error` only, so it has both.
    """
    shape = _shape(refusal, dialect, call, pages)
    if dialect == "openai":
        if sequence is None:
            return b"data: " + orjson.dumps(shape) + b"\n\n"
        message = _message(refusal, pages)
        flat = {"code": refusal.code, "message": message, "param": None, "sequence_number": sequence + 1}
        shape = {"type": "error", **flat, **shape}
    return b"event: error\ndata: " + orjson.dumps(shape) + b"\n\n"


def _shape(refusal: Refusal, dialect: str, call: str, pages: str) -> dict[str, object]:
    if dialect == "openai":
        return _openai(refusal, pages)
    if dialect == "anthropic":
        return _anthropic(refusal, call, pages)
    return _problem(refusal, call, pages)


def _problem(refusal: Refusal, call: str, pages: str) -> dict[str, object]:
    problem: dict[str, object] = {
        "type": f"urn:cordon:refusal:{refusal.code}",
        "title": _phrase(refusal.status),
        "status": refusal.status,
        "detail": refusal.detail,
        "stage": refusal.stage,
        "reasons": [dict(reason) for reason in refusal.reasons],
    }
    if pages:
        problem["help"] = pages + refusal.code
    if call:
        problem["call"] = call
    return problem


def _openai(refusal: Refusal, pages: str) -> dict[str, object]:
    kind = _OPENAI_TYPES.get(refusal.status) or ("server_error" if refusal.status >= 500 else "invalid_request_error")
    return {"error": {"message": _message(refusal, pages), "type": kind, "param": None, "code": refusal.code}}


def _anthropic(refusal: Refusal, call: str, pages: str) -> dict[str, object]:
    kind = _ANTHROPIC_TYPES.get(refusal.status) or ("api_error" if refusal.status >= 500 else "invalid_request_error")
    shape: dict[str, object] = {"type": "error", "error": {"type": kind, "message": _message(refusal, pages)}}
    if call:
        shape["request_id"] = call
    return shape


def _message(refusal: Refusal, pages: str) -> str:
    """The vendors' shapes have one text field, so the reasons and the page are told in it."""
    told = (f"[{each.get('rule', '')}] {each.get('detail', '')} {each.get('fix', '')}" for each in refusal.reasons)
    page = [f"(See {pages}{refusal.code} for what to do.)"] if pages else []
    return " ".join([refusal.detail, *map(str.rstrip, told), *page])


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Refused"
