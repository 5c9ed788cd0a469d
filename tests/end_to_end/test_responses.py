"""OpenAI's responses, embeddings and models through `cordon up` with the official client, and its other paths."""

from __future__ import annotations

import re
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel

from tests.support.clients import CARD, FRANCE, GPT, HARMLESS, MINUTES
from tests.support.gateway import ROOT, Cordon
from tests.support.seen import Seen

TOOL: Any = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}, "strict": False}
PAGE = ROOT / "docs/model-routes.md"


def test_a_whole_response(gpt: openai.OpenAI, seen: Seen) -> None:
    raw = gpt.responses.with_raw_response.create(model=GPT, input=FRANCE, instructions="Be short.")
    response = raw.parse()
    assert "Paris" in response.output_text
    assert response.usage is not None and response.usage.total_tokens > 0
    intent, outcome = seen.allowed(route="openai", endpoint="openai-eu", model=GPT, path="/openai/responses")
    assert raw.headers["x-cordon-call"] == intent["call"]
    assert outcome["model"] == GPT


def test_a_streamed_response(gpt: openai.OpenAI, seen: Seen) -> None:
    events = list(gpt.responses.create(model=GPT, input=[{"role": "user", "content": FRANCE}], stream=True))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    last = events[-1]
    assert last.type == "response.completed"
    assert "Paris" in text and last.response.output_text == text
    assert [event.sequence_number for event in events] == list(range(len(events)))
    _, outcome = seen.allowed()
    assert outcome["model"] == GPT


def test_the_clients_own_helper_puts_a_stream_together(gpt: openai.OpenAI, seen: Seen) -> None:
    with gpt.responses.stream(
        model=GPT,
        input=FRANCE,
        reasoning={"effort": "low"},
        include=["reasoning.encrypted_content", "message.output_text.logprobs"],
    ) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        response = stream.get_final_response()
    reasoning, message = response.output
    assert message.type == "message" and reasoning.type == "reasoning" and reasoning.encrypted_content
    assert reasoning.summary[0].text and response.output_text == "".join(deltas)
    _, outcome = seen.allowed()
    assert outcome["findings"]["unreadable"] >= 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_function_is_called_and_its_output_comes_back(gateway: Cordon, gpt: openai.OpenAI, stream: bool) -> None:
    asked: dict[str, Any] = {"model": GPT, "input": "Weather in Berlin? standin:tool", "tools": [TOOL]}
    seen = Seen(gateway)
    if stream:
        events = list(gpt.responses.create(**asked, stream=True))
        deltas = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
        response = events[-1].response
        assert "".join(deltas) == response.output[0].arguments
    else:
        response = gpt.responses.create(**asked)
    (call,) = response.output
    assert call.type == "function_call" and call.name == "get_weather" and '"Berlin"' in call.arguments
    seen.allowed()
    seen = Seen(gateway)
    output: Any = {
        "type": "function_call_output",
        "call_id": call.call_id,
        "output": f"capital of France, paid by {CARD}",
    }
    answer = gpt.responses.create(model=GPT, input=[output], previous_response_id=response.id)
    assert "Paris" in answer.output_text and answer.previous_response_id == response.id
    assert b"4111" not in gateway.eu.received[-1].body
    seen.allowed(findings={"payment_card": 1})


class Reply(BaseModel):
    city: str


def test_a_parsed_answer_that_is_no_json_is_the_clients_error(gpt: openai.OpenAI) -> None:
    with pytest.raises(ValueError, match="JSON"):
        gpt.responses.parse(model=GPT, input=FRANCE, text_format=Reply)


@pytest.mark.parametrize("stream", [False, True])
def test_a_response_is_masked_both_ways(gateway: Cordon, gpt: openai.OpenAI, seen: Seen, stream: bool) -> None:
    asked = f"standin:echo refund 49.90 to {CARD}, please"
    texts: list[str] = []
    if stream:
        for event in gpt.responses.create(model=GPT, input=asked, stream=True):
            if event.type == "response.completed":
                texts.append(event.response.output_text)
            elif event.type == "response.output_text.done":
                texts.append(event.text)
    else:
        texts.append(gpt.responses.create(model=GPT, input=asked).output_text)
    received = gateway.eu.received[-1]
    assert b"4111" not in received.body and b"refund 49.90 to" in received.body
    assert len(set(texts)) == 1 and "refund 49.90 to" in texts[0] and "4111" not in texts[0]
    seen.allowed(findings={"payment_card": 1}, redacted={"payment_card": "mask"})


@pytest.mark.parametrize("stream", [False, True])
def test_findings_in_a_response_are_masked_alike_wherever_it_says_them(
    gpt: openai.OpenAI, seen: Seen, stream: bool
) -> None:
    include: Any = ["message.output_text.logprobs"]
    asked = "Who is my account manager?"
    if stream:
        events = list(gpt.responses.create(model=GPT, input=asked, include=include, stream=True))
        told = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        texts = {told, events[-1].response.output_text}
        everything = str(events)
    else:
        response = gpt.responses.create(model=GPT, input=asked, include=include)
        texts, everything = {response.output_text}, str(response)
    assert len(texts) == 1 and "jana.novak@example.com" in texts.pop()
    assert "DE89" not in everything
    _, outcome = seen.allowed()
    assert outcome["redacted"]["iban"] == "mask"


def test_a_response_is_refused_for_a_model_that_is_not_granted(gateway: Cordon, gpt: openai.OpenAI, seen: Seen) -> None:
    before = len(gateway.eu.received)
    with pytest.raises(openai.PermissionDeniedError, match="may not use this model"):
        gpt.responses.create(model="internal-model", input=FRANCE)
    assert seen.refused("decision", 403)["reasons"][0]["rule"] == "grants.model"
    assert len(gateway.eu.received) == before


def test_a_response_is_blocked_in_mid_stream(gpt: openai.OpenAI, seen: Seen) -> None:
    text = ""
    with pytest.raises(openai.APIError) as raised:
        for event in gpt.responses.create(model=GPT, input=MINUTES, stream=True):
            assert event.type not in ("response.completed", "response.output_text.done")
            text += event.delta if event.type == "response.output_text.delta" else ""
    assert text and HARMLESS.startswith(text)
    assert raised.value.code == "answer_refused"
    outcome = seen.blocked()
    assert any("confidential_marking" in name for name in outcome["findings"])


def test_a_response_is_blocked_whole(gpt: openai.OpenAI, seen: Seen) -> None:
    with pytest.raises(openai.PermissionDeniedError):
        gpt.responses.create(model=GPT, input=MINUTES)
    seen.blocked()


def test_a_response_that_breaks_off_is_never_complete(gpt: openai.OpenAI, gateway: Cordon) -> None:
    start = gateway.log.size()
    types: list[str] = []
    with pytest.raises(openai.APIError):
        types.extend(e.type for e in gpt.responses.create(model=GPT, input=f"{FRANCE} standin:cut=9", stream=True))
    assert types and "response.completed" not in types
    gateway.until("call.outcome", start, verdict="failed", final=True)


@pytest.mark.parametrize(("status", "error"), [(429, openai.RateLimitError), (500, openai.InternalServerError)])
def test_the_vendors_own_failures_are_met(gpt: openai.OpenAI, seen: Seen, status: int, error: Any) -> None:
    with pytest.raises(error) as raised:
        gpt.responses.create(model=GPT, input=f"standin:status={status}")
    assert raised.value.status_code == status
    seen.allowed()


@pytest.mark.parametrize("packed", [False, True])
def test_embeddings(gateway: Cordon, seen: Seen, packed: bool) -> None:
    model = "text-embedding-3-small"
    with openai.OpenAI(base_url=f"{gateway.url}/openai", api_key=gateway.key("embedder"), max_retries=0) as client:
        how: dict[str, Any] = {} if packed else {"encoding_format": "float"}
        answer = client.embeddings.create(model=model, input=["a text", f"card {CARD}"], **how)
    vectors = [item.embedding for item in answer.data]
    assert [len(vector) for vector in vectors] == [16, 16] and vectors[0] != vectors[1]
    assert b"4111" not in gateway.eu.received[-1].body and b"a text" in gateway.eu.received[-1].body
    _, outcome = seen.allowed(path="/openai/embeddings", findings={"payment_card": 1})
    assert outcome["findings"] == {}


def test_embeddings_of_token_numbers_go_where_unreadable_content_may(gateway: Cordon, gpt: openai.OpenAI) -> None:
    seen = Seen(gateway)
    gpt.embeddings.create(model="text-embedding-3-small", input=[[15496, 995]])
    seen.allowed(findings={"unreadable": 1})
    seen = Seen(gateway)
    with (
        openai.OpenAI(base_url=f"{gateway.url}/openai", api_key=gateway.key("a", "globex"), max_retries=0) as client,
        pytest.raises(openai.PermissionDeniedError, match="unreadable"),
    ):
        client.embeddings.create(model="text-embedding-3-small", input=[15496, 995])
    seen.refused("decision", 403)


def test_models_are_listed_and_looked_up(gateway: Cordon, gpt: openai.OpenAI) -> None:
    seen = Seen(gateway)
    assert GPT in {model.id for model in gpt.models.list()}
    seen.allowed(method="GET", path="/openai/models")
    seen = Seen(gateway)
    assert gpt.models.retrieve(GPT).id == GPT
    seen.allowed(method="GET", path=f"/openai/models/{GPT}")
    with pytest.raises(openai.NotFoundError):
        gpt.models.retrieve("nothing")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/responses/resp_1"),
        ("GET", "/responses/resp_1/input_items"),
        ("POST", "/responses/resp_1/cancel"),
        ("DELETE", "/responses/resp_1"),
        ("GET", "/chat/completions"),
        ("GET", "/files"),
        ("GET", "/files/models"),
        ("DELETE", f"/models/{GPT}"),
        ("POST", "/batches"),
    ],
)
def test_other_paths_that_name_no_model_are_refused(gateway: Cordon, seen: Seen, method: str, path: str) -> None:
    before = len(gateway.eu.received)
    # Each has a key of its own: whoever probes like this is contained.
    with gateway.client(gateway.key(f"{method}{path}".lower().replace("/", "-"))) as client:
        answer = client.request(method, f"/openai{path}")
    assert answer.status_code == 403 and answer.json()["error"]["type"] == "permission_error"
    assert seen.refused("decision", 403)["reasons"][0]["rule"] == "grants.no_model"
    assert len(gateway.eu.received) == before


def test_other_paths_that_name_a_granted_model_are_inspected_like_any_api(
    gateway: Cordon, acme: str, seen: Seen
) -> None:
    with gateway.client(acme) as client:
        client.post("/openai/moderations", json={"model": GPT, "input": f"card {CARD}"})
        assert b"4111" not in gateway.eu.received[-1].body
        seen.allowed(path="/openai/moderations", redacted={"payment_card": "mask"})
        assert client.post("/openai/moderations", json={"model": "other", "input": "x"}).status_code == 403


def test_the_pages_example_runs_as_it_is_written(gateway: Cordon, acme: str, seen: Seen) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    printed: list[str] = []
    code = example.replace("http://127.0.0.1:8080", gateway.url).replace('"cordon_…"', f'"{acme}"')
    exec(code, {"print": lambda *values: printed.append(" ".join(map(str, values)))})
    assert "Paris" in "".join(printed) and any("gpt-" in line for line in printed)
    assert not httpx.get(f"{gateway.url}/openai/models").is_success
