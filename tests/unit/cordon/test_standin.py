"""The stand-in speaks the vendors' protocols well enough for their own SDKs, and goes wrong when it is asked to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import openai
import pytest

from tests.support.upstream import Upstream, upstream

MODEL = "gpt-4.1-mini"
CLAUDE = "claude-sonnet-5-5"
TOOL: Any = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}},
}
CLAUDE_TOOL: Any = {"name": "get_weather", "input_schema": {"type": "object", "properties": {}}}


@pytest.fixture(scope="module")
def standin() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@pytest.fixture(scope="module")
def gpt(standin: Upstream) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{standin.url}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def claude(standin: Upstream) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=standin.url, api_key="none", max_retries=0)


def says(text: str) -> Any:
    return [{"role": "user", "content": text}]


def test_openai_gets_a_whole_completion_with_usage(gpt: openai.OpenAI) -> None:
    completion = gpt.chat.completions.create(model=MODEL, messages=says("What is the capital of France?"))
    assert "Paris" in str(completion.choices[0].message.content)
    assert completion.usage is not None and completion.usage.total_tokens > 0
    assert completion.model == MODEL


def test_openai_gets_a_stream_that_adds_up_with_usage_and_logprobs(gpt: openai.OpenAI) -> None:
    chunks = list(
        gpt.chat.completions.create(
            model=MODEL, messages=says("capital of France"), stream=True, n=2, logprobs=True,
            stream_options={"include_usage": True},
        )
    )  # fmt: skip
    texts = ["", ""]
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            assert not choice.delta.content or choice.logprobs is not None
    assert texts[0] == texts[1] and "Paris" in texts[0]
    assert chunks[-1].usage is not None


@pytest.mark.parametrize("stream", [False, True])
def test_openai_is_asked_to_call_its_tool(gpt: openai.OpenAI, stream: bool) -> None:
    arguments: dict[str, Any] = {"model": MODEL, "messages": says("weather standin:tool"), "tools": [TOOL]}
    if not stream:
        (call,) = gpt.chat.completions.create(**arguments).choices[0].message.tool_calls
        assert call.function.name == "get_weather" and "Berlin" in call.function.arguments
        return
    chunks = gpt.chat.completions.create(**arguments, stream=True)
    fragments = [c.function for ch in chunks for choice in ch.choices for c in choice.delta.tool_calls or []]
    assert fragments[0].name == "get_weather"
    assert "Berlin" in "".join(fragment.arguments for fragment in fragments)


@pytest.mark.parametrize("stream", [False, True])
def test_openai_gets_a_response_that_adds_up(gpt: openai.OpenAI, stream: bool) -> None:
    asked: dict[str, Any] = {
        "model": MODEL,
        "input": "capital of France",
        "reasoning": {"effort": "low"},
        "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
    }
    if stream:
        with gpt.responses.stream(**asked) as events:
            deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
            response: Any = events.get_final_response()
        assert len(deltas) > 5 and "".join(deltas) == response.output_text
    else:
        response = gpt.responses.create(**asked)
    reasoning, message = response.output
    assert reasoning.encrypted_content and reasoning.summary[0].text
    assert "Paris" in response.output_text and message.content[0].logprobs
    assert response.status == "completed" and response.usage.total_tokens > 0


@pytest.mark.parametrize("stream", [False, True])
def test_openai_gets_a_response_that_calls_a_function_and_reads_its_output(gpt: openai.OpenAI, stream: bool) -> None:
    tool: Any = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}, "strict": False}
    asked: dict[str, Any] = {"model": MODEL, "input": says("standin:tool"), "tools": [tool]}
    if stream:
        with gpt.responses.stream(**asked) as events:
            response: Any = events.get_final_response()
    else:
        response = gpt.responses.create(**asked)
    (call,) = response.output
    assert call.name == "get_weather" and "Berlin" in call.arguments
    output: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "weather"}]
    assert "18 degrees" in gpt.responses.create(model=MODEL, input=output, previous_response_id="r").output_text


def test_openai_gets_embeddings_and_models(gpt: openai.OpenAI) -> None:
    (packed,) = gpt.embeddings.create(model=MODEL, input="a text").data
    (plain, other) = gpt.embeddings.create(model=MODEL, input=["a text", "another"], encoding_format="float").data
    assert packed.embedding == pytest.approx(plain.embedding) and plain.embedding != other.embedding
    assert len(gpt.embeddings.create(model=MODEL, input=[1, 2, 3]).data) == 1
    assert gpt.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError):
        gpt.models.retrieve("none")
    with pytest.raises(openai.RateLimitError):
        gpt.responses.create(model=MODEL, input="standin:status=429")


def test_anthropic_gets_a_whole_message_with_thinking(claude: anthropic.Anthropic) -> None:
    message = claude.messages.create(
        model=CLAUDE,
        max_tokens=2000,
        messages=says("capital of France"),
        thinking={"type": "adaptive"},
    )
    thinking, text = message.content
    assert thinking.type == "thinking" and thinking.signature
    assert text.type == "text" and "Paris" in text.text
    assert message.stop_reason == "end_turn"


def test_anthropic_gets_a_stream_that_adds_up(claude: anthropic.Anthropic) -> None:
    with claude.messages.stream(
        model=CLAUDE,
        max_tokens=2000,
        messages=says("capital of France"),
        thinking={"type": "adaptive"},
    ) as stream:
        message = stream.get_final_message()
    whole = claude.messages.create(model=CLAUDE, max_tokens=2000, messages=says("capital of France"))
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.content[1].to_dict()["text"] == whole.content[0].to_dict()["text"]
    assert message.usage.output_tokens > 0


@pytest.mark.parametrize("stream", [False, True])
def test_anthropic_is_asked_to_use_its_tool(claude: anthropic.Anthropic, stream: bool) -> None:
    arguments: Any = {"model": CLAUDE, "max_tokens": 500, "messages": says("standin:tool"), "tools": [CLAUDE_TOOL]}
    if stream:
        with claude.messages.stream(**arguments) as events:
            message = events.get_final_message()
    else:
        message = claude.messages.create(**arguments)
    (block,) = message.content
    assert block.type == "tool_use" and block.input["city"] == "Berlin"
    assert message.stop_reason == "tool_use"


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
def test_failures_have_the_vendors_shapes(gpt: openai.OpenAI, claude: anthropic.Anthropic, status: int) -> None:
    with pytest.raises(openai.APIStatusError) as one:
        gpt.chat.completions.create(model=MODEL, messages=says(f"standin:status={status}"))
    with pytest.raises(anthropic.APIStatusError) as two:
        claude.messages.create(model=CLAUDE, max_tokens=9, messages=says(f"standin:status={status}"))
    assert one.value.status_code == two.value.status_code == status
    assert type(one.value).__name__ == type(two.value).__name__ or status == 503


def test_an_outage_hits_every_model_call(standin: Upstream, gpt: openai.OpenAI) -> None:
    standin.fail_with(503)
    try:
        with pytest.raises(openai.InternalServerError):
            gpt.chat.completions.create(model=MODEL, messages=says("capital of France"))
    finally:
        standin.fail_with(None)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_breaks_off_when_asked_to(standin: Upstream, stream: bool) -> None:
    body = {"model": MODEL, "messages": says("capital of France standin:cut=3"), "stream": stream}
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(f"{standin.url}/v1/chat/completions", json=body)


def test_a_held_answer_waits_for_its_release(standin: Upstream) -> None:
    body = {"model": MODEL, "messages": says("standin:held")}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{standin.url}/v1/chat/completions", json=body, timeout=0.3)
    standin.release()
    assert httpx.post(f"{standin.url}/v1/chat/completions", json=body).status_code == 200


def test_it_echoes_and_keeps_what_it_received(standin: Upstream, gpt: openai.OpenAI) -> None:
    completion = gpt.chat.completions.create(model=MODEL, messages=says("standin:echo my card 4111 1111 1111 1111"))
    assert completion.choices[0].message.content == "You wrote: my card 4111 1111 1111 1111"
    assert b"4111" in standin.received[-1].body
    shown = httpx.get(f"{standin.url}/standin/received").json()
    assert "4111" in shown[-1]["body"] and "headers" not in shown[-1]
    assert standin.received[-1].path == "/v1/chat/completions"


def test_the_connector_reads_customers_and_takes_transfers(standin: Upstream) -> None:
    with httpx.Client(base_url=standin.url) as client:
        assert client.get("/crm/customers/1001").json()["name"] == "Jana Novak"
        assert len(client.get("/crm/customers").json()["customers"]) == 2
        assert client.get("/crm/customers/9").status_code == 404
        assert client.get("/crm/customers?standin:status=503").status_code == 503
        transfer = client.post("/payments/transfers", json={"amount": 12, "to": "DE89"})
        assert (transfer.status_code, transfer.json()["amount"]) == (201, 12)
        assert client.post("/payments/transfers", content=b"{").json()["to"] is None
        assert client.head("/v1/models").content == b""
        assert len(client.get("/v1/models").json()["data"]) == 3


def test_what_is_not_json_is_refused_in_the_vendors_shape(standin: Upstream) -> None:
    answer = httpx.post(f"{standin.url}/v1/messages", content=b"[1]")
    assert answer.status_code == 400 and answer.json()["error"]["type"] == "invalid_request_error"


def test_it_runs_by_itself_and_says_its_port() -> None:
    process = subprocess.Popen([sys.executable, "-m", "cordon.standin", "--port", "0"], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert httpx.get(f"http://127.0.0.1:{port}/v1/models").status_code == 200
    finally:
        process.terminate()
        process.wait(10)
    assert process.returncode == 0
