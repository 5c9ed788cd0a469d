"""The vendors' own clients and plain HTTP, unchanged but for base URL and key, and what the log says of each call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import openai
import pytest

from tests.support.clients import CARD, FRANCE, GPT, HARMLESS, MINUTES, says
from tests.support.gateway import Cordon
from tests.support.seen import Seen

CLAUDE = "claude-sonnet-5-5"
GPT_TOOL: Any = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
CLAUDE_TOOL: Any = {"name": "get_weather", "input_schema": {"type": "object"}}


@pytest.fixture(scope="module")
def globex(gateway: Cordon) -> str:
    return gateway.key("analyst", "globex")


@pytest.fixture(scope="module")
def claude(gateway: Cordon, globex: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=f"{gateway.url}/anthropic", api_key=globex, max_retries=0) as client:
        yield client


def text_of(chunks: Any) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


# OpenAI ------------------------------------------------------------------------------------------------------------


def test_openai_whole(gpt: openai.OpenAI, seen: Seen) -> None:
    raw = gpt.chat.completions.with_raw_response.create(model=GPT, messages=says(FRANCE))
    completion = raw.parse()
    assert "Paris" in str(completion.choices[0].message.content)
    assert completion.usage is not None and completion.usage.total_tokens > 0
    intent, _ = seen.allowed(principal="acme/support-bot", route="openai", endpoint="openai-eu", model=GPT)
    assert raw.headers["x-cordon-call"] == intent["call"]
    assert raw.headers["x-cordon-decision"] == "allowed"


def test_openai_streamed_with_usage(gpt: openai.OpenAI, seen: Seen) -> None:
    chunks = list(
        gpt.chat.completions.create(
            model=GPT, messages=says(FRANCE), stream=True, stream_options={"include_usage": True}
        )
    )
    assert "Paris" in text_of(chunks) and chunks[-1].usage is not None
    assert len(chunks) > 5
    seen.allowed(principal="acme/support-bot")


def test_openai_with_several_choices_and_logprobs(gpt: openai.OpenAI, seen: Seen) -> None:
    chunks = gpt.chat.completions.create(model=GPT, messages=says(FRANCE), stream=True, n=2, logprobs=True)
    texts: dict[int, str] = {}
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
    assert texts[0] == texts[1] and "Paris" in texts[0]
    seen.allowed()


@pytest.mark.parametrize("stream", [False, True])
def test_openai_tools(gpt: openai.OpenAI, seen: Seen, stream: bool) -> None:
    asked: dict[str, Any] = {"model": GPT, "messages": says("Weather in Berlin? standin:tool"), "tools": [GPT_TOOL]}
    if stream:
        parts = [c.function for ch in gpt.chat.completions.create(**asked, stream=True) for choice in ch.choices
                 for c in choice.delta.tool_calls or []]  # fmt: skip
        name, arguments = parts[0].name, "".join(str(part.arguments) for part in parts)
    else:
        (call,) = gpt.chat.completions.create(**asked).choices[0].message.tool_calls
        name, arguments = call.function.name, str(call.function.arguments)
    assert name == "get_weather" and '"Berlin"' in arguments
    seen.allowed()


def test_openai_lists_models(gpt: openai.OpenAI, seen: Seen) -> None:
    assert GPT in {model.id for model in gpt.models.list()}
    seen.allowed(method="GET")


@pytest.mark.parametrize("stream", [False, True])
def test_openai_is_masked_on_the_way_out(gateway: Cordon, gpt: openai.OpenAI, seen: Seen, stream: bool) -> None:
    messages = says(f"standin:echo refund 49.90 to {CARD}, please")
    if stream:
        answer = text_of(gpt.chat.completions.create(model=GPT, messages=messages, stream=True))
    else:
        answer = str(gpt.chat.completions.create(model=GPT, messages=messages).choices[0].message.content)
    received = gateway.eu.received[-1]
    assert b"4111" not in received.body and b"refund 49.90 to" in received.body
    assert "4111" not in answer and "refund 49.90 to" in answer
    intent, _ = seen.allowed(findings={"payment_card": 1}, redacted={"payment_card": "mask"})
    assert "4111" not in str(intent)
    assert "cordon" not in str(received.headers).lower(), "the client's key and Cordon's headers stay here"


def test_openai_is_refused_for_a_model_that_is_not_granted(gateway: Cordon, gpt: openai.OpenAI, seen: Seen) -> None:
    before = len(gateway.eu.received)
    with pytest.raises(openai.PermissionDeniedError, match="may not use this model") as raised:
        gpt.chat.completions.create(model="internal-model", messages=says(FRANCE))
    assert raised.value.response.headers["x-cordon-decision"] == "refused"
    refusal = seen.refused("decision", 403)
    assert refusal["reasons"][0]["rule"] == "grants.model"
    assert len(gateway.eu.received) == before
    page = f"{gateway.control_url}/errors/refused"
    assert page in str(raised.value)
    assert "Who is at fault" in httpx.get(page, headers={"accept": "text/html"}).text


def test_openai_is_refused_for_a_secret_in_the_prompt(gpt: openai.OpenAI, seen: Seen) -> None:
    secret = "ghp_" + "a1B2c3D4e5F6g7H8i9J0" + "k1L2m3N4o5P6q7R8"
    with pytest.raises(openai.PermissionDeniedError) as raised:
        gpt.chat.completions.create(model=GPT, messages=says(f"my token is {secret}"))
    assert secret not in str(raised.value)
    refusal = seen.refused("decision", 403)
    assert refusal["findings"] == {"api_key": 1} and secret not in str(refusal)


@pytest.mark.parametrize("n", [1, 2])
def test_openai_is_blocked_in_mid_stream(gpt: openai.OpenAI, seen: Seen, n: int) -> None:
    text = ""
    with pytest.raises(openai.APIError):
        for chunk in gpt.chat.completions.create(model=GPT, messages=says(MINUTES), stream=True, n=n):
            text += text_of([chunk])
    assert text and (n > 1 or HARMLESS.startswith(text))
    assert "strictly" not in text.lower() and "acquire" not in text
    outcome = seen.blocked()
    assert any("confidential_marking" in name for name in outcome["findings"])


def test_openai_is_blocked_whole(gpt: openai.OpenAI, seen: Seen) -> None:
    with pytest.raises(openai.PermissionDeniedError):
        gpt.chat.completions.create(model=GPT, messages=says(MINUTES))
    seen.blocked()


def test_findings_in_an_answer_are_masked(gpt: openai.OpenAI, seen: Seen) -> None:
    answer = text_of(gpt.chat.completions.create(model=GPT, messages=says("Who is my account manager?"), stream=True))
    assert "DE89" not in answer and "jana.novak@example.com" in answer
    _, outcome = seen.allowed()
    assert outcome["findings"]["iban"] == 1 and outcome["redacted"]["iban"] == "mask"


@pytest.mark.parametrize(("status", "error"), [(429, openai.RateLimitError), (500, openai.InternalServerError)])
def test_openai_meets_the_vendors_own_failures(gpt: openai.OpenAI, seen: Seen, status: int, error: Any) -> None:
    with pytest.raises(error) as raised:
        gpt.chat.completions.create(model=GPT, messages=says(f"standin:status={status}"))
    assert raised.value.status_code == status
    seen.allowed()


# Anthropic ---------------------------------------------------------------------------------------------------------


def test_anthropic_whole(claude: anthropic.Anthropic, seen: Seen) -> None:
    message = claude.messages.create(model=CLAUDE, max_tokens=500, messages=says(FRANCE))
    assert "Paris" in str(message.content[0].to_dict()["text"])
    seen.allowed(principal="globex/analyst", route="anthropic", endpoint="anthropic-us", model=CLAUDE)


def test_anthropic_streamed(claude: anthropic.Anthropic, seen: Seen) -> None:
    with claude.messages.stream(model=CLAUDE, max_tokens=500, messages=says(FRANCE)) as stream:
        pieces = list(stream.text_stream)
        message = stream.get_final_message()
    assert len(pieces) > 5 and "".join(pieces) == message.content[0].to_dict()["text"]
    assert message.stop_reason == "end_turn"
    seen.allowed(principal="globex/analyst")


@pytest.mark.parametrize("stream", [False, True])
def test_anthropic_tools(claude: anthropic.Anthropic, seen: Seen, stream: bool) -> None:
    asked: dict[str, Any] = {
        "model": CLAUDE,
        "max_tokens": 500,
        "messages": says("standin:tool"),
        "tools": [CLAUDE_TOOL],
    }
    if stream:
        with claude.messages.stream(**asked) as events:
            message: Any = events.get_final_message()
    else:
        message = claude.messages.create(**asked)
    (block,) = message.content
    assert block.type == "tool_use" and block.input["city"] == "Berlin"
    seen.allowed()


def test_anthropic_is_masked_on_the_way_out(gateway: Cordon, claude: anthropic.Anthropic, seen: Seen) -> None:
    claude.messages.create(
        model=CLAUDE,
        max_tokens=500,
        system=f"The customer's card is {CARD}.",
        messages=says("write to jana@example.com"),
    )
    received = gateway.us.received[-1].body
    assert b"4111" not in received and b"jana@example.com" not in received
    seen.allowed(redacted={"email": "mask", "payment_card": "mask"})


def test_anthropic_is_refused_for_residency(gateway: Cordon, acme: str, seen: Seen) -> None:
    before = len(gateway.us.received)
    client = anthropic.Anthropic(base_url=f"{gateway.url}/anthropic", api_key=acme, max_retries=0)
    with client, pytest.raises(anthropic.PermissionDeniedError, match="must stay in EU"):
        client.messages.create(model=CLAUDE, max_tokens=9, messages=says(FRANCE))
    refusal = seen.refused("decision", 403)
    assert refusal["reasons"][0]["rule"] == "residency.no_endpoint"
    assert len(gateway.us.received) == before


def test_anthropic_is_blocked_in_mid_stream(claude: anthropic.Anthropic, seen: Seen) -> None:
    text = ""
    stream = claude.messages.stream(model=CLAUDE, max_tokens=500, messages=says(MINUTES))
    with pytest.raises(anthropic.APIStatusError), stream as events:
        for piece in events.text_stream:
            text += piece
    assert text and HARMLESS.startswith(text)
    seen.blocked()


# Plain HTTP --------------------------------------------------------------------------------------------------------


def test_a_connector_is_read(gateway: Cordon, acme: str, seen: Seen) -> None:
    with gateway.client(acme) as client:
        answer = client.get("/crm/customers/1001?verbose=1")
    assert answer.json()["name"] == "Jana Novak"
    assert gateway.eu.received[-1].target == "/crm/customers/1001?verbose=1"
    intent, outcome = seen.allowed(route="crm", endpoint="crm-eu", method="GET", path="/crm/customers/1001")
    assert answer.headers["x-cordon-call"] == intent["call"]
    assert outcome["status"] == 200 and outcome["findings"]["email"] == 1


def test_a_risky_connector_asks_for_a_role(gateway: Cordon, acme: str, seen: Seen) -> None:
    order = {"amount": 12, "to": "DE89370400440532013000"}
    with gateway.client(acme) as client:
        refused = client.post("/payments/transfers", json=order)
    assert refused.status_code == 403
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["reasons"][0]["rule"] == "roles.missing"
    seen.refused("decision", 403)


def test_with_the_role_it_goes_through(gateway: Cordon, seen: Seen) -> None:
    with gateway.client(gateway.key("clerk", "acme", "payments")) as client:
        answer = client.post("/payments/transfers", json={"amount": 12, "to": "DE89370400440532013000"})
    assert (answer.status_code, answer.json()["to"]) == (201, "DE89370400440532013000")
    seen.allowed(route="payments", findings={"iban": 1})


def test_nothing_passes_without_a_route(gateway: Cordon, acme: str, seen: Seen) -> None:
    with gateway.client(acme) as client:
        assert client.get("/hr/salaries").status_code == 404
    seen.refused("routing", 404)


@pytest.mark.parametrize("key", ["", "cordon_wrong", "Basic eDp5"])
def test_nothing_passes_without_a_known_key(gateway: Cordon, key: str) -> None:
    before = len(gateway.eu.received)
    headers = {"authorization": f"Bearer {key}"} if key else {}
    answer = httpx.get(f"{gateway.url}/crm/customers/1001", headers=headers)
    assert answer.status_code == 401 and answer.json()["status"] == 401
    assert len(gateway.eu.received) == before


def test_a_wrong_key_is_the_sdks_authentication_error(gateway: Cordon) -> None:
    one = openai.OpenAI(base_url=f"{gateway.url}/openai", api_key="cordon_wrong", max_retries=0)
    with one, pytest.raises(openai.AuthenticationError):
        one.chat.completions.create(model=GPT, messages=says(FRANCE))
    two = anthropic.Anthropic(base_url=f"{gateway.url}/anthropic", api_key="cordon_wrong", max_retries=0)
    with two, pytest.raises(anthropic.AuthenticationError):
        two.messages.create(model=CLAUDE, max_tokens=9, messages=says(FRANCE))


def test_a_revoked_key_ends_at_once(gateway: Cordon) -> None:
    created = gateway.cli("key", "create", "gone", "--tenant", "acme")
    with gateway.client(created["key"]) as client:
        assert client.get("/crm/customers/1001").status_code == 200
        gateway.cli("key", "revoke", created["id"])
        assert client.get("/crm/customers/1001").status_code == 401, "also on a live connection"


def test_a_busy_endpoint_is_replaced_by_the_next_allowed_one(gateway: Cordon, globex: str) -> None:
    start = gateway.log.size()
    gateway.eu.fail_with(503)
    try:
        with openai.OpenAI(base_url=f"{gateway.url}/openai", api_key=globex, max_retries=0) as client:
            answer = client.chat.completions.create(model=GPT, messages=says(FRANCE))
    finally:
        gateway.eu.fail_with(None)
    assert "Paris" in str(answer.choices[0].message.content)
    gateway.until("call.outcome", start, final=True)
    intents = gateway.records(start, "call.intent")
    outcomes = gateway.records(start, "call.outcome")
    assert [(i["attempt"], i["endpoint"]) for i in intents] == [(1, "openai-eu"), (2, "openai-us")]
    assert [(o["verdict"], o["final"], o["intent"]) for o in outcomes] == [
        ("failed", False, intents[0]["index"]),
        ("allowed", True, intents[1]["index"]),
    ]
