"""The machine for answers: each kind of body, each demand of a plan, each way to end."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Mapping
from typing import Any

import pytest

from gateway.content.answer import AnswerInspector, AnswerLimits, AnswerPlan, Ask, Emit, Final
from gateway.content.errors import ContentError
from gateway.content.json_text import Json
from tests.support.content import (
    KEY,
    MASK_ALL,
    SCANNER,
    anthropic_stream,
    bytewise,
    cut_bytes,
    inspect,
    openai_stream,
    read_openai,
)

MAIL = "a@b.org"
JSON = "application/json"


def openai_answer(content: str, **more: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop", **more}
    return json.dumps(
        {"id": "chatcmpl-1", "model": "gpt-x", "choices": [choice], "usage": {"total_tokens": 3}}
    ).encode()


def machine(**more: Any) -> AnswerInspector:
    settings: dict[str, Any] = {
        "dialect": "openai",
        "status": 200,
        "media_type": JSON,
        "content_encoding": "",
        "scanner": SCANNER,
        "plan": AnswerPlan(),
        "key": KEY,
    }
    return AnswerInspector(**(settings | more))


# Whole bodies


def test_a_whole_answer_is_held_until_its_end_and_redacted() -> None:
    inspector = machine(plan=AnswerPlan(redact=MASK_ALL))
    body = openai_answer(f"to {MAIL}")
    for piece in bytewise(body):
        inspector.feed(piece)
        assert list(inspector.steps()) == []
    inspector.end()
    steps = inspector.steps()
    ask = next(steps)
    assert isinstance(ask, Ask) and ask.types == ("email",)
    assert ask.summary["email"]["pointers"] == ["/choices/0/message/content"]
    inspector.answer(True)
    final = next(steps)
    assert isinstance(final, Final)
    assert json.loads(final.data)["choices"][0]["message"]["content"] == "to [EMAIL]"
    assert list(steps) == []
    assert inspector.complete and inspector.finished and inspector.model == "gpt-x"


def test_a_whole_answer_is_the_same_for_any_cut() -> None:
    body = openai_answer(f"to {MAIL}")
    whole = inspect([body], media_type=JSON)
    for seed in range(5):
        assert inspect(cut_bytes(random.Random(seed), body, 20), media_type=JSON).data == whole.data


def test_every_choice_and_every_field_is_inspected() -> None:
    value: Any = json.loads(openai_answer("x"))
    message = {
        "content": MAIL,
        "refusal": MAIL,
        "reasoning_content": MAIL,
        "audio": {"transcript": MAIL},
        "annotations": [{"url_citation": {"title": MAIL}}],
        "tool_calls": [{"id": MAIL, "function": {"name": MAIL, "arguments": '{"x":"a\\u0040b.org"}'}}],
    }
    value["choices"] = [{"index": 0, "message": {"content": "clean"}}, {"index": 1, "message": message}]
    value["system_fingerprint"] = MAIL
    value["unknown"] = [{MAIL: MAIL}]
    result = inspect([json.dumps(value).encode()], media_type=JSON)
    assert MAIL.encode() not in result.data and b"u0040" not in result.data
    assert result.inspector.summary()["email"]["count"] == 11


def test_log_probabilities_of_a_whole_answer_lose_the_finding() -> None:
    tokens = [
        {"token": t, "logprob": -1, "bytes": list(t.encode()), "top_logprobs": [{"token": t, "logprob": -1}]}
        for t in ("to ", "a@", "b.org", " ok")
    ]
    result = inspect([openai_answer(f"to {MAIL} ok", logprobs={"content": tokens})], media_type=JSON)
    kept = json.loads(result.data)["choices"][0]["logprobs"]["content"]
    assert [entry["token"] for entry in kept] == ["to ", " ok"]


def test_log_probabilities_under_an_escaped_name_are_the_same() -> None:
    tokens = [{"token": t, "logprob": -1} for t in ("to ", "a@", "b.org", " ok")]
    body = openai_answer("clean", logprobs={"content": tokens}).replace(b'"logprobs"', b'"logprob\\u0073"')
    result = inspect([body], media_type=JSON)
    kept = json.loads(result.data)["choices"][0]["logprobs"]["content"]
    assert [entry["token"] for entry in kept] == ["to ", " ok"]


def test_a_text_is_too_long_by_its_characters_and_not_by_its_bytes() -> None:
    body = openai_answer("ä" * 20)
    for longest, found in ((19, True), (20, False)):
        result = inspect([body], media_type=JSON, plan=AnswerPlan(max_chars=longest))
        assert ("too_long" in result.inspector.summary()) is found


def test_an_anthropic_answer_keeps_its_seal_and_tells_of_it() -> None:
    content = [
        {"type": "thinking", "thinking": f"about {MAIL}", "signature": "c2ln" * 30},
        {"type": "redacted_thinking", "data": "QUJD" * 40},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"card": 4111111111111111}},
    ]
    body = json.dumps({"type": "message", "model": "claude-x", "content": content}).encode()
    result = inspect([body], "anthropic", media_type=JSON)
    blocks = json.loads(result.data)["content"]
    assert blocks[0]["thinking"] == "about [EMAIL]" and blocks[0]["signature"] == "c2ln" * 30
    assert blocks[2]["input"] == {"card": "[PAYMENT_CARD]"}
    assert result.inspector.summary()["unreadable"]["count"] == 2


def test_what_the_client_gets_is_what_was_inspected_when_a_name_stands_twice() -> None:
    result = inspect([b'{"x":"a@b.org","x":"clean"}'], "", media_type=JSON)
    assert result.data == b'{"x":"clean"}'


@pytest.mark.parametrize("body", [b'{"x":', b"", b"\xff", b"<html>"])
def test_a_json_answer_that_is_none_is_an_error_but_nothing_at_all_is_not(body: bytes) -> None:
    if not body:
        result = inspect([], media_type=JSON)
        assert result.final == b"" and result.inspector.complete
        return
    with pytest.raises(ContentError):
        inspect([body], media_type=JSON)


# Other kinds


def test_text_streams_up_to_what_may_become_a_finding() -> None:
    inspector = machine(dialect="", media_type="text/plain", plan=AnswerPlan(redact=MASK_ALL))
    inspector.feed(b"Hello wor")
    inspector.feed(b"ld, write to a@b")
    sent = b"".join(step.data for step in inspector.steps() if isinstance(step, Emit))
    inspector.feed(b".org or c@d")
    steps = list(inspector.steps())
    assert sent in (b"", b"Hello world, write to ") and b"a@b" not in sent
    assert not [step for step in steps if isinstance(step, Final)]


@pytest.mark.parametrize("seed", range(8))
def test_text_is_the_same_for_any_cut_even_within_a_character(seed: int) -> None:
    text = f"Grüße 🎉 an {MAIL}, 4111\u200b1111\u00a01111 1111 und\nmehr 日本"
    expected = "Grüße 🎉 an [EMAIL], [PAYMENT_CARD] und\nmehr 日本"
    for chunks in (cut_bytes(random.Random(seed), text.encode(), 15), bytewise(text.encode())):
        result = inspect(chunks, "", media_type="text/html; charset=utf-8")
        assert result.data.decode() == expected
        assert result.inspector.complete


def test_the_last_piece_of_text_is_held() -> None:
    result = inspect([b"one line\n", b"two lines\n", b"three lines\n"], "", media_type="text/plain")
    assert result.final == b"three lines\n"


def test_text_that_is_not_utf8_is_an_error() -> None:
    for body in ([b"abc\xff"], [b"abc\xe2\x82"]):
        with pytest.raises(ContentError):
            inspect(body, "", media_type="text/plain")


@pytest.mark.parametrize("media_type", ["", "image/png", "application/octet-stream"])
def test_what_cannot_be_read_is_asked_about_and_then_passes(media_type: str) -> None:
    chunks = [b"\x00\x01", b"\x02\xff", b"\x03"]
    result = inspect(chunks, "", media_type=media_type)
    assert [ask.types for ask in result.asks] == [("unreadable",)]
    assert result.data == b"".join(chunks) and result.final == b"\x03"
    refused = inspect(chunks, "", media_type=media_type, decide=lambda ask: (False, {}))
    assert refused.data == b"" and refused.final is None and refused.inspector.blocked


def test_lines_of_json_are_inspected_one_by_one() -> None:
    body = b'{"id":1,"mail":"a@b.org"}\n{"response":"4111 1111 "}\r\n{"response":"1111 1111"}\n{"done":true}'
    for chunks in ([body], bytewise(body)):
        result = inspect(chunks, "", media_type="application/x-ndjson")
        assert [json.loads(line) for line in result.data.splitlines()] == [
            {"id": 1, "mail": "[EMAIL]"},
            {"response": "[PAYMENT_CARD]"},
            {"response": ""},
            {"done": True},
        ]


@pytest.mark.parametrize("media_type", ["text/plain", "text/html", "application/x-ndjson", "application/octet-stream"])
def test_a_model_answers_json_or_events_and_nothing_else(media_type: str) -> None:
    with pytest.raises(ContentError):
        inspect([b'{"x":1}'], "openai", media_type=media_type)


def test_coded_answers_are_decoded() -> None:
    body = gzip.compress(openai_answer(f"to {MAIL}"))
    result = inspect(bytewise(body), media_type=JSON, coding="gzip")
    assert b"[EMAIL]" in result.data and result.inspector.complete
    with pytest.raises(ContentError):
        inspect([body[:-5]], media_type=JSON, coding="gzip")
    with pytest.raises(ContentError):
        inspect([body], media_type=JSON, coding="gzip, br")


# Plans


def test_an_uninspected_answer_passes_as_it_is_but_for_its_last_piece() -> None:
    plan = AnswerPlan(mode="pass")
    result = inspect([b'{"a":', b' "a@b.org"}'], "", media_type=JSON, plan=plan)
    assert (result.emitted, result.final) == (b'{"a":', b' "a@b.org"}')
    stream = openai_stream(random.Random(1), {"0/content": f"to {MAIL}"})
    result = inspect([stream.data], plan=plan)
    assert result.asks == [] and b"[DONE]" not in result.emitted
    assert result.final is not None and result.final.endswith(b"data: [DONE]\n\n")
    assert result.inspector.complete
    cut = inspect([stream.data[:-40]], plan=plan)
    assert not cut.inspector.complete or b"[DONE]" not in cut.data


def test_a_plan_that_passes_but_demands_something_is_inspected() -> None:
    result = inspect([openai_answer(MAIL)], media_type=JSON, plan=AnswerPlan(mode="pass", redact={"email": "mask"}))
    assert MAIL.encode() not in result.data


def test_a_buffered_answer_leaves_only_at_the_end() -> None:
    stream = openai_stream(random.Random(1), {"0/content": f"to {MAIL} and on"})
    result = inspect(bytewise(stream.data), plan=AnswerPlan(mode="buffer", redact=MASK_ALL))
    assert result.emitted == b"" and result.final is not None and b"[EMAIL]" in result.final


def test_an_answer_that_is_too_long_is_stopped() -> None:
    stream = openai_stream(random.Random(1), {"0/content": "word " * 100})
    for plan in (AnswerPlan(max_chars=499), AnswerPlan(max_chars=499, mode="buffer")):
        result = inspect([stream.data], plan=plan)
        assert result.inspector.blocked and result.asks[-1].types == ("too_long",) and result.final is None
    assert not inspect([stream.data], plan=AnswerPlan(max_chars=500)).inspector.blocked
    assert inspect([openai_answer("x" * 11)], media_type=JSON, plan=AnswerPlan(max_chars=10)).inspector.blocked
    assert not inspect([openai_answer("x" * 10)], media_type=JSON, plan=AnswerPlan(max_chars=10)).inspector.blocked


SCHEMA: dict[str, Any] = {"type": "object", "required": ["a"]}


@pytest.mark.parametrize(("text", "blocked"), [('{"a":1}', False), ('{"b":1}', True), ("prose", True), ("", True)])
def test_an_answer_of_another_shape_is_stopped_before_anything_left(text: str, blocked: bool) -> None:
    plan = AnswerPlan(schema=SCHEMA)
    answers = [
        inspect(
            [openai_stream(random.Random(2), {"0/content": text} if text else {"0/refusal": "no"}).data], plan=plan
        ),
        inspect(
            [anthropic_stream(random.Random(2), [("thinking", "hm"), ("text", text)]).data], "anthropic", plan=plan
        ),
        inspect([openai_answer(text)], media_type=JSON, plan=plan),
        inspect([text.encode() or b"{}"], "", media_type="text/plain", plan=plan),
    ]
    for result in answers:
        assert result.inspector.blocked == blocked
        assert result.emitted == b"" and (result.final is None) == blocked
        if blocked:
            assert result.asks[-1].types == ("wrong_shape",) and result.asks[-1].binding


def test_the_shape_is_that_of_what_the_client_gets() -> None:
    plan = AnswerPlan(schema={"properties": {"n": {"type": "integer"}}}, redact=MASK_ALL)
    result = inspect([openai_answer('{"n":"a@b.org"}')], media_type=JSON, plan=plan)
    assert result.inspector.blocked


@pytest.mark.parametrize("pattern", ["top secret$", "^top", "top.*secret", "(?:top ){400}"])
def test_a_pattern_that_needs_the_whole_text_makes_the_answer_buffered(pattern: str) -> None:
    stream = openai_stream(random.Random(3), {"0/content": "top " * 400 + "secret"})
    result = inspect([stream.data], plan=AnswerPlan(block=(("p", pattern),)))
    assert result.emitted == b""
    assert result.inspector.blocked == (pattern != "top secret$") or "secret" in pattern


def test_a_blocked_pattern_stops_whole_answers_too() -> None:
    plan = AnswerPlan(block=(("p", "(?i)top secret"),))
    result = inspect([openai_answer("it is Top Secret.")], media_type=JSON, plan=plan)
    assert result.inspector.blocked and result.data == b""
    assert result.asks[-1].types == ("blocked_pattern:p",) and result.asks[-1].binding


@pytest.mark.parametrize(
    "plan",
    [
        AnswerPlan(redact={"email": "tokenise"}),
        AnswerPlan(block=(("p", "("),)),
        AnswerPlan(block=(("p", "x" * 2_000),)),
        AnswerPlan(schema={"type": 5}),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused_at_once(plan: AnswerPlan) -> None:
    with pytest.raises(ContentError) as error:
        machine(plan=plan)
    assert error.value.code == "not_enforced"


# Questions


def test_a_later_decision_redacts_from_its_finding_on() -> None:
    stream = openai_stream(random.Random(4), {"0/content": f"to {MAIL} then c@d.org and 4111 1111 1111 1111 ok "})

    def decide(ask: Ask) -> tuple[bool, Mapping[str, str]]:
        return True, {"email": "mask"} if "email" in ask.types else {}

    result = inspect([stream.data], plan=AnswerPlan(), decide=decide)
    assert read_openai(result.data)["0/content"] == "to [EMAIL] then [EMAIL] and 4111 1111 1111 1111 ok "
    assert [ask.types for ask in result.asks] == [("email",), ("payment_card",)]


def test_what_the_plan_forbids_is_stopped_whatever_is_answered() -> None:
    result = inspect(
        [openai_answer("xx")], media_type=JSON, plan=AnswerPlan(max_chars=1), decide=lambda ask: (True, {})
    )
    assert result.inspector.blocked


def test_what_comes_before_a_finding_has_left_when_it_is_asked_about() -> None:
    text = "harmless words " * 20
    stream = openai_stream(random.Random(5), {"0/content": f"{text}{MAIL} and more "})
    for chunks in ([stream.data], bytewise(stream.data)):
        result = inspect(chunks, plan=AnswerPlan(), decide=lambda ask: (False, {}))
        assert read_openai(result.emitted)["0/content"].startswith("harmless words " * 19)
        assert MAIL.encode() not in result.emitted


def test_nothing_goes_on_while_a_question_is_open() -> None:
    inspector = machine(media_type="text/event-stream")
    stream = openai_stream(random.Random(4), {"0/content": f"to {MAIL} and on it goes "})
    inspector.feed(stream.data)
    steps = list(inspector.steps())
    assert isinstance(steps[-1], Ask)
    inspector.feed(b"")
    assert list(inspector.steps()) == []
    inspector.answer(True)
    assert list(inspector.steps())
    with pytest.raises(ContentError) as error:
        inspector.answer(True)
    assert error.value.code == "misuse"


def test_an_answer_may_not_bring_a_mode_that_is_not_carried_out() -> None:
    inspector = machine()
    inspector.feed(openai_answer(MAIL))
    inspector.end()
    assert isinstance(next(inspector.steps()), Ask)
    with pytest.raises(ContentError):
        inspector.answer(True, {"email": "tokenise"})


# Limits


def test_what_is_held_whole_is_bounded() -> None:
    limits = AnswerLimits(buffered=1_000)
    for media_type, plan in ((JSON, AnswerPlan()), ("text/event-stream", AnswerPlan(mode="buffer"))):
        inspector = machine(media_type=media_type, limits=limits, plan=plan)
        with pytest.raises(ContentError) as error:
            for event in openai_stream(random.Random(5), {"0/content": "word " * 500}).data.split(b"\n\n"):
                inspector.feed(event + b"\n\n")
                list(inspector.steps())
        assert error.value.code == "too_large"


def test_what_streams_is_not_bounded_by_what_is_held() -> None:
    inspector = machine(dialect="", media_type="text/plain", limits=AnswerLimits(buffered=1_000))
    for _ in range(100):
        inspector.feed(b"some words, and some more of them, \n" * 5)
        list(inspector.steps())
    inspector.end()
    assert isinstance(list(inspector.steps())[-1], Final)


def test_decoded_answers_are_bounded() -> None:
    inspector = machine(dialect="", media_type="text/plain", content_encoding="gzip", limits=AnswerLimits(ratio=10))
    with pytest.raises(ContentError) as error:
        inspector.feed(gzip.compress(b"\0" * 10_000_000))
    assert error.value.code == "too_large"


def test_a_model_name_with_a_finding_is_not_shown() -> None:
    body = json.dumps({"model": MAIL, "choices": []}).encode()
    assert MAIL not in str(inspect([body], media_type=JSON).inspector.model)
    event = b'data: {"model":"a@b.org","choices":[]}\n\ndata: [DONE]\n\n'
    assert MAIL not in str(inspect([event]).inspector.model)


ENTRIES: list[Json] = [
    {"token": MAIL, "logprob": -1, "top_logprobs": []},
    {"token": " now ", "logprob": -1, "top_logprobs": [{"token": "mike@corp.example", "logprob": -2}]},
]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_log_probability_that_goes_does_not_hide_what_is_found_in_the_next(streamed: bool) -> None:
    choice: dict[str, Json] = {"index": 0, "logprobs": {"content": ENTRIES}}
    if streamed:
        choice["delta"] = {"content": f"{MAIL} now "}
        data = b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"
        data += b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
        result = inspect([data])
    else:
        choice["message"] = {"content": f"{MAIL} now "}
        result = inspect([json.dumps({"choices": [choice]}).encode()], media_type="application/json")
    assert MAIL.encode() not in result.data and b"mike" not in result.data
    assert result.data.count(b'"token":" now "') == 1


def test_the_parallel_lists_of_old_completions_are_emptied_before_they_are_looked_at() -> None:
    choice = {"text": f"{MAIL} now", "logprobs": {"tokens": [MAIL, " now"], "top_logprobs": [{MAIL: -1.0}, None]}}
    result = inspect([json.dumps({"choices": [choice]}).encode()], media_type="application/json")
    assert json.loads(result.data)["choices"] == [
        {"text": "[EMAIL] now", "logprobs": {"tokens": None, "top_logprobs": None}}
    ]


# Places of findings: they are kept beside the log and delivered with decision logs


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        (JSON, json.dumps({MAIL: {"x": "c@d.org"}}).encode()),
        (JSON, json.dumps({MAIL: {"b64_json": 5, "image_url": "data:image/png;base64,QUJD"}}).encode()),
        ("text/event-stream", f'data: {{"{MAIL}": "to c@d.org, now"}}\n\n'.encode() * 2),
        ("text/event-stream", f'data: {{"{MAIL}": {{"x": ["to c@d.org"]}}}}\n\n'.encode()),
    ],
    ids=["whole", "unreadable", "stream", "rest"],
)
def test_no_place_of_an_answer_shows_a_finding_that_is_a_name(media_type: str, body: bytes) -> None:
    inspector = machine(dialect="", media_type=media_type)
    inspector.feed(body)
    inspector.end()
    summaries = []
    for step in inspector.steps():
        if isinstance(step, Ask):
            summaries.append(step.summary)
            inspector.answer(True)
    told = json.dumps(summaries)
    assert "[MASKED]" in told and "a@b" not in told and "c@d" not in told
