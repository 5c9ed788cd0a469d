"""Tokens: how they look, that the same value gets the same one, and what of an answer is restored."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import pytest

from gateway.content.answer import AnswerPlan
from gateway.content.errors import ContentError
from gateway.content.guard import guard
from gateway.content.json_text import Json
from gateway.content.request import read_body
from gateway.content.tokens import LABELS, RESTORE, TOKEN, Issuer, Known, Restorer, Value, derive, unescaped
from gateway.content.walk import Texts
from tests.support.content import KEY, MAKERS, READERS, SCANNER, Result, filler, inspect, openai_stream

MAIL, CARD = "bob@example.com", "4111 1111 1111 1111"
TOKENISE_ALL = dict.fromkeys(LABELS, "tokenise")


def issuer(key: bytes = KEY, most: int = 100) -> Issuer:
    return Issuer(key, SCANNER, most=most)


def nothing(token: str) -> Value | None:
    return None


def restorer(given: Issuer) -> Restorer:
    return Restorer(given.issued, nothing, SCANNER)


def whole(text: str, given: Issuer, plan: AnswerPlan | None = None) -> Result:
    body = json.dumps({"choices": [{"index": 0, "message": {"content": text}, "finish_reason": "stop"}]}).encode()
    plan = plan or AnswerPlan()
    return inspect([body], plan=plan, media_type="application/json", restorer=restorer(given))


def content(result: Result) -> str:
    return str(json.loads(result.data)["choices"][0]["message"]["content"])


def streamed(text: str, given: Issuer, plan: AnswerPlan | None = None, longest: int = 5) -> Result:
    stream = openai_stream(random.Random(1), {"0/content": text}, longest=longest)
    return inspect([stream.data], plan=plan or AnswerPlan(), restorer=restorer(given))


# Tokens ------------------------------------------------------------------------------------------------------------


def test_the_same_value_has_the_same_token_and_another_key_another_one() -> None:
    assert issuer().token("email", MAIL) == issuer().token("email", MAIL)
    tokens = {
        issuer().token("email", MAIL),
        issuer(b"another-key-for-tests-0123456789").token("email", MAIL),
        issuer().token("email", "Bob@example.com"),
        issuer().token("phone", MAIL),
    }
    assert len(tokens) == 4
    assert all(TOKEN.fullmatch(token) and len(token) <= 20 for token in tokens)


def test_no_token_is_a_finding_or_part_of_one_or_changes_what_is_found_beside_it() -> None:
    rng = random.Random(7)
    for _ in range(3_000):
        kind = rng.choice(sorted(LABELS))
        token, _ = derive(rng.randbytes(32), kind, "x")
        before, after = filler(rng, 2), filler(rng, 2)
        plain = rng.choice(list(MAKERS.values()))(rng)
        text = rng.choice([f"{before}{token}{plain}{after}", f"{before}{plain}{token}{after}", f'"{token}":"{plain}"'])
        start = text.index(token)
        for match in SCANNER.scan(text):
            assert match.end <= start or match.start >= start + len(token), text
        assert not SCANNER.scan(token)


def test_a_token_that_another_value_has_is_given_up_for_the_next() -> None:
    given = issuer()
    first = given.token("email", MAIL)
    given.shun([first])
    second = given.token("email", MAIL)
    assert second != first and first not in given.issued
    assert second == derive(KEY, "email", MAIL, 1)[0]


def test_a_call_has_a_limited_number_of_values() -> None:
    given = issuer(most=2)
    given.token("email", "a@example.com")
    given.token("email", "b@example.com")
    given.token("email", "a@example.com")
    with pytest.raises(ContentError, match="more than 2 values"):
        given.token("email", "c@example.com")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a", "a"),
        (r"a\"b", 'a"b'),
        (r"a\u0040b", "a@b"),
        (r"\n", "\n"),
        ('a"b', None),
        (r"a\ud800", None),
        ("\\", None),
    ],
)
def test_what_a_piece_of_json_stands_for(text: str, value: str | None) -> None:
    assert unescaped(text) == value


# Requests ----------------------------------------------------------------------------------------------------------


def render(body: object, given: Issuer) -> str:
    read = read_body(b"application/json", b"", json.dumps(body).encode(), dialect="")
    read.scan(SCANNER)
    return read.render(TOKENISE_ALL, KEY, issuer=given).decode()


def test_a_value_is_the_same_token_as_text_as_a_name_in_arguments_and_as_a_number() -> None:
    given = issuer()
    body = {
        "text": f"write to {MAIL}.",
        MAIL: 1,
        "arguments": json.dumps({"to": MAIL}),
        "escaped": {"arguments": '{"to": "bob\\u0040example.com"}'},
        "card": 4111111111111111,
    }
    sent = json.loads(render(body, given))
    token, card = given.token("email", MAIL), given.token("payment_card", "4111111111111111")
    assert sent == {
        "text": f"write to {token}.",
        token: 1,
        "arguments": json.dumps({"to": token}),
        "escaped": {"arguments": f'{{"to": "{token}"}}'},
        "card": card,
    }


def test_what_cannot_be_written_again_as_it_was_is_masked() -> None:
    sent = json.loads(render({"arguments": '{"to": "bob\\ud800@example.com"}'}, issuer()))
    assert json.loads(sent["arguments"]) == {"to": "[EMAIL]"}


def test_tokens_need_somebody_to_issue_them() -> None:
    read = read_body(b"application/json", b"", b'{"x": "bob@example.com"}', dialect="")
    read.scan(SCANNER)
    with pytest.raises(ContentError, match="not carried out"):
        read.render({"email": "tokenise"}, KEY)


# Answers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("longest", [1, 3, 7, 200])
def test_values_come_back_and_are_no_findings(longest: int) -> None:
    given = issuer()
    mail, card = given.token("email", MAIL), given.token("payment_card", CARD)
    text = f"I wrote to {mail} about {card}, and{mail}"
    for result in (whole(text, given), streamed(text, given, longest=longest)):
        assert not result.asks and not result.inspector.summary()
    expected = f"I wrote to {MAIL} about {CARD}, and{MAIL}"
    # The last one has a letter before it: the value would not be recognised when it comes back.
    expected = expected[: -len(MAIL)] + mail
    assert content(whole(text, given)) == expected
    assert READERS["openai"](streamed(text, given, longest=longest).data)["0/content"] == expected


def test_a_token_that_nobody_issued_stays() -> None:
    given = issuer()
    made_up = issuer(b"x" * 32).token("email", MAIL)
    given.token("email", MAIL)
    lines = f"{made_up} [EMAIL_BCDFGHJKLMN] [EMAIL_BCDFGHJKLMNPQ] [MAIL_BCDFGHJKLMNQ] [EMAIL_"
    assert content(whole(lines, given)) == lines
    assert READERS["openai"](streamed(lines, given).data)["0/content"] == lines


def test_what_the_model_wrote_itself_is_still_found_and_masked_beside_what_is_restored() -> None:
    given = issuer()
    text = f"Ask {given.token('email', MAIL)} or eve@example.org. "
    plan = AnswerPlan(redact={"email": "mask"})
    for result in (whole(text, given, plan), streamed(text, given, plan)):
        assert result.inspector.summary()["email"]["count"] == 1
    assert content(whole(text, given, plan)) == f"Ask {MAIL} or [EMAIL]. "
    assert READERS["openai"](streamed(text, given, plan).data)["0/content"] == f"Ask {MAIL} or [EMAIL]. "


def test_log_probabilities_keep_the_token_while_the_text_has_the_value() -> None:
    given = issuer()
    token = given.token("email", MAIL)
    entries = [{"token": piece, "logprob": -0.5} for piece in ("Ask ", token[:7], token[7:], ".")]
    choice = {"message": {"content": f"Ask {token}."}, "logprobs": {"content": entries}, "finish_reason": "stop"}
    body = json.dumps({"choices": [choice]}).encode()
    whole_body = inspect([body], plan=AnswerPlan(), media_type="application/json", restorer=restorer(given))
    stream = openai_stream(random.Random(3), {"0/content": f"Ask {token}."}, logprobs=True, longest=4)
    for result, logprobs in (
        (whole_body, json.loads(whole_body.data)["choices"][0]["logprobs"]["content"]),
        (inspect([stream.data], plan=AnswerPlan(), restorer=restorer(given)), None),
    ):
        data = result.data.decode()
        if logprobs is None:
            assert READERS["openai"](result.data)["0/content"] == f"Ask {MAIL}."
            chunks = [json.loads(line[6:]) for line in data.splitlines() if line.startswith("data: {")]
            choices = [choice for chunk in chunks for choice in chunk["choices"]]
            logprobs = [each for choice in choices for each in (choice.get("logprobs") or {}).get("content") or ()]
        assert "".join(entry["token"] for entry in logprobs) == f"Ask {token}."


@pytest.mark.parametrize("value", ['pa"ss\\w0rd', "line\nline", "ü日", "</script>"])
def test_arguments_of_tool_calls_stay_json_whatever_the_value(value: str) -> None:
    given = issuer()
    token = given.token("api_key", value)
    text = f'{{"key": "{token}", "bare": {token}, "list": ["{token}"]}}'
    stream = openai_stream(random.Random(2), {"0/tool/0": text}, longest=4)
    result = inspect([stream.data], plan=AnswerPlan(), restorer=restorer(given))
    assert json.loads(READERS["openai"](result.data)["0/tool/0"]) == {"key": value, "bare": value, "list": [value]}
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": text}}]
    body = json.dumps({"choices": [{"message": {"tool_calls": calls}, "finish_reason": "tool_calls"}]}).encode()
    result = inspect([body], plan=AnswerPlan(), media_type="application/json", restorer=restorer(given))
    after = json.loads(result.data)["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(after) == {"key": value, "bare": value, "list": [value]}


def test_a_value_that_looks_like_a_token_is_restored_once() -> None:
    given = issuer()
    inner = given.token("email", MAIL)
    outer = given.token("api_key", f"secret {inner}")
    assert content(whole(f"It is {outer}.", given)) == f"It is secret {inner}."


@pytest.mark.parametrize("longest", [1, 4, 50])
def test_a_blocked_pattern_sees_what_the_client_gets(longest: int) -> None:
    given = issuer()
    text = f"Good morning, this is for {given.token('email', MAIL)} alone; have a nice day. " * 3
    for pattern in ("for bob@example", r"bob@example\.com alone", "example[.]com.alone"):
        plan = AnswerPlan(block=(("p", pattern),))
        for result in (whole(text, given, plan), streamed(text, given, plan, longest)):
            assert result.inspector.blocked
            assert b"bob@" not in result.data
    for pattern in ("EMAIL_", r"\["):
        plan = AnswerPlan(block=(("p", pattern),))
        for result in (whole(text, given, plan), streamed(text, given, plan, longest)):
            assert not result.inspector.blocked and result.inspector.complete
            assert MAIL.encode() in result.data


def test_a_schema_is_checked_on_what_the_client_gets() -> None:
    given = issuer()
    text = json.dumps({"mail": given.token("email", MAIL)})
    plan = AnswerPlan(schema={"properties": {"mail": {"const": MAIL}}, "type": "object"})
    assert streamed(text, given, plan).inspector.complete
    assert not streamed(text, given, plan).inspector.blocked


def test_names_of_fields_and_repeated_texts_of_final_events_are_restored() -> None:
    given = issuer()
    token = given.token("email", MAIL)
    event = {"type": "response.completed", "response": {"output": [{"text": f"to {token}"}], token: 1}}
    data = f"data: {json.dumps(event)}\n\n".encode()
    result = inspect([data], plan=AnswerPlan(), restorer=restorer(given))
    assert f"to {MAIL}".encode() in result.data and token.encode() not in result.data
    assert json.loads(result.data[6:])["response"][MAIL] == 1


def test_a_passed_answer_is_restored_too() -> None:
    given = issuer()
    assert content(whole(f"to {given.token('email', MAIL)}", given, AnswerPlan(mode="pass"))) == f"to {MAIL}"


def test_log_probabilities_keep_the_token() -> None:
    given = issuer()
    token = given.token("email", MAIL)
    stream = openai_stream(random.Random(3), {"0/content": f"to {token} now"}, logprobs=True)
    result = inspect([stream.data], plan=AnswerPlan(), restorer=restorer(given))
    texts = READERS["openai"](result.data)
    assert texts["0/content"] == f"to {MAIL} now"
    assert "bob" not in texts["0/logprobs"]


def test_look_ups_of_one_answer_are_bounded() -> None:
    asked: list[str] = []

    def look_up(token: str) -> Value | None:
        asked.append(token)
        return None

    tokens = [derive(KEY, "email", str(number))[0] for number in range(1_000)]
    found = Restorer({}, look_up, SCANNER).matches(" ".join(tokens + tokens))
    assert found == [] and len(asked) == 256


# What a model could make of it ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("around", ["9{}", "{}7", "1 {} 2", "x{}", "{}{}", "5-{}-5", "{}.evil.example"])
@pytest.mark.parametrize(
    ("kind", "value"), [("payment_card", "4111111111111111"), ("email", MAIL), ("us_ssn", "123-45-6789")]
)
def test_what_is_restored_is_recognised_when_it_comes_back(around: str, kind: str, value: str) -> None:
    """A model that puts something beside a token must not get the value in the clear with the next turn."""
    given = issuer()
    token = given.token(kind, value)
    text = "see " + around.replace("{}", token) + " ok"
    shown = content(whole(text, given))
    assert shown == READERS["openai"](streamed(text, given).data)["0/content"]
    again = issuer()
    sent = json.loads(render({"text": shown}, again))["text"]
    assert sent == text


def test_a_secret_that_only_its_context_gave_away_is_found_wherever_it_comes_back() -> None:
    given = issuer()
    sent = render({"text": "password = hunter2-Xy77-Qq91"}, given)
    (token,) = given.issued
    assert "hunter2" not in sent and given.issued[token].loose
    shown = content(whole(f"Your word is {token} today", given))
    assert shown == "Your word is hunter2-Xy77-Qq91 today"
    assert not SCANNER.scan(shown)
    known = Known(SCANNER, list(given.issued.values()))
    assert [(m.type, shown[m.start : m.end]) for m in known.scan(shown)] == [("api_key", "hunter2-Xy77-Qq91")]
    assert not known.scan(shown, shown.index("unter2"))


def test_matches_of_a_restorer_have_a_type_of_their_own() -> None:
    given = issuer()
    value: Json = {"a": f"x {given.token('email', MAIL)}"}
    (finding,) = Texts(value).tokens(restorer(given))
    assert finding.match.type == RESTORE


def test_many_known_values_are_found_in_one_pass_the_longest_first() -> None:
    texts = ["030 901820", "030 9018204", "ключ-7", "a.b*c", *(f"value number {number}" for number in range(900))]
    known = Known(SCANNER, [Value("phone", text, b"", True) for text in texts])
    text = "ü 030 9018204, 030 901820; мой ключ-7 и a.b*c, axbxc, value number 899."
    assert [text[match.start : match.end] for match in known.scan(text)] == [
        "030 9018204", "030 901820", "ключ-7", "a.b*c", "value number 899",
    ]  # fmt: skip


@pytest.mark.parametrize("reader", [whole, streamed])
def test_an_answer_that_repeats_a_token_does_not_grow_without_bound(
    reader: Callable[[str, Issuer], Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.content.tokens.MOST_RESTORED", 10_000)
    given = issuer()
    token = given.token("api_key", "sk-" + "Zk4" * 100)
    assert content(whole(f"{token} ok {token} ", given)).count("sk-") == 2
    with pytest.raises(ContentError, match="stand for more"):
        reader(f"{token} and then " * 100, given)


def test_a_blocked_pattern_sees_the_names_of_fields_as_the_client_gets_them() -> None:
    given = issuer()
    token = given.token("email", MAIL)
    texts = Texts({"input": {token: "x", f"to {token}": True}})
    pattern = guard((("mail", "bob@"),))
    assert len(texts.blocked(pattern, restorer(given))) == 2 and not texts.blocked(pattern)
