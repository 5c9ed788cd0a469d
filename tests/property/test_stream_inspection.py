"""A stream is enforced like a whole body: any cut of the bytes and of the text gives the same text and verdict."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.content.answer import AnswerPlan, Ask
from gateway.content.breaks import last_break
from gateway.content.redact import Redactor
from gateway.content.scanner import readable
from gateway.content.template import Templates
from tests.support.content import (
    KEY,
    MAKERS,
    MASK_ALL,
    READERS,
    SCANNER,
    Result,
    Stream,
    anthropic_stream,
    arguments,
    bytewise,
    cut_bytes,
    events_of,
    inspect,
    openai_stream,
    planted,
    responses_stream,
)

MODES = {"mask": MASK_ALL, "drop": dict.fromkeys(MASK_ALL, "drop"), "hash": dict.fromkeys(MASK_ALL, "hash")}


def redacted(name: str, text: str, redact: Mapping[str, str] = MASK_ALL) -> str:
    """What becomes of a whole text."""
    redactor = Redactor(redact, KEY)
    matches = SCANNER.scan(readable(text))
    is_json = "/tool" in name
    return redactor.json_text(text, matches) if is_json else redactor.text(text, matches)


def random_stream(seed: int) -> Stream:
    rng = random.Random(seed)
    longest = rng.choice([1, 3, 12, 60])
    if seed % 3 == 2:
        kinds = rng.choices(["text", "refusal", "reasoning", "summary", "tool", "custom", "code"], k=rng.randint(1, 4))
        items = [(kind, arguments(rng) if kind == "tool" else planted(rng, rng.randint(0, 4))) for kind in kinds]
        return responses_stream(rng, items, logprobs=rng.random() < 0.3, longest=longest)
    if seed % 3:
        texts = {}
        for choice in range(rng.randint(1, 3)):
            for kind in rng.sample(["content", "refusal", "reasoning_content", "tool/0", "tool/1"], rng.randint(1, 3)):
                texts[f"{choice}/{kind}"] = arguments(rng) if "tool" in kind else planted(rng, rng.randint(0, 4))
        return openai_stream(rng, texts, logprobs=rng.random() < 0.3, longest=longest)
    kinds = rng.choices(["text", "thinking", "tool_use"], k=rng.randint(1, 4))
    blocks = [(kind, arguments(rng) if kind == "tool_use" else planted(rng, rng.randint(0, 4))) for kind in kinds]
    return anthropic_stream(rng, blocks, longest=longest)


def assert_same(first: Result, second: Result) -> None:
    """Same state, text and verdict."""
    assert second.data == first.data
    assert second.inspector.summary() == first.inspector.summary()
    assert [ask.types for ask in second.asks] == [ask.types for ask in first.asks]
    assert second.inspector.complete == first.inspector.complete
    assert second.inspector.blocked == first.inspector.blocked
    assert second.inspector.text_length == first.inspector.text_length
    assert second.inspector.model == first.inspector.model


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32), mode=st.sampled_from(sorted(MODES)))
def test_the_text_of_each_field_is_that_of_the_whole_redacted(seed: int, mode: str) -> None:
    stream = random_stream(seed)
    result = inspect([stream.data], stream.dialect, plan=AnswerPlan(redact=MODES[mode]))
    assert result.inspector.complete
    texts = READERS[stream.protocol](result.data)
    for name, text in stream.texts.items():
        assert texts.get(name, "") == redacted(name, text, MODES[mode])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), cuts=st.integers(1, 200))
def test_any_cut_of_the_bytes_gives_the_same_answer(seed: int, cuts: int) -> None:
    stream = random_stream(seed)
    whole = inspect([stream.data], stream.dialect)
    assert_same(whole, inspect(cut_bytes(random.Random(seed), stream.data, cuts), stream.dialect))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), cuts=st.integers(0, 30), blocks=st.booleans())
def test_an_event_taken_for_one_like_an_earlier_one_becomes_what_it_would_have_become_by_itself(
    seed: int, cuts: int, blocks: bool
) -> None:
    stream = random_stream(seed)
    chunks = cut_bytes(random.Random(seed), stream.data, cuts)
    plan = AnswerPlan(redact=MASK_ALL, block=(("p", "привет +Berlin|[0-9]{2}:[0-9]{2}"),) if blocks else ())
    taken = inspect(chunks, stream.dialect, plan=plan)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Templates, "find", lambda templates, event: None)
        alone = inspect(chunks, stream.dialect, plan=plan)
    assert_same(alone, taken)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_byte_by_byte_gives_the_same_answer(seed: int) -> None:
    stream = random_stream(seed)
    assert_same(inspect([stream.data], stream.dialect), inspect(bytewise(stream.data), stream.dialect))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_arguments_of_tool_calls_stay_json_and_keep_no_finding(seed: int) -> None:
    rng = random.Random(seed)
    text = arguments(rng, 3)
    for stream in (
        openai_stream(rng, {"0/tool/0": text}, longest=rng.choice([1, 5, 30])),
        anthropic_stream(rng, [("tool_use", text)], longest=rng.choice([1, 5, 30])),
        responses_stream(rng, [("tool", text)], longest=rng.choice([1, 5, 30])),
    ):
        result = inspect([stream.data], stream.dialect)
        (after,) = (text for name, text in READERS[stream.protocol](result.data).items() if "tool" in name)
        value = json.loads(after)
        assert value["card"] == "[PAYMENT_CARD]"
        assert not any("@" in name for name in value)
        for match in SCANNER.scan(text):
            assert text[match.start : match.end] not in after


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_nothing_redacted_survives_in_log_probabilities(seed: int) -> None:
    rng = random.Random(seed)
    text = planted(rng, 3)
    stream = openai_stream(rng, {"0/content": text}, logprobs=True)
    result = inspect(cut_bytes(rng, stream.data, 20))
    tokens = read_tokens(result.data)
    for match in SCANNER.scan(text):
        assert text[match.start : match.end] not in tokens
    # Tokens come in order, and none that has nothing to do with a finding is lost.
    kept = [character for character in text if character.isalpha()]
    assert len(tokens) <= len(text)
    assert not SCANNER.scan(text) or len(tokens) < len(text) or not kept


def read_tokens(data: bytes) -> str:
    return "".join(
        entry["token"]
        for event in events_of(data)
        if isinstance(event, dict)
        for choice in event["choices"]
        if choice["logprobs"]
        for entry in choice["logprobs"]["content"]
    )


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), kind=st.sampled_from(sorted(set(MAKERS) - {"assignment"})))
def test_a_block_leaves_at_most_a_prefix_that_ends_before_the_finding(seed: int, kind: str) -> None:
    rng = random.Random(seed)
    text = planted(rng, 0, 10) + " " + MAKERS[kind](rng) + " " + planted(rng, 0, 10)
    # A number may by chance, together with one before it, be one of another type.
    assume(any(match.type == kind for match in SCANNER.scan(text)))
    longest = rng.choice([1, 7, 40])
    refused = kind

    def decide(ask: Ask) -> tuple[bool, Mapping[str, str]]:
        return refused not in ask.types, {}

    for stream, name in (
        (openai_stream(rng, {"0/content": text}, longest=longest), "0/content"),
        (responses_stream(rng, [("text", text)], longest=longest), "0/text"),
    ):
        for chunks in ([stream.data], cut_bytes(rng, stream.data, 60)):
            result = inspect(chunks, plan=AnswerPlan(), decide=decide)
            assert result.inspector.blocked
            assert result.final is None
            sent = READERS[stream.protocol](result.data).get(name, "")
            start = next(match.start for match in SCANNER.scan(text) if match.type == kind)
            assert text.startswith(sent)
            # Deltas leave whole: the finding's own stays back, and one before it whose last word may go on there.
            assert last_break(text[:start], 0) - 80 <= len(sent) <= start
            for end in (b"[DONE]", b'"stop"', b".done", b"response.completed"):
                assert end not in result.data


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_stream_that_breaks_off_is_never_taken_for_a_whole_one(seed: int) -> None:
    rng = random.Random(seed)
    stream = random_stream(seed)
    broken = stream.data[: rng.randrange(len(stream.data) - 60)]
    result = inspect([broken], stream.dialect)
    if not result.inspector.complete:
        assert not result.final
    for name, text in READERS[stream.protocol](result.emitted).items():
        if not name.endswith("logprobs"):
            assert redacted(name, stream.texts.get(name, "")).startswith(text)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    pattern=st.sampled_from(["figures", "(?i)next +week", "[0-9]{2}:[0-9]{2}", "текст|привет"]),
)
def test_a_blocked_pattern_is_found_across_any_cut(seed: int, pattern: str) -> None:
    rng = random.Random(seed)
    text = planted(rng, 1, 30)
    plan = AnswerPlan(block=(("p", pattern),))
    verdicts = set()
    for longest in (1, 9, 200):
        stream = openai_stream(rng, {"0/content": text}, longest=longest)
        for chunks in ([stream.data], cut_bytes(rng, stream.data, 40)):
            result = inspect(chunks, plan=plan)
            verdicts.add(result.inspector.blocked)
            if result.inspector.blocked:
                sent = READERS["openai"](result.data).get("0/content", "")
                assert text.startswith(sent)
                assert not inspect([openai_stream(rng, {"0/content": sent}).data], plan=plan).inspector.blocked
    assert len(verdicts) == 1


SSE_FOLDER = Path(os.environ.get("CORDON_EVAL_DATA", "../shared/data")) / "sse"


def test_real_streams_with_planted_findings_come_out_the_same_for_any_cut_around_them() -> None:
    """Each real stream: unharmed as it is; with a finding planted into its text, found for any cut near the plant."""
    paths = sorted(SSE_FOLDER.glob("*.sse"))
    if not paths:
        pytest.skip(f"no evaluation data at {SSE_FOLDER} (set CORDON_EVAL_DATA): real streams were not tried")
    planted_in = 0
    for number, path in enumerate(paths):
        rng = random.Random(number)
        dialect = "anthropic" if path.name.startswith("anthropic") else "openai"
        data = path.read_bytes()
        clean = inspect([data], dialect)
        assert clean.inspector.complete, path.name
        plant = plant_into(rng, dialect, data)
        if plant is None:
            continue
        planted_in += 1
        changed, place = plant
        whole = inspect([changed], dialect)
        assert "payment_card" in whole.inspector.summary(), path.name
        assert whole.data.count(b"4111") == clean.data.count(b"4111"), path.name
        for _ in range(6):
            near = sorted({min(len(changed), max(0, place + rng.randint(-40, 400))) for _ in range(12)})
            chunks = [changed[a:b] for a, b in zip([0, *near], [*near, len(changed)], strict=True)]
            assert_same(whole, inspect(chunks, dialect))
    assert planted_in >= 55


def plant_into(rng: random.Random, dialect: str, data: bytes) -> tuple[bytes, int] | None:
    """Put a card number, cut over two to four deltas, into the middle of a stream's text."""
    events = data.replace(b"\r\n", b"\n").split(b"\n\n")
    places = [index for index, event in enumerate(events) if text_delta(dialect, event) is not None]
    if len(places) < 2:
        return None
    index = rng.choice(places[:-1])
    number = " 4111 1111 1111 1111 "
    cuts = sorted(rng.sample(range(2, len(number) - 1), rng.randint(1, 3)))
    pieces = [number[a:b] for a, b in zip([0, *cuts], [*cuts, len(number)], strict=True)]
    events[index : index + 1] = [with_text(dialect, events[index], piece) for piece in pieces]
    before = b"\n\n".join(events[:index])
    return b"\n\n".join(events), len(before)


def text_delta(dialect: str, event: bytes) -> str | None:
    lines = [line for line in event.split(b"\n") if line.startswith(b"data:")]
    if len(lines) != 1 or not lines[0][5:].strip().startswith(b"{"):
        return None
    value = json.loads(lines[0][5:])
    if dialect == "anthropic":
        delta = value.get("delta")
        return delta.get("text") if isinstance(delta, dict) else None
    if value.get("type") == "response.output_text.delta":
        return str(value["delta"])
    choices = value.get("choices")
    if not choices or not isinstance(choices[0].get("delta"), dict):
        return None
    content = choices[0]["delta"].get("content")
    return content if isinstance(content, str) and not choices[0].get("finish_reason") else None


def with_text(dialect: str, event: bytes, text: str) -> bytes:
    lines = event.split(b"\n")
    index = next(index for index, line in enumerate(lines) if line.startswith(b"data:"))
    value = json.loads(lines[index][5:])
    if dialect == "anthropic":
        value["delta"]["text"] = text
    elif "choices" in value:
        value["choices"][0]["delta"]["content"] = text
    else:
        value["delta"] = text
    lines[index] = b"data: " + json.dumps(value).encode()
    return b"\n".join(lines)
