"""A refusal as its client reads it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import anthropic
import openai
import pytest
from openai.types.responses import ResponseErrorEvent

from gateway.errors import FramingError, GatewayError, Refusal, UpstreamError
from gateway.exchange import Exchange
from gateway.refusals import error_event, render
from tests.support.listening import Script, listening

REFUSAL = Refusal(
    403,
    "decision",
    "residency",
    "the policy allows no endpoint for this call",
    reasons=[
        {"rule": "residency", "detail": "acme is bound to the EU", "fix": "ask for an EU endpoint"},
        {"rule": "roles"},
    ],
    headers=[(b"retry-after", b"5")],
)
REFUSED_ANSWER = Refusal(403, "decision", "blocked", "the answer was blocked")
RESPONSE_CREATED = (
    b'event: response.created\ndata: {"type":"response.created","sequence_number":0,'
    b'"response":{"id":"resp_1","object":"response","output":[]}}\n\n'
)


def body_of(refusal: Refusal, dialect: str = "", call: str = "01CALL") -> Any:
    return json.loads(render(refusal, dialect=dialect, call=call)[1])


def test_without_a_dialect_it_is_a_problem_document() -> None:
    headers, body = render(REFUSAL, call="01CALL")
    assert headers == [
        (b"content-type", b"application/problem+json"),
        (b"cache-control", b"no-store"),
        (b"x-cordon-decision", b"refused"),
        (b"x-cordon-call", b"01CALL"),
        (b"retry-after", b"5"),
    ]
    assert json.loads(body) == {
        "type": "urn:cordon:refusal:residency",
        "title": "Forbidden",
        "status": 403,
        "detail": "the policy allows no endpoint for this call",
        "stage": "decision",
        "reasons": [dict(reason) for reason in REFUSAL.reasons],
        "call": "01CALL",
    }


@pytest.mark.parametrize("dialect", ["", "openai", "anthropic"])
def test_every_shape_says_where_the_codes_page_is(dialect: str) -> None:
    place = "https://cordon.example/errors/"
    body = json.loads(render(REFUSAL, dialect=dialect, pages=place)[1])
    told = body["error"]["message"] if dialect else body["help"]
    assert place + "residency" in told
    assert (place + "blocked").encode() in error_event(REFUSED_ANSWER, dialect=dialect, pages=place)
    event = error_event(REFUSED_ANSWER, dialect="openai", pages=place, sequence=1)
    assert event.count((place + "blocked").encode()) == 2


def test_before_there_is_a_call_none_is_named() -> None:
    headers, body = render(REFUSAL)
    assert b"x-cordon-call" not in dict(headers)
    assert "call" not in json.loads(body)


def test_the_openai_shape_tells_the_reasons_in_its_message() -> None:
    assert body_of(REFUSAL, "openai") == {
        "error": {
            "message": "the policy allows no endpoint for this call [residency] acme is bound to the EU "
            "ask for an EU endpoint [roles]",
            "type": "permission_error",
            "param": None,
            "code": "residency",
        }
    }


def test_the_anthropic_shape_carries_the_call_as_its_request_id() -> None:
    assert body_of(Refusal(401, "identity", "no_key", "no key"), "anthropic") == {
        "type": "error",
        "error": {"type": "authentication_error", "message": "no key"},
        "request_id": "01CALL",
    }


STATUSES = [
    (400, openai.BadRequestError, anthropic.BadRequestError),
    (401, openai.AuthenticationError, anthropic.AuthenticationError),
    (403, openai.PermissionDeniedError, anthropic.PermissionDeniedError),
    (404, openai.NotFoundError, anthropic.NotFoundError),
    (429, openai.RateLimitError, anthropic.RateLimitError),
    (502, openai.InternalServerError, anthropic.InternalServerError),
]


def ask_openai(port: int) -> None:
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/openai", api_key="k", max_retries=0)
    client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])


def ask_anthropic(port: int) -> None:
    client = anthropic.Anthropic(base_url=f"http://127.0.0.1:{port}/anthropic", api_key="k", max_retries=0)
    client.messages.create(model="m", max_tokens=5, messages=[{"role": "user", "content": "hi"}])


@pytest.mark.parametrize(("status", "of_openai", "of_anthropic"), STATUSES)
def test_the_official_clients_raise_what_they_raise_for_the_vendor(
    status: int, of_openai: type[Exception], of_anthropic: type[Exception]
) -> None:
    def refuse(exchange: Exchange) -> None:
        exchange.dialect = "openai" if exchange.head.path.startswith("/openai") else "anthropic"
        raise Refusal(status, "decision", "some_code", "told so")

    async def scenario() -> None:
        async with listening(Script(refuse)) as running:
            with pytest.raises(of_openai, match="told so"):
                await asyncio.to_thread(ask_openai, running.port)
            with pytest.raises(of_anthropic, match="told so"):
                await asyncio.to_thread(ask_anthropic, running.port)

    asyncio.run(scenario())


def test_a_broken_off_stream_ends_in_the_vendors_error_event() -> None:
    blocked = Refusal(403, "decision", "blocked", "the answer was blocked")
    data = error_event(blocked, dialect="openai", call="01CALL")
    assert data.startswith(b'data: {"error":')
    assert data.endswith(b"}\n\n")
    event = error_event(blocked, dialect="anthropic", call="01CALL")
    assert event.startswith(b'event: error\ndata: {"type":"error"')
    assert error_event(blocked).startswith(b'event: error\ndata: {"type":"urn:cordon:refusal:blocked"')
    assert all(error_event(blocked, dialect=name).count(b"\n\n") == 1 for name in ("", "openai", "anthropic"))


def test_the_openai_client_raises_on_the_error_event() -> None:
    def break_off(exchange: Exchange) -> None:
        exchange.start(200, [(b"content-type", b"text/event-stream")], None)
        exchange.write(error_event(Refusal(403, "decision", "blocked", "the answer was blocked"), dialect="openai"))
        exchange.end()

    def ask(port: int) -> None:
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}", api_key="k", max_retries=0)
        list(client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], stream=True))

    async def scenario() -> None:
        async with listening(Script(break_off)) as running:
            with pytest.raises(openai.APIError, match="the answer was blocked"):
                await asyncio.to_thread(ask, running.port)

    asyncio.run(scenario())


def test_the_error_of_a_response_has_the_shape_of_its_events_and_raises_in_the_openai_client() -> None:
    error = error_event(REFUSED_ANSWER, dialect="openai", call="01CALL", sequence=4)
    name, data = error.decode().split("\n", 1)
    value = json.loads(data.removeprefix("data: "))
    assert name == "event: error"
    assert (value["type"], value["code"], value["sequence_number"]) == ("error", "blocked", 5)
    assert value["message"] == value["error"]["message"] == "the answer was blocked"
    ResponseErrorEvent.model_validate(value, strict=True)

    def break_off(exchange: Exchange) -> None:
        exchange.start(200, [(b"content-type", b"text/event-stream")], None)
        exchange.write(RESPONSE_CREATED + error_event(REFUSED_ANSWER, dialect="openai", sequence=0))
        exchange.end()

    def ask(port: int) -> None:
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}", api_key="k", max_retries=0)
        with pytest.raises(openai.APIError, match="the answer was blocked") as raised:
            list(client.responses.create(model="m", input="hi", stream=True))
        assert raised.value.code == "blocked"
        with (
            pytest.raises(openai.APIError, match="the answer was blocked"),
            client.responses.stream(model="m", input="hi") as stream,
        ):
            stream.until_done()

    async def scenario() -> None:
        async with listening(Script(break_off)) as running:
            await asyncio.to_thread(ask, running.port)

    asyncio.run(scenario())


def test_a_status_without_a_phrase_still_has_a_title() -> None:
    assert body_of(Refusal(499, "client", "gone", "gone"))["title"] == "Refused"


def test_every_error_of_the_package_has_one_base() -> None:
    errors = [REFUSAL, FramingError(400, "a", "b"), UpstreamError("reset", "it closed", sent=True)]
    assert all(isinstance(error, GatewayError) for error in errors)
    assert str(REFUSAL) == "decision: residency: the policy allows no endpoint for this call"
