"""Streams as an attacker, or a vendor nobody has met, would send them."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest

from gateway.content.answer import AnswerPlan
from gateway.content.errors import ContentError
from gateway.content.stream import CHANNELS
from tests.support.content import (
    MASK_ALL,
    Result,
    anthropic_stream,
    bytewise,
    events_of,
    inspect,
    openai_stream,
    read_anthropic,
    read_openai,
)

MAIL = "a@b.org"
CARD = "4111 1111 1111 1111"
DONE = b"data: [DONE]\n\n"


def sse(*values: Any) -> bytes:
    return b"".join(
        b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n" for value in values
    )


def chunk(delta: Any, index: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "model": "m",
        "choices": [{"index": index, "delta": delta, "finish_reason": None, **more}],
    }


FINISH = chunk({}, finish_reason="stop")


def openai(*values: Any, **more: Any) -> Result:
    return inspect([sse(*values, FINISH) + DONE], **more)


@pytest.mark.parametrize(
    "field",
    ["content", "refusal", "reasoning", "reasoning_content", "thinking", "new_field"],
)
def test_a_finding_across_events_is_found_in_every_text_field(field: str) -> None:
    result = openai(chunk({field: "to a@"}), chunk({field: "b.o"}), chunk({field: "rg now "}))
    assert read_openai(result.data)[f"0/{field}"] == "to [EMAIL] now "


def test_choices_are_texts_of_their_own_in_any_mixture() -> None:
    result = openai(
        chunk({"content": "a@"}, 0),
        chunk({"content": "c@"}, 1),
        chunk({"content": "b.org "}, 0),
        chunk({"content": "d.org "}, 1),
        chunk({}, 1, finish_reason="stop"),
    )
    texts = read_openai(result.data)
    assert texts["0/content"] == "[EMAIL] " and texts["1/content"] == "[EMAIL] "


def test_several_choices_in_one_event_are_all_inspected() -> None:
    event = {"choices": [{"index": 0, "delta": {"content": "clean "}}, {"index": 1, "delta": {"content": f"{MAIL} "}}]}
    result = openai(event, chunk({}, 1, finish_reason="stop"))
    assert MAIL.encode() not in result.data


def test_fields_that_stand_still_do_not_hold_a_stream_up() -> None:
    events = [chunk({"content": "word ", "channel": "analysis"}) for _ in range(50)]
    result = inspect([sse(*events)], end=False)
    assert result.emitted.count(b"word ") == 50


def test_a_field_that_stands_still_at_first_is_read_from_its_beginning() -> None:
    result = openai(chunk({"x": "john"}), chunk({"x": "john"}), chunk({"x": "@example.com "}))
    assert b"@example.com" not in result.data


def test_text_outside_of_any_delta_is_inspected() -> None:
    event = {
        "id": MAIL,
        "x_vendor": {"note": MAIL, MAIL: 1},
        "choices": [{"index": 0, "delta": {"content": "ok "}, "content_filter": {"why": MAIL}}],
    }
    result = openai(
        event, chunk({"annotations": [{"url_citation": {"title": MAIL, "url": f"https://x.org/?m={MAIL}"}}]})
    )
    assert MAIL.encode() not in result.data
    assert result.inspector.summary()["email"]["count"] == 6


def test_names_and_ids_of_tool_calls_are_inspected() -> None:
    call = {"index": 0, "id": f"call {MAIL}", "function": {"name": f"mail {MAIL}", "arguments": ""}}
    assert MAIL.encode() not in openai(chunk({"tool_calls": [call]})).data


@pytest.mark.parametrize("field", ["choices", "delta", "tool_calls", "logprobs"])
@pytest.mark.parametrize("strange", [None, 5, "a@b.org", [MAIL], [[MAIL]], {"x": MAIL}, [None]])
def test_a_known_field_of_another_shape_is_inspected_all_the_same(field: str, strange: Any) -> None:
    events = {
        "choices": {"choices": strange},
        "delta": {"choices": [{"index": 0, "delta": strange}]},
        "tool_calls": chunk({"tool_calls": strange}),
        "logprobs": chunk({}, logprobs=strange),
    }
    result = inspect([sse(events[field], FINISH) + DONE])
    assert MAIL.encode() not in result.data
    assert result.inspector.complete


def test_padding_can_carry_no_text() -> None:
    result = openai(chunk({"content": "x "}) | {"obfuscation": "hidden text"})
    (first, *_) = events_of(result.data)
    assert first["obfuscation"] == "0" * len("hidden text")


def test_bytes_of_log_probabilities_can_say_nothing_else() -> None:
    entry = {"token": "x", "logprob": -1, "bytes": list(MAIL.encode()), "top_logprobs": []}
    result = openai(chunk({"content": "x "}, logprobs={"content": [entry]}))
    assert b"97,64" not in result.data


def test_alternatives_of_log_probabilities_go_with_their_token() -> None:
    tokens = [
        {"token": t, "logprob": -1, "bytes": None, "top_logprobs": [{"token": t, "logprob": -1, "bytes": None}]}
        for t in ("4111 ", "1111 ", "1111 ", "1111")
    ]
    result = openai(chunk({"content": CARD}, logprobs={"content": tokens}))
    assert b"1111" not in result.data


def test_repeated_text_at_the_end_is_redacted_as_its_pieces_were() -> None:
    done = {
        "type": "response.output_text.done",
        "item_id": "m",
        "text": f"to {MAIL} ok",
        "logprobs": [{"token": "a@"}, {"token": "b.org"}],
    }
    completed = {
        "type": "response.completed",
        "response": {"model": "m", "output": [{"content": [{"type": "output_text", "text": f"to {MAIL} ok"}]}]},
    }
    deltas = [
        {"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "delta": text}
        for text in ("to a", "@b.", "org ok")
    ]
    result = inspect([sse({"type": "response.created", "response": {}}, *deltas, done, completed)])
    assert result.inspector.complete
    events = list(events_of(result.data))
    assert "".join(event["delta"] for event in events if "delta" in event) == "to [EMAIL] ok"
    assert events[-2]["text"] == "to [EMAIL] ok" and events[-2]["logprobs"] == []
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "to [EMAIL] ok"
    assert result.final is not None and b"response.completed" in result.final


def test_arguments_announced_by_the_type_of_event_stay_json() -> None:
    deltas = [
        {"type": "response.function_call_arguments.delta", "item_id": "f", "delta": text}
        for text in ('{"card":41111', "11111111111}")
    ]
    result = inspect([sse({"type": "response.created"}, *deltas, {"type": "response.completed"})])
    arguments = "".join(event.get("delta", "") for event in events_of(result.data))
    assert json.loads(arguments) == {"card": "[PAYMENT_CARD]"}


def test_a_name_that_stands_twice_is_sent_as_it_was_inspected() -> None:
    raw = b'{"choices":[{"index":0,"delta":{"content":"a@b.org ","content":"clean "}}]}'
    assert MAIL.encode() not in openai(raw).data


@pytest.mark.parametrize(
    "raw",
    [b'{"choices":', b'{"a":NaN}', b'["\\ud800"]', b' {"x":1}}', b"[1,]", b"{" * 2000, b"[" * 100 + b"]" * 100],
)
def test_data_that_looks_like_json_but_is_none_stops_the_stream(raw: bytes) -> None:
    with pytest.raises(ContentError):
        openai(raw)


def test_data_that_is_no_json_is_text() -> None:
    result = openai(b"write to a@", b"b.org now ", b"5", b'"c@d.org"')
    assert MAIL.encode() not in result.data and b"c@d.org" not in result.data
    assert b"write to [EMAIL]" in result.data


def test_lists_are_inspected() -> None:
    assert MAIL.encode() not in openai([{"x": MAIL}]).data


def test_comments_and_unknown_lines_carry_nothing() -> None:
    stream = (
        b": mail a@b.org\n\nretry: 4111\nx-hidden: a@b.org\n"
        + sse(chunk({"content": "x "}), FINISH)
        + b": bye\n\n"
        + DONE
    )
    result = inspect([stream])
    assert MAIL.encode() not in result.data and b"4111" not in result.data
    assert b":\n\n" in result.data and b": bye\n\n" in result.data


def test_event_names_and_ids_are_inspected() -> None:
    result = inspect([b"event: 4111111111111111\nid: 4111111111111111\ndata: {}\n\n" + sse(FINISH) + DONE])
    assert b"4111" not in result.data and "payment_card" in result.inspector.summary()


def test_text_after_its_announced_end_stops_the_stream() -> None:
    blocks = anthropic_stream(random.Random(1), [("text", "to a@b")]).data
    late = json.dumps(
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ".org "}}
    ).encode()
    end = blocks.index(b"message_delta")
    head = blocks[: blocks.rindex(b"event" if b"event:" in blocks[:end] else b"data", 0, end)]
    with pytest.raises(ContentError) as error:
        inspect([head + b"\n\ndata: " + late + b"\n\n"], "anthropic")
    assert error.value.code == "malformed"


def test_a_block_is_ended_before_the_next_one_begins() -> None:
    stream = anthropic_stream(
        random.Random(2), [("text", "ends with a word"), ("tool_use", '{"a":1}'), ("text", "more")]
    )
    kinds = [(event["type"], event.get("index")) for event in events_of(inspect([stream.data], "anthropic").data)]
    for index in range(3):
        start, stop = kinds.index(("content_block_start", index)), kinds.index(("content_block_stop", index))
        assert all(start < place < stop for place, kind in enumerate(kinds) if kind == ("content_block_delta", index))
        assert index == 0 or kinds.index(("content_block_stop", index - 1)) < start


def test_text_at_the_start_of_a_block_belongs_to_it() -> None:
    events = [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "to a@"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "b.org ok"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_stop"},
    ]
    result = inspect([sse(*events)], "anthropic")
    assert read_anthropic(result.data) == {"0/text": "to [EMAIL] ok"}


def test_sealed_reasoning_is_told_before_it_leaves_and_its_text_is_masked() -> None:
    stream = anthropic_stream(random.Random(3), [("thinking", f"about {MAIL} and more"), ("text", "ok")])
    refused = inspect([stream.data], "anthropic", decide=lambda ask: ("unreadable" not in ask.types, {}))
    assert refused.inspector.blocked and b"signature" not in refused.data
    allowed = inspect([stream.data], "anthropic")
    assert b"c2ln" in allowed.data and b"about [EMAIL]" in b"".join(
        text.encode() for text in read_anthropic(allowed.data).values()
    )


def test_server_tool_results_and_citations_are_inspected() -> None:
    events = [
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {
                "type": "web_search_tool_result",
                "tool_use_id": "s",
                "content": [
                    {
                        "type": "web_search_result",
                        "title": MAIL,
                        "url": "https://x.org",
                        "encrypted_content": "QUJD" * 40,
                    }
                ],
            },
        },
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        {
            "type": "content_block_delta",
            "index": 1,
            "delta": {"type": "citations_delta", "citation": {"type": "x", "cited_text": f"says {MAIL}"}},
        },
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "stop_sequence", "stop_sequence": MAIL}},
        {"type": "message_stop"},
    ]
    result = inspect([sse(*events)], "anthropic")
    assert MAIL.encode() not in result.data
    assert result.inspector.summary()["unreadable"]["count"] == 1


def test_errors_of_the_vendor_pass_and_are_inspected() -> None:
    result = inspect(
        [sse({"type": "error", "error": {"type": "overloaded_error", "message": f"for {MAIL}"}})], "anthropic"
    )
    assert b"for [EMAIL]" in result.data and result.inspector.complete
    result = inspect([sse({"error": {"message": f"for {MAIL}"}}) + DONE])
    assert b"for [EMAIL]" in result.data


def test_sound_in_a_stream_is_told_as_unreadable_and_not_held_up() -> None:
    sound = chunk({"audio": {"id": "a", "data": "QUJD" * 100}})
    result = inspect([sse(sound, sound)], end=False)
    assert result.emitted.count(b"QUJD") == 200
    assert [ask.types for ask in result.asks] == [("unreadable",)]


def test_everything_from_the_end_of_the_answer_on_is_held() -> None:
    usage = {"id": "c", "choices": [], "usage": {"total_tokens": 1}}
    result = inspect([sse(chunk({"content": "some words "}), FINISH, usage) + DONE])
    assert b'finish_reason":"stop' not in result.emitted and b"usage" not in result.emitted
    assert result.final is not None and result.final.endswith(DONE) and b"usage" in result.final
    stream = anthropic_stream(random.Random(4), [("text", "some words ")])
    result = inspect([stream.data], "anthropic")
    assert b"message_stop" not in result.emitted and b"message_stop" in (result.final or b"")


def test_a_server_without_a_terminal_event_is_whole_when_every_choice_has_ended() -> None:
    result = inspect([sse(chunk({"content": "to a@b.org"}), FINISH)])
    assert result.inspector.complete and b"[EMAIL]" in result.data and result.final
    assert not inspect([sse(chunk({"content": "to a@b.org"}))]).inspector.complete
    assert not inspect([sse(FINISH) + b"data: {"]).inspector.complete


def test_a_stream_of_nothing_known_holds_its_last_event() -> None:
    result = inspect([sse({"n": 1}), sse({"n": 2}), sse({"n": 3})], "")
    assert result.emitted == sse({"n": 1}, {"n": 2}).replace(b": 1", b":1").replace(b": 2", b":2")
    assert result.final == b'data: {"n":3}\n\n'


def test_an_event_that_is_too_large_or_too_many_texts_stop_the_stream() -> None:
    with pytest.raises(ContentError) as error:
        openai(chunk({"content": "x" * (5 << 20)}))
    assert error.value.code == "too_large"
    with pytest.raises(ContentError) as error:
        openai(*[chunk({"content": "x"}, index) for index in range(CHANNELS + 1)])
    assert error.value.code == "too_large"
    with pytest.raises(ContentError) as error:
        openai(*[chunk({f"f{number}": "same"}) for number in range(CHANNELS + 1)])
    assert error.value.code == "too_large"


@pytest.mark.parametrize("shape", [{}, {"logprobs": None}])
def test_padding_of_events_that_wait_counts_though_it_is_no_text(shape: dict[str, Any]) -> None:
    alike = [chunk({"content": "x"}, **shape) | {"obfuscation": "ab"} for _ in range(3)]
    large = chunk({"content": "x"}, **shape) | {"obfuscation": "a" * (1 << 20)}
    with pytest.raises(ContentError) as error:
        inspect([sse(*alike), *(sse(large) for _ in range(12))], end=False)
    assert error.value.code == "too_large"


def test_what_repeats_in_events_that_wait_counts_each_time() -> None:
    event = chunk({"content": "x"}) | {"system_fingerprint": "word " * 700}
    with pytest.raises(ContentError) as error:
        inspect([sse(*[event] * 3_000)], end=False)
    assert error.value.code == "too_large"


def test_one_text_that_stops_does_not_let_the_others_pile_up() -> None:
    stalled = sse(chunk({"content": "a"}, 0))
    inspector_events = [sse(chunk({"content": "word " * 20}, 1)) for _ in range(300)]
    result = inspect([stalled, *inspector_events], end=False)
    assert result.emitted.count(b"word word") >= 300


def test_a_text_without_breaks_costs_time_in_proportion() -> None:
    events = [sse(chunk({"content": "x"})) for _ in range(20_000)]
    began = time.process_time()
    inspect([b"".join(events)], end=False)
    assert time.process_time() - began < 8


def test_half_a_character_at_a_cut_is_whole_again() -> None:
    data = sse(chunk({"content": "Grüße 🎉 an ä@b.org "}), FINISH).replace(b"\\u", b"\\u") + DONE
    raw = json.dumps(chunk({"content": f"Grüße 🎉 an {MAIL} "}), ensure_ascii=False).encode()
    stream = b"data: " + raw + b"\n\n" + sse(FINISH) + DONE
    assert read_openai(inspect(bytewise(stream)).data)["0/content"] == "Grüße 🎉 an [EMAIL] "
    assert inspect(bytewise(data)).inspector.complete


def test_hashes_are_the_same_in_a_stream_and_in_a_whole_answer() -> None:
    plan = AnswerPlan(redact=dict.fromkeys(MASK_ALL, "hash"))
    stream = inspect([openai_stream(random.Random(6), {"0/content": f"to {MAIL} ok "}, longest=2).data], plan=plan)
    whole = json.dumps({"choices": [{"index": 0, "message": {"content": f"to {MAIL} ok "}}]}).encode()
    answer = inspect([whole], plan=plan, media_type="application/json")
    assert read_openai(stream.data)["0/content"] == json.loads(answer.data)["choices"][0]["message"]["content"]


def test_a_label_that_begins_to_grow_is_read_from_then_on_in_every_event() -> None:
    words = ["john", "john", "john", "john", "z ", "john", "@example.com "]
    result = openai(*(chunk({"content": "word ", "x": word}) for word in words))
    assert b"@example.com" not in result.data


def test_a_choice_that_goes_on_after_its_end_is_open_again() -> None:
    text = [chunk({"content": "word "})] * 4
    assert not inspect([sse(*text, FINISH, *text)]).inspector.complete
    assert inspect([sse(*text, FINISH, *text, FINISH)]).inspector.complete


def test_texts_that_come_together_are_told_and_asked_about_one_after_the_other() -> None:
    texts = ["word "] * 5 + [f"{MAIL} "] + ["word "] * 5 + [f"{CARD} ", "word "]
    events = sse(*(chunk({"content": text}) for text in texts))
    result = inspect([events], end=False)
    assert [ask.types for ask in result.asks] == [("email",), ("payment_card",)]
    refused = inspect([events], end=False, decide=lambda ask: ("payment_card" not in ask.types, {}))
    assert read_openai(refused.data)["0/content"].endswith("[EMAIL] " + "word " * 5)


def test_the_number_of_an_error_follows_that_of_the_events_that_came_together() -> None:
    deltas = [
        {
            "type": "response.output_text.delta",
            "item_id": "m",
            "output_index": 0,
            "delta": "word ",
            "sequence_number": n,
        }
        for n in range(30)
    ]
    assert inspect([sse(*deltas)], end=False).inspector.sequence == 29


def test_many_events_of_one_read_with_a_finding_in_each_cost_no_more_than_by_themselves() -> None:
    began = time.process_time()
    result = openai(*(chunk({"content": f"word {MAIL} "}) for _ in range(3_000)))
    assert result.inspector.summary()["email"]["count"] == 3_000
    assert time.process_time() - began < 5
