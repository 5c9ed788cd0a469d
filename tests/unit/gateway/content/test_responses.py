"""Where the text of a response is, and what the events of its stream wait for."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from gateway.content.answer import AnswerPlan, Ask
from gateway.content.dialects import OpenAI
from gateway.content.errors import ContentError
from gateway.content.responses import Responses, whole_response
from tests.support.content import Result, events_of, inspect

MAIL = "a@b.org"
CARD = "4111 1111 1111 1111"
SEALED = base64.b64encode(b"sealed reasoning " * 8).decode()
AT = {"output_index": 2, "item_id": "m", "content_index": 1}


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", **fields}


def stream(*events: dict[str, Any], completed: bool = True, **how: Any) -> Result:
    last = [event("completed", response={"output": []})] if completed else []
    data = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in (*events, *last))
    return inspect([data], **how)


def deltas(*texts: str, kind: str = "output_text", **at: Any) -> list[dict[str, Any]]:
    return [event(f"{kind}.delta", delta=text, **({"output_index": 0, "content_index": 0} | at)) for text in texts]


def written(result: Result) -> str:
    return "".join(each["delta"] for each in events_of(result.data) if "delta" in each)


@pytest.mark.parametrize(
    ("kind", "at", "key"),
    [
        ("output_text.delta", AT, ("output", 2, "content", 1, "text")),
        ("refusal.delta", AT, ("output", 2, "content", 1, "refusal")),
        ("reasoning_text.delta", AT, ("output", 2, "content", 1, "reasoning")),
        ("reasoning_summary_text.delta", AT | {"summary_index": 3}, ("output", 2, "summary", 3, "summary")),
        ("function_call_arguments.delta", AT, ("output", 2, "arguments")),
        ("mcp_call_arguments.delta", AT, ("output", 2, "arguments")),
        ("custom_tool_call_input.delta", AT, ("output", 2, "input")),
        ("code_interpreter_call_code.delta", AT, ("output", 2, "code")),
        ("shell_call_command.delta", AT | {"command_index": 4}, ("output", 2, "command", 4, "command")),
        ("audio.transcript.delta", {}, ("output", "", "transcript", 0, "transcript")),
        ("output_text.delta", {"item_id": "m"}, ("output", "m", "content", 0, "text")),
        ("new_thing.delta", AT, ("output", 2, "response.new_thing", 0, "delta")),
        ("new_arguments.delta", AT, ("output", 2, "response.new_arguments", 0, "arguments")),
    ],
)
def test_pieces_belong_to_the_text_at_their_place(kind: str, at: dict[str, Any], key: tuple[Any, ...]) -> None:
    reading = Responses().read("", event(kind, delta="x", **at))
    assert reading is not None
    assert [piece.key for piece in reading.pieces] == [key]
    assert (reading.waits, reading.terminal) == ("own", False)


def test_a_piece_may_have_fields_of_its_own() -> None:
    output = event("shell_call_output_content.delta", output_index=0, command_index=1, delta={"stdout": "a", "x": "b"})
    reading = Responses().read("", output)
    assert reading is not None
    assert [piece.key[-1] for piece in reading.pieces] == ["stdout", "x"]


@pytest.mark.parametrize(
    ("value", "keys", "ends"),
    [
        (event("output_text.done", text="x", **AT), [("content", 1, "text")], ("content", 1)),
        (event("refusal.done", refusal="x", **AT), [("content", 1, "refusal")], ("content", 1)),
        (event("function_call_arguments.done", arguments="{}", **AT), [("arguments",)], ("arguments",)),
        (event("custom_tool_call_input.done", input="x", **AT), [("input",)], ("input",)),
        (
            event("content_part.done", part={"type": "reasoning_text", "text": "x"}, **AT),
            [("content", 1, "reasoning")],
            ("content", 1),
        ),
        (
            event("reasoning_summary_part.done", part={"type": "summary_text", "text": "x"}, output_index=2),
            [("summary", 0, "summary")],
            ("summary", 0),
        ),
        (
            event("output_item.done", item={"arguments": "{}", "content": [{"text": "a"}, "?"]}, output_index=2),
            [("arguments",), ("content", 0, "text")],
            (),
        ),
    ],
)
def test_what_is_done_is_said_again(value: dict[str, Any], keys: list[tuple[Any, ...]], ends: tuple[Any, ...]) -> None:
    reading = Responses().read("", value)
    assert reading is not None
    assert [piece.key[2:] for piece in reading.pieces] == keys
    assert all(piece.copy for piece in reading.pieces)
    assert (reading.waits, reading.group, reading.ends) == ("group", ("output", 2), (("output", 2, *ends),))


def test_what_does_not_say_its_place_waits_for_everything() -> None:
    reading = Responses().read("", event("output_text.done", text="x", item_id="m"))
    assert reading is not None and reading.waits == "all"


@pytest.mark.parametrize("kind", ["response.completed", "response.failed", "response.incomplete", "error"])
def test_the_last_event_ends_the_stream(kind: str) -> None:
    dialect = OpenAI()
    dialect.read("", event("created", response={}))
    assert not dialect.complete(False) and not dialect.open_ended
    reading = dialect.read("", {"type": kind})
    assert (reading.terminal, reading.waits) == (True, "all")
    assert dialect.complete(True)


def test_the_name_of_an_event_counts_where_its_data_has_no_type() -> None:
    reading = Responses().read("response.output_text.delta", {"delta": "x", "type": "x"})
    assert reading is not None and reading.pieces
    assert Responses().read("message", {"delta": "x"}) is None


def test_the_numbers_of_events_are_followed() -> None:
    dialect = OpenAI()
    assert dialect.sequence is None
    for number, expected in ((None, -1), (0, 0), (7, 7), (3, 7), (True, 7), (2**60, 7), ("9", 7)):
        dialect.read("", event("created", response={}, sequence_number=number))
        assert dialect.sequence == expected


def test_a_whole_response_has_the_texts_of_its_stream() -> None:
    value: Any = {
        "object": "response",
        "output": [
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}], "encrypted_content": "e"},
            {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "r"}]},
            {"type": "function_call", "arguments": "{}"},
            {"type": "message", "content": [{"type": "output_text", "text": "a"}, {"type": "refusal", "refusal": "n"}]},
            "strange",
        ],
    }
    texts = [(False, "s"), (False, "r"), (False, "{}"), (True, "a"), (False, "n")]
    assert whole_response(value) == texts
    assert whole_response({"output": "x"}) is None and whole_response([]) is None


def test_a_finding_cut_over_deltas_is_masked_and_its_repetitions_alike() -> None:
    text = f"to {MAIL} ok"
    item = {"type": "message", "content": [{"type": "output_text", "text": text}]}
    result = stream(
        *deltas("to a", "@b.", "org ok"),
        event("output_text.done", output_index=0, content_index=0, text=text),
        event("content_part.done", output_index=0, content_index=0, part=item["content"][0]),
        event("output_item.done", output_index=0, item=item),
        event("completed", response={"output": [item]}),
        completed=False,
    )
    assert written(result) == "to [EMAIL] ok"
    assert MAIL.encode() not in result.data and result.data.count(b"to [EMAIL] ok") == 4
    assert result.inspector.text_length == len(text)
    assert result.final is not None and b"response.completed" in result.final


def test_an_error_in_its_place_holds_nothing_back_but_itself() -> None:
    result = stream(*deltas("fine "), {"type": "error", "message": f"ask {MAIL}"}, completed=False)
    assert result.inspector.complete
    assert result.final is not None and b"ask [EMAIL]" in result.final


def test_item_names_that_change_with_every_event_do_not_hide_a_finding() -> None:
    pieces = [each | {"item_id": f"m{n}"} for n, each in enumerate(deltas(*CARD))]
    assert "1111" not in written(stream(*pieces))


def test_texts_of_items_that_come_together_are_kept_apart() -> None:
    first, second = deltas(*MAIL), deltas(*CARD, output_index=1)
    mixed = [each for pair in zip(first, second, strict=False) for each in pair] + second[len(first) :]
    result = stream(*mixed)
    texts = ["".join(e["delta"] for e in events_of(result.data) if e.get("output_index") == n) for n in (0, 1)]
    assert texts == ["[EMAIL]", "[PAYMENT_CARD]"]


def test_one_item_may_end_while_another_goes_on() -> None:
    ended = event("output_item.done", output_index=1, item={"content": [{"text": "second"}]})
    result = stream(*deltas("fir"), *deltas("second", output_index=1), ended, *deltas("st"))
    assert result.inspector.complete and "first" in written(result).replace("second", "")


@pytest.mark.parametrize(
    "events",
    [
        [*deltas("4111 1111"), event("output_text.done", output_index=0, text="x"), *deltas(" 1111 1111")],
        [
            event("content_part.added", output_index=0, part={"text": "4111 1111"}),
            *deltas(" 1111 1111"),
        ],
        [
            *deltas("4111 1111"),
            event("content_part.added", output_index=0, part={"text": "!"}),
            *deltas(" 1111 1111"),
        ],
        [
            event("output_item.added", output_index=0, item={"content": [{"text": "4111 1111"}]}),
            event("content_part.added", output_index=0, part={"text": " 1111 1111"}),
        ],
    ],
    ids=["after its end", "after its beginning", "around a beginning", "begun twice"],
)
def test_text_that_clients_could_put_together_in_two_ways_stops_the_stream(events: list[dict[str, Any]]) -> None:
    with pytest.raises(ContentError):
        stream(*events)


def test_texts_that_are_only_said_when_they_are_done_count() -> None:
    done = event("output_item.done", output_index=0, item={"content": [{"text": "x" * 90}]})
    result = stream(*deltas("x" * 20), done, plan=AnswerPlan(max_chars=50))
    assert result.inspector.blocked
    result = stream(
        event("created", response={"instructions": "y" * 90}), *deltas("x" * 20), plan=AnswerPlan(max_chars=50)
    )
    assert not result.inspector.blocked


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("response.output_text.delta", {"type": "response.created", "delta": "4111"}),
        ("error", {"type": "response.output_text.delta", "delta": "4111"}),
        ("", event("output_text.delta", delta="4111", choices=[])),
        ("response.output_text.delta", {"delta": "4111", "choices": [{"delta": {"content": "1111"}}]}),
    ],
)
def test_an_event_that_can_be_read_in_two_ways_stops_the_stream(name: str, value: dict[str, Any]) -> None:
    data = b"event: %b\ndata: %b\n\n" % (name.encode(), json.dumps(value).encode())
    with pytest.raises(ContentError):
        inspect([data])


def test_many_items_said_again_take_no_room() -> None:
    items = [{"content": [{"text": f"text {n}"}]} for n in range(900)]
    assert stream(event("completed", response={"output": items}), completed=False).inspector.complete
    with pytest.raises(ContentError, match="texts"):
        stream(*(each for n in range(600) for each in deltas("x", output_index=n)))


def test_a_shape_is_asked_of_every_way_of_saying_the_answer() -> None:
    plan = AnswerPlan(schema={"type": "object"})
    good = [*deltas('{"a"', ": 1}"), event("output_text.done", output_index=0, text='{"a": 1}')]
    assert not stream(*good, plan=plan).inspector.blocked
    reasoning = deltas("thinking", kind="reasoning_text", content_index=1)
    assert not stream(*reasoning, *good, plan=plan).inspector.blocked
    other = event("completed", response={"output": [{"content": [{"type": "output_text", "text": "no"}]}]})
    assert stream(*good, other, completed=False, plan=plan).inspector.blocked
    assert stream(*deltas("no"), plan=plan).inspector.blocked


def test_arguments_stay_json_in_deltas_and_when_they_are_said_again() -> None:
    text = '{"card":4111111111111111}'
    pieces = deltas(text[:12], text[12:], kind="function_call_arguments")
    done = event("function_call_arguments.done", output_index=0, arguments=text)
    result = stream(*pieces, done)
    assert json.loads(written(result)) == {"card": "[PAYMENT_CARD]"}
    (again,) = [json.loads(each["arguments"]) for each in events_of(result.data) if "arguments" in each]
    assert again == {"card": "[PAYMENT_CARD]"}


def test_the_first_piece_of_code_is_no_label() -> None:
    result = stream(*deltas("jane", ".doe", "@b.org ", kind="code_interpreter_call_code"))
    assert "jane" not in written(result)


def test_nothing_survives_in_log_probabilities() -> None:
    pieces = deltas(*CARD)
    for each in pieces:
        each["logprobs"] = [{"token": each["delta"], "logprob": -1, "top_logprobs": [{"token": each["delta"]}]}]
    tokens = [{"token": character, "logprob": -1, "top_logprobs": []} for character in CARD]
    done = event("output_text.done", output_index=0, text=CARD, logprobs=tokens)
    result = stream(*pieces, done)
    assert b'"4"' not in result.data
    assert [each["logprobs"] for each in events_of(result.data) if "text" in each] == [[]]


@pytest.mark.parametrize(
    "value",
    [
        event("output_item.done", output_index=0, item={"type": "reasoning", "encrypted_content": SEALED}),
        event("audio.delta", delta="UklGRg=="),
        event("image_generation_call.partial_image", output_index=0, partial_image_b64=SEALED),
        event("output_item.done", output_index=0, item={"type": "image_generation_call", "result": "iVBORw0K" * 90}),
    ],
    ids=["reasoning", "sound", "part of a picture", "picture"],
)
def test_what_cannot_be_read_is_a_finding(value: dict[str, Any]) -> None:
    def decide(ask: Ask) -> tuple[bool, dict[str, str]]:
        return "unreadable" not in ask.types, {}

    assert "unreadable" in stream(value).inspector.summary()
    result = stream(*deltas("before "), value, decide=decide)
    assert result.inspector.blocked and written(result) in ("", "before ")


def test_annotations_are_inspected() -> None:
    note = event("output_text.annotation.added", output_index=0, annotation={"title": f"by {MAIL}", "url": "https://x"})
    assert MAIL.encode() not in stream(note).data


def test_a_blocked_stream_ends_before_the_finding_whichever_way_it_is_said() -> None:
    plan = AnswerPlan(block=(("p", "secret plan"),))
    for kind, fields in (
        ("output_text.done", {"text": "the secret plan"}),
        ("output_item.done", {"item": {"content": [{"text": "the secret plan"}]}}),
        ("web_search_call.searching", {"query": "the secret plan"}),
    ):
        result = stream(*deltas("the "), event(kind, output_index=0, **fields), plan=plan)
        assert result.inspector.blocked
        assert b"secret" not in result.data


def test_a_finding_in_a_number_of_an_event_is_seen_every_time() -> None:
    pieces = [each | {"sequence_number": 4111111111111111} for each in deltas("a ", "b ")]
    result = stream(*pieces)
    assert result.inspector.summary()["payment_card"]["count"] == 2
    assert b"4111" not in result.data
    plain = stream(*(each | {"sequence_number": number} for number, each in enumerate(deltas("a ", "b "))))
    assert [each.get("sequence_number") for each in events_of(plain.data)] == [0, 1, None]


@pytest.mark.parametrize("place", [{"output_index": True}, {"output_index": 0.0}, {"content_index": "0"}])
def test_a_place_that_is_no_whole_number_is_refused(place: dict[str, Any]) -> None:
    """Some readers take it for the number beside it, others for another place."""
    with pytest.raises(ContentError, match="whole number"):
        stream(*deltas("a@b"), *deltas(".org now ", **place))


def test_a_text_whose_item_is_named_by_its_place_and_then_by_its_id_alone_is_one_text() -> None:
    first, second = deltas("a@b", item_id="m"), [event("output_text.delta", delta=".org now ", item_id="m")]
    assert written(stream(*first, *second)) == "[EMAIL] now "
    with pytest.raises(ContentError, match="in the middle"):
        stream(*second, *first)


def test_items_with_an_id_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.content.responses.ITEMS", 3)
    reader = Responses()
    for number in (0, 1, 2, 0):
        reader.read("", event("output_item.added", output_index=number, item={"id": f"i{number}"}))
    with pytest.raises(ContentError, match="more than 3 items"):
        reader.read("", event("output_item.added", output_index=3, item={"id": "i3"}))


def test_texts_that_are_begun_count_beside_those_that_come_in_pieces() -> None:
    call = {"type": "function_call", "arguments": "12345678"}
    begun = event("output_item.added", output_index=1, item=call)
    result = stream(begun, *deltas("12345678"), plan=AnswerPlan(max_chars=10))
    assert [ask.types for ask in result.asks] == [("too_long",)]


def test_an_item_that_changes_its_place_is_refused_since_by_its_id_its_text_is_one() -> None:
    first, second = CARD[:10], CARD[10:]
    moved = [*deltas(first, item_id="m"), *deltas(second + " ", item_id="m", output_index=1)]
    with pytest.raises(ContentError) as error:
        stream(*moved)
    assert error.value.code == "malformed"
