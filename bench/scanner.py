"""What inspection costs: microseconds for a chat document of about 1 KB, clean and with findings, and for streams.

Usage: python -m bench.scanner [repetitions]
"""

from __future__ import annotations

import sys
import time
import timeit
from collections.abc import Callable
from functools import partial

import orjson

from gateway.content.answer import AnswerInspector, AnswerPlan
from gateway.content.findings import Ask
from gateway.content.patterns import TYPES, PatternScanner
from gateway.content.request import read_body
from gateway.content.walk import Texts

PROSE = (
    "Please summarise the attached report on the third quarter for our board: what grew, what shrank, and which of the "
    "risks named last year (supply, currency, staff) have come true. Keep it to one page, with a table of the figures. "
)
FOUND = (
    "Write to anna.schmidt@example.com or call +49 30 901820 about card 4111 1111 1111 1111 and the account "
    "DE89 3704 0044 0532 0130 00. "
)
KEY = b"k" * 32
MASK = dict.fromkeys(TYPES, "mask")


def chat(text: str) -> bytes:
    """A chat request with `text` in its messages, and one tool."""
    parameters = {"type": "object", "properties": {"city": {"type": "string", "description": "The city"}}}
    function = {"name": "weather", "description": "Looks the weather up", "parameters": parameters}
    messages = [
        {"role": "system", "content": PROSE},
        {"role": "user", "content": text},
        {"role": "assistant", "content": "Certainly. Which of the two reports do you mean?"},
        {"role": "user", "content": "The second one, please."},
    ]
    return orjson.dumps(
        {"model": "gpt-4o-mini", "temperature": 0.2, "stream": True, "messages": messages,
         "tools": [{"type": "function", "function": function}]}
    )  # fmt: skip


def stream(text: str) -> bytes:
    """A stream of chat completion chunks that says `text` word by word."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1747148050, "model": "gpt-4o-mini"}
    chunks = [
        {**head, "choices": [{"index": 0, "delta": {"content": word + " "}, "logprobs": None, "finish_reason": None}]}
        for word in text.split(" ")
    ]
    chunks.append({**head, "choices": [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]})
    return b"".join(b"data: %s\n\n" % orjson.dumps(chunk) for chunk in chunks) + b"data: [DONE]\n\n"


def inspect(data: bytes, media_type: str, scanner: PatternScanner, piece: int) -> None:
    """One answer through the machine, in pieces of `piece` bytes."""
    plan = AnswerPlan(redact=MASK)
    inspector = AnswerInspector(
        dialect="openai", status=200, media_type=media_type, content_encoding="", scanner=scanner, plan=plan, key=KEY
    )
    for start in range(0, len(data), piece):
        inspector.feed(data[start : start + piece])
        _steps(inspector)
    inspector.end()
    _steps(inspector)


def _steps(inspector: AnswerInspector) -> None:
    for step in inspector.steps():
        if isinstance(step, Ask):
            inspector.answer(True)


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    scanner = PatternScanner()

    def measure(name: str, work: Callable[[], object], size: int, per: int = 1) -> None:
        cost = min(timeit.repeat(work, timer=time.process_time, number=number // per, repeat=5)) / (number // per) * 1e6
        print(f"{name:48}{size:8} B{cost:10.1f} µs{cost / size * 1024:10.1f} µs/KB")

    for name, text in (("clean", PROSE * 3), ("four findings", PROSE * 2 + FOUND)):
        body = chat(text)
        value = orjson.loads(body)
        content = read_body(b"application/json", b"", body, dialect="openai")
        measure(
            f"request, {name}: read", partial(read_body, b"application/json", b"", body, dialect="openai"), len(body)
        )
        measure(f"request, {name}: walk and join", partial(Texts, value), len(body))
        measure(f"request, {name}: walk and scan", partial(content.scan, scanner), len(body))
        measure(f"request, {name}: write with redaction", partial(content.render, MASK, KEY), len(body))
        measure(f"text alone, {name}: scan", partial(scanner.scan, text), len(text))
        answer = orjson.dumps(
            {"model": "m", "choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}
        )
        measure(f"answer, {name}", partial(inspect, answer, "application/json", scanner, 65536), len(answer))
        events = stream(text)
        count = events.count(b"\n\n")
        for size, told in ((200, "a read each"), (8192, "in 8 KB reads")):
            work = partial(inspect, events, "text/event-stream", scanner, size)
            measure(f"stream, {name}: {count} events, {told}", work, len(events), 20)


if __name__ == "__main__":
    main()
