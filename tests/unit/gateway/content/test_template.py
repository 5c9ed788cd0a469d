"""Events that are like an earlier one: what is taken for one, and what must not be."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

import orjson
import pytest

from gateway.content.json_text import Json
from gateway.content.pieces import Piece
from gateway.content.sse import Event
from gateway.content.template import Template, Templates, template_of


def event(raw: bytes | str, name: str = "") -> Event:
    return Event(name, raw.encode() if isinstance(raw, str) else raw)


def chunk(text: str, **more: Json) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": 0, "delta": {"content": text}}], **more}


def template(raw: str) -> Template | None:
    value = orjson.loads(raw)
    delta = value["choices"][0]["delta"]
    key = ("choices", 0, "delta", "content")
    return template_of(event(raw), value, Piece(key, delta, "content", delta["content"]))


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (",\n ", " :\t")])
@pytest.mark.parametrize("more", [{}, {"obfuscation": "abc"}, {"sequence_number": 7, "obfuscation": ""}])
def test_an_event_that_differs_in_its_holes_is_read_and_written(
    separators: tuple[str, str], more: dict[str, Json]
) -> None:
    found = template(json.dumps(chunk("a", **more), separators=separators))
    assert found is not None
    later = {"obfuscation": "a@b", "sequence_number": 8}
    text = 'say "é" \\ \n },"finish'
    value = chunk(text, **{name: later[name] for name in more})
    holes = found.read(event(json.dumps(value, separators=separators)))
    assert holes is not None and holes[found.text] == text
    written = orjson.loads(found.write(holes))
    assert written == value | ({"obfuscation": "000"} if "obfuscation" in more else {})
    assert list(written) == list(value)
    assert found.number(holes) == (8 if "sequence_number" in more else None)


@pytest.mark.parametrize(
    "raw",
    [
        '{"id":"d","choices":[{"index":0,"delta":{"content":"x"}}]}',
        '{"id":"c","choices":[{"index":0,"delta":{"content":""}}]}',
        '{"id":"c","choices":[{"index":0,"delta":{"content":null}}]}',
        '{"id":"c","choices":[{"index":0,"delta":{"content":["x"]}}]}',
        '{"id":"c","choices":[{"index":0,"delta":{"content":"x","content":"y"}}]}',
        '{"id":"c","choices":[{"index":0,"delta":{"content":"x","refusal":"y"}}]}',
        '{"id":"c","choices":[{"index":0,"delta":{"content":"\\ud800"}}]}',
        '{"id":"c","choices":[{"index":0,"delta":{"content":"x}}]}',
        '{"id":"c","choices":[{"index":0,"delta":{"content":"x\\"}}]}',
        '{"id":"c","choices":[{"index":0,"delta":{"content":',
        '"}}]}',
    ],
)
def test_any_other_event_is_not_taken_for_one(raw: str) -> None:
    found = template('{"id":"c","choices":[{"index":0,"delta":{"content":"a"}}]}')
    assert found is not None
    assert found.read(event(raw)) is None


def test_two_broken_holes_do_not_make_a_whole_event() -> None:
    found = template('{"choices":[{"delta":{"content":"a"}}],"obfuscation":"b"}')
    assert found is not None
    assert found.read(event('{"choices":[{"delta":{"content":"a","b"}}],"obfuscation":c"}')) is None
    assert found.read(event('{"choices":[{"delta":{"content":"a"}}],"obfuscation":"b","content":"c"}')) is None


@pytest.mark.parametrize("number", ["-1", "1.5", "true", '"9"', "1000000", "4111111111111111", "1e3", "01"])
def test_a_number_that_would_be_looked_at_is_no_number_of_an_event(number: str) -> None:
    raw = '{"sequence_number":%s,"choices":[{"delta":{"content":"a"}}]}'
    found = template(raw % "5")
    assert found is not None
    assert found.read(event(raw % number)) is None


@pytest.mark.parametrize(
    "raw",
    [
        '{"choices":[{"delta":{"content":"a"}}],"content":"b"}',
        '{"choices":[{"delta":{"content":"a","cont\\u0065nt":"b"}}]}',
        '{"choices":[{"delta":{"content":"a"}}],"obfuscation":5}',
        '{"choices":[{"delta":{"content":"a"}}],"sequence_number":-2}',
        '{"x":"\\ue0f0text\\ue0f0","choices":[{"delta":{"content":"a"}}]}',
        '{"content":"\ue0f0text\ue0f0","choices":[{"delta":{"cont\\u0065nt":"\ue0f0text\ue0f0"}}]}',
    ],
)
def test_where_the_place_of_the_text_is_not_certain_there_is_no_template(raw: str) -> None:
    assert template(raw) is None


def test_the_name_and_the_id_of_an_event_are_part_of_it() -> None:
    raw = '{"choices":[{"delta":{"content":"a"}}]}'
    found = template(raw)
    assert found is not None
    assert found.read(event(raw, "other")) is None
    assert found.read(Event("", raw.encode(), "4111")) is None
    assert found.read(Event("comment", None)) is None


def test_few_are_at_hand_and_none_after_what_changes_their_meaning() -> None:
    templates = Templates()
    events: deque[Event] = deque()
    for number in range(100):
        raw = json.dumps({"n": number} | chunk("a"))
        value = orjson.loads(raw)
        delta = value["choices"][0]["delta"]
        events.append(event(raw))
        piece = Piece(("choices", 0, "delta", "content"), delta, "content", "a")
        templates.keep(events[-1], value, piece, raw.encode())
    assert [templates.find(item) is not None for item in events].count(True) == 8
    templates.forget()
    assert not any(templates.find(item) for item in events)
