"""Restoring: any cut of a text, of its events and of their bytes gives the same text, and it tokenises as it was."""

from __future__ import annotations

import json
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.content.answer import AnswerPlan
from gateway.content.redact import Redactor
from gateway.content.request import read_body
from gateway.content.scanner import readable
from gateway.content.tokens import LABELS, Issuer, Known, Restorer, Value
from tests.support.content import (
    KEY,
    MAKERS,
    MASK_ALL,
    READERS,
    SCANNER,
    Stream,
    anthropic_stream,
    bytewise,
    cut_bytes,
    filler,
    inspect,
    openai_stream,
)

MOST = 10_000


def nothing(token: str) -> Value | None:
    return None


class Conversation:
    """What one caller has tokens for."""

    def __init__(self, rng: random.Random) -> None:
        self.issuer = Issuer(KEY, SCANNER, most=MOST)
        for _ in range(6):
            text = MAKERS[rng.choice(sorted(MAKERS))](rng)
            for match in SCANNER.scan(text):
                self.issuer.token(match.type, text[match.start : match.end])
        self.foreign = Issuer(b"another-caller-0123456789abcdefg", SCANNER, most=MOST)

    def restorer(self) -> Restorer:
        return Restorer(self.issuer.issued, nothing, SCANNER)

    def known(self) -> Known:
        return Known(SCANNER, [value for value in self.issuer.issued.values() if value.loose])

    def text(self, rng: random.Random) -> str:
        """A model's text with tokens in it: known ones, foreign ones, cut ones, between words and right beside them."""
        parts = [filler(rng, rng.randint(0, 5))]
        for _ in range(rng.randint(0, 6)):
            token = rng.choice(list(self.issuer.issued))
            other = self.foreign.token("email", str(rng.random()))
            parts.append(rng.choice([token, token, token, other, token[: rng.randint(1, 19)], MAKERS["email"](rng)]))
            parts += [rng.choice([" ", " ", ". ", ",", "\n", "", "x", "7"]), filler(rng, rng.randint(0, 5))]
        return "".join(parts)

    def arguments(self, rng: random.Random) -> str:
        value = {"note": self.text(rng), rng.choice(list(self.issuer.issued)): [self.text(rng), 4]}
        return json.dumps(value, ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, 1]))

    def expected(self, text: str, redact: dict[str, str], *, is_json: bool) -> str:
        """What becomes of a whole text."""
        restorer = self.restorer()
        redactor = Redactor(redact, KEY, restorer=restorer)
        text = readable(text)
        matches = sorted([*SCANNER.scan(text), *restorer.matches(text, is_json=is_json)], key=lambda match: match.start)
        return redactor.json_text(text, matches) if is_json else redactor.text(text, matches)


def a_stream(rng: random.Random, talk: Conversation) -> Stream:
    longest = rng.choice([1, 3, 12, 60])
    if rng.random() < 0.5:
        texts = {"0/content": talk.text(rng), "0/refusal": talk.text(rng), "0/tool/0": talk.arguments(rng)}
        return openai_stream(rng, texts, longest=longest)
    blocks = [("text", talk.text(rng)), ("thinking", talk.text(rng)), ("tool_use", talk.arguments(rng))]
    return anthropic_stream(rng, blocks, longest=longest)


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32), mask=st.booleans(), cuts=st.integers(0, 100))
def test_the_text_of_each_field_is_that_of_the_whole_restored(seed: int, mask: bool, cuts: int) -> None:
    rng = random.Random(seed)
    talk = Conversation(rng)
    stream = a_stream(rng, talk)
    redact = MASK_ALL if mask else {}
    chunks = cut_bytes(rng, stream.data, cuts)
    result = inspect(chunks, stream.dialect, plan=AnswerPlan(redact=redact), restorer=talk.restorer())
    assert result.inspector.complete
    texts = READERS[stream.dialect](result.data)
    for name, text in stream.texts.items():
        assert texts.get(name, "") == talk.expected(text, redact, is_json="tool" in name)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), guarded=st.booleans())
def test_byte_by_byte_gives_the_same_answer(seed: int, guarded: bool) -> None:
    rng = random.Random(seed)
    talk = Conversation(rng)
    stream = a_stream(rng, talk)
    plan = AnswerPlan(redact=MASK_ALL, block=(("p", "never written|nor this one"),) if guarded else ())
    whole = inspect([stream.data], stream.dialect, plan=plan, restorer=talk.restorer())
    cut = inspect(bytewise(stream.data), stream.dialect, plan=plan, restorer=talk.restorer())
    assert cut.data == whole.data
    assert cut.inspector.summary() == whole.inspector.summary()
    assert cut.inspector.complete and whole.inspector.complete


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_restored_text_tokenises_to_what_the_model_wrote(seed: int) -> None:
    """The next turn carries the restored text: no value of the caller may leave, and the text is what it was."""
    rng = random.Random(seed)
    talk = Conversation(rng)
    text, arguments = talk.text(rng), talk.arguments(rng)
    shown = {
        "content": talk.expected(text, MASK_ALL, is_json=False),
        "arguments": talk.expected(arguments, MASK_ALL, is_json=True),
    }
    again = read_body(b"application/json", b"", json.dumps(shown).encode(), dialect="")
    again.scan(talk.known())
    sent = json.loads(again.render(dict.fromkeys(LABELS, "tokenise"), KEY, issuer=talk.issuer))
    masked = {"content": without_tokens(text, False), "arguments": without_tokens(arguments, True)}
    assert sent == masked
    for value in talk.issuer.issued.values():
        assert value.text not in sent["content"]


def without_tokens(text: str, is_json: bool) -> str:
    """The model's own text with its own findings masked, its tokens as they stand."""
    redactor = Redactor(MASK_ALL, KEY)
    matches = SCANNER.scan(readable(text))
    return redactor.json_text(text, matches) if is_json else redactor.text(text, matches)
