"""The scenes with honest callers. Each plays one call, shows both sides of it, and checks that it went as told."""

from __future__ import annotations

import time
from typing import Final

import orjson

from cordon.demo.clients import Refused, anthropic_chat, openai_chat, problem_of, request
from cordon.demo.screen import Screen
from cordon.demo.stage import Keys, Stage

CARD: Final = "4111 1111 1111 1111"
IBAN: Final = "DE89 3704 0044 0532 0130 00"
QUESTION: Final = "What is the capital of France?"


def allowed(stage: Stage, screen: Screen, keys: Keys) -> None:
    """A chat that policy allows, whole."""
    screen.scene("An allowed chat, answered whole")
    start = stage.size()
    chat = openai_chat(stage.url, keys.support)
    screen.fact("client", f"{chat.name}, with Cordon's address as base URL and a Cordon key")
    screen.fact("asks", QUESTION)
    answer = chat.ask(QUESTION)
    screen.fact("answer", answer)
    intent = stage.awaited(start, "call.intent")
    outcome = stage.awaited(start, "call.outcome", verdict="allowed")
    screen.check("Paris" in answer, "the answer arrived")
    screen.check(
        intent and outcome and outcome["intent"] == intent["index"],
        f"recorded before it was sent (intent, record {_index(intent)}) and before the client had all of it "
        f"(outcome, record {_index(outcome)})",
    )


def streamed(stage: Stage, screen: Screen, keys: Keys) -> None:
    """The same, streamed."""
    screen.scene("The same, streamed")
    start = stage.size()
    chat = openai_chat(stage.url, keys.support)
    screen.fact("asks", QUESTION)
    screen.opens("answer")
    pieces = 0
    text = ""
    for piece in chat.stream(QUESTION):
        screen.piece(piece)
        text += piece
        pieces += bool(piece)
    screen.closes()
    outcome = stage.awaited(start, "call.outcome", verdict="allowed")
    screen.check(pieces > 5 and "Paris" in text, f"the answer came in {pieces} pieces")
    screen.check(outcome, f"its end was held until the outcome was on the disk (record {_index(outcome)})")


def masked(stage: Stage, screen: Screen, keys: Keys) -> None:
    """Personal data is masked before it leaves."""
    screen.scene("Personal data is masked on the way out")
    start = stage.size()
    prompt = f"Draft a reply: refund 49.90 EUR to card {CARD}, or to {IBAN} if the card is closed."
    chat = openai_chat(stage.url, keys.support)
    screen.fact("sent", prompt, marked=(CARD, IBAN), colour="red")
    answer = chat.ask(prompt)
    received = str(orjson.loads(stage.upstream_received())["messages"][0]["content"])
    screen.fact("received", received, marked=_differences(prompt, received), colour="green")
    screen.fact("answer", answer)
    intent = stage.awaited(start, "call.intent") or {}
    screen.check(CARD not in received and IBAN not in received, "the upstream never saw the card and the account")
    screen.check("49.90 EUR" in received, "everything else reached it unchanged")
    screen.check(
        intent.get("redacted", {}).keys() >= {"payment_card", "iban"},
        f"the record says what was found and what was done: {_counts(intent.get('redacted'))}",
    )


def residency(stage: Stage, screen: Screen, keys: Keys) -> None:
    """A call that would take a tenant's data out of its jurisdictions is refused."""
    screen.scene("Refused: the data may not go there")
    start = stage.size()
    chat = anthropic_chat(stage.url, keys.support)
    screen.fact("client", f"{chat.name}; acme's data must stay in the EU, this route's endpoint is in the US")
    screen.fact("asks", QUESTION)
    try:
        screen.fact("answer", chat.ask(QUESTION))
        screen.check(False, "the call is refused")
    except Refused as refused:
        screen.fact("raises", refused.name, marked=(refused.name,), colour="red")
        screen.fact("because", str(refused))
        told = "the client's usual exception, status 403, tells the reason and the way out"
        screen.check(refused.status == 403 and "EU" in str(refused), told)
    screen.check(stage.awaited(start, "call.refused", stage="decision"), "the refusal is in the log")
    screen.check(not stage.records(start, "call.intent"), "nothing was sent to any upstream")
    answer = anthropic_chat(stage.url, keys.analyst).ask(QUESTION)
    screen.check("Paris" in answer, "globex, whose data may go to the US, gets its answer from the same route")


def blocked(stage: Stage, screen: Screen, keys: Keys) -> None:
    """An answer that must not come out is stopped in the middle of its stream."""
    screen.scene("Blocked in mid-stream: the answer must not come out")
    start = stage.size()
    question = "What do the board minutes say?"
    chat = openai_chat(stage.url, keys.support)
    screen.fact("asks", question)
    screen.opens("answer")
    text = ""
    try:
        for piece in chat.stream(question):
            screen.piece(piece)
            text += piece
        screen.closes()
        screen.check(False, "the stream is stopped")
    except Refused as refused:
        screen.closes()
        screen.fact("raises", refused.name, marked=(refused.name,), colour="red")
        screen.fact("because", str(refused))
    outcome = stage.awaited(start, "call.outcome", verdict="blocked")
    screen.check(text, "the harmless beginning had reached the client")
    screen.check(
        "confidential" not in text.lower() and "acquire" not in text,
        "not a letter of the marked passage did, though it was cut into pieces of five characters",
    )
    screen.check(outcome, f"the outcome says blocked (record {_index(outcome)})")


def connector(stage: Stage, screen: Screen, keys: Keys) -> None:
    """Any HTTP API can stand behind Cordon."""
    screen.scene("A plain HTTP connector")
    start = stage.size()
    screen.fact("calls", "GET /crm/customers/1001")
    began = time.perf_counter()
    answer = request("GET", f"{stage.url}/crm/customers/1001", {"authorization": f"Bearer {keys.support}"})
    took = (time.perf_counter() - began) * 1000
    customer = orjson.loads(answer.read())
    screen.fact("answer", ", ".join(f"{name} {value}" for name, value in customer.items()))
    screen.check(answer.status == 200 and customer["id"] == "1001", f"answered in {took:.1f} ms")
    outcome = stage.awaited(start, "call.outcome", verdict="allowed") or {}
    screen.check(
        outcome.get("findings"), f"the record counts what was found in the answer: {_counts(outcome.get('findings'))}"
    )
    wrong = request("GET", f"{stage.url}/crm/customers/1001", {"authorization": "Bearer cordon_guessed"})
    screen.check(wrong.status == 401, f"without a known key: {wrong.status}, {problem_of(wrong)}")


def _index(record: dict[str, object] | None) -> object:
    return record["index"] if record else "missing"


def _counts(values: object) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items()) if isinstance(values, dict) else "nothing"


def _differences(sent: str, received: str) -> list[str]:
    """The words that the upstream received and the client did not send."""
    known = set(sent.split())
    return [word.rstrip(".,") for word in received.split() if word not in known]
