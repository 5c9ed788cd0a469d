"""Tokenise and restore with the vendors' own clients: the upstream gets tokens, the client its values."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from gateway.content.tokens import TOKEN
from tests.support.gateway import BUNDLE, ROOT, Cordon, cordon
from tests.support.seen import Seen

GPT, CLAUDE = "gpt-4.1-mini", "claude-sonnet-5-5"
MAIL, CARD = "jana.novak@example.com", "4111 1111 1111 1111"
TEXT = f"Write to {MAIL}, charge {CARD}, then tell {MAIL} again."


def example() -> Any:
    """The change of the starter's data.json that the guide shows."""
    found = re.search(r"```json\n(.*?)```", (ROOT / "docs/tokenise.md").read_text(), re.DOTALL)
    assert found is not None
    return json.loads(found[1])


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cordon]:
    bundle = tmp_path_factory.mktemp("policy") / "bundle"
    shutil.copytree(BUNDLE, bundle)
    data = json.loads((bundle / "data.json").read_text())
    for kind, stances in example()["findings"].items():
        data["findings"][kind] = stances | {"US": stances["EU"]}
    (bundle / "data.json").write_text(json.dumps(data))

    def change(config: dict[str, Any]) -> None:
        config["policy"]["bundle"] = str(bundle)
        config["gateway"]["workers"] = 2

    with cordon(change) as running:
        yield running


@pytest.fixture(scope="module")
def gpt(gateway: Cordon) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/openai", api_key=gateway.key("bot"), max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def claude(gateway: Cordon) -> Iterator[anthropic.Anthropic]:
    key = gateway.key("writer", "globex")
    with anthropic.Anthropic(base_url=f"{gateway.url}/anthropic", api_key=key, max_retries=0) as client:
        yield client


def says(*texts: str) -> Any:
    """Turns of a conversation, of which the stand-in repeats the last."""
    *turns, last = texts
    roles = ("user", "assistant")
    return [{"role": roles[turn % 2], "content": text} for turn, text in enumerate([*turns, f"standin:echo {last}"])]


def ask(client: openai.OpenAI, *texts: str, stream: bool = False, **options: Any) -> str:
    if not stream:
        completion = client.chat.completions.create(model=GPT, messages=says(*texts), **options)
        return str(completion.choices[0].message.content)
    chunks = client.chat.completions.create(model=GPT, messages=says(*texts), stream=True, **options)
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def tokens_of(body: bytes) -> list[str]:
    return TOKEN.findall(body.decode())


def test_openai_gets_its_values_back_and_the_upstream_none(gateway: Cordon, gpt: openai.OpenAI) -> None:
    for stream in (False, True):
        seen = Seen(gateway)
        assert ask(gpt, TEXT, stream=stream) == f"You wrote: {TEXT}"
        body = gateway.eu.received[-1].body
        assert b"jana" not in body and b"4111" not in body
        mail, card, again = tokens_of(body)
        assert mail == again != card
        intent, outcome = seen.allowed(redacted={"email": "tokenise", "payment_card": "tokenise"})
        assert outcome["restored"] == 3 and not outcome["findings"]
        assert "jana" not in str([intent, outcome]) and mail not in str([intent, outcome])


def test_the_next_turn_repeats_the_tokens_on_every_worker(gateway: Cordon, gpt: openai.OpenAI) -> None:
    bodies = []
    answer = ask(gpt, TEXT)
    for _ in range(6):
        # A client of its own opens a connection of its own, which any of the workers may take.
        with openai.OpenAI(base_url=gpt.base_url, api_key=gpt.api_key, max_retries=0) as other:
            assert ask(other, TEXT, answer, "and now?") == "You wrote: and now?"
        bodies.append(gateway.eu.received[-1].body)
    first, *rest = (tokens_of(body) for body in bodies)
    assert len(first) == 6 and first[:3] == first[3:] and all(tokens == first for tokens in rest)


def test_a_token_from_an_earlier_call_is_its_callers_only(gateway: Cordon, gpt: openai.OpenAI) -> None:
    ask(gpt, TEXT)
    token = tokens_of(gateway.eu.received[-1].body)[0]
    question = f"Who is {token}, asks eve@example.org"
    for stream in (False, True):
        assert ask(gpt, question, stream=stream) == f"You wrote: Who is {MAIL}, asks eve@example.org"
    for name, tenant in (("other", "acme"), ("bot", "globex")):
        with openai.OpenAI(base_url=gpt.base_url, api_key=gateway.key(name, tenant), max_retries=0) as stranger:
            for stream in (False, True):
                assert ask(stranger, question, stream=stream) == f"You wrote: {question}"
    named = {"x-cordon-conversation": "ticket-7"}
    assert ask(gpt, question, extra_headers=named) == f"You wrote: {question}"


def test_responses_whole_and_streamed(gateway: Cordon, gpt: openai.OpenAI) -> None:
    asked = f"standin:echo {TEXT}"
    assert gpt.responses.create(model=GPT, input=asked).output_text == f"You wrote: {TEXT}"
    with gpt.responses.stream(model=GPT, input=asked) as stream:
        events = list(stream)
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == f"You wrote: {TEXT}"
    assert [e.text for e in events if e.type == "response.output_text.done"] == [f"You wrote: {TEXT}"]
    assert stream.get_final_response().output_text == f"You wrote: {TEXT}"
    for received in gateway.eu.received[-2:]:
        assert b"jana" not in received.body and len(tokens_of(received.body)) == 3


def test_anthropic_whole_and_streamed(gateway: Cordon, claude: anthropic.Anthropic) -> None:
    message = claude.messages.create(model=CLAUDE, max_tokens=500, messages=says(TEXT))
    assert "".join(block.text for block in message.content if block.type == "text") == f"You wrote: {TEXT}"
    with claude.messages.stream(model=CLAUDE, max_tokens=500, messages=says(TEXT)) as stream:
        assert stream.get_final_text() == f"You wrote: {TEXT}"
    for received in gateway.us.received[-2:]:
        assert b"jana" not in received.body and len(tokens_of(received.body)) == 3


def test_arguments_of_tool_calls_in_the_history_stay_json(gateway: Cordon, gpt: openai.OpenAI) -> None:
    arguments = json.dumps({"to": MAIL, "note": f'he said "{CARD}"'})
    call = {"id": "call_1", "type": "function", "function": {"name": "send", "arguments": arguments}}
    messages: Any = [
        {"role": "user", "content": "send it"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": f"sent to {MAIL}"},
        *says("done?"),
    ]
    gpt.chat.completions.create(model=GPT, messages=messages)
    sent = json.loads(gateway.eu.received[-1].body)["messages"]
    inside = json.loads(sent[1]["tool_calls"][0]["function"]["arguments"])
    assert sent[2]["content"] == f"sent to {inside['to']}"
    assert re.fullmatch(r'he said "\[CARD_[B-Z]{12}\]"', inside["note"])


def test_neither_the_table_nor_the_processes_own_log_holds_a_value(gateway: Cordon, gpt: openai.OpenAI) -> None:
    ask(gpt, TEXT)
    for file in gateway.data_dir.glob("cordon-side.db*"):
        assert b"jana" not in Path(file).read_bytes()
    assert "jana" not in gateway.errors
