"""Texts with planted findings, vendor streams that carry them in any cut, and readers that see what a client sees."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.content.answer import AnswerInspector, AnswerPlan, Ask, Emit, Final
from gateway.content.patterns import TYPES, PatternScanner
from gateway.content.tokens import Restorer

SCANNER = PatternScanner()
KEY = b"tenant-key-for-tests-0123456789ab"
MASK_ALL = dict.fromkeys(TYPES, "mask")

_WORDS = [
    "the",
    "report",
    "says",
    "that",
    "sales",
    "grew",
    "Hello",
    "world",
    "please",
    "see",
    "attached",
    "figures",
    "Berlin",
    "über",
    "naïve",
    "Müller",
    "next",
    "week",
    "order",
    "token",
    "secret",
    "key",
    "password",
    "call",
    "me",
    "at",
    "number",
    "card",
    "is",
    "fine",
    "thanks",
    "2024",
    "42",
    "3.14",
    "v1.2",
    "A1",
    "ok,",
    "yes;",
    "no?",
    "sure!",
    '"quoted"',
    "(bracket)",
    "[list]",
    "{brace}",
    "foo=bar",
    "a:b",
    "x/y",
    "C++",
    "e.g.",
    "i.e.",
    "日本語のテキスト",
    "です。",
    "привет",
    "мир",
    "🎉",
    "don't",
    "IBAN",
    "USA",
    "GB82",
    "12",
    "34",
    "5",
    "email",
    "@",
    "home",
    "#",
    "10:30",
    "10%",
    "&amp;",
    "\\n",
    "\\u0041",
    "-",
    "–",
    "—",
    "…",
]


def email(rng: random.Random) -> str:
    name = "".join(rng.choices(string.ascii_lowercase, k=rng.randint(1, 10)))
    return (
        f"{name}{rng.choice(['', '.x', '+tag', '_1'])}@{rng.choice(['example.com', 'mail.example.co.uk', 'a-b.org'])}"
    )


def luhn_complete(digits: str) -> str:
    total = 0
    for position, char in enumerate(reversed(digits)):
        value = int(char) * (2 if position % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return digits + str(-total % 10)


def payment_card(rng: random.Random) -> str:
    number = luhn_complete("4" + "".join(rng.choices(string.digits, k=14)))
    separator = rng.choice(["", " ", "-"])
    return separator.join(number[start : start + 4] for start in range(0, 16, 4))


def iban(rng: random.Random) -> str:
    account = "".join(rng.choices(string.digits, k=18))
    check = 98 - int(account + "131400") % 97
    compact = f"DE{check:02d}{account}"
    if rng.random() < 0.5:
        return compact
    return " ".join(compact[start : start + 4] for start in range(0, len(compact), 4))


def us_ssn(rng: random.Random) -> str:
    return f"{rng.randint(100, 665)}-{rng.randint(10, 99)}-{rng.randint(1000, 9999)}"


def phone(rng: random.Random) -> str:
    a, b, c = rng.randint(200, 999), rng.randint(200, 999), rng.randint(1000, 9999)
    return rng.choice([f"+1 ({a}) {b}-{c}", f"+1-{a}-{b}-{c}", f"({a}) {b}-{c}", f"+49 {a} {b}{c}"])


def ip_address(rng: random.Random) -> str:
    if rng.random() < 0.3:
        return ":".join(f"{rng.randint(0x1000, 0xFFFF):x}" for _ in range(8))
    return ".".join(str(rng.randint(1, 254)) for _ in range(4))


def api_key(rng: random.Random) -> str:
    body = "".join(rng.choices(string.ascii_letters + string.digits, k=40))
    return rng.choice(["sk-", "gh" + "p_", "sk-ant" + "-api03-", "glp" + "at-"]) + body


def private_key(rng: random.Random) -> str:
    lines = ["".join(rng.choices(string.ascii_letters + string.digits + "+/", k=64)) for _ in range(rng.randint(3, 20))]
    return "\n".join(["-----BEGIN PRIVATE" + " KEY-----", *lines, "abcdefgh", "-----END PRIVATE" + " KEY-----"])


_ASSIGNMENTS = (
    'api_key = "{}"',
    "password: {}",
    "<apiToken>\n    {}\n</apiToken>",
    'set("X_TOKEN", "{}")',
    "secret_key ?= {}",
    'var xToken string = "{}"',
    "Authorization: Bearer {}",
    "--x-api-key {}",
    "https://user:{}@host.example/x",
)


def assignment(rng: random.Random) -> str:
    """A secret without a shape of its own, as the value of a telling name."""
    value = "".join(rng.choices(string.ascii_letters + string.digits, k=24)) + "7a"
    return rng.choice(_ASSIGNMENTS).format(value)


MAKERS: Mapping[str, Callable[[random.Random], str]] = {
    "email": email,
    "payment_card": payment_card,
    "iban": iban,
    "us_ssn": us_ssn,
    "phone": phone,
    "ip_address": ip_address,
    "api_key": api_key,
    "assignment": assignment,
}


def filler(rng: random.Random, words: int) -> str:
    return "".join(rng.choice(_WORDS) + rng.choice([" ", " ", " ", "\n", ", "]) for _ in range(words))


def planted(rng: random.Random, plants: int = 3, words: int = 8) -> str:
    """Filler with findings of random types in it."""
    parts = [filler(rng, rng.randint(0, words))]
    for _ in range(plants):
        maker = private_key if rng.random() < 0.05 else rng.choice(list(MAKERS.values()))
        parts += [maker(rng), rng.choice([" ", ". ", ",", "\n", ""]), filler(rng, rng.randint(0, words))]
    return "".join(parts)


def arguments(rng: random.Random, plants: int = 2) -> str:
    """JSON text of a tool call, with findings in strings, escapes, names and numbers."""
    value: dict[str, Any] = {
        "note": planted(rng, plants),
        "card": int(payment_card(rng).replace(" ", "").replace("-", "")),
    }
    value[email(rng)] = [phone(rng), {"deep": ip_address(rng)}]
    return json.dumps(value, ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, 1]))


def cut(rng: random.Random, text: str, longest: int = 12) -> list[str]:
    """`text` in pieces of random length."""
    pieces = []
    position = 0
    while position < len(text):
        size = rng.randint(1, longest)
        pieces.append(text[position : position + size])
        position += size
    return pieces


@dataclass
class Stream:
    """A vendor's stream and the texts in it, by the name that the protocol's reader gives them (`READERS`)."""

    protocol: str
    data: bytes
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def dialect(self) -> str:
        return "openai" if self.protocol == "responses" else self.protocol


def openai_stream(rng: random.Random, texts: Mapping[str, str], *, logprobs: bool = False, longest: int = 12) -> Stream:
    """Chunks of chat completions. Names of texts: `0/content`, `1/refusal`, `0/tool/1`, …"""
    queues = {name: cut(rng, text, longest) for name, text in texts.items()}
    choices = sorted({name.partition("/")[0] for name in texts})
    events: list[Any] = [_chunk(int(choice), {"role": "assistant", "content": ""}) for choice in choices]
    started: set[str] = set()
    while any(queues.values()):
        name = rng.choice([name for name, pieces in queues.items() if pieces])
        choice, kind, *rest = name.split("/")
        text = queues[name].pop(0)
        tokens = None
        if kind == "tool":
            delta: dict[str, Any] = {"tool_calls": [{"index": int(rest[0]), "function": {"arguments": text}}]}
            if name not in started:
                delta["tool_calls"][0] |= {"id": f"call_{rest[0]}", "type": "function"}
                delta["tool_calls"][0]["function"]["name"] = "look_up"
                started.add(name)
        else:
            delta = {kind: text}
            if logprobs and kind == "content":
                tokens = [_token(piece) for piece in cut(rng, text, 4)]
        events.append(_chunk(int(choice), delta, tokens))
        if rng.random() < 0.05:
            events.append(": keep alive")
    events += [_chunk(int(choice), {}, finish="stop") for choice in choices]
    events.append({"id": "chatcmpl-1", "model": "gpt-x", "choices": [], "usage": {"total_tokens": 12}})
    events.append("data: [DONE]")
    return Stream("openai", _write(rng, events), dict(texts))


def _chunk(index: int, delta: dict[str, Any], tokens: Any = None, finish: str | None = None) -> dict[str, Any]:
    choice = {
        "index": index,
        "delta": delta,
        "logprobs": {"content": tokens} if tokens else None,
        "finish_reason": finish,
    }
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1747148050,
        "model": "gpt-x",
        "choices": [choice],
    }


def _token(text: str) -> dict[str, Any]:
    return {"token": text, "logprob": -0.25, "bytes": list(text.encode()), "top_logprobs": []}


def anthropic_stream(rng: random.Random, blocks: Sequence[tuple[str, str]], longest: int = 12) -> Stream:
    """Events of messages. Each block is (text | thinking | tool_use, its text); names of texts: `0/text`, …"""
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": [], "usage": {}}
    events: list[Any] = [{"type": "message_start", "message": message}, {"type": "ping"}]
    for index, (kind, text) in enumerate(blocks):
        block = (
            {"type": kind, "id": "toolu_1", "name": "look_up", "input": {}}
            if kind == "tool_use"
            else {"type": kind, kind: ""}
        )
        pieces = cut(rng, text, longest)
        if kind != "tool_use" and pieces and rng.random() < 0.3:
            block[kind] = pieces.pop(0)
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        for piece in pieces:
            name = {"text": "text_delta", "thinking": "thinking_delta", "tool_use": "input_json_delta"}[kind]
            delta = {"type": name, "partial_json" if kind == "tool_use" else kind: piece}
            events.append({"type": "content_block_delta", "index": index, "delta": delta})
            if rng.random() < 0.05:
                events.append(rng.choice([{"type": "ping"}, ": comment"]))
        if kind == "thinking":
            delta = {"type": "signature_delta", "signature": "c2ln" * 30}
            events.append({"type": "content_block_delta", "index": index, "delta": delta})
        events.append({"type": "content_block_stop", "index": index})
    events.append({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}})
    events.append({"type": "message_stop"})
    texts = {f"{index}/{kind}": text for index, (kind, text) in enumerate(blocks)}
    return Stream("anthropic", _write(rng, events, named=True), texts)


_RESPONSE_TEXTS = {
    "text": ("response.output_text", "content", "text"),
    "refusal": ("response.refusal", "content", "refusal"),
    "reasoning": ("response.reasoning_text", "content", "text"),
    "summary": ("response.reasoning_summary_text", "summary", "text"),
    "tool": ("response.function_call_arguments", "", "arguments"),
    "custom": ("response.custom_tool_call_input", "", "input"),
    "code": ("response.code_interpreter_call_code", "", "code"),
}
_PART_TYPES = {"text": "output_text", "refusal": "refusal", "reasoning": "reasoning_text", "summary": "summary_text"}


def responses_stream(
    rng: random.Random, items: Sequence[tuple[str, str]], *, logprobs: bool = False, longest: int = 12
) -> Stream:
    """Events of a response whose items come at the same time. Each item is (kind, its text); texts: `0/text`, …

    Kinds are those of `_RESPONSE_TEXTS`. Each text is said in deltas, when it is done, with its part, with its item
    and at the end.
    """
    response: dict[str, Any] = {"id": "resp_1", "object": "response", "model": "gpt-x", "status": "in_progress"}
    events: list[Any] = [{"type": "response.created", "response": response | {"output": []}}]
    queues = [_response_events(rng, index, kind, text, logprobs, longest) for index, (kind, text) in enumerate(items)]
    while any(queues):
        events.append(rng.choice([queue for queue in queues if queue]).pop(0))
        if rng.random() < 0.05:
            events.append(rng.choice([": keep alive", {"type": "response.in_progress", "response": response}]))
    output = [_response_item(index, kind, text, []) for index, (kind, text) in enumerate(items)]
    last = rng.choice(["completed", "incomplete"])
    events.append({"type": f"response.{last}", "response": response | {"status": last, "output": output}})
    numbered = [event | {"sequence_number": n} if isinstance(event, dict) else event for n, event in enumerate(events)]
    texts = {f"{index}/{kind}": text for index, (kind, text) in enumerate(items)}
    return Stream("responses", _write(rng, numbered, named=True), texts)


def _response_item(index: int, kind: str, text: str, logprobs: list[Any]) -> dict[str, Any]:
    _, list_name, field = _RESPONSE_TEXTS[kind]
    item = {"id": f"item_{index}", "type": kind, "status": "completed"}
    if not list_name:
        return item | {field: text, "call_id": f"call_{index}", "name": "look_up"}
    tokens = {"logprobs": logprobs} if logprobs else {}
    return item | {list_name: [{"type": _PART_TYPES[kind], field: text, **tokens}]}


def _response_events(
    rng: random.Random, index: int, kind: str, text: str, logprobs: bool, longest: int
) -> list[dict[str, Any]]:
    name, list_name, field = _RESPONSE_TEXTS[kind]
    place: dict[str, Any] = {"output_index": index, "item_id": f"item_{index}"}
    if list_name:
        place[f"{list_name}_index"] = 0
    part_name = {"content": "response.content_part", "summary": "response.reasoning_summary_part"}.get(list_name, "")
    with_tokens = logprobs and kind == "text"
    item = _response_item(index, kind, text, [_token(piece) for piece in cut(rng, text, 4)] if with_tokens else [])
    empty = _response_item(index, kind, "", []) | {"status": "in_progress"} | ({list_name: []} if list_name else {})
    events = [{"type": "response.output_item.added", "output_index": index, "item": empty}]
    if part_name:
        events.append({"type": f"{part_name}.added", "part": {"type": _PART_TYPES[kind], field: ""}} | place)
    for piece in cut(rng, text, longest):
        tokens = {"logprobs": [_token(part) for part in cut(rng, piece, 4)]} if with_tokens else {}
        events.append({"type": f"{name}.delta", "delta": piece, **tokens} | place)
    events.append({"type": f"{name}.done", field: text} | place)
    if part_name:
        events.append({"type": f"{part_name}.done", "part": item[list_name][0]} | place)
    events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    return events


def _write(rng: random.Random, events: Iterable[Any], *, named: bool = False) -> bytes:
    """Server-sent events with any of the line ends the specification allows."""
    end = rng.choice(["\n", "\n", "\r\n", "\r"])
    lines: list[str] = []
    for event in events:
        if isinstance(event, str):
            lines += [event, ""]
            continue
        if named:
            lines.append(f"event: {event['type']}")
        data = json.dumps(event, ensure_ascii=rng.random() < 0.3)
        lines += [f"data:{rng.choice(['', ' '])}{data}", ""]
    return "".join(line + end for line in lines).encode()


def events_of(data: bytes) -> Iterator[Any]:
    """The data of each event, as JSON where it is."""
    for block in data.decode().split("\n\n"):
        lines = [line[6:] for line in block.split("\n") if line.startswith("data: ")]
        if lines:
            text = "\n".join(lines)
            yield json.loads(text) if text.startswith("{") else text


def read_openai(data: bytes) -> dict[str, str]:
    """What a client puts together of a stream, logprobs included (`0/logprobs`)."""
    texts: dict[str, str] = {}
    for event in events_of(data):
        for choice in event.get("choices", []) if isinstance(event, dict) else []:
            index, delta = choice["index"], choice["delta"]
            for call in delta.get("tool_calls") or []:
                name = f"{index}/tool/{call['index']}"
                texts[name] = texts.get(name, "") + call["function"].get("arguments", "")
            for kind, text in delta.items():
                if isinstance(text, str) and kind != "role":
                    texts[f"{index}/{kind}"] = texts.get(f"{index}/{kind}", "") + text
            if choice.get("logprobs"):
                name = f"{index}/logprobs"
                texts[name] = texts.get(name, "") + "".join(
                    entry["token"] + bytes(entry["bytes"] or b"").decode() for entry in choice["logprobs"]["content"]
                )
    return texts


def read_anthropic(data: bytes) -> dict[str, str]:
    """What a client puts together of a stream."""
    texts: dict[str, str] = {}
    names: dict[int, str] = {}
    for event in events_of(data):
        kind = event["type"]
        if kind == "content_block_start":
            block = event["content_block"]
            names[event["index"]] = f"{event['index']}/{block['type']}"
            texts[names[event["index"]]] = block.get(block["type"], "")
        elif kind == "content_block_delta":
            delta = event["delta"]
            for name in ("text", "thinking", "partial_json"):
                texts[names[event["index"]]] += delta.get(name, "")
    return texts


def read_responses(data: bytes) -> dict[str, str]:
    """What a client puts together of a stream of a response; all five ways of saying a text must say the same."""
    deltas: dict[str, str] = {}
    said: dict[str, set[str]] = {}
    kinds = {name: (kind, field) for kind, (name, _, field) in _RESPONSE_TEXTS.items()}
    for event in events_of(data):
        stem, _, moment = event["type"].rpartition(".")
        if stem in kinds:
            kind, field = kinds[stem]
            name = f"{event['output_index']}/{kind}"
            if moment == "delta":
                deltas[name] = deltas.get(name, "") + event["delta"]
                for entry in event.get("logprobs", []):
                    tokens = f"{event['output_index']}/logprobs"
                    deltas[tokens] = deltas.get(tokens, "") + entry["token"] + bytes(entry["bytes"] or b"").decode()
            else:
                said.setdefault(name, set()).add(event[field])
        elif moment == "done" and "part" in event:
            part = event["part"]
            kind = next(kind for kind, known in _PART_TYPES.items() if known == part["type"])
            said.setdefault(f"{event['output_index']}/{kind}", set()).add(part[_RESPONSE_TEXTS[kind][2]])
        elif moment == "done":
            _say_item(said, event["output_index"], event["item"])
        elif moment in ("completed", "incomplete"):
            for index, item in enumerate(event["response"]["output"]):
                _say_item(said, index, item)
    for name, texts in said.items():
        assert texts == {deltas.get(name, "")}, name
    return deltas


def _say_item(said: dict[str, set[str]], index: int, item: dict[str, Any]) -> None:
    _, list_name, field = _RESPONSE_TEXTS[item["type"]]
    texts = [part[field] for part in item[list_name]] if list_name else [item[field]]
    said.setdefault(f"{index}/{item['type']}", set()).update(texts)


READERS = {"openai": read_openai, "anthropic": read_anthropic, "responses": read_responses}


@dataclass
class Result:
    """What came of an answer that was fed to the machine."""

    inspector: AnswerInspector
    emitted: bytes = b""
    final: bytes | None = None
    asks: list[Ask] = field(default_factory=list)

    @property
    def data(self) -> bytes:
        return self.emitted + (self.final or b"")


Decide = Callable[[Ask], tuple[bool, Mapping[str, str]]]


def allow(ask: Ask) -> tuple[bool, Mapping[str, str]]:
    return True, {}


def inspect(
    chunks: Iterable[bytes],
    dialect: str = "openai",
    *,
    plan: AnswerPlan | None = None,
    media_type: str = "text/event-stream",
    coding: str = "",
    decide: Decide = allow,
    end: bool = True,
    restorer: Restorer | None = None,
) -> Result:
    """Feed an answer piece by piece; questions are answered by `decide`."""
    inspector = AnswerInspector(
        dialect=dialect,
        status=200,
        media_type=media_type,
        content_encoding=coding,
        scanner=SCANNER,
        plan=plan or AnswerPlan(redact=MASK_ALL),
        key=KEY,
        restorer=restorer,
    )
    result = Result(inspector)
    for chunk in chunks:
        inspector.feed(chunk)
        _steps(result, decide)
    if end and not inspector.blocked:
        inspector.end()
        _steps(result, decide)
    return result


def _steps(result: Result, decide: Decide) -> None:
    for step in result.inspector.steps():
        if isinstance(step, Emit):
            result.emitted += step.data
        elif isinstance(step, Final):
            assert result.final is None
            result.final = step.data
        else:
            result.asks.append(step)
            result.inspector.answer(*decide(step))


def cut_bytes(rng: random.Random, data: bytes, cuts: int) -> list[bytes]:
    """`data` in at most `cuts` + 1 pieces."""
    places = sorted(rng.randrange(len(data) + 1) for _ in range(cuts))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def bytewise(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]
